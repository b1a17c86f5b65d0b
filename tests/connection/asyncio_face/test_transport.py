"""asyncio's shapes: transports, flow control, streams and servers, against asyncio's own peers."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

TRUST = {"ca": pki.ca1().cert_pem, "servername": "localhost"}


def identity() -> dict[str, Any]:
    """Return the options of the usual server."""
    who = pki.localhost()
    return {"cert": who.cert_pem, "key": who.key_pem}


def client_context() -> ssl.SSLContext:
    """Return the standard library's client, which trusts the usual server."""
    return ssl.create_default_context(cadata=pki.ca1().cert_pem.decode())


class Recorder(asyncio.Protocol):
    """Records each call, and answers `eof_received` with what it is told to."""

    keep_open: bool | None = None

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.received = b""
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()
        self.changed = asyncio.Event()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        """Keep the data."""
        self.received += data
        self.changed.set()

    def eof_received(self) -> bool | None:
        """Record the end."""
        self.calls.append("eof")
        self.ended.set()
        return self.keep_open

    def pause_writing(self) -> None:
        """Record that the buffer is full."""
        self.calls.append("pause")

    def resume_writing(self) -> None:
        """Record that the buffer has room."""
        self.calls.append("resume")
        self.changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Record the end of the connection."""
        self.calls.append("lost")
        self.lost.set_result(exc)

    async def has(self, size: int) -> None:
        """Wait for `size` bytes."""
        while len(self.received) < size:
            self.changed.clear()
            await self.changed.wait()


class Buffered(asyncio.BufferedProtocol):
    """Takes data seven bytes at a time."""

    def __init__(self) -> None:
        self.room = bytearray(7)
        self.received = b""
        self.changed = asyncio.Event()

    def get_buffer(self, sizehint: int) -> bytearray:
        """Return the same small buffer each time."""
        assert sizehint > 0
        return self.room

    def buffer_updated(self, nbytes: int) -> None:
        """Keep what was filled in."""
        self.received += self.room[:nbytes]
        self.changed.set()


@asynccontextmanager
async def joined(factory: Callable[[], Any] = Recorder, **options: Any) -> AsyncIterator[tuple[tlsio.AsyncioServer, Recorder, Any]]:
    """Give a server, the protocol of its connection, and a client's protocol made by `factory`; in the end all are closed."""
    made: asyncio.Queue[Recorder] = asyncio.Queue()

    def accept() -> Recorder:
        made.put_nowait(protocol := Recorder())
        return protocol

    server = await tlsio.create_tls_server(accept, "127.0.0.1", 0, **identity() | options)
    _transport, client = await tlsio.create_connection(factory, "127.0.0.1", server.sockets[0].getsockname()[1], **TRUST)
    peer = await made.get()
    yield server, peer, client
    for protocol in (client, peer):
        protocol.transport.abort()
        await protocol.lost
    server.close()
    await server.wait_closed()


async def test_data_flows_both_ways_and_close_ends_both() -> None:
    """One side closes: the other gets the end, and both lose the connection without an error."""
    async with joined() as (_server, peer, client):
        client.transport.write(b"question")
        await peer.has(8)
        peer.transport.writelines([b"ans", b"wer"])
        await client.has(6)
        assert (peer.received, client.received) == (b"question", b"answer")
        client.transport.close()
        assert client.transport.is_closing()
        client.transport.write(b"dropped")
        assert (await peer.lost, await client.lost) == (None, None)
        assert peer.calls == ["made", "eof", "lost"]
        assert client.calls == ["made", "lost"]


async def test_half_close_is_the_protocol_s_choice() -> None:
    """A protocol that keeps the connection open after the end still writes."""
    async with joined() as (_server, peer, client):
        peer.keep_open = True
        assert client.transport.can_write_eof()
        client.transport.write(b"all")
        client.transport.write_eof()
        with pytest.raises(tlsio.UsageError):
            client.transport.write(b"more")
        await peer.ended.wait()
        peer.transport.write(b"late")
        await client.has(4)
        peer.transport.close()
        assert await client.lost is None
        assert (peer.received, client.received) == (b"all", b"late")


