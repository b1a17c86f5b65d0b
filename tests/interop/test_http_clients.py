"""httpx's and aiohttp's clients over our TLS, with a server of ours and one of the standard library, under both versions."""

from __future__ import annotations

import asyncio
import gc
import io
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import pytest

import http_peers
import pki
import tlsio
from ports import own_port
from tlsio.interop import httpx as httpx_module
from tlsio.interop.aiohttp import Connector
from tlsio.interop.httpx import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from http_peers import Kind
    from net import Version

# Of the libraries themselves.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")


class Httpx:
    """httpx, and the names of its errors."""

    name = "httpx"
    refused: tuple[type[Exception], ...] = (httpx.ConnectError,)
    certificate_refused: type[Exception] = httpx.ConnectError
    timed_out: type[Exception] = httpx.TimeoutException
    lost: tuple[type[Exception], ...] = (httpx.ReadError, httpx.WriteError)

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    @classmethod
    @asynccontextmanager
    async def open(
        cls, *, proxy: str | None = None, proxy_options: Any = None, seconds: float = 20.0, **options: Any
    ) -> AsyncIterator[Httpx]:
        """Make a client that trusts ca1, unless the options say otherwise."""
        transport = Transport(proxy=proxy, proxy_options=proxy_options, **{"ca": pki.ca1().cert_pem} | options)
        async with httpx.AsyncClient(transport=transport, timeout=seconds) as client:
            yield cls(client)

    async def fetch(self, url: str, body: bytes | None = None) -> bytes:
        """Get, or post a body."""
        response = await (self.client.get(url) if body is None else self.client.post(url, content=body))
        assert response.status_code == 200
        return response.content

    @asynccontextmanager
    async def held(self, site: http_peers.Site) -> AsyncIterator[tlsio.TLSSocket]:
        """Get half of a body; gives the socket below."""
        async with self.client.stream("GET", f"{site.url}/held") as response:
            yield response.extensions["network_stream"].get_extra_info("tls_socket")
            site.released.set()
            assert await response.aread() == b"hello"


class Aiohttp:
    """aiohttp, and the names of its errors."""

    name = "aiohttp"
    refused = (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError)
    certificate_refused = aiohttp.ClientConnectorCertificateError
    timed_out = TimeoutError
    lost = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)

    def __init__(self, client: aiohttp.ClientSession, proxy: str | None) -> None:
        self.client = client
        self.proxy = proxy

    @classmethod
    @asynccontextmanager
    async def open(
        cls, *, proxy: str | None = None, proxy_options: Any = None, seconds: float = 20.0, **options: Any
    ) -> AsyncIterator[Aiohttp]:
        """Make a client that trusts ca1, unless the options say otherwise."""
        connector = Connector(proxy_options=proxy_options, **{"ca": pki.ca1().cert_pem} | options)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=seconds)) as client:
            yield cls(client, proxy)

    async def fetch(self, url: str, body: bytes | None = None) -> bytes:
        """Get, or post a body."""
        data = None if body is None else io.BytesIO(body)
        async with self.client.request("GET" if body is None else "POST", url, data=data, proxy=self.proxy) as response:
            assert response.status == 200
            return await response.read()

    @asynccontextmanager
    async def held(self, site: http_peers.Site) -> AsyncIterator[tlsio.TLSSocket]:
        """Get half of a body; gives the socket below."""
        async with self.client.get(f"{site.url}/held", proxy=self.proxy) as response:
            assert response.connection is not None
            assert response.connection.transport is not None
            yield response.connection.transport.get_extra_info("tls_socket")
            site.released.set()
            assert await response.read() == b"hello"


Library = type[Httpx] | type[Aiohttp]


@pytest.fixture(params=[Httpx, Aiohttp], ids=["httpx", "aiohttp"])
def library(request: pytest.FixtureRequest) -> Library:
    """One of the two."""
    return request.param


