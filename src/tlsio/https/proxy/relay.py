"""The messages of one WebSocket between a client and a backend.

The side that closes may have messages on their way. So the relay goes on until they, and the close
code, have reached the other side; what that side still sends is dropped.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed

from tlsio.https.proxy.backend import BackendTimeoutError
from tlsio.https.proxy.directions import run_both

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

    from tlsio.https.asgi import Receive, Send

__all__ = ["relay"]

_ABNORMAL, _INTERNAL = 1006, 1011  # close codes, RFC 6455, section 7.4.1
_CLOSING = 10.0  # seconds for the backend's Close, and for what it must read before


async def relay(backend: ClientConnection, receive: Receive, send: Send, *, take_timeout: float | None) -> None:
    """Pass messages on until both sides have closed. The caller then aborts the connection.

    Args:
        backend: The connection, which is open.
        receive: ASGI's, of a WebSocket that is accepted.
        send: As `receive`.
        take_timeout: Seconds in which the backend must make room for a message; None: no limit.

    Raises:
        BackendTimeoutError: the backend does not read.
    """
    await run_both(_to_backend(receive, backend, take_timeout), _to_client(backend, send))


async def _to_backend(receive: Receive, backend: ClientConnection, take_timeout: float | None) -> None:
    """Return when the client has closed, and the backend has answered that."""
    while (message := await receive())["type"] == "websocket.receive":
        text = message.get("text")
        try:
            async with asyncio.timeout(take_timeout):
                await backend.send(message["bytes"] if text is None else text)
        except TimeoutError:
            raise BackendTimeoutError("it does not read the client's messages") from None
        except ConnectionClosed:
            continue  # `_to_client` ends the relay
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSING):
            await backend.close(_sendable(message.get("code") or 1000), message.get("reason") or "")


async def _to_client(backend: ClientConnection, send: Send) -> None:
    """Return when the backend has closed, and the client knows.

    A client that has closed takes nothing more. The backend is read nevertheless: its Close is
    behind what it has sent.
    """
    with suppress(ConnectionClosed):
        while True:
            data = await backend.recv()
            with suppress(OSError, RuntimeError):  # the client has closed; the server, because it stops
                await send({"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data})
    code = backend.close_code or _ABNORMAL
    with suppress(OSError, RuntimeError):
        await send({"type": "websocket.close", "code": _sendable(code), "reason": backend.close_reason or ""})


def _sendable(code: int) -> int:
    """Return a close code that may be sent: 1005, 1006 and 1015 stand for an end without one."""
    return {1005: 1000, _ABNORMAL: _INTERNAL, 1015: _INTERNAL}.get(code, code)
