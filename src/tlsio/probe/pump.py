"""Moving bytes between a TLS socket and the caller, such as its standard input and output."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tlsio.connection.socket.tls_socket import TLSSocket

__all__ = ["pump"]


async def pump(socket: TLSSocket, read: Callable[[], Awaitable[bytes]], write: Callable[[bytes], Awaitable[None]]) -> None:
    """Send what `read` returns, and pass what the peer sends to `write`, until the peer ends.

    The end of the input, b"", ends our direction; the peer may go on sending.

    Raises:
        TLSError: the connection failed.
        Cancelled: the socket stays open.
    """

    async def send_all() -> None:
        while data := await read():
            await socket.send(data)
        socket.end()

    sending = asyncio.ensure_future(send_all())
    try:
        async for chunk in socket:
            await write(chunk)
    finally:
        sending.cancel()
        await asyncio.wait([sending])
    if not sending.cancelled():
        sending.result()
