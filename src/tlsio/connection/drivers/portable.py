"""The portable driver: the engine over any byte stream.

Theory of operation. One task receives from the stream and feeds the engine, another one takes ciphertext from the engine and sends
it; both run from the first byte until the stream is let go. The engine never waits for either: what cannot be sent yet stays in it,
bounded, and input that no reader takes stops the receiving task. Ciphertext counts as unsent until the stream has taken it.

The stream is foreign code, and nothing is taken for granted about it: whatever a call of it raises breaks the connection, a
CancelledError of its own included; a call that does not return is cancelled, and one that swallows the cancellation is abandoned
(`_Job`), so that no task outlives the stream.

Letting go. The last bytes, an alert above all, get their chance: they are sent, then the stream's end, then what the peer still
sends is received and thrown away until it ends too. Each of these has `LINGER` seconds; then the stream is closed at once.

Invariants.
- A task does nothing in its first step, so that it makes no difference whether that runs at once (eager tasks, Python 3.12).
- The engine, and with it the user's code, is called by `_deliver` only, apart from the stream's calls, so that an error of one is
  never taken for one of the other. The engine's connection enters the socket's contextvars context, which no task of the driver
  runs in.
- A driver that has started is referred to by `_open` until its stream is let go: nothing else may refer to an open socket.
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

_HELD = 65536  # ciphertext that no reader takes: beyond it the stream is left alone
_LAST_WORDS = 0.5  # seconds for the peer's alert to come in after sending has failed
_PATIENCE = 0.5  # seconds for a cancelled call of the stream to clean up
_PIECE = 65536  # what the stream is given at once: progress shows after each piece
_SMALL_PIECE = 16384  # the same while a close looks for progress, which a slow reader has to show within close_timeout
_GRACE = 0.01  # seconds after a deadline for what came in time and was not read
_MAX_ERRNO = 4095  # of Linux
_SIOCOUTQ = 0x5411  # tcp(7): "the amount of unsent data in the socket send queue", and of unacknowledged data

# Not settings but a registry: the open drivers of each loop. A closed loop's are forgotten with the next loop that needs one.
_open: dict[asyncio.AbstractEventLoop, set[PortableDriver]] = {}


class PortableDriver:
    """One connection's stream and the tasks that move its bytes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stream: object) -> None:
        self.connection: Connection  # set with the socket, before anything happens
        self.failure: BaseException | None = None  # what the stream raised, in its own words
        self._loop = loop
        self._stream = find_adapter(stream)(stream)
        self.addresses = self._stream.addresses
        self._deadline: asyncio.TimerHandle | None = None
        self._outgoing: list[bytes] = []  # what the stream is sending now
        self._half_closes = True
        self.is_watched = False  # a close looks for progress
        self._taken = 0  # bytes
        self._copy: _socket.socket | None = None  # of the stream's socket
        self._closing = False
        self._scheduled = False
        self._receiver: _Job | None = None
        self._sender: _Job | None = None
        self._room: asyncio.Future[None] | None = None  # the receiver waits for room
        self._work: asyncio.Future[None] | None = None  # the sender waits for something to send

    # ---- the engine's side

    def wake(self) -> None:
        """There is something to send, or our end."""
        _wake(self._work)

    def set_deadline(self, when: float | None) -> None:
        """A record has to be whole, or another handshake done, at that instant of the loop's clock; None: nothing is due."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if when is None or self._closing else self._loop.call_at(when, self._expire)

    def _expire(self) -> None:
        """The loop may have been busy, and what was due in time lies in the kernel: let it come first."""
        self._deadline = self._loop.call_later(_GRACE, self.connection.expire)

    def schedule(self, _connection: Connection) -> None:
        """Something was written, or a reader has come: a turn is due."""
        if not self._scheduled and not self._closing:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def later(self, call: Callable[..., object], *args: object) -> None:
        """Call it in the loop's next pass."""
        self._loop.call_soon(call, *args)

    def _turn(self) -> None:
        self._scheduled = False
        self._deliver(self.connection.settle)

    def _deliver(self, call: Callable[..., object], *args: object) -> None:
        """Call the engine, which tells its news to the socket; then there may be room for input, or more to do."""
        if self._closing:
            return
        try:
            call(*args)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  (ours; what user code raises ends its socket before it comes here)
            self._crashed(error)
            return
        if self._has_room:
            _wake(self._room)
        if self.connection.needs_turn:
            self.schedule(self.connection)

    def _crashed(self, error: BaseException) -> None:
        owner = self.connection.owner
        if owner is not None:
            owner._crashed(error)  # noqa: SLF001 - declared by `Owner`

    @property
    def _has_room(self) -> bool:
        return self._closing or self.connection.held_input <= _HELD

    # ---- the socket's side

    def fileno(self) -> int:
        """The descriptor below it all, -1 when there is none."""
        return self._stream.fileno()

    def count_undelivered(self) -> int:
        """Bytes of data that the peer has not acknowledged; without a descriptor: that the stream has not taken."""
        return self.connection.count_undelivered(self._ask_kernel())

    @property
    def acknowledged(self) -> tuple[int, int]:
        """Changes whenever the stream takes a piece, or the peer acknowledges something."""
        return self._taken, self._ask_kernel()

    def look_for_reset(self) -> None:
        """Report a reset that has cost data: after the peer's end nobody reads from the stream any more."""
        if self._copy is not None and self.connection.input_ended and self.count_undelivered():
            number = self._copy.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
            if number:
                self._deliver(self.connection.send_failed, number)

    def watch(self) -> None:
        """A close looks for progress from now on."""
        self.is_watched = True
        self._hold_socket()

    def _hold_socket(self) -> None:
        """The connection may be over soon: keep the socket, so that it tells what the peer has after the stream has closed its own."""
        if self._copy is None:
            with suppress(OSError, ValueError):
                self._copy = _socket.socket(fileno=os.dup(self.fileno()))

    def _ask_kernel(self) -> int:
        """Bytes that the kernel has and the peer has not acknowledged; 0 where there is no descriptor."""
        try:
            fd = self.fileno() if self._copy is None else self._copy.fileno()
            return int.from_bytes(fcntl.ioctl(fd, _SIOCOUTQ, bytes(4)), sys.byteorder)
        except (OSError, ValueError):
            return 0

    def start(self) -> None:
        """Begin to move bytes."""
        if self._loop not in _open:
            for loop in [one for one in _open if one.is_closed()]:
                del _open[loop]
        _open.setdefault(self._loop, set()).add(self)
        self._receiver = _Job(self._loop, self._receive, "tlsio receive", self._crashed)
        self._sender = _Job(self._loop, self._send, "tlsio send", self._crashed)

    def close(self, *, at_once: bool, drain: bool, gone: Callable[[], object] | None = None) -> None:
        """Let the stream go, once.

        Args:
            at_once: Nothing is worth waiting for: nothing was agreed yet, or the stream is stuck.
            drain: The peer may still be sending: wait for its end, so that our last words are not lost.
            gone: Called when it is done.
        """
        self._closing = True
        self.set_deadline(None)
        _wake(self._room)
        _wake(self._work)
        self._loop.create_task(self._let_go(at_once=at_once, drain=drain, gone=gone), name="tlsio close")

    async def _let_go(self, *, at_once: bool, drain: bool, gone: Callable[[], object] | None) -> None:
        try:
            await asyncio.sleep(0)
            jobs = [job for job in (self._sender, self._receiver) if job is not None]
            quiet = not at_once and self._sender is not None and await self._sender.finish(LINGER) and self._sender.error is None
            if quiet and drain and self._half_closes and self._receiver is not None:  # else the peer does not know that we wait for it
                await self._receiver.finish(LINGER)
            for job in jobs:
                await job.stop()
            await self._close_stream(quiet=quiet)
        finally:
            if self._copy is not None:
                self._copy.close()
            open_here = _open.get(self._loop, set())
            open_here.discard(self)
            if not open_here:
                _open.pop(self._loop, None)
            if gone is not None:
                gone()

    async def _close_stream(self, *, quiet: bool) -> None:
        """Close it in order; when that fails or takes too long, or there was no order before, close it at once."""
        if quiet and await self._close_by(self._stream.aclose, self._stream.close_timeout):
            return
        await self._close_by(self._stream.abort, _PATIENCE)

    async def _close_by(self, close: Callable[[], Coroutine[Any, Any, None]], seconds: float | None) -> bool:
        job = _Job(self._loop, lambda: job.call(close()), "tlsio close stream", self._note)
        done = await job.finish(seconds)
        await job.stop()
        if done and job.error is None:
            return True
        self._note(job.error or TimeoutError("the stream was not closed in time"))
        return False

    # ---- the tasks

    async def _receive(self) -> None:
        """Feed the engine until the stream ends; once closing, throw away what still comes."""
        job = self._receiver
        assert job is not None  # noqa: S101 - for the type checker
        try:
            while data := await job.call(self._stream.receive()):
                self._deliver(self.connection.feed, data)
                if self.connection.input_ended:
                    self._hold_socket()
                while not self._has_room:
                    self._room = self._loop.create_future()
                    await self._room
        except _StreamError as failed:
            self._note(failed.error)
        if self.failure is None:
            self._deliver(self.connection.feed_eof)
            return
        number = _number_of(self.failure, errno.ECONNRESET)
        if not self.connection.input_ended:  # what the stream gives for an end after a failed send is none
            self._deliver(self.connection.feed_error, number)
        elif self.count_undelivered():
            self._deliver(self.connection.send_failed, number)

    async def _send(self) -> None:
        """Send what the engine has, in order: ciphertext, then the end. Once closing, end when there is no more."""
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
                    self._work = self._loop.create_future()
                    await self._work
                    continue
                self._deliver(connection.settle)  # it may have more
        except _StreamError as failed:
            self._note(failed.error)
            await self._hear_last_words()
            self._outgoing.clear()
            if (
                connection.input_ended or self.is_watched
            ) and not self.count_undelivered():  # the peer has all but our end, and does not want that
                connection.sent()
                connection.fin_sent()
                self._deliver(connection.settle)
                return
            number = _number_of(failed.error, errno.EPIPE)
            self._deliver(connection.send_failed, number)
            self._deliver(connection.feed_error, number)  # a stream that breaks one way carries nothing the other way

    async def _send_all(self, job: _Job, data: bytes) -> None:
        self._outgoing.append(data)
        at = 0
        while at < len(data):
            size = _SMALL_PIECE if self.is_watched else _PIECE
            piece = data[at : at + size]
            await job.call(self._stream.send(piece))
            at += size
            self._taken += len(piece)
        self._outgoing.clear()

    async def _send_eof(self, job: _Job) -> None:
        self._half_closes = bool(await job.call(self._stream.send_eof()))

    async def _hear_last_words(self) -> None:
        """Sending has failed. The peer's alert may be on its way: it is the error to report rather than the failure."""
        if self._receiver is not None and not self._closing:
            await self._receiver.finish(_LAST_WORDS)

    def _note(self, error: BaseException) -> None:
        if self.failure is None:
            self.failure = error


