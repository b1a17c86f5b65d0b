"""What CPython's tests of its TLS transports and streams assert (test_sslproto, test_ssl, test_streams), held against ours and asyncio's.

Each test runs with asyncio's own functions too: so it is asyncio that says what is expected.
"""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import socket
import ssl
import sys
import tempfile
import warnings
import weakref
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

import pki
import tlsio
from http_peers import stdlib_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SIZE = 4_000_000


class Ours:
    """The functions of tlsio."""

    name = "ours"

    @staticmethod
    async def open(port: int, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection to localhost."""
        return await tlsio.open_connection("localhost", port, ca=pki.ca1().cert_pem, **options)

    @staticmethod
    async def create(port: int, factory: Callable[[], Any]) -> tuple[Any, Any]:
        """Give a connection to a protocol."""
        return await tlsio.create_connection(factory, "localhost", port, ca=pki.ca1().cert_pem)

    @staticmethod
    async def start(callback: Any) -> Any:
        """Start a server of streams."""
        who = pki.localhost()
        return await tlsio.start_server(callback, "127.0.0.1", 0, cert=who.cert_pem, key=who.key_pem)


class Asyncios:
    """The functions of asyncio."""

    name = "asyncio"

    @staticmethod
    def trust() -> ssl.SSLContext:
        """Trust ca1."""
        return ssl.create_default_context(cadata=pki.ca1().cert_pem.decode())

    @classmethod
    async def open(cls, port: int, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection to localhost."""
        return await asyncio.open_connection("localhost", port, ssl=cls.trust(), **options)

    @classmethod
    async def create(cls, port: int, factory: Callable[[], Any]) -> tuple[Any, Any]:
        """Give a connection to a protocol."""
        return await asyncio.get_running_loop().create_connection(factory, "localhost", port, ssl=cls.trust())

    @staticmethod
    async def start(callback: Any) -> Any:
        """Start a server of streams."""
        return await asyncio.start_server(callback, "127.0.0.1", 0, ssl=stdlib_context())


Face = type[Ours] | type[Asyncios]


@pytest.fixture(params=[Ours, Asyncios], ids=["ours", "asyncio"])
def face(request: pytest.FixtureRequest) -> Face:
    """Ours, or asyncio's."""
    return request.param


class Peer:
    """The other side: asyncio's streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer


@asynccontextmanager
async def asyncio_peer(answer: Callable[[Peer], Any]) -> AsyncIterator[int]:
    """Serve by asyncio's own TLS; gives the port. In the end all connections are closed."""
    tasks: set[asyncio.Task[Any]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await answer(Peer(reader, writer))
        writer.close()
        with suppress(OSError, ssl.SSLError):
            await writer.wait_closed()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=stdlib_context())
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*tasks)


def port_of(server: Any) -> int:
    """Return the port of a server of either face."""
    port: int = server.sockets[0].getsockname()[1]
    return port


