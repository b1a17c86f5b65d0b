"""Peers that answer or ask at random: damaged answers of a real name server, and bytes that are hardly HTTP.

A failure prints the seed, and `SEED=` runs it again.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bind import KEY, KEY_NAME
from challenges import challenge, fetch, say
from seeds import new_seed
from tlsio.acme import Dns01, Http01, Rfc2136
from tlsio.model.errors import ACMEError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from bind import Bind

pytestmark = pytest.mark.slow


def chance() -> random.Random:
    """Return a source of numbers."""
    return random.Random(new_seed())  # noqa: S311 - for tests


def damage(data: bytes, chance: random.Random, often: float = 1.0) -> bytes:
    """Change, cut or prolong an answer; its first two bytes, which belong it to its question, mostly stay."""
    changed = bytearray(data)
    if chance.random() >= often:
        return data
    for _ in range(chance.choice([0, 1, 1, 2, 5, 40])):
        at = chance.randrange(0 if chance.random() < 0.05 else 2, len(changed))
        changed[at] = chance.randrange(256)
    if chance.random() < 0.2:
        del changed[chance.randrange(len(changed)) :]
    if chance.random() < 0.1:
        changed += chance.randbytes(chance.choice([1, 100, 3000]))
    return bytes(changed)


class _Relay(asyncio.DatagramProtocol):
    """Passes questions on, and damaged answers back."""

    def __init__(self, bind: Bind, chance: random.Random) -> None:
        self._bind, self._chance = bind, chance
        self.transport: asyncio.DatagramTransport
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        """Keep the socket."""
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        """Ask BIND by TCP, and answer."""
        task = asyncio.create_task(self._answer(data, address))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _answer(self, data: bytes, address: tuple[str, int]) -> None:
        self.transport.sendto(damage(await ask(self._bind, data), self._chance, 0.2), address)


async def ask(bind: Bind, question: bytes) -> bytes:
    """Return BIND's answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", bind.port)
    writer.write(len(question).to_bytes(2, "big") + question)
    answer = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    writer.close()
    await writer.wait_closed()
    return answer


@asynccontextmanager
async def lying(bind: Bind, chance: random.Random) -> AsyncIterator[int]:
    """Give the port of a name server, for UDP and TCP, that damages what BIND says."""
    talks: set[asyncio.Task[None] | None] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())
        try:
            question = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
            answer = damage(await ask(bind, question), chance, 0.2)
            length = len(answer) if chance.random() < 0.95 else chance.randrange(65536)
            writer.write(length.to_bytes(2, "big") + answer)
            await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()
            talks.discard(asyncio.current_task())

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    transport, relay = await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Relay(bind, chance), ("127.0.0.1", port))
    try:
        yield port
    finally:
        server.close()
        await server.wait_closed()
        while pending := {*relay.tasks, *talks} - {None}:
            await asyncio.wait(pending)
        transport.close()


async def test_damaged_answers_of_name_servers_are_errors_of_acme(bind: Bind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or do not matter; nothing else is raised, and nothing waits for long."""
    monkeypatch.setattr("tlsio.acme.solvers.dns_questions._LIFETIME", 0.2)
    numbers = chance()
    outcomes = {"solved": 0, "failed": 0}
    async with lying(bind, numbers) as port:
        for round_ in range(60):
            provider = Rfc2136(f"127.0.0.1:{port}", key_name=KEY_NAME, key=KEY)
            solver = Dns01(provider, resolvers=[f"127.0.0.1:{port}"], port=port, propagation=0.3)
            asked = challenge("dns-01", f"s{round_}.example.test")
            async with asyncio.timeout(10):
                error = await outcome(solver.present(asked))
                await solver.clean_up(asked)
            outcomes["failed" if error else "solved"] += 1
            if error is not None:
                assert error.code.startswith("ERR_ACME_DNS")
                assert error.message.isprintable()
                assert len(error.message) < 600
    assert all(outcomes.values()), outcomes


async def outcome(call: Awaitable[None]) -> ACMEError | None:
    """Return the error of a call, if there is one."""
    try:
        await call
    except ACMEError as error:
        return error
    return None


async def test_random_requests_do_not_disturb_the_port_of_http01(caplog: pytest.LogCaptureFixture) -> None:
    """Each is answered or disconnected, and the authority is answered afterwards."""
    numbers, asked = chance(), challenge("http-01", "a.example.test")
    request = f"GET /.well-known/acme-challenge/{asked.token} HTTP/1.1\r\nHost: a.example.test\r\nContent-Length: 3\r\n\r\nabc".encode()
    async with await Http01().listen("127.0.0.1", 0) as solver:
        assert solver.port is not None
        await solver.present(asked)

        async def once() -> None:
            data = damage(request, numbers)
            reader, writer = await asyncio.open_connection("127.0.0.1", solver.port)
            cut = numbers.randrange(len(data) + 1)
            try:
                for part in (data[:cut], data[cut:]):
                    writer.write(part)
                    await writer.drain()
                if numbers.random() < 0.7:
                    writer.write_eof()
                    await reader.read()
            except ConnectionError:
                pass
            writer.close()

        for _ in range(20):
            await asyncio.gather(*(once() for _ in range(10)))
        assert await fetch(solver.port, asked) == asked.key_authorization.encode()
        assert (await say(solver.port, request)).startswith(b"HTTP/1.1 200 ")
    assert caplog.text == ""