class _StreamError(Exception):
    """What a call of the stream raised."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Job:
    """One task of a driver. It ends when it is to end, whatever the stream's code does about that."""

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
        except _StreamError:  # kept in `error`
            pass
        except Exception as error:  # noqa: BLE001  (ours: the top of a task)
            self._crashed(error)

    @types.coroutine
    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Await a call of the stream, step by step, so that it can be abandoned.

        Raises:
            _StreamError: the call raised; with CancelledError too, when this task was not cancelled.
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
        except BaseException as error:  # noqa: BLE001  (it ignores even that, or fails at it)
            self.error = self.error or error

    async def finish(self, seconds: float | None) -> bool:
        """Wait until the task ends; whether it has, within `seconds`."""
        done, _ = await asyncio.wait([self._task], timeout=seconds)
        return bool(done)

    async def stop(self) -> None:
        """End the task: by cancelling it, and when the stream's code swallows that, by abandoning the call."""
        for self._abandoned in (False, True):
            if self._task.done():
                break
            self._task.cancel()
            await self.finish(_PATIENCE)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _number_of(error: BaseException, default: int) -> int:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOTCONN:  # a socket that was reset and has told it once
        return errno.ECONNRESET
    return number if isinstance(number, int) and 0 < number <= _MAX_ERRNO else default
