"""The end of a connection whose protocol has paused reading, writing or both."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DATA = b"".join(b"%07d\n" % number for number in range(4096))  # two records


class Paused(asyncio.BufferedProtocol):
    """Has a buffer of four bytes, and pauses after each."""

    size = 4

    def __init__(self) -> None:
        self.room = bytearray(self.size)
        self.received = b""
        self.ended = False
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.changed = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        """Return the same small buffer each time."""
        assert sizehint
        return self.room

    def buffer_updated(self, nbytes: int) -> None:
        """Keep what was filled in, and pause."""
        self.received += self.room[:nbytes]
        self.transport.pause_reading()
        self.changed.set()

    def eof_received(self) -> None:
        """Note the end."""
        self.ended = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end of the connection."""
        self.lost.set_result(exc)


@asynccontextmanager
async def accepted(factory: Any = Paused) -> AsyncIterator[tuple[Any, tlsio.TLSSocket]]:
    """Give the protocol of a client, and the server's socket."""
    who, made = pki.localhost(), asyncio.get_running_loop().create_future()
    server = tlsio.create_server(made.set_result, cert=who.cert_pem, key=who.key_pem)
    await server.listen(0, "127.0.0.1")
    _transport, client = await tlsio.create_connection(
        factory, "127.0.0.1", server.port, ca=pki.ca1().cert_pem, servername="localhost", allow_truncation=False
    )
    yield client, await made
    client.transport.abort()
    server.close(0)
    await server.wait_closed()


async def write_until_lost(client: Any) -> Exception | None:
    """Write as a program does that only writes, until the transport is lost."""
    async with asyncio.timeout(5):
        while not client.lost.done():
            client.transport.write(b"x")
            await asyncio.sleep(0.01)
    return client.lost.result()  # type: ignore[no-any-return]


async def test_a_failed_send_ends_a_transport_that_has_paused_reading() -> None:
    """Unread data does not hide that the peer is gone."""
    async with accepted() as (client, peer):
        client.transport.pause_reading()
        peer.write(bytes(100_000))
        await peer.drain()
        peer.destroy()
        assert isinstance(await write_until_lost(client), tlsio.ConnectionLostError)
        assert client.received == b""


async def test_drain_raises_when_the_reader_is_full_and_the_peer_is_gone() -> None:
    """A StreamReader that holds twice its limit pauses the transport by itself."""
    who = pki.localhost()

    async def vanish(sock: tlsio.TLSSocket) -> None:
        await sock.send(bytes(300_000))
        sock.destroy()

    async with tlsio.serve(vanish, 0, "127.0.0.1", cert=who.cert_pem, key=who.key_pem) as server:
        _reader, writer = await tlsio.open_connection("127.0.0.1", server.port, ca=pki.ca1().cert_pem)

        async def write() -> None:
            while True:
                writer.write(bytes(100_000))
                await writer.drain()

        with pytest.raises((tlsio.ConnectionLostError, ConnectionResetError)):  # the second is asyncio's
            await asyncio.wait_for(write(), 5)


async def test_data_after_a_failed_send_has_no_gap() -> None:
    """A protocol that pauses within a chunk receives the beginning of what was sent, or nothing."""

    class Slow(Paused):
        size = 10_000

        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            asyncio.get_running_loop().call_later(0.01, self.transport.resume_reading)

    async with accepted(Slow) as (client, peer):
        client.transport.pause_reading()
        await peer.send(DATA)
        peer.destroy()
        for _ in range(3):
            client.transport.write(b"x")
            await asyncio.sleep(0.01)
        client.transport.resume_reading()
        await asyncio.wait_for(client.lost, 5)
        assert DATA.startswith(client.received)


async def hold(client: Paused, peer: tlsio.TLSSocket) -> None:
    """Let the client hold the rest of a chunk, and truncate the connection."""
    await peer.send(b"0123456789")
    await client.changed.wait()
    peer.destroy()
    await client.transport.tls_socket.wait_closed()
    assert not client.lost.done()


async def test_a_truncation_comes_after_the_rest_of_the_chunk() -> None:
    """What was received before a truncation is delivered, however often the protocol pauses."""
    async with accepted() as (client, peer):
        await hold(client, peer)
        while not client.lost.done():
            client.transport.resume_reading()
            await asyncio.sleep(0)
        assert isinstance(client.lost.result(), tlsio.TruncatedError)
        assert (client.received, client.ended) == (b"0123456789", False)


@pytest.mark.parametrize("act", ["write", "close", "abort"])
async def test_a_truncated_transport_that_is_used_or_ended_is_lost(act: str) -> None:
    """It does not wait for `resume_reading` then."""
    async with accepted() as (client, peer):
        await hold(client, peer)
        client.transport.write_eof()
        getattr(client.transport, act)(*[b"x"][: act == "write"])
        assert isinstance(await asyncio.wait_for(client.lost, 5), tlsio.TruncatedError)
        assert client.received == b"0123"


async def test_a_protocol_that_fails_on_the_rest_of_a_truncated_chunk_is_reported(loop_errors: list[dict[str, Any]]) -> None:
    """The connection has ended, so the exception is not its error."""

    class Failing(Paused):
        def buffer_updated(self, nbytes: int) -> None:
            if self.received:
                raise ValueError("mine")
            super().buffer_updated(nbytes)

    async with accepted(Failing) as (client, peer):
        await hold(client, peer)
        client.transport.resume_reading()
        assert isinstance(await asyncio.wait_for(client.lost, 5), tlsio.TruncatedError)
        assert [str(one["exception"]) for one in loop_errors] == ["mine"]
        loop_errors.clear()


async def test_drain_returns_after_the_limits_were_lowered() -> None:
    """Data that was written under the earlier limits is sent, and then writing resumes."""
    who = pki.localhost()

    async def read(sock: tlsio.TLSSocket) -> None:
        await sock.read_all()

    async with tlsio.serve(read, 0, "127.0.0.1", cert=who.cert_pem, key=who.key_pem) as server:
        _reader, writer = await tlsio.open_connection("127.0.0.1", server.port, ca=pki.ca1().cert_pem)
        writer.write(bytes(10_000))
        writer.transport.set_write_buffer_limits(high=0)
        await asyncio.wait_for(writer.drain(), 5)
        writer.close()
        await writer.wait_closed()