@pytest.fixture(params=["ours", "stdlib"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """The TLS of the server."""
    return request.param


async def test_requests_share_a_connection(library: Library, kind: Kind, version: Version) -> None:
    """Large bodies in both directions, and one handshake; closing the client ends it in order."""
    async with http_peers.serve(kind, version) as site:
        async with library.open() as client:
            assert await client.fetch(site.url) == b"hello"
            assert await client.fetch(site.url, bytes(2_000_000)) == b"2000000"
            assert await client.fetch(f"{site.url}/large") == bytes(http_peers.LARGE)
        assert site.versions == [version]
        await site.ended(1)
        assert site.lost == [None]


async def test_requests_at_once_have_connections_of_their_own(library: Library, kind: Kind, version: Version) -> None:
    """Several handshakes overlap."""
    async with http_peers.serve(kind, version) as site, library.open() as client:
        assert await asyncio.gather(*(client.fetch(site.url, bytes(size)) for size in range(8))) == [str(n).encode() for n in range(8)]
        assert 1 < len(site.versions) <= 8


async def test_idle_connection_that_the_server_ended_is_replaced(library: Library, version: Version) -> None:
    """In order or not; no error shows. An idle client answers neither, so the server's patience is short."""
    async with http_peers.serve("ours", version, close_timeout=0.05) as site, library.open() as client:
        for number, end in enumerate((site.server.close_clients, site.server.abort_clients), start=1):
            assert await client.fetch(site.url) == b"hello"
            end()
            await site.ended(number)
        assert await client.fetch(site.url) == b"hello"
        assert len(site.versions) == 3


async def test_untrusted_server_is_refused(library: Library, kind: Kind, version: Version) -> None:
    """The library's own error, caused by ours."""
    async with http_peers.serve(kind, version) as site, library.open(ca=pki.ca2().cert_pem) as client:
        with pytest.raises(library.certificate_refused) as caught:
            await client.fetch(site.url)
        assert isinstance(caught.value.__cause__, tlsio.CertificateError)
        assert caught.value.__cause__.code == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"


async def test_context_source_is_asked_for_each_connection(library: Library, version: Version) -> None:
    """A client that lives long follows its roots; the library's protocols are offered under each context."""
    trusting, strange = (tlsio.create_secure_context(ca=ca.cert_pem) for ca in (pki.ca1(), pki.ca2()))

    class Source:
        context = trusting

        async def context_for(self, server_name: str | None) -> tlsio.SecureContext | None:
            assert server_name == "localhost"
            return self.context

    source = Source()
    async with http_peers.serve("ours", version) as site, library.open(ca=None, secure_context=source) as client:
        assert await client.fetch(site.url) == b"hello"
        site.server.close_clients()
        await site.ended(1)
        source.context = strange
        with pytest.raises(library.certificate_refused):
            await client.fetch(site.url)
        source.context = trusting
        assert await client.fetch(site.url) == b"hello"


async def test_server_of_another_name_is_refused(library: Library, kind: Kind, version: Version) -> None:
    """The URL's host is what the certificate is compared with, or `servername=`."""
    async with http_peers.serve(kind, version) as site, library.open(servername="example.org") as client:
        with pytest.raises(library.certificate_refused) as caught:
            await client.fetch(site.url)
        assert isinstance(caught.value.__cause__, tlsio.CertificateAltNameError)


async def test_addresses_are_verified(library: Library, kind: Kind, version: Version) -> None:
    """A URL with an address."""
    async with http_peers.serve(kind, version) as site, library.open() as client:
        assert await client.fetch(f"https://127.0.0.1:{site.port}") == b"hello"


async def test_pins(library: Library, kind: Kind, version: Version) -> None:
    """The pinned key is accepted, another one is not."""
    async with http_peers.serve(kind, version) as site:
        async with library.open(pins=[pki.localhost().spki_sha256]) as client:
            assert await client.fetch(site.url) == b"hello"
        async with library.open(pins=[bytes(32)]) as client:
            with pytest.raises(library.certificate_refused) as caught:
                await client.fetch(site.url)
            assert getattr(caught.value.__cause__, "code", None) == "ERR_TLS_PIN_MISMATCH"


async def test_client_certificate(library: Library, kind: Kind, version: Version) -> None:
    """The server gets it."""
    who = pki.client()
    async with http_peers.serve(kind, version, request_cert=True) as site, library.open(cert=who.cert_pem, key=who.key_pem) as client:
        assert await client.fetch(site.url) == b"hello"
        assert site.certificates == [who.cert_der]


async def test_missing_client_certificate(library: Library, kind: Kind, version: Version) -> None:
    """The server's alert is the cause; in TLS 1.3 it comes when the request has been sent. asyncio's server sends none.

    If it comes before, aiohttp does not send the request, and its error has no cause.
    """
    is_sent = False
    async with http_peers.serve(kind, version, request_cert=True) as site, library.open() as client:
        while not is_sent:
            with pytest.raises((*library.refused, *library.lost)) as caught:
                await client.fetch(site.url)
            is_sent = str(caught.value) != "Cannot write to closing transport"
        assert isinstance(caught.value.__cause__, tlsio.AlertReceived if kind == "ours" else tlsio.TLSError)


async def test_sessions_resume(library: Library, kind: Kind, version: Version) -> None:
    """Over two clients that share a cache; both sides say so."""
    cache = tlsio.ClientSessionCache()
    async with http_peers.serve(kind, version) as site:
        for expected in (False, True):
            site.released.clear()
            async with library.open(session_cache=cache) as client, client.held(site) as sock:
                assert sock.is_session_reused() is expected
                assert sock.authorized
        assert site.reused == [False, True]


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_proxy_tunnel(library: Library, kind: Kind, version: Version, tls: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Through CONNECT, also within TLS to the proxy; the server is verified, and sessions resume."""
    cache = tlsio.ClientSessionCache()
    async with http_peers.serve(kind, version) as site, http_peers.tunnel(tls=tls) as proxy:
        proxy_options = {"ca": pki.ca1().cert_pem} if tls else None
        for _ in range(2):
            async with library.open(proxy=proxy.url, proxy_options=proxy_options, session_cache=cache) as client:
                assert await client.fetch(site.url, bytes(1_000_000)) == b"1000000"
        assert proxy.requests == [f"localhost:{site.port}"] * 2
        assert site.reused == [False, True]
        async with library.open(proxy=proxy.url, proxy_options=proxy_options, ca=pki.ca2().cert_pem) as client:
            with pytest.raises(library.certificate_refused) as caught:
                await client.fetch(site.url)
            assert isinstance(caught.value.__cause__, tlsio.CertificateError)


async def test_proxy_of_another_authority_is_refused(library: Library) -> None:
    """The trust of the servers is not that of their proxy."""
    async with http_peers.serve("stdlib", "TLSv1.3") as site, http_peers.tunnel(tls=True) as proxy:
        async with library.open(proxy=proxy.url) as client:
            with pytest.raises(library.certificate_refused) as caught:
                await client.fetch(site.url)
            assert isinstance(caught.value.__cause__, tlsio.CertificateError)
        assert proxy.requests == []


async def test_cancelled_request_leaves_nothing(library: Library, kind: Kind, version: Version) -> None:
    """In the middle of an answer; the next request has a connection of its own."""
    async with http_peers.serve(kind, version) as site, library.open() as client:
        half = asyncio.Event()

        async def request() -> None:
            async with client.held(site):
                half.set()
                await asyncio.Event().wait()

        running = asyncio.create_task(request())
        await half.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await client.fetch(site.url) == b"hello"
        assert len(site.versions) == 2
        site.released.set()


async def test_cancelled_handshake_leaves_nothing(library: Library) -> None:
    """The server is silent; the descriptor is closed, which the test's surroundings check."""
    below, arrived = await silent_server()
    async with below, library.open() as client:
        running = asyncio.create_task(client.fetch(f"https://localhost:{below.sockets[0].getsockname()[1]}"))
        writer = await arrived
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        writer.close()


async def test_time_for_connecting_is_bounded(library: Library) -> None:
    """The server is silent."""
    below, arrived = await silent_server()
    async with below, library.open(seconds=0.1) as client:
        with pytest.raises(library.timed_out):
            await client.fetch(f"https://localhost:{below.sockets[0].getsockname()[1]}")
        (await arrived).close()


async def test_time_for_an_answer_is_bounded(library: Library, kind: Kind, version: Version) -> None:
    """The second half never comes."""
    async with http_peers.serve(kind, version) as site, library.open(seconds=0.2) as client:
        with pytest.raises(library.timed_out):
            await client.fetch(f"{site.url}/held")
        site.released.set()


async def test_handshake_timeout_is_a_timeout(library: Library) -> None:
    """That of our options, with our error as the cause."""
    below, arrived = await silent_server()
    async with below, library.open(handshake_timeout=0.05) as client:
        with pytest.raises(library.timed_out) as caught:
            await client.fetch(f"https://localhost:{below.sockets[0].getsockname()[1]}")
        assert isinstance(caught.value.__cause__, tlsio.HandshakeTimeoutError)
        (await arrived).close()


async def test_connection_refused(library: Library) -> None:
    """The library's error; the system's below it."""
    with own_port() as port:
        async with library.open() as client:
            with pytest.raises((httpx.ConnectError, aiohttp.ClientConnectorError)) as caught:
                await client.fetch(f"https://localhost:{port}")
            assert isinstance(caught.value.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize("length", ["", "content-length: 9\r\n"])
async def test_truncated_answer_is_an_error(library: Library, length: str) -> None:
    """Also of an answer that only the end of the connection ends."""
    head = f"HTTP/1.1 200 OK\r\nconnection: close\r\n{length}\r\nhalf"

    async def truncate(sock: tlsio.TLSSocket) -> None:
        await sock.readuntil(b"\r\n\r\n")
        await sock.send(head.encode())
        await asyncio.sleep(0.02)  # the client waits for the rest
        sock.destroy()

    who = pki.localhost()
    async with tlsio.serve(truncate, 0, "localhost", cert=who.cert_pem, key=who.key_pem) as server, library.open() as client:
        with pytest.raises(library.lost) as caught:
            await client.fetch(f"https://localhost:{server.port}")
        assert isinstance(caught.value.__cause__, tlsio.TruncatedError)


async def silent_server() -> tuple[asyncio.Server, asyncio.Future[asyncio.StreamWriter]]:
    """Accept a connection and say nothing."""
    arrived: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    return await asyncio.start_server(lambda _, writer: arrived.done() or arrived.set_result(writer), "127.0.0.1", 0), arrived


@pytest.mark.parametrize("library", [Transport, Connector])
async def test_options_that_the_library_decides_are_refused(library: Any) -> None:
    """And unknown ones, when the client is made."""
    for options in ({"alpn_protocols": ["h2"]}, {"timeout": 1.0}, {"host": "localhost"}, {"verify": False}):
        with pytest.raises(tlsio.UsageError) as caught:
            library(**options)
        assert caught.value.hint
    with pytest.raises(tlsio.ConfigError):
        library(cert=b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n", key=pki.client().key_pem)


@pytest.mark.parametrize("library", [Httpx, Aiohttp])
async def test_local_address_and_family(library: Library) -> None:
    """The options about TCP are followed too."""
    async with http_peers.serve("ours", "TLSv1.3") as site:
        async with library.open(local_address="127.0.0.9", no_delay=False) as client, client.held(site) as sock:
            assert sock.local_address == "127.0.0.9"
        async with library.open(family=6) as client:
            with pytest.raises((httpx.ConnectError, aiohttp.ClientConnectorError)):
                await client.fetch(site.url)


class TestHttpx:
    """What aiohttp does not have."""

    async def test_http2(self, version: Version) -> None:
        """By ALPN: several requests at once on one connection, and HTTP/1.1 where the server has no other.

        Together they fit into the first window. A request that waits for more while another waits for its response may wait
        for ever in httpcore 1.0.9: the other one has read the WINDOW_UPDATE, and `_wait_for_outgoing_flow` reads once more.
        """
        async with http_peers.serve_http2(version) as server, Httpx.open(http2=True) as both:
            url = f"https://localhost:{server.port}"
            responses = await asyncio.gather(*(both.client.post(url, content=bytes(n)) for n in (0, 7, 60_000)))
            responses.append(await both.client.post(url, content=bytes(100_000)))
            assert [one.http_version for one in responses] == ["HTTP/2"] * 4
            assert [one.text for one in responses] == ["0", "7", "60000", "100000"]
            assert server.stats().accepted == 1
        async with http_peers.serve("stdlib", version) as site, Httpx.open(http2=True) as both:
            assert (await both.client.get(site.url)).http_version == "HTTP/1.1"

    async def test_http2_alone(self) -> None:
        """Http1=False offers h2 alone: a server without it refuses."""
        async with http_peers.serve("ours", "TLSv1.3") as site, Httpx.open(http1=False, http2=True) as client:
            with pytest.raises(httpx.ConnectError) as caught:
                await client.fetch(site.url)
            assert isinstance(caught.value.__cause__, tlsio.AlertReceived)

    async def test_streams_that_httpcore_forgets_are_closed(self) -> None:
        """The garbage collector ends their connections, from whatever thread; it does not those that another TLS uses."""
        context, who = httpx_module._TLSContext({"ca": pki.ca1().cert_pem}, ["http/1.1"]), pki.localhost()
        made: asyncio.Queue[tlsio.TLSSocket] = asyncio.Queue()
        server = tlsio.create_server(made.put_nowait, cert=who.cert_pem, key=who.key_pem)
        await server.listen(0, "127.0.0.1")
        plain = await httpx_module._Backend(context.tls.options).connect_tcp("127.0.0.1", server.port or 0)
        outer = await plain.start_tls(context.as_ssl(), "localhost")
        peer = await made.get()
        starting = asyncio.create_task(outer.start_tls(context.as_ssl(), "localhost"))
        inner_peer = await server.upgrade(peer)
        inner: Any = await starting
        del plain, outer, starting
        gc.collect()
        await inner.write(b"alive")
        assert await inner_peer.read() == b"alive"
        held = [inner]
        del inner
        with pytest.warns(ResourceWarning, match="unclosed <TLSSocket"):
            await asyncio.to_thread(held.clear)
        assert await inner_peer.read_all() == b""
        server.close(0)
        await server.wait_closed()

    async def test_socks_proxy(self, version: Version) -> None:
        """As with other proxies, TLS is done within the tunnel."""
        async with http_peers.serve("ours", version) as site, http_peers.tunnel(socks=True) as proxy, Httpx.open(proxy=proxy.url) as client:
            assert await client.fetch(site.url, bytes(1000)) == b"1000"
            assert proxy.requests == [f"localhost:{site.port}"]

    async def test_plain_http(self) -> None:
        """URLs of http work too."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nplain")
                await writer.drain()

        answering: set[Any] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            answering.add(asyncio.current_task())
            with suppress(asyncio.IncompleteReadError):
                await answer(reader, writer)
            writer.close()

        async with await asyncio.start_server(accept, "127.0.0.1", 0) as server, Httpx.open() as client:
            for _ in range(2):
                assert await client.fetch(f"http://localhost:{server.sockets[0].getsockname()[1]}") == b"plain"
            assert len(answering) == 1
            server.close()
        await asyncio.wait(answering)

    async def test_unix_socket(self, unix_path: Path) -> None:
        """The URL's host is verified."""

        async def answer(sock: tlsio.TLSSocket) -> None:
            await sock.readuntil(b"\r\n\r\n")
            await sock.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nunix")
            await sock.read()

        who = pki.localhost()
        async with (
            tlsio.serve(answer, None, path=unix_path, cert=who.cert_pem, key=who.key_pem),
            Httpx.open(uds=str(unix_path)) as client,
        ):
            assert await client.fetch("https://localhost") == b"unix"

    async def test_answer_without_a_question(self) -> None:
        """A server that gives up on an idle connection says so first: that is not the answer to the next request."""
        answers = [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n"]
        told = asyncio.Event()

        async def answer(sock: tlsio.TLSSocket) -> None:
            await sock.readuntil(b"\r\n\r\n")
            for one in answers:
                await sock.send(one)
                await asyncio.sleep(0.02)  # two records, at two times
            told.set()
            await sock.read()

        who = pki.localhost()
        async with tlsio.serve(answer, 0, "localhost", cert=who.cert_pem, key=who.key_pem) as server, Httpx.open() as client:
            for _ in range(2):
                told.clear()
                assert await client.fetch(f"https://localhost:{server.port}") == b"ok"
                await told.wait()

    async def test_host_that_is_no_host_name_is_a_failed_connection(self) -> None:
        """A label of more than 63 characters: Python's lookup raises a UnicodeError."""
        async with Httpx.open() as client:
            with pytest.raises(httpx.ConnectError):
                await client.fetch(f"https://{'a' * 64}.example")

    @pytest.mark.parametrize(
        "proxy",
        [
            "me:hunter2@localhost:3128",
            "ftp://me:hunter2@localhost:3128",
            "http://me:hunter2#@localhost:3128",
            "http://me#:hunter2@localhost:3128",
            "http://me:hunter2/@localhost:3128",
        ],
    )
    def test_wrong_proxy_is_refused_without_its_password(self, proxy: str) -> None:
        """A `#` does not make the user the host of a proxy."""
        with pytest.raises(tlsio.UsageValueError) as caught:
            Transport(proxy=proxy)
        assert "hunter2" not in str(caught.value)

    async def test_proxy_options_need_a_proxy_of_https(self) -> None:
        """And an SSLContext is refused, which could not be used."""
        with pytest.raises(tlsio.UsageError):
            Transport(proxy="http://localhost:3128", proxy_options={})
        with pytest.raises(tlsio.UsageError):
            Transport(proxy=httpx.Proxy("https://localhost:3128", ssl_context=http_peers.stdlib_context()))

    def test_without_asyncio_the_error_names_the_way(self) -> None:
        """As under trio."""
        request = httpx.AsyncClient(transport=Transport()).get("https://localhost")
        with pytest.raises(tlsio.UsageError) as caught:
            request.send(None)
        assert "asyncio.run" in (caught.value.hint or "")


class TestAiohttp:
    """What httpx does not have."""

    @pytest.mark.parametrize(
        "given", [False, http_peers.stdlib_context(), aiohttp.Fingerprint(bytes(32))], ids=["off", "ssl", "fingerprint"]
    )
    async def test_ssl_of_a_request_is_refused(self, given: Any) -> None:
        """It could not be followed."""
        async with http_peers.serve("ours", "TLSv1.3") as site, Aiohttp.open() as client:
            with pytest.raises(tlsio.UsageError, match="ssl="):
                await client.client.get(site.url, ssl=given)

    async def test_options_of_a_request_are_refused_before_the_proxy_is_asked(self) -> None:
        """`ssl=`, and two names for one server; nothing is connected."""
        async with http_peers.tunnel() as proxy, Aiohttp.open(servername="localhost") as client:
            for options in ({"ssl": False}, {"server_hostname": "localhost"}):
                with pytest.raises(tlsio.UsageError):
                    await client.client.get("https://127.0.0.1:1", proxy=proxy.url, **options)
            assert proxy.requests == []

    async def test_force_close(self) -> None:
        """Each request has a connection of its own."""
        async with http_peers.serve("ours", "TLSv1.3") as site, Aiohttp.open(force_close=True) as client:
            for _ in range(2):
                assert await client.fetch(site.url) == b"hello"
            assert len(site.versions) == 2
