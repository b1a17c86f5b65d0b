"""Clients in asyncio's shapes: `create_connection` and `open_connection`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from tlsio.connection.asyncio_face.transport import TLSTransport
from tlsio.connection.client.connect import connect
from tlsio.connection.tasks import running_loop
from tlsio.model.errors import UsageTypeError

if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Callable, Mapping
    from typing import Unpack

    from tlsio.model.options.connect import ConnectOptionsDict

__all__ = ["create_connection", "open_connection"]

_Protocol = TypeVar("_Protocol", bound=asyncio.BaseProtocol)


async def create_connection(
    protocol_factory: Callable[[], _Protocol],
    host: str | None = None,
    port: int | None = None,
    *,
    sock: _socket.socket | None = None,
    local_addr: tuple[str, int] | None = None,
    **options: Unpack[ConnectOptionsDict],
) -> tuple[TLSTransport, _Protocol]:
    """Connect to a server, verify it, and give the connection to a protocol.

    It does what `loop.create_connection` does.

    Args:
        protocol_factory: Called without arguments; returns the protocol.
        host: The server's name or address.
        port: The server's port.
        sock: A connected socket instead of `host` and `port`; it needs `servername=`.
        local_addr: The address and port to bind to.
        options: Those of `connect`.

    Raises:
        UsageError: a wrong option.
        ConfigError: a certificate or key that cannot be used.
        OSError: lookup or connection failed.
        TLSError: the handshake failed, or the server was refused.
        Cancelled: the connection is closed.
    """
    _check_place("create_connection(protocol_factory, ", host, port, sock, options)
    given: dict[str, Any] = dict(options)
    if local_addr is not None:
        given["local_address"], given["local_port"] = local_addr
    given["allow_half_open"] = True  # the protocol's `eof_received` decides
    if sock is not None:
        connecting = connect(socket=sock, **given)
    elif host is None:
        connecting = connect(port, **given)
    else:
        connecting = connect(port, host, **given)
    tls_socket = await connecting
    try:
        protocol = protocol_factory()
        return TLSTransport(tls_socket, protocol), protocol
    except BaseException:
        tls_socket.destroy()
        raise


async def open_connection(
    host: str | None = None,
    port: int | None = None,
    *,
    limit: int = 65536,
    sock: _socket.socket | None = None,
    local_addr: tuple[str, int] | None = None,
    **options: Unpack[ConnectOptionsDict],
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect and return asyncio's reader and writer, as `asyncio.open_connection` does.

    Args:
        host: The server's name or address.
        port: The server's port.
        limit: Bytes that the reader holds before it pauses the transport.
        sock: As in `create_connection`.
        local_addr: As in `create_connection`.
        options: Those of `connect`.

    Raises:
        Exception: as `create_connection`.
    """
    _check_place("open_connection(", host, port, sock, options)
    loop = running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    transport, protocol = await create_connection(
        lambda: asyncio.StreamReaderProtocol(reader, loop=loop), host, port, sock=sock, local_addr=local_addr, **options
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def _check_place(call: str, host: object, port: object, sock: object, options: Mapping[str, object]) -> None:
    """Check where to connect; the errors show this call, which has the host before the port."""
    hint = f'{call}"example.org", 443), or {call}sock=..., servername="example.org").'
    if sock is not None and (host is not None or port is not None):
        raise UsageTypeError("Give host and port, or sock, not both", code="ERR_INCOMPATIBLE_OPTION_PAIR", hint=hint)
    if sock is None and port is None and "path" not in options:
        raise UsageTypeError(f"{call}...) needs host and port, or sock=", code="ERR_MISSING_ARGS", hint=hint)
    if host is not None and not isinstance(host, str):
        raise UsageTypeError(f"host must be a str, got {type(host).__name__}", hint=f"The host comes first: {hint}")
    if port is not None and (isinstance(port, bool) or not isinstance(port, int)):
        raise UsageTypeError(f"port must be an int, got {type(port).__name__}", hint=f"The port comes second, as a number: {hint}")
