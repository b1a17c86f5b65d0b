"""Visits of a server for its certificate, also while its event loop is blocked."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from typing import Protocol


class Listening(Protocol):
    """A server."""

    @property
    def port(self) -> int | None:
        """The port."""


def certificate(port: int, name: str) -> bytes:
    """Return the certificate that a name is served with; the client waits in this thread."""
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw, blind.wrap_socket(raw, server_hostname=name or None) as sock:
        return sock.getpeercert(binary_form=True) or b""


async def visit(server: Listening, name: str) -> bytes:
    """Return the certificate that a name is served with."""
    return await asyncio.to_thread(certificate, server.port or 0, name)


async def visit_blocked(server: Listening, name: str) -> bytes:
    """The same, while the loop is blocked: a handshake thread must do all of it."""
    found: list[bytes] = []
    visitor = threading.Thread(target=lambda: found.append(certificate(server.port or 0, name)))
    visitor.start()
    visitor.join()
    await asyncio.sleep(0)
    return found[0]
