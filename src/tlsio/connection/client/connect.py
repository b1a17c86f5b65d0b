"""Clients: `connect`."""

from __future__ import annotations

import asyncio
import os
import socket as _socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from tlsio.connection.client.connecting import Connecting
from tlsio.connection.client.dial import connect_path, connect_tcp
from tlsio.connection.context.secure_context import for_client
from tlsio.connection.context.source import given_source
from tlsio.connection.drivers.native import current_reactor
from tlsio.connection.drivers.streams import close_stream, find_adapter
from tlsio.connection.handshake.client_handshake import ClientHandshake, find_server_name
from tlsio.connection.handshake.handshake import Handshake
from tlsio.connection.handshake.start import make_connection
from tlsio.connection.socket.tls_socket import SOCKET_EVENTS, make_socket, wrap_stream
from tlsio.connection.tasks import running_loop
from tlsio.model.checks import check_socket_path, explain_unknown_event
from tlsio.model.errors import HandshakeTimeoutError, UsageTypeError, UsageValueError
from tlsio.model.options.parse import parse_connect_options
from tlsio.native._core import has_reactor
from tlsio.trust.identity import to_lookup_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from tlsio.connection.context.source import Source
    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.model.options.connect import ConnectOptions, ConnectOptionsDict

__all__ = ["connect", "secure"]


class _DefaultHost(str):
    """The default of `host=`; its type distinguishes it from a "localhost" that the caller gave."""

    __slots__ = ()


_LOCALHOST = _DefaultHost("localhost")


def connect(
    port: int | None = None,
    host: str = _LOCALHOST,
    *,
    path: str | os.PathLike[str] | None = None,
    socket: Any = None,  # any byte stream
    timeout: float | None = None,
    on: Mapping[str, Callable[..., Any]] | None = None,
    **options: Unpack[ConnectOptionsDict],
) -> Connecting[TLSSocket]:
    """Connect to a server, do the handshake and verify the server: `await` it, or use `async with`.

    (Node: `tls.connect`.)

    Args:
        port: The server's port.
        host: The server's name or address; all addresses of a name are tried (RFC 8305).
        path: A Unix socket's path, instead of `port`.
        socket: A connected byte stream, instead of `port`. It and `path` need `servername` or
            `host`.
        timeout: Seconds for everything: lookup, connection, handshake, verification.
        on: Listeners to add before the handshake starts, by event.
        options: Options of clients and of their contexts.

    Returns:
        An established socket whose server was verified.

    Raises:
        UsageError: a wrong option; raised by the call itself.
        ConfigError: a certificate or key that cannot be used; raised by the call itself.
        OSError: lookup or connection failed.
        TLSError: the handshake failed, or the server was refused.
        Exception: as the context source in `secure_context=`.
        Cancelled: the connection is closed.
    """
    target = _check_target(port, host, path, socket)
    listeners = _check_listeners(on)
    given: dict[str, Any] = {**options, "timeout": timeout}
    if target == "port" or not isinstance(host, _DefaultHost):
        given["host"] = str(host)
    parsed = parse_connect_options(given)
    port_or_path = port if path is None else os.fspath(path)
    source = given_source(parsed)
    side = ClientHandshake(parsed, for_client(parsed), parsed.host, port_or_path) if source is None else None
    where = to_lookup_name(parsed.host or "localhost", "host")
    side_of = _Side(parsed, port_or_path, source, side)
    return Connecting(_establish(where, port or 0, path, socket, listeners, side_of), "tlsio.connect")


async def secure(stream: Any, side: ClientHandshake) -> TLSSocket:
    """Do a client's handshake over a connected stream, which the socket owns from now on.

    For floors above this one, whose libraries connect by themselves.

    Raises:
        TLSError: the handshake failed, or the server was refused.
        Cancelled: the connection is closed.
    """
    is_socket = isinstance(stream, _socket.socket)
    made = _make_socket(asyncio.get_running_loop(), stream, side) if is_socket else wrap_stream(stream, side)
    return await _do_handshake(made, {})


class _Side(NamedTuple):
    """The client's side, or what it is made of when the context source has answered."""

    options: ConnectOptions
    port_or_path: object
    source: Source | None
    made: ClientHandshake | None

    async def find(self, stream: Any) -> ClientHandshake:
        """Return the side. If the source fails, the given `stream` is closed."""
        if self.made is not None or self.source is None:
            return cast("ClientHandshake", self.made)
        options = self.options
        try:
            context = await self.source.find_for_client(find_server_name(options, options.host), options.hook_timeout)
            return ClientHandshake(options, context, options.host, self.port_or_path)
        except BaseException:
            if stream is not None:
                await close_stream(stream)
            raise


