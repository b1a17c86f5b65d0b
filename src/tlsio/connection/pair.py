"""TLS between two pieces of memory: what the application writes comes out encrypted, what the peer sent comes out in the clear.

Nothing here waits, sleeps or knows a loop. Whoever holds the pair moves its bytes; every call does
all there is to do and returns. As with the standard library's `MemoryBIO` and `SSLObject` the
encrypted end never fails: what breaks the connection is raised by the clear one, behind all that
came before it, while the alert that tells the peer lies ready to be sent.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any, ClassVar

from tlsio.connection.context.secure_context import check_secure_context
from tlsio.connection.drivers.memory import MemoryWire
from tlsio.connection.handshake.handshake import Handshake
from tlsio.connection.handshake.questions import no_loop
from tlsio.connection.handshake.server_policy import HOOKS
from tlsio.connection.handshake.start import make_connection, make_side
from tlsio.connection.socket.facts import SocketFacts
from tlsio.model.checks import check_bool, check_bytes, check_int
from tlsio.model.errors import TruncatedError, UsageStateError, UsageTypeError
from tlsio.model.options.connection import HIGH_WATER_MARK

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Self

    from tlsio.connection.context.secure_context import SecureContext
    from tlsio.connection.handshake.side import HandshakeSide
    from tlsio.model.checks import BytesLike


__all__ = ["Cleartext", "Encrypted", "SecurePair", "create_secure_pair"]

# Options about time, the network, descriptors and many connections: a pair has none of these.
_MEANINGLESS = frozenset(
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
    context: SecureContext | None = None,
    *,
    is_server: bool = False,
    request_cert: bool = False,
    reject_unauthorized: bool = False,
    **options: Any,
) -> SecurePair:
    """Make TLS that moves no bytes by itself, for protocols and loops that are not asyncio's.

    (Node v4: `tls.createSecurePair`.)

    Args:
        context: Certificate, trust and protocol; otherwise the options of a context are taken here.
        is_server: Speak the server's part.
        request_cert: A server asks for the client's certificate.
        reject_unauthorized: Refuse a peer that cannot be verified; a client then needs `servername`
            or `host`. False, as in Node, leaves the decision to `cleartext.authorized`. What
            `context` itself insists on holds in any case.
        options: Those of `connect` or of `create_server`, without those about time, sockets and
            many connections.

    Raises:
        UsageError: a wrong option, or an async hook. ConfigError: a certificate or key that cannot
            be used.
    """
    for name in options:
        if name in _MEANINGLESS:
            raise UsageTypeError(
                f"A SecurePair has no use for the option {name!r}: it has no clock and no network", code="ERR_TLS_UNKNOWN_OPTION"
            )
    request, reject = check_bool("request_cert", request_cert), check_bool("reject_unauthorized", reject_unauthorized)
    given: dict[str, Any] = {"reject_unauthorized": reject, **({"request_cert": request} if is_server else {})}
    if context is not None:
        given = {"secure_context": _insist(context, is_server=is_server, request=request, reject=reject)}
    side = make_side({**options, **given}, is_server=is_server)
    for name in (*HOOKS, "check_server_identity"):
        if inspect.iscoroutinefunction(getattr(side.options, name, None)):
            raise no_loop(name)
    return SecurePair(side)


def _insist(context: SecureContext, *, is_server: bool, request: bool, reject: bool) -> SecureContext:
    """Be as strict as the arguments or the context, whichever is stricter."""
    own = check_secure_context("context", context).options
    request = request or bool(own.request_cert)
    if is_server and not request:
        return context
    return context.with_verification(
        request=request if is_server else bool(own.request_cert), reject=reject or own.reject_unauthorized is True
    )


class SecurePair:
    """The two ends of TLS in memory (Node v4: `SecurePair`).

    The handshake begins with the first call of either end. Then, whenever something has come from
    the peer:

        pair.encrypted.write(received)
        plaintext = pair.cleartext.read()
        send(pair.encrypted.read())

    Attributes:
        encrypted: The end towards the peer.
        cleartext: The end towards the application, with all that is known about the connection.

    Events:
        secure: the handshake is done; `cleartext.authorized` says whether the peer was found good.
        error(error): the connection broke. keylog(line), ocsp_response(bytes or None): as those of
            a TLSSocket.
    """

    __slots__ = ("__weakref__", "cleartext", "encrypted")

    def __init__(self, side: HandshakeSide) -> None:
        wire = MemoryWire()
        self.cleartext = Cleartext(side, wire)
        self.encrypted = Encrypted(wire)

    def on(self, event: str, fn: Any = None) -> Any:
        """Call `fn` for each `event`; returns `fn`. What it raises comes out of the call that made it run."""
        return self.cleartext.on(event, fn)

    def once(self, event: str, fn: Any = None) -> Any:
        """As `on`, for the next `event` only."""
        return self.cleartext.once(event, fn)

    def off(self, event: str, fn: Any) -> None:
        """Take a listener away; one that is not there is fine."""
        self.cleartext.off(event, fn)

    def __repr__(self) -> str:
        return f"<SecurePair {self.cleartext._describe()}>"  # noqa: SLF001 - its own module


class Encrypted:
    """The end towards the peer: what it sent goes in, what it is to be sent comes out. Never fails for what the peer does."""

    __slots__ = ("_wire",)

    def __init__(self, wire: MemoryWire) -> None:
        self._wire = wire

    def write(self, data: BytesLike) -> None:
        """Take what the peer has sent. What comes after the end of the connection is thrown away.

        Raises:
            UsageError: no bytes, or after `write_eof`.
        """
        chunk = check_bytes("data", data)
        if self._wire.eof:
            raise UsageStateError("write after write_eof")
        self._wire.incoming.append(chunk)
        self._wire.turn()

    def write_eof(self) -> None:
        """Take the end of what the peer sends. Without close_notify before it, that is a truncation or a failed handshake."""
        self._wire.eof = True
        self._wire.turn()

    def read(self, n: int = -1) -> bytes:
        """Give what the peer is to be sent, at most `n` bytes; b"" when there is nothing now."""
        _check_size(n)
        self._wire.turn()
        outgoing = self._wire.outgoing
        data = bytes(outgoing if n < 0 else outgoing[:n])
        del outgoing[: len(data)]
        return data

    @property
    def pending(self) -> int:
        """Bytes for `read`."""
        return len(self._wire.outgoing)

    @property
    def eof(self) -> bool:
        """All was read, and nothing comes any more: the way to the peer may be ended."""
        return self._wire.ended and not self._wire.outgoing


class Cleartext(SocketFacts):
    """The end towards the application: plaintext, and what is known about the peer."""

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
        side.records.begin(self._connection)
        mark = side.options.high_water_mark
        self._high_water = HIGH_WATER_MARK if mark is None else mark
        self._connection.bind(self, None, self._high_water)

    def read(self, n: int = -1) -> bytes:
        """Give the plaintext that is there, at most `n` bytes; b"" when there is none: `eof` tells whether more may come.

        Raises:
            TLSError: what ended the connection, after all bytes that came before it;
                TruncatedError: the peer's end came without close_notify.
        """
        left = sys.maxsize if _check_size(n) < 0 else n
        chunks = []
        while left and ((chunk := self._connection.read(left)) is not None or (self._connection.needs_turn and self._wire.turn())):
            if chunk is not None:
                chunks.append(chunk)
                left -= len(chunk)
        self._wire.turn()  # what was read may want an answer
        if not chunks and n:
            self._raise_error()
            if self._is_truncated:
                raise TruncatedError
        return b"".join(chunks)

    @property
    def eof(self) -> bool:
        """The peer has ended, and all it sent was read."""
        return self._connection.input_ended and not self._is_truncated

    @property
    def _is_truncated(self) -> bool:
        return self._connection.truncated and not self._side.options.allow_truncation

    def write(self, data: BytesLike) -> bool:
        """Encrypt `data`, after the handshake if that is not done yet. False: more than the high-water mark waits to be sent.

        Raises:
            TLSError: what ended the connection. UsageError: no bytes, or after `end`
                (ERR_STREAM_WRITE_AFTER_END).
        """
        chunk = check_bytes("data", data)
        if self._end_called:
            raise UsageStateError("write after end", code="ERR_STREAM_WRITE_AFTER_END")
        self._raise_error()
        self._connection.write(chunk)
        self._wire.turn()
        return self.writable_length <= self._high_water

    def end(self, data: BytesLike | None = None) -> Self:
        """End our direction: what was written, then close_notify. Reading goes on.

        Raises:
            As `write`, where there is `data`.
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
        """Bytes written but not yet sent: those that wait for the handshake, and those `encrypted.read` has not given."""
        return self._connection.writable_length + len(self._wire.outgoing)

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    # ---- news from the engine

    def _opened(self) -> None:
        self._handshake.is_done = True
        self._emit("secure")

    def _broken(self) -> None:
        self._error = self._find_failure()
        self._emit("error", self._error)
        self._finished()

    def _finished(self) -> None:
        """Let go of what was made for the connection alone: the pair is free when nobody holds it."""
        self._closed = self._wire.ended = True
        self._handshake.cancel()
        self._connection.destroy(linger=True)
        self._connection.release()

    def _ignore(self, *_news: object) -> None:
        """Of interest to somebody who waits."""

    _take_result = _drained = _input_ended = _readable = _rehandshake_done = _ignore

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
