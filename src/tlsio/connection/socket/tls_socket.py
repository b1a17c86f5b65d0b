"""TLSSocket: the public object of one connection.

This module has the handshakes and writing; reading is in `reading`, ending in `closing`, and the
states with their transitions in `lifecycle`. The engine's connection notifies it by `_asked`,
`_opened`, `_readable`, `_drained`, `_input_ended`, `_finished`, `_broken`, `_rehandshake_done`,
`_listener_returned` and `_listener_failed`, always from the loop, never from inside an OpenSSL
call. If tlsio's own code raises in one of them, the exception is passed to `_crashed`.
"""

from __future__ import annotations

import asyncio
import contextvars
import warnings
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn

from tlsio.connection.handshake.handshake import Handshake
from tlsio.connection.handshake.start import make_side, open_driver
from tlsio.connection.socket.closing import SocketClosing
from tlsio.connection.socket.lifecycle import CLOSED, DROPPED, HANDSHAKING, IDLE, OPEN, READABLE, WRITABLE, PendingEvents
from tlsio.connection.tasks import running_loop
from tlsio.connection.waiters import wait_in, wake
from tlsio.model.checks import check_bytes, check_filled_text
from tlsio.model.errors import ConnectionLostError, HandshakeError, UsageStateError, UsageTypeError, UsageValueError
from tlsio.model.explanations import NO_ANSWER_HINT
from tlsio.model.exported import exported
from tlsio.model.options.connection import HIGH_WATER_MARK, STREAM_HIGH_WATER_MARK
from tlsio.model.other_names import SOCKET_NAMES
from tlsio.native._core import REHANDSHAKE_DROPPED, REHANDSHAKE_UNJUDGED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from tlsio.connection.context.secure_context import SecureContext
    from tlsio.connection.drivers.portable import PortableDriver
    from tlsio.connection.handshake.side import HandshakeSide
    from tlsio.connection.socket.events import SocketEvents
    from tlsio.connection.socket.owner import SocketOwner
    from tlsio.model.checks import BytesLike


__all__ = ["SOCKET_EVENTS", "TLSSocket", "internals_of", "make_socket", "wrap_stream"]

SOCKET_EVENTS = frozenset(
    {"secure", "secure_connect", "ocsp_response", "data", "end", "drain", "timeout", "keylog", "session", "error", "close"}
)


