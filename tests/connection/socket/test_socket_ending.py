"""The ends of a connection: half-close both ways, close, destroy, truncation, and what stays readable."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from net import fill, once

if TYPE_CHECKING:
    from net import Net, Pair


# ---- half-close


@pytest.mark.parametrize("first", ["client", "server"])
async def test_half_closed_connection_carries_the_other_direction(pair: Pair, first: str) -> None:
    """After one side's end the other may go on writing as long as it likes."""
    async with pair() as (client, peer, _server):
        ends, goes_on = (client, peer) if first == "client" else (peer, client)
        ends.end(b"question")
        assert await goes_on.readexactly(8) == b"question"
        assert await goes_on.read() == b""
        for _ in range(10):
            await goes_on.send(b"answer" * 1000)
        goes_on.end()
        assert await ends.readexactly(60_000) == b"answer" * 10_000
        assert await ends.read() == b""
        await asyncio.gather(client.wait_closed(), peer.wait_closed())
        assert not client.truncated
        assert not peer.truncated


@pytest.mark.node("tls-close-event-after-write")
async def test_both_ends_close(pair: Pair) -> None:
    """When both directions have ended both sides are closed, without an error, each told once."""
    async with pair() as (client, peer, _server):
        closes: list[tuple[str, bool]] = []
        client.on("close", lambda had_error: closes.append(("client", had_error)))
        peer.on("close", lambda had_error: closes.append(("server", had_error)))
        client.write(b"x" * 1_000_000)
        client.end()
        assert len(await peer.readexactly(1_000_000)) == 1_000_000
        peer.end()
        await asyncio.gather(client.wait_closed(), peer.wait_closed())
        assert sorted(closes) == [("client", False), ("server", False)]


async def test_drain_after_the_last_byte_left(pair: Pair) -> None:
    """`drain` of a connection that ended in order has nothing to complain about."""
    async with pair() as (client, peer, _server):
        client.end(b"x")
        peer.end()
        await client.wait_closed()
        await client.drain()


@pytest.mark.node("tls-connect-allow-half-open-option")
async def test_flowing_socket_ends_after_its_peer(pair: Pair) -> None:
    """In flow style the peer's end is answered by ours."""
    async with pair(listener=lambda sock: sock.on("data", sock.write)) as (client, peer, _server):
        client.end(b"x")
        assert await client.read() == b"x"
        assert await client.read() == b""
        await peer.wait_closed()


@pytest.mark.node("tls-server-parent-constructor-options", "tls-connect-allow-half-open-option", "tls-socket-allow-half-open-option")
async def test_flowing_socket_may_stay_half_open(pair: Pair) -> None:
    """With `allow_half_open` the peer's end is only told: a last word may follow later."""
    async with pair(server={"allow_half_open": True}) as (client, peer, _server):
        peer.on("data", lambda chunk: None)
        ended = once(peer, "end")
        client.end()
        await ended
        for _ in range(5):
            await asyncio.sleep(0)
        assert peer.writable
        peer.end(b"bye")
        assert await client.readexactly(3) == b"bye"


async def test_pulling_socket_stays_half_open(pair: Pair) -> None:
    """Who pulls decides when to end: reading b"" ends nothing."""
    async with pair() as (client, peer, _server):
        client.end()
        assert await peer.read() == b""
        await peer.send(b"still here")
        assert await client.read() == b"still here"


async def test_end_may_come_first(pair: Pair) -> None:
    """An end without a byte is seen by a reader that waited before."""
    async with pair() as (client, peer, _server):
        reading = asyncio.ensure_future(peer.read())
        await asyncio.sleep(0)
        client.end()
        assert await reading == b""


# ---- close


@pytest.mark.node("tls-client-destroy-soon")
async def test_close_sends_all_that_was_written(pair: Pair) -> None:
    """`close` is an end first: two megabytes arrive."""
    async with pair() as (client, peer, _server):
        client.write(b"x" * 2_000_000)
        client.close()
        assert len(await peer.readexactly(2_000_000)) == 2_000_000
        assert await peer.read() == b""
        peer.close()
        await client.wait_closed()


