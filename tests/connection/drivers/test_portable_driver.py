"""TLS over streams that exist already: sockets, asyncio pairs, anyio streams, TLS in TLS; and what is left of them."""

from __future__ import annotations

import asyncio
import socket as sockets
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import tlsio
from net import let_go, once
from streams import KINDS, Bytes, as_pair, client_options, server_options, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable

    from net import Version


@pytest.mark.node("tls-js-stream", "tls-net-socket-keepalive", "tls-net-socket-keepalive-12")
@pytest.mark.parametrize("kind", KINDS)
async def test_kinds_of_streams(kind: Callable[[sockets.socket], Any], version: Version) -> None:
    """Each kind carries a connection both ways, with back-pressure, to its end, and is closed with it."""
    near, far = sockets.socketpair()
    async with wrapped(await kind(near), await kind(far), version) as (client, server):
        assert client.authorized
        assert client.get_protocol() == server.get_protocol() == version
        size = 3_000_000
        sending = asyncio.ensure_future(client.send(b"x" * size))
        assert len(await server.readexactly(size)) == size
        await sending
        server.end(b"done")
        assert await client.readexactly(4) == b"done"
        assert await client.read() == b""
        client.end()
        assert await server.read() == b""
        await asyncio.gather(client.wait_closed(), server.wait_closed())
        assert near.fileno() == far.fileno() == -1 or kind is as_pair


async def test_unknown_streams_are_refused(version: Version) -> None:
    """What has no bytes to give and take is told at the constructor."""
    with pytest.raises(tlsio.UsageError, match="stream must be a byte stream, got int") as caught:
        tlsio.TLSSocket(5, servername="localhost")
    assert "ByteStream" in (caught.value.hint or "")


@pytest.mark.node("tls-reuse-host-from-socket")
async def test_client_needs_a_name() -> None:
    """A wrapped client verifies, so it must know whom it talks to."""
    near, far = sockets.socketpair()
    with near, far, pytest.raises(tlsio.UsageError) as caught:
        tlsio.TLSSocket(near)
    assert "servername" in (caught.value.hint or "")


async def test_role_is_a_bool() -> None:
    """`is_server=1` is a mistake, not a server."""
    near, far = sockets.socketpair()
    with near, far, pytest.raises(tlsio.UsageError):
        tlsio.TLSSocket(near, is_server=1)  # type: ignore[arg-type]


@pytest.mark.node("tls-socket-default-options")
async def test_wrapped_client_verifies(version: Version) -> None:
    """Without trust in the server's authority the handshake fails on both sides, with the alert between them."""
    near, far = sockets.socketpair()
    client = tlsio.TLSSocket(near, servername="localhost")
    server = tlsio.TLSSocket(far, is_server=True, **server_options(version))
    refused, told = await asyncio.gather(client.handshake(), server.handshake(), return_exceptions=True)
    if not isinstance(told, tlsio.AlertReceived):  # TLS 1.2's server has failed already, TLS 1.3's waits for the client
        with pytest.raises(tlsio.AlertReceived) as caught:
            await server.read()
        told = caught.value
    assert isinstance(refused, tlsio.CertificateError)
    assert refused.code == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
    assert told.alert == "unknown_ca"
    await asyncio.gather(client.wait_closed(), server.wait_closed())
    await let_go()


@pytest.mark.parametrize("call", ["read", "send", "data"])
async def test_first_use_starts_the_handshake(call: str, version: Version) -> None:
    """No `handshake` call is needed on either side."""
    near, far = sockets.socketpair()
    client = tlsio.TLSSocket(near, **client_options())
    server = tlsio.TLSSocket(far, is_server=True, **server_options(version))
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    if call == "data":
        server.on("data", heard.set_result)
    else:
        asyncio.ensure_future(server.read()).add_done_callback(lambda reading: heard.set_result(reading.result()))
    if call == "send":
        await client.send(b"hello")
    else:
        client.write(b"hello")
    assert await heard == b"hello"
    client.destroy()
    server.off("data", heard.set_result)
    server.destroy()
    await let_go()


async def test_write_then_close_before_the_handshake_is_done(version: Version) -> None:
    """What was written goes out all the same: the close waits for the handshake."""
    near, far = sockets.socketpair()
    client = tlsio.TLSSocket(near, **client_options())
    server = tlsio.TLSSocket(far, is_server=True, **server_options(version))
    client.write(b"hello")
    client.close()
    assert await server.read() == b"hello"
    assert await server.read() == b""
    server.close()
    await asyncio.gather(client.wait_closed(), server.wait_closed())


