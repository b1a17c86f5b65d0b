"""Servers: listening, sockets and their listeners, closing.

The gate accepts, limits and counts connections in C; a connection that needs a socket gets
one here. The server keeps the socket alive until it is closed and passes it to the
`secure_connection` listeners. Everything runs in the loop's thread, except the methods that any
thread may call, such as those about contexts (`contexts.py`).
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import logging
import os
from collections.abc import Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from tlsio.connection.drivers.native import current_reactor
from tlsio.connection.drivers.streams import close_stream, find_adapter
from tlsio.connection.handshake.handshake import Handshake
from tlsio.connection.handshake.server_policy import HOOKS
from tlsio.connection.handshake.start import open_driver
from tlsio.connection.server.contexts import ServerContexts
from tlsio.connection.server.failure_log import FailureLog
from tlsio.connection.server.listening import ServerAddress, open_listening
from tlsio.connection.server.own_faults import OwnFaults
from tlsio.connection.server.statistics import Statistics
from tlsio.connection.server.task_group import TaskGroup, cancel_others
from tlsio.connection.server.threads import count_threads
from tlsio.connection.socket.owner import SocketOwner
from tlsio.connection.socket.tls_socket import internals_of, make_socket
from tlsio.connection.tasks import as_coroutine, current_loop, failure_of_task, find_listener_awaitable, running_loop
from tlsio.connection.waiters import wait_in, wake
from tlsio.model.checks import check_bool, check_limit, check_seconds
from tlsio.model.errors import CertificateError, ConfigError, ConnectionLostError, UsageStateError, UsageTypeError, add_hint
from tlsio.model.exported import exported
from tlsio.model.options.parse import parse_server_options
from tlsio.model.other_names import SERVER_NAMES
from tlsio.model.statistics import ServerStats
from tlsio.native._core import Gate, in_psk_callback

if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from types import TracebackType
    from typing import Never, Self, Unpack

    from tlsio.connection.context.secure_context import SecureContext
    from tlsio.connection.server.entries import Entries
    from tlsio.connection.server.events import ServerEvents
    from tlsio.connection.server.listening import Listening
    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.connection.waiters import Waiters
    from tlsio.model.options.server import ServerOptionsDict
    from tlsio.model.statistics import ServerStats
    from tlsio.native._core import Address, Connection

__all__ = ["Server", "ServerAddress", "create_server", "entries_of", "serve", "watch_clients"]

_log = logging.getLogger("tlsio")

_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})

# A client's certificate that is refused because of a list that this server was given.
_OWN_LISTS = frozenset({"CRL_HAS_EXPIRED", "CRL_NOT_YET_VALID"})
_IDLE_CHECK = 0.1  # seconds between two looks for idle connections while a server shuts down
# Seconds without data until a connection is idle: between two chunks of an upload a reader waits
# too. It is less if `shutdown_timeout` is short, so that idle connections end within it.
_QUIET_TIME = 0.5
_QUIET_PART = 0.25


# `serve` requires a listener, but a call without one gets a hint instead of Python's error.
_MISSING: Any = None


def create_server(listener: Callable[[TLSSocket], Any] | None = None, /, *misplaced: Never, **options: Unpack[ServerOptionsDict]) -> Server:
    """Make a server, which `listen` starts.

    (Node: `tls.createServer`.)

    Args:
        listener: Called with each socket whose client was accepted, as a `secure_connection`
            listener. If it is async, it owns the socket, which is closed when it returns. If not,
            the socket stays open.
        misplaced: None. Node's `createServer(options, listener)` is answered with the right call.
        options: Options of servers and of their contexts.

    Raises:
        UsageError: a wrong option.
        ConfigError: a certificate or key that cannot be used, or an option that judges client
            certificates although none is requested.
    """
    if misplaced or isinstance(listener, Mapping):
        raise UsageTypeError(
            "create_server takes one positional argument, the listener",
            hint="Options are given by name: create_server(listener, cert=..., key=...), or create_server(listener, **options).",
        )
    return Server(listener, **options)


@asynccontextmanager
async def serve(  # noqa: PLR0913  (the parameters of listen)
    listener: Callable[[TLSSocket], Any] = _MISSING,
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
    """Make a server, listen, and close it after the block.

    It takes the arguments of `create_server` and `listen`.
    """
    if not callable(listener):
        raise UsageTypeError(
            f"serve takes a listener first, got {type(listener).__name__}",
            hint='Give the listener, then port and host, then options by name: serve(listener, 443, "127.0.0.1", cert=..., key=...).',
        )
    server = Server(listener, **options)
    await server.listen(port, host, path=path, sock=sock, backlog=backlog, reuse_port=reuse_port)
    async with server:
        yield server


@exported
class Server(ServerContexts):
    """A TLS server.

    (Node: `tls.Server`.)

    Events:
        secure_connection(socket): a client was accepted.
        tls_client_error(error, socket): a handshake failed; also emitted as `client_error`.
        connection(address): a TCP connection was accepted, before TLS.
        drop(address): a connection was refused because of `max_connections`.
        keylog(line, socket): a line for a key log, which contains secrets.
        listening: the server listens.
        close: the server is closed, and the last connection has ended.
        error(error): accepting failed, sessions could not be stored or looked up, or a listener of
            the server failed.

    Hooks (`sni_callback`, `alpn_callback`, `ocsp_request`, `check_client`, `psk_callback`,
    `new_session`, `resume_session`) are set as options or by `on`; one function each.
    """

    _EVENTS: ClassVar[frozenset[str]] = (
        frozenset({"secure_connection", "tls_client_error", "client_error", "keylog", "connection", "drop", "listening", "close", "error"})
        | HOOKS
    )
    _OTHER_NAMES: ClassVar[Mapping[str, str]] = SERVER_NAMES

    if TYPE_CHECKING:
        on: ServerEvents  # type: ignore[assignment]  # listeners are checked by event
        once: ServerEvents  # type: ignore[assignment]

    def __init__(self, listener: Callable[[TLSSocket], Any] | None = None, /, **options: Unpack[ServerOptionsDict]) -> None:
        super().__init__(parse_server_options(options))
        self._side.report_session_failure = self._session_failed
        self._gate = self._make_gate()
        self._statistics = Statistics(self._gate, self._policy.sessions)
        self._failure_log = FailureLog()
        self._own_faults = OwnFaults()
        self._listening: Listening | None = None
        self._listening_pid = 0  # the process that called `listen`
        # Listeners run in the context of the constructor's caller; after `listen`, of its caller.
        self._context_vars = contextvars.copy_context()
        self._open_sockets: dict[TLSSocket, Handshake] = {}
        self._tasks = TaskGroup(self._check_closed)
        self._owner = SocketOwner(
            secured=self._secured,
            handshake_failed=self._handshake_failed,
            connection_failed=self._statistics.connection_failed,
            keylogged=partial(self._emit, "keylog"),
            closed=self._socket_closed,
        )
        self._close_calls = 0  # the number of calls of `close`
        self._close_emitted = True
        self._emitting_error = False
        self._deadline: asyncio.TimerHandle | None = None
        self._serve_forever_waiters: Waiters = {}
        self._wait_closed_waiters: Waiters = {}
        if listener is not None:
            self.on("secure_connection", listener)
        self._update_wants()

    def _make_gate(self) -> Gate:
        options = self._options
        return Gate(
            self,
            self._policy.names.default.native,
            self._ticket_keys.ring,
            handshake_timeout=options.handshake_timeout or 0.0,
            partial_record_timeout=options.partial_record_timeout or 0.0,
            max_connections=options.max_connections,
            max_handshakes=options.max_handshakes,
            max_handshake_bytes=options.max_handshake_bytes,
            no_delay=options.no_delay,
            keep_alive=int(options.keep_alive_initial_delay) if options.keep_alive else -1,
            alpn_continue=options.alpn_mismatch == "continue",
            renegotiation_limit=self._policy.renegotiation[0],
            renegotiation_window=self._policy.renegotiation[1],
            psk_hint=options.psk_identity_hint,
            max_per_peer=options.max_connections_per_address,
            plain_answer=options.plain_http_answer,
            threads=count_threads(options.handshake_threads),
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
            port: A TCP port; 0 chooses a free one.
            host: A name or address; None: all addresses, IPv4 and IPv6, by one socket.
            path: The path of a Unix socket to use instead; removed when the server closes.
            sock: Bound sockets to use instead. The server owns them, unless this call raises: then
                they stay open and unchanged.
            backlog: The length of the kernel's queue of connections.
            reuse_port: Let several processes listen on the port.

        Raises:
            UsageError: a wrong argument, the server is already listening, or `close` was called
                during this call.
            ConfigError: the context source in `secure_context=` has no default, or one that cannot
                be used.
            OSError: the address is not available.
            Exception: as the context source's `start` and `context_for`.
        """
        self._check_process()
        running_loop()
        self._check_thread()
        self._check_not_listening()
        closes = self._close_calls
        opened, backlog = await open_listening(port, host, path=path, sock=sock, reuse_port=reuse_port, backlog=backlog)
        try:
            self._check_not_closed(closes)
            await self._start_source()
            self._gate.forget()  # while it did not listen, the source reported no changes
            await self._ticket_keys.start()
            self._check_not_listening()  # again, after the awaits above
            self._check_not_closed(closes)
            self._warn_at_start()
            opened.start(self._gate, current_reactor(), backlog)
        except BaseException:
            if not self.listening:
                self._gate.unlisten_all()
                self._ticket_keys.stop()
                self._stop_source()
            opened.abandon()
            raise
        self._listening = opened
        self._loop = asyncio.get_running_loop()
        self._context_vars = contextvars.copy_context()
        self._listening_pid = os.getpid()
        self._closing = self._close_emitted = False
        self._stop_deadline()
        self._start_stapling()
        self._emit("listening")
        return self

    def _check_not_listening(self) -> None:
        if self.listening:
            raise UsageStateError("This server is already listening", code="ERR_SERVER_ALREADY_LISTEN")

    def _check_not_closed(self, closes: int) -> None:
        if closes != self._close_calls:
            raise UsageStateError("close() was called before the server could listen", code="ERR_SERVER_NOT_RUNNING")

    def _check_process(self) -> None:
        if self._listening_pid and self._listening_pid != os.getpid():
            raise UsageStateError(
                "This server belongs to the parent process: it cannot be used after a fork",
                code="ERR_TLS_FORKED",
                hint="Fork before listen(), or make a server in the child.",
            )

    def _check_thread(self) -> None:
        """Refuse a call from another thread while the server's loop runs."""
        if self._loop is not None and self._loop.is_running() and current_loop() is not self._loop:
            raise UsageStateError(
                "This server belongs to another thread, in which its event loop runs",
                code="ERR_TLS_WRONG_THREAD",
                hint="Call it there: loop.call_soon_threadsafe(server.close).",
            )

    def address(self) -> ServerAddress | str | None:
        """Return the address, or the path of a Unix socket; None if the server is not listening."""
        return self._listening.address if self._listening is not None else None

    @property
    def port(self) -> int | None:
        """The first TCP port it listens on; None if there is none."""
        address = self.address()
        return address["port"] if isinstance(address, dict) else None

    @property
    def listening(self) -> bool:
        """Whether it accepts connections."""
        return self._listening is not None

    @property
    def connections(self) -> int:
        """The number of open connections, including those in a handshake."""
        return self._statistics.connections

    def open_sockets(self) -> tuple[TLSSocket, ...]:
        """Return the sockets of the open connections, as they are now.

        Such as to end those of a client whose certificate was revoked. Those that are still in a
        handshake are included once a hook or listener has got their socket.
        """
        return tuple(self._open_sockets)

    @property
    def max_connections(self) -> int | None:
        """The limit beyond which connections are closed before TLS; None: no limit."""
        return self._gate.max_connections

    @max_connections.setter
    def max_connections(self, value: int | None) -> None:
        self._gate.max_connections = check_limit("max_connections", value)

    @property
    def drop_max_connection(self) -> bool:
        """What happens to connections beyond `max_connections`.

        True: they are closed at once, and `drop` is emitted. False: they wait in the kernel's
        queue, where another process that shares the listening socket may accept them. (Node:
        `dropMaxConnection`.)
        """
        return not self._gate.queues_beyond

    @drop_max_connection.setter
    def drop_max_connection(self, value: bool) -> None:
        self._gate.queues_beyond = not check_bool("drop_max_connection", value)

    # ---- notifications from the gate

    def _adopt(self, connection: Connection, context: SecureContext | None) -> None:
        loop, names, name = asyncio.get_running_loop(), self._policy.names, connection.server_name
        handshake = Handshake(connection, loop, context or (names.find(name) if name else None) or names.default)
        # The reactor has no contextvars context: a connection's variables are those of the caller
        # of `listen`.
        sock = make_socket(handshake, self._side, loop, variables=self._context_vars.copy(), owner=self._owner)
        self._open_sockets[sock] = handshake

    def _logs_failure(self) -> bool:
        return self._failure_log.accepts()

    def _connected(self, address: Address) -> None:
        self._context_vars.copy().run(self._emit, "connection", address)

    def _dropped(self, address: Address) -> None:
        self._context_vars.copy().run(self._emit, "drop", address)

    def _accept_failed(self, number: int) -> None:
        error = OSError(number, os.strerror(number))
        remedy = " Raise the limit of open files (ulimit -n), or set max_connections= below it." if number in _NO_DESCRIPTORS else ""
        add_hint(error, f"A connection could not be accepted. It waits in the kernel's queue, and accepting is retried.{remedy}")
        if not self._context_vars.copy().run(self._emit, "error", error):
            _log.warning("A connection could not be accepted: %s", error)

    # ---- notifications from sockets

    def _secured(self, sock: TLSSocket, ended: Callable[[asyncio.Task[Any]], object]) -> None:
        handshake = self._open_sockets.get(sock)
        if handshake is not None and handshake.is_challenge:
            # RFC 8737 §3: "Once the handshake is completed, the client MUST NOT exchange any
            # further data with the server and MUST immediately close the connection."
            sock.close()
            return
        for function in self._callables("secure_connection"):
            if (awaitable := find_listener_awaitable(function(sock))) is not None:
                self._tasks.run(as_coroutine(awaitable), ended)

    def _handshake_failed(self, sock: TLSSocket, error: BaseException, of_hook: bool) -> None:  # noqa: FBT001 - called by the socket
        self._statistics.handshake_failed(error)
        handshake = self._open_sockets.get(sock)
        if self._failure_watch is not None:
            self._failure_watch(error, sock)
        if isinstance(error, ConfigError) or (isinstance(error, CertificateError) and error.code in _OWN_LISTS):
            self._own_faults.log(error)
        elif handshake is not None and error is handshake.hook_failure:
            self._own_faults.log(handshake.hook_failure)
        was_emitted = self._emit("tls_client_error", error, sock)
        if self._emit("client_error", error, sock) or was_emitted:
            return
        if of_hook:
            self._report(error, f"a hook failed ({sock!r})")
        elif self._failure_log.accepts():
            self._failure_log.write(sock, error)

    def _session_failed(self, error: BaseException) -> bool:
        return self._emit("error", error)

    def _socket_closed(self, sock: TLSSocket) -> None:
        self._statistics.closed(sock)
        handshake = self._open_sockets.pop(sock, None)  # None: `upgrade` refused it
        if handshake is not None and handshake.tasks:
            for task in handshake.tasks:
                self._tasks.add(task)
        if self._closing:
            self._check_closed()

    def _spawn(self, awaitable: Awaitable[Any]) -> None:
        failed = self._report if self._emitting_error else self._listener_failed

        def ended(task: asyncio.Task[Any]) -> None:
            error = failure_of_task(task)
            if error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):  # the loop itself raises those
                failed(error)

        self._tasks.run(as_coroutine(awaitable), ended)

    def _listener_failed(self, error: BaseException) -> None:
        """Emit a listener's exception as `error`.

        Without an `error` listener, or if it was one that failed, report it to the loop's handler.
        """
        if self._emitting_error or not self._has("error"):
            self._report(error)
            return
        self._emitting_error = True
        try:
            self._emit("error", error)
        finally:
            self._emitting_error = False

    @staticmethod
    def _report(error: BaseException, what: str = "a listener of a server failed") -> None:
        asyncio.get_running_loop().call_exception_handler({"message": f"tlsio: {what}", "exception": error})

    # ---- STARTTLS

    async def upgrade(self, stream: Any) -> TLSSocket:
        """Do a server's handshake on a stream that the application accepted, such as for STARTTLS.

        The contexts, hooks, limits and listeners are those of this server, including
        `secure_connection`.

        Raises:
            TLSError: the handshake failed; raised after `tls_client_error`. The stream is closed.
            ConnectionLostError: `max_connections` is reached, or the server was closed during the
                call. The stream is closed.
            UsageError: `stream` is not a stream, and is left untouched. Or the source in
                `ticket_keys=` returned keys that cannot be used: then the stream is closed.
            Exception: as the context source's `start` and `context_for`; the stream is closed.
            Cancelled: the stream is closed.
        """
        self._check_process()
        loop = self._loop = running_loop()
        closes = self._close_calls
        find_adapter(stream)
        try:
            await self._start_source()
        except BaseException:
            await close_stream(stream)
            raise
        driver = open_driver(stream, self._side, loop)
        connection = driver.connection
        handshake = Handshake(connection, loop, self._policy.names.default)
        sock = make_socket(handshake, self._side, loop, driver=driver, owner=self._owner)
        try:
            connection.use_gate(self._gate)  # tickets, counters and limits
            if not self._has_warned:
                self._warn_at_start()
            if not self._is_stapling:
                self._start_stapling()
            await self._ticket_keys.start()
            self._check_room(driver.addresses[1], closes)  # after the last await: other connections may have been opened
            if self._has("keylog"):
                connection.record(keys=True)
        except BaseException:
            sock.destroy()
            raise
        self._open_sockets[sock] = handshake
        self._statistics.upgraded(sock)
        return await sock.handshake()

    def _check_room(self, peer: Any, closes: int) -> None:
        if closes != self._close_calls:
            raise ConnectionLostError("The server was closed", code="ERR_SERVER_NOT_RUNNING")
        if self.max_connections is not None and self.connections >= self.max_connections:
            self._emit("drop", peer)
            raise ConnectionLostError("The connection was refused: the server has reached max_connections=", code="ERR_TLS_MAX_CONNECTIONS")

    # ---- closing

    def close(self, timeout: float | None = None) -> None:
        """Stop listening; after `timeout` seconds close connections and cancel async listeners.

        None waits without limit, 0 closes at once. It may be called again with another timeout.
        """
        self._check_process()
        self._check_thread()
        self._close_calls += 1
        seconds = 0.0 if timeout == 0 and not isinstance(timeout, bool) else check_seconds("timeout", timeout)
        if self._listening is not None:
            self._gate.unlisten_all()
            self._listening.close()
            self._listening = None
        self._closing = self._gate.closing = True
        self._ticket_keys.stop()
        self._stop_source()
        self._stop_stapling()
        wake(self._serve_forever_waiters)
        if seconds is not None:
            self._stop_deadline()
            if seconds and self._loop is not None and not self._is_idle:
                self._deadline = self._loop.call_later(seconds, self._close_all)
            else:
                self._close_all()
        self._check_closed()

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close_all(self) -> None:
        self._gate.evict()
        self._tasks.cancel()
        # close_notify, so that the peer does not see a truncation. A closed loop has closed the
        # descriptors, and inside `psk_callback` nothing can be encrypted.
        may_send = current_loop() is self._loop and not in_psk_callback()
        for sock, handshake in tuple(self._open_sockets.items()):
            running = tuple(handshake.tasks or ())  # not the tasks of `close` listeners, which `destroy` starts
            if handshake.is_done and may_send:
                if sock.writable:
                    sock.end()
                handshake.connection.settle()  # also if end() or close() was called in this pass of the loop
            sock.destroy()
            cancel_others(running)
        self._check_closed()

    def _shut_down(self) -> None:
        """Close with `shutdown_timeout`, and say what is waited for."""
        timeout = self._options.shutdown_timeout
        self.close(timeout)
        if self._is_idle or self._loop is None:
            return
        ended = self._end_idle_sockets()
        _log.info(
            "A server is shutting down: it waits %s for %d connections (%d of them idle, which are told to end) and %d listeners",
            "without limit" if timeout is None else f"up to {timeout:g} seconds",
            self.connections,
            ended,
            len(self._tasks),
        )

    def _end_idle_sockets(self) -> int:
        """End our direction where a read waits for a quiet peer; repeated until all are closed."""
        if self._loop is None:
            return 0
        timeout = self._options.shutdown_timeout
        quiet = _QUIET_TIME if timeout is None else min(_QUIET_TIME, timeout * _QUIET_PART)
        before = self._loop.time() - quiet
        idle = [
            sock
            for sock, handshake in self._open_sockets.items()
            if internals_of(sock).awaits_peer() and handshake.connection.last_activity < before
        ]
        for sock in idle:
            sock.end()
        if self._closing and self._open_sockets:
            self._loop.call_later(min(_IDLE_CHECK, quiet), self._end_idle_sockets)
        return len(idle)

    @property
    def _is_idle(self) -> bool:
        gate = self._gate
        return not self._open_sockets and not self._tasks and not gate.open_connections and not gate.owes_reports

    def _check_closed(self) -> None:
        """Emit `close` after the last connection; also called by the gate."""
        if not self._closing or not self._is_idle:
            return
        self._stop_deadline()
        if not self._close_emitted:
            self._close_emitted = True
            self._emit("close")
        if self._is_idle:  # an async listener of `close` may still run
            wake(self._wait_closed_waiters)

    async def wait_closed(self) -> None:
        """Wait until the server, its connections and its listeners' tasks have ended.

        It does not raise their errors.

        Raises:
            UsageStateError: called by one of those listeners, or by a hook, which would wait for
                itself.
        """
        self._check_process()
        self._check_no_self_wait()
        while not self._closing or not self._is_idle:
            await wait_in(self._wait_closed_waiters)

    def _check_no_self_wait(self) -> None:
        task = asyncio.current_task()
        if task in self._tasks or any(one.is_waited_for(task) for one in self._open_sockets.values()):
            raise UsageStateError(
                "A listener or hook cannot wait for its own server to close: the server waits for it",
                code="ERR_TLS_SELF_WAIT",
                hint="Call close() here, and await wait_closed() outside the server's listeners and hooks.",
            )

    async def serve_forever(self) -> None:
        """Wait until `close` is called; a cancellation closes the server.

        Raises:
            UsageStateError: the server does not listen.
        """
        self._check_process()
        if not self.listening and not self._closing:
            raise UsageStateError("This server is not listening", code="ERR_SERVER_NOT_RUNNING", hint="await server.listen(...) first.")
        if self._closing:
            return
        try:
            await wait_in(self._serve_forever_waiters)
        except asyncio.CancelledError:
            self.close()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        if kind is not None and not issubclass(kind, Exception):  # cancelled, or KeyboardInterrupt
            self.close(0)
        else:
            self._shut_down()
        try:
            await self.wait_closed()
        except asyncio.CancelledError:
            self.close(0)
            await self.wait_closed()
            raise

    # ---- statistics

    def stats(self) -> ServerStats:
        """Return the server's statistics. May be called from any thread."""
        return self._statistics.read(self._open_sockets)

    def __repr__(self) -> str:
        state = f"listening on {self._listening.describe()}" if self._listening is not None else "closed"
        return f"<Server {state} connections={self.connections}>"


def entries_of(server: Server) -> Entries:
    """Return the entries of a server's names, for rooms above this one."""
    return server._entries  # noqa: SLF001 - its own module


def watch_clients(server: Server, failed: Callable[[BaseException, TLSSocket], object] | None) -> None:
    """Call `failed` for failed handshakes, while an entry may request client certificates.

    Unlike a listener of `tls_client_error` it takes nothing over: each failure is handled and
    logged as without it. It must not raise. None ends it.
    """
    server._failure_watch = failed  # noqa: SLF001 - its own module
    server._update_wants()  # noqa: SLF001 - its own module
