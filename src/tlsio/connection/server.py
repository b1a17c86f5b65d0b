"""Servers: listening, contexts by name, sockets and their listeners."""

from __future__ import annotations

import asyncio
import logging
import os
import socket as _socket
import stat
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from tlsio.connection.context import SecureContext, for_server
from tlsio.connection.emitter import Emitter
from tlsio.connection.native_driver import current_reactor
from tlsio.connection.server_side import ServerSide
from tlsio.connection.tls_socket import TLSSocket
from tlsio.connection.wrap import accept_stream
from tlsio.model.errors import UsageStateError, UsageTypeError, UsageValueError
from tlsio.model.options import ServerOptionsDict, parse_context_options, parse_server_options, parse_ticket_keys
from tlsio.model.values import ServerStats
from tlsio.native._core import Gate, Ring

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from types import TracebackType
    from typing import Self, Unpack

    from tlsio.model.options import ContextOptionsDict
    from tlsio.native._core import Connection

__all__ = ["Server", "ServerAddress", "create_server", "serve"]

_log = logging.getLogger("tlsio")

_HOOKS = frozenset({"sni_callback", "alpn_callback", "check_client"})


class ServerAddress(TypedDict):
    """Where a server listens."""

    address: str
    family: str
    port: int


def create_server(listener: Callable[[TLSSocket], Any] | None = None, /, **options: Unpack[ServerOptionsDict]) -> Server:
    """Make a server; `listen` starts it. (Node: `tls.createServer`.)

    Args:
        listener: Called with each socket whose client was let in, as a `secure_connection` listener. Sync: the socket lives
            until it is closed. Async: it owns the socket, which is closed when it returns.
        options: Options of servers and of their contexts.

    Raises:
        UsageError: a wrong option. ConfigError: a certificate or key that cannot be used.
    """
    return Server(listener, **options)


@asynccontextmanager
async def serve(
    listener: Callable[[TLSSocket], Any],
    port: int | None = 0,
    host: str | None = None,
    /,
    *,
    path: str | os.PathLike[str] | None = None,
    sock: _socket.socket | Sequence[_socket.socket] | None = None,
    backlog: int = 4096,
    reuse_port: bool = False,
    **options: Unpack[ServerOptionsDict],
) -> AsyncIterator[Server]:
    """Make a server, listen, and close it when the block is left: `create_server` and `listen` with the options of both."""
    server = Server(listener, **options)
    await server.listen(port, host, path=path, sock=sock, backlog=backlog, reuse_port=reuse_port)
    async with server:
        yield server


