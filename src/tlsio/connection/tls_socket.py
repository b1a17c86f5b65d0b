"""TLSSocket: what the user holds of one connection.

Here are the handshake, writing and ending; reading is in `socket_reading`. The engine's connection below tells its news by
`_asked`, `_opened`, `_readable`, `_drained`, `_input_ended`, `_finished`, `_broken`, `_await_listener` and `_listener_failed`,
always from the loop, never from inside an OpenSSL call.

The life of a socket: handshake → open → one or both directions ended → closed. `_fail` is the one way to die of an error,
`_close_now` the one way to be closed: it lets the stream go, wakes all who wait and emits `close`.

Invariants.
- An error is told to somebody: it is raised by the call that waits or comes next, given to `error` listeners, or reported by
  `_report`; `_error_taken` says whether the first two have happened.
- All that was read before an error or the end is given out before it.
- `end` comes after all data, and after the data listeners are done with it.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import warnings
from errno import errorcode
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from tlsio.connection.socket_reading import SocketReading
from tlsio.connection.stream_errors import IdleTimeoutError, IncompleteReadError
from tlsio.model.checks import check_bytes, check_filled_text
from tlsio.model.errors import (
    ConnectionLostError,
    HandshakeError,
    HandshakeTimeoutError,
    PeerError,
    TruncatedError,
    UsageStateError,
    UsageTypeError,
    UsageValueError,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType
    from typing import Self

    from tlsio.connection.client_side import ClientSide
    from tlsio.connection.portable_driver import PortableDriver
    from tlsio.connection.server_side import ServerSide
    from tlsio.connection.socket_events import SocketEvents
    from tlsio.native._core import Connection

    Buffer = bytes | bytearray | memoryview

__all__ = ["TLSSocket"]

_log = logging.getLogger("tlsio")

_CLOCK_STEP = 0.004  # the engine's clock of activities may be that much behind
_FAULTS_OF_PEERS = (PeerError, ConnectionLostError, HandshakeTimeoutError, IncompleteReadError)


class TLSSocket(SocketReading):
    """One TLS connection (Node: `tls.TLSSocket`).

    Made by `connect` and by servers; `TLSSocket(stream, ...)` wraps a byte stream: a socket, an asyncio (reader, writer), an
    anyio ByteStream or another TLSSocket, and owns it from then on. The client side of such a socket verifies as `connect` does.

    Events:
        secure: the handshake is done. `secure_connect`: and the server was let in (clients).
        ocsp_response(bytes or None): what the server stapled, before it is let in (clients that asked for it).
        data(bytes): plaintext, while a listener is there. `end`: the peer has ended. `drain`: writing may go on.
        session(bytes): the server gave a session to resume (clients); in TLS 1.3 more than one, after the handshake.
        timeout: nothing moved for as long as `set_timeout` says. `error(error)`, and last `close(had_error)`.
    """

    __slots__ = (
        "__weakref__",
        "_close_waiters",
        "_drainers",
        "_end_called",
        "_error_taken",
        "_idle_timeout",
        "_idle_timer",
        "_idle_told",
        "_opener",
        "_released",
        "_reshaker",
        "_tasks",
        "_timer",
    )

    _EVENTS: ClassVar[frozenset[str]] = frozenset(
        {"secure", "secure_connect", "ocsp_response", "data", "end", "drain", "timeout", "keylog", "session", "error", "close"}
    )

    if TYPE_CHECKING:
        on: SocketEvents  # type: ignore[assignment]  # a listener has to fit its event
        once: SocketEvents  # type: ignore[assignment]

    def __init__(self, stream: object, *, is_server: bool = False, **options: Any) -> None:
        """Wrap `stream`; `handshake`, or the first read or write, starts TLS.

        Args:
            stream: Connected; closed with the socket. What it holds already goes into TLS.
            is_server: Speak the server's part.
            options: Those of `connect`, of which `servername` or `host` is needed, or those of `create_server`.
        """
        from tlsio.connection.wrap import make_side, wrap_stream  # noqa: PLC0415  (it makes sockets, so it knows this module)

        wrap_stream(self, stream, make_side(options, is_server=is_server))

    def _set_up(
        self, connection: Connection, side: ClientSide | ServerSide, loop: asyncio.AbstractEventLoop, driver: PortableDriver | None = None
    ) -> None:
        super().__init__()
        self._connection = connection
        self._side = side
        self._settings = side.options
        self._loop = loop
        self._context_vars = contextvars.copy_context()
        self._driver = driver
        self._address = None
        self._context = None
        self._server: Any = None
        self._begun = side.is_server and driver is None  # a reactor shakes hands by itself
        self._secure = self._end_called = self._end_told = self._closing = self._closed = self._released = self._paused = False
        self._opener: asyncio.Future[None] | None = None  # who waits for the handshake
        self._reader = None
        self._reshaker: asyncio.Future[None] | None = None  # who waits for another handshake
        self._reading = False
        self._buffer = None
        self._awaited = 0
        self._drainers: list[asyncio.Future[None]] | None = None
        self._close_waiters: list[asyncio.Future[None]] | None = None
        self._tasks: set[asyncio.Task[Any]] | None = None
        self._hook = self._refused = self._mistake = None
        self._error = None
        self._error_taken = False
        self._raised = None
        self._timer: asyncio.TimerHandle | None = None  # the handshake's deadline, then the close's
        self._idle_timeout: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._trace_file: Any = None
        self._idle_told: float | None = None  # the last activity that `timeout` was told about
        if driver is not None:
            driver.context_vars = self._context_vars
            self._address = driver.addresses
        side.records.begin(connection)
        connection.bind(self, self._context_vars, side.options.high_water_mark)

    # ---- the handshake

    async def handshake(self) -> Self:
        """Do the handshake of a wrapped stream; the first read or write starts it too. Done already: returns at once.

        Raises:
            TLSError: why it failed.
            CancelledError: the connection is destroyed.
        """
        self._begin()
        if not self._secure and not self._closed:
            if self._opener is None:
                self._opener = self._loop.create_future()
            try:
                await asyncio.shield(self._opener)
            except asyncio.CancelledError:
                self.destroy()
                raise
        if self._error is not None:
            self._raise(self._error)
        if not self._secure:
            self._raise_closed()
        return self

    def set_servername(self, name: str) -> None:
        """Send this name to the server, and verify it: `servername` given late (Node: `setServername`, which verifies nothing).

        Raises:
            UsageTypeError: not a str. UsageValueError: no host name. UsageStateError: on a server (ERR_TLS_SNI_FROM_SERVER), the
                handshake has begun, or a session was offered, which is bound to the name before.
        """
        checked = check_filled_text("name", name)
        if self._begun:
            raise UsageStateError("The name is sent with the first message", code="ERR_TLS_INVALID_STATE")
        self._side.rename(self._connection, checked)

    def set_session(self, data: Buffer) -> None:
        """Offer an earlier session to the server: what the `session` event or `get_session` gave (Node: `setSession`).

        Raises:
            UsageTypeError: not bytes-like. UsageStateError: on a server, or the handshake has begun.
        """
        session = check_bytes("data", data)
        if self._begun:
            raise UsageStateError("A session is offered before the handshake", code="ERR_TLS_INVALID_STATE")
        self._side.offer_session(self._connection, session)

    def _begin(self) -> None:
        self._connection.check_caller()
        if self._begun or self._closed:
            return
        self._begun = True
        if self._settings.handshake_timeout is not None:
            self._timer = self._loop.call_later(self._settings.handshake_timeout, self._connection.expire)
        if self._driver is not None:
            self._driver.start()
        self._connection.start()

    # ---- writing

    def write(self, data: Buffer) -> bool:
        """Queue plaintext; it is copied before this returns. False: above the high-water mark, wait for `drain`.

        When the peer has failed the data is dropped and False returned: `drain`, `send` and `read` tell the error.

        Raises:
            UsageStateError: after our own end, close or destroy (ERR_STREAM_WRITE_AFTER_END).
            UsageTypeError: not bytes-like.
        """
        if type(data) is not bytes:
            _check_bytes(data)
        if self._end_called:
            raise UsageStateError("write after end", code="ERR_STREAM_WRITE_AFTER_END")
        if self._error is not None:
            return False
        if not self._begun:
            self._begin()
        return self._connection.write(data)

    async def drain(self) -> None:
        """Wait until at most the high-water mark waits to be sent. Many may wait.

        Raises:
            TLSError: what ended the connection.
        """
        self._connection.check_caller()
        self._check_writable()
        if self._connection.writable_length <= self._settings.high_water_mark:
            return
        waiter = self._loop.create_future()
        if self._drainers is None:
            self._drainers = []
        self._drainers.append(waiter)
        self._connection.await_drain()
        await waiter
        self._check_writable()

    async def send(self, data: Buffer) -> None:
        """Write and drain. Cancelled: the data stays queued."""
        self.write(data)
        await self.drain()

    def end(self, data: Buffer | None = None) -> Self:
        """End our direction: what is queued, close_notify, FIN. Reading goes on."""
        self._connection.check_caller()
        if data is not None:
            self.write(data)
        if not self._end_called:
            self._end_called = True
            self._connection.end()
        return self

    def _check_writable(self) -> None:
        if self._error is not None:
            self._raise(self._error)
        if number := self._connection.out_error:
            code = errorcode.get(number)
            self._raise(ConnectionLostError(f"The peer takes no data any more: {os.strerror(number)}", code=code))
        if self._closed and not self._connection.output_ended:
            self._raise_closed()

    # ---- another handshake

    async def renegotiate(self, *, request_cert: bool | None = None, reject_unauthorized: bool | None = None) -> None:
        """Shake hands again. TLS 1.2: renegotiation, of either side. TLS 1.3: a server asks the client for its certificate.

        The answer comes between the peer's data: somebody has to read what is sent before it. `check_client` is asked again.

        Args:
            request_cert: Servers: ask for a certificate; None leaves it as it is (TLS 1.3: asks).
            reject_unauthorized: A bad certificate, or none, ends the connection; None: as the context has it.

        Raises:
            UsageStateError: not open, asked already, or (TLS 1.3) not a server.
            HandshakeError: the client cannot be asked (`ERR_SSL_EXTENSION_NOT_RECEIVED`).
            TLSError: it failed, and with it the connection. Cancelled: it goes on.
        """
        self._connection.check_caller()
        for name, value in (("request_cert", request_cert), ("reject_unauthorized", reject_unauthorized)):
            if value is not None and not isinstance(value, bool):
                raise UsageTypeError(f"{name} must be a bool or None, got {type(value).__name__}")
        if self._reshaker is not None:
            raise UsageStateError("A handshake is asked for already")
        if not self._secure or self._closed or self._end_called:
            raise UsageStateError("Only an open connection can shake hands again")
        modern = self.get_protocol() == "TLSv1.3"
        if modern and not self._side.is_server:
            raise UsageStateError("TLS 1.3 has no renegotiation", code="ERR_SSL_WRONG_SSL_VERSION")
        if request_cert is None and modern:
            request_cert = True
        verify, soft = self._side.verification(self, request=request_cert, reject=reject_unauthorized)
        reason = self._connection.reshake(verify, soft)
        if reason is not None:
            raise HandshakeError(
                f"The handshake cannot be repeated: {reason}",
                code=f"ERR_SSL_{reason.upper().replace(' ', '_')}",
                reason=reason,
                hint="The client has to offer post-handshake authentication." if modern else None,
            )
        self._reshaker = self._loop.create_future()
        try:
            await self._reshaker
        finally:
            self._reshaker = None
        if self._error is not None:
            self._raise(self._error)
        if self._closed:
            raise ConnectionLostError("The socket is closed", code="ERR_SOCKET_CLOSED")

    def disable_renegotiation(self) -> None:
        """A renegotiation by the peer ends the connection from now on (ERR_TLS_RENEGOTIATION_DISABLED)."""
        self._connection.refuse_renegotiation()

    def _reshaken(self) -> None:
        if self._reshaker is not None and not self._reshaker.done():
            self._reshaker.set_result(None)

    # ---- ending

    def close(self) -> None:
        """End, throw away what still comes, and be closed when the peer has ended too, or makes no progress for `close_timeout`."""
        self._connection.check_caller()
        if self._closed or self._closing:
            return
        if not self._secure and not self._connection.holds_plaintext:
            self.destroy()
            return
        self._end_called = self._closing = True
        self._buffer = None
        self._set_idle_timer(None)
        self._connection.set_flow(None)
        self._connection.close()
        self._wake_reader()
        self._watch_close()

    def _watch_close(self, before: int = -1) -> None:
        """Look again and again whether anything has moved."""
        moved = self._connection.wire_bytes_read + self._connection.wire_bytes_written
        timeout = self._settings.close_timeout
        if moved == before:
            self._close_now()
        elif timeout is not None:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(timeout, self._watch_close, moved)

    def destroy(self, error: BaseException | None = None) -> Self:
        """Close at once, without close_notify. Who waits or reads later gets `error`, else ERR_SOCKET_CLOSED."""
        self._connection.check_caller(in_child=True)  # which has copies to be closed
        if error is not None:
            self._die(error)
        self._end_called = self._closing = True
        self._buffer = None
        self._close_now()
        return self

    async def wait_closed(self) -> None:
        """Wait until the connection is closed; when it ended in order its stream is closed too. Never raises its error."""
        if self._released:
            return
        self._connection.check_caller()
        waiter = self._loop.create_future()
        if self._close_waiters is None:
            self._close_waiters = []
        self._close_waiters.append(waiter)
        await waiter

    async def aclose(self) -> None:
        """Close and wait; cancelled: closed at once."""
        self.close()
        try:
            await self.wait_closed()
        except asyncio.CancelledError:
            self.destroy()
            raise

    async def __aenter__(self) -> Self:
        return await self.handshake()

    async def __aexit__(self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        if kind is not None:
            self.destroy()
        await self.aclose()

    # ---- news from the engine

    def _asked(self, question: int) -> None:
        self._side.asked(self, question)

    def _opened(self) -> None:
        self._secure = True
        if self._timer is not None and not self._closing:
            self._timer.cancel()
            self._timer = None
        if self._server is not None:
            self._server._secured(self)  # noqa: SLF001
        self._emit("secure")
        if not self._side.is_server:
            self._emit("secure_connect")
        self._opener = self._wake_one(self._opener)
        if not self._connection.has_flow:
            self._update_flow()

    def _readable(self) -> None:
        self._wake_reader()

    def _drained(self) -> None:
        self._drainers = self._wake(self._drainers)
        self._emit("drain")

    def _input_ended(self, truncated: bool) -> None:  # noqa: FBT001  (the engine's way to call)
        if truncated and not self._closing and not self._settings.allow_truncation:
            self._count(TruncatedError())
        self._wake_reader()
        self._tell_end()

    def _tell_end(self) -> None:
        """Tell the end of input, once, when the data listeners have had all that came before it."""
        flowing = self._has("data")
        if self._end_told or self._closing or self._closed or (flowing and (self._paused or self._awaited or self._buffer)):
            return
        self._end_told = True
        if not self._connection.truncated or self._settings.allow_truncation:
            self._emit("end")
            if flowing and not self._settings.allow_half_open:
                self.end()
        elif flowing:
            self._fail(TruncatedError())
        if self._connection.output_ended:
            self._close_now()

    def _finished(self) -> None:
        """Both directions have ended. Whoever has paused is told of it first."""
        if self._end_told or self._closing:
            self._close_now()

    def _broken(self) -> None:
        error = self._find_failure()
        if self._driver is not None and error is not self._refused:
            error.__cause__ = self._driver.failure
        self._die(error)

    def _die(self, error: BaseException) -> None:
        """Tell it to whom it concerns: of a server's handshake the server, of all else the socket."""
        if self._secure or self._server is None:
            self._fail(error, of_user=error is self._mistake and self._side.is_server)  # a client's is always reported
        elif not self._closed and self._error is None:
            self._error = error
            self._error_taken = True
            self._server._handshake_failed(self, error)  # noqa: SLF001
            self._close_now()

    # ---- the end

    def _fail(self, error: BaseException, *, of_user: bool = False) -> None:
        """Die of an error: all who wait get it, all later calls too, and the listeners.

        Args:
            error: What to tell.
            of_user: Raised by the user's code, so that even a server's is reported when nobody takes it.
        """
        if self._closed or self._error is not None:
            return
        self._error = error
        self._error_taken = self._closing  # whoever closes does not want to know any more
        if not isinstance(error, TruncatedError) and not self._closing:  # that was counted when it came
            self._count(error)
        waiting = self._opener or self._reader or self._drainers
        if self._emit("error", error):
            self._error_taken = True
        self._close_now()
        if not waiting and (of_user or self._has("data")):  # nobody will come and ask
            self._tell_untaken(of_user=of_user)

    def _close_now(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._end_told = True
        if self._hook is not None:
            self._hook.cancel()
            self._hook = None
        self._side.gone()
        self._set_idle_timer(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        connection = self._connection
        at_once = not self._secure and self._error is None
        connection.destroy(linger=not at_once)
        connection.release()
        self._wake_reader()
        self._reshaken()
        self._drainers = self._wake(self._drainers)
        self._opener = self._wake_one(self._opener)
        self._emit("close", self._error is not None)
        drain = not at_once and not connection.input_ended
        letting_go = None if self._driver is None else self._driver.close(at_once=at_once, drain=drain)
        if letting_go is None or drain:  # last words leave behind our back: nobody is to wait for a peer that goes on
            self._release()
        else:
            letting_go.add_done_callback(lambda _task: self._release())

    def _release(self) -> None:
        """The stream is let go."""
        self._released = True
        if self._server is not None:
            self._server._closed_socket(self)  # noqa: SLF001
        self._close_waiters = self._wake(self._close_waiters)

    @staticmethod
    def _wake_one(waiter: asyncio.Future[None] | None) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    @classmethod
    def _wake(cls, waiters: list[asyncio.Future[None]] | None) -> None:
        for waiter in waiters or ():
            cls._wake_one(waiter)

    # ---- errors

    def _raise(self, error: BaseException) -> NoReturn:
        """Tell the connection's error to a caller."""
        self._error_taken = True
        self._raised = error
        raise error

    def _raise_closed(self) -> NoReturn:
        self._raise(ConnectionLostError("The socket is closed", code="ERR_SOCKET_CLOSED"))

    def _listener_failed(self, error: BaseException) -> None:
        """Code of the user raised: the socket ends with that. What it only passed on is the connection's error."""
        if error is self._raised:
            self._error_taken = False
            self._report(error, of_user=False)
            self.destroy()
        elif self._closed or self._error is not None:
            self._report(error, of_user=True)
        else:
            self._fail(error, of_user=True)

    def _count(self, error: BaseException) -> None:
        """A server counts what its peers and the network do to open connections, whoever hears of it."""
        if self._secure and self._server is not None and isinstance(error, _FAULTS_OF_PEERS):
            self._server._connection_failed(error)  # noqa: SLF001

    def _tell_untaken(self, *, of_user: bool) -> None:
        if self._error is not None and not self._error_taken:
            self._report(self._error, of_user=of_user)

    def _report(self, error: BaseException, *, of_user: bool) -> None:
        """Nobody took the error. A server's peers are its daily bread; all else is the application's matter."""
        self._error_taken = True
        if self._side.is_server and not of_user and isinstance(error, _FAULTS_OF_PEERS):
            _log.debug("%r: %s", self, error)
        elif not self._loop.is_closed():
            what = "a listener failed" if of_user else "an error nobody took"
            self._loop.call_exception_handler({"message": f"tlsio: {what} ({self!r})", "exception": error})

    def __del__(self) -> None:
        if getattr(self, "_error", None) is not None:
            self._tell_untaken(of_user=False)
        elif hasattr(self, "_idle_told"):  # set up to the end
            self._warn_unclosed()

    def _warn_unclosed(self) -> None:
        """A client's socket was dropped open: there is neither a variable nor a listener that could close it. Servers keep theirs."""
        if self._side.is_server or not self._begun or self._closed or self._closing or self._listeners:
            return
        try:
            self._connection.check_caller()
        except UsageStateError as error:
            if error.code == "ERR_TLS_FORKED":  # it is the parent's to close
                return
        warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=1, source=self)

    # ---- tasks and timers

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run an async listener as a task of this socket."""
        task = self._loop.create_task(coroutine)
        if self._tasks is None:
            self._tasks = set()
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        if self._tasks is not None:
            self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._listener_failed(error)

    def _is_waited_for(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether the socket ends only after this task: one of a listener, or of the hook that is asked."""
        return bool(self._tasks and task in self._tasks) or (self._hook is not None and self._hook.is_run_by(task))

    def set_timeout(self, seconds: float | None) -> Self:
        """Emit `timeout` when no plaintext moved for so long; without a listener the socket is destroyed. None: never."""
        if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float)):
            raise UsageTypeError(f"seconds must be a number or None, got {type(seconds).__name__}")
        if seconds is not None and not 0 < seconds < float("inf"):
            raise UsageValueError(f"seconds must be more than 0, got {seconds}", code="ERR_OUT_OF_RANGE")
        self._connection.check_caller()
        if not self._closed and not self._closing:
            self._idle_timeout = seconds
            self._idle_told = None
            self._set_idle_timer(seconds)
        return self

    def _set_idle_timer(self, seconds: float | None) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._idle_timer = None if seconds is None else self._loop.call_later(seconds, self._check_idle)

    def _check_idle(self) -> None:
        assert self._idle_timeout is not None  # noqa: S101 - for the type checker
        last = self._connection.last_activity
        left = last + _CLOCK_STEP + self._idle_timeout - self._loop.time()
        if left > 0:
            self._set_idle_timer(left)
        elif not self._has("timeout"):
            self._fail(IdleTimeoutError())
        else:
            self._set_idle_timer(self._idle_timeout)
            if self._idle_told != last:  # once for each time it falls silent
                self._idle_told = last
                self._emit("timeout")

    # ---- state

    @property
    def closed(self) -> bool:
        """Both directions are over, and `close` was emitted."""
        return self._closed

    @property
    def readable(self) -> bool:
        """There may be more to read."""
        return not self._closed and not self._closing and not self._connection.input_ended

    @property
    def writable(self) -> bool:
        """What is written will be sent."""
        return not self._end_called and not self._closed and not self._connection.out_error

    def __repr__(self) -> str:
        role = "server" if self._side.is_server else "client"
        state = "closed" if self._closed else "closing" if self._closing else "open" if self._secure else "connecting"
        peer = f"{self.remote_address}:{self.remote_port}" if self.remote_address is not None else "stream"
        return f"<TLSSocket {role} {state} peer={peer} {self.get_protocol() or 'no TLS yet'}>"

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        raise UsageTypeError("A TLSSocket is neither pickled nor copied")


def _check_bytes(data: object) -> None:
    if isinstance(data, str):
        raise UsageTypeError("write takes bytes, got str", hint="Encode it: write(text.encode()).")
    try:
        memoryview(data)  # type: ignore[arg-type]
    except TypeError:
        raise UsageTypeError(f"write takes bytes-like data, got {type(data).__name__}") from None
