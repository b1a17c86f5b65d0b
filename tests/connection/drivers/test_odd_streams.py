"""Streams that are slow, broken, or badly made, and loops that run tasks at once."""

from __future__ import annotations

import asyncio
import gc
import socket as sockets
from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from eager_tasks import EagerTask
from net import let_go, once
from streams import KINDS, as_pair, client_options, server_options, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from net import Version


class Stream:
    """A byte stream over a socket; each call named in `faults` does what is given there instead."""

    def __init__(self, sock: sockets.socket) -> None:
        sock.settimeout(0)
        self._sock = sock
        self.faults: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}

    async def _call(self, name: str) -> None:
        if name in self.faults:
            await self.faults[name]()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Receive, or do what `received` says with what came."""
        data = await asyncio.get_running_loop().sock_recv(self._sock, max_bytes)
        await self._call("received")
        return data

    async def send(self, item: bytes) -> None:
        """Send."""
        await self._call("send")
        await asyncio.get_running_loop().sock_sendall(self._sock, item)

    async def send_eof(self) -> None:
        """End."""
        await self._call("send_eof")
        self._sock.shutdown(sockets.SHUT_WR)

    async def aclose(self) -> None:
        """Close."""
        await self._call("aclose")
        self._sock.close()


async def fail() -> None:
    """Break."""
    raise ValueError("broken")


async def cancel() -> None:
    """Await something that somebody else has cancelled."""
    given_up = asyncio.get_running_loop().create_future()
    given_up.cancel()
    await given_up


async def hang() -> None:
    """Never return."""
    await asyncio.sleep(3600)


async def insist() -> None:
    """Never return, and take no notice of cancellations."""
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue


async def leave() -> None:
    """Raise what only the interpreter raises."""
    raise GeneratorExit


@pytest.mark.parametrize("fault", [fail, cancel, leave])
@pytest.mark.parametrize(("call", "use"), [("received", "read"), ("send", "drain")])
async def test_stream_that_raises_breaks_the_connection(
    call: str, use: str, fault: Callable[[], Coroutine[Any, Any, None]], version: Version
) -> None:
    """Whatever a call of the stream raises, CancelledError of its own included, the calls that wait are told of a lost connection."""
    near, far = sockets.socketpair()
    stream = Stream(near)
    async with wrapped(stream, far, version) as (client, server):
        stream.faults[call] = fault
        if call == "received":
            await server.send(b"x")
        client.write(b"x" * 1_000_000)
        with pytest.raises(tlsio.ConnectionLostError) as caught:
            await getattr(client, use)()
        assert isinstance(caught.value.__cause__, ValueError | asyncio.CancelledError | GeneratorExit)
        assert client.closed
        server.on("error", lambda _error: None)
    assert near.fileno() == -1


@pytest.mark.slow
@pytest.mark.parametrize("fault", [fail, cancel, hang, insist])
@pytest.mark.parametrize("call", ["received", "send", "send_eof", "aclose"])
@pytest.mark.parametrize("how", ["close", "destroy"])
async def test_bad_stream_leaves_nothing(how: str, call: str, fault: Callable[[], Coroutine[Any, Any, None]], version: Version) -> None:
    """Every wait ends, no task is left and no exception lies about; the test's frame looks for both."""
    near, far = sockets.socketpair()
    stream = Stream(near)
    client = tlsio.TLSSocket(stream, **client_options(), close_timeout=0.2)
    server = tlsio.TLSSocket(far, is_server=True, **server_options(version), close_timeout=0.2)
    await asyncio.gather(client.handshake(), server.handshake())
    stream.faults[call] = fault
    for one in (client, server):
        one.on("error", lambda _error: None)
    server.write(b"x")
    client.write(b"x" * 100_000)
    await asyncio.sleep(0)
    getattr(client, how)()
    await client.wait_closed()
    server.destroy()
    await let_go()
    near.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_what_the_stream_has_not_taken_waits(kind: Callable[[sockets.socket], Any], version: Version) -> None:
    """`writable_length` counts it, `drain` waits for it, and over a stream the mark is 64 KiB."""
    near, far = sockets.socketpair()
    near.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 4096)
    async with wrapped(await kind(near), far, version) as (client, server):
        server.pause()
        client.write(b"x" * 1_000_000)
        draining = asyncio.ensure_future(client.drain())
        for _ in range(100):
            await asyncio.sleep(0)
        assert client.writable_length > 500_000
        assert not draining.done()
        assert len(await server.readexactly(1_000_000)) == 1_000_000
        await draining
        assert client.writable_length <= 65536


@pytest.mark.parametrize("kind", KINDS)
async def test_slow_reader_gets_all_of_what_was_ended(kind: Callable[[sockets.socket], Any], version: Version) -> None:
    """The peer has ended already: our own end still waits for the stream to take everything, however long that is."""
    near, far = sockets.socketpair()
    near.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 4096)
    async with wrapped(await kind(near), far, version) as (client, server):
        server.end(b"question")
        assert await client.readexactly(8) == b"question"
        assert await client.read() == b""
        client.end(b"x" * 400_000)
        got = 0
        while chunk := await server.read(50_000):
            got += len(chunk)
            await asyncio.sleep(0.01)
        assert got == 400_000


async def test_flow_over_a_stream_is_kept_alive() -> None:
    """A socket with listeners to which nothing else refers lives until it is closed."""
    near, far = sockets.socketpair()
    server = tlsio.TLSSocket(far, is_server=True, **server_options("TLSv1.3"))
    heard: list[Any] = []
    closed = asyncio.get_running_loop().create_future()

    async def start() -> None:
        client = tlsio.TLSSocket(await as_pair(near), **client_options())
        client.on("data", heard.append)
        client.on("close", closed.set_result)
        await client.handshake()

    await asyncio.gather(start(), server.handshake())
    gc.collect()
    await server.send(b"still here")
    gc.collect()
    server.end()
    assert await closed is False
    assert heard == [b"still here"]
    await server.wait_closed()


@pytest.mark.parametrize("kind", KINDS)
async def test_eager_tasks(kind: Callable[[sockets.socket], Any], version: Version) -> None:
    """It makes no difference whether a task begins at once."""
    near, far = sockets.socketpair()
    streams = [await kind(near), await kind(far)]
    loop = asyncio.get_running_loop()
    loop.set_task_factory(EagerTask())  # type: ignore[arg-type]
    try:
        client = tlsio.TLSSocket(streams[0], **client_options())
        server = tlsio.TLSSocket(streams[1], is_server=True, **server_options(version))
        shaking = loop.create_task(server.handshake())
        await client.handshake()
        await shaking

        async def echo(chunk: bytes) -> None:
            server.write(chunk)

        server.on("data", echo)
        client.write(b"hello" * 50_000)
        assert await client.readexactly(250_000) == b"hello" * 50_000
        ended = once(server, "close")
        client.end()
        assert await client.read() == b""
        assert await ended is False
        await client.wait_closed()
    finally:
        loop.set_task_factory(None)
