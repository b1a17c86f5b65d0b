"""The states of a socket: the table of moves, and the events that wait for a listener."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from net import once
from tlsio.connection.socket.lifecycle import CLOSED, DROPPED, ENDED, HANDSHAKING, IDLE, OPEN, READABLE, RELEASED, Lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable

    from net import Net, Pair

PHASES = [IDLE, HANDSHAKING, OPEN, CLOSED, RELEASED]
LEGAL = {(IDLE, HANDSHAKING), (IDLE, CLOSED), (HANDSHAKING, OPEN), (HANDSHAKING, CLOSED), (OPEN, CLOSED), (CLOSED, RELEASED)}


def ignore(*_: Any) -> None:
    """Take anything."""


def hear(sock: tlsio.TLSSocket) -> list[Any]:
    """Return the list that all events of a socket go to from now on."""
    heard: list[Any] = []
    sock.on("data", lambda chunk: heard.append(bytes(chunk)))
    sock.on("end", lambda: heard.append("end"))
    sock.on("error", lambda error: heard.append(type(error)))
    sock.on("close", heard.append)
    return heard


# ---- the table


@pytest.mark.parametrize("start", PHASES)
@pytest.mark.parametrize("to", PHASES)
def test_phase_moves_as_the_table_says(start: Any, to: Any) -> None:
    """An impossible move raises and changes nothing."""
    life = Lifecycle.__new__(Lifecycle)
    life._init_state(start)
    if (start, to) in LEGAL:
        life._move_phase(to)
        assert life._phase is to
    else:
        with pytest.raises(AssertionError):
            life._move_phase(to)
        assert life._phase is start


def test_directions_move_once() -> None:
    """Output finishes once; input ends, or is dropped, and never comes back."""
    life = Lifecycle.__new__(Lifecycle)
    life._init_state(OPEN)
    life._finish_output()
    with pytest.raises(AssertionError):
        life._finish_output()
    life._move_input(ENDED)
    life._move_input(DROPPED)
    for to in (READABLE, ENDED, DROPPED):
        with pytest.raises(AssertionError):
            life._move_input(to)


# ---- events that happened before their listener came


@pytest.mark.parametrize("body", [b"header\nrest", b"header\n", b""])
@pytest.mark.parametrize("cut", [False, True], ids=["end", "truncation"])
async def test_flow_that_starts_after_the_end(pair: Pair, body: bytes, *, cut: bool) -> None:
    """A flow gets what a read left over, then the end or the error that came meanwhile, then the close."""
    async with pair() as (client, peer, _server):
        client.write(body)
        if body:
            assert await peer.readline() == b"header\n"
        client.on("error", ignore)
        if cut:
            client.destroy()
        else:
            client.end()
        while not peer._connection.input_ended:  # noqa: ASYNC110 - no event tells it, that is the point
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        heard, closed = hear(peer), once(peer, "close")
        assert await closed is cut
        rest = [b"rest"] if body.endswith(b"rest") else []
        assert heard == [*rest, tlsio.TruncatedError if cut else "end", cut]


async def test_flow_that_starts_when_both_directions_have_ended(pair: Pair) -> None:
    """The bytes of a read stay for a flow, and for later reads."""
    for flows in (True, False):
        async with pair() as (client, peer, _server):
            client.end(b"header\nrest")
            assert await peer.readline() == b"header\n"
            peer.end()
            await peer.wait_closed()
            if flows:
                heard, closed = hear(peer), once(peer, "close")
                assert await closed is False
                assert heard == [b"rest", "end", False]
            else:
                assert [await peer.read(), await peer.read(), await peer.read()] == [b"rest", b"", b""]


async def test_late_end_listener(pair: Pair) -> None:
    """`end` waits for its listener, who gets it once."""
    async with pair() as (client, peer, _server):
        peer.on("data", ignore)
        client.end()
        await peer.wait_closed()
        heard: list[str] = []
        peer.on("end", lambda: heard.append("first"))
        await asyncio.sleep(0)
        peer.on("end", lambda: heard.append("second"))
        await asyncio.sleep(0)
        assert heard == ["first"]


async def test_late_error_listener(pair: Pair) -> None:
    """An error that no call has raised yet waits for a listener."""
    async with pair() as (client, peer, _server):
        peer.destroy()
        await client.wait_closed()
        assert isinstance(await once(client, "error"), tlsio.TruncatedError)


async def test_error_waits_for_the_data_before_it(pair: Pair) -> None:
    """An async data listener is done before the truncation that follows its chunk is told."""
    async with pair() as (client, peer, _server):
        heard, go_on = [], asyncio.Event()

        async def take(chunk: bytes) -> None:
            heard.append(chunk)
            await go_on.wait()
            heard.append(b"done")

        peer.on("data", take)
        peer.on("error", lambda error: heard.append(type(error)))
        client.on("error", ignore)
        await client.send(b"part")
        while not heard:  # noqa: ASYNC110
            await asyncio.sleep(0)
        client.destroy()
        while not peer._connection.truncated:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert heard == [b"part"]
        go_on.set()
        await peer.wait_closed()
        assert heard == [b"part", b"done", tlsio.TruncatedError]


async def test_truncation_goes_to_every_later_call(pair: Pair) -> None:
    """In pull style too it is an error of the connection: `error`, `close(True)`, each call; nothing can be written any more."""
    async with pair() as (client, peer, _server):
        error, closed = once(client, "error"), once(client, "close")
        peer.destroy()
        assert await closed is True
        told = await error
        for call in (client.read(), client.drain(), client.send(b"x"), client.readline()):
            with pytest.raises(tlsio.TruncatedError) as caught:
                await call
            assert caught.value is told
        assert client.write(b"x") is False


async def test_no_event_follows_close(net: Net) -> None:
    """A server's listener that destroys its socket is the last that happens to it."""
    heard: list[str] = []

    def listener(sock: tlsio.TLSSocket) -> None:
        sock.on("secure", lambda: heard.append("secure"))
        sock.on("close", lambda _had_error: heard.append("close"))
        sock.destroy()

    async with net.serve(listener) as server:
        client = await net.connect(server)
        with pytest.raises(tlsio.TruncatedError):
            await client.read()
        assert heard == ["close"]


