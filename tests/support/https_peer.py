"""Clients of HTTPS servers for tests: raw bytes of HTTP/1.1 over TLS, and a server around an application."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pki
import tlsio
from tlsio.https import Limits, Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["connect", "echo", "exchange", "serving", "split"]

CA: dict[str, Any] = {"ca": pki.ca1().cert_pem}


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the method, the path and the body."""
    assert scope["type"] == "http", scope["type"]
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    text = f"{scope['method']} {scope['path']} ".encode() + body
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text})


@asynccontextmanager
async def serving(app: Any = echo, *, limits: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[Server]:
    """Serve an application on 127.0.0.1."""
    who = pki.localhost()
    given = {"cert": who.cert_pem, "key": who.key_pem, "lifespan": "off", "graceful_timeout": 5.0} | options
    server = Server(app, limits=Limits(**limits or {}), **given)
    await server.start("127.0.0.1", 0)
    try:
        yield server
    finally:
        await server.stop()


async def connect(server: Server, *alpn: str, **options: Any) -> tlsio.TLSSocket:
    """Connect, offering these protocols."""
    return await tlsio.connect(server.port, "127.0.0.1", alpn_protocols=list(alpn) or ["http/1.1"], **CA | options)


async def exchange(server: Server, *parts: bytes) -> bytes:
    """Send bytes over one connection, and return all that comes back until the server closes."""
    async with await connect(server) as sock:
        for part in parts:
            await sock.send(part)
        return await _read_all(sock)


async def _read_all(sock: tlsio.TLSSocket) -> bytes:
    received = b""
    while chunk := await sock.read():
        received += chunk
    return received


def split(response: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    """Return status, headers and body of the only response in `response`."""
    head, _, body = response.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    return int(status.split()[1]), headers, body
