"""Close in its two phases, and other waits that a peer cannot prolong."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import signal
import socket
import ssl
import struct
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from net import fill, once

if TYPE_CHECKING:
    from net import Net, Pair


def ignore(*_: Any) -> None:
    """Take anything."""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["close", "return"])
async def test_slow_reader_is_not_cut(net: Net, how: str) -> None:
    """Six megabytes at a rate that takes several times `close_timeout`: all of them, then the end. So, too, when a listener returns."""
    size, step = 6_000_000, 250_000
    closed = asyncio.get_running_loop().create_future()

    async def listener(sock: tlsio.TLSSocket) -> None:
        sock.on("close", closed.set_result)
        sock.write(b"x" * size)
        if how == "close":
            sock.close()

    async with net.serve(listener, close_timeout=1.0) as server:
        client = await net.connect(server)
        for _ in range(size // step):
            await client.readexactly(step)
            await asyncio.sleep(0.15)
        assert await client.read() == b""
        client.close()
        assert await closed is False


async def test_data_that_was_not_delivered_is_an_error(pair: Pair) -> None:
    """A peer that reads nothing: after `close_timeout` an error for the listeners and the later calls, and `close(True)`."""
    async with pair(client={"close_timeout": 0.1, "high_water_mark": 1000}) as (client, peer, _server):
        peer.pause()
        await fill(client, 1000)
        error, closed = once(client, "error"), once(client, "close")
        client.close()
        assert await closed is True
        told = await error
        assert isinstance(told, tlsio.ConnectionLostError)
        assert isinstance(told, TimeoutError)
        assert told.code == "ERR_TLS_CLOSE_TIMEOUT"
        assert "close_timeout" in (told.hint or "")
        for call in (client.read(), client.drain()):
            with pytest.raises(tlsio.ConnectionLostError) as caught:
                await call
            assert caught.value is told
        peer.on("error", ignore)


async def test_server_counts_what_close_could_not_deliver(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """Its operator learns that answers do not arrive, though no listener asks."""
    caplog.set_level(logging.DEBUG, "tlsio")
    peers: list[tlsio.TLSSocket] = []
    async with pair(server={"close_timeout": 0.1, "high_water_mark": 1000}, listener=peers.append) as (client, peer, server):
        client.pause()
        await fill(peer, 1000)
        closed = once(peer, "close")
        peer.close()
        assert await closed is True
        assert dict(server.stats().connections_failed) == {"ERR_TLS_CLOSE_TIMEOUT": 1}
        assert "within close_timeout" in caplog.text


async def test_program_that_closes_need_not_take_the_error(pair: Pair) -> None:
    """What `close` could not deliver is not reported to the loop's handler; the test's frame looks there."""
    async with pair(client={"close_timeout": 0.1, "high_water_mark": 1000}) as (client, peer, _server):
        peer.pause()
        await fill(client, 1000)
        await client.aclose()
        assert client.closed
        peer.on("error", ignore)


async def test_close_waits_for_acknowledgements_after_both_ends(pair: Pair) -> None:
    """The peer has ended already, and does not read: what the kernel holds is not delivered."""
    async with pair(client={"close_timeout": 0.1}) as (client, peer, _server):
        peer.end()
        assert await client.read() == b""
        peer.pause()
        client.write(b"x" * 20_000_000)
        closed = once(client, "close")
        client.close()
        assert await closed is True
        peer.on("error", ignore)


@pytest.mark.slow
async def test_renegotiation_is_bounded(pair: Pair) -> None:
    """A peer whose answer never comes, here because it does not read what was sent before: HandshakeTimeoutError."""
    async with pair(server={"handshake_timeout": 0.5}) as (client, peer, _server):
        peer.write(b"x" * 200_000)
        client.on("error", ignore)
        with pytest.raises(tlsio.TLSError) as caught:
            await peer.renegotiate()
        if caught.value.code == "ERR_SSL_EXTENSION_NOT_RECEIVED":
            return  # TLS 1.3: our client offers no post-handshake authentication
        assert isinstance(caught.value, tlsio.HandshakeTimeoutError)
        assert peer.closed
        with pytest.raises(tlsio.HandshakeTimeoutError):
            await peer.read()


async def test_failed_send_is_an_error_of_the_connection(net: Net) -> None:
    """The peer ends in order, then is gone while we still send: `error` and `close(True)`, without a call that asks."""
    accepted = asyncio.get_running_loop().create_future()
    async with net.serve(accepted.set_result) as server, net.relay(server) as relay:
        client = await net.connect(server, allow_half_open=True)
        heard: list[Any] = []
        client.on("data", ignore)
        ended, closed = once(client, "end"), once(client, "close")
        client.on("error", heard.append)
        peer = await accepted
        peer.on("error", ignore)
        peer.end()
        await ended
        peer.pause()
        client.write(b"x" * 20_000_000)
        await asyncio.sleep(0)
        relay.reset()
        assert await closed is True
        assert [type(error) for error in heard] == [tlsio.ConnectionLostError]
        assert client.write(b"x") is False


async def test_idle_timer_rests_after_it_has_told(pair: Pair) -> None:
    """A silent socket costs nothing: no timer runs until data moves again."""
    async with pair() as (client, peer, _server):
        told = once(client, "timeout")
        client.set_timeout(0.01)
        await told
        assert client._idle_timer is None
        client.write(b"x")
        assert client._idle_timer is not None
        await once(client, "timeout")
        for flowing in (False, True):
            assert client._idle_timer is None
            if flowing:
                client.on("data", ignore)
            await peer.send(b"x")
            if not flowing:
                assert await client.read() == b"x"
            await once(client, "timeout")


@pytest.mark.parametrize("first", ["client", "server"])
async def test_connection_ends_though_a_child_keeps_its_descriptor(first: str) -> None:
    """A child that C code has forked knows nothing of us: its copy does not keep the peer from seeing the end."""
    who, libc = pki.localhost(), ctypes.PyDLL(None)
    context = ssl.create_default_context(cadata=pki.ca1().cert_pem.decode())
    accepted: asyncio.Future[tlsio.TLSSocket] = asyncio.get_running_loop().create_future()

    def take_end(client: ssl.SSLSocket) -> bool:
        if first == "client":
            client.unwrap()
        while socket.socket.recv(client, 1000):  # below TLS
            pass
        return True

    async with tlsio.serve(accepted.set_result, 0, "127.0.0.1", cert=who.cert_pem, key=who.key_pem) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as raw:
            client = await asyncio.to_thread(context.wrap_socket, raw, server_hostname="localhost")
            peer = await accepted
            child = libc.fork()
            if not child:
                while True:
                    libc.pause()
            try:
                ending = asyncio.ensure_future(asyncio.to_thread(take_end, client))
                if first == "client":
                    assert await peer.read() == b""
                peer.close()
                assert await ending
            finally:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)  # noqa: ASYNC222 - it is killed
                client.close()


async def test_reset_after_both_have_ended_is_no_delivery(net: Net) -> None:
    """What the peer's kernel had not acknowledged is lost, and that is an error, told long before `close_timeout` has passed."""
    closed, errors = await close_and_be_reset(net, size=100_000, read=0)
    assert closed is True
    assert [getattr(error, "code", None) for error in errors] == ["ECONNRESET"]


