"""The public face as a type checker sees it; never run. What it must refuse stands with the error it must give."""

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any, assert_type

from cryptography import x509

import tlsio
from tlsio import certs, https, probe
from tlsio.https import asgi as https_asgi


async def a_server() -> None:
    """Make, run and change a server."""

    async def echo(socket: tlsio.TLSSocket) -> None:
        async for chunk in socket:
            assert_type(chunk, bytes)
            await socket.send(chunk)

    async def choose(servername: str, socket: tlsio.TLSSocket) -> tlsio.SecureContext | None:
        return None

    async with tlsio.serve(echo, 0, "localhost", cert=Path("cert.pem"), key=b"...", sni_callback=choose, request_cert=True) as server:
        assert_type(server, tlsio.Server)
        assert_type(server.port, int | None)
        assert_type(server.listening, bool)
        assert_type(server.stats(), tlsio.ServerStats)
        server.add_context("example.com", tlsio.create_secure_context(min_version=ssl.TLSVersion.TLSv1_3))
        server.add_context("example.org", {"cert": "...", "key": "..."})
        server.set_secure_context(key=Path("new.key"))
        server.set_ticket_keys(server.get_ticket_keys())
        server.close(timeout=1.5)
        await server.wait_closed()

    other = tlsio.create_server(echo, max_connections=10, handshake_timeout=None)

    @other.on("tls_client_error")
    def failed(error: tlsio.TLSError, socket: tlsio.TLSSocket) -> None:
        assert_type(error.code, str)
        assert_type(error.hint, str | None)

    @other.on("alpn_callback")
    async def protocol(servername: str | None, protocols: Sequence[str], socket: tlsio.TLSSocket) -> str | None:
        return protocols[0] if servername else None

    @other.on("psk_callback")
    def find_key(socket: tlsio.TLSSocket, identity: str) -> bytes | None:
        return None

    class Token:
        async def sign(self, scheme: str, message: bytes) -> bytes:
            return b""

    class Agent:
        def sign(self, scheme: str, message: bytes) -> bytes:
            return b""

    tlsio.create_server(cert=Path("cert.pem"), key=Token())
    tlsio.connect(443, cert="...", key=[Agent(), b"..."])
    tlsio.create_secure_context(key=object())  # type: ignore[arg-type]  # it cannot sign

    tlsio.create_server(psk_callback=find_key, psk_identity_hint="hint")
    tlsio.connect(443, psk_callback=lambda hint: ("me", b"key") if hint else None)

    other.on("secure_connection", echo)
    other.once("listening", lambda: None)
    other.on("sni_callback", choose)

    tlsio.create_server(echo, stapling=tlsio.Stapler(timeout=5.0))

    @other.on("ocsp_request")
    async def staple(certificate: bytes, issuer: bytes | None, socket: tlsio.TLSSocket) -> bytes | None:
        return None

    other.on("secure_connection", choose)  # type: ignore[call-overload]
    other.on("no_such_event", echo)  # type: ignore[call-overload]
    tlsio.create_server(echo, requestCert=True)  # type: ignore[call-arg]
    tlsio.create_server(echo, request_cert=1)  # type: ignore[arg-type]


async def a_client() -> None:
    """Connect both ways, and use what was agreed."""
    socket = await tlsio.connect(443, "example.com", alpn_protocols=["h2", b"http/1.1"], pins=["sha256/..."], timeout=5.0)
    assert_type(socket, tlsio.TLSSocket)
    assert_type(await socket.read(), bytes)
    assert_type(await socket.readexactly(4), bytes)
    assert_type(await socket.readline(), bytes)
    assert_type(socket.write(bytearray(3)), bool)
    assert_type(socket.authorized, bool)
    assert_type(socket.authorization_error, str | None)
    assert_type(socket.get_protocol(), str | None)
    assert_type(socket.get_verified_chain(), tuple[x509.Certificate, ...])
    assert_type(socket.get_peer_x509_certificate(), x509.Certificate | None)
    assert_type(socket.bytes_read, int)
    socket.write("text")  # type: ignore[arg-type]

    @socket.on("data")
    def arrived(chunk: bytes) -> None:
        assert_type(chunk, bytes)

    @socket.on("ocsp_response")
    def stapled(response: bytes | None) -> None: ...

    def ended(had_error: bool) -> None:  # noqa: FBT001
        assert_type(had_error, bool)

    assert_type(socket.once("close", ended)(True), None)  # noqa: FBT003
    socket.on("data", socket.write)
    socket.on("error", print)
    socket.on("closed", ended)  # type: ignore[call-overload]
    socket.on("end", ended)  # type: ignore[call-overload]

    async with tlsio.connect(path="/run/service", servername="service") as inner:
        assert_type(inner, tlsio.TLSSocket)
    reader, writer = await asyncio.open_connection("localhost", 25)
    tlsio.TLSSocket((reader, writer), servername="localhost")


