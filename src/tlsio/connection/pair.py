"""TLS in memory: plaintext at one end, ciphertext at the other.

Nothing here waits, sleeps or uses an event loop. The caller moves the bytes; every call does all
pending work and returns. As with the standard library's `MemoryBIO` and `SSLObject` the encrypted
end never raises: an error of the connection is raised by the cleartext end, after all data received
before it, while the alert for the peer can be read from the encrypted end.
"""

from __future__ import annotations

import inspect
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from tlsio.connection.context.secure_context import check_secure_context
from tlsio.connection.context.source import Source, is_source
from tlsio.connection.drivers.memory import MemoryWire
from tlsio.connection.handshake.handshake import Handshake
from tlsio.connection.handshake.questions import no_loop
from tlsio.connection.handshake.server_policy import HOOKS
from tlsio.connection.handshake.start import make_connection, make_side
from tlsio.connection.socket.facts import SocketFacts
from tlsio.model.checks import check_bool, check_bytes, check_int
from tlsio.model.errors import TruncatedError, UsageStateError, UsageTypeError
from tlsio.model.exported import exported
from tlsio.model.options.connection import HIGH_WATER_MARK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Self

    from tlsio.connection.context.secure_context import SecureContext
    from tlsio.connection.context.source import ContextSource
    from tlsio.connection.handshake.side import HandshakeSide
    from tlsio.model.checks import BytesLike


__all__ = ["Cleartext", "Encrypted", "SecurePair", "create_secure_pair"]

# Options about time, the network, descriptors or many connections, which do not apply to a pair.
_NOT_APPLICABLE = frozenset(
    {
        "allow_half_open",
        "close_timeout",
        "family",
        "fetch_crl",
        "handshake_timeout",
        "hook_timeout",
        "keep_alive",
        "keep_alive_initial_delay",
        "local_address",
        "local_port",
        "max_connections",
        "max_connections_per_address",
        "max_handshake_bytes",
        "max_handshakes",
        "no_delay",
        "partial_record_timeout",
        "read_limit",
        "shutdown_timeout",
        "stapling",
        "timeout",
    }
)


def create_secure_pair(
    context: SecureContext | ContextSource | None = None,
    *,
    is_server: bool = False,
    request_cert: bool | None = None,
    reject_unauthorized: bool | None = None,
    **options: Any,
) -> SecurePair:
    """Make a TLS connection without I/O, for protocols and loops other than asyncio.

    (Node v4: `tls.createSecurePair`.)

    Args:
        context: Certificate, trust and protocol settings, or a source of them that answers at once;
            without it, the options of a context may be given.
        is_server: Act as the server.
        request_cert: Request the client's certificate (servers). None: as the context says, which
            is no; options that judge certificates then raise.
        reject_unauthorized: Refuse a peer that cannot be verified; a client then needs `servername`
            or `host`. None: as `context` has it, and True if that does not say. With False, Node's
            default, the caller must check `cleartext.authorized`; a context made with True is
            stricter, and applies.
        options: Those of `connect` or of `create_server`, except those about time, sockets and many
            connections.

    Raises:
        UsageError: a wrong option, or an async hook.
        ConfigError: a certificate or key that cannot be used, or an option that judges client
            certificates although it is open whether one is requested.
    """
    for name in options:
        if name in _NOT_APPLICABLE:
            raise UsageTypeError(
                f"The option {name}= does not apply to a SecurePair, which has no clock and no network", code="ERR_TLS_UNKNOWN_OPTION"
            )
    request = None if request_cert is None else check_bool("request_cert", request_cert)
    reject = None if reject_unauthorized is None else check_bool("reject_unauthorized", reject_unauthorized)
    given: dict[str, Any] = {"reject_unauthorized": reject, **({"request_cert": request} if is_server else {})}
    if context is not None:
        stricter = partial(_stricter_context, is_server=is_server, request=request, reject=reject)
        given = {"secure_context": _StricterSource(context, stricter) if is_source(context) else stricter(context)}
    side = make_side({**options, **given}, is_server=is_server)
    for name in (*HOOKS, "check_server_identity"):
        if inspect.iscoroutinefunction(getattr(side.options, name, None)):
            raise no_loop(name)
    return SecurePair(side)