async def test_reset_by_a_peer_that_has_all_is_no_error(net: Net) -> None:
    """Many clients close as soon as they have read the answer, and do not wait for our close_notify."""
    closed, errors = await close_and_be_reset(net, size=1000, read=1000)
    assert closed is False
    assert errors == []


async def close_and_be_reset(net: Net, *, size: int, read: int) -> tuple[bool, list[BaseException]]:
    """Write and close on a server; the peer reads so much of it, says close_notify, and resets the connection."""
    errors: list[BaseException] = []
    closed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def answer(sock: tlsio.TLSSocket) -> None:
        sock.on("error", errors.append)
        sock.on("close", closed.set_result)
        sock.write(bytes(size))
        sock.close()

    async with net.serve(answer, close_timeout=60) as server:
        raw = socket.socket()
        raw.settimeout(5)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.to_thread(raw.connect, ("127.0.0.1", net.port(server)))
        context = ssl.create_default_context(cadata=pki.ca1().cert_pem.decode())
        peer = await asyncio.to_thread(context.wrap_socket, raw, server_hostname="localhost")
        while read:
            read -= len(await asyncio.to_thread(peer.recv, read))
        peer.settimeout(0)
        with suppress(ssl.SSLError):
            peer.unwrap()  # its close_notify leaves; ours may stand behind data that it does not take
        await asyncio.sleep(0.02)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        return await asyncio.wait_for(closed, 10), errors


