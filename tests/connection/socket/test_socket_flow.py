"""Reading by listening: `data` listeners of every kind, pause and resume, and when `end` is told."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from typing import TYPE_CHECKING, Any

import pytest

from net import once

if TYPE_CHECKING:
    from collections.abc import Callable

    import tlsio
    from net import Pair


class Collector:
    """Takes chunks, and lets a test wait for so many bytes."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._wanted: tuple[int, asyncio.Future[None]] | None = None

    def __call__(self, chunk: bytes) -> None:
        """Be the listener."""
        self.data += chunk
        if self._wanted is not None and len(self.data) >= self._wanted[0] and not self._wanted[1].done():
            self._wanted[1].set_result(None)

    async def wait_for(self, size: int) -> bytes:
        """Return all there is, once it is `size` bytes."""
        if len(self.data) < size:
            self._wanted = size, asyncio.get_running_loop().create_future()
            await self._wanted[1]
        return bytes(self.data)


async def test_listener_gets_all_in_order(pair: Pair) -> None:
    """A plain function is given every byte, in order, as `bytes`."""
    async with pair() as (client, peer, _server):
        collector = Collector()
        peer.on("data", collector)
        sent = b"".join(number.to_bytes(2, "big") for number in range(50_000))
        await client.send(sent)
        assert await collector.wait_for(100_000) == sent


async def test_listener_set_in_the_servers_listener(pair: Pair) -> None:
    """The echo of the documentation: a listener set up as soon as the socket exists misses nothing."""
    async with pair(listener=lambda sock: sock.on("data", sock.write)) as (client, _peer, _server):
        client.write(b"echo")
        assert await client.readexactly(4) == b"echo"


async def test_listener_given_to_connect(pair: Pair) -> None:
    """`connect(on={"data": ...})` flows from the first byte."""
    collector = Collector()
    async with pair(client={"on": {"data": collector}}, listener=lambda sock: sock.write(b"greeting")):
        assert await collector.wait_for(8) == b"greeting"


@pytest.mark.node("tls-server-parent-constructor-options")
async def test_without_listeners_the_socket_is_paused(pair: Pair) -> None:
    """What comes before the first listener waits for it."""
    async with pair() as (client, peer, _server):
        await client.send(b"early")
        for _ in range(5):
            await asyncio.sleep(0)
        collector = Collector()
        peer.on("data", collector)
        assert await collector.wait_for(5) == b"early"


async def test_several_listeners_get_the_same(pair: Pair) -> None:
    """Each of several listeners gets every chunk, in the order they came; one that leaves gets no more."""
    async with pair() as (client, peer, _server):
        calls: list[tuple[str, bytes]] = []

        def first(chunk: bytes) -> None:
            calls.append(("first", chunk))
            peer.off("data", first)

        peer.on("data", first)
        peer.on("data", lambda chunk: calls.append(("second", chunk)))
        collector = Collector()
        peer.on("data", collector)
        await client.send(b"a")
        await collector.wait_for(1)
        await client.send(b"b")
        await collector.wait_for(2)
        assert calls == [("first", b"a"), ("second", b"a"), ("second", b"b")]


async def test_once_hears_one_chunk(pair: Pair) -> None:
    """After a `once` the socket is paused again: what follows can be read."""
    async with pair() as (client, peer, _server):
        heard = once(peer, "data")
        await client.send(b"one")
        assert await heard == b"one"
        await client.send(b"two")
        assert await peer.read() == b"two"


def async_kinds() -> dict[str, Callable[[Callable[[bytes], Any]], Callable[[bytes], Any]]]:
    """Ways to be an async listener that `inspect` can and cannot see."""

    class Called:
        def __init__(self, function: Callable[[bytes], Any]) -> None:
            self.function = function

        async def __call__(self, chunk: bytes) -> None:
            await self.function(chunk)

    return {
        "function": lambda function: function,
        "partial": functools.partial,
        "lambda": lambda function: lambda chunk: function(chunk),  # noqa: PLW0108 - it is what is tested
        "object": Called,
    }


async def test_async_listener_is_awaited_before_the_next_chunk(pair: Pair) -> None:
    """Whatever shape an async listener has, it never runs twice at a time, and gets all in order."""
    for make in async_kinds().values():
        async with pair() as (client, peer, _server):
            running, collector = 0, Collector()

            async def slow(chunk: bytes, collector: Collector = collector) -> None:
                nonlocal running
                running += 1
                assert running == 1
                for _ in range(3):
                    await asyncio.sleep(0)
                running -= 1
                collector(chunk)

            peer.on("data", make(slow))
            sent = b"".join(number.to_bytes(2, "big") for number in range(1000))
            for start in range(0, len(sent), 100):
                await client.send(sent[start : start + 100])
            assert await collector.wait_for(len(sent)) == sent


