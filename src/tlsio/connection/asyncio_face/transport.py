"""An asyncio transport over a TLSSocket, for protocols of other libraries.

The protocol's `data_received` is the socket's `data` listener, which the engine calls directly. The
socket's `end` becomes `eof_received`, its `error` and `close` become `connection_lost`, and its
`drain` becomes `resume_writing`.

A protocol that has paused reading delays the end of the input, and a truncation that follows the
rest of a chunk. It does not delay the failure of a send: a program that only writes would never
learn of it. That ends the transport at once, as in asyncio; data not delivered yet is lost.

A peer's end that arrives with the connection waits for one pass of the loop. A handler of streams
begins in a task of its own, and could otherwise write nothing to a client that sends a request and
its end at once.
"""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any

from tlsio.connection.asyncio_face.extra_info import find_extra_info
from tlsio.connection.socket.tls_socket import internals_of
from tlsio.model.checks import BytesLike, check_int
from tlsio.model.errors import UsageStateError, UsageTypeError, UsageValueError
from tlsio.model.exported import exported

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsio.connection.socket.tls_socket import TLSSocket

__all__ = ["TLSTransport"]


@exported
class TLSTransport(asyncio.Transport):
    """One TLS connection as an `asyncio.Transport`, from the end of its handshake on.

    Two things differ from asyncio's own TLS transports: `write_eof` is supported, and a protocol
    whose `eof_received` returns True can still write after the peer's end.

    Attributes:
        tls_socket: The TLSSocket below, for facts about the connection. Reading, writing and
            closing belong to the transport.
    """

    def __init__(self, tls_socket: TLSSocket, protocol: asyncio.BaseProtocol) -> None:
        """Call the protocol's `connection_made`, then let data flow to it."""
        super().__init__()
        self.tls_socket = tls_socket
        self._protocol: asyncio.BaseProtocol | None = protocol
        self._loop = asyncio.get_running_loop()
        self._error: BaseException | None = None
        self._listener: Callable[[bytes], Any] | None = None
        self._held = b""  # the rest of a chunk whose protocol paused in the middle
        self._reading_paused = self._writing_paused = False
        self._closing = self._eof_written = False
        self._lost_after_held = False  # the connection has ended, and `_held` is still to be delivered
        internals = internals_of(tls_socket)
        self._connection, self._fail_output = internals.handshake.connection, internals.fail_output
        self._connection.on_send_failure = self._end_unsendable
        self._events: dict[Any, Callable[..., Any]] = {
            "end": self._end_received,
            "drain": self._drained,
            "error": self._failed,
            "close": self._closed,
        }
        for event, function in self._events.items():
            tls_socket.on(event, function)
        self._is_begun = self._end_waits = False
        self._set_limits(_DEFAULT_HIGH, None)
        protocol.connection_made(self)
        self._loop.call_soon(self._begin)  # after the first step of a task that the protocol has made
        self._connect_flow()

    def __del__(self) -> None:
        # The socket releases the connection. As in asyncio, nothing else keeps a paused transport,
        # or one whose loop is closed.
        if getattr(self, "_protocol", None) is not None and not self._closing:
            warnings.warn(f"unclosed transport {self!r}", ResourceWarning, stacklevel=1, source=self)

    def __repr__(self) -> str:
        state = "closed" if self.tls_socket.closed else "closing" if self._closing else "open"
        return f"<TLSTransport {state} {self.tls_socket!r}>"

    # ---- the protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Give what comes from now on to another protocol."""
        self._connection.check_caller()
        self._protocol = protocol
        self._connect_flow()

    def get_protocol(self) -> asyncio.BaseProtocol | None:  # type: ignore[override]
        """Return the current protocol; None after `connection_lost`, as in asyncio."""
        return self._protocol

    def _connect_flow(self) -> None:
        """Make the protocol's method the one `data` listener of the socket."""
        protocol = self._protocol
        if isinstance(protocol, asyncio.BufferedProtocol):
            listener: Any = _BufferFeeder(self, protocol, self._hold)
        else:
            listener = getattr(protocol, "data_received", None)
        before, self._listener = self._listener, listener
        if listener is not None and not self._closing:
            self.tls_socket.on("data", listener)
        if before is not None:
            self.tls_socket.off("data", before)

    # ---- reading

    def is_reading(self) -> bool:
        """Tell whether data is given to the protocol."""
        return not self._closing and not self._reading_paused

    def pause_reading(self) -> None:
        """Give the protocol nothing until `resume_reading`. Repeated: nothing happens."""
        if not self._closing and not self._reading_paused:
            self.tls_socket.pause()
            self._reading_paused = True
            if self._connection.out_error:
                self._loop.call_soon(self._end_unsendable)

    def resume_reading(self) -> None:
        """Give the protocol data again. Repeated: nothing happens."""
        if not self._closing and self._reading_paused:
            self._connection.check_caller()
            self._reading_paused = False
            self._loop.call_soon(self._resume)

    def _resume(self) -> None:
        """Give out what a pause in the middle of a chunk has held, then let data flow again."""
        if not self.is_reading():
            return
        held, self._held = self._held, b""
        try:
            if held and self._listener is not None:
                self._listener(held)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  (code of the user)
            if self._lost_after_held:
                self._report(_PROTOCOL_FAILED, error)
            self.tls_socket.destroy(error)
        if self._lost_after_held and not self._held:
            self._end_lost()
        elif self.is_reading():
            self.tls_socket.resume()

    def _hold(self, rest: bytes) -> None:
        """Keep the rest of a chunk until `resume_reading`."""
        if not self._closing:
            self._held = rest

    def _begin(self) -> None:
        self._is_begun = True
        if self._end_waits and not self._closing:
            try:
                self._end_received()
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # noqa: BLE001  (code of the user)
                self.tls_socket.destroy(error)

    def _end_received(self) -> None:
        if not self._is_begun:
            self._end_waits = True
            return
        keep_open = getattr(self._protocol, "eof_received", bool)()
        if not keep_open:
            self.close()

    # ---- writing

    def write(self, data: BytesLike) -> None:
        """Queue data. Above the high-water limit the protocol's `pause_writing` is called.

        After the connection has failed or was closed the data is dropped, as asyncio does.

        Raises:
            UsageTypeError: `data` is not bytes-like.
            UsageStateError: `write_eof` was called before.
        """
        if type(data) is not bytes and not isinstance(data, BytesLike):
            raise UsageTypeError(f"data must be bytes-like, got {type(data).__name__}")
        if self._eof_written:
            raise UsageStateError("Cannot call write() after write_eof()", code="ERR_STREAM_WRITE_AFTER_END")
        if self._lost_after_held:
            self._end_lost()
        elif not self._closing and data and not self.tls_socket.write(data) and not self._writing_paused:
            self._check_high()

    def _check_high(self) -> None:
        if self.tls_socket.writable_length > self._high:
            self._writing_paused = True
            self._connection.await_drain()  # data that was written below an earlier limit has not armed it
            self._call("pause_writing")

    def _drained(self) -> None:
        if self._writing_paused and self.tls_socket.writable_length <= self._low:
            self._writing_paused = False
            self._call("resume_writing")

    def _call(self, name: str) -> None:
        """Call a flow-control method; what it raises goes to the loop's exception handler."""
        try:
            getattr(self._protocol, name)()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  (code of the user)
            self._report(f"protocol.{name}() failed", error)

    def _report(self, message: str, error: BaseException) -> None:
        self._loop.call_exception_handler({"message": message, "exception": error, "transport": self, "protocol": self._protocol})

    def can_write_eof(self) -> bool:
        """Return True: TLS can end one direction (`close_notify`)."""
        return True

    def write_eof(self) -> None:
        """End our direction after what is queued; data of the peer still arrives."""
        if not self._closing and not self._eof_written and not self._lost_after_held:
            self.tls_socket.end()
            self._eof_written = True

    def get_write_buffer_size(self) -> int:
        """Return the number of bytes that were written and not sent yet."""
        return self.tls_socket.writable_length

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high limit in bytes."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the limits of flow control in bytes; without `low` it is a quarter of `high`.

        Raises:
            UsageError: not ints with `high >= low >= 0`.
        """
        self._set_limits(high, low)
        if not self._writing_paused:
            self._check_high()

    def _set_limits(self, high: int | None, low: int | None) -> None:
        if low is not None:
            check_int("low", low, 0, _MAX_LIMIT)
        high = (_DEFAULT_HIGH if low is None else 4 * low) if high is None else check_int("high", high, 0, _MAX_LIMIT)
        if low is None:
            low = high // 4
        if low > high:
            raise UsageValueError(f"low must be at most high ({high}), got {low}", code="ERR_OUT_OF_RANGE")
        self._low, self._high = low, high
        self._connection.set_high_water(low)  # from there on `write` returns False, and `drain` follows

    # ---- the end

    def is_closing(self) -> bool:
        """Tell whether the transport is closed, being closed, or cannot send any more.

        A program that only writes and drains must see the last: `StreamWriter.drain` then gives the
        loop a turn, in which the connection is found to be lost.
        """
        return self._closing or self.tls_socket.closed or bool(self._connection.out_error)

    def close(self) -> None:
        """Send what is queued, then close. The protocol gets no more data."""
        self._connection.check_caller()
        if not self._closing:
            self._stop()
            self.tls_socket.close()
            self._end_lost()

    def abort(self) -> None:
        """Close at once; what is queued is lost."""
        self._connection.check_caller()
        self._stop()
        self.tls_socket.destroy()
        self._end_lost()

    def _stop(self) -> None:
        self._closing = True
        listener, self._listener = self._listener, None
        if listener is not None:
            self.tls_socket.off("data", listener)

    def _failed(self, error: BaseException) -> None:
        self._error = error
        if error.__traceback__ is not None:  # raised by the protocol, not made for the connection: asyncio reports it
            self._report(_PROTOCOL_FAILED, error)

    def _end_unsendable(self) -> None:
        """End a transport whose protocol has paused and would not learn that sending has failed.

        Otherwise the input is read to its end first: an alert of the peer may explain the failure.
        """
        if self._reading_paused and not self._closing:
            self._fail_output()
            self._held = b""
            self._end_lost()

    def _closed(self, _had_error: bool) -> None:  # noqa: FBT001  (the event's argument)
        self._lost_after_held = True
        if self._closing or not self._held:
            self._end_lost()

    def _end_lost(self) -> None:
        """Call `connection_lost` if the connection has ended; what is held is dropped."""
        if self._lost_after_held:
            self._lost_after_held = False
            self._stop()
            self._held = b""
            self._loop.call_soon(self._lose)  # never within a call of the protocol

    def _lose(self) -> None:
        protocol, self._protocol = self._protocol, None
        for event, function in self._events.items():
            self.tls_socket.off(event, function)
        self._events = {}
        if protocol is not None:
            protocol.connection_lost(self._error if isinstance(self._error, Exception) else None)

    # ---- facts

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact about the connection: asyncio's names, and `"tls_socket"`.

        Args:
            name: `"peername"`, `"sockname"`, `"socket"`, `"sslcontext"` (a SecureContext),
                `"ssl_object"`, `"peercert"` (in `ssl`'s form), `"cipher"` or `"tls_socket"`.
            default: Returned for any other name, and for a fact that does not exist.
        """
        return find_extra_info(self.tls_socket, name, default)


