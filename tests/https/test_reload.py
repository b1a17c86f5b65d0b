"""Certificates that change while a server runs: what is open goes on, what comes gets the new one."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import websockets

import pki
import tlsio
from https_peer import CA, connect, serving
from tlsio.https.server import PROTOCOLS

if TYPE_CHECKING:
    from pathlib import Path

    from tlsio.https import Server

MEGABYTE = 1 << 20


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Digest an upload, or echo what comes over a WebSocket."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        return
    digest, more = hashlib.sha256(), True
    while more:
        message = await receive()
        digest.update(message["body"])
        more = message["more_body"]
    text = digest.hexdigest().encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"64")]})
    await send({"type": "http.response.body", "body": text})


def write(folder: Path, who: Any) -> tuple[Path, Path]:
    """Write a certificate and its key; return the paths."""
    paths = folder / "cert.pem", folder / "key.pem"
    for path, data in zip(paths, (who.cert_pem, who.key_pem), strict=True):
        new = path.with_suffix(".new")
        new.write_bytes(data)
        new.replace(path)
    return paths


async def served(server: Server) -> bytes:
    """Return the certificate that a new client gets."""
    async with await connect(server) as sock:
        found = sock.get_peer_certificate()
        assert found is not None
        return found.raw


async def upload(server: Server, megabytes: int, half: asyncio.Event, go_on: asyncio.Event) -> str:
    """Send a body; stop in the middle until `go_on` is set."""
    async with await connect(server) as sock:
        await sock.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (megabytes * MEGABYTE))
        for number in range(megabytes):
            if number == megabytes // 2:
                half.set()
                await go_on.wait()
            await sock.send(bytes([number % 256]) * MEGABYTE)
        return (await sock.readuntil(b"\r\n\r\n") + await sock.readexactly(64)).decode()


@pytest.mark.parametrize("megabytes", [16, pytest.param(1024, marks=pytest.mark.slow)])
async def test_an_upload_and_a_websocket_stay_alive(tmp_path: Path, megabytes: int) -> None:
    """And a new connection gets the new certificate at once."""
    first, second = pki.localhost(), pki.localhost_rsa()
    cert, key = write(tmp_path, first)
    source = tlsio.FileSource(cert=cert, key=key, alpn_protocols=list(PROTOCOLS))
    expected = hashlib.sha256(b"".join(bytes([number % 256]) * MEGABYTE for number in range(megabytes))).hexdigest()
    trust = ssl.create_default_context(cadata=CA["ca"].decode())
    async with serving(app, secure_context=source, cert=None, key=None) as server:
        half, go_on = asyncio.Event(), asyncio.Event()
        uploading = asyncio.create_task(upload(server, megabytes, half, go_on))
        async with websockets.connect(f"wss://localhost:{server.port}/", ssl=trust) as socket:
            await socket.send("before")
            assert await socket.recv() == "before"
            await half.wait()
            assert await served(server) == first.cert_der
            write(tmp_path, second)
            await server.reload()
            assert await served(server) == second.cert_der
            await socket.send("after")
            assert await socket.recv() == "after"
        go_on.set()
        assert (await uploading).endswith(expected)


async def test_a_broken_certificate_changes_nothing(tmp_path: Path) -> None:
    """The old one stays in use, and `reload` says why."""
    first = pki.localhost()
    cert, key = write(tmp_path, first)
    async with serving(secure_context=tlsio.FileSource(cert=cert, key=key), cert=None, key=None) as server:
        key.write_bytes(pki.localhost_rsa().key_pem)
        with pytest.raises(tlsio.ConfigError):
            await server.reload()
        assert await served(server) == first.cert_der