async def test_flow_control_pauses_and_resumes() -> None:
    """Above the high limit the protocol is paused, at the low one it is resumed."""
    async with joined() as (_server, peer, client):
        peer.transport.pause_reading()
        peer.transport.pause_reading()
        assert not peer.transport.is_reading()
        client.transport.set_write_buffer_limits(high=100_000, low=10_000)
        assert client.transport.get_write_buffer_limits() == (10_000, 100_000)
        total = 0
        while "pause" not in client.calls:
            client.transport.write(bytes(50_000))
            total += 50_000
            await asyncio.sleep(0)
        assert client.transport.get_write_buffer_size() > 100_000
        peer.transport.resume_reading()
        while "resume" not in client.calls:
            client.changed.clear()
            await client.changed.wait()
        assert client.transport.get_write_buffer_size() <= 10_000
        await peer.has(total)
        assert client.calls == ["made", "pause", "resume"]
        with pytest.raises(tlsio.UsageError):
            client.transport.set_write_buffer_limits(high=1, low=2)
        client.transport.abort()
        assert await client.lost is None


async def test_abort_is_a_lost_connection_for_the_peer() -> None:
    """The peer's `connection_lost` gets an error, ours gets None."""
    async with joined() as (_server, peer, client):
        client.transport.abort()
        assert await client.lost is None
        assert isinstance(await peer.lost, tlsio.TLSError)


async def test_a_protocol_is_exchanged() -> None:
    """`set_protocol` gives later data to the new protocol, which may be a buffered one."""
    async with joined() as (_server, peer, client):
        buffered = Buffered()
        client.transport.set_protocol(buffered)
        assert client.transport.get_protocol() is buffered
        peer.transport.write(b"twenty-one bytes long")
        while len(buffered.received) < 21:
            buffered.changed.clear()
            await buffered.changed.wait()
        assert buffered.received == b"twenty-one bytes long"
        client.transport.set_protocol(client)


async def test_extra_info_has_asyncio_s_names() -> None:
    """What libraries ask a transport is answered in `ssl`'s form."""
    async with joined() as (server, peer, client):
        info = client.transport.get_extra_info
        assert info("peername") == peer.transport.get_extra_info("sockname") == server.sockets[0].getsockname()
        assert info("socket").getpeername() == info("peername")
        assert isinstance(info("sslcontext"), tlsio.SecureContext)
        shown = info("peercert")
        assert ("DNS", "localhost") in shown["subjectAltName"]
        assert ((("commonName", "localhost"),)) in shown["subject"]
        assert info("cipher")[1:] == ("TLSv1.3", 256)
        ssl_object = info("ssl_object")
        assert (ssl_object.version(), ssl_object.server_side, ssl_object.session_reused) == ("TLSv1.3", False, False)
        assert isinstance(info("tls_socket"), tlsio.TLSSocket)
        assert info("pipe", "none") == "none"


async def test_an_exception_of_the_protocol_ends_the_connection(loop_errors: list[dict[str, Any]]) -> None:
    """It is reported once, and is the reason for which the connection was lost."""
    async with joined() as (server, peer, client):
        peer.data_received = lambda data: 1 / 0  # type: ignore[method-assign, assignment]
        peer.transport.set_protocol(peer)
        client.transport.write(b"x")
        assert isinstance(await peer.lost, ZeroDivisionError)
        await client.lost
        server.close()
        await server.wait_closed()
        (reported,) = loop_errors
        assert isinstance(reported["exception"], ZeroDivisionError)
        loop_errors.clear()


async def test_streams_talk_to_asyncio_s_own() -> None:
    """`start_server` serves a client of the standard library, and `open_connection` reads its server."""

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            writer.write(line.upper())
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await tlsio.start_server(shout, "127.0.0.1", 0, **identity())
    async with server:
        port = server.sockets[0].getsockname()[1]
        for opened in (
            asyncio.open_connection("127.0.0.1", port, ssl=client_context(), server_hostname="localhost"),
            tlsio.open_connection("127.0.0.1", port, **TRUST),
        ):
            reader, writer = await opened
            writer.write(b"first\nsecond\n")
            assert [await reader.readline(), await reader.readline()] == [b"FIRST\n", b"SECOND\n"]
            writer.close()
            await writer.wait_closed()


async def test_a_server_starts_when_it_is_told_to() -> None:
    """Bound but not serving, then serving, then closed, as asyncio's."""
    server = await tlsio.create_tls_server(Recorder, ["127.0.0.1", "::1"], 0, start_serving=False, **identity())
    assert not server.is_serving()
    assert len({one.getsockname()[1] for one in server.sockets}) == 1
    await server.start_serving()
    assert server.is_serving()
    serving = asyncio.ensure_future(server.serve_forever())
    await asyncio.sleep(0)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert (server.sockets, server.is_serving()) == ((), False)


