"""Moving bytes between a TLS socket and the caller, such as its standard input and output."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tlsio.model.checks import check_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tlsio.connection.socket.tls_socket import TLSSocket

__all__ = ["pump"]


async def pump(
    socket: TLSSocket,
    read: Callable[[], Awaitable[bytes]],
    write: Callable[[bytes], Awaitable[None]],
    *,
    linger: float = 0.0,
    finish: bool = False,
) -> None:
    """Send what `read` returns, and pass what the peer sends to `write`, until the peer ends.

    The end of the input, b"", ends our direction; the peer may go on sending. Many servers do not:
    they drop their answer when they see that end. With `linger`, it waits for the answer.

    Args:
        socket: The connection.
        read: Async function() that returns the next bytes, b"" at their end.
        write: Async function(bytes).
        linger: After the end of the input, our direction ends when the peer has sent nothing for
            this many seconds.
        finish: The peer's end ends only its direction: what `read` returns is still sent.

    Raises:
        TLSError: the connection failed; with `finish`, also if the peer closed it before the input
            was sent.
        Cancelled: the socket stays open.
    """
    seconds = check_seconds("linger", linger) if linger else 0.0
    heard, has_ended = asyncio.Event(), False

    async def send_all() -> None:
        while data := await read():
            await socket.send(data)
        while seconds and not has_ended:
            heard.clear()
            try:
                await asyncio.wait_for(heard.wait(), seconds)
            except TimeoutError:
                break
        socket.end()

    sending = asyncio.ensure_future(send_all())
    try:
        async for chunk in socket:
            heard.set()
            await write(chunk)
        has_ended = True
        heard.set()
        if finish:
            await sending
    finally:
        sending.cancel()
        await asyncio.wait([sending])
    if not sending.cancelled():
        sending.result()
