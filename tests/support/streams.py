"""Byte streams of the kinds that a TLSSocket wraps, and two sockets over them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

import pki
import tlsio
from net import let_go

if TYPE_CHECKING:
    import socket as sockets
    from collections.abc import AsyncIterator

    from net import Version


def server_options(version: Version) -> dict[str, Any]:
    """Return the options of the usual server."""
    who = pki.localhost()
    return {"cert": who.cert_pem, "key": who.key_pem, "min_version": version, "max_version": version}


def client_options() -> dict[str, Any]:
    """Return the options of the usual client."""
    return {"ca": pki.ca1().cert_pem, "servername": "localhost"}


async def as_socket(sock: sockets.socket) -> Any:
    """A connected socket."""
    return sock


async def as_pair(sock: sockets.socket) -> Any:
    """An asyncio (reader, writer)."""
    return await asyncio.open_connection(sock=sock)


class Bytes:
    """An anyio ByteStream as other libraries make them: EndOfStream at the end, its own errors when broken, no end of its own."""

    def __init__(self, sock: sockets.socket) -> None:
        sock.settimeout(0)
        self._sock = sock

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Receive as anyio says."""
        try:
            data = await asyncio.get_running_loop().sock_recv(self._sock, max_bytes)
        except OSError as error:
            raise anyio.BrokenResourceError from error
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        """Send as anyio says."""
        try:
            await asyncio.get_running_loop().sock_sendall(self._sock, item)
        except OSError as error:
            raise anyio.BrokenResourceError from error

    async def send_eof(self) -> None:
        """Refuse: as streams without half-close do."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close at once."""
        self._sock.close()


async def as_byte_stream(sock: sockets.socket) -> Any:
    """An anyio ByteStream."""
    return Bytes(sock)


KINDS = [as_socket, as_pair, as_byte_stream]


@asynccontextmanager
async def wrapped(client_stream: Any, server_stream: Any, version: Version) -> AsyncIterator[tuple[tlsio.TLSSocket, tlsio.TLSSocket]]:
    """Shake hands over two ends of something."""
    client = tlsio.TLSSocket(client_stream, **client_options())
    server = tlsio.TLSSocket(server_stream, is_server=True, **server_options(version))
    try:
        await asyncio.gather(client.handshake(), server.handshake())
        yield client, server
    finally:
        client.destroy()
        server.destroy()
        await let_go()