@exported
class TLSSocket(SocketClosing):
    """One TLS connection (Node: `tls.TLSSocket`).

    `connect` and servers create sockets. `TLSSocket(stream, ...)` wraps a byte stream (a socket, an
    asyncio (reader, writer), an anyio ByteStream or another TLSSocket) and owns it from then on. As
    a client it verifies the server as `connect` does.

    Events:
        secure: the handshake is done.
        secure_connect: the handshake is done and the server was accepted (clients).
        ocsp_response(bytes or None): the stapled response, before the server is accepted (clients
            that requested it).
        data(bytes): plaintext, while there is a listener.
        end: the peer has ended its direction.
        drain: the queue is no longer above the high-water mark; writing may continue.
        session(bytes): a session that can be resumed (clients); in TLS 1.3 several, after the
            handshake.
        timeout: no data moved for the time given to `set_timeout`.
        error(error): the connection failed.
        close(had_error): the connection is closed; the last event.
    """

    __slots__ = ("__weakref__",)

    _EVENTS: ClassVar[frozenset[str]] = SOCKET_EVENTS
    _OTHER_NAMES: ClassVar[Mapping[str, str]] = SOCKET_NAMES

    if TYPE_CHECKING:
        on: SocketEvents  # type: ignore[assignment]  # listeners are checked by event
        once: SocketEvents  # type: ignore[assignment]

    def __init__(self, stream: object, *, is_server: bool = False, **options: Any) -> None:
        """Wrap `stream`; `handshake`, or the first read or write, starts TLS.

        Args:
            stream: A connected stream, which the socket closes when it is closed itself. Bytes that
                the stream has already buffered are processed as TLS input.
            is_server: Act as the server.
            options: The options of `connect`, which must include `servername=` or `host=`, or those
                of `create_server`.
        """
        side = make_side(options, is_server=is_server)
        loop = running_loop()
        driver = open_driver(stream, side, loop)
        self._set_up(Handshake(driver.connection, loop), side, loop, driver)

    def _set_up(  # noqa: PLR0913, PLR0917  (the parameters of make_socket)
        self,
        handshake: Handshake,
        side: HandshakeSide,
        loop: asyncio.AbstractEventLoop,
        driver: PortableDriver | None = None,
        addresses: tuple[Any, Any] | None = None,
        variables: contextvars.Context | None = None,
        owner: SocketOwner | None = None,
    ) -> None:
        super().__init__()
        self._handshake = handshake
        self._connection = connection = handshake.connection
        self._side = side
        self._settings = side.options
        self._loop = loop
        self._context_vars = contextvars.copy_context() if variables is None else variables
        self._driver = driver
        self._address = addresses if driver is None else driver.addresses
        self._owner = owner
        # The reactor starts the handshake of a connection that it accepts.
        self._init_state(HANDSHAKING if side.is_server and driver is None else IDLE)
        self._paused = self._reading = self._error_handled = False
        self._running_listeners = self._emitting = 0
        self._pending_events = PendingEvents.NONE
        self._handshake_waiter = self._read_waiter = self._rehandshake_waiter = None
        self._drain_waiters = self._close_waiters = None
        self._buffer = self._closing = None
        self._error = self._last_raised = self._last_reported = None
        self._handshake_timer = self._idle_timer = self._idle_timeout = self._silent_since = None
        self._trace_file: Any = None
        given = side.options.high_water_mark
        default = HIGH_WATER_MARK if driver is None else STREAM_HIGH_WATER_MARK
        self._high_water = default if given is None else given
        side.diagnostics.attach(connection)
        connection.bind(self, self._context_vars, self._high_water)

    # ---- the handshake

    async def handshake(self) -> Self:
        """Wait for the handshake, and start it if needed; the first read or write starts it too.

        Raises:
            TLSError: the handshake failed.
            CancelledError: the connection is destroyed.
        """
        self._begin()
        if self._phase is HANDSHAKING:
            if self._handshake_waiter is None:
                self._handshake_waiter = self._loop.create_future()
            try:
                await asyncio.shield(self._handshake_waiter)
            except asyncio.CancelledError:
                self.destroy()
                raise
            if self._handshake.is_done:  # an error directly after the handshake is raised by the next call
                return self
        if self._error is not None:
            self._raise(self._error)
        if not self._handshake.is_done:
            self._raise_closed()
        return self

    def set_servername(self, name: str) -> None:
        """Set the server's name, as `servername=` does; the server is verified by it.

        (Node: `setServername`, which does not change the verification.)

        Raises:
            UsageTypeError: `name` is not a str.
            UsageValueError: `name` is not a host name.
            UsageStateError: on a server (ERR_TLS_SNI_FROM_SERVER), after the handshake has started,
                or after a session was set, which is bound to the previous name.
        """
        checked = check_filled_text("name", name)
        if self._phase is not IDLE:
            raise UsageStateError("The server name must be set before the handshake", code="ERR_TLS_INVALID_STATE")
        self._side.set_server_name(self._connection, checked)

    def set_session(self, data: BytesLike) -> None:
        """Offer an earlier session, from the `session` event or `get_session`, to the server.

        (Node: `setSession`.)

        Raises:
            UsageTypeError: `data` is not bytes-like.
            UsageStateError: on a server, or after the handshake has started.
        """
        session = check_bytes("data", data)
        if self._phase is not IDLE:
            raise UsageStateError("A session must be set before the handshake", code="ERR_TLS_INVALID_STATE")
        self._side.offer_session(self._connection, session)

    def _begin(self) -> None:
        if self._phase is not IDLE:
            return
        self._move_phase(HANDSHAKING)
        self._set_handshake_deadline(self._settings.handshake_timeout)
        if self._driver is not None:
            self._driver.start()
        self._connection.start()

    def _opened(self) -> None:
        self._move_phase(OPEN)
        self._handshake.is_done = True
        if self._handshake_timer is not None:
            self._set_handshake_deadline(None)
        if self._owner is not None:
            try:
                self._owner.secured(self, self._owning_listener_done)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # noqa: BLE001  (user code)
                self._listener_failed(error)
        if self._phase is OPEN:
            self._emit("secure")
        if self._phase is OPEN and not self._side.is_server:
            self._emit("secure_connect")
        if self._handshake_waiter is not None and not self._handshake_waiter.done():
            self._handshake_waiter.set_result(None)
        self._handshake_waiter = None
        if not self._connection.has_flow:
            self._update_flow()

    # ---- writing

    def write(self, data: BytesLike) -> bool:
        """Queue plaintext, which is copied.

        After a failure of the connection the data is dropped; `drain`, `send` and `read` raise the
        error.

        Returns:
            False if the queue is above the high-water mark (wait for `drain`), or the connection
            failed.

        Raises:
            UsageStateError: after `end`, `close` or `destroy` (ERR_STREAM_WRITE_AFTER_END).
            UsageTypeError: `data` is not bytes-like.
        """
        if type(data) is not bytes:
            _check_bytes(data)
        if self._output is not WRITABLE:
            raise UsageStateError(
                "write after end",
                code="ERR_STREAM_WRITE_AFTER_END",
                hint="The socket was ended by end(), close(), or the end of `async with`: write before that.",
            )
        if self._error is not None:
            return False
        if self._phase is IDLE:
            self._begin()
        elif self._silent_since is not None:
            self._end_silence()
        return self._connection.write(data)

    async def drain(self) -> None:
        """Wait until the queue is not above the high-water mark. Calls may overlap.

        Raises:
            TLSError: the connection failed.
        """
        self._connection.check_caller()
        # If sending has failed, the peer's alert may explain it, which the engine reads next.
        may_be_explained = self._connection.out_error and self._error is None and self._phase < CLOSED
        if not may_be_explained:
            self._check_writable()
            if self._connection.writable_length <= self._high_water:
                return
        if self._drain_waiters is None:
            self._drain_waiters = {}
        self._connection.await_drain()
        await wait_in(self._drain_waiters)
        self._check_writable()

    async def send(self, data: BytesLike) -> None:
        """Write and drain. After a cancellation the data stays queued."""
        self.write(data)
        await self.drain()

    def end(self, data: BytesLike | None = None) -> Self:
        """End our direction: send the queued data, close_notify, FIN. Reading remains possible."""
        self._connection.check_caller()
        if data is not None:
            self.write(data)
        self._end()
        return self

    def _end(self) -> None:
        if self._output is WRITABLE:
            self._finish_output()
            if self._phase is IDLE:
                self._begin()
            if self._phase < CLOSED:
                self._connection.end()

    def _check_writable(self) -> None:
        if self._error is not None:
            self._raise(self._error)
        if self._connection.out_error:
            self._raise(self._find_output_error())
        if self._phase >= CLOSED and not self._connection.output_ended:
            self._raise_closed()

    def _drained(self) -> None:
        if self._drain_waiters:
            wake(self._drain_waiters)
        if not self._connection.out_error:
            self._emit("drain")
        elif self._connection.input_ended:  # otherwise the engine reads on: an alert may explain the failure
            self._fail_output()

    # ---- another handshake

    async def renegotiate(self, *, request_cert: bool | None = None, reject_unauthorized: bool | None = None) -> None:
        """Repeat the handshake.

        TLS 1.2: a renegotiation. TLS 1.3: a server requests the client's certificate. The peer's
        answer comes after data that it has already sent, so the application must read while this
        call waits. `check_client` is called again.

        Args:
            request_cert: Servers: request a certificate; None: unchanged (TLS 1.3: request).
            reject_unauthorized: Whether a missing or refused certificate ends the connection; None:
                the setting of the context.

        Raises:
            UsageStateError: the socket is not open, another handshake is pending, or (TLS 1.3) this
                is a client.
            UsageValueError: `request_cert=False` in TLS 1.3.
            HandshakeError: the client does not support it (`ERR_SSL_EXTENSION_NOT_RECEIVED`); or no
                answer can come (`ERR_TLS_HANDSHAKE_UNANSWERED`), because the peer has ended, or
                because `end` was called before a server's request could be sent. The connection
                continues, unless the peer ended during this call.
            HandshakeTimeoutError: the peer has not answered within `handshake_timeout`; the
                connection is destroyed.
            TLSError: the handshake failed, which ends the connection.
            Cancelled: the handshake continues, and until it is done no other can be started.
        """
        self._connection.check_caller()
        for name, value in (("request_cert", request_cert), ("reject_unauthorized", reject_unauthorized)):
            if value is not None and not isinstance(value, bool):
                raise UsageTypeError(f"{name} must be a bool or None, got {type(value).__name__}")
        self._check_can_rehandshake()
        is_tls13 = self.get_protocol() == "TLSv1.3"
        if is_tls13 and not self._side.is_server:
            raise UsageStateError(
                "A client cannot call renegotiate() in TLS 1.3, which has no renegotiation",
                code="ERR_SSL_WRONG_SSL_VERSION",
                hint='Only a server can call it in TLS 1.3. If you need it on the client, connect with max_version="TLSv1.2".',
            )
        if request_cert is False and is_tls13:
            raise UsageValueError("request_cert=False is not possible in TLS 1.3: there renegotiate() only requests a certificate")
        if request_cert is None and is_tls13:
            request_cert = True
        verify, accept_unverified = self._side.verification(self._handshake, request=request_cert, reject=reject_unauthorized)
        reason = self._connection.rehandshake(verify, accept_unverified)
        if reason is not None:
            self._last_raised = error = _cannot_rehandshake(reason, is_tls13=is_tls13)
            raise error
        self._set_handshake_deadline(self._settings.handshake_timeout)
        self._rehandshake_waiter = self._loop.create_future()
        try:
            is_done = await self._rehandshake_waiter
        finally:
            self._rehandshake_waiter = None
            self._set_handshake_deadline(None)  # after a cancellation, the engine's own deadline limits the handshake
        if self._error is not None:
            self._raise(self._error)
        if not is_done and (self._phase >= CLOSED or self._input is DROPPED):
            self._raise_closed()

    def _check_can_rehandshake(self) -> None:
        """Raise if no other handshake can be started now; the connection's error comes first."""
        if self._error is not None:
            self._raise(self._error)
        if self._phase is not OPEN or self._output is not WRITABLE:
            raise UsageStateError("renegotiate() must be called on an open connection, before end() or close()")
        # After a cancelled call no waiter is left, but the engine still awaits the handshake.
        if self._rehandshake_waiter is not None or self._connection.awaits_rehandshake:
            raise UsageStateError("Another renegotiate() is still in progress")
        if self._connection.input_ended:
            message = "The handshake cannot be repeated: the peer has ended the connection"
            raise HandshakeError(message, code="ERR_TLS_HANDSHAKE_UNANSWERED", hint=NO_ANSWER_HINT)

    def disable_renegotiation(self) -> None:
        """Treat further renegotiations by the peer as an error (ERR_TLS_RENEGOTIATION_DISABLED)."""
        self._connection.refuse_renegotiation()

    def _rehandshake_done(self, result: int) -> None:
        self._set_handshake_deadline(None)
        if result == REHANDSHAKE_UNJUDGED:
            self._handshake.refused = ConnectionLostError(
                "The socket was closed before check_client or fetch_crl had accepted the client", code="ERR_SOCKET_CLOSED"
            )
        if self._rehandshake_waiter is None or self._rehandshake_waiter.done():
            return
        if result == REHANDSHAKE_DROPPED:
            message = "The handshake was not repeated: this side ended the connection before the request could be sent"
            hint = "Call end() after renegotiate() has returned."
            self._last_raised = error = HandshakeError(message, code="ERR_TLS_HANDSHAKE_UNANSWERED", hint=hint)
            self._rehandshake_waiter.set_exception(error)
        else:
            self._rehandshake_waiter.set_result(result != REHANDSHAKE_UNJUDGED)

    # ---- async with

    async def __aenter__(self) -> Self:
        return await self.handshake()

    async def __aexit__(self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        if kind is not None:
            self.destroy()
        await self.aclose()

    # ---- other notifications from the engine

    def _readable(self) -> None:
        self._wake_reader()

    # ---- state

    @property
    def closed(self) -> bool:
        """Whether the connection is closed in both directions."""
        return self._phase >= CLOSED

    _closed = closed  # the name that `SocketFacts` reads

    @property
    def readable(self) -> bool:
        """Whether there may be more to read."""
        return self._phase < CLOSED and self._input is READABLE and not self._connection.input_ended

    @property
    def writable(self) -> bool:
        """Whether data can be written."""
        return self._output is WRITABLE and self._error is None and not self._connection.out_error

    def _awaits_peer(self) -> bool:
        waits = self._phase is OPEN and self._output is WRITABLE and self._read_waiter is not None
        return waits and self._buffer is None and not self._connection.writable_length

    def __del__(self) -> None:
        if getattr(self, "_connection", None) is None:
            return
        if self._error is not None:
            self._report_unhandled(from_user_code=False)
        if HANDSHAKING <= self._phase < CLOSED and not self._side.is_server and not self._listeners and not self._connection.inherited:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=1, source=self)

    def __repr__(self) -> str:
        role = "server" if self._side.is_server else "client"
        closing = self._phase < CLOSED and self._input is DROPPED
        state = "closing" if closing else ("connecting", "connecting", "open", "closed", "closed")[self._phase]
        peer = f"{self.remote_address}:{self.remote_port}" if self.remote_address is not None else "stream"
        return f"<TLSSocket {role} {state} peer={peer} {self.get_protocol() or 'no TLS yet'}>"

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        raise UsageTypeError("A TLSSocket cannot be pickled or copied")