class _StricterSource:
    """A source whose contexts have the stricter verification of `_stricter_context`."""

    def __init__(self, given: object, make_stricter: Callable[[Any], SecureContext]) -> None:
        self._source = Source(given)
        self._make_stricter = make_stricter

    def context_for(self, server_name: str | None) -> SecureContext | None:
        found = self._source.ask_now(server_name)
        return None if found is None else self._make_stricter(found)


def _stricter_context(context: object, *, is_server: bool, request: bool | None, reject: bool | None) -> SecureContext:
    """Return the context with the stricter of its own verification and the arguments'."""
    context = check_secure_context("context", context)
    own = context.options
    request = (request or own.request_cert) if own.request_cert is not None else request
    if is_server and not request:
        return context.with_verification(request=request, reject=own.reject_unauthorized is not False)
    if reject is None:
        reject = own.reject_unauthorized is not False
    return context.with_verification(request=request if is_server else own.request_cert, reject=reject or own.reject_unauthorized is True)


@exported
class SecurePair:
    """The two ends of a TLS connection in memory (Node v4: `SecurePair`).

    The handshake starts with the first call of either end. Then, for all data received from the
    peer:

        pair.encrypted.write(received)
        plaintext = pair.cleartext.read()
        send(pair.encrypted.read())

    Attributes:
        encrypted: The end towards the peer.
        cleartext: The end towards the application, with the properties of the connection.

    Events:
        secure: the handshake is done; `cleartext.authorized` is the result of the peer's
            verification.
        error(error): the connection failed.
        keylog(line): as that of a TLSSocket.
        ocsp_response(bytes or None): as that of a TLSSocket.
    """

    __slots__ = ("__weakref__", "cleartext", "encrypted")

    def __init__(self, side: HandshakeSide) -> None:
        wire = MemoryWire()
        self.cleartext = Cleartext(side, wire)
        self.encrypted = Encrypted(wire)

    def on(self, event: str, fn: Any = None) -> Any:
        """Call `fn` for each `event`; returns `fn`. Its exceptions propagate to the caller."""
        return self.cleartext.on(event, fn)

    def once(self, event: str, fn: Any = None) -> Any:
        """As `on`, for the next `event` only."""
        return self.cleartext.once(event, fn)

    def off(self, event: str, fn: Any) -> None:
        """Remove a listener; an unknown one is ignored."""
        self.cleartext.off(event, fn)

    def __repr__(self) -> str:
        return f"<SecurePair {self.cleartext._describe()}>"  # noqa: SLF001 - its own module


class Encrypted:
    """The end towards the peer: write what the peer sent here, and send it what is read here.

    Errors of the peer are never raised here.
    """

    __slots__ = ("_wire",)

    def __init__(self, wire: MemoryWire) -> None:
        self._wire = wire

    def write(self, data: BytesLike) -> None:
        """Process data from the peer. Data after the end of the connection is discarded.

        Raises:
            UsageError: `data` is not bytes, or `write_eof` was called.
        """
        chunk = check_bytes("data", data)
        if self._wire.eof:
            raise UsageStateError("write after write_eof")
        self._wire.incoming.append(chunk)
        self._wire.turn()

    def write_eof(self) -> None:
        """Process the end of the peer's data.

        Without close_notify before it, that is a truncation or a failed handshake.
        """
        self._wire.eof = True
        self._wire.turn()

    def read(self, n: int = -1) -> bytes:
        """Return data to send to the peer, at most `n` bytes; b"" if there is none now."""
        _check_size(n)
        self._wire.turn()
        outgoing = self._wire.outgoing
        data = bytes(outgoing if n < 0 else outgoing[:n])
        del outgoing[: len(data)]
        return data

    @property
    def pending(self) -> int:
        """The number of bytes that `read` can return."""
        return len(self._wire.outgoing)

    @property
    def eof(self) -> bool:
        """Whether all was read and no more follows: the direction to the peer may be closed."""
        return self._wire.ended and not self._wire.outgoing


