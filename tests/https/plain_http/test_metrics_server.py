"""The limits of the port for metrics, whose clients nobody knows."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from tlsio.https.plain_http import metrics_server
from tlsio.https.plain_http.metrics_server import MetricsServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from prometheus_client import Metric

HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
MOST = 16384


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """Serve; return the port."""

    async def collect() -> Iterable[Metric]:
        return ()

    server = MetricsServer(collect, lambda: True)
    await server.start("127.0.0.1", 0)
    assert server.port is not None
    try:
        yield server.port
    finally:
        await server.stop()


async def ask(port: int, *parts: bytes) -> bytes:
    """Send bytes; return all that comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    with suppress(ConnectionResetError):
        writer.write(b"".join(parts))
        while chunk := await reader.read(MOST):
            received += chunk
    writer.close()
    return received


def request(size: int) -> bytes:
    """Return a request of that many bytes, which is the last one."""
    begin = HEALTH[:-2] + b"Connection: close\r\nX: "
    return begin + b"x" * (size - len(begin) - 4) + b"\r\n\r\n"


@pytest.mark.parametrize(("size", "is_answered"), [(MOST, True), (MOST + 1, False)])
async def test_the_size_of_a_request(size: int, is_answered: bool) -> None:  # noqa: FBT001
    """With its body, if it had one."""
    async with serving() as port:
        assert (b"ok\n" in await ask(port, request(size))) is is_answered


async def test_requests_on_one_connection() -> None:
    """As many as a client likes: the size is that of each."""
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2 * MOST // len(HEALTH)):
            writer.write(HEALTH)
            assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.parametrize("begin", [b"GET / HTTP/1.1\r\nA: ", b"GET /", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n"])
async def test_a_request_without_an_end(begin: bytes) -> None:
    """The connection ends, and no more is kept."""
    async with serving() as port, asyncio.timeout(10):
        await ask(port, begin, b"a" * MOST)


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\n", b"\r\n", HEALTH + b"\r\n"])
async def test_the_time_of_a_connection(begin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that sends nothing, or not the rest, ends."""
    monkeypatch.setattr(metrics_server, "_TIMEOUT", 0.1)
    async with serving() as port, asyncio.timeout(3):  # uvicorn's keep-alive takes 5 seconds
        await ask(port, begin)


async def test_the_number_of_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Further ones are closed at once."""
    monkeypatch.setattr(metrics_server, "_MAX_CONNECTIONS", 2)
    async with serving() as port:
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for reader, writer in opened:
            writer.write(HEALTH)
            await reader.readuntil(b"ok\n")
        assert await ask(port, HEALTH) == b""
        for reader, writer in opened:
            writer.write(HEALTH)
            await reader.readuntil(b"ok\n")
            writer.close()
