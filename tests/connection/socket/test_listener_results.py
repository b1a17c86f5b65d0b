"""What listeners raise and return: only the end of the program passes through, and any awaitable is awaited."""

from __future__ import annotations

import asyncio
import types
from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from net import once

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from net import Net, Pair


class Odd(BaseException):
    """A BaseException of the user's own."""


def ignore(*_: Any) -> None:
    """Take anything."""


@pytest.mark.parametrize("kind", [asyncio.CancelledError, GeneratorExit, Odd])
@pytest.mark.parametrize("event", ["data", "end", "rest"])
async def test_base_exception_of_a_listener_ends_its_socket(pair: Pair, event: str, kind: type[BaseException]) -> None:
    """Whatever it is, the socket ends with it, and the `error` listeners get it."""
    async with pair() as (client, peer, _server):
        error = once(peer, "error")
        client.on("error", ignore)

        def fail(*_: Any) -> None:
            raise kind

        client.write(b"line\nrest")
        if event == "rest":
            await peer.readline()
        peer.on("data" if event == "rest" else event, fail)  # type: ignore[call-overload]
        if event == "end":
            peer.on("data", ignore)
            client.end()
        assert isinstance(await error, kind)
        await peer.wait_closed()


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("kind", [asyncio.CancelledError, Odd])
async def test_base_exception_of_a_server_listener_ends_its_socket(
    net: Net, loop_errors: list[dict[str, Any]], kind: type[BaseException], *, is_async: bool
) -> None:
    """The same for `secure_connection`; the server goes on."""
    closed = asyncio.get_running_loop().create_future()

    def fail(sock: tlsio.TLSSocket) -> None:
        sock.on("close", closed.set_result)
        raise kind

    async def fail_later(sock: tlsio.TLSSocket) -> None:
        sock.on("close", closed.set_result)
        await asyncio.sleep(0)
        raise kind

    async with net.serve(fail_later if is_async else fail) as server:
        client = await net.connect(server)
        client.on("error", ignore)
        assert await closed is True
        assert [type(context["exception"]) for context in loop_errors if isinstance(context["exception"], kind)] or not net.is_native
        loop_errors.clear()


async def test_flow_goes_on_after_a_listener_that_awaited_something_cancelled(pair: Pair, loop_errors: list[dict[str, Any]]) -> None:
    """The chunk's work is lost and reported; the next chunk comes."""
    async with pair() as (client, peer, _server):
        chunks: asyncio.Queue[bytes] = asyncio.Queue()

        async def take(chunk: bytes) -> None:
            chunks.put_nowait(chunk)
            if chunk == b"one":
                given_up = asyncio.get_running_loop().create_future()
                given_up.cancel()
                await given_up

        peer.on("data", take)
        ended = once(peer, "end")
        client.write(b"one")
        assert await chunks.get() == b"one"
        client.end(b"two")
        assert await chunks.get() == b"two"
        await ended
        [context] = loop_errors
        assert isinstance(context["exception"], asyncio.CancelledError)
        loop_errors.clear()


def give_task(work: Callable[[], Any]) -> Any:
    """A task that runs already."""
    return asyncio.ensure_future(work())


def give_coroutine(work: Callable[[], Any]) -> Any:
    """What an async function returns."""
    return work()


def give_generator(work: Callable[[], Any]) -> Any:
    """A coroutine that is a generator."""

    @types.coroutine
    def run() -> Generator[Any, Any, None]:
        yield from work().__await__()

    return run()


def give_awaitable(work: Callable[[], Any]) -> Any:
    """An object that is none of asyncio's."""

    class Later:
        def __await__(self) -> Generator[Any, Any, None]:
            return work().__await__()  # type: ignore[no-any-return]

    return Later()


@pytest.mark.parametrize("give", [give_task, give_coroutine, give_generator, give_awaitable])
@pytest.mark.parametrize("count", [1, 2])
async def test_any_awaitable_holds_the_flow(pair: Pair, give: Callable[[Callable[[], Any]], Any], count: int) -> None:
    """The next chunk waits for whatever a `data` listener returned, alone or with others."""
    async with pair() as (client, peer, _server):
        heard: list[Any] = []

        def take(chunk: bytes) -> Any:
            async def work() -> None:
                heard.append(chunk)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                heard.append("done")

            return give(work)

        peer.on("data", take)
        if count > 1:
            peer.on("data", ignore)
        ended = once(peer, "end")
        await client.send(b"one")
        while "done" not in heard:  # noqa: ASYNC110
            await asyncio.sleep(0)
        client.end(b"two")
        await ended
        assert heard == [b"one", "done", b"two", "done"]


@pytest.mark.parametrize("give", [give_task, give_coroutine, give_generator, give_awaitable])
async def test_any_awaitable_owns_the_socket(net: Net, give: Callable[[Callable[[], Any]], Any]) -> None:
    """A server's listener that returned one is async: its socket is closed when that is done."""

    def listener(sock: tlsio.TLSSocket) -> Any:
        async def serve() -> None:
            await sock.send(b"hello")

        return give(serve)

    async with net.serve(listener) as server:
        client = await net.connect(server)
        assert await client.readexactly(5) == b"hello"
        assert await client.read() == b""
        client.close()
        await client.wait_closed()


async def test_closed_server_waits_for_data_listeners(net: Net) -> None:
    """`close(0)` cancels the async listeners of its sockets' events, and `wait_closed` waits until they are done."""
    state: list[str] = []
    begun = asyncio.get_running_loop().create_future()

    async def take(_chunk: bytes) -> None:
        begun.set_result(None)
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            state.append("done")

    async with net.serve(lambda sock: sock.on("data", take) and None) as server:
        client = await net.connect(server)
        client.on("error", ignore)
        await client.send(b"x")
        await begun
        server.close(0)
        await server.wait_closed()
        client.destroy()
        assert state == ["done"]


def generator(*_: Any) -> Any:
    """A listener with a yield, of which a call runs nothing."""
    yield


async def async_generator(*_: Any) -> Any:
    """The same, async."""
    yield


@pytest.mark.parametrize("listener", [generator, async_generator])
@pytest.mark.parametrize("event", ["data", "end"])
async def test_generators_are_no_listeners(pair: Pair, event: str, listener: Any) -> None:
    """They would do nothing without a word."""
    async with pair() as (client, peer, _server):
        error = once(peer, "error")
        client.on("error", ignore)
        peer.on(event, listener)  # type: ignore[call-overload]
        if event == "end":
            peer.on("data", ignore)
        client.end(b"x")
        found = await error
        assert isinstance(found, tlsio.UsageError)
        assert found.code == "ERR_INVALID_ARG_TYPE"
        assert "is a generator" in str(found)
        await peer.wait_closed()


@pytest.mark.parametrize("listener", [generator, async_generator])
async def test_generators_are_no_listeners_of_servers(net: Net, loop_errors: list[dict[str, Any]], listener: Any) -> None:
    """The client is not left waiting for ever."""
    async with net.serve(listener) as server:
        client = await net.connect(server)
        with pytest.raises(tlsio.TLSError):
            await client.read()
        await client.wait_closed()
    if net.is_native:  # otherwise the caller of `upgrade` gets it
        assert "is a generator" in str(loop_errors[0]["exception"])
    loop_errors.clear()
