"""http-01: the answers, also of other processes, and the port of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys

import pytest

from challenges import challenge, fetch, get, say
from tlsio.acme import Http01, MemoryStorage
from tlsio.acme.client.fields import Fields
from tlsio.acme.client.order import read_offer
from tlsio.acme.solvers import http_listener
from tlsio.acme.solvers.http01 import read_token
from tlsio.model.errors import ACMEError, ConfigError, StoreError, UsageStateError

ASKED = challenge("http-01", "a.example.test", "0123456789abcdefghij-_")
PATH = f"/.well-known/acme-challenge/{ASKED.token}"


class BrokenStorage(MemoryStorage):
    """Takes and gives nothing."""

    async def store(self, key: str, value: bytes, *, lock: object = None) -> None:
        """Fail."""
        raise StoreError("The disk is full")

    async def delete(self, key: str, *, lock: object = None) -> None:
        """Fail."""
        raise StoreError("The disk is gone")


async def has_ended(reader: asyncio.StreamReader) -> bool:
    """Wait for the end, in whichever way it comes."""
    with contextlib.suppress(ConnectionResetError):
        return not await reader.read()
    return True


@pytest.mark.parametrize(("is_wildcard", "is_ip", "can"), [(False, False, True), (False, True, True), (True, False, False)])
def test_solves_names_and_addresses_but_no_wildcards(is_wildcard: bool, is_ip: bool, can: bool) -> None:  # noqa: FBT001 - a table
    """A file on one host does not prove all hosts below it."""
    assert Http01().can_solve("a", is_wildcard=is_wildcard, is_ip=is_ip) is can


async def test_answers_from_presenting_to_cleaning_up() -> None:
    """With the key authorization, at once."""
    solver = Http01()
    assert solver.answer(PATH, "a.example.test") is None
    await solver.present(ASKED)
    assert solver.answer(PATH, "a.example.test") == ASKED.key_authorization.encode()
    await solver.clean_up(ASKED)
    assert solver.answer(PATH, "a.example.test") is None


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/.well-known/acme-challenge/",
        f"{PATH}/",
        f"{PATH}?a=b",
        f"/x{PATH}",
        f"{PATH}/../x",
        f"{PATH}%00",
        f"{PATH}\n",
        f"/.well-known/acme-challenge/{256 * 'a'}",
    ],
    ids=repr,
)
async def test_other_paths_have_no_answer(path: str) -> None:
    """And read nothing."""
    solver = Http01(BrokenStorage())
    assert solver.answer(path, "a.example.test") is None
    assert read_token(path) is None


@pytest.mark.parametrize("length", [1, 255])
async def test_each_token_that_the_client_accepts_is_answered(length: int) -> None:
    """Its limits are the same."""
    asked = challenge("http-01", "a.example.test", "a" * length)
    solver = Http01(MemoryStorage())
    await solver.present(asked)
    assert solver.answer(f"/.well-known/acme-challenge/{asked.token}", "a.example.test") == asked.key_authorization.encode()
    url = "https://ca.example/1"
    fields = {"type": "http-01", "url": url, "status": "pending"}
    assert read_offer(Fields(fields | {"token": "a" * length}, url, allow_http=False)).token == asked.token
    with pytest.raises(ACMEError):
        read_offer(Fields(fields | {"token": "a" * 256}, url, allow_http=False))


async def test_another_process_finds_the_answer_in_the_storage() -> None:
    """Until it is cleaned up."""
    storage = MemoryStorage()
    one, other = Http01(storage), Http01(storage)
    await one.present(ASKED)
    found = other.answer(PATH, "a.example.test")
    assert found is not None
    assert not isinstance(found, bytes)
    assert await found == ASKED.key_authorization.encode()
    await one.clean_up(ASKED)
    assert await storage.list("") == []


async def test_strangers_cause_no_storage_reads() -> None:
    """The hook is asked with the host alone, without its port, in lower case."""
    asked: list[str] = []

    def is_pending(name: str) -> bool:
        asked.append(name)
        return name == "pending.example.test"

    solver = Http01(MemoryStorage(), is_pending=is_pending)
    for host in ("a.example.test", "A.Example.test.:5002", "[::1]:80", "[2001:db8::1]"):
        assert solver.answer(PATH, host) is None
    assert asked == ["a.example.test", "a.example.test", "::1", "2001:db8::1"]
    found = solver.answer(PATH, "Pending.example.test:80")
    assert found is not None
    assert not isinstance(found, bytes)
    assert await found is None


async def test_an_answer_that_cannot_be_shared_is_an_error() -> None:
    """Another node would not have it."""
    with pytest.raises(StoreError, match="disk is full"):
        await Http01(BrokenStorage()).present(ASKED)


async def test_a_failing_clean_up_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """It does not hide the result; this process stops to answer all the same."""
    solver = Http01(BrokenStorage())
    with pytest.raises(StoreError):
        await solver.present(ASKED)
    with caplog.at_level(logging.WARNING):
        await solver.clean_up(ASKED)
    assert "http-01 for a.example.test was not removed: The disk is gone" in caplog.text
    assert ASKED.token not in caplog.text
    assert repr(solver) == "<Http01 answers=0>"


async def test_listens_by_itself() -> None:
    """Where nothing else serves port 80; whatever the port in Host says."""
    async with await Http01().listen("127.0.0.1", 0) as solver:
        assert solver.port is not None
        await solver.present(ASKED)
        assert await fetch(solver.port, ASKED) == ASKED.key_authorization.encode()
        assert await fetch(solver.port, ASKED, "a.example.test:5002") == ASKED.key_authorization.encode()
        assert (await get(solver.port, "/", "a.example.test")).startswith(b"HTTP/1.1 404 ")
        assert (await get(solver.port, PATH, method="POST")).startswith(b"HTTP/1.1 404 ")
        head = await get(solver.port, PATH, method="HEAD")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert head.endswith(b"\r\n\r\n")
        await solver.close()
        assert solver.port is None
        await solver.close()


async def test_answers_while_others_are_slow() -> None:
    """An authority validates from several places at once, and strangers hold connections."""
    async with await Http01(MemoryStorage()).listen("127.0.0.1", 0) as solver:
        assert solver.port is not None
        await solver.present(ASKED)
        with socket.create_connection(("127.0.0.1", solver.port)) as idle:
            idle.send(b"GET ")
            async with asyncio.timeout(2):
                assert await asyncio.gather(*(fetch(solver.port, ASKED) for _ in range(5))) == [ASKED.key_authorization.encode()] * 5


@pytest.mark.parametrize("data", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (9000 * b"a")])
async def test_what_is_not_http_is_told(data: bytes) -> None:
    """With a status of the 400s."""
    async with await Http01().listen("127.0.0.1", 0) as solver:
        assert solver.port is not None
        assert (await say(solver.port, data)).startswith(b"HTTP/1.1 4")


async def test_what_cannot_be_a_challenge_is_not_found() -> None:
    """Such as a path or a host that is not ASCII; a client that leaves without a request is forgotten."""
    async with await Http01(MemoryStorage()).listen("127.0.0.1", 0) as solver:
        assert solver.port is not None
        assert (await say(solver.port, f"GET {PATH} HTTP/1.1\r\nHost: \xe4\r\n\r\n".encode("latin-1"))).startswith(b"HTTP/1.1 404 ")
        reader, writer = await asyncio.open_connection("127.0.0.1", solver.port)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()


async def test_without_h11_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """How to install it."""
    monkeypatch.setitem(sys.modules, "h11", None)
    with pytest.raises(ConfigError) as caught:
        await Http01().listen("127.0.0.1", 0)
    assert "tlsio[acme]" in str(caught.value.hint)


async def test_a_silent_client_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some seconds."""
    monkeypatch.setattr(http_listener, "_TIMEOUT", 0.05)
    async with await Http01().listen("127.0.0.1", 0) as solver:
        reader, writer = await asyncio.open_connection("127.0.0.1", solver.port)
        async with asyncio.timeout(5):
            assert await has_ended(reader)
        writer.close()