async def test_async_listener_may_be_cancelled_before_it_begins(pair: Pair) -> None:
    """As when a program ends: nobody complains of a coroutine that was never awaited, and the next chunk flows."""
    async with pair() as (client, peer, _server):
        loop, chunks = asyncio.get_running_loop(), asyncio.Queue[bytes]()

        def cancel(before: set[asyncio.Task[Any]]) -> None:
            for task in asyncio.all_tasks() - before:
                task.cancel()

        def listen(chunk: bytes) -> Any:
            loop.call_soon(cancel, asyncio.all_tasks())
            chunks.put_nowait(chunk)
            return asyncio.sleep(0)

        peer.on("data", listen)
        for sent in (b"one", b"two"):
            client.write(sent)
            assert await chunks.get() == sent
        peer.off("data", listen)


async def test_end_waits_for_async_listeners(pair: Pair) -> None:
    """`end`, and our own end after it, come when the last chunk was dealt with: the listener may answer first."""
    async with pair() as (client, peer, _server):
        told: list[str] = []

        async def answer(chunk: bytes) -> None:
            for _ in range(5):
                await asyncio.sleep(0)
            told.append("data")
            await peer.send(chunk.upper())

        peer.on("data", answer)
        peer.on("end", lambda: told.append("end"))
        client.end(b"question")
        assert await client.read() == b"QUESTION"
        assert await client.read() == b""
        assert told == ["data", "end"]


async def test_paused_socket_gives_nothing(pair: Pair) -> None:
    """Between `pause` and `resume` no chunk is delivered and no `end` told; then all is."""
    async with pair() as (client, peer, _server):
        collector, ended = Collector(), once(peer, "end")
        peer.on("data", collector)
        assert peer.pause() is peer
        client.end(b"held back")
        for _ in range(20):
            await asyncio.sleep(0)
        assert not collector.data
        assert not ended.done()
        assert peer.resume() is peer
        await ended
        assert collector.data == b"held back"


async def test_flow_that_leaves_while_paused_holds_nothing_back(pair: Pair) -> None:
    """Both sides have ended: without the listener the pause has nothing to wait for."""
    async with pair() as (client, peer, _server):
        collector, ended, closed = Collector(), once(peer, "end"), once(peer, "close")
        peer.on("data", collector)
        peer.pause()
        peer.end()
        client.end()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not ended.done()
        assert not closed.done()
        peer.off("data", collector)
        await ended
        assert await closed is False


async def test_pause_inside_a_listener(pair: Pair) -> None:
    """A listener that pauses gets no more chunk, and goes on where it stopped."""
    async with pair() as (client, peer, _server):
        collector, paused = Collector(), asyncio.get_running_loop().create_future()

        def take_one(chunk: bytes) -> None:
            collector(chunk)
            peer.pause()
            if not paused.done():
                paused.set_result(None)

        peer.on("data", take_one)
        client.write(b"x" * 40_000)
        await paused
        size = len(collector.data)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(collector.data) == size <= 16384
        peer.off("data", take_one)
        peer.on("data", collector)
        peer.resume()
        assert await collector.wait_for(40_000) == b"x" * 40_000


async def test_what_a_line_left_behind_flows_first(pair: Pair) -> None:
    """Lines may be read first and the rest listened to; no byte changes its place."""
    async with pair() as (client, peer, _server):
        collector = Collector()
        await client.send(b"header\nbody")
        assert await peer.readline() == b"header\n"
        peer.on("data", collector)
        await client.send(b" and more")
        assert await collector.wait_for(13) == b"body and more"


async def test_end_is_told_once(pair: Pair) -> None:
    """`end` comes once, after all data, and closes our direction too."""
    async with pair() as (client, peer, _server):
        collector, ends = Collector(), 0

        def end() -> None:
            nonlocal ends
            ends += 1
            assert collector.data == b"x" * 70_000

        peer.on("data", collector)
        peer.on("end", end)
        closed = once(peer, "close")
        client.end(b"x" * 70_000)
        assert await client.read() == b""
        assert await closed is False
        assert ends == 1


async def test_end_is_told_to_readers_too(pair: Pair) -> None:
    """`end` needs no `data` listener."""
    async with pair() as (client, peer, _server):
        ended = once(peer, "end")
        client.end()
        await ended
        assert await peer.read() == b""


async def test_each_connection_has_variables_of_its_own(pair: Pair) -> None:
    """A listener sees the context variables of its connection, set where the connection was set up."""
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who")
    seen: list[str] = []

    def listener(sock: tlsio.TLSSocket) -> None:
        who.set("server")
        sock.on("data", lambda chunk: seen.append(who.get("nobody")))
        sock.on("end", lambda: seen.append(who.get("nobody")))

    async with pair(listener=listener) as (client, _peer, _server):
        client.end(b"x")
        await client.read()
        assert seen == ["server", "server"]
        assert who.get("nobody") == "nobody"