async def test_close_discards_what_still_comes(pair: Pair) -> None:
    """A peer that goes on sending is read to its end, and the close waits for it; nothing of it is given to anybody."""
    async with pair() as (client, peer, _server):
        heard: list[bytes] = []
        client.on("data", heard.append)
        client.close()
        assert await peer.read() == b""
        for _ in range(50):
            await peer.send(b"x" * 10_000)
        peer.end()
        await client.wait_closed()
        assert not heard
        assert client.bytes_read == 500_000


async def test_read_after_close_raises(pair: Pair) -> None:
    """Who waits when we close is told at once; later reads are told too."""
    async with pair() as (client, _peer, _server):
        reading = asyncio.ensure_future(client.read())
        await asyncio.sleep(0)
        client.close()
        for read in (reading, client.read(), client.readline()):
            with pytest.raises(tlsio.TLSError) as caught:
                await read
            assert caught.value.code == "ERR_SOCKET_CLOSED"
            assert isinstance(caught.value, ConnectionError)


async def test_close_gives_up_on_a_silent_peer(pair: Pair) -> None:
    """A peer that neither ends nor sends is left after `close_timeout`."""
    async with pair(client={"close_timeout": 0.05}) as (client, peer, _server):
        closed = once(client, "close")
        client.close()
        assert await closed is False
        assert not peer.closed


async def test_close_is_not_prolonged_by_a_peer_that_sends(pair: Pair) -> None:
    """A peer that has acknowledged everything has `close_timeout` in all, however much it sends."""
    async with pair(client={"close_timeout": 0.1}) as (client, peer, _server):
        client.close()

        async def send_on() -> None:
            with contextlib.suppress(tlsio.TLSError):
                while True:
                    await peer.send(b"x")
                    await asyncio.sleep(0.01)

        sending = asyncio.ensure_future(send_on())
        had_error = once(client, "close")
        await client.wait_closed()
        assert await had_error is False
        peer.destroy()
        await sending


async def test_close_is_repeatable(pair: Pair) -> None:
    """Closing again, or destroying what is closed, is no mistake."""
    async with pair() as (client, peer, _server):
        client.close()
        client.close()
        peer.close()
        await client.wait_closed()
        await client.wait_closed()
        client.close()
        client.destroy()
        await client.aclose()


async def test_block_closes(net: Net) -> None:
    """`async with` leaves by close: what was written has arrived, and both sides are closed."""
    async with net.serve() as server:
        accepted = once(server, "secure_connection")
        async with await net.connect(server) as client:
            peer = await accepted
            client.write(b"x" * 100_000)
            reading = asyncio.ensure_future(peer.readexactly(100_000))
            peer.end()
        assert client.closed
        assert await reading == b"x" * 100_000
        await peer.wait_closed()


async def test_block_left_by_an_exception_destroys(net: Net) -> None:
    """An exception does not wait for the peer, and is the one that comes out."""
    async with net.serve() as server:
        accepted = once(server, "secure_connection")
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what is tested
            async with await net.connect(server) as client:
                peer = await accepted
                raise ZeroDivisionError
        assert client.closed
        with pytest.raises(tlsio.TruncatedError):
            await peer.read()
        peer.destroy()
        await peer.wait_closed()


async def test_cancelled_aclose_destroys(pair: Pair) -> None:
    """Who does not want to wait for the peer any more cancels, and the connection is gone."""
    async with pair() as (client, _peer, _server):
        closing = asyncio.ensure_future(client.aclose())
        await asyncio.sleep(0)
        assert not client.closed
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert client.closed


# ---- destroy


@pytest.mark.node("tls-destroy-stream")
async def test_destroy_is_immediate_and_truncates(pair: Pair) -> None:
    """`destroy` closes within the call; the peer gets what had left, and no close_notify."""
    async with pair() as (client, peer, _server):
        await client.send(b"sent")
        closed = once(client, "close")
        assert client.destroy() is client
        assert client.closed
        assert await closed is False
        assert await peer.read() == b"sent"
        with pytest.raises(tlsio.TruncatedError) as caught:
            await peer.read()
        assert caught.value.code == "ERR_TLS_TRUNCATED"