async def test_close_comes_after_the_event_it_was_called_in(pair: Pair) -> None:
    """All listeners of one event get it, also when the first destroys the socket, and `close` comes last."""
    async with pair() as (client, peer, _server):
        heard: list[str] = []
        peer.on("close", lambda _had_error: heard.append("close"))
        peer.on("end", peer.destroy)
        peer.on("end", lambda: heard.append("end"))
        client.on("error", ignore)
        client.end()
        await peer.wait_closed()
        assert heard == ["end", "close"]


# ---- our own end drops what was read


@pytest.mark.parametrize("how", ["destroy", "close"])
@pytest.mark.parametrize("read", [lambda sock: sock.readexactly(10), lambda sock: sock.readuntil(b"\n"), lambda sock: sock.readline()])
async def test_nothing_is_read_after_our_own_end(pair: Pair, how: str, read: Callable[[tlsio.TLSSocket], Any]) -> None:
    """What a waiting read held is dropped, and no later byte is given out after that hole."""
    async with pair() as (client, peer, _server):
        await peer.send(b"abc")
        reading = asyncio.ensure_future(read(client))
        while client._buffer is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        peer.write(b"later\n")
        getattr(client, how)()
        for call in (reading, client.read(), client.readline(), client.readexactly(1)):
            with pytest.raises(tlsio.TLSError) as caught:
                await call
            assert caught.value.code == "ERR_SOCKET_CLOSED"
        peer.on("error", ignore)


# ---- what is left


async def test_cancelled_waiters_leave_nothing(pair: Pair) -> None:
    """A program may give up waiting as often as it likes."""
    async with pair(client={"high_water_mark": 1000}) as (client, peer, _server):
        peer.pause()
        client.write(b"x" * 20_000_000)
        tasks = [asyncio.ensure_future(wait()) for wait in (client.drain, client.wait_closed) for _ in range(20)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert not client._drain_waiters
        assert not client._close_waiters
        peer.on("error", ignore)


async def test_data_listener_does_not_wait_for_its_own_socket(pair: Pair) -> None:
    """`wait_closed` in an async data listener of an open socket raises: the socket waits for the listener."""
    async with pair() as (client, peer, _server):
        refused = asyncio.get_running_loop().create_future()

        async def take(_chunk: bytes) -> None:
            try:
                await peer.wait_closed()
            except tlsio.UsageError as error:
                refused.set_result(error)
            await peer.aclose()  # this one ends

        peer.on("data", take)
        client.write(b"x")
        assert (await refused).code == "ERR_TLS_SELF_WAIT"
        client.end()
        await asyncio.gather(client.wait_closed(), peer.wait_closed())


async def test_dropped_open_client_warns(net: Net) -> None:
    """A client socket that goes without `close` and without a listener is a ResourceWarning."""
    async with net.serve() as server:
        client = await net.connect(server)
        with pytest.warns(ResourceWarning, match="unclosed <TLSSocket client open"):
            client.__del__()
        client.destroy()
        await client.wait_closed()


async def test_our_own_mistake_ends_the_socket_and_is_reported(pair: Pair, loop_errors: list[dict[str, Any]]) -> None:
    """What our own code raises while news are delivered ends that socket, once, whatever its state."""
    async with pair() as (client, peer, _server):
        peer.on("error", ignore)
        error = LookupError("ours")
        client._crashed(error)
        assert client.closed
        assert [context["exception"] for context in loop_errors] == [error]
        loop_errors.clear()
        with pytest.raises(LookupError):
            await client.read()