def a_pair() -> None:
    """TLS in memory."""
    pair = tlsio.create_secure_pair(tlsio.create_secure_context(), is_server=True)
    assert_type(pair, tlsio.SecurePair)
    assert_type(pair.encrypted.read(), bytes)
    assert_type(pair.cleartext.write(b"x"), bool)
    assert_type(pair.cleartext.authorized, bool)
    pair.encrypted.write("text")  # type: ignore[arg-type]


def a_context() -> None:
    """Make contexts, compare names, read the defaults."""
    context = tlsio.create_secure_context(ca=[], extra_ca=Path("more.pem"), session_timeout=60)
    assert_type(context, tlsio.SecureContext)
    assert_type(context.replace(request_cert=True), tlsio.SecureContext)
    assert_type(tlsio.check_server_identity("example.com", {"subject": {"CN": "example.com"}}), tlsio.CertificateAltNameError | None)
    assert_type(tlsio.get_ciphers(), list[str])
    assert_type(tlsio.get_certificate_compression_algorithms(), list[str])
    assert_type(tlsio.openssl_version, str)
    assert_type(tlsio.root_certificates, tuple[str, ...])
    assert_type(tlsio.get_ca_certificates("system"), tuple[str, ...])
    assert_type(tlsio.defaults.handshake_timeout, float | None)
    flag: int = tlsio.constants.SSL_OP_NO_TICKET
    tlsio.create_secure_context(secure_options=flag)
    assert_type(tlsio.__version__, str)
    tlsio.create_secure_context(min_version="TLSv1.4")  # type: ignore[arg-type]


async def sources() -> None:
    """Files that change, and sources of one's own, sync or async."""

    class Own:
        async def context_for(self, server_name: str | None) -> tlsio.SecureContext | None:
            return None

    class Sync:
        def context_for(self, name: str | None, /) -> tlsio.SecureContext:
            return tlsio.create_secure_context()

    class Wrong:
        def context_for(self, server_name: str) -> str:
            return server_name

    files = tlsio.FileSource(cert=Path("cert.pem"), key=Path("key.pem"), request_cert=False)
    every: list[tlsio.ContextSource] = [files, Own(), Sync()]
    every.append(Wrong())  # type: ignore[arg-type]
    assert_type(await files.reload(), tlsio.SecureContext)
    assert_type(files.stats(), tlsio.FileSourceStats)
    assert_type(files.stats().loads, int)
    tlsio.create_server(secure_context=files)
    tlsio.create_secure_pair(files, is_server=True)
    await tlsio.connect(443, "example.com", secure_context=files)
    tlsio.FileSource(certificate=Path("cert.pem"))  # type: ignore[call-arg]


async def sessions() -> None:
    """Stores, ticket keys, a cache of clients; a store of one's own may be sync or async."""

    class Own:
        async def get(self, session_id: bytes) -> bytes | None:
            return None

        async def put(self, session_id: bytes, data: bytes, ttl: float) -> None: ...

        def delete(self, session_id: bytes) -> None: ...

    class Wrong:
        def get(self, session_id: bytes) -> str:
            return ""

    memory = tlsio.MemorySessionStore(max_entries=None, max_bytes=1000)
    assert_type(memory.get(b"id"), bytes | None)
    assert_type(memory.stats(), tlsio.StoreStats)
    async with tlsio.RedisSessionStore("redis://localhost", secret=b"...", timeout=0.1) as shared:
        stores: list[tlsio.SessionStore] = [memory, shared, Own()]
        stores.append(Wrong())  # type: ignore[arg-type]
        assert_type(await shared.get(b"id"), bytes | None)
        assert_type(shared.stats().seconds, float)
    async with tlsio.RedisTicketKeys("redis://localhost", secret="...", interval=600.0) as keys:
        assert_type(keys, tlsio.RedisTicketKeys)
    tlsio.TicketKeyRing(interval=600.0, overlap=300.0)
    tlsio.RedisTicketKeys("redis://localhost")  # type: ignore[call-arg]
    server = tlsio.create_server(session_store=shared, ticket_keys=keys)
    tlsio.ServerCollector({"web": server})
    tlsio.ServerCollector([server])  # type: ignore[arg-type]
    cache = tlsio.ClientSessionCache(max_entries=10)
    assert_type(cache.take(("localhost", 443)), bytes | None)