@pytest.mark.parametrize("call", ["read", "readline", "drain"])
async def test_destroy_with_an_error_tells_it(pair: Pair, call: str) -> None:
    """The caller's own error goes to who waits, to who comes later, and to the listeners."""
    async with pair(client={"high_water_mark": 1000}) as (client, _peer, _server):
        mine, heard = ZeroDivisionError("mine"), once(client, "error")
        closed = once(client, "close")
        await fill(client, 1000)
        waiting = asyncio.ensure_future(getattr(client, call)())
        await asyncio.sleep(0)
        client.destroy(mine)
        assert await heard is mine
        assert await closed is True
        with pytest.raises(ZeroDivisionError):
            await waiting
        with pytest.raises(ZeroDivisionError):
            await client.read()


@pytest.mark.parametrize("call", ["read", "readline", "drain", "wait_closed"])
async def test_destroy_without_an_error_tells_of_the_close(pair: Pair, call: str) -> None:
    """Who waits or comes later is told ERR_SOCKET_CLOSED; `wait_closed` is content."""
    async with pair(client={"high_water_mark": 1000}) as (client, _peer, _server):
        await fill(client, 1000)
        waiting = asyncio.ensure_future(getattr(client, call)())
        await asyncio.sleep(0)
        client.destroy()
        for one in (waiting, getattr(client, call)()):
            if call == "wait_closed":
                await one
                continue
            with pytest.raises(tlsio.TLSError) as caught:
                await one
            assert caught.value.code == "ERR_SOCKET_CLOSED"


async def test_wait_closed_never_raises_the_error(pair: Pair) -> None:
    """The error belongs to reads and writes."""
    async with pair() as (client, _peer, _server):
        client.on("error", lambda error: None)
        waiting = asyncio.ensure_future(client.wait_closed())
        await asyncio.sleep(0)
        client.destroy(ZeroDivisionError())
        await waiting
        await client.wait_closed()


async def test_cancelled_connect_leaves_nothing(net: Net) -> None:
    """At whatever moment `connect` is cancelled, no task, descriptor or error is left; the test's frame looks for them."""
    async with net.serve() as server:
        for turns in range(0, 40, 3):
            connecting = asyncio.ensure_future(net.connect(server))
            for _ in range(turns):
                await asyncio.sleep(0)
            connecting.cancel()
            try:
                client = await connecting
            except asyncio.CancelledError:
                continue
            client.destroy()  # it was faster
        while server.connections:
            for socket in tuple(server._open_sockets):
                socket.destroy()
            await asyncio.sleep(0)


# ---- truncation


async def test_truncation_is_told_to_readers(pair: Pair) -> None:
    """A FIN without close_notify: all bytes, then TruncatedError at every read, and our direction still open."""
    async with pair() as (client, peer, _server):
        await peer.send(b"part\nof a line")
        peer.destroy()
        assert await client.readline() == b"part\n"
        for read in (client.readline(), client.readexactly(100)):
            with pytest.raises(tlsio.TruncatedError):
                await read
        assert await client.read() == b"of a line"
        with pytest.raises(tlsio.TruncatedError):
            await client.read()
        assert client.truncated


async def test_truncation_ends_an_iteration_with_the_error(pair: Pair) -> None:
    """`async for` does not end as if all had come."""
    async with pair() as (client, peer, _server):
        await peer.send(b"part")
        peer.destroy()
        got = []
        with pytest.raises(tlsio.TruncatedError):  # noqa: PT012 - so is the loop
            async for chunk in client:
                got.append(chunk)  # noqa: PERF401 - the error comes in the middle
        assert got == [b"part"]


async def test_truncation_in_flow_is_an_error_and_no_end(pair: Pair) -> None:
    """Flow: all data, `error(TruncatedError)`, `close(True)`; no `end`."""
    async with pair() as (client, peer, _server):
        told: list[Any] = []
        client.on("data", lambda chunk: told.append(bytes(chunk)))
        client.on("end", lambda: told.append("end"))
        client.on("error", lambda error: told.append(type(error)))
        closed = once(client, "close")
        await peer.send(b"part")
        peer.destroy()
        assert await closed is True
        assert told == [b"part", tlsio.TruncatedError]