class Server(Emitter):
    """A TLS server. (Node: `tls.Server`.)

    Events:
        secure_connection(socket): a client was let in. `tls_client_error(error, socket)`, also `client_error`: a handshake failed.
        connection(address): a connection was accepted, before TLS. `drop(address)`: refused by `max_connections`.
        listening, close, error(error).

    Hooks (`sni_callback`, `alpn_callback`, `check_client`) are set as options or by `on`; one function each.
    """

    _EVENTS: ClassVar[frozenset[str]] = (
        frozenset({"secure_connection", "tls_client_error", "client_error", "connection", "drop", "listening", "close", "error"}) | _HOOKS
    )

    def __init__(self, listener: Callable[[TLSSocket], Any] | None = None, /, **options: Unpack[ServerOptionsDict]) -> None:
        super().__init__()
        self._options = parse_server_options(options)
        self._side = ServerSide(self._options)
        self._ring = Ring()
        if self._context_options.ticket_keys:
            self._ring.set(self._context_options.ticket_keys)
        self._gate = self._make_gate()
        self._sockets: list[_socket.socket] = []
        self._paths: list[tuple[str, int]] = []
        self._open: set[TLSSocket] = set()
        self._tasks: dict[asyncio.Task[Any], TLSSocket | None] = {}
        self._failed: dict[str, int] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False
        self._deadline: asyncio.TimerHandle | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._lock = threading.Lock()
        self.drop_max_connection = True
        if listener is not None:
            self.on("secure_connection", listener)
        self._update_wants()

    @property
    def _context_options(self) -> Any:  # noqa: ANN401
        return self._side.names.default.options

    def _make_gate(self) -> Gate:
        options = self._options
        return Gate(
            self,
            self._side.names.default._native,  # noqa: SLF001
            self._ring,
            handshake_timeout=options.handshake_timeout or 0.0,
            max_connections=options.max_connections,
            max_handshakes=options.max_handshakes,
            max_handshake_bytes=options.max_handshake_bytes,
            no_delay=options.no_delay,
            keep_alive=int(options.keep_alive_initial_delay) if options.keep_alive else -1,
            alpn_continue=options.alpn_mismatch == "continue",
        )

    # ---- listening

    async def listen(
        self,
        port: int | None = 0,
        host: str | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        sock: _socket.socket | Sequence[_socket.socket] | None = None,
        backlog: int = 4096,
        reuse_port: bool = False,
    ) -> Server:
        """Accept connections.

        Args:
            port: 0 chooses a free one. `host`: a name or address; None: all addresses, IPv4 and IPv6, by one socket.
            path: A Unix socket instead; removed when the server closes.
            sock: Sockets that are bound already, instead; the server owns them.
            backlog: Connections the kernel keeps for us.
            reuse_port: Several processes may listen on the port.

        Raises:
            UsageStateError: it listens already. OSError: the address cannot be had.
        """
        if self._sockets:
            raise UsageStateError("This server listens already", code="ERR_SERVER_ALREADY_LISTEN")
        self._loop = loop = asyncio.get_running_loop()
        if sock is not None:
            sockets = list(sock) if isinstance(sock, list | tuple) else [sock]
        elif path is not None:
            sockets = [_bind_path(os.fspath(path))]
        else:
            sockets = await _bind_hosts(loop, port or 0, host, reuse_port=reuse_port)
        reactor = current_reactor()
        for one in sockets:
            one.setblocking(False)
            one.listen(backlog)
        for one in sockets:
            self._gate.listen(reactor, os.dup(one.fileno()))
        if path is not None:
            self._paths.append((os.fspath(path), os.stat(os.fspath(path)).st_ino))  # noqa: PTH116
        self._sockets = sockets
        self._closing = False
        self._emit("listening")
        return self

    def address(self) -> ServerAddress | str | None:
        """Where it listens; the path of a Unix socket; None before `listen` and after `close`."""
        if not self._sockets:
            return None
        name = self._sockets[0].getsockname()
        if isinstance(name, tuple):
            return {"address": name[0], "family": "IPv6" if ":" in name[0] else "IPv4", "port": name[1]}
        return str(name)

    @property
    def port(self) -> int | None:
        """The first TCP port it listens on."""
        address = self.address()
        return address["port"] if isinstance(address, dict) else None

    @property
    def listening(self) -> bool:
        return bool(self._sockets)

    @property
    def connections(self) -> int:
        """Open connections, those in a handshake included."""
        return int(self._gate.open_connections) + sum(1 for one in self._open if one._driver is not None)  # noqa: SLF001

    @property
    def max_connections(self) -> int | None:
        """Connections beyond it are closed before TLS; None: no limit."""
        return self._gate.max_connections

    @max_connections.setter
    def max_connections(self, value: int | None) -> None:
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise UsageTypeError(f"max_connections must be an int or None, got {type(value).__name__}")
        if value is not None and value < 1:
            raise UsageValueError(f"max_connections must be at least 1, got {value}", code="ERR_OUT_OF_RANGE")
        self._gate.max_connections = value

    # ---- contexts

    def add_context(self, hostname: str, context: SecureContext | ContextOptionsDict) -> None:
        """Serve `hostname` with a context of its own; a `*` stands for a part of one label. The last added match wins.

        What the context leaves unset is the server's. An existing name is replaced. Any thread.

        Raises:
            UsageError: no name (ERR_TLS_REQUIRED_SERVER_NAME), or a wrong option. ConfigError: nothing was changed.
        """
        if not isinstance(hostname, str):
            raise UsageTypeError(f"hostname must be a str, got {type(hostname).__name__}")
        if not hostname:
            raise UsageValueError('"servername" is a required parameter of add_context', code="ERR_TLS_REQUIRED_SERVER_NAME")
        given = context if isinstance(context, SecureContext) else parse_context_options(context)
        with self._lock:
            self._side.names.add(hostname, given)
        self._update_wants()

    def remove_context(self, hostname: str) -> None:
        """Serve `hostname` with the default context again; one that is not there is fine."""
        with self._lock:
            self._side.names.remove(hostname)
        self._update_wants()

    def set_secure_context(self, context: SecureContext | None = None, /, **options: Unpack[ContextOptionsDict]) -> None:
        """Exchange the default context for new connections; what is not given keeps its value. Any thread.

        Raises:
            UsageError, ConfigError: nothing was changed.
        """
        if context is not None and options:
            raise UsageTypeError("Give a context or options, not both")
        if context is not None and not isinstance(context, SecureContext):
            raise UsageTypeError("context must be a SecureContext", code="ERR_TLS_INVALID_CONTEXT")
        with self._lock:
            names = self._side.names
            made = for_server(context or parse_context_options(options), current=names.default, home=names.home)
            names.replace_default(made)
            self._gate.set_context(made._native)  # noqa: SLF001

    def get_ticket_keys(self) -> bytes:
        """The key that encrypts session tickets, 48 bytes: 16 name, 16 HMAC, 16 AES. A secret."""
        return self._ring.first()

    def set_ticket_keys(self, keys: Any) -> None:  # noqa: ANN401
        """Use other ticket keys. 48 bytes are pushed in front, older keys still decrypt; a list replaces all. Any thread."""
        parsed = parse_ticket_keys("keys", keys)
        if isinstance(keys, list | tuple):
            self._ring.set(parsed)
        else:
            self._ring.push(parsed[0])

    # ---- hooks and listeners

    def _add(self, event: str, fn: Any, entry: Any) -> Any:  # noqa: ANN401
        if event not in _HOOKS:
            return super()._add(event, fn, entry)
        if not callable(fn):
            raise UsageTypeError(f"{event} must be callable, got {type(fn).__name__}")
        if event in self._side.hooks:
            raise UsageStateError(f"There is a {event} already", hint=f"A hook gives the one answer: off({event!r}, ...) the old one first.")
        if event == "alpn_callback" and self._context_options.alpn_protocols is not None:
            raise UsageTypeError("alpn_callback and alpn_protocols exclude each other", code="ERR_TLS_ALPN_CALLBACK_WITH_PROTOCOLS")
        self._side.hooks[event] = fn
        self._update_wants()
        return fn

    def off(self, event: str, fn: Any) -> None:  # noqa: ANN401
        """Take a listener or hook away; one that is not there is fine."""
        if event not in _HOOKS:
            super().off(event, fn)
        elif self._side.hooks.get(event) == fn:
            del self._side.hooks[event]
            self._update_wants()

    def _listeners_changed(self, event: str) -> None:
        if event != "secure_connection":
            self._update_wants()

    def _update_wants(self) -> None:
        hooks = self._side.hooks
        self._gate.set_wants(
            hello="sni_callback" in hooks or bool(self._side.names),
            alpn="alpn_callback" in hooks,
            client="check_client" in hooks,
            accepted=self._has("connection"),
            dropped=self._has("drop"),
        )
        self._gate.wants_socket = bool(hooks)
        self._gate.wants_failures = self._has("tls_client_error") or self._has("client_error")

    # ---- news from the gate

    def _find(self, name: str) -> Any:  # noqa: ANN401
        """The native context for a name; None: the default. No socket is made for it."""
        found = self._side.names.find(name)
        return None if found is None else found._native  # noqa: SLF001

    def _adopt(self, connection: Connection) -> None:
        assert self._loop is not None
        sock = TLSSocket.__new__(TLSSocket)
        sock._set_up(connection, self._side, self._loop)  # noqa: SLF001
        sock._server = self  # noqa: SLF001
        self._open.add(sock)

    def _connected(self, address: Any) -> None:  # noqa: ANN401
        self._emit("connection", address)

    def _dropped(self, address: Any) -> None:  # noqa: ANN401
        self._emit("drop", address)

    def _accept_failed(self, number: int) -> None:
        error = OSError(number, os.strerror(number))
        error.add_note("A connection could not be accepted; it waits, and is tried again in a moment.")
        if not self._emit("error", error):
            _log.warning("accept failed: %s", error)

    # ---- news from sockets

    def _secured(self, sock: TLSSocket) -> None:
        for function in self._callables("secure_connection"):
            try:
                result = function(sock)
            except Exception as error:  # noqa: BLE001  (code of the user)
                sock._listener_failed(error)  # noqa: SLF001
                return
            if asyncio.iscoroutine(result):
                self._spawn(self._own(sock, result), sock)

    async def _own(self, sock: TLSSocket, listener: Any) -> None:  # noqa: ANN401
        """An async listener owns the socket: its return closes it, its exception destroys it."""
        try:
            await listener
        except Exception as error:  # noqa: BLE001
            sock._listener_failed(error)  # noqa: SLF001
        except asyncio.CancelledError:
            sock.destroy()
            raise
        else:
            if not sock._has("data"):  # noqa: SLF001
                sock.close()

    def _handshake_failed(self, sock: TLSSocket, error: BaseException) -> None:
        code = getattr(error, "code", None) or type(error).__name__
        self._failed[code] = self._failed.get(code, 0) + 1
        heard = self._emit("tls_client_error", error, sock)
        if not self._emit("client_error", error, sock) and not heard:
            _log.debug("%r: handshake failed: %s", sock, error)

    def _closed_socket(self, sock: TLSSocket) -> None:
        self._open.discard(sock)
        self._check_closed()

    def _spawn(self, coroutine: Any, sock: TLSSocket | None = None) -> asyncio.Task[Any]:  # noqa: ANN401
        assert self._loop is not None
        task = self._loop.create_task(coroutine)
        self._tasks[task] = sock
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._listener_failed(error)
        self._check_closed()

    def _listener_failed(self, error: BaseException) -> None:
        """A listener of the server raised: `error` listeners hear it, else the loop's handler."""
        listeners = tuple(self._listeners_of("error"))
        if not listeners:
            loop = self._loop or asyncio.get_running_loop()
            loop.call_exception_handler({"message": "tlsio: a listener of a server failed", "exception": error})
        else:
            self._emit("error", error)

    # ---- STARTTLS

    async def upgrade(self, stream: Any) -> TLSSocket:  # noqa: ANN401
        """Speak TLS on a stream that was accepted by somebody else: the server side of STARTTLS.

        Contexts, hooks, limits and listeners are this server's; the `secure_connection` listener is called for it too.

        Raises:
            TLSError: the handshake failed, after `tls_client_error`. Cancelled: the stream is closed.
        """
        self._loop = asyncio.get_running_loop()
        sock = accept_stream(stream, self._side, self._gate)
        sock._server = self  # noqa: SLF001
        self._open.add(sock)
        return await sock.handshake()

    # ---- closing

    def close(self, timeout: float | None = None) -> None:
        """Stop listening; open connections go on, for `timeout` seconds, then they are closed and async listeners cancelled."""
        for one in self._sockets:
            one.close()
        self._gate.unlisten_all()
        for path, inode in self._paths:
            _unlink(path, inode)
        was_listening = bool(self._sockets)
        self._sockets, self._paths = [], []
        self._closing = True
        if timeout is not None and self._loop is not None:
            if self._deadline is not None:
                self._deadline.cancel()
            if timeout <= 0:
                self._close_all()
            else:
                self._deadline = self._loop.call_later(timeout, self._close_all)
        if was_listening:
            self._emit("close")
        self._check_closed()

    def _close_all(self) -> None:
        self._gate.evict()
        for sock in tuple(self._open):
            sock.destroy()
        for task in tuple(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()

    @property
    def _is_idle(self) -> bool:
        return not self._open and not self._tasks and not self._gate.open_connections

    def _check_closed(self) -> None:
        if self._closing and self._is_idle:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiters.clear()

    async def wait_closed(self) -> None:
        """Wait until it is closed, its connections too and its listeners' tasks. Never raises their errors."""
        while not self._closing or not self._is_idle:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            if self._closing:
                self._gate.evict()      # what is still in a handshake when the last socket has gone
                self._check_closed()
            await waiter

    async def serve_forever(self) -> None:
        """Wait until `close` was called; cancelled: close first."""
        waiter = asyncio.get_running_loop().create_future()
        try:
            while not self._closing:
                self._forever = waiter
                await asyncio.wait_for(asyncio.shield(waiter), None)
        finally:
            self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        self.close(0 if cancelled else self._options.shutdown_timeout)
        try:
            await self.wait_closed()
        except asyncio.CancelledError:
            self.close(0)
            raise

    # ---- numbers

    def stats(self) -> ServerStats:
        """What the server has done so far. Any thread."""
        gate, live = self._gate, tuple(self._open)
        failed = dict(gate.handshakes_failed)
        for code, count in tuple(self._failed.items()):
            failed[code] = failed.get(code, 0) + count
        return ServerStats(
            handshakes_full=gate.handshakes_full,
            handshakes_resumed=gate.handshakes_resumed,
            handshakes_failed=failed,
            open_connections=self.connections,
            accepted=gate.accepted,
            dropped=gate.dropped,
            bytes_read=gate.bytes_read + sum(one.bytes_read for one in live),
            bytes_written=gate.bytes_written + sum(one.bytes_written for one in live),
        )

    def __repr__(self) -> str:
        return f"<Server {'listening' if self.listening else 'closed'} connections={self.connections}>"


async def _bind_hosts(loop: asyncio.AbstractEventLoop, port: int, host: str | None, *, reuse_port: bool) -> list[_socket.socket]:
    if host is None:
        return [_bind_all(port, reuse_port=reuse_port)]
    found = await loop.getaddrinfo(host, port, type=_socket.SOCK_STREAM, flags=_socket.AI_PASSIVE)
    sockets: list[_socket.socket] = []
    try:
        for family, _kind, _protocol, _name, address in dict.fromkeys(found):
            if sockets and port == 0:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])  # noqa: PLW2901  (one port for all addresses of a name)
            sockets.append(_bind(family, address, reuse_port=reuse_port))
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets


