"""Clients: `connect`."""

from __future__ import annotations

import asyncio
import socket as _socket
from typing import TYPE_CHECKING, Any

import aiohappyeyeballs

from tlsio.connection.client_side import ClientSide
from tlsio.connection.context import SecureContext
from tlsio.connection.native_driver import current_reactor
from tlsio.connection.tls_socket import TLSSocket
from tlsio.connection.wrap import wrap_stream
from tlsio.model.errors import HandshakeTimeoutError, UsageTypeError, UsageValueError
from tlsio.model.options import ConnectOptionsDict, parse_connect_options
from tlsio.native._core import Connection

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator, Mapping
    from types import TracebackType
    from typing import Unpack

    from tlsio.model.options import ConnectOptions

__all__ = ["connect"]

# RFC 8305 §8: "Connection Attempt Delay ... RECOMMENDED value is 250 milliseconds".
_ATTEMPT_DELAY = 0.25


class _Connecting:
    """What `connect` returns: awaited it is a socket; `async with` closes that at the end."""

    __slots__ = ("_make", "_socket")

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._socket: TLSSocket | None = None

    def __await__(self) -> Generator[Any, None, TLSSocket]:
        return self._make().__await__()  # type: ignore[no-any-return]

    async def __aenter__(self) -> TLSSocket:
        self._socket = await self
        return self._socket

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._socket is not None
        await self._socket.__aexit__(kind, error, trace)


def connect(
    port: int | None = None,
    host: str = "localhost",
    *,
    path: str | os.PathLike[str] | None = None,
    socket: Any = None,  # noqa: ANN401  (any byte stream)
    timeout: float | None = None,
    on: Mapping[str, Callable[..., Any]] | None = None,
    **options: Unpack[ConnectOptionsDict],
) -> _Connecting:
    """Connect to a server, shake hands and verify it. Await it, or `async with connect(...) as socket`. (Node: `tls.connect`.)

    Args:
        port, host: Where to; all addresses of the name are tried (RFC 8305).
        path: A Unix socket instead. `socket`: a byte stream that is connected already, instead. Both need `servername` or `host`.
        timeout: Seconds for everything: lookup, connection, handshake, verdict.
        on: Listeners to set before the handshake starts.
        options: Options of clients and of their contexts.

    Returns:
        An established socket whose server was verified.

    Raises:
        UsageError: at the call, a wrong option. ConfigError: a certificate or key that cannot be used.
        OSError: lookup or connection failed. TLSError: the handshake failed, or the server was not let in.
        Cancelled: the connection is closed, nothing is left.
    """
    target = _check_target(port, host, path, socket)
    given = dict(options)
    if "host" not in given and (target != "socket" or host != "localhost"):
        given["host"] = host if target == "port" or host != "localhost" else None
    parsed = parse_connect_options(given | {"timeout": timeout})
    side = _make_side(parsed)
    listeners = dict(on or {})

    async def establish() -> TLSSocket:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(parsed.timeout):
                stream = socket
                if target == "port":
                    stream = await _connect_tcp(loop, host, port or 0, parsed)
                elif target == "path":
                    stream = await _connect_path(loop, path)
                made = _make_socket(loop, stream, side, is_stream=target == "socket")
                return await _shake(made, listeners)
        except TimeoutError as error:
            if isinstance(error, HandshakeTimeoutError):
                raise
            raise HandshakeTimeoutError(f"No connection within {parsed.timeout} seconds", hint="Is the server up? Raise timeout=.") from None

    return _Connecting(establish)


def _check_target(port: object, host: object, path: object, stream: object) -> str:
    if isinstance(port, str):
        raise UsageTypeError(f"port must be an int, got {port!r}", hint=f"connect takes the port first: connect(443, {port!r}).")
    if not isinstance(host, str):
        raise UsageTypeError(f"host must be a str, got {type(host).__name__}")
    given = [name for name, value in (("port", port), ("path", path), ("socket", stream)) if value is not None]
    if len(given) != 1:
        raise UsageTypeError(f"Give one of port, path and socket, got {' and '.join(given) or 'none'}", code="ERR_MISSING_ARGS")
    if given == ["port"]:
        if isinstance(port, bool) or not isinstance(port, int):
            raise UsageTypeError(f"port must be an int, got {type(port).__name__}")
        if not 0 <= port < 65536:  # noqa: PLR2004
            raise UsageValueError(f"port must be 0 to 65535, got {port}", code="ERR_SOCKET_BAD_PORT")
    return given[0]


def _make_side(options: ConnectOptions) -> ClientSide:
    given = options.secure_context
    if given is not None and not isinstance(given, SecureContext):
        raise UsageTypeError("options.secure_context must be a SecureContext", code="ERR_TLS_INVALID_CONTEXT")
    return ClientSide(options, given or SecureContext(options.context), options.host)


async def _connect_tcp(loop: asyncio.AbstractEventLoop, host: str, port: int, options: ConnectOptions) -> _socket.socket:
    family = {4: _socket.AF_INET, 6: _socket.AF_INET6, None: _socket.AF_UNSPEC}[options.family]
    try:
        found = await loop.getaddrinfo(host, port, family=family, type=_socket.SOCK_STREAM)
        local = None
        if options.local_address is not None or options.local_port is not None:
            local_host = options.local_address or ("::" if found[0][0] == _socket.AF_INET6 else "0.0.0.0")  # noqa: S104
            local = await loop.getaddrinfo(local_host, options.local_port or 0, type=_socket.SOCK_STREAM)
        made = await aiohappyeyeballs.start_connection(
            found, local_addr_infos=local, happy_eyeballs_delay=_ATTEMPT_DELAY, interleave=1, loop=loop
        )
    except OSError as error:
        error.add_note(f"while connecting to {host}:{port}")
        raise
    if options.no_delay:
        made.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    if options.keep_alive:
        made.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
        if options.keep_alive_initial_delay >= 1:
            made.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_KEEPIDLE, int(options.keep_alive_initial_delay))
    return made


async def _connect_path(loop: asyncio.AbstractEventLoop, path: Any) -> _socket.socket:  # noqa: ANN401
    made = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    made.setblocking(False)
    try:
        await loop.sock_connect(made, str(path))
    except BaseException as error:
        made.close()
        error.add_note(f"while connecting to {path}")
        raise
    return made


def _make_socket(loop: asyncio.AbstractEventLoop, stream: Any, side: ClientSide, *, is_stream: bool) -> TLSSocket:  # noqa: ANN401
    made = TLSSocket.__new__(TLSSocket)
    if is_stream:
        wrap_stream(made, stream, side)
        return made
    connection = Connection(side.context._native, False)  # noqa: SLF001
    if side.server_name is not None:
        connection.set_server_name(side.server_name)
    made._set_up(connection, side, loop)  # noqa: SLF001
    made._address = _names_of(stream)  # noqa: SLF001
    connection.attach(current_reactor(), stream.detach())
    return made


def _names_of(sock: _socket.socket) -> tuple[Any, Any]:
    try:
        return sock.getsockname(), sock.getpeername()
    except OSError:
        return None, None


async def _shake(made: TLSSocket, listeners: Mapping[str, Callable[..., Any]]) -> TLSSocket:
    try:
        for event, listener in listeners.items():
            made.on(event, listener)  # type: ignore[call-overload]
        return await made.handshake()
    except BaseException:
        made.destroy()
        raise
