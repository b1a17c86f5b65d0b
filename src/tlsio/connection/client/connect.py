"""Clients: `connect`."""

# ruff: noqa: SLF001 - sockets, their server and the two sides of a handshake know each other

from __future__ import annotations

import asyncio
import errno
import os
import socket as _socket
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import aiohappyeyeballs

from tlsio.connection.context.secure_context import SecureContext
from tlsio.connection.drivers.native import current_reactor
from tlsio.connection.drivers.portable import find_adapter
from tlsio.connection.handshake.client_handshake import ClientSide
from tlsio.connection.handshake.start import wrap_stream
from tlsio.connection.socket.tls_socket import TLSSocket
from tlsio.model.checks import check_socket_path
from tlsio.model.errors import HandshakeTimeoutError, UsageTypeError, UsageValueError
from tlsio.model.options import parse_connect_options
from tlsio.native._core import Connection, has_reactor
from tlsio.trust.identity import to_lookup_name

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType
    from typing import Unpack

    from tlsio.model.options import ConnectOptions, ConnectOptionsDict

__all__ = ["connect"]

# RFC 8305 §8: "Connection Attempt Delay ... RECOMMENDED value is 250 milliseconds".
_ATTEMPT_DELAY = 0.25

_FAMILIES = {4: _socket.AF_INET, 6: _socket.AF_INET6, None: _socket.AF_UNSPEC}


class _DefaultHost(str):
    """The name of this machine, where no host was given."""

    __slots__ = ()


_LOCALHOST = _DefaultHost("localhost")


class _Connecting(Coroutine[Any, Any, "TLSSocket"]):
    """What `connect` returns: awaited it is a socket, `async with` closes that at the end, and a task can be made of it."""

    __slots__ = ("_coroutine", "_socket")

    def __init__(self, coroutine: Coroutine[Any, Any, TLSSocket]) -> None:
        self._coroutine = coroutine
        self._socket: TLSSocket | None = None

    def __await__(self) -> Generator[Any, Any, TLSSocket]:
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    async def __aenter__(self) -> TLSSocket:
        self._socket = await self._coroutine
        return self._socket

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._socket is not None:
            await self._socket.__aexit__(kind, error, trace)


