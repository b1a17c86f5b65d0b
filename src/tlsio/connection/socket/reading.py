"""The part of a TLSSocket that delivers plaintext: by reads, by iteration, or to `data` listeners.

Plaintext stays in the engine until it is requested: a read fetches it, a flow lets the engine call
a function with each chunk.

Invariants.
- `_buffer` holds data that was read from the engine but is for a later call, such as the bytes
  after a line. It is never empty: an empty buffer is replaced by None.
- Data is delivered before the end or the peer's error. After our own `close` or `destroy` nothing
  is delivered: the buffer is dropped, and the engine is not read again, so that no data is
  delivered after a gap.
- A flow with undelivered data (`_awaits_listeners`) delays the end, the error and the close that
  follow the data.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from tlsio.connection.emitter import Once
from tlsio.connection.socket.errors import IncompleteReadError, LimitOverrunError
from tlsio.connection.socket.lifecycle import CLOSED, DROPPED, ENDED, IDLE, OPEN, Lifecycle
from tlsio.connection.tasks import as_coroutine, failure_of_task, find_awaitable
from tlsio.model.checks import check_bytes, check_int, wrong_type
from tlsio.model.errors import UsageStateError, UsageValueError
from tlsio.native._core import run_in

if TYPE_CHECKING:
    import contextvars
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import NoReturn, Self

    from tlsio.connection.emitter import Listener
    from tlsio.model.options.connect import ConnectOptions
    from tlsio.model.options.server import ServerOptions

__all__ = ["SocketReading"]

# The most that a read without a size returns: as much as the engine receives from the kernel at
# once.
_DATA_CHUNK = 65536


# Bytes that `read_all` holds if no limit is given: more than most messages, and an amount of memory
# that one peer may use.
_READ_ALL_LIMIT = 16 * 1024 * 1024


class SocketReading(Lifecycle):
    """Reading, by one reader at a time."""

    __slots__ = (
        "_buffer",
        "_context_vars",
        "_emitting",
        "_error",
        "_high_water",
        "_last_raised",
        "_loop",
        "_paused",
        "_pending_events",
        "_read_waiter",
        "_reading",
        "_running_listeners",
        "_settings",
        "_silent_since",
    )

    _running_listeners: int  # number of async data listeners that are running
    _buffer: bytearray | None
    _context_vars: contextvars.Context
    _emitting: int  # number of events whose listeners are being called: `close` waits for them
    _error: BaseException | None
    _high_water: int
    _pending_events: int  # bits of `PendingEvents`
    _loop: asyncio.AbstractEventLoop
    _paused: bool
    _last_raised: BaseException | None  # the exception that a call of this socket raised last
    _read_waiter: asyncio.Future[None] | None  # the read that waits for input
    _reading: bool
    _settings: ServerOptions | ConnectOptions
    # The time of the last activity before a `timeout` event; None: no such event, or data has moved
    # since.
    _silent_since: float | None

    if TYPE_CHECKING:  # defined in subclasses

        def _begin(self) -> None: ...
        def _end_silence(self) -> None: ...
        def _raise(self, error: BaseException) -> NoReturn: ...
        def _raise_closed(self) -> NoReturn: ...
        def _report(self, error: BaseException, *, from_user_code: bool) -> None: ...
        def _settle_end(self) -> None: ...
        def _emit_pending(self) -> None: ...
        def _run_listener(self, coroutine: Coroutine[Any, Any, Any], done: Callable[[asyncio.Task[Any]], object]) -> None: ...
        def _task_done(self, task: asyncio.Task[Any], error: BaseException | None) -> None: ...

    # ---- reads

    async def read(self, n: int = -1) -> bytes:
        """Read the available data, at most `n` bytes, waiting for at least one; b"" at the end.

        A cancellation loses no data, here and in the methods below.

        Raises:
            TLSError: the connection failed; raised after all data received before that.
            UsageStateError: another read is pending, or there is a `data` listener.
        """
        if n != -1:
            check_int("n", n, -1, sys.maxsize)
        if n == 0:
            return b""
        self._begin_read()
        try:
            limit = _DATA_CHUNK if n < 0 else n
            if self._buffer is not None:
                return self._take_from_buffer(limit)
            while (data := self._take_from_engine(limit)) is None:
                await self._next_input()
            return data
        finally:
            self._end_read()

    async def read_all(self, *, limit: int = _READ_ALL_LIMIT) -> bytes:
        """Read everything up to the peer's end.

        An error leaves the data before it in the buffer: `read` returns that first.

        Args:
            limit: The most that may arrive, in bytes.

        Raises:
            LimitOverrunError: more than `limit` bytes arrived.
            TLSError: as `read`; also TruncatedError, if the peer's end was not announced.
        """
        check_int("limit", limit, 0, sys.maxsize)
        self._begin_read()
        try:
            while (held := len(self._buffer or b"")) <= limit:
                data = self._take_from_engine(min(_DATA_CHUNK, limit - held + 1))
                if data is None:
                    await self._next_input()
                elif data:
                    self._hold(data)
                else:
                    return self._take_from_buffer(held) if held else b""
            raise LimitOverrunError(
                f"More than limit= ({limit} bytes) arrived", limit, hint="Raise limit=, or read in pieces, by read() or `async for`."
            )
        finally:
            self._end_read()

    async def readexactly(self, n: int) -> bytes:
        """Read `n` bytes.

        Raises:
            IncompleteReadError: the end came first; `partial` has the data before it.
        """
        check_int("n", n, 0, sys.maxsize)
        if n == 0:
            return b""
        self._begin_read()
        try:
            while (held := len(self._buffer or b"")) < n:
                await self._fill_buffer(n, min(n - held, _DATA_CHUNK))
            return self._take_from_buffer(n)
        finally:
            self._end_read()

    async def readuntil(self, sep: bytes = b"\n") -> bytes:
        """Read up to and including `sep`.

        Raises:
            IncompleteReadError: the end came first.
            LimitOverrunError: there is no `sep` within `read_limit`; the data stays in the buffer.
        """
        sep = check_bytes("sep", sep)
        if not sep:
            raise UsageValueError("sep must not be empty")
        limit, searched = self._settings.read_limit, 0
        self._begin_read()
        try:
            while (found := -1 if self._buffer is None else self._buffer.find(sep, searched)) < 0:
                held = len(self._buffer or b"")
                searched = max(0, held - len(sep) + 1)
                if held >= limit:
                    raise LimitOverrunError(f"There is no {sep!r} within read_limit= ({limit} bytes)", searched)
                await self._fill_buffer(None, _DATA_CHUNK)
            if found + len(sep) > limit:
                raise LimitOverrunError(f"{sep!r} comes after read_limit= ({limit} bytes)", found)
            return self._take_from_buffer(found + len(sep))
        finally:
            self._end_read()

    async def readline(self) -> bytes:
        """Read a line with its line end; at the end of the stream the rest, then b""."""
        try:
            return await self.readuntil(b"\n")
        except IncompleteReadError as error:
            return error.partial

    async def pipe(self, destination: Any, *, end: bool = True) -> int:
        """Write all received data to `destination`, at its pace; then end it.

        Returns the number of bytes. After a cancellation, all data that was read has been passed to
        `destination`, which stays open.

        Args:
            destination: A TLSSocket, an asyncio StreamWriter, or any object with `write`, `drain`,
                and `end` or `write_eof`.
            end: Whether to end it.

        Raises:
            UsageTypeError: `destination` lacks one of these; nothing is read then.
        """
        _check_destination(destination, ends=end)
        total = 0
        async for chunk in self:
            destination.write(chunk)
            await destination.drain()
            total += len(chunk)
        if end:
            _find_end(destination)()
        return total

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        data = await self.read()
        if not data:
            raise StopAsyncIteration
        return data

    def _begin_read(self) -> None:
        self._connection.check_caller()
        if self._reading:
            raise UsageStateError(
                "Another read of this socket is pending", hint="Await that read first: a socket has one reader at a time."
            )
        if self._listeners is not None and self._has("data"):
            raise UsageStateError("This socket has a data listener", hint='Remove it with off("data", ...) before you read.')
        if self._phase is IDLE:
            self._begin()
        self._reading = True

    def _take_from_engine(self, limit: int) -> bytes | None:
        """Return available data, when the buffer is empty; None: nothing yet, b"": the end."""
        if self._phase is OPEN and self._input is not DROPPED:
            data = self._connection.read(limit)
            if data is not None:
                if self._silent_since is not None:
                    self._end_silence()
                return data
        if self._error is not None:
            self._raise(self._error)
        if self._input is ENDED:
            return b""
        if self._input is DROPPED or self._phase >= CLOSED:
            self._raise_closed()
        return None

    def _next_input(self) -> asyncio.Future[None]:
        """Return a future that is done when there may be input.

        It is not a coroutine, whose frame each idle connection would hold.
        """
        self._read_waiter = waiter = self._loop.create_future()
        self._connection.await_input()
        return waiter

    def _end_read(self) -> None:
        """Leave nothing behind, whether the read is done, has failed or was cancelled."""
        self._reading = False
        if self._read_waiter is not None:
            self._read_waiter = None
            self._connection.cancel_await()

    async def _fill_buffer(self, expected: int | None, limit: int) -> None:
        """Read more into the buffer; the end is an error here."""
        while (data := self._take_from_engine(limit)) is None:
            await self._next_input()
        if not data:
            self._last_raised = error = IncompleteReadError(
                b"" if self._buffer is None else self._take_from_buffer(len(self._buffer)), expected
            )
            raise error
        self._hold(data)

    def _hold(self, data: bytes) -> None:
        if self._buffer is None:
            self._buffer = bytearray()
        self._buffer += data

    def _take_from_buffer(self, n: int) -> bytes:
        """Remove and return the first bytes of the buffer."""
        held = self._buffer
        assert held is not None  # noqa: S101 - for the type checker
        data = bytes(held[:n])
        del held[:n]
        if not held:
            self._buffer = None
            if self._pending_events:
                self._settle_soon()
        return data

    # ---- flow

    def pause(self) -> Self:
        """Emit no `data` or `end` until `resume`. Tickets and alerts are still processed."""
        self._connection.check_caller()
        self._paused = True
        self._connection.set_flow(None)
        return self

    def resume(self) -> Self:
        """Emit `data` again."""
        self._connection.check_caller()
        self._paused = False
        self._update_flow()
        return self

    def _listeners_changed(self, event: str) -> None:
        if event != "data":
            super()._listeners_changed(event)
            if self._pending_events:
                self._settle_soon()
            return
        if self._reading and self._has("data"):
            self._listeners_of("data").pop()
            raise UsageStateError("A read of this socket is pending", hint="Use either reads or data listeners, not both.")
        self._update_flow()

    def _update_flow(self) -> None:
        """Start or stop the flow, depending on listeners, pause and running async listeners."""
        listeners = self._listeners_of("data")
        if self._running_listeners:
            return
        if self._paused and listeners:
            if self._error is not None:  # a pause does not delay an error
                self._settle_soon()
            return
        if self._paused:
            self._settle_soon()  # emit the events that the flow has delayed
            return
        if listeners and self._buffer is not None:
            self._loop.call_soon(run_in, self._context_vars, self._flow_buffer)
        elif self._phase is OPEN and self._error is None and self._input is not DROPPED:
            self._connection.set_flow(self._find_flow())
        elif listeners and self._phase is IDLE:
            self._begin()
        if self._pending_events or self._error is not None or self._input is ENDED:
            self._settle_soon()

    def _find_flow(self) -> Listener | None:
        """Return the function that the engine calls with data, or None.

        For speed, a single listener is returned itself.
        """
        listeners = self._listeners_of("data")
        if len(listeners) == 1 and self._silent_since is None and not isinstance(only := listeners[0], Once):
            return only
        return self._emit_data if listeners else None

    @property
    def _awaits_listeners(self) -> bool:
        """Whether listeners have not received all data yet, or an async listener still runs."""
        return self._running_listeners > 0 or (self._buffer is not None and self._has("data"))

    def _settle_soon(self) -> None:
        """Emit pending events in the loop's next iteration.

        Until then the application can still add listeners.
        """
        self._loop.call_soon(run_in, self._context_vars, self._settle_end)

    def _flow_buffer(self) -> None:
        """Emit the buffered data of earlier reads, before the engine's."""
        if self._buffer is not None and self._has("data") and not self._paused and not self._running_listeners:
            try:
                self._emit_data(self._take_from_buffer(len(self._buffer)))
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # noqa: BLE001  (user code)
                self._listener_failed(error)
            self._update_flow()

    def _emit_data(self, chunk: bytes) -> None:
        if self._silent_since is not None:
            self._end_silence()
        self._emitting += 1
        try:
            for listener in self._callables("data"):
                if self._input is DROPPED:  # the previous listener closed the socket
                    return
                self._listener_returned(listener(chunk))
        finally:
            self._emitted()

    def _emit(self, event: str, *args: object) -> bool:
        if self._listeners is None or not self._listeners.get(event):
            return False  # the usual case: a fast path
        self._emitting += 1
        try:
            return super()._emit(event, *args)
        finally:
            self._emitted()

    def _emitted(self) -> None:
        self._emitting -= 1
        if self._pending_events and not self._emitting and self._phase >= CLOSED:
            self._emit_pending()

    def _listener_returned(self, result: object) -> None:
        """Stop the flow until an async data listener is done; any other result is ignored."""
        awaitable = find_awaitable(result)
        if awaitable is not None:
            self._connection.set_flow(None)
            self._running_listeners += 1
            self._run_listener(as_coroutine(awaitable), self._data_listener_done)

    def _data_listener_done(self, task: asyncio.Task[Any]) -> None:
        self._running_listeners -= 1
        error = failure_of_task(task)
        if isinstance(error, asyncio.CancelledError):  # what it awaited was cancelled, not the socket
            self._report(error, from_user_code=True)
            error = None
        self._task_done(task, error)
        if error is None:
            self._update_flow()

    def _wake_reader(self) -> None:
        if self._read_waiter is not None and not self._read_waiter.done():
            self._read_waiter.set_result(None)


def _find_end(destination: Any) -> Callable[[], object]:
    """Return what ends `destination`: `close`, if it cannot end one direction, as asyncio's TLS."""
    if hasattr(destination, "end"):
        return destination.end  # type: ignore[no-any-return]
    can_write_eof = getattr(destination, "can_write_eof", None)
    return destination.close if can_write_eof is not None and not can_write_eof() else destination.write_eof  # type: ignore[no-any-return]


def _check_destination(destination: object, *, ends: bool) -> None:
    """Raise before anything is read: a destination that cannot take data would lose it."""
    lacks_end = ends and not (hasattr(destination, "end") or hasattr(destination, "write_eof"))
    if lacks_end or not (hasattr(destination, "write") and hasattr(destination, "drain")):
        hint = "Give a TLSSocket or an asyncio StreamWriter." if not lacks_end else "Give end=False, if it is not to be ended."
        raise wrong_type(
            "destination", f"an object with write(), drain(){' and end() or write_eof()' if ends else ''}", destination, hint=hint
        )