def _bind_all(port: int, *, reuse_port: bool) -> _socket.socket:
    """One socket for IPv4 and IPv6; where the system has no IPv6, one for IPv4."""
    if _socket.has_dualstack_ipv6():
        return _socket.create_server(("::", port), family=_socket.AF_INET6, dualstack_ipv6=True, reuse_port=reuse_port)
    return _bind(_socket.AF_INET, ("0.0.0.0", port), reuse_port=reuse_port)  # noqa: S104  (asked for: all addresses)


def _bind(family: int, address: Any, *, reuse_port: bool) -> _socket.socket:  # noqa: ANN401
    one = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        one.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if reuse_port:
            one.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT, 1)
        if family == _socket.AF_INET6:
            one.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        one.bind(address)
    except OSError as error:
        one.close()
        error.add_note(f"while listening on {address[0]}:{address[1]}")
        raise
    return one


def _bind_path(path: str) -> _socket.socket:
    one = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        one.bind(path)
    except OSError as error:
        one.close()
        error.add_note(f"while listening on {path}")
        raise
    return one


def _unlink(path: str, inode: int) -> None:
    """Remove our Unix socket, unless somebody has put another in its place."""
    try:
        found = os.stat(path)  # noqa: PTH116
        if found.st_ino == inode and stat.S_ISSOCK(found.st_mode):
            os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        pass
