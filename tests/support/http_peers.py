"""Servers and proxies for HTTP clients: uvicorn behind our TLS or the standard library's, and a proxy that only tunnels.

The app answers a GET with "hello", a POST with the length of its body, `/large` with a body of LARGE bytes, and `/held` with a body
whose second half comes when the test sets `released`.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import h2.config
import h2.connection
import h2.events
import uvicorn
from uvicorn.server import ServerState

import pki
import tlsio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Kind = Literal["ours", "stdlib"]
LARGE = 2_000_000
CHUNK = 100_000


@dataclass
class Site:
    """A server, and what it saw: one entry for each connection."""

    port: int = 0
    reused: list[bool] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    certificates: list[bytes | None] = field(default_factory=list)
    lost: list[BaseException | None] = field(default_factory=list)
    server: Any = None
    released: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"https://localhost:{self.port}"

    async def ended(self, number: int) -> None:
        """Wait until so many connections have ended."""
        while len(self.lost) < number:  # noqa: ASYNC110 - only the server's protocol sees it
            await asyncio.sleep(0.001)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        path = scope["path"]
        body = str(size).encode() if scope["method"] == "POST" else b"hello"
        length = LARGE if path == "/large" else len(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(length).encode())]})
        if path == "/large":
            for _ in range(LARGE // CHUNK):
                await send({"type": "http.response.body", "body": bytes(CHUNK), "more_body": True})
            body = b""
        if path == "/held":
            await send({"type": "http.response.body", "body": body[:2], "more_body": True})
            body = body[2:]
            await self.released.wait()
        await send({"type": "http.response.body", "body": body})

    def protocol(self, config: uvicorn.Config) -> type[asyncio.Protocol]:
        """Return uvicorn's protocol, which notes what the connections are."""
        site, state = self, ServerState()

        class Noting(config.http_protocol_class):  # type: ignore[name-defined,misc]
            def __init__(self) -> None:
                super().__init__(config=config, server_state=state, app_state={})

            def connection_made(self, transport: Any) -> None:
                found = transport.get_extra_info("ssl_object")
                site.reused.append(bool(found.session_reused))
                site.versions.append(found.version())
                site.certificates.append(found.getpeercert(True))  # noqa: FBT003
                super().connection_made(transport)

            def connection_lost(self, error: Exception | None) -> None:
                site.lost.append(error)
                super().connection_lost(error)

        return Noting


@asynccontextmanager
async def serve(kind: Kind, version: str, *, request_cert: bool = False, **options: Any) -> AsyncIterator[Site]:
    """Serve HTTP/1.1 as localhost; a requested certificate must be of ca1. `options` are for a server of ours."""
    site = Site()
    config = uvicorn.Config(site.app, interface="asgi3", http="h11", ws="none", lifespan="off", log_level="critical")
    config.load()
    factory = site.protocol(config)
    server: Any
    if kind == "ours":
        who = pki.localhost()
        trust: dict[str, Any] = {"ca": pki.ca1().cert_pem, "request_cert": True} if request_cert else {}
        versions: dict[str, Any] = {"min_version": version, "max_version": version, "alpn_protocols": ["http/1.1"]}
        server = await tlsio.create_tls_server(factory, "127.0.0.1", 0, cert=who.cert_pem, key=who.key_pem, **trust, **versions, **options)
    else:
        context = stdlib_context(version, request_cert=request_cert)
        server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0, ssl=context)
    site.server = server
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        if isinstance(server, tlsio.AsyncioServer):
            server.abort_clients()
            await server.wait_closed()


@asynccontextmanager
async def serve_http2(version: str) -> AsyncIterator[tlsio.Server]:
    """Serve HTTP/2 by the package h2 over our TLS: the answer is the length of the request's body."""

    async def answer(sock: tlsio.TLSSocket) -> None:
        made = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        made.initiate_connection()
        await sock.send(made.data_to_send())
        sizes: dict[int, int] = {}
        async for chunk in sock:
            for event in made.receive_data(chunk):
                if isinstance(event, h2.events.DataReceived):
                    sizes[event.stream_id] = sizes.get(event.stream_id, 0) + len(event.data)
                    made.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    made.send_headers(event.stream_id, [(":status", "200")])
                    made.send_data(event.stream_id, str(sizes.get(event.stream_id, 0)).encode(), end_stream=True)
            await sock.send(made.data_to_send())

    who = pki.localhost()
    options: dict[str, Any] = {"alpn_protocols": ["h2"], "min_version": version, "max_version": version}
    async with tlsio.serve(answer, 0, "localhost", cert=who.cert_pem, key=who.key_pem, **options) as server:
        yield server


def stdlib_context(version: str | None = None, *, request_cert: bool = False) -> ssl.SSLContext:
    """Make the standard library's side of localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if version is not None:
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version.replace(".", "_")]
    context.set_alpn_protocols(["http/1.1"])
    if request_cert:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=pki.ca1().cert_pem.decode())
    with tempfile.NamedTemporaryFile() as file:  # the standard library loads them from nowhere else
        file.write(pki.localhost().chain_pem + pki.localhost().key_pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context


@dataclass
class Tunnels:
    """A proxy, and the targets that were requested."""

    url: str = ""
    requests: list[str] = field(default_factory=list)


@asynccontextmanager
async def tunnel(*, tls: bool = False, socks: bool = False) -> AsyncIterator[Tunnels]:
    """Run a proxy that knows CONNECT alone, behind the standard library's TLS if `tls` is set; or one of SOCKS 5."""
    made, running = Tunnels(), set[asyncio.Task[Any]]()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            made.requests.append(await (read_socks if socks else read_connect)(reader, writer))
            port = int(made.requests[-1].removeprefix("localhost:"))
            below, beyond = await asyncio.open_connection("127.0.0.1", port)
            writer.write(_SOCKS_CONNECTED if socks else b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(copy(reader, beyond), copy(below, writer))
        running.discard(task)

    below = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=stdlib_context() if tls else None)
    made.url = f"{'socks5' if socks else 'https' if tls else 'http'}://localhost:{below.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        below.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def read_connect(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> str:
    """Read a request with CONNECT; return its target."""
    method, target, _version = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[0].split()
    assert method == "CONNECT"
    return target


# RFC 1928 §6: succeeded, bound to 0.0.0.0 port 0.
_SOCKS_CONNECTED = bytes([5, 0, 0, 1, 0, 0, 0, 0, 0, 0])


async def read_socks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Read a greeting and a request of SOCKS 5 for a name (RFC 1928 §3 and §4); return the target."""
    _, methods = await reader.readexactly(2)
    await reader.readexactly(methods)
    writer.write(bytes([5, 0]))
    *_, length = await reader.readexactly(5)
    name = (await reader.readexactly(length)).decode()
    return f"{name}:{int.from_bytes(await reader.readexactly(2), 'big')}"


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes until the end, then close the other side."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
        with suppress(OSError, ssl.SSLError):
            await writer.wait_closed()