@pytest.mark.node("tls-delayed-attach")
async def test_bytes_that_were_buffered_go_into_tls(version: Version) -> None:
    """STARTTLS: what the reader holds already is ciphertext, and never comes out as plaintext."""
    near, far = sockets.socketpair()
    client = tlsio.TLSSocket(near, **client_options())
    shaking = asyncio.ensure_future(client.handshake())
    reader, writer = await as_pair(far)
    while not reader._buffer:  # noqa: ASYNC110 - the hello is to be there before the TLSSocket is
        await asyncio.sleep(0)
    server = tlsio.TLSSocket((reader, writer), is_server=True, **server_options(version))
    server.write(b"hello")
    await shaking
    assert await client.read() == b"hello"
    client.destroy()
    server.destroy()
    await let_go()


async def test_what_a_socket_had_read_goes_into_the_tls_above_it(version: Version) -> None:
    """STARTTLS inside TLS: the hello that came with the last line is not lost."""
    near, far = sockets.socketpair()
    async with wrapped(near, far, version) as (below_client, below_server):
        below_client.write(b"STARTTLS\n")
        client = tlsio.TLSSocket(below_client, **client_options())
        shaking = asyncio.ensure_future(client.handshake())
        await asyncio.sleep(0)  # the hello is on its way, in the same flight
        assert await below_server.readline() == b"STARTTLS\n"
        server = tlsio.TLSSocket(below_server, is_server=True, **server_options(version))
        await server.handshake()
        await shaking
        await server.send(b"hello")
        assert await client.read() == b"hello"
        client.destroy()
        server.destroy()


async def test_plaintext_before_starttls_is_not_taken_for_data(version: Version) -> None:
    """Plain bytes injected before the handshake break it, on a server and on a client."""
    for is_server in (True, False):
        near, far = sockets.socketpair()
        far.sendall(b"250 injected\r\n")
        options = server_options(version) if is_server else client_options()
        socket = tlsio.TLSSocket(near, is_server=is_server, **options)
        with pytest.raises(tlsio.HandshakeError):
            await socket.read()
        far.close()
        await socket.wait_closed()
        await let_go()


@pytest.mark.parametrize("size", [1, 7])
async def test_streams_in_small_pieces(size: int, version: Version) -> None:
    """A stream that gives one byte at a time, or seven, is as good as another."""

    class Slow(Bytes):
        async def receive(self, max_bytes: int = 65536) -> bytes:
            return await super().receive(size)

    near, far = sockets.socketpair()
    async with wrapped(Slow(near), Slow(far), version) as (client, server):
        await client.send(b"hello")
        assert await server.readexactly(5) == b"hello"


async def test_stream_that_raises_is_a_lost_connection(version: Version) -> None:
    """Whatever the stream raises is told as the cause of a lost connection."""

    class Failing(Bytes):
        async def receive(self, max_bytes: int = 65536) -> bytes:
            data = await super().receive(max_bytes)
            if failing:
                raise ZeroDivisionError
            return data

    failing = False
    near, far = sockets.socketpair()
    async with wrapped(Failing(near), Bytes(far), version) as (client, server):
        await server.send(b"before")
        assert await client.read() == b"before"
        failing = True
        await server.send(b"lost")
        with pytest.raises(tlsio.ConnectionLostError) as caught:
            await client.read()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)


async def test_broken_stream_gives_all_that_came_before(version: Version) -> None:
    """Bytes first, then the error, also when the stream broke long before they were read."""

    class Failing(Bytes):
        async def receive(self, max_bytes: int = 65536) -> bytes:
            try:
                return await super().receive(max_bytes)
            except anyio.EndOfStream:
                broken.set()
                raise ConnectionResetError from None

    broken = asyncio.Event()
    near, far = sockets.socketpair()
    async with wrapped(Failing(near), Bytes(far), version) as (client, server):
        for part in (b"one", b"two", b"three"):
            await server.send(part)
        server.destroy()
        await broken.wait()
        assert await client.readexactly(11) == b"onetwothree"
        with pytest.raises(tlsio.ConnectionLostError):
            await client.read()


async def test_nobody_reads_and_the_stream_is_left_alone(version: Version) -> None:
    """What is not read stops the receiving: the memory of a connection is bounded, and all comes in the end."""
    near, far = sockets.socketpair()
    async with wrapped(Bytes(near), Bytes(far), version) as (client, server):
        size = 2_000_000
        sending = asyncio.ensure_future(client.send(b"x" * size))
        for _ in range(200):
            await asyncio.sleep(0)
        assert 0 < server._connection.held_input < 3 * 65536
        assert not sending.done()
        assert len(await server.readexactly(size)) == size
        await sending


# ---- what is left