async def asyncio_shapes() -> None:
    """Functions of asyncio's names."""

    class Echo(asyncio.Protocol):
        def data_received(self, data: bytes) -> None: ...

    transport, protocol = await tlsio.create_connection(Echo, "localhost", 443, pins=["sha256/..."])
    assert_type(transport, tlsio.TLSTransport)
    assert_type(protocol, Echo)
    reader, writer = await tlsio.open_connection("localhost", 443)
    assert_type(reader, asyncio.StreamReader)
    assert_type(writer, asyncio.StreamWriter)
    async with await tlsio.create_tls_server(Echo, ["127.0.0.1", "::1"], 443, cert=b"...", key=b"...") as server:
        assert_type(server, tlsio.AsyncioServer)
        assert_type(server.tls_server, tlsio.Server)
    await tlsio.create_tls_server(Echo, port="443")  # type: ignore[arg-type]
    await tlsio.create_connection(Echo, "localhost", 443, pin="...")  # type: ignore[call-arg]


async def a_look() -> None:
    """Look at a server from outside."""
    async with probe.connect("example.com", 443, ca=Path("ca.pem"), resumption=True) as look:
        assert_type(look, probe.Look)
        assert_type(look.socket, tlsio.TLSSocket | None)
        assert_type(look.verdict.authorized, bool)
    assert_type(await probe.connect("example.com", 443), probe.Look)
    certs.verify(Path("chain.pem"), chain_policy="strict")  # type: ignore[arg-type]
    seen = await probe.examine("example.com", 25, starttls="smtp", on_progress=print)
    assert_type(seen.findings, tuple[probe.Finding, ...])
    assert_type(await probe.examine_files("example.com", cert=Path("cert.pem"), key=Path("key.pem")), tuple[probe.Finding, ...])
    async with probe.listen(8443, on_arrival=print, cert=b"...", key=b"...") as server:
        assert_type(server, tlsio.Server)
    speed = await probe.measure("example.com", 443, seconds=1.0)
    assert_type(speed.handshakes.percentiles, dict[int, float])
    await probe.examine("example.com", 443, certificate=b"...")  # type: ignore[call-arg]


def plain(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """An application of WSGI."""
    start_response(environ["REQUEST_METHOD"], [])
    return [b""]


async def an_https_server() -> None:
    """Serve applications of ASGI and WSGI, and folders."""

    async def app(scope: https_asgi.Scope, receive: https_asgi.Receive, send: https_asgi.Send) -> None:
        assert_type(https.tls_attributes(scope), dict[str, str | bool])
        assert_type(https.ClientIdentity.from_scope(scope), https.ClientIdentity | None)
        await send({"type": "http.response.start", "status": 204})

    limits = https.Limits(header_timeout=5.0, keep_alive_timeout=None, max_body_bytes=10**6)
    assert_type(limits.max_streams, int)
    hsts = https.HSTS(max_age=300, include_subdomains=True)
    acme = https.ACME(domains=["a.example", "b.example"], agree_tos=True, email=["ada@a.example"])
    assert_type(https.Server(app, acme=acme, redirect_port=80), https.Server)
    async with https.Server(
        app, limits=limits, hsts=hsts, redirect_port=80, cert=Path("cert.pem"), key=b"...", request_cert=True
    ) as server:
        assert_type(server, https.Server)
        assert_type(server.tls_server, tlsio.Server)
        assert_type(server.port, int | None)
        await server.reload()
    counted = https.Server("main:app", metrics=True, access_log="json", hsts=True, forwarded_allow_ips=["127.0.0.1"])
    if counted.metrics is not None:
        assert_type(counted.metrics.port, int | None)
    await https.serve(https.Files("public", listing=True), None, 443, on_start=lambda server: assert_type(server, https.Server))
    await https.serve(https.SecurityHeaders(app, x_frame_options="DENY", content_security_policy={"script-src": None}))
    https.WSGISecurityHeaders(plain, remove_x_powered_by=False)
    https.client_identity(required=True)
    https.Server(app, metrics=("127.0.0.1", 9100), wsgi_threads=20)
    https.Server(app, metrics="127.0.0.1:9100")  # type: ignore[arg-type]
    https.Server(app, redirect_status=302)  # type: ignore[arg-type]
    https.Server(app, requestCert=True)  # type: ignore[call-arg]
    https.Limits(5.0)  # type: ignore[call-arg]
    https.SecurityHeaders(app, strict_transport_security="max-age=1")  # type: ignore[call-arg]
