"""An end without close_notify reaches every waiting call, every later call and the listeners, or the loop's handler."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from net import fill, once

if TYPE_CHECKING:
    from net import Pair


async def expect_truncation(sock: tlsio.TLSSocket) -> None:
    """Each later call raises it, as often as it is called; a write is dropped."""
    for _ in range(2):
        for call in (sock.read, lambda: sock.readexactly(1), sock.readline, sock.read_all, lambda: sock.send(b"x"), sock.drain):
            with pytest.raises(tlsio.TruncatedError):
                await call()
        assert sock.write(b"x") is False
    assert sock.truncated
    assert not sock.writable
    assert not sock.readable


async def test_listener_without_a_reader(pair: Pair) -> None:
    """It gets the error, then `close(True)`; no call of the application was needed."""
    async with pair() as (client, server, _):
        events: list[Any] = []
        client.on("error", events.append)
        client.on("end", lambda: events.append("end"))
        client.on("close", events.append)
        closed = once(client, "close")
        server.destroy()
        await closed
        assert [type(events[0]), *events[1:]] == [tlsio.TruncatedError, True]
        await expect_truncation(client)
        assert len(events) == 2


async def test_writing_after_a_read_has_raised(pair: Pair) -> None:
    """Every later call says why."""
    async with pair() as (client, server, _):
        reading = asyncio.ensure_future(client.read())
        await asyncio.sleep(0)
        server.destroy()
        with pytest.raises(tlsio.TruncatedError):
            await reading
        await expect_truncation(client)


async def test_every_waiting_call_raises(pair: Pair) -> None:
    """A read, and sends that wait for room."""
    async with pair() as (client, server, _):
        server.pause()
        await fill(client, 1_000_000)
        waiting = [asyncio.ensure_future(one) for one in (client.read(), client.drain(), client.drain())]
        for _ in range(3):
            await asyncio.sleep(0)
        assert not any(one.done() for one in waiting)
        server.destroy()
        for found in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(found, tlsio.TruncatedError | tlsio.ConnectionLostError)  # unread data makes a reset of it
        await client.wait_closed()


async def test_data_before_it_comes_first(pair: Pair) -> None:
    """Then every later call raises."""
    async with pair() as (client, server, _):
        await server.send(b"data")
        server.destroy()
        await asyncio.sleep(0.02)
        assert await client.read() == b"data"
        await expect_truncation(client)


async def test_nobody_hears_of_a_client_s(pair: Pair, loop_errors: list[dict[str, Any]]) -> None:
    """No reader, no listener: the loop's handler, when the socket is dropped."""
    async with pair() as (client, server, _):
        server.destroy()
        await client.wait_closed()
    del client, server
    gc.collect()
    await asyncio.sleep(0)
    assert [type(one["exception"]) for one in loop_errors] == [tlsio.TruncatedError]
    loop_errors.clear()


async def test_flow_without_an_error_listener(pair: Pair, loop_errors: list[dict[str, Any]]) -> None:
    """A `data` listener: at once, and not `end`."""
    async with pair() as (client, server, _):
        ended: list[Any] = []
        client.on("data", lambda _: None)
        client.on("end", lambda: ended.append("end"))
        server.destroy()
        await client.wait_closed()
        assert ended == []
        assert [type(one["exception"]) for one in loop_errors] == [tlsio.TruncatedError]
        loop_errors.clear()


async def test_a_server_s_goes_to_the_log(pair: Pair, loop_errors: list[dict[str, Any]]) -> None:
    """Unknown clients cause it all the time: counted, and no error of the program."""
    async with pair() as (client, server_side, server):
        client.destroy()
        await server_side.wait_closed()
        assert server.stats().connections_failed == {"ERR_TLS_TRUNCATED": 1}
        assert loop_errors == []


async def test_a_later_listener_gets_it(pair: Pair) -> None:
    """It is kept until there is one, and given once."""
    async with pair() as (client, server, _):
        server.destroy()
        await client.wait_closed()
        heard: list[Any] = []
        client.on("error", heard.append)
        client.on("close", heard.append)
        await asyncio.sleep(0.01)
        assert [type(heard[0]), *heard[1:]] == [tlsio.TruncatedError, True]


@pytest.mark.parametrize("event", ["error", "close"])
async def test_listener_may_ask_for_the_rest(pair: Pair, event: str) -> None:
    """The data of before that no read has taken; it comes, and before the last event."""
    async with pair() as (client, server, _):
        events: list[Any] = []
        await server.send(b"a\nrest")
        assert await client.readline() == b"a\n"
        client.on(event, lambda _: client.on("data", events.append))
        client.on("error", events.append)
        client.on("close", events.append)
        server.destroy()
        await client.wait_closed()
        async with asyncio.timeout(5):
            while len(events) < 3:  # noqa: ASYNC110 - what is waited for is no event
                await asyncio.sleep(0)
        error = next(one for one in events if isinstance(one, tlsio.TruncatedError))
        assert events == ([error, b"rest", True] if event == "error" else [error, True, b"rest"])
