"""Hellos made by hand: what OpenSSL understands of them, and what a hostile answer costs."""

from __future__ import annotations

import asyncio
import random
import socket

import pytest

from faulty_servers import alert, good_rsa, openssl, ours, server_hello
from tlsio.model.client_hello import parse_client_hello
from tlsio.probe import hello
from tlsio.probe.hello import SSL3, TLS1, TLS12, TLS13, Answer, Offer, ask

OFFER = Offer(version=TLS12, suites=hello.MODERN_SUITES, server_name="host.test")


# A ServerHello after which nothing comes.
WITHOUT_END = b"\x16\x03\x03" + (len(server_hello()) - 9).to_bytes(2, "big") + server_hello()[5:-4]


async def answer_of(data: bytes, *, end: bool = True, offer: Offer = OFFER, patience: float = 0.05) -> Answer:
    """Ask a peer that says this whatever it is told."""
    near, far = socket.socketpair()
    near.setblocking(False)  # noqa: FBT003
    with near, far:
        far.sendall(data)
        if end:
            far.shutdown(socket.SHUT_WR)
        return await ask(near, offer, patience=patience)


async def ask_port(port: int, offer: Offer) -> Answer:
    """Ask a server."""
    with socket.create_connection(("127.0.0.1", port)) as near:
        near.setblocking(False)  # noqa: FBT003
        return await ask(near, offer, patience=2.0)


@pytest.mark.parametrize("version", [TLS1, TLS12, TLS13])
def test_our_parser_reads_what_is_offered(version: int) -> None:
    """Name, suites, groups and version."""
    message = Offer(version=version, suites=(0x1301, 0xC02F), groups=(0x001D,), server_name="host.test").encode()[5:]
    read = parse_client_hello(message)
    assert read.version_numbers == (version,)
    assert read.server_name == "host.test"
    assert read.groups == (0x001D,)
    assert read.cipher_suites[:2] == (0x1301, 0xC02F)


def test_ssl3_has_no_extensions() -> None:
    """It says by a number of a suite what the others say by an extension."""
    read = parse_client_hello(Offer(version=SSL3, suites=(0x0005,)).encode()[5:])
    assert (read.legacy_version, read.extensions, read.cipher_suites) == (SSL3, (), (0x0005, 0x00FF))


async def test_a_server_of_ours_chooses() -> None:
    """A group in TLS 1.3, a suite in TLS 1.2, and nothing before."""
    async with ours() as port:
        newest = await ask_port(port, Offer(version=TLS13, suites=hello.TLS13_SUITES, groups=(0x0018, 0x0017), server_name="localhost"))
        older = await ask_port(port, Offer(version=TLS12, suites=hello.MODERN_SUITES, server_name="localhost"))
        oldest = await ask_port(port, Offer(version=TLS1, suites=hello.ALL_OLD_SUITES, server_name="localhost"))
    assert (newest.kind, newest.version, newest.group) == ("hello", TLS13, 0x0017)  # the server's first choice
    assert (older.kind, older.version, older.secure_renegotiation, older.extended_master_secret) == ("hello", TLS12, True, True)
    assert older.suite in hello.MODERN_SUITES
    assert (oldest.kind, oldest.alert) == ("alert", "protocol_version")


async def test_diffie_hellman_is_measured() -> None:
    """The size of the prime stands in the first flight."""
    async with openssl("-tls1_2", who=good_rsa()) as port:
        seen = await ask_port(port, Offer(version=TLS12, suites=hello.DHE_SUITES))
    assert (seen.kind, seen.dh_bits) == ("hello", 2048)


async def test_a_request_for_a_certificate_is_seen() -> None:
    """Up to TLS 1.2 it is not encrypted."""
    async with openssl("-tls1_2", "-verify", "1", who=good_rsa()) as port:
        seen = await ask_port(port, OFFER)
    assert seen.requests_certificate


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "closed"),
        (alert(40), "alert"),
        (b"\x15\x03\x03\x00\x02\x01\x70" + server_hello(), "hello"),  # a warning, then the hello
        (server_hello(), "hello"),
        (WITHOUT_END, "hello"),
        (server_hello()[:20], "other"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "other"),
        (b"\x16\x03\x03\xff\xff" + bytes(100), "other"),
        (b"\x16\x03\x03\x00\x00", "other"),
        (b"\x17\x03\x03\x00\x01x", "other"),
        (server_hello()[:9] + b"\x02\x03" + server_hello()[11:], "other"),  # a version that does not exist
        (b"\x16\x03\x03\x00\x08\x02\x00\x00\x04\x03\x03\x00\x00", "other"),  # a hello that is too short
    ],
)
async def test_each_kind_of_answer_is_told(data: bytes, kind: str) -> None:
    """With its first bytes."""
    seen = await answer_of(data)
    assert seen.kind == kind
    assert seen.first_bytes == data[:16]


async def test_silence_ends_by_patience() -> None:
    """Also after half an answer."""
    assert (await answer_of(b"", end=False)).kind == "silent"
    assert (await answer_of(server_hello()[:20], end=False)).kind == "other"


async def test_a_server_that_drips_is_given_up() -> None:
    """The patience is for the whole flight: bytes do not prolong it."""
    near, far = socket.socketpair()
    near.setblocking(False)  # noqa: FBT003

    async def drip() -> None:
        far.sendall(b"\x16\x03\x03\x40\x00")
        while True:
            far.sendall(b"\0")
            await asyncio.sleep(0.01)

    with near, far:
        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(30):
            assert (await ask(near, OFFER, patience=0.05)).kind == "other"
        dripping.cancel()
        await asyncio.wait([dripping])


async def test_a_flood_is_read_no_further_than_the_limit() -> None:
    """Messages that never end."""
    near, far = socket.socketpair()
    near.setblocking(False)  # noqa: FBT003
    far.setblocking(False)  # noqa: FBT003
    record = b"\x16\x03\x03\x40\x00" + b"\x0b\xff\xff\xff" + bytes(16380)
    sent = 0

    async def pour() -> None:
        nonlocal sent
        with far:
            try:
                while sent < 10_000_000:
                    await asyncio.get_running_loop().sock_sendall(far, record)
                    sent += len(record)
            except OSError:
                pass

    pouring = asyncio.create_task(pour())
    with near:
        assert (await ask(near, OFFER, patience=5)).kind == "other"
    await pouring
    assert sent < 2_000_000


@pytest.mark.parametrize("seed", range(5))
async def test_damaged_flights_never_raise(seed: int) -> None:
    """Whatever is said, there is an answer."""
    chance = random.Random(seed)  # noqa: S311 - a seed makes it the same again
    whole = server_hello(extensions=b"\x00\x17\x00\x00\xff\x01\x00\x01\x00\x00\x33\x00\x02\x00\x1d\x00\x2b\x00\x02\x03\x04")
    for _ in range(100):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        assert isinstance(await answer_of(bytes(data[: chance.randrange(len(data) + 1)]), patience=0.01), Answer)


async def test_a_cancelled_question_leaves_nothing() -> None:
    """The caller closes the socket."""
    near, far = socket.socketpair()
    near.setblocking(False)  # noqa: FBT003
    with near, far:
        task = asyncio.create_task(ask(near, OFFER, patience=60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_hellos_are_never_the_same() -> None:
    """Their randoms are new."""
    first, second = OFFER.encode(), OFFER.encode()
    assert first != second
    assert len(first) == len(second)