class TestClosing:
    """test_ssl: shutdown."""

    async def test_data_and_its_end_arrive_before_the_close(self, face: Face) -> None:
        """test_shutdown_cleanly: an answer, then the end; many at once."""

        async def answer(peer: Peer) -> None:
            assert await peer.reader.readexactly(100_000) == bytes(100_000)
            peer.writer.write(b"OK")

        async def visit(port: int) -> None:
            reader, writer = await face.open(port)
            writer.write(bytes(100_000))
            assert await reader.readexactly(2) == b"OK"
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

        async with asyncio_peer(answer) as port:
            await asyncio.gather(*(visit(port) for _ in range(10)))

    async def test_close_sends_what_was_written(self, face: Face) -> None:
        """test_flush_before_shutdown: megabytes to a peer that reads late."""

        def read_late(below: socket.socket) -> int:
            peer, _ = below.accept()
            with stdlib_context().wrap_socket(peer, server_side=True) as sock:
                assert sock.recv(1) == b"1"  # and the rest waits in both kernels
                return 1 + sum(iter(lambda: len(sock.recv(65536)), 0))

        with socket.create_server(("127.0.0.1", 0)) as below:
            reading = asyncio.ensure_future(asyncio.to_thread(read_late, below))
            _reader, writer = await face.open(below.getsockname()[1])
            writer.write(b"1" + bytes(SIZE - 1))
            writer.close()
            assert await reading == SIZE
            await writer.wait_closed()

    async def test_peer_that_ended_gets_what_was_written(self) -> None:
        """test_remote_shutdown_receives_trailing_data. asyncio's own transports lose it over TLS 1.3, so ours only."""

        async def fill(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(bytes(SIZE))
            written.set()
            assert await reader.read() == b""

        written = asyncio.Event()
        server = await Ours.start(fill)
        async with server:
            sock = await tlsio.connect(port_of(server), "localhost", ca=pki.ca1().cert_pem)
            await written.wait()
            sock.end()  # close_notify, and reading goes on
            assert sum([len(chunk) async for chunk in sock]) == SIZE
            await sock.aclose()

    async def test_reader_is_at_its_end_after_closing_the_writer(self, face: Face) -> None:
        """test_eof_feed_when_closing_writer."""

        async def answer(peer: Peer) -> None:
            await peer.reader.read()

        async with asyncio_peer(answer) as port:
            reader, writer = await face.open(port)
            writer.close()
            await writer.wait_closed()
            assert reader.at_eof()
            assert await reader.read() == b""

    async def test_wait_closed_with_unread_data(self, face: Face) -> None:
        """test_wait_closed_on_close_with_unread_data."""

        async def answer(peer: Peer) -> None:
            peer.writer.write(b"HTTP/1.0 200 OK\r\n" + bytes(1000))
            await peer.reader.read()

        async with asyncio_peer(answer) as port:
            reader, writer = await face.open(port)
            assert await reader.readline() == b"HTTP/1.0 200 OK\r\n"
            writer.close()
            await writer.wait_closed()

    async def test_use_after_closing_is_harmless(self) -> None:
        """test_write_after_closing and test_data_received_after_closing. Ours only: asyncio's raise some AttributeErrors."""

        async def answer(peer: Peer) -> None:
            peer.writer.write(bytes(1000))
            with suppress(OSError):
                await peer.reader.read()

        async with asyncio_peer(answer) as port:
            transport, protocol = await Ours.create(port, Recorder)
            transport.close()
            for _ in range(2):
                transport.write(b"data")
                transport.pause_reading()
                transport.resume_reading()
                transport.set_write_buffer_limits(0)
                transport.close()
                transport.abort()
                assert transport.is_closing()
                assert await protocol.lost is None
            assert protocol.received == b""

    async def test_drain_raises_when_the_peer_is_gone(self) -> None:
        """test_drain_raises: a loop of write and drain ends. Ours only: over TLS asyncio takes seconds for it."""

        async def answer(peer: Peer) -> None:
            peer.writer.transport.abort()

        async with asyncio_peer(answer) as port:
            _reader, writer = await Ours.open(port)
            with pytest.raises((ConnectionError, tlsio.TruncatedError)):  # noqa: PT012 - which round raises is not defined
                while True:
                    writer.write(b"foo\n")
                    await writer.drain()
            writer.close()
            with suppress(OSError, tlsio.TLSError):
                await writer.wait_closed()

    async def test_many_may_drain(self) -> None:
        """test_multiple_drain: all are woken. Ours only: uvloop's hangs with so much unsent."""
        reads = asyncio.Event()

        async def answer(peer: Peer) -> None:
            await reads.wait()
            while await peer.reader.read(65536):
                pass

        async with asyncio_peer(answer) as port:
            _reader, writer = await Ours.open(port)
            writer.write(bytes(SIZE))
            writer.write(bytes(SIZE))
            draining = [asyncio.ensure_future(writer.drain()) for _ in range(5)]
            await asyncio.sleep(0.02)
            assert not any(one.done() for one in draining)
            reads.set()
            await asyncio.gather(*draining)
            writer.close()
            await writer.wait_closed()


class Recorder(asyncio.Protocol):
    """Records what arrives and the end."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Keep the data."""
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        """Record the end of the connection."""
        self.lost.set_result(exc)


class TestFacts:
    """test_sslproto: get_extra_info."""

    async def test_socket_of_a_closed_connection(self, face: Face) -> None:
        """test_get_extra_info_on_closed_connection: a default, or something without a descriptor; no error."""

        async def answer(peer: Peer) -> None:
            await peer.reader.read()

        async with asyncio_peer(answer) as port:
            transport, protocol = await face.create(port, Recorder)
            assert transport.get_extra_info("socket").fileno() >= 0
            transport.close()
            await protocol.lost
            await asyncio.sleep(0)
            found = transport.get_extra_info("socket", None)
            assert found is None or found.fileno() < 0

    def test_peercert_is_that_of_ssl(self) -> None:
        """Also the order of alternative names, and their kinds."""
        directory = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dir"), x509.NameAttribute(NameOID.COUNTRY_NAME, "DE")])
        names = [
            x509.UniformResourceIdentifier("spiffe://example/service"),
            x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
            x509.DNSName("b.example"),
            x509.RFC822Name("a@b.example"),
            x509.DNSName("a.example"),
            x509.IPAddress(ipaddress.ip_address("10.0.0.1")),
            x509.DirectoryName(directory),
        ]
        who = pki.leaf("multi", issuer=pki.ca1(), extensions=[x509.SubjectAlternativeName(names)])
        with tempfile.NamedTemporaryFile() as file:
            file.write(who.cert_pem)
            file.flush()
            expected = ssl._ssl._test_decode_cert(file.name)  # type: ignore[attr-defined]  # as CPython's own tests do

        async def ask() -> Any:
            async def answer(sock: tlsio.TLSSocket) -> None:
                await sock.read()

            async with tlsio.serve(answer, 0, "127.0.0.1", cert=who.cert_pem, key=who.key_pem) as server:
                options: Any = {"ca": pki.ca1().cert_pem, "servername": "a.example"}
                reader, writer = await tlsio.open_connection("127.0.0.1", server.port, **options)
                writer.close()
                await writer.wait_closed()
                assert reader.at_eof()
                return writer.get_extra_info("peercert")

        assert asyncio.run(ask()) == expected


class TestLifetime:
    """test_streams and test_ssl: what is dropped, and what a closed connection leaves."""

    async def test_dropped_writer_closes(self, face: Face) -> None:
        """test_unclosed_resource_warnings: the peer sees the end."""
        if sys.version_info < (3, 12) and not hasattr(asyncio.StreamWriter, "__del__"):
            pytest.skip("this Python's StreamWriter warns of nothing")
        ended = asyncio.Event()

        async def answer(peer: Peer) -> None:
            await peer.reader.read()
            ended.set()

        async with asyncio_peer(answer) as port:
            reader, writer = await face.open(port)
            with pytest.warns(ResourceWarning, match="unclosed <StreamWriter"):
                del writer
                gc.collect()
            await ended.wait()
            assert await reader.read() == b""

    async def test_closed_connection_leaves_no_cycle(self) -> None:
        """test_create_connection_memory_leak, and stricter: no garbage collection is needed. Ours only: asyncio needs one."""

        async def answer(peer: Peer) -> None:
            await peer.reader.read()

        async with asyncio_peer(answer) as port:
            gc.collect()
            gc.disable()
            try:
                transport, protocol = await Ours.create(port, Recorder)
                left = [weakref.ref(transport), weakref.ref(protocol), weakref.ref(transport.tls_socket)]
                transport.close()
                await protocol.lost
                del transport, protocol
                await asyncio.sleep(0.01)
                assert [one() for one in left] == [None] * 3
            finally:
                gc.enable()


@pytest.mark.parametrize("paused", [False, True])
def test_transport_that_its_loop_leaves_open_is_reported(paused: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A ResourceWarning each for the client's and the server's, and the peers are closed."""

    async def leave() -> None:
        server = await tlsio.create_tls_server(asyncio.Protocol, "127.0.0.1", 0, cert=pki.localhost().cert_pem, key=pki.localhost().key_pem)
        transport, _ = await Ours.create(port_of(server), asyncio.Protocol)
        if paused:
            transport.pause_reading()
        while not server.tls_server.stats().handshakes_full:  # noqa: ASYNC110 - it emits no event of its own
            await asyncio.sleep(0)

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        asyncio.run(leave())
        gc.collect()
    told = [str(one.message) for one in found if "unclosed transport" in str(one.message)]
    assert sorted(text.split()[5] for text in told) == ["client", "server"]


class TestErrors:
    """test_streams: exceptions of the callback."""

    async def test_exception_of_a_callback_is_reported(self, face: Face, loop_errors: list[dict[str, Any]]) -> None:
        """test_unhandled_exception: and the connection is closed."""
        if face is Asyncios and sys.version_info < (3, 11, 7):
            pytest.skip("asyncio leaves the connection open")

        async def fail(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            raise ZeroDivisionError

        server = await face.start(fail)
        async with server:
            reader, writer = await Asyncios.open(port_of(server))
            with suppress(ConnectionError):
                await reader.read()
            writer.close()
            with suppress(OSError, ssl.SSLError):
                await writer.wait_closed()
        assert loop_errors[0]["message"] == "Unhandled exception in client_connected_cb"
        loop_errors.clear()
