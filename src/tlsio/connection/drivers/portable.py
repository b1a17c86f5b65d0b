"""The portable driver: the engine over any byte stream.

Theory of operation. One task receives from the stream and feeds the engine, another one takes
ciphertext from the engine and sends it; both run from the first byte until the stream is closed.
The engine never waits for either: ciphertext that cannot be sent yet stays in it, bounded, and
input that no reader consumes pauses the receiving task. Ciphertext counts as unsent until the
stream has accepted it.

The stream is foreign code, which may do anything: any exception from one of its calls breaks the
connection, including a CancelledError of its own; a call that does not return is cancelled, and one
that swallows the cancellation is abandoned (`_Job`), so that no task outlives the stream.

Closing. The last bytes, above all an alert, should still reach the peer. So the driver sends them
and the stream's end, and then discards what it receives until the peer ends too. Each of these two
steps may take `LINGER` seconds; after that the stream is aborted.

Invariants.
- Each task first yields to the loop, so eager tasks (Python 3.12), whose first step runs within
  their creation, behave like all others.
- The engine, and with it the user's code, is called by `_call_engine` only, and never within a call
  of the stream, so that an error of one is never mistaken for an error of the other. The engine's
  connection enters the socket's contextvars context, which no task of the driver runs in.
- A driver that has started is referenced by `_open_drivers` until its stream is closed: nothing
  else may reference an open socket.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket as _socket
import sys
import types
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tlsio.connection.drivers.streams import LINGER, Stream, find_adapter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from tlsio.native._core import Connection

__all__ = ["PortableDriver", "Stream"]

_MAX_HELD_INPUT = 65536  # bytes that no reader has consumed; beyond this, receiving pauses
_ALERT_WAIT = 0.5  # seconds for the peer's alert to arrive after sending has failed
_CANCEL_WAIT = 0.5  # seconds for a cancelled call of the stream to clean up
_SEND_SIZE = 65536  # bytes per call of `send`: progress is seen after each
# The same during a close: a slow reader must make progress within close_timeout, and smaller pieces
# show its progress earlier.
_SEND_SIZE_CLOSING = 16384
_DEADLINE_GRACE = 0.01  # seconds after a deadline, to read what arrived in time
_MAX_ERRNO = 4095  # the largest error number of Linux
_SIOCOUTQ = 0x5411  # tcp(7): "the amount of unsent data in the socket send queue", and of unacknowledged data

# A registry, not settings: the open drivers of each loop. A closed loop's are dropped when a driver
# starts on a new loop.
_open_drivers: dict[asyncio.AbstractEventLoop, set[PortableDriver]] = {}


class PortableDriver:
    """One connection's stream and the tasks that move its bytes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stream: object) -> None:
        self.connection: Connection  # set by the socket before the first call
        self.failure: BaseException | None = None  # the stream's first exception
        self._loop = loop
        self._stream = find_adapter(stream)(stream)
        self.addresses = self._stream.addresses
        self._deadline: asyncio.TimerHandle | None = None
        self._outgoing: list[bytes] = []  # what the stream is sending now
        self._half_closes = True  # whether the stream can end our direction alone
        self.is_watched = False  # a close measures progress
        self._sent_bytes = 0  # accepted by the stream
        self._socket_copy: _socket.socket | None = None  # a duplicate of the stream's socket
        self._closing = False
        self._scheduled = False
        self._receiver: _Job | None = None
        self._sender: _Job | None = None
        self._room_waiter: asyncio.Future[None] | None = None  # the receiver waits until input is consumed
        self._output_waiter: asyncio.Future[None] | None = None  # the sender waits for something to send

    # ---- called by the engine

    def wake(self) -> None:
        """Wake the sender: there is ciphertext or our end to send."""
        _wake(self._output_waiter)

    def set_deadline(self, when: float | None) -> None:
        """Set when (by the loop's clock) a partial record or another handshake must be complete.

        None: nothing is pending.
        """
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if when is None or self._closing else self._loop.call_at(when, self._expire)

    def _expire(self) -> None:
        """Read first what arrived in time: it may still be in the kernel if the loop was busy."""
        self._deadline = self._loop.call_later(_DEADLINE_GRACE, self.connection.expire)

    def schedule(self, _connection: Connection) -> None:
        """Run a turn soon: there is something to encrypt, or a reader for the input."""
        if not self._scheduled and not self._closing:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def later(self, call: Callable[..., object], *args: object) -> None:
        """Make the call in the loop's next iteration."""
        self._loop.call_soon(call, *args)

    def _turn(self) -> None:
        self._scheduled = False
        self._call_engine(self.connection.settle)

    def _call_engine(self, call: Callable[..., object], *args: object) -> None:
        """Call the engine, which notifies the socket; then resume receiving or schedule a turn."""
        if self._closing:
            return
        try:
            call(*args)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  (a bug of ours: the socket handles exceptions of user code)
            self._crashed(error)
            return
        if self._has_room:
            _wake(self._room_waiter)
        if self.connection.needs_turn:
            self.schedule(self.connection)

    def _crashed(self, error: BaseException) -> None:
        owner = self.connection.owner
        if owner is not None:
            owner._crashed(error)  # noqa: SLF001 - declared by `Owner`

    @property
    def _has_room(self) -> bool:
        return self._closing or self.connection.held_input <= _MAX_HELD_INPUT

    # ---- called by the socket

    def fileno(self) -> int:
        """Return the stream's descriptor, -1 if it has none."""
        return self._stream.fileno()

    def count_undelivered(self) -> int:
        """Count the bytes of data that the peer has not acknowledged.

        For a stream without a descriptor: the bytes that the stream has not accepted.
        """
        return self.connection.count_undelivered(self._count_unacknowledged())

    @property
    def acknowledged(self) -> tuple[int, int]:
        """A value that changes when the stream accepts data or the peer acknowledges some."""
        return self._sent_bytes, self._count_unacknowledged()

    def look_for_reset(self) -> None:
        """Report a reset that lost data; after the peer's end, no read would notice it."""
        if self._socket_copy is not None and self.connection.input_ended and self.count_undelivered():
            number = self._socket_copy.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
            if number:
                self._call_engine(self.connection.send_failed, number)

    def watch(self) -> None:
        """Measure progress from now on, for a close."""
        self.is_watched = True
        self._duplicate_socket()

    def _duplicate_socket(self) -> None:
        """Duplicate the socket: acknowledgements can then be read after the stream is closed."""
        if self._socket_copy is None:
            with suppress(OSError, ValueError):
                self._socket_copy = _socket.socket(fileno=os.dup(self.fileno()))

    def _count_unacknowledged(self) -> int:
        """Return the bytes that the kernel has and the peer has not acknowledged; 0 if unknown."""
        try:
            fd = self.fileno() if self._socket_copy is None else self._socket_copy.fileno()
            return int.from_bytes(fcntl.ioctl(fd, _SIOCOUTQ, bytes(4)), sys.byteorder)
        except (OSError, ValueError):
            return 0

    def start(self) -> None:
        """Start to move bytes."""
        if self._loop not in _open_drivers:
            for loop in [one for one in _open_drivers if one.is_closed()]:
                del _open_drivers[loop]
        _open_drivers.setdefault(self._loop, set()).add(self)
        self._receiver = _Job(self._loop, self._receive, "tlsio receive", self._crashed)
        self._sender = _Job(self._loop, self._send, "tlsio send", self._crashed)

    def close(self, *, at_once: bool, drain: bool, on_closed: Callable[[], object] | None = None) -> None:
        """Close the stream; called once.

        Args:
            at_once: Do not wait: the handshake had not started, or the stream is stuck.
            drain: The peer may still be sending: wait for its end, so that a reset does not destroy
                our last bytes.
            on_closed: Called when the stream is closed.
        """
        self._closing = True
        self.set_deadline(None)
        _wake(self._room_waiter)
        _wake(self._output_waiter)
        self._loop.create_task(self._close_in_order(at_once=at_once, drain=drain, on_closed=on_closed), name="tlsio close")

    async def _close_in_order(self, *, at_once: bool, drain: bool, on_closed: Callable[[], object] | None) -> None:
        try:
            await asyncio.sleep(0)
            jobs = [job for job in (self._sender, self._receiver) if job is not None]
            orderly = not at_once and self._sender is not None and await self._sender.finish(LINGER) and self._sender.error is None
            # Without a half-close the peer does not learn that we wait for its end.
            if orderly and drain and self._half_closes and self._receiver is not None:
                await self._receiver.finish(LINGER)
            for job in jobs:
                await job.stop()
            await self._close_stream(orderly=orderly)
        finally:
            if self._socket_copy is not None:
                self._socket_copy.close()
            open_here = _open_drivers.get(self._loop, set())
            open_here.discard(self)
            if not open_here:
                _open_drivers.pop(self._loop, None)
            if on_closed is not None:
                on_closed()

    async def _close_stream(self, *, orderly: bool) -> None:
        """Close the stream; abort it if that fails or takes too long, or if sending has failed."""
        if orderly and await self._try_close(self._stream.aclose, self._stream.close_timeout):
            return
        await self._try_close(self._stream.abort, _CANCEL_WAIT)

    async def _try_close(self, close: Callable[[], Coroutine[Any, Any, None]], seconds: float | None) -> bool:
        job = _Job(self._loop, lambda: job.call(close()), "tlsio close stream", self._record_failure)
        done = await job.finish(seconds)
        await job.stop()
        if done and job.error is None:
            return True
        self._record_failure(job.error or TimeoutError("the stream was not closed in time"))
        return False

    # ---- the tasks

    async def _receive(self) -> None:
        """Feed the engine until the stream ends; while closing, discard what is received."""
        job = self._receiver
        assert job is not None  # noqa: S101 - for the type checker
        try:
            while data := await job.call(self._stream.receive()):
                self._call_engine(self.connection.feed, data)
                if self.connection.input_ended:
                    self._duplicate_socket()
                while not self._has_room:
                    self._room_waiter = self._loop.create_future()
                    await self._room_waiter
        except _StreamError as failed:
            self._record_failure(failed.error)
        if self.failure is None:
            self._call_engine(self.connection.feed_eof)
            return
        number = _errno_of(self.failure, errno.ECONNRESET)
        if not self.connection.input_ended:  # the exception, not the peer, has ended the input
            self._call_engine(self.connection.feed_error, number)
        elif self.count_undelivered():
            self._call_engine(self.connection.send_failed, number)

    async def _send(self) -> None:
        """Send the engine's ciphertext, then the end. While closing, return when all is sent."""
        job, connection = self._sender, self.connection
        assert job is not None  # noqa: S101 - for the type checker
        try:
            while True:
                if (data := connection.output()) is not None:
                    await self._send_all(job, data)
                    connection.sent()
                elif connection.fin_due:
                    await self._send_eof(job)
                    connection.fin_sent()
                elif self._closing:
                    if not connection.output_ended:
                        await self._send_eof(job)
                    return
                else:
                    self._output_waiter = self._loop.create_future()
                    await self._output_waiter
                    continue
                self._call_engine(connection.settle)  # the engine may have more to send
        except _StreamError as failed:
            self._record_failure(failed.error)
            await self._wait_for_alert()
            self._outgoing.clear()
            # The peer has received all data and has closed: only our end could not be sent.
            if (connection.input_ended or self.is_watched) and not self.count_undelivered():
                connection.sent()
                connection.fin_sent()
                self._call_engine(connection.settle)
                return
            number = _errno_of(failed.error, errno.EPIPE)
            self._call_engine(connection.send_failed, number)
            self._call_engine(connection.feed_error, number)  # a stream that fails in one direction is unusable in both

    async def _send_all(self, job: _Job, data: bytes) -> None:
        self._outgoing.append(data)
        offset = 0
        while offset < len(data):
            size = _SEND_SIZE_CLOSING if self.is_watched else _SEND_SIZE
            piece = data[offset : offset + size]
            await job.call(self._stream.send(piece))
            offset += size
            self._sent_bytes += len(piece)
        self._outgoing.clear()

    async def _send_eof(self, job: _Job) -> None:
        self._half_closes = bool(await job.call(self._stream.send_eof()))

    async def _wait_for_alert(self) -> None:
        """Wait after a failed send: an alert of the peer explains more than the failure."""
        if self._receiver is not None and not self._closing:
            await self._receiver.finish(_ALERT_WAIT)

    def _record_failure(self, error: BaseException) -> None:
        if self.failure is None:
            self.failure = error


