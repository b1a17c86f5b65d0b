"""An OCSP responder of ours: plain HTTP on the loopback, for the answers that nobody else gives."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

import pki

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PATIENCE = 5.0


@dataclass
class Responder:
    """What answers, and what it was asked.

    Attributes:
        answer: Gives the whole answer to a request, status line and headers included; None: never.
        requests: Head and body of each request.
    """

    answer: Callable[[bytes], bytes | None]
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/ocsp"

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            sizes = [int(line.split(":")[1]) for line in head.lower().splitlines() if line.startswith("content-length:")]
            body = await reader.readexactly(sizes[0]) if sizes else b""
            self.requests.append((head, body))
            data = self.answer(body)
            if data is None:
                await reader.read()  # until the other side gives up
            else:
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def serve_http(answer: Callable[[bytes], bytes | None]) -> AsyncIterator[Responder]:
    """Listen on a free port of 127.0.0.1."""
    responder = Responder(answer)
    server = await asyncio.start_server(responder.run, "127.0.0.1", 0)
    responder.port = server.sockets[0].getsockname()[1]
    try:
        yield responder
    finally:
        server.close()
        await asyncio.wait_for(server.wait_closed(), PATIENCE)


def ok(body: bytes, *, sized: bool = True) -> bytes:
    """Return an HTTP answer with this body; without its size it ends with the connection."""
    size = f"Content-Length: {len(body)}\r\n" if sized else ""
    return f"HTTP/1.1 200 OK\r\n{size}Content-Type: application/ocsp-response\r\n\r\n".encode() + body


def with_responder(url: str, *, must_staple: bool = False) -> pki.Identity:
    """Make a certificate for localhost that names a responder."""
    place = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url))
    extensions: list[x509.ExtensionType] = [x509.AuthorityInformationAccess([place])]
    if must_staple:
        extensions.append(x509.TLSFeature([x509.TLSFeatureType.status_request]))
    return pki.leaf("localhost", issuer=pki.ca1(), names=["localhost", "127.0.0.1"], extensions=extensions)