_DEFAULT_HIGH = 65536  # asyncio's default
_MAX_LIMIT = 2**60
_PROTOCOL_FAILED = "The protocol failed in data_received() or eof_received()"


class _BufferFeeder:
    """Copies each chunk into the buffers that a BufferedProtocol gives out."""

    __slots__ = ("_hold", "_protocol", "_transport")

    def __init__(self, transport: TLSTransport, protocol: asyncio.BufferedProtocol, hold: Callable[[bytes], object]) -> None:
        """Feed `protocol`; `hold` keeps the rest of a chunk within which it has paused."""
        self._transport = transport
        self._protocol = protocol
        self._hold = hold

    def __call__(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest and self._transport.is_reading():
            buffer = memoryview(self._protocol.get_buffer(len(rest))).cast("B")
            if not buffer:
                raise UsageValueError("get_buffer() returned an empty buffer")
            size = min(len(buffer), len(rest))
            buffer[:size] = rest[:size]
            self._protocol.buffer_updated(size)
            rest = rest[size:]
            if rest and self._transport.get_protocol() is not self._protocol:
                self._give_to_next(bytes(rest))
                return
        if rest:
            self._hold(bytes(rest))

    def _give_to_next(self, rest: bytes) -> None:
        """Give the rest of a chunk to the protocol that was set within it."""
        protocol = self._transport.get_protocol()
        if not self._transport.is_reading():
            self._hold(rest)
        elif isinstance(protocol, asyncio.BufferedProtocol):
            _BufferFeeder(self._transport, protocol, self._hold)(rest)
        elif (receive := getattr(protocol, "data_received", None)) is not None:
            receive(rest)