async def _establish(where: str, port: int, path: Any, stream: Any, listeners: Mapping[str, Callable[..., Any]], given: _Side) -> TLSSocket:
    options = given.options
    loop = running_loop()
    scope = asyncio.timeout(options.timeout)
    is_connected = stream is not None
    try:
        async with scope:
            side = await given.find(stream)
            if stream is not None:
                made = wrap_stream(stream, side)
            elif path is not None:
                made = _make_socket(loop, await connect_path(loop, path), side)
            else:
                made = _make_socket(loop, await connect_tcp(loop, where, port, options), side)
            is_connected = True
            return await _do_handshake(made, listeners)
    except TimeoutError:
        if not scope.expired():
            raise
        raise HandshakeTimeoutError(
            f"No connection to {_describe(port, path, options.servername or options.host)} within {options.timeout} seconds",
            code="ERR_TLS_CONNECT_TIMEOUT",
            hint=_SILENT_SERVER
            if is_connected
            else "Check that the server runs and that no firewall drops the packets, or raise timeout=.",
        ) from None


_SILENT_SERVER = (
    "It was connected, but the handshake did not finish: the server may not use TLS on this port, or wait for STARTTLS. "
    "If it is slow, raise timeout=."
)


def _describe(port: int, path: Any, host: str | None) -> str:
    return str(path) if path is not None else f"{host} port {port}" if port else host or "the stream's peer"


def _check_target(port: object, host: object, path: object, stream: object) -> str:
    if port is not None and (isinstance(port, bool) or not isinstance(port, int)):
        raise UsageTypeError(f"port must be an int, got {_show(port)}", hint=_hint_for_port(port))
    if not isinstance(host, str):
        raise UsageTypeError(f"host must be a str, got {type(host).__name__}")
    given = [name for name, value in (("port", port), ("path", path), ("socket", stream)) if value is not None]
    if len(given) != 1:
        raise UsageTypeError(
            f"connect() needs exactly one of port=, path= and socket=, got {' and '.join(given) or 'none'}",
            code="ERR_MISSING_ARGS",
            hint='To connect by TCP: connect(443, "example.org").',
        )
    if isinstance(port, int):
        if not 0 <= port < 65536:  # noqa: PLR2004
            raise UsageValueError(f"port must be 0 to 65535, got {port}", code="ERR_SOCKET_BAD_PORT")
    elif given == ["path"]:
        check_socket_path("path", path)
    else:
        find_adapter(stream, "socket")
    return given[0]


def _show(value: object) -> str:
    return repr(value)[:80] if isinstance(value, str) else type(value).__name__


def _hint_for_port(port: object) -> str:
    """Show the right call if Node's options, the host first, or the port as text were given."""
    if not isinstance(port, str):
        return 'connect takes port and host, then options by name: connect(443, "example.org", ca=...).'
    if port.isdecimal():
        return f"Give it as a number: connect({port}, ...)."
    return f"connect takes the port first: connect(443, {port[:80]!r})."


def _check_listeners(on: object) -> dict[str, Callable[..., Any]]:
    if on is None:
        return {}
    if not isinstance(on, Mapping):
        raise UsageTypeError(f"on must be a mapping of events to functions, got {type(on).__name__}")
    for event, listener in on.items():
        if not isinstance(event, str) or event not in SOCKET_EVENTS:
            hint = explain_unknown_event(event, SOCKET_EVENTS)
            raise UsageValueError(f"on= has {event!r:.80}, which is not an event of TLSSocket", code="ERR_TLS_UNKNOWN_EVENT", hint=hint)
        if not callable(listener):
            raise UsageTypeError(f"The listener of {event!r} must be callable, got {type(listener).__name__}")
    return dict(on)


def _make_socket(loop: asyncio.AbstractEventLoop, sock: _socket.socket, side: ClientHandshake) -> TLSSocket:
    """Make a TLSSocket over the native driver, or the portable one if this build has no other."""
    try:
        if not has_reactor:
            return wrap_stream(sock, side)
        connection = make_connection(side)
        made = make_socket(Handshake(connection, loop), side, loop, addresses=_names_of(sock))
        reactor = current_reactor()
        connection.attach(reactor, sock.detach())  # owns the descriptor from here on, even if it raises
    except BaseException:
        sock.close()
        raise
    return made


def _names_of(sock: _socket.socket) -> tuple[Any, Any]:
    try:
        return sock.getsockname(), sock.getpeername()
    except OSError:
        return None, None


async def _do_handshake(made: TLSSocket, listeners: Mapping[str, Callable[..., Any]]) -> TLSSocket:
    try:
        for event, listener in listeners.items():
            made.on(event, listener)  # type: ignore[call-overload]
        return await made.handshake()
    except BaseException:
        made.destroy()
        raise