def connect(
    port: int | None = None,
    host: str = _LOCALHOST,
    *,
    path: str | os.PathLike[str] | None = None,
    socket: Any = None,  # any byte stream
    timeout: float | None = None,
    on: Mapping[str, Callable[..., Any]] | None = None,
    **options: Unpack[ConnectOptionsDict],
) -> _Connecting:
    """Connect to a server, shake hands and verify it: to be awaited, or entered by `async with`.

    (Node: `tls.connect`.)

    Args:
        port: Where to.
        host: Where to; all addresses of the name are tried (RFC 8305).
        path: A Unix socket instead.
        socket: A byte stream that is connected already, instead. It and `path` need `servername` or `host`.
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
    listeners = _check_listeners(on)
    given: dict[str, Any] = {**options, "timeout": timeout}
    if target == "port" or not isinstance(host, _DefaultHost):
        given["host"] = str(host)
    parsed = parse_connect_options(given)
    place = port if path is None else os.fspath(path)
    side = _make_side(parsed, place)
    where = to_lookup_name(parsed.host or "localhost", "host")
    return _Connecting(_establish(where, port or 0, path, socket, listeners, side))


async def _establish(
    where: str, port: int, path: Any, stream: Any, listeners: Mapping[str, Callable[..., Any]], side: ClientSide
) -> TLSSocket:
    options = side.options
    loop = asyncio.get_running_loop()
    scope = asyncio.timeout(options.timeout)
    try:
        async with scope:
            if stream is not None:
                made = TLSSocket.__new__(TLSSocket)
                wrap_stream(made, stream, side)
            elif path is not None:
                made = _make_socket(loop, await _connect_path(loop, path), side)
            else:
                made = _make_socket(loop, await _connect_tcp(loop, where, port, options), side)
            return await _shake(made, listeners)
    except TimeoutError:
        if not scope.expired():
            raise
        raise HandshakeTimeoutError(
            f"No connection to {_describe(port, path, side.host)} within {options.timeout} seconds",
            code="ERR_TLS_CONNECT_TIMEOUT",
            hint="Is the server up, and does nothing between drop the packets? Else raise timeout.",
        ) from None


def _describe(port: int, path: Any, host: str | None) -> str:
    return str(path) if path is not None else f"{host} port {port}" if port else host or "the stream's peer"


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
    elif given == ["path"]:
        check_socket_path("path", path)
    else:
        find_adapter(stream, "socket")
    return given[0]


def _check_listeners(on: object) -> dict[str, Callable[..., Any]]:
    if on is None:
        return {}
    if not isinstance(on, Mapping):
        raise UsageTypeError(f"on must be a mapping of events to functions, got {type(on).__name__}")
    for event, listener in on.items():
        if not isinstance(event, str) or event not in TLSSocket._EVENTS:
            raise UsageValueError(f"on names {event!r}, which is no event of sockets", code="ERR_TLS_UNKNOWN_EVENT")
        if not callable(listener):
            raise UsageTypeError(f"The listener of {event!r} must be callable, got {type(listener).__name__}")
    return dict(on)


def _make_side(options: ConnectOptions, place: object) -> ClientSide:
    given = options.secure_context
    if given is not None and not isinstance(given, SecureContext):
        raise UsageTypeError("options.secure_context must be a SecureContext", code="ERR_TLS_INVALID_CONTEXT")
    return ClientSide(options, given or SecureContext(options.context), options.host, place)


async def _connect_tcp(loop: asyncio.AbstractEventLoop, host: str, port: int, options: ConnectOptions) -> _socket.socket:
    try:
        found = await loop.getaddrinfo(host, port, family=_family_of(options), type=_socket.SOCK_STREAM)
        local = _local_addresses(options)
        made = await aiohappyeyeballs.start_connection(
            found,
            local_addr_infos=local,
            happy_eyeballs_delay=_ATTEMPT_DELAY,
            interleave=1,
            loop=loop,
            socket_factory=_make_shared if options.local_port else None,
        )
    except OSError as error:
        error.add_note(_hint_for(error, f"{host} port {port}"))
        raise
    try:
        _set_options(made, options)
    except OSError:
        made.close()
        raise
    return made


def _set_options(made: _socket.socket, options: ConnectOptions) -> None:
    if options.no_delay:
        made.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    if options.keep_alive:
        made.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
        if options.keep_alive_initial_delay >= 1:
            made.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_KEEPIDLE, int(options.keep_alive_initial_delay))


def _family_of(options: ConnectOptions) -> int:
    """Which addresses can be reached: those of the family that was asked for, or that the local address has."""
    if options.family is None and options.local_address is not None:
        return _socket.AF_INET6 if ":" in options.local_address else _socket.AF_INET
    return _FAMILIES[options.family]


def _local_addresses(options: ConnectOptions) -> list[Any] | None:
    """Where a socket of each family is bound; None: anywhere."""
    if options.local_address is None and options.local_port is None:
        return None
    hosts = ("::", "0.0.0.0") if options.local_address is None else (options.local_address,)  # noqa: S104  (any address)
    return [_local_address(host, options.local_port or 0) for host in hosts]


def _local_address(host: str, port: int) -> Any:
    if ":" not in host:
        return _socket.AF_INET, _socket.SOCK_STREAM, 0, "", (host, port)
    host, _, zone = host.partition("%")
    number = 0 if not zone else int(zone) if zone.isdecimal() else _socket.if_nametoindex(zone)
    return _socket.AF_INET6, _socket.SOCK_STREAM, 0, "", (host, port, 0, number)


def _make_shared(found: Any) -> _socket.socket:
    """Make a socket for one of several attempts that are bound to the same local port at the same time."""
    family, kind, protocol, _, address = found
    made = _socket.socket(family, kind, protocol)
    made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    if family == _socket.AF_INET6 and not address[0].startswith("::ffff:"):  # an IPv4 address inside
        made.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
    return made


async def _connect_path(loop: asyncio.AbstractEventLoop, path: str | os.PathLike[str]) -> _socket.socket:
    made = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    made.setblocking(False)  # noqa: FBT003
    try:
        await loop.sock_connect(made, os.fspath(path))
    except BaseException as error:
        made.close()
        if isinstance(error, OSError):
            error.add_note(_hint_for(error, os.fspath(path)))
        raise
    return made


def _hint_for(error: OSError, where: str) -> str:
    """What to do about a failure before TLS."""
    if isinstance(error, _socket.gaierror):
        return f"While looking up {where}: check the name's spelling, and whether this machine reaches its name servers."
    return f"While connecting to {where}: {_HINTS.get(error.errno or 0, 'check the address, and whether anything on the way forbids it.')}"


_HINTS: Mapping[int, str] = {
    errno.ECONNREFUSED: "nothing listens there. Is the server running, and is this its port?",
    errno.ENOENT: "there is no such socket. Is the server running, and is this its path?",
    errno.EACCES: "this user may not. Look at the permissions of the socket and its folder.",
    errno.ETIMEDOUT: "nobody answers. Is the machine up, and does nothing on the way drop the packets?",
    errno.ENETUNREACH: "there is no route. Is this machine connected, and does it have this address family?",
    errno.EHOSTUNREACH: "there is no route. Is that machine up, and in this network?",
    errno.EADDRNOTAVAIL: "local_address is none of this machine's, or all local ports are taken.",
    errno.EADDRINUSE: "local_port is taken.",
}


def _make_socket(loop: asyncio.AbstractEventLoop, sock: _socket.socket, side: ClientSide) -> TLSSocket:
    """Give a connected socket to the native driver, or to the portable one where there is no other."""
    made = TLSSocket.__new__(TLSSocket)
    try:
        if not has_reactor:
            wrap_stream(made, sock, side)
            return made
        connection = Connection(side.context._native, False)  # noqa: FBT003
        side.prepare(connection)
        made._set_up(connection, side, loop)
        made._address = _names_of(sock)
        reactor = current_reactor()
        connection.attach(reactor, sock.detach())  # which has the descriptor from here on, also when it raises
    except BaseException:
        sock.close()
        raise
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
