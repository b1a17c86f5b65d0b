"""Other libraries' protocols on our transports: uvicorn with FastAPI, aiohttp, websockets, aiosmtpd."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from typing import Any

import aiohttp
import fastapi
import httpx
import pytest
import uvicorn
import websockets
from aiohttp import web
from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import SMTP
from uvicorn.server import ServerState

import pki
import tlsio

# Of the libraries themselves.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")


def identity() -> dict[str, Any]:
    """Return the options of the usual server."""
    who = pki.localhost()
    return {"cert": who.cert_pem, "key": who.key_pem}


def client_context() -> ssl.SSLContext:
    """Return the standard library's client, which trusts the usual server."""
    return ssl.create_default_context(cadata=pki.ca1().cert_pem.decode())


def application() -> fastapi.FastAPI:
    """Make an app with a page, an upload and a WebSocket."""
    app = fastapi.FastAPI()

    @app.get("/hello")
    async def hello(request: fastapi.Request) -> dict[str, Any]:
        assert request.client is not None
        return {"scheme": request.url.scheme, "host": request.client.host}

    @app.post("/upload")
    async def upload(request: fastapi.Request) -> int:
        return len(await request.body())

    @app.websocket("/shout")
    async def shout(socket: fastapi.WebSocket) -> None:
        await socket.accept()
        async for text in socket.iter_text():
            await socket.send_text(text.upper())

    return app


async def serve_uvicorn(http: str) -> tlsio.AsyncioServer:
    """Serve the app with one of uvicorn's HTTP protocols."""
    config = uvicorn.Config(application(), http=http, ws="websockets-sansio", lifespan="off", log_level="critical")  # type: ignore[arg-type]
    config.load()
    state = ServerState()
    return await tlsio.create_tls_server(
        lambda: config.http_protocol_class(config=config, server_state=state, app_state={}),  # type: ignore[call-arg]
        "127.0.0.1",
        0,
        **identity(),
    )


def port_of(server: tlsio.AsyncioServer) -> int:
    """Return the port of a server."""
    port: int = server.sockets[0].getsockname()[1]
    return port


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_uvicorn_serves_fastapi(http: str) -> None:
    """Pages, an upload of a megabyte, and several requests on one connection."""
    async with await serve_uvicorn(http) as server:
        base = f"https://localhost:{port_of(server)}"
        async with httpx.AsyncClient(verify=client_context()) as client:
            assert (await client.get(f"{base}/hello")).json() == {"scheme": "https", "host": "127.0.0.1"}
            assert (await client.post(f"{base}/upload", content=bytes(1_000_000))).json() == 1_000_000
            assert (await client.get(f"{base}/missing")).status_code == 404
        assert server.tls_server.stats().accepted == 1


async def test_uvicorn_upgrades_to_websockets() -> None:
    """The HTTP protocol hands its transport to another protocol in the middle."""
    async with await serve_uvicorn("h11") as server:
        address = f"wss://localhost:{port_of(server)}/shout"
        async with websockets.connect(address, ssl=client_context()) as client:
            for text in ("hello", "x" * 100_000):
                await client.send(text)
                assert await client.recv() == text.upper()


async def test_aiohttp_serves() -> None:
    """Aiohttp's server sees a secure connection, and streams a large answer."""

    async def answer(request: web.Request) -> web.StreamResponse:
        assert (request.secure, request.scheme, request.remote) == (True, "https", "127.0.0.1")
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(64):
            await response.write(bytes(65536))
        return response

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    assert runner.server is not None
    async with await tlsio.create_tls_server(runner.server, "127.0.0.1", 0, **identity()) as server:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"https://localhost:{port_of(server)}/", ssl=client_context()) as response,
        ):
            assert len(await response.read()) == 64 * 65536
        await runner.cleanup()


async def test_aiosmtpd_takes_mail() -> None:
    """A protocol of line by line, made on asyncio's streams."""
    loop = asyncio.get_running_loop()

    def post(port: int) -> dict[str, Any]:
        with smtplib.SMTP_SSL("localhost", port, context=client_context()) as client:
            return client.sendmail("from@localhost", ["to@localhost"], "Subject: test\r\n\r\ntext")

    async with await tlsio.create_tls_server(lambda: SMTP(Sink(), hostname="localhost", loop=loop), "127.0.0.1", 0, **identity()) as server:
        assert await asyncio.to_thread(post, port_of(server)) == {}
        server.close()
        server.close_clients()
