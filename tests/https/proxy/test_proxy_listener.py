"""Connections behind a TCP proxy: the client's address, and what happens to everything else."""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import pki
from served import client_context
from tlsio.https import Server
from tlsio.https.proxy.protocol import write_header
from tlsio.model.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

V1 = b"PROXY TCP4 192.0.2.7 192.0.2.8 40000 443\r\n"
V2 = write_header(("2001:db8::7", 40000), ("2001:db8::8", 443))


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the client's address and our own."""
    assert scope["type"] == "http"
    del receive
    body = repr((scope["client"], scope["server"])).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(*, trusted: tuple[str, ...] = ("127.0.0.0/8",), **options: Any) -> AsyncIterator[Server]:
    """Serve behind a proxy of this machine."""
    who = pki.localhost()
    server = Server(app, cert=who.chain_pem, key=who.key_pem, lifespan="off", proxy_protocol=trusted, **options)
    await server.start("127.0.0.1", 0)
    try:
        yield server
    finally:
        await server.stop()


async def ask(server: Server, header: bytes, *, alpn: str = "http/1.1") -> bytes:
    """Be a proxy and its client; return the body, or b"" if the connection was closed."""
    context = client_context()
    context.set_alpn_protocols([alpn])
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(header)
        await writer.start_tls(context, server_hostname="localhost")
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return (await reader.read()).partition(b"\r\n\r\n")[2]
    except (ConnectionError, ssl.SSLError):
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("header", "seen"),
    [(V1, (("192.0.2.7", 40000), ("192.0.2.8", 443))), (V2, (("2001:db8::7", 40000), ("2001:db8::8", 443)))],
    ids=["v1", "v2"],
)
async def test_the_application_sees_the_clients_address(header: bytes, seen: Any) -> None:
    """And where the client has connected to, in either version."""
    async with serving() as server:
        assert await ask(server, header) == repr(seen).encode()


async def test_a_proxy_that_speaks_for_itself() -> None:
    """Such as for a health check: its own address."""
    async with serving() as server:
        assert b"('127.0.0.1', " in await ask(server, b"PROXY UNKNOWN\r\n")


async def test_a_header_in_pieces() -> None:
    """However it arrives; TLS comes with its last byte."""
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for at in range(len(V1)):
            writer.write(V1[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0)
        await writer.start_tls(client_context(), server_hostname="localhost")
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b"192.0.2.7" in await reader.read()
        writer.close()


@pytest.mark.parametrize(
    ("header", "trusted", "reason"),
    [
        (b"", "127.0.0.0/8", "it sends no PROXY protocol header"),
        (b"PROXY TCP4 nonsense\r\n", "127.0.0.0/8", "its header of version 1 is malformed"),
        (V1, "192.0.2.0/24", "it is not one of the proxies that are trusted"),
        (b"", "192.0.2.0/24", "it is not one of the proxies that are trusted"),
    ],
    ids=["missing", "malformed", "not trusted", "not trusted, without"],
)
async def test_everything_else_is_closed(header: bytes, trusted: str, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    """With one line in the log; the next connection is served."""
    async with serving(trusted=(trusted,)) as server:
        assert await ask(server, header) == b""
        assert len(caplog.records) == 1
        assert reason in caplog.text
        assert "The connection of 127.0.0.1:" in caplog.text
        if trusted == "127.0.0.0/8":
            assert await ask(server, V1)


async def test_a_slow_header(caplog: pytest.LogCaptureFixture) -> None:
    """The connection is closed, while others are served."""
    async with serving() as server:
        assert server._proxied is not None
        server._proxied._header_timeout = 0.1
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(V1[:20])
        assert await ask(server, V1)
        assert await reader.read() == b""
        writer.close()
    assert "its PROXY protocol header is late" in caplog.text


async def test_the_log_names_the_client(caplog: pytest.LogCaptureFixture) -> None:
    """Not the proxy, where a handshake fails."""
    caplog.set_level(logging.DEBUG, "tlsio")
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(V1 + b"\x16\x03\x01\x00\x04\xff\xff\xff\xff")
        await reader.read()
        writer.close()
    assert "192.0.2.7" in caplog.text


async def test_the_limit_for_each_address_counts_clients() -> None:
    """Not proxies, all of whose connections come from one address."""
    async with serving(max_connections_per_address=1) as server:
        held, other = await start(server, V1), await start(server, V1.replace(b"192.0.2.7", b"192.0.2.9"))
        assert await ask(server, V1) == b""
        for writer in (held, other):
            writer.close()
        await held.wait_closed()
        while not await ask(server, V1):  # noqa: ASYNC110
            await asyncio.sleep(0)  # the end of a connection is no event here


async def test_the_limit_for_each_address_counts_networks_of_ipv6() -> None:
    """The first 64 bits are one client, as without a proxy: it has all the addresses behind them."""
    header = b"PROXY TCP6 2001:db8:0:%d::%d 2001:db8::1 4000 443\r\n"
    async with serving(max_connections_per_address=1) as server:
        held = await start(server, header % (1, 1))
        assert await ask(server, header % (1, 2)) == b""
        assert await ask(server, header % (2, 1)) != b""
        held.close()
        await held.wait_closed()


async def test_handshakes_beyond_the_limit_wait() -> None:
    """Two that stall fill it, before or after their header; when one leaves, the next client is served."""
    async with serving(max_handshakes=2) as server:
        stalling = [(await asyncio.open_connection("127.0.0.1", server.port))[1] for _ in range(2)]
        for writer in stalling:
            writer.write(V1 + b"\x16\x03\x01")
        waiting = asyncio.create_task(ask(server, V1))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await asyncio.shield(waiting)
        stalling[0].close()
        assert b"192.0.2.7" in await waiting
        assert b"192.0.2.7" in await ask(server, V1)
        stalling[1].close()


async def start(server: Server, header: bytes) -> asyncio.StreamWriter:
    """Open a connection and leave it open."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(header)
    await writer.start_tls(client_context(), server_hostname="localhost")
    return writer


async def test_a_stop_serves_what_was_accepted() -> None:
    """A connection whose header is under way gets its answer; afterwards the port is closed."""
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(V1[:20])
        await asyncio.sleep(0.05)  # until it is accepted, which nothing shows
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        writer.write(V1[20:])
        await writer.start_tls(client_context(), server_hostname="localhost")
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b"192.0.2.7" in await reader.read()
        writer.close()
        await stopping
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port or 0)


async def test_http2_too() -> None:
    """ALPN and all else is as without a proxy."""
    async with serving() as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(V2)
        context = client_context()
        context.set_alpn_protocols(["h2"])
        await writer.start_tls(context, server_hostname="localhost")
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        writer.close()


@pytest.mark.parametrize("value", ["127.0.0.1", ("localhost",), ("127.0.0.1/8",), (1.5,)])
def test_wrong_networks(value: Any) -> None:
    """Are refused when the server is made."""
    with pytest.raises(UsageError, match="proxy_protocol"):
        Server(app, proxy_protocol=value)


def test_places_for_connections_outlive_their_loop() -> None:
    """The second connection waits for the first one's place, in each of two loops."""
    who = pki.localhost()
    server = Server(app, cert=who.chain_pem, key=who.key_pem, lifespan="off", proxy_protocol=("127.0.0.1",), max_handshakes=1)

    async def serve_once() -> list[bytes]:
        await server.start("127.0.0.1", 0)
        try:
            return await asyncio.wait_for(asyncio.gather(*(ask(server, V1) for _ in range(4))), 20)
        finally:
            await server.stop()

    for _ in range(2):
        assert all(b"192.0.2.7" in body for body in asyncio.run(serve_once()))