@pytest.mark.node("tls-connect-abort-controller")
@pytest.mark.parametrize("kind", KINDS)
async def test_cancelled_handshake_leaves_nothing(kind: Callable[[sockets.socket], Any]) -> None:
    """The stream is closed, the tasks are gone; the test's frame looks for both."""
    near, far = sockets.socketpair()
    client = tlsio.TLSSocket(await kind(near), **client_options())
    shaking = asyncio.ensure_future(client.handshake())
    await asyncio.sleep(0.01)
    shaking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await shaking
    assert client.closed
    await let_go()
    while far.recv(65536):
        pass
    far.close()


@pytest.mark.node("tls-connect-abort-controller")
async def test_cancelled_connect_leaves_nothing() -> None:
    """The same for `connect(socket=...)`, at any moment of it."""
    for turns in range(6):
        near, far = sockets.socketpair()
        connecting = asyncio.ensure_future(_connect(near))
        for _ in range(turns):
            await asyncio.sleep(0)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        near.close()  # not taken yet when the cancellation came first
        far.close()
        await let_go()


async def _connect(sock: sockets.socket) -> tlsio.TLSSocket:
    return await tlsio.connect(socket=sock, **client_options())


@pytest.mark.node("tls-client-abort")
async def test_socket_that_was_never_used_is_closed_quietly() -> None:
    """Wrap and close: nothing is sent."""
    near, far = sockets.socketpair()
    client = tlsio.TLSSocket(near, **client_options())
    assert client.secure_connecting
    await client.aclose()
    assert far.recv(10) == b""
    far.close()
    with pytest.raises(tlsio.TLSError) as caught:
        await client.handshake()
    assert caught.value.code == "ERR_SOCKET_CLOSED"


@pytest.mark.slow
async def test_peer_that_reads_nothing_does_not_hold_the_stream_open(version: Version) -> None:
    """Last words nobody takes are given up after a while, and the stream is closed."""
    near, far = sockets.socketpair()
    async with wrapped(Bytes(near), Bytes(far), version) as (client, server):
        server.pause()
        client.write(b"x" * 3_000_000)
        for _ in range(100):
            await asyncio.sleep(0)
        client.destroy()
        assert client.closed
        server.destroy()
        await let_go()
        assert near.fileno() == far.fileno() == -1


# ---- TLS in TLS


@pytest.mark.node("tls-inception")
async def test_tls_in_tls_in_tls(version: Version) -> None:
    """Three layers deep: 300 kB both ways, each layer with a handshake of its own, and all closed from the top."""
    near, far = sockets.socketpair()
    clients: list[Any] = [near]
    servers: list[Any] = [far]
    for _ in range(3):
        clients.append(tlsio.TLSSocket(clients[-1], **client_options()))
        servers.append(tlsio.TLSSocket(servers[-1], is_server=True, **server_options(version)))
    client, server = clients[-1], servers[-1]
    await asyncio.gather(client.handshake(), server.handshake())
    server.on("data", server.write)
    sending = asyncio.ensure_future(client.send(b"x" * 300_000))
    assert await client.readexactly(300_000) == b"x" * 300_000
    await sending
    client.end()
    assert await client.read() == b""
    await asyncio.gather(client.wait_closed(), server.wait_closed())
    assert all(one.closed for one in (*clients[1:], *servers[1:]))
    await let_go()
    assert near.fileno() == far.fileno() == -1
    assert not client.truncated
    assert client.remote_address is None


async def test_tls_in_tls_ends_with_the_layer_below(version: Version) -> None:
    """When the outer connection breaks, the inner one says so."""
    near, far = sockets.socketpair()
    async with wrapped(near, far, version) as (below_client, below_server), wrapped(below_client, below_server, version) as (client, _):
        below_server.destroy()
        with pytest.raises(tlsio.TruncatedError):
            await client.read()


async def test_inner_socket_belongs_to_the_outer(version: Version) -> None:
    """Who reads from the socket below takes the outer one's bytes away, and is told so."""
    near, far = sockets.socketpair()
    async with wrapped(near, far, version) as (below, other), wrapped(below, other, version):
        await asyncio.sleep(0)
        with pytest.raises(tlsio.UsageError):
            await below.read()


async def test_upgrade_serves_any_stream(version: Version) -> None:
    """`server.upgrade` takes each kind of stream, with the server's contexts and listeners."""
    async with asyncio.timeout(10):
        for kind in KINDS:
            server = tlsio.create_server(lambda sock: sock.on("data", sock.write), **server_options(version))
            accepted = once(server, "secure_connection")
            near, far = sockets.socketpair()
            upgrading = asyncio.ensure_future(server.upgrade(await kind(far)))
            async with tlsio.connect(socket=near, **client_options()) as client:
                client.write(b"echo")
                assert await client.readexactly(4) == b"echo"
                assert await upgrading is await accepted
                assert server.connections == 1
            server.close()
            await server.wait_closed()
            await let_go()
