"""Browsers as clients: pages and WebSockets of an application and of a folder, and what the browsers say of the connection."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastapi
import pytest
from fastapi.responses import HTMLResponse

import pki
from devtools import chromium, firefox
from tlsio.https import SecurityHeaders, Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.slow
BROWSERS = {"chromium": chromium, "firefox": firefox}
each_browser = pytest.mark.parametrize("name", BROWSERS)
PAGE = "<!doctype html><title>A page</title><h1 style='color: green'>Hello, browser</h1>"
PROTOCOL = "performance.getEntriesByType('navigation')[0].nextHopProtocol"
SOCKET = """
new Promise((resolve, reject) => {
    const socket = new WebSocket(`wss://${location.host}/socket`);
    socket.onopen = () => socket.send("hello");
    socket.onmessage = (event) => resolve(event.data);
    socket.onerror = () => reject(new Error("the WebSocket failed"));
})
"""
UPLOAD = "fetch('/upload', {method: 'POST', body: new Uint8Array(1000000)}).then((answer) => answer.text())"


def make_app() -> fastapi.FastAPI:
    """A page, an upload and a WebSocket, with security headers."""
    app = fastapi.FastAPI()
    app.add_middleware(SecurityHeaders)

    @app.get("/", response_class=HTMLResponse)
    async def page() -> str:
        return PAGE

    @app.post("/upload")
    async def upload(request: fastapi.Request) -> int:
        return len(await request.body())

    @app.websocket("/socket")
    async def socket(websocket: fastapi.WebSocket) -> None:
        await websocket.accept()
        version = websocket.scope["http_version"]
        await websocket.send_text(f"{await websocket.receive_text()} over {version}")

    return app


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """Serve; give the URL."""
    who = pki.localhost()
    server = Server(app, cert=who.chain_pem, key=who.key_pem)
    await server.start("localhost", 0)
    try:
        yield f"https://localhost:{server.port}/"
    finally:
        await server.stop()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A file with the root that the browsers are to trust."""
    path = tmp_path / "root.pem"
    path.write_bytes(pki.ca1().cert_pem)
    return path


def keep(picture: bytes, name: str) -> None:
    """Check that a screenshot is a picture; keep it, to be looked at, in the folder SCREENSHOTS."""
    assert picture.startswith(b"\x89PNG")
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder, f"{name}.png").write_bytes(picture)


@each_browser
async def test_an_application(name: str, root: Path) -> None:
    """Page and upload by HTTP/2, and a WebSocket."""
    async with serving(make_app()) as url, BROWSERS[name](root) as browser:  # type: ignore[attr-defined]
        await browser.open(url)
        assert await browser.evaluate("document.querySelector('h1').textContent") == "Hello, browser"
        assert await browser.evaluate(PROTOCOL) == "h2"
        assert await browser.evaluate(UPLOAD) == "1000000"
        assert await browser.evaluate(SOCKET) == "hello over 2"  # RFC 8441
        keep(await browser.screenshot(), f"{name}-application")


@each_browser
async def test_a_folder(name: str, root: Path, tmp_path: Path) -> None:
    """Its index, and a range of a file."""
    folder = tmp_path / "public"
    folder.mkdir()
    (folder / "index.html").write_text(PAGE)
    (folder / "data.bin").write_bytes(bytes(100_000))
    ask = "fetch('/data.bin', {headers: {Range: 'bytes=10-19'}}).then(async (a) => a.status + ' ' + (await a.arrayBuffer()).byteLength)"
    async with serving(folder) as url, BROWSERS[name](root) as browser:  # type: ignore[attr-defined]
        await browser.open(url)
        assert await browser.evaluate("document.title") == "A page"
        assert await browser.evaluate(ask) == "206 10"
        keep(await browser.screenshot(), f"{name}-folder")


async def test_devtools_report_the_connection(root: Path) -> None:
    """HTTP/2, TLS 1.3, and the issuer of the certificate."""
    async with serving(make_app()) as url, chromium(root) as browser:
        response = await browser.open(url)
    assert (response["status"], response["protocol"], response["securityState"]) == (200, "h2", "secure")
    details = response["securityDetails"]
    assert (details["protocol"], details["issuer"]) == ("TLS 1.3", "ca1")