@pytest.mark.parametrize("end", ["close_clients", "abort_clients"])
async def test_clients_of_a_server_are_ended(end: str) -> None:
    """Python 3.13's two ways to end open connections."""
    async with joined() as (server, peer, client):
        server.close()
        getattr(server, end)()
        await server.wait_closed()
        await peer.lost
        await client.lost


class Eager(Recorder):
    """Does one thing in `connection_made`."""

    act = "abort"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Do it at once."""
        super().connection_made(transport)
        if self.act == "write":
            self.transport.write(b"early")
        elif self.act == "raise":
            raise ZeroDivisionError
        else:
            getattr(self.transport, self.act)()


@pytest.mark.parametrize("act", ["abort", "close", "write", "write_eof", "pause_reading"])
async def test_a_protocol_may_act_in_connection_made(act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it does, `connection_lost` is called once in the end."""
    monkeypatch.setattr(Eager, "act", act)
    async with joined(Eager) as (_server, peer, client):
        peer.keep_open = True
        if act == "write":
            await peer.has(5)
        elif act == "write_eof":
            await peer.ended.wait()
            peer.transport.close()
        client.transport.abort()
        await client.lost
        peer.transport.abort()  # a FIN alone does not tell it that the client has gone
        await peer.lost
        assert client.calls.count("lost") == 1


async def test_connection_made_that_raises_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """`create_connection` raises it, and the peer loses the connection."""
    monkeypatch.setattr(Eager, "act", "raise")
    async with joined() as (server, _peer, _client):
        with pytest.raises(ZeroDivisionError):
            await tlsio.create_connection(Eager, "127.0.0.1", server.sockets[0].getsockname()[1], **TRUST)


async def test_a_pause_right_after_resuming_holds() -> None:
    """Data flows again in a later pass of the loop: whoever has paused by then gets none."""
    async with joined() as (_server, peer, client):
        client.transport.pause_reading()
        peer.transport.write(b"held")
        client.transport.resume_reading()
        client.transport.pause_reading()
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert client.received == b""
        client.transport.resume_reading()
        await client.has(4)


async def test_connection_lost_is_never_called_within_a_callback() -> None:
    """`abort` in `data_received` returns before `connection_lost` is called."""
    async with joined() as (_server, peer, client):
        order = []

        def received(_data: bytes) -> None:
            client.transport.abort()
            order.append("returned")

        client.data_received = received  # type: ignore[method-assign]
        client.transport.set_protocol(client)
        client.lost.add_done_callback(lambda _: order.append("lost"))
        peer.transport.write(b"x")
        await client.lost
        await peer.lost
        assert order == ["returned", "lost"]
        assert client.transport.get_protocol() is None


@pytest.mark.parametrize("act", ["pause_reading", "close", "abort"])
async def test_a_buffered_protocol_stops_in_the_middle_of_a_chunk(act: str) -> None:
    """It gets nothing more than it asked for; after a pause it gets the rest."""
    async with joined() as (_server, peer, client):

        class Stops(Buffered):
            def connection_lost(self, exc: Exception | None) -> None:
                client.connection_lost(exc)

            def buffer_updated(self, nbytes: int) -> None:
                super().buffer_updated(nbytes)
                getattr(client.transport, act)()

        stops = Stops()
        client.transport.set_protocol(stops)
        peer.transport.write(b"twenty-one bytes long")
        await stops.changed.wait()
        await asyncio.sleep(0)
        assert stops.received == b"twenty-"
        if act == "pause_reading":
            while len(stops.received) < 21:
                stops.changed.clear()
                client.transport.resume_reading()
                await stops.changed.wait()
            client.transport.abort()
        await client.lost
        await peer.lost