def _check_bytes(data: object) -> None:
    if isinstance(data, str):
        raise UsageTypeError("data must be bytes, got str", hint="Encode it: write(text.encode()).")
    try:
        memoryview(data)  # type: ignore[arg-type]
    except TypeError:
        raise UsageTypeError(f"data must be bytes-like, got {type(data).__name__}") from None


def _cannot_rehandshake(reason: str, *, is_tls13: bool) -> HandshakeError:
    hint: str | None
    if reason == "not now":  # the engine's own reason; any other is OpenSSL's
        text = "another handshake is in progress, or renegotiate() was called inside psk_callback"
        hint = "Call renegotiate() again when the handshake or the callback has finished."
    else:
        text = reason
        hint = "The client must offer post-handshake authentication. A tlsio client does if it has cert= and key=." if is_tls13 else None
    code = f"ERR_SSL_{reason.upper().replace(' ', '_')}"
    return HandshakeError(f"The handshake cannot be repeated: {text}", code=code, reason=reason, hint=hint)


def make_socket(  # noqa: PLR0913
    handshake: Handshake,
    side: HandshakeSide,
    loop: asyncio.AbstractEventLoop,
    *,
    driver: PortableDriver | None = None,
    addresses: tuple[Any, Any] | None = None,
    variables: contextvars.Context | None = None,
    owner: SocketOwner | None = None,
) -> TLSSocket:
    """Make the socket of an existing connection.

    Args:
        handshake: The connection's handshake.
        side: Our side, client or server.
        loop: The loop it runs in.
        driver: The driver of a stream; None if a reactor has the descriptor.
        addresses: The local and the remote address, if neither the engine nor a driver has them.
        variables: The contextvars context in which listeners run; None: a copy of the caller's.
        owner: The callbacks of the server, if the socket belongs to one.
    """
    made = TLSSocket.__new__(TLSSocket)
    made._set_up(handshake, side, loop, driver, addresses, variables, owner)  # noqa: SLF001 - defined in this module
    return made


