"""The part of a TLSSocket that ends it: closing, errors, and the last events.

Theory of operation. Every error ends the socket through `_fail`, and every end goes through
`_close_now`: it releases the stream, wakes all waiting calls and emits `close`. The events that are
emitted once (`end`, `error`, `close`) go into `_pending_events` first. `_emit_pending` emits them,
in that order, as soon as there is a listener and the data before them was delivered.

Closing has two phases, and nothing that the peer sends can prolong either.
- Sending: data is unsent or unacknowledged. Progress is a byte that the peer acknowledges; over a
  stream, also one that the stream accepts. `close_timeout` without progress ends the connection
  with an error, since data may be lost; a slow reader is not cut off as long as its kernel
  acknowledges something within that time.
- Discarding: the peer has received all data. What it still sends is discarded, for at most
  `close_timeout` in total.

Invariants.
- No error is lost: it is raised by a waiting call or the next one, passed to `error` listeners, or
  reported by `_report`; `_error_handled` is True after one of the first two.
- After `close` no event is emitted except an `error` that was kept for a later listener.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from errno import errorcode
from typing import TYPE_CHECKING, Any, NoReturn

from tlsio.connection.socket.close_watch import CloseWatch
from tlsio.connection.socket.errors import CloseTimeoutError, IdleTimeoutError, IncompleteReadError
from tlsio.connection.socket.lifecycle import CLOSED, DROPPED, ENDED, HANDSHAKING, OPEN, READABLE, RELEASED, WRITABLE, PendingEvents
from tlsio.connection.socket.reading import SocketReading
from tlsio.connection.tasks import as_coroutine, failure_of_task
from tlsio.connection.waiters import wait_in, wake
from tlsio.model.checks import wrong_type
from tlsio.model.errors import (
    ConnectionLostError,
    HandshakeTimeoutError,
    PeerError,
    TruncatedError,
    UsageStateError,
    UsageTypeError,
    UsageValueError,
)
from tlsio.model.explanations import TRUNCATION_HINT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator
    from typing import Self

    from tlsio.connection.waiters import Waiters

__all__ = ["SocketClosing"]

_log = logging.getLogger("tlsio")

_CLOCK_STEP = 0.004  # seconds; the engine's activity clock may lag by this much
_LAST_EVENTS = ((PendingEvents.END, "end"), (PendingEvents.ERROR, "error"), (PendingEvents.CLOSE, "close"))
_PEER_ERRORS = (PeerError, ConnectionLostError, HandshakeTimeoutError, IncompleteReadError)


class SocketClosing(SocketReading):
    """Closing and errors."""

    __slots__ = (
        "_close_waiters",
        "_closing",
        "_drain_waiters",
        "_error_handled",
        "_handshake_timer",
        "_handshake_waiter",
        "_idle_timeout",
        "_idle_timer",
        "_last_reported",
        "_rehandshake_waiter",
    )

    _close_waiters: Waiters | None
    _closing: CloseWatch | None  # while `close` is in progress
    _drain_waiters: Waiters | None
    _error_handled: bool
    _idle_timeout: float | None
    _idle_timer: asyncio.TimerHandle | None
    _handshake_waiter: asyncio.Future[None] | None  # the calls that wait for the handshake
    # The last error passed to the loop's handler: several listeners may raise the same one.
    _last_reported: BaseException | None
    _rehandshake_waiter: asyncio.Future[bool | None] | None  # the call that waits for another handshake
    _handshake_timer: asyncio.TimerHandle | None  # the deadline of a handshake

    if TYPE_CHECKING:  # defined in TLSSocket

        def _end(self) -> None: ...

    # ---- closing

    def close(self) -> None:
        """End our direction, discard further input, and close when the peer has ended too.

        While data is unsent or unacknowledged, `close_timeout` seconds without an acknowledged byte
        end the connection with an error (ERR_TLS_CLOSE_TIMEOUT) and `close(True)`. After the peer
        has received all data, it has `close_timeout` seconds to end.
        """
        self._connection.check_caller()
        if self._phase >= CLOSED or self._input is DROPPED:
            return
        if self._error is not None or (self._phase < OPEN and not self._connection.holds_plaintext):
            self.destroy()
            return
        self._stop_writing()
        self._drop_input()
        self._set_idle_timer(None)
        if self._phase is OPEN:
            self._set_handshake_deadline(None)  # close_timeout now limits a pending renegotiation too
        self._connection.set_flow(None)
        self._connection.close()
        self._wake_reader()
        if self._driver is not None:
            self._driver.watch()
        is_local = isinstance(self._addresses()[0], str | bytes)
        timeout = math.inf if self._settings.close_timeout is None else self._settings.close_timeout
        self._closing = CloseWatch(
            self._loop, self._connection, self._driver or self._connection, self._handshake, is_local, timeout, self._close_ended
        )

    def destroy(self, error: BaseException | None = None) -> Self:
        """Close at once, without close_notify. Pending and later calls raise `error`.

        Without an error they raise ERR_SOCKET_CLOSED.

        Raises:
            UsageTypeError: `error` is not an exception. The socket stays as it is.
        """
        if error is not None and not isinstance(error, BaseException):
            raise wrong_type("error", "an exception or None", error, hint="Calls of this socket raise it: write ConnectionError(reason).")
        self._connection.check_caller(in_child=True)  # a forked child must be able to close its copies
        if self._phase >= CLOSED:
            return self
        if error is not None and self._error is None:
            self._end_with_error(error, local=True)
        self._stop_writing()
        self._drop_input()
        self._close_now()
        return self

    async def wait_closed(self) -> None:
        """Wait until the connection is closed and, after an orderly end, until its stream is too.

        It does not raise the connection's error.

        Raises:
            UsageStateError: called by an async `data` listener of this socket, which itself waits
                for the listener.
        """
        if self._phase is RELEASED:
            return
        self._connection.check_caller()
        if (
            self._running_listeners
            and self._phase < CLOSED
            and self._input is not DROPPED
            and self._handshake.is_waited_for(asyncio.current_task())
        ):
            raise UsageStateError(
                "A data listener cannot wait for its own socket to close: the socket waits for the listener",
                code="ERR_TLS_SELF_WAIT",
                hint="Call close() first, or await wait_closed() outside the socket's listeners.",
            )
        if self._close_waiters is None:
            self._close_waiters = {}
        await wait_in(self._close_waiters)

    async def aclose(self) -> None:
        """Close and wait; a cancellation closes at once."""
        self.close()
        try:
            await self.wait_closed()
        except asyncio.CancelledError:
            self.destroy()
            raise

    def _stop_writing(self) -> None:
        if self._output is WRITABLE:
            self._finish_output()

    def _drop_input(self) -> None:
        """Deliver no more data."""
        self._buffer = None
        self._pending_events &= ~PendingEvents.END
        if self._input is not DROPPED:
            self._move_input(DROPPED)

    def _close_ended(self, delivered: bool) -> None:  # noqa: FBT001 - passed by `CloseWatch` without its name
        if delivered:
            self._close_now()
        else:  # the peer has not acknowledged a byte for the whole of `close_timeout`
            hint = "The peer does not read, or is unreachable. Raise close_timeout= if it may pause for longer."
            self._fail(CloseTimeoutError(hint=hint), stuck=True)

    # ---- the end of input

    def _input_ended(self, truncated: bool) -> None:  # noqa: FBT001  (passed by the engine without its name)
        if self._input is not READABLE:
            return
        if truncated and not self._settings.allow_truncation:
            self._fail(TruncatedError(hint=TRUNCATION_HINT))
            return
        self._move_input(ENDED)
        self._pending_events |= PendingEvents.END
        if self._read_waiter is not None:
            self._wake_reader()
        self._settle_end()

    def _finished(self) -> None:
        """Both directions have ended."""
        if self._connection.out_error:
            self._fail_output()
        elif self._input is not DROPPED:
            self._settle_end()
        elif self._closing is None or not self._closing.waits_for_acknowledgement():
            self._close_now()

    def _settle_end(self) -> None:
        """Process the end of input, or an error, once data listeners are done with earlier data."""
        if self._phase >= CLOSED or self._awaits_listeners:
            if self._pending_events:
                self._emit_pending()
        elif self._error is not None:
            flowing = self._has("data")
            self._close_now()
            if flowing:
                self._report_unhandled(from_user_code=False)
        elif self._input is ENDED:
            self._process_end()

    def _process_end(self) -> None:
        """Process the peer's end; close the socket once both directions have ended.

        If data goes to listeners, our direction ends too, unless `allow_half_open` is set.
        """
        flowing = self._has("data")
        if flowing and self._paused:
            return  # `resume` calls this again
        finished = self._connection.output_ended
        if self._pending_events & PendingEvents.END and (finished or self._buffer is None):
            self._emit_pending_event(PendingEvents.END, "end")
        if flowing and self._output is WRITABLE and not self._settings.allow_half_open:
            self._end()
        if finished and self._phase < CLOSED:
            self._close_now()

    # ---- the last events

    def _emit_pending(self) -> None:
        """Emit the kept events that have listeners, in order."""
        if self._emitting or (self._awaits_listeners and self._input is not DROPPED):
            return
        if self._pending_events & PendingEvents.END and self._buffer is None and not (self._paused and self._has("data")):
            self._emit_pending_event(PendingEvents.END, "end")
        if self._pending_events & PendingEvents.ERROR and self._emit_pending_event(PendingEvents.ERROR, "error", self._error):
            self._error_handled = True
        if self._input is not DROPPED and self._awaits_listeners:  # a listener has requested the rest of the data
            return
        if self._pending_events & PendingEvents.CLOSE:
            if self._emit_pending_event(PendingEvents.CLOSE, "close", self._error is not None):
                self._pending_events &= ~PendingEvents.END  # `close` is the last event; only an error is kept
            elif self._input is DROPPED and self._error is None:  # the application itself closed the socket
                self._pending_events &= ~PendingEvents.CLOSE
        if self._phase >= CLOSED and self._listeners is not None and (self._input is DROPPED or not self._awaits_listeners):
            self._drop_listeners()

    def _drop_listeners(self) -> None:
        """Drop the listeners that are not called again, after the close.

        Most listeners refer to the socket, which such a cycle would leave to the garbage collector.
        """
        listeners, self._listeners = self._listeners, None
        for kept, event in _LAST_EVENTS:
            if self._pending_events & kept and listeners is not None and listeners.get(event):
                self._listeners = {**(self._listeners or {}), event: listeners[event]}

    def _emit_pending_event(self, kept: int, event: str, *args: object) -> bool:
        if self._listeners is None or not self._listeners.get(event):
            return False
        self._pending_events &= ~kept
        return self._emit(event, *args)

    # ---- ending

    def _end_with_error(self, error: BaseException, *, local: bool = False) -> None:
        """End with an error. A failed handshake of a server's socket is reported to the server."""
        if self._handshake.is_done or self._owner is None:
            # Only for servers, which otherwise do not report an error that the peer caused.
            self._fail(error, local=local, from_user_code=error is self._handshake.hook_failure and self._side.is_server)
        elif self._phase < CLOSED and self._error is None:
            self._error = error
            self._error_handled = True
            self._owner.handshake_failed(self, error, error is self._handshake.hook_failure and self._handshake_waiter is None)
            self._close_now()

    def _fail(self, error: BaseException, *, local: bool = False, from_user_code: bool = False, stuck: bool = False) -> None:
        """End with an error, for waiting calls, later calls and listeners.

        Args:
            error: The exception.
            local: Caused on this side, not by the peer: undelivered data is dropped, and the end
                does not wait for listeners.
            from_user_code: Raised by user code, so a server reports it too if it is unhandled.
            stuck: The stream accepts no more data: do not wait for it.
        """
        if self._phase >= CLOSED or self._error is not None:
            return
        closing = self._input is DROPPED
        self._error = error
        self._error_handled = closing and not from_user_code  # after close() the application need not handle errors
        self._pending_events = (self._pending_events | PendingEvents.ERROR) & ~PendingEvents.END
        lost = closing and isinstance(error, ConnectionLostError)  # data may be lost
        if not closing or lost:
            self._count_failure(error)
        if lost and self._side.is_server and not self._has("error"):
            _log.debug("%r: %s", self, error)
        waiting = bool(self._handshake_waiter or self._read_waiter or self._rehandshake_waiter or self._drain_waiters)
        flowing = self._has("data")
        if local or from_user_code:
            self._drop_input()
        elif self._awaits_listeners:
            self._wake_all()
            return
        self._close_now(stuck=stuck)
        if not waiting and (from_user_code or flowing):  # no pending call raises it
            self._report_unhandled(from_user_code=from_user_code)

    def _close_now(self, *, stuck: bool = False) -> None:
        if self._phase >= CLOSED:
            return
        at_once = not self._handshake.is_done and self._error is None
        self._move_phase(CLOSED)
        self._pending_events |= PendingEvents.CLOSE
        self._handshake.cancel()
        if self._idle_timer is not None:
            self._set_idle_timer(None)
        if self._handshake_timer is not None:
            self._set_handshake_deadline(None)
        if self._closing is not None:
            self._closing.stop()
            self._closing = None  # it refers to this socket
        connection = self._connection
        connection.destroy(linger=not at_once)
        connection.release()
        if (
            self._read_waiter is not None
            or self._handshake_waiter is not None
            or self._rehandshake_waiter is not None
            or self._drain_waiters
        ):
            self._wake_all()
        self._emit_pending()
        drain = not at_once and not connection.input_ended
        if self._driver is None:
            self._release()
        elif drain:  # an alert is sent in the background: no call should wait for a peer that keeps sending
            self._driver.close(at_once=stuck, drain=True)
            self._release()
        else:
            self._driver.close(at_once=at_once or stuck, drain=False, on_closed=self._release)

    def _release(self) -> None:
        """Note that the stream is released."""
        self._move_phase(RELEASED)
        if self._owner is not None:
            self._owner.closed(self)
        if self._close_waiters:
            wake(self._close_waiters)

    def _wake_all(self) -> None:
        if self._read_waiter is not None:
            self._wake_reader()
        for waiter in (self._rehandshake_waiter, self._handshake_waiter):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        if self._drain_waiters:
            wake(self._drain_waiters)

    # ---- errors

    def _raise(self, error: BaseException) -> NoReturn:
        """Raise the connection's error to a caller."""
        self._error_handled = True
        self._last_raised = error
        raise error

    def _raise_closed(self) -> NoReturn:
        self._raise(ConnectionLostError("The socket is closed", code="ERR_SOCKET_CLOSED"))

    def _find_output_error(self) -> ConnectionLostError:
        number = self._connection.out_error
        error = ConnectionLostError(f"Sending to the peer failed: {os.strerror(number)}", code=errorcode.get(number))
        if self._driver is not None:
            error.__cause__ = self._driver.failure
        return error

    def _fail_output(self) -> None:
        """Fail with the send error, after all of the peer's data was processed."""
        self._fail(self._find_output_error())

    def _fail_output_at_once(self) -> None:
        """Fail with the send error, and drop data that was not delivered."""
        self._fail(self._find_output_error(), local=True)

    def _broken(self) -> None:
        error = self._find_failure()
        if self._driver is not None and error is not self._handshake.refused:
            error.__cause__ = self._driver.failure
        if self._closing is not None and self._closing.has_delivered():
            self._close_now()  # the peer has received all data
        else:
            self._end_with_error(error)

    def _listener_failed(self, error: BaseException) -> None:
        """End the socket with an exception of user code.

        If this socket raised it to that code, it is not a new error: the socket is destroyed. Nor
        is a group of nothing else, as an `asyncio.TaskGroup` raises it.
        """
        if isinstance(error, BaseExceptionGroup) and all(one in (self._last_raised, self._error) for one in _members(error)):
            error = self._last_raised or error
        if error is self._last_raised:
            # If it is pending and has a listener, `destroy` emits it.
            is_reported = error is self._error and (not self._pending_events & PendingEvents.ERROR or self._has("error"))
            if not is_reported:
                self._report(error, from_user_code=False)
            self.destroy()
        elif self._phase >= CLOSED or self._error is not None:
            self._report(error, from_user_code=True)
            self._settle_end()
        else:
            self._fail(error, from_user_code=True)

    def _crashed(self, error: BaseException) -> None:
        """End in any state after a bug in tlsio raised in a notification; report the error once."""
        try:
            if self._phase < CLOSED and self._error is None and (self._handshake.is_done or self._owner is None):
                self._fail(error, from_user_code=True)
            else:
                self._end_with_error(error)
                self._report(error, from_user_code=True)
        finally:
            self.destroy()

    def _count_failure(self, error: BaseException) -> None:
        """Count an error of the peer or the network on a server's open connection."""
        if self._handshake.is_done and self._owner is not None and isinstance(error, _PEER_ERRORS):
            self._owner.connection_failed(error)

    def _report_unhandled(self, *, from_user_code: bool) -> None:
        if self._error is not None and not self._error_handled and not self._has("error"):
            self._report(self._error, from_user_code=from_user_code)

    def _report(self, error: BaseException, *, from_user_code: bool) -> None:
        """Report an unhandled error to the loop's handler; log it if a server's peer caused it."""
        if error is self._last_reported:
            return
        self._last_reported = error
        if error is self._error:
            self._error_handled = True
            self._pending_events &= ~PendingEvents.ERROR
        if self._side.is_server and not from_user_code and isinstance(error, _PEER_ERRORS):
            _log.debug("%r: %s", self, error)
        elif not self._loop.is_closed():
            what = "a listener or hook raised an exception" if from_user_code else "unhandled error: add an error listener to handle it"
            self._loop.call_exception_handler({"message": f"tlsio: {what} ({self!r})", "exception": error})

    # ---- tasks

    def _spawn(self, awaitable: Awaitable[Any]) -> None:
        """Run an async listener as a task of this socket."""
        self._run_listener(as_coroutine(awaitable), self._listener_done)

    def _run_listener(self, coroutine: Coroutine[Any, Any, Any], done: Callable[[asyncio.Task[Any]], object]) -> None:
        if self._handshake.tasks is None:
            self._handshake.tasks = set()
        task = self._loop.create_task(coroutine)
        self._handshake.tasks.add(task)
        task.add_done_callback(done)

    def _listener_done(self, task: asyncio.Task[Any]) -> None:
        self._task_done(task, failure_of_task(task))

    def _task_done(self, task: asyncio.Task[Any], error: BaseException | None) -> None:
        if self._handshake.tasks is not None:
            self._handshake.tasks.discard(task)
        if isinstance(error, KeyboardInterrupt | SystemExit):  # the loop itself raises it
            self.destroy()
        elif error is not None:
            self._listener_failed(error)

    def _owning_listener_done(self, task: asyncio.Task[Any]) -> None:
        """Close the socket of an async `secure_connection` listener; destroy it after an error."""
        error = failure_of_task(task)
        if error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):
            self._listener_failed(error)
        elif error is not None or task.cancelled():
            self.destroy()
        elif not self._has("data"):
            self.close()

    # ---- timers

    def _set_handshake_deadline(self, seconds: float | None) -> None:
        """Set or clear the deadline of a handshake."""
        if self._handshake_timer is not None:
            self._handshake_timer.cancel()
        self._handshake_timer = None if seconds is None else self._loop.call_later(seconds, self._handshake_deadline_passed)

    def _handshake_deadline_passed(self) -> None:
        self._handshake_timer = None
        if self._phase is HANDSHAKING:
            self._connection.expire()
        elif not self._handshake.is_asking:  # otherwise the peer has answered, and hook_timeout applies
            hint = "The answer may come after unread data: read while renegotiate() waits. If the peer is slow, raise handshake_timeout=."
            self._fail(
                HandshakeTimeoutError("The peer has not answered the renegotiation within handshake_timeout=", hint=hint), local=True
            )

    def set_timeout(self, seconds: float | None) -> Self:
        """Emit `timeout` when no data has moved for `seconds`; None disables the timeout.

        If `timeout` has no listener, the socket is destroyed.
        """
        if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float)):
            raise UsageTypeError(f"seconds must be a number or None, got {type(seconds).__name__}")
        if seconds is not None and not 0 < seconds < float("inf"):
            raise UsageValueError(f"seconds must be more than 0 and finite, or None, got {seconds}", code="ERR_OUT_OF_RANGE")
        self._connection.check_caller()
        if self._phase < CLOSED and self._input is not DROPPED:
            self._idle_timeout = seconds
            self._silent_since = None
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
            hint = "set_timeout() limits the idle time: raise it, or add a timeout listener, which then decides instead."
            self._fail(IdleTimeoutError(hint=hint), local=True)
        else:
            reported_before = self._silent_since
            self._silent_since = last
            # The timer is needed only for queued data, which may move without a call of the
            # application. Any other data that moves calls `_end_silence`.
            self._set_idle_timer(self._idle_timeout if self._connection.writable_length else None)
            if self._connection.has_flow:
                self._connection.set_flow(self._find_flow())
            if reported_before != last:  # once for each period of silence
                self._emit("timeout")

    def _end_silence(self) -> None:
        """Restart the idle timer: data moves after a `timeout` event."""
        self._silent_since = None
        if self._idle_timeout is not None and self._phase < CLOSED and self._input is not DROPPED:
            self._set_idle_timer(self._idle_timeout)
        if self._connection.has_flow:
            self._connection.set_flow(self._find_flow())


def _members(error: BaseException) -> Iterator[BaseException]:
    """Return the exceptions of a group, and those of the groups in it."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _members(one)
    else:
        yield error