async def test_more_clients_than_it_takes_are_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that it has are served."""
    monkeypatch.setattr(http_listener, "_MAX_CONNECTIONS", 1)
    async with await Http01().listen("127.0.0.1", 0) as solver:
        assert solver.port is not None
        await solver.present(ASKED)
        reader, writer = await asyncio.open_connection("127.0.0.1", solver.port)
        writer.write(f"GET {PATH} HTTP/1.1\r\nHost: a".encode())
        await asyncio.sleep(0.05)
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", solver.port)
        assert await has_ended(other_reader)
        other_writer.close()
        writer.write(b"\r\n\r\n")
        assert (await reader.read()).endswith(ASKED.key_authorization.encode())
        writer.close()


async def test_closing_ends_connections() -> None:
    """Also those that wait for the storage."""
    solver = await Http01().listen("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", solver.port)
    writer.write(b"GET ")
    await asyncio.sleep(0.02)
    await solver.close()
    assert await has_ended(reader)
    writer.close()


async def test_listening_twice_is_refused() -> None:
    """The first port stays."""
    async with await Http01().listen("127.0.0.1", 0) as solver:
        with pytest.raises(UsageStateError):
            await solver.listen("127.0.0.1", 0)
        assert solver.port


async def test_a_failing_hook_is_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged."""

    def is_pending(_name: str) -> bool:
        raise ZeroDivisionError

    async with await Http01(MemoryStorage(), is_pending=is_pending).listen("127.0.0.1", 0) as solver:
        assert solver.port is not None
        assert await fetch(solver.port, ASKED) is None
    assert "ZeroDivisionError" in caplog.text