class Cleartext(SocketFacts):
    """The end towards the application: plaintext, and the properties of the connection."""

    __slots__ = ("_closed", "_end_called", "_error", "_high_water", "_wire")

    _EVENTS: ClassVar[frozenset[str]] = frozenset({"secure", "ocsp_response", "keylog", "session", "error"})
    _closed: bool

    def __init__(self, side: HandshakeSide, wire: MemoryWire) -> None:
        super().__init__()
        self._wire = wire
        self._side = side
        self._closed = self._end_called = False
        self._address = (None, None)
        self._driver = self._loop = self._owner = self._trace_file = None
        self._error: BaseException | None = None
        self._connection = wire.connection = make_connection(side, wire)
        self._handshake = Handshake(self._connection, None)
        side.diagnostics.attach(self._connection)
        mark = side.options.high_water_mark
        self._high_water = HIGH_WATER_MARK if mark is None else mark
        self._connection.bind(self, None, self._high_water)

    def read(self, n: int = -1) -> bytes:
        """Return the available plaintext, at most `n` bytes; b"" if there is none (see `eof`).

        Raises:
            TLSError: the connection failed; raised after all data received before that.
            TruncatedError: the peer's data ended without close_notify.
        """
        left = sys.maxsize if _check_size(n) < 0 else n
        chunks = []
        while left and ((chunk := self._connection.read(left)) is not None or (self._connection.needs_turn and self._wire.turn())):
            if chunk is not None:
                chunks.append(chunk)
                left -= len(chunk)
        self._wire.turn()  # what was read may require a response
        if not chunks and n:
            self._raise_error()
            if self._is_truncated:
                raise TruncatedError
        return b"".join(chunks)

    @property
    def eof(self) -> bool:
        """Whether the peer has ended its direction, and all its data was read."""
        return self._connection.input_ended and not self._is_truncated

    @property
    def _is_truncated(self) -> bool:
        return self._connection.truncated and not self._side.options.allow_truncation

    def write(self, data: BytesLike) -> bool:
        """Encrypt `data`, or keep it until the handshake is done.

        Returns:
            False if more bytes than the high-water mark are waiting to be sent.

        Raises:
            TLSError: the connection failed.
            UsageError: `data` is not bytes, or `end` was called (ERR_STREAM_WRITE_AFTER_END).
        """
        chunk = check_bytes("data", data)
        if self._end_called:
            raise UsageStateError("write after end", code="ERR_STREAM_WRITE_AFTER_END")
        self._raise_error()
        self._connection.write(chunk)
        self._wire.turn()
        return self.writable_length <= self._high_water

    def end(self, data: BytesLike | None = None) -> Self:
        """End our direction: send what was written, then close_notify. Reading remains possible.

        Raises:
            As `write`, if `data` is given.
        """
        if data is not None:
            self.write(data)
        if not self._end_called:
            self._end_called = True
            self._connection.end()
            self._wire.turn()
        return self

    @property
    def writable_length(self) -> int:
        """Bytes written but not sent: waiting for the handshake, or not read from `encrypted`."""
        return self._connection.writable_length + len(self._wire.outgoing)

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    # ---- notifications from the engine

    def _opened(self) -> None:
        self._handshake.is_done = True
        self._emit("secure")

    def _broken(self) -> None:
        self._error = self._find_failure()
        self._emit("error", self._error)
        self._finished()

    def _finished(self) -> None:
        """Release the connection's objects, so that no reference cycle keeps the pair alive."""
        self._closed = self._wire.ended = True
        self._handshake.cancel()
        self._connection.destroy(linger=True)
        self._connection.release()

    def _ignore(self, *_news: object) -> None:
        """Ignore a notification that only matters to waiting calls, which a pair does not have."""

    _listener_returned = _drained = _input_ended = _readable = _rehandshake_done = _ignore

    # ---- listeners

    def _spawn(self, awaitable: Awaitable[Any]) -> None:
        if inspect.iscoroutine(awaitable):
            awaitable.close()
        self._listener_failed(no_loop("A listener"))

    def _listener_failed(self, error: BaseException) -> None:
        self._wire.failure = self._wire.failure or error

    _crashed = _listener_failed

    def _describe(self) -> str:
        role = "server" if self._side.is_server else "client"
        state = "closed" if self._closed else "open" if self._handshake.is_done else "connecting"
        return f"{role} {state} {self.get_protocol() or 'no TLS yet'}"

    def __repr__(self) -> str:
        return f"<Cleartext {self._describe()}>"


def _check_size(n: int) -> int:
    return check_int("n", n, -1, sys.maxsize)