class _StreamError(Exception):
    """Wraps the exception of a call of the stream."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Job:
    """One task of a driver. It can be ended even if the stream's code swallows its cancellation."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Callable[[], Awaitable[object]],
        name: str,
        crashed: Callable[[BaseException], object],
    ) -> None:
        self.error: BaseException | None = None  # what a call of the stream raised
        self._abandoned = False
        self._crashed = crashed
        self._task = loop.create_task(self._run(work), name=name)

    async def _run(self, work: Callable[[], Awaitable[object]]) -> None:
        await asyncio.sleep(0)
        try:
            await work()
        except _StreamError:  # `call` has stored it in `error`
            pass
        except Exception as error:  # noqa: BLE001  (a bug of ours, at the top of a task)
            self._crashed(error)

    @types.coroutine
    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Await a call of the stream, step by step, so that it can be abandoned.

        Raises:
            _StreamError: the call raised; also a CancelledError, if this task was not cancelled.
            CancelledError: this task was cancelled.
        """
        step, value = coroutine.send, None
        while True:
            try:
                awaited = step(value)
            except StopIteration as stop:
                return stop.value
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError) and self._task.cancelling():
                    raise
                self.error = error
                raise _StreamError(error) from error
            try:
                step, value = coroutine.send, (yield awaited)
            except BaseException as error:
                if self._abandoned or isinstance(error, GeneratorExit):
                    self._abandon(coroutine)
                    raise
                step, value = coroutine.throw, error

    def _abandon(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        try:
            coroutine.close()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  (it ignores GeneratorExit, or raises in its cleanup)
            self.error = self.error or error

    async def finish(self, seconds: float | None) -> bool:
        """Wait until the task ends; return whether it did within `seconds`."""
        done, _ = await asyncio.wait([self._task], timeout=seconds)
        return bool(done)

    async def stop(self) -> None:
        """Cancel the task; if the stream's code swallows that, abandon the call."""
        for self._abandoned in (False, True):
            if self._task.done():
                break
            self._task.cancel()
            await self.finish(_CANCEL_WAIT)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _errno_of(error: BaseException, default: int) -> int:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOTCONN:  # the socket was reset, and an earlier call has reported that
        return errno.ECONNRESET
    return number if isinstance(number, int) and 0 < number <= _MAX_ERRNO else default
