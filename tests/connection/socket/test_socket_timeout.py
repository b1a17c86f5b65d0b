"""Time limits of a socket: silence, the handshake, and options of the kernel's socket."""

from __future__ import annotations

import asyncio
import socket as sockets
from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from net import once

if TYPE_CHECKING:
    from net import Net, Pair


@pytest.mark.node("tls-timeout-server-2", "tls-request-timeout")
async def test_silence_is_told_once(pair: Pair) -> None:
    """A `timeout` listener decides: the socket lives on, and is told again only when it was used in between."""
    async with pair() as (client, peer, _server):
        told = 0

        def count() -> None:
            nonlocal told
            told += 1

        client.on("timeout", count)
        assert client.set_timeout(0.02) is client
        await once(client, "timeout")
        await asyncio.sleep(0.1)
        assert told == 1
        await client.send(b"x")
        await once(client, "timeout")
        assert told == 2
        assert await peer.read() == b"x"


async def test_silence_without_a_listener_destroys(pair: Pair) -> None:
    """Nobody decides: the waiting read gets a TimeoutError that is also a lost connection."""
    async with pair() as (client, _peer, _server):
        closed = once(client, "close")
        client.set_timeout(0.02)
        with pytest.raises(TimeoutError) as caught:
            await client.read()
        assert isinstance(caught.value, tlsio.ConnectionLostError)
        assert caught.value.code == "ETIMEDOUT"
        assert await closed is True


@pytest.mark.node("tls-wrap-timeout")
async def test_traffic_holds_the_timeout_off(pair: Pair) -> None:
    """Both directions count: the timeout is told when the last byte is that long ago, not the first."""
    async with pair(listener=lambda sock: sock.on("data", sock.write)) as (client, _peer, _server):
        loop, timeouts = asyncio.get_running_loop(), once(client, "timeout")
        client.set_timeout(0.06)
        start = last = loop.time()
        while last < start + 0.1 and not timeouts.done():  # done: this machine was busy with something else for so long
            last = loop.time()
            await client.send(b"x")
            await client.read()
            await asyncio.sleep(0.01)
        await timeouts
        assert loop.time() >= last + 0.05


@pytest.mark.node("tls-wrap-timeout")
async def test_timeout_can_be_taken_back(pair: Pair) -> None:
    """`None` means never, and a closed socket emits nothing."""
    async with pair() as (client, peer, _server):
        for one in (client, peer):
            one.on("timeout", pytest.fail)
            one.on("error", lambda _error: None)  # the client is cut off
            one.set_timeout(0.01)
            one.set_timeout(None)
        await asyncio.sleep(0.03)
        assert not client.closed
        peer.destroy()
        await client.wait_closed()
        for one in (client, peer):
            one.set_timeout(0.01)
        await asyncio.sleep(0.03)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), "1", True])
async def test_wrong_times_are_refused(pair: Pair, seconds: Any) -> None:
    """Zero is no time; Node's 0 is None here."""
    async with pair() as (client, _peer, _server):
        with pytest.raises(tlsio.UsageError) as caught:
            client.set_timeout(seconds)
        assert isinstance(caught.value, TypeError if isinstance(seconds, str | bool) else ValueError)


async def test_handshake_with_a_silent_server_ends_in_time(net: Net) -> None:
    """A server that accepts and says nothing: HandshakeTimeoutError, nothing left behind."""
    async with net.serve() as server:
        silent = sockets.create_server(("127.0.0.1", 0))
        net.ports[server] = silent.getsockname()[1]
        with pytest.raises(tlsio.HandshakeTimeoutError) as caught:
            await net.connect(server, handshake_timeout=0.05)
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.code == "ERR_TLS_HANDSHAKE_TIMEOUT"
        assert "sent nothing" in (caught.value.hint or "")
        silent.close()


async def test_handshake_with_a_silent_client_ends_in_time(net: Net) -> None:
    """A client that connects and says nothing is told about as any failed handshake."""
    async with net.serve(handshake_timeout=0.05) as server:
        failed = once(server, "tls_client_error")
        with await net.dial(server) as sock:
            error, socket = await failed
            assert isinstance(error, tlsio.HandshakeTimeoutError)
            assert socket.closed
            assert (await asyncio.get_running_loop().sock_recv(sock, 100))[:1] == b"\x15"  # RFC 8446 §5.1: an alert
            assert await asyncio.get_running_loop().sock_recv(sock, 100) == b""


@pytest.mark.slow
async def test_established_connection_has_no_handshake_timeout(net: Net) -> None:
    """The handshake's deadline ends with it. A busy machine still shakes hands within a second."""
    async with net.serve(handshake_timeout=1) as server:
        client = await net.connect(server, handshake_timeout=1)
        await asyncio.sleep(1.1)
        assert not client.closed
        client.destroy()


async def test_kernel_options_are_set(pair: Pair) -> None:
    """`set_no_delay` and `set_keep_alive` reach the socket below, whatever it is wrapped in."""
    async with pair() as (client, peer, _server):
        for socket in (client, peer):
            assert socket.set_no_delay(False) is socket
            assert not option(socket, sockets.IPPROTO_TCP, sockets.TCP_NODELAY)
            socket.set_no_delay()
            assert option(socket, sockets.IPPROTO_TCP, sockets.TCP_NODELAY)
            assert socket.set_keep_alive(initial_delay=77.0) is socket
            assert option(socket, sockets.SOL_SOCKET, sockets.SO_KEEPALIVE)
            assert option(socket, sockets.IPPROTO_TCP, sockets.TCP_KEEPIDLE) == 77
            socket.set_keep_alive(False)
            assert not option(socket, sockets.SOL_SOCKET, sockets.SO_KEEPALIVE)
            socket.destroy()
            socket.set_no_delay()
            socket.set_keep_alive()


def option(socket: tlsio.TLSSocket, level: int, name: int) -> int:
    """Read an option of the kernel's socket."""
    borrowed = sockets.socket(fileno=socket._fileno())
    try:
        return borrowed.getsockopt(level, name)
    finally:
        borrowed.detach()


@pytest.mark.parametrize("delay", [-1, 40_000, "1", True])
async def test_wrong_delays_are_refused(pair: Pair, delay: Any) -> None:
    """The kernel takes 1 to 32,767 seconds."""
    async with pair() as (client, _peer, _server):
        with pytest.raises(tlsio.UsageError):
            client.set_keep_alive(initial_delay=delay)
        with pytest.raises(TypeError):
            client.set_no_delay("yes")  # type: ignore[arg-type]