@pytest.mark.parametrize("act", ["nothing", "pause_reading", "close", "abort"])
@pytest.mark.parametrize("is_derived", [True, False], ids=["Protocol", "a class of its own"])
async def test_next_protocol_gets_the_rest_of_a_chunk(act: str, is_derived: bool) -> None:  # noqa: FBT001
    """Unless the transport was paused, closed or aborted in the middle of the chunk; asyncio demands no base class."""
    async with joined() as (_server, peer, client):
        received: list[bytes] = []

        class Next(asyncio.Protocol if is_derived else object):  # type: ignore[misc]
            def data_received(self, data: bytes) -> None:
                received.append(data)
                first.changed.set()

            def eof_received(self) -> None:
                pass

            def connection_lost(self, exc: Exception | None) -> None:
                client.connection_lost(exc)

        class First(Buffered):
            def buffer_updated(self, nbytes: int) -> None:
                super().buffer_updated(nbytes)
                if act == "nothing":
                    client.transport.set_protocol(Next())
                    return
                getattr(client.transport, act)()
                client.transport.set_protocol(Next())

        first = First()
        client.transport.set_protocol(first)
        peer.transport.write(b"twenty-one bytes long")
        await first.changed.wait()
        for _ in range(3):
            await asyncio.sleep(0)
        assert received == ([b"one bytes long"] if act == "nothing" else [])
        if act == "pause_reading":
            first.changed.clear()
            client.transport.resume_reading()
            await first.changed.wait()
            assert received == [b"one bytes long"]
        client.transport.abort()
        await client.lost
        await peer.lost


async def test_a_duplicate_of_the_socket_does_not_block() -> None:
    """The file description is shared: one that blocks would stop the loop."""
    async with joined() as (_server, _peer, client):
        below = client.transport.get_extra_info("socket")
        with below.dup() as duplicate:
            assert duplicate.gettimeout() == 0
            assert not os.get_blocking(duplicate.fileno())
        assert not os.get_blocking(below.fileno())


async def test_misuse_is_a_usage_error() -> None:
    """Each is told at the call, and changes nothing."""
    async with joined() as (server, peer, client):
        for wrong in (None, "", [], 0):
            with pytest.raises(tlsio.UsageError):
                client.transport.write(wrong)
        for limit in ("a", 1.5, 2**70, -1):
            with pytest.raises(tlsio.UsageError):
                client.transport.set_write_buffer_limits(limit)
        assert client.transport.get_write_buffer_limits() == (16384, 65536)
        client.transport.abort()
        await client.lost
        await peer.lost
        server.close()
        with pytest.raises(tlsio.UsageError):
            await server.start_serving()
        with pytest.raises(tlsio.UsageError):
            await tlsio.create_tls_server(Recorder, sock=5, start_serving=False, **identity())
        with socket.create_server(("127.0.0.1", 0)) as bound, pytest.raises(tlsio.UsageError):
            await tlsio.create_tls_server(Recorder, "127.0.0.1", sock=bound, **identity())


async def test_an_address_is_bound_once() -> None:
    """Two names of one address are one socket, and overlapping starts are one."""
    server = await tlsio.create_tls_server(Recorder, ["127.0.0.1", "127.0.0.1"], 0, start_serving=False, **identity())
    assert len(server.sockets) == 1
    await asyncio.gather(server.start_serving(), server.start_serving())
    assert server.is_serving()
    server.close()
    await server.wait_closed()


async def test_a_cancelled_server_ends_with_its_clients() -> None:
    """Ctrl-C cancels `serve_forever`: the block is left though a client is connected and idle."""
    async with joined() as (server, peer, client):

        async def serve() -> None:
            async with server:
                await server.serve_forever()

        serving = asyncio.ensure_future(serve())
        await asyncio.sleep(0)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        await peer.lost
        await client.lost


async def test_leaving_the_block_waits_no_longer_than_shutdown_timeout() -> None:
    """An idle client does not hold it up for ever."""
    async with joined(shutdown_timeout=0.05) as (server, peer, client):
        async with server:
            pass
        await peer.lost
        await client.lost


async def test_a_handshake_that_fails_makes_no_protocol() -> None:
    """The factory is not called for a server that is refused."""
    server = await tlsio.create_tls_server(Recorder, "127.0.0.1", 0, **identity())
    async with server:
        with pytest.raises(tlsio.CertificateError):
            await tlsio.create_connection(Recorder, "127.0.0.1", server.sockets[0].getsockname()[1], ca=pki.ca2().cert_pem)


async def test_close_in_another_thread_changes_nothing() -> None:
    """It raises, and the server still has its sockets."""
    server = await tlsio.create_tls_server(Recorder, "127.0.0.1", 0, **identity())
    with pytest.raises(tlsio.UsageStateError):
        await asyncio.to_thread(server.close)
    assert server.sockets
    assert server.is_serving()
    server.close()
    await server.wait_closed()