@pytest.mark.parametrize("style", ["pull", "flow"])
async def test_truncation_may_be_allowed(pair: Pair, style: str) -> None:
    """With `allow_truncation` it is an end like another; `truncated` still says how it was."""
    async with pair(client={"allow_truncation": True}) as (client, peer, _server):
        if style == "flow":
            client.on("data", lambda chunk: None)
        ended = once(client, "end")
        peer.destroy()
        await ended
        if style == "pull":
            assert await client.read() == b""
        assert client.truncated


async def test_clean_end_is_no_truncation(pair: Pair) -> None:
    """A close_notify followed by FIN, or by nothing, is clean."""
    async with pair() as (client, peer, _server):
        peer.end()
        assert await client.read() == b""
        assert not client.truncated


# ---- what stays


async def test_facts_stay_readable_after_the_close(pair: Pair, net: Net) -> None:
    """Everything a log line wants is still there, on both sides, however the connection ended."""
    async with pair() as (client, peer, _server):
        await client.send(b"x")
        await peer.read()
        before = [facts(one) for one in (client, peer)]
        client.destroy()
        peer.destroy()
        assert [facts(one) for one in (client, peer)] == before
        assert before[0]["protocol"] == net.version
        assert (client.closed, client.readable, client.writable, client.secure_connecting) == (True, False, False, False)


def facts(socket: tlsio.TLSSocket) -> dict[str, Any]:
    """Collect what a socket tells."""
    certificate = socket.get_peer_certificate()
    return {
        "protocol": socket.get_protocol(),
        "cipher": socket.get_cipher(),
        "authorized": socket.authorized,
        "error": socket.authorization_error,
        "alpn": socket.alpn_protocol,
        "name": socket.servername,
        "peer": None if certificate is None else certificate["fingerprint256"],
        "chain": socket.get_verified_chain(),
        "local": (socket.local_address, socket.local_port, socket.local_family),
        "remote": (socket.remote_address, socket.remote_port, socket.remote_family),
        "bytes": (socket.bytes_read, socket.bytes_written, socket.truncated),
        "reused": socket.is_session_reused(),
        "encrypted": socket.encrypted,
    }


async def test_addresses(pair: Pair) -> None:
    """Each side's local address is the other's remote one."""
    async with pair() as (client, peer, _server):
        assert (client.local_address, client.local_port, client.local_family) == ("127.0.0.1", peer.remote_port, "IPv4")
        assert (peer.remote_address, peer.remote_family) == ("127.0.0.1", "IPv4")
        assert client.remote_port == peer.local_port
        assert peer.address() == {"address": "127.0.0.1", "family": "IPv4", "port": peer.local_port}


async def test_repr_tells_role_state_peer_and_version(pair: Pair, net: Net) -> None:
    """What a log shows of a socket."""
    async with pair() as (client, peer, _server):
        assert repr(client) == f"<TLSSocket client open peer=127.0.0.1:{client.remote_port} {net.version}>"
        assert repr(peer) == f"<TLSSocket server open peer=127.0.0.1:{peer.remote_port} {net.version}>"
        client.close()
        assert "closing" in repr(client)
        client.destroy()
        assert "client closed" in repr(client)


async def test_socket_is_neither_pickled_nor_copied(pair: Pair) -> None:
    """A connection is one."""
    async with pair() as (client, _peer, _server):
        for duplicate in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="cannot be pickled or copied"):
                duplicate(client)


async def test_state_while_open(pair: Pair) -> None:
    """`readable` and `writable` follow the two directions."""
    async with pair() as (client, peer, _server):
        assert (client.readable, client.writable, client.closed, client.secure_connecting) == (True, True, False, False)
        peer.end()
        assert await client.read() == b""
        assert (client.readable, client.writable) == (False, True)
        client.end()
        assert not client.writable
        with contextlib.suppress(tlsio.TLSError):
            await client.wait_closed()
        assert client.closed