async def test_reset_by_a_peer_that_says_nothing_more_is_no_error(net: Net) -> None:
    """Clients that know the length of the answer close without close_notify; `close` looks at what they have, not at a clock."""
    errors: list[BaseException] = []
    closed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def answer(sock: tlsio.TLSSocket) -> None:
        sock.on("error", errors.append)
        sock.on("close", closed.set_result)
        sock.write(bytes(1000))
        sock.close()

    async with net.serve(answer, close_timeout=60) as server:
        context = ssl.create_default_context(cadata=pki.ca1().cert_pem.decode())
        raw = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", net.port(server)))
        peer = await asyncio.to_thread(context.wrap_socket, raw, server_hostname="localhost")
        assert await asyncio.to_thread(read_to_the_end, peer) == 1000
        # A reset acknowledges nothing, and the kernel may delay an acknowledgement. Once FIN is read too, this sends it.
        assert await asyncio.to_thread(os.read, peer.fileno(), 1) == b""
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        assert await asyncio.wait_for(closed, 10) is False
        assert errors == []


def read_to_the_end(peer: ssl.SSLSocket) -> int:
    """Read all that is sent, close_notify included; returns how many bytes."""
    count = 0
    while data := peer.recv(65536):
        count += len(data)
    return count


async def test_reset_after_the_end_of_a_peer_that_is_owed_nothing_is_no_error(net: Net) -> None:
    """An upload: the peer sends, says close_notify, and closes with our tickets unread, which its kernel answers with a reset."""
    errors: list[BaseException] = []
    sockets: asyncio.Queue[tlsio.TLSSocket] = asyncio.Queue()

    def take(sock: tlsio.TLSSocket) -> None:
        sock.on("error", errors.append)
        sockets.put_nowait(sock)

    async with net.serve(take, allow_half_open=True) as server:
        context = ssl.create_default_context(cadata=pki.ca1().cert_pem.decode())
        raw = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", net.port(server)))
        peer = await asyncio.to_thread(context.wrap_socket, raw, server_hostname="localhost")
        peer.sendall(bytes(5000))
        peer.settimeout(0)
        with suppress(ssl.SSLError):
            peer.unwrap()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock = await sockets.get()
        while await sock.read():
            pass
        peer.close()
        await asyncio.sleep(0.02)
        assert await sock.read() == b""
        closed = once(sock, "close")
        sock.close()
        assert await closed is False
        assert errors == []


async def test_close_without_a_limit_waits(net: Net) -> None:
    """`close_timeout=None`: however long the peer takes to acknowledge."""
    closed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def answer(sock: tlsio.TLSSocket) -> None:
        sock.on("error", ignore)
        sock.on("close", closed.set_result)
        sock.write(bytes(100_000))
        sock.close()

    async with net.serve(answer, close_timeout=None) as server:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.to_thread(raw.connect, ("127.0.0.1", net.port(server)))
        context = ssl.create_default_context(cadata=pki.ca1().cert_pem.decode())
        peer = await asyncio.to_thread(context.wrap_socket, raw, server_hostname="localhost")
        peer.settimeout(0)
        with suppress(ssl.SSLError):
            peer.unwrap()
        await asyncio.sleep(0.1)
        assert not closed.done()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        assert await asyncio.wait_for(closed, 10) is True


async def test_closed_socket_is_freed_although_its_listeners_refer_to_it(net: Net) -> None:
    """Without the garbage collector; a cycle of a socket and its listeners would wait for it."""
    freed, ended = [], asyncio.get_running_loop().create_future()

    def listener(sock: tlsio.TLSSocket) -> None:
        weakref.finalize(sock, freed.append, "server")
        sock.on("data", sock.write)
        sock.on("close", lambda _: ended.set_result(sock.closed))

    async with net.serve(listener) as server:
        gc.collect()
        gc.disable()
        try:
            client = await net.connect(server)
            client.write(b"x")
            assert await client.readexactly(1) == b"x"
            client.close()
            assert await ended is True
            await client.wait_closed()
            await asyncio.sleep(0)
            assert freed == ["server"]
        finally:
            gc.enable()


async def test_kept_events_reach_listeners_that_are_added_after_the_close(pair: Pair) -> None:
    """The listeners from before the close are dropped, these are not."""
    async with pair() as (client, peer, _server):
        told: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        client.on("data", ignore)
        closed = once(client, "close")
        client.on("close", lambda _: client.on("error", told.set_result))
        error = ValueError("a listener failed")
        client.destroy(error)
        assert await closed is True
        assert await told is error
        peer.on("error", ignore)