class Internals(NamedTuple):
    """What rooms above this one may know of a socket.

    Attributes:
        handshake: What it shares with its side.
        side: Our side, client or server.
        addresses: Returns the local and the remote address.
        fileno: Returns the descriptor; -1 if there is none or it is closed.
        awaits_peer: Tells whether a read waits for the peer, and nothing is buffered or unsent.
        fail_output: Ends the socket with the error of a failed send; undelivered data is dropped.
    """

    handshake: Handshake
    side: HandshakeSide
    addresses: Callable[[], tuple[Any, Any]]
    fileno: Callable[[], int]
    awaits_peer: Callable[[], bool]
    fail_output: Callable[[], None]

    @property
    def context(self) -> SecureContext:
        """The context in use."""
        return self.handshake.context or self.side.context


def internals_of(sock: TLSSocket) -> Internals:
    """Return what a socket is made of, for rooms above this one."""
    return Internals(sock._handshake, sock._side, sock._addresses, sock._fileno, sock._awaits_peer, sock._fail_output_at_once)  # noqa: SLF001 - its own module


def wrap_stream(stream: object, side: HandshakeSide) -> TLSSocket:
    """Make a socket over `stream`, which it owns from now on."""
    loop = running_loop()
    driver = open_driver(stream, side, loop)
    return make_socket(Handshake(driver.connection, loop), side, loop, driver=driver)
