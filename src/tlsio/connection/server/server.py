"""Servers: listening, contexts by name, sockets and their listeners.

The gate accepts, limits and counts in C; what becomes a socket is adopted here, kept alive until it
is closed, and handed to the `secure_connection` listeners. Everything runs in the loop's thread but
for the methods that say otherwise, which share a lock.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import threading
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from tlsio.connection.context.secure_context import SecureContext, for_server, parse_context
from tlsio.connection.drivers.native import current_reactor
from tlsio.connection.emitter import Emitter
from tlsio.connection.handshake.handshake import Handshake
from tlsio.connection.handshake.server_handshake import ServerHandshake
from tlsio.connection.handshake.server_policy import HOOKS, HandshakePolicy
from tlsio.connection.handshake.session_storage import SESSION_HOOKS
from tlsio.connection.handshake.start import open_driver
from tlsio.connection.server.listening import ServerAddress, open_listening
from tlsio.connection.server.statistics import Statistics
from tlsio.connection.server.task_group import TaskGroup, cancel_others
from tlsio.connection.server.ticket_keys import TicketKeys
from tlsio.connection.socket.owner import SocketOwner
from tlsio.connection.socket.tls_socket import make_socket
from tlsio.connection.tasks import as_coroutine, failure_of_task, find_awaitable
from tlsio.connection.waiters import wait_in, wake
from tlsio.model.checks import check_bool, check_function, check_limit, check_plain_function, check_seconds
from tlsio.model.errors import ConnectionLostError, UsageStateError, UsageTypeError
from tlsio.model.options.parse import parse_server_options
from tlsio.model.statistics import ServerStats
from tlsio.native._core import Gate
from tlsio.trust.certificate import parse

if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from types import TracebackType
    from typing import Self, Unpack

    from tlsio.connection.server.events import ServerEvents
    from tlsio.connection.server.listening import Listening
    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.connection.waiters import Waiters
    from tlsio.model.options.context import ContextOptionsDict
    from tlsio.model.options.server import ServerOptionsDict
    from tlsio.model.statistics import ServerStats
    from tlsio.native._core import Address, Connection, Context

__all__ = ["Server", "ServerAddress", "create_server", "serve"]

_log = logging.getLogger("tlsio")


def create_server(listener: Callable[[TLSSocket], Any] | None = None, /, **options: Unpack[ServerOptionsDict]) -> Server:
    """Make a server, which `listen` starts.

    (Node: `tls.createServer`.)

    Args:
        listener: Called with each socket whose client was let in, as a `secure_connection`
            listener. Sync: the socket lives until it is closed. Async: it owns the socket, which is
            closed when it returns.
        options: Options of servers and of their contexts.

    Raises:
        UsageError: a wrong option. ConfigError: a certificate or key that cannot be used.
    """
    return Server(listener, **options)


@asynccontextmanager
async def serve(  # noqa: PLR0913  (those of listen)
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
    """A TLS server.

    (Node: `tls.Server`.)

    Events:
        secure_connection(socket): a client was let in. `tls_client_error(error, socket)`, also
            `client_error`: a handshake failed.
        connection(address): a connection was accepted, before TLS. `drop(address)`: refused by
            `max_connections`.
        listening. close: it listens no more, and the last connection has ended.
        error(error): accepting failed, sessions could not be kept or found, or a listener of the
            server failed.

    Hooks (`sni_callback`, `alpn_callback`, `ocsp_request`, `check_client`, `psk_callback`,
    `new_session`, `resume_session`) are set as options or by `on`; one function each.

    Attributes:
        drop_max_connection: What `max_connections` does to those beyond it.
    """

    _EVENTS: ClassVar[frozenset[str]] = (
        frozenset({"secure_connection", "tls_client_error", "client_error", "keylog", "connection", "drop", "listening", "close", "error"})
        | HOOKS
    )

    if TYPE_CHECKING:
        on: ServerEvents  # type: ignore[assignment]  # a listener has to fit its event
        once: ServerEvents  # type: ignore[assignment]

    def __init__(self, listener: Callable[[TLSSocket], Any] | None = None, /, **options: Unpack[ServerOptionsDict]) -> None:
        super().__init__()
        self._options = parse_server_options(options)
        self._policy = HandshakePolicy(self._options)
        self._side = ServerHandshake(self._policy)
        self._side.report_session_failure = self._session_failed
        self._ticket_keys = TicketKeys(self._policy.names.default.options)
        self._gate = self._make_gate()
        self._statistics = Statistics(self._gate, self._policy.sessions)
        self._listening: Listening | None = None
        self._process = 0  # that has listened
        self._context_vars = contextvars.copy_context()  # of the code that made it, then of the code that called `listen`
        self._open: dict[TLSSocket, Handshake] = {}
        self._tasks = TaskGroup(self._check_closed)
        self._owner = SocketOwner(
            secured=self._secured,
            handshake_failed=self._handshake_failed,
            connection_failed=self._statistics.connection_failed,
            keylogged=partial(self._emit, "keylog"),
            closed=self._socket_closed,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False
        self._closes = 0  # how often `close` was called
        self._told_close = True
        self._is_stapling = False
        self._telling_error = False
        self._deadline: asyncio.TimerHandle | None = None
        self._close_waiters: Waiters = set()
        self._end_waiters: Waiters = set()
        self._lock = threading.Lock()  # contexts are exchanged by any thread
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
            port: 0 chooses a free one.
            host: A name or address; None: all addresses, IPv4 and IPv6, by one socket.
            path: A Unix socket instead; removed when the server closes.
            sock: Sockets that are bound already, instead; the server owns them.
            backlog: Connections the kernel keeps for us.
            reuse_port: Several processes may listen on the port.

        Raises:
            UsageError: a wrong argument, it listens already, or `close` was called meanwhile.
                OSError: the address cannot be had.
            Given sockets are then as they were, and still open.
        """
        self._check_process()
        self._check_not_listening()
        closes = self._closes
        opened, backlog = await open_listening(port, host, path=path, sock=sock, reuse_port=reuse_port, backlog=backlog)
        try:
            await self._ticket_keys.start()
            self._check_not_listening()  # all that takes time
            self._check_not_closed(closes)
            self._warn_of_missing_staples()
            opened.start(self._gate, current_reactor(), backlog)
        except BaseException:
            if not self.listening:
                self._gate.unlisten_all()
                self._ticket_keys.stop()
            opened.abandon()
            raise
        self._listening = opened
        self._loop = asyncio.get_running_loop()
        self._context_vars = contextvars.copy_context()
        self._process = os.getpid()
        self._closing = self._told_close = False
        self._stop_deadline()
        self._start_stapling()
        self._emit("listening")
        return self

    def _check_not_listening(self) -> None:
        if self.listening:
            raise UsageStateError("This server listens already", code="ERR_SERVER_ALREADY_LISTEN")

    def _check_not_closed(self, closes: int) -> None:
        if closes != self._closes:
            raise UsageStateError("The server was closed before it could listen", code="ERR_SERVER_NOT_RUNNING")

    def _check_process(self) -> None:
        if self._process and self._process != os.getpid():
            raise UsageStateError(
                "This server belongs to the parent process",
                code="ERR_TLS_FORKED",
                hint="Fork before listen, or make a server in the child.",
            )

    def _warn_of_missing_staples(self) -> None:
        if self._policy.asks_status:
            return
        for certificate in (parse(one) for one, _ in self._policy.names.identities):
            if certificate.requires_staple:
                name = certificate.subject_name.describe()
                _log.warning('The certificate "%s" is good only with an OCSP response (must-staple): set stapling=True', name)

    def _start_stapling(self) -> None:
        """Let the stapler look after what there is now."""
        if self._policy.stapler is not None and not self._closing:
            with self._lock:
                identities = self._policy.names.identities
            self._policy.stapler.watch(self, identities)
            self._is_stapling = True

    def _identities_changed(self) -> None:
        if self._is_stapling and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._start_stapling)

    def _stop_stapling(self) -> None:
        if self._is_stapling and self._policy.stapler is not None and self._loop is not None and not self._loop.is_closed():
            self._policy.stapler.release(self)
        self._is_stapling = False

    def address(self) -> ServerAddress | str | None:
        """Where it listens; the path of a Unix socket; None before `listen` and after `close`."""
        return self._listening.address if self._listening is not None else None

    @property
    def port(self) -> int | None:
        """The first TCP port it listens on."""
        address = self.address()
        return address["port"] if isinstance(address, dict) else None

    @property
    def listening(self) -> bool:
        """Whether it accepts connections."""
        return self._listening is not None

    @property
    def connections(self) -> int:
        """Open connections, those in a handshake included."""
        return self._statistics.connections

    @property
    def max_connections(self) -> int | None:
        """Connections beyond it are closed before TLS; None: no limit."""
        return self._gate.max_connections

    @max_connections.setter
    def max_connections(self, value: int | None) -> None:
        self._gate.max_connections = check_limit("max_connections", value)

    @property
    def drop_max_connection(self) -> bool:
        """What happens beyond `max_connections`. True: closed at once, `drop` tells it. False: the kernel keeps them in its queue.

        Where processes share the listening socket, one that still has room accepts what is left in
        the queue. (Node: `dropMaxConnection`.)
        """
        return not self._gate.queues_beyond

    @drop_max_connection.setter
    def drop_max_connection(self, value: bool) -> None:
        self._gate.queues_beyond = not check_bool("drop_max_connection", value)

    # ---- contexts

    def add_context(self, hostname: str, context: SecureContext | ContextOptionsDict) -> None:
        """Serve `hostname` with a context of its own; a `*` stands for a part of one label. The last added match wins.

        What the context leaves unset is the server's. An existing name is replaced. Any thread.

        Raises:
            UsageError: no name (ERR_TLS_REQUIRED_SERVER_NAME), or a wrong option. ConfigError:
                nothing was changed.
        """
        given = parse_context(context)
        with self._lock:
            self._policy.names.add(hostname, given)
        self._update_wants()
        self._identities_changed()

    def remove_context(self, hostname: str) -> None:
        """Serve `hostname` with the default context again; one that is not there is fine. Any thread."""
        with self._lock:
            self._policy.names.remove(hostname)
        self._update_wants()
        self._identities_changed()

    def set_secure_context(self, context: SecureContext | None = None, /, **options: Unpack[ContextOptionsDict]) -> None:
        """Exchange the default context for new connections; what is not given keeps its value. Any thread.

        Raises:
            UsageError, ConfigError: nothing was changed.
        """
        if context is not None and options:
            raise UsageTypeError("Give a context or options, not both", code="ERR_INCOMPATIBLE_OPTION_PAIR")
        given = parse_context(options if context is None else context)
        keys = (given.options if isinstance(given, SecureContext) else given).ticket_keys
        with self._lock:
            names = self._policy.names
            made = for_server(given, current=names.default, initial=names.initial)
            if keys is not None:
                self._ticket_keys.replace(keys)
            names.replace_default(made)
            self._gate.set_context(made.native)
        self._update_wants()
        self._identities_changed()

    def get_ticket_keys(self) -> bytes:
        """The key that encrypts session tickets, 48 bytes: 16 name, 16 HMAC, 16 AES. A secret."""
        return self._ticket_keys.ring.first()

    def set_ticket_keys(self, keys: Any) -> None:
        """Use other ticket keys. Any thread.

        Args:
            keys: 48 bytes: in front, older keys decrypt for one `session_timeout` more. A list:
                replaces all.

        Raises:
            UsageTypeError, UsageValueError: wrong keys; the old ones stay. UsageStateError: they
                come from a source.
        """
        self._ticket_keys.use(keys)

    # ---- hooks and listeners

    def _add(self, event: str, fn: Any, entry: Any) -> Any:
        self._check_event(event)
        if event not in HOOKS:
            return super()._add(event, fn, entry)
        (check_plain_function if event == "psk_callback" else check_function)(event, fn)
        if entry is not fn:
            raise UsageTypeError(f"{event} answers every connection: set it by on(), not once()")
        default = self._policy.names.default.options
        if event in SESSION_HOOKS and self._policy.sessions.store is not None:
            raise UsageTypeError(f"{event} and session_store exclude each other", code="ERR_INCOMPATIBLE_OPTION_PAIR")
        taken = {"alpn_callback": default.alpn_callback, "ocsp_request": self._policy.stapler}
        if event in self._policy.hooks or taken.get(event) is not None:
            raise UsageStateError(
                f"There is a {event} already", hint=f"A hook gives the one answer: off({event!r}, ...) the old one first."
            )
        if event == "alpn_callback" and default.alpn_protocols is not None:
            raise UsageTypeError("alpn_callback and alpn_protocols exclude each other", code="ERR_TLS_ALPN_CALLBACK_WITH_PROTOCOLS")
        self._policy.hooks[event] = fn
        self._update_wants()
        return fn

    def off(self, event: str, fn: Any) -> None:
        """Take a listener or hook away; one that is not there is fine."""
        self._check_event(event)
        if event not in HOOKS:
            super().off(event, fn)
        elif self._policy.hooks.get(event) == fn:
            del self._policy.hooks[event]
            self._update_wants()

    def _listeners_changed(self, event: str) -> None:
        if event != "secure_connection":
            self._update_wants()

    def _update_wants(self) -> None:
        """Tell the gate which questions and notices are worth a call."""
        policy, records = self._policy, self._side.diagnostics
        wants = policy.wants
        self._gate.set_wants(**wants, accepted=self._has("connection"), dropped=self._has("drop"))
        self._gate.record(keys=records.keys or self._has("keylog"), offer=records.offer or policy.asks_with_hello, trace=records.trace)
        self._gate.store = policy.sessions.sync_store
        self._gate.wants_socket = bool(policy.hooks or policy.crls or (wants["sessions"] and self._gate.store is None)) or wants["alpn"]
        self._gate.wants_failures = self._has("tls_client_error") or self._has("client_error")

    # ---- news from the gate

    def _find(self, name: str) -> Context | None:
        """The native context for a name; None: the default. No socket is made for it."""
        found = self._policy.names.find(name)
        return None if found is None else found.native

    def _adopt(self, connection: Connection) -> None:
        loop, names, name = asyncio.get_running_loop(), self._policy.names, connection.server_name
        handshake = Handshake(connection, loop, (names.find(name) if name else None) or names.default)
        # The reactor runs in no context of its own: a connection's variables are those that
        # `listen` was called with.
        sock = make_socket(handshake, self._side, loop, variables=self._context_vars.copy(), owner=self._owner)
        self._open[sock] = handshake

    def _connected(self, address: Address) -> None:
        self._context_vars.copy().run(self._emit, "connection", address)

    def _dropped(self, address: Address) -> None:
        self._context_vars.copy().run(self._emit, "drop", address)

    def _accept_failed(self, number: int) -> None:
        error = OSError(number, os.strerror(number))
        error.add_note("A connection could not be accepted; it waits, and is tried again in a moment.")
        if not self._context_vars.copy().run(self._emit, "error", error):
            _log.warning("accept failed: %s", error)

    # ---- news from sockets

    def _secured(self, sock: TLSSocket, ended: Callable[[asyncio.Task[Any]], object]) -> None:
        for function in self._callables("secure_connection"):
            if (awaitable := find_awaitable(function(sock))) is not None:
                self._tasks.run(as_coroutine(awaitable), ended)

    def _handshake_failed(self, sock: TLSSocket, error: BaseException, of_hook: bool) -> None:  # noqa: FBT001 - called by the socket
        self._statistics.handshake_failed(error)
        heard = self._emit("tls_client_error", error, sock)
        if self._emit("client_error", error, sock) or heard:
            return
        if of_hook:
            self._report(error, f"a hook failed ({sock!r})")
        else:
            _log.debug("%r: handshake failed: %s", sock, error)

    def _session_failed(self, error: BaseException) -> bool:
        return self._emit("error", error)

    def _socket_closed(self, sock: TLSSocket) -> None:
        self._statistics.closed(sock)
        handshake = self._open.pop(sock, None)  # None: `upgrade` found no room for it
        if handshake is not None and handshake.tasks:
            for task in handshake.tasks:
                self._tasks.add(task)
        self._check_closed()

    def _spawn(self, awaitable: Awaitable[Any]) -> None:
        failed = self._report if self._telling_error else self._listener_failed

        def ended(task: asyncio.Task[Any]) -> None:
            error = failure_of_task(task)
            if error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):  # those the loop has raised
                failed(error)

        self._tasks.run(as_coroutine(awaitable), ended)

    def _listener_failed(self, error: BaseException) -> None:
        """A listener of the server raised: `error` listeners hear it, else the loop's handler; that hears what those raise."""
        if self._telling_error or not self._has("error"):
            self._report(error)
            return
        self._telling_error = True
        try:
            self._emit("error", error)
        finally:
            self._telling_error = False

    @staticmethod
    def _report(error: BaseException, what: str = "a listener of a server failed") -> None:
        asyncio.get_running_loop().call_exception_handler({"message": f"tlsio: {what}", "exception": error})

    # ---- STARTTLS

    async def upgrade(self, stream: Any) -> TLSSocket:
        """Speak TLS on a stream that was accepted by somebody else: the server side of STARTTLS.

        Contexts, hooks, limits and listeners are this server's; the `secure_connection` listener is
        called for it too.

        Raises:
            TLSError: the handshake failed, after `tls_client_error`. ConnectionLostError:
                `max_connections` is reached, or the server was closed meanwhile.
            UsageError: no stream, which is left alone, or keys of a source that cannot be used.
            Whatever else is raised, and when it is cancelled: the stream is closed.
        """
        self._check_process()
        loop = self._loop = asyncio.get_running_loop()
        closes = self._closes
        driver = open_driver(stream, self._side, loop)
        connection = driver.connection
        handshake = Handshake(connection, loop, self._policy.names.default)
        sock = make_socket(handshake, self._side, loop, driver=driver, owner=self._owner)
        try:
            connection.use_gate(self._gate)  # tickets, counters and limits
            if not self._is_stapling:
                self._start_stapling()
            await self._ticket_keys.start()
            self._check_room(driver.addresses[1], closes)  # after the last wait: others may have come
            if self._has("keylog"):
                connection.record(keys=True)
        except BaseException:
            sock.destroy()
            raise
        self._open[sock] = handshake
        self._statistics.upgraded.add(sock)
        return await sock.handshake()

    def _check_room(self, peer: Any, closes: int) -> None:
        if closes != self._closes:
            raise ConnectionLostError("The server was closed", code="ERR_SERVER_NOT_RUNNING")
        if self.max_connections is not None and self.connections >= self.max_connections:
            self._emit("drop", peer)
            raise ConnectionLostError("The server has max_connections open already", code="ERR_TLS_MAX_CONNECTIONS")

    # ---- closing

    def close(self, timeout: float | None = None) -> None:
        """Stop listening; open connections go on, for `timeout` seconds, then they are closed and async listeners cancelled.

        None waits for them without limit, 0 not at all. May be repeated.
        """
        self._check_process()
        self._closes += 1
        seconds = 0.0 if timeout == 0 and not isinstance(timeout, bool) else check_seconds("timeout", timeout)
        if self._listening is not None:
            self._gate.unlisten_all()
            self._listening.close()
            self._listening = None
        self._closing = self._gate.closing = True
        self._ticket_keys.stop()
        self._stop_stapling()
        wake(self._close_waiters)
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
        for sock, handshake in tuple(self._open.items()):
            running = tuple(handshake.tasks or ())  # a listener of `close`, which is about to be called, may run to its end
            sock.destroy()
            cancel_others(running)
        self._check_closed()

    @property
    def _is_idle(self) -> bool:
        return not self._open and not self._tasks and not self._gate.open_connections

    def _check_closed(self) -> None:
        """Also called by the gate, when a connection has gone that was no socket yet."""
        if not self._closing or not self._is_idle:
            return
        self._stop_deadline()
        if not self._told_close:
            self._told_close = True
            self._emit("close")
        if self._is_idle:  # an async listener of `close` may run still
            wake(self._end_waiters)

    async def wait_closed(self) -> None:
        """Wait until it is closed, its connections too and its listeners' tasks. Never raises their errors.

        Raises:
            UsageStateError: called by one of those listeners, or by a hook: it would wait for
                itself.
        """
        self._check_process()
        self._check_no_self_wait()
        while not self._closing or not self._is_idle:
            await wait_in(self._end_waiters)

    def _check_no_self_wait(self) -> None:
        task = asyncio.current_task()
        if task in self._tasks or any(one.is_waited_for(task) for one in self._open.values()):
            raise UsageStateError(
                "A listener of the server waits for its own end",
                code="ERR_TLS_SELF_WAIT",
                hint="Call close() here, and await wait_closed() outside of the server's listeners and hooks.",
            )

    async def serve_forever(self) -> None:
        """Wait until `close` is called; cancelled: close.

        Raises:
            UsageStateError: it does not listen.
        """
        self._check_process()
        if not self.listening and not self._closing:
            raise UsageStateError("This server does not listen", code="ERR_SERVER_NOT_RUNNING", hint="await server.listen(...) first.")
        if self._closing:
            return
        try:
            await wait_in(self._close_waiters)
        except asyncio.CancelledError:
            self.close()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        self.close(0 if cancelled else self._options.shutdown_timeout)
        try:
            await self.wait_closed()
        except asyncio.CancelledError:
            self.close(0)
            await self.wait_closed()
            raise

    # ---- numbers

    def stats(self) -> ServerStats:
        """What the server has done so far. Any thread."""
        return self._statistics.read(self._open)

    def __repr__(self) -> str:
        return f"<Server {'listening' if self.listening else 'closed'} connections={self.connections}>"
