"""The half of a TLSSocket that gives out plaintext: by reads, by iteration, or to `data` listeners.

What the engine has is asked for, never handed up unasked: a read takes it when it comes, a flow has it called with each chunk.
`_buffer` holds what was read but belongs to the next call: the bytes behind a line. It is never empty: then it is None.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tlsio.connection.emitter import Once
from tlsio.connection.socket_facts import SocketFacts
from tlsio.connection.stream_errors import IncompleteReadError, LimitOverrunError
from tlsio.model.errors import TruncatedError, UsageStateError, UsageValueError

if TYPE_CHECKING:
    import contextvars
    from collections.abc import AsyncIterator, Coroutine
    from typing import NoReturn, Self

    from tlsio.connection.emitter import Listener
    from tlsio.model.options import ConnectOptions, ServerOptions

__all__ = ["SocketReading"]

_DATA_CHUNK = 65536  # what one read gives at most when no size is asked for: what the engine takes from the kernel at once


class SocketReading(SocketFacts):
    """One reader at a time, in one of three habits."""

    __slots__ = (
        "_awaited",
        "_begun",
        "_buffer",
        "_closing",
        "_context_vars",
        "_end_told",
        "_error",
        "_loop",
        "_paused",
        "_raised",
        "_reader",
        "_reading",
        "_settings",
    )

    _awaited: int  # async data listeners that are not done yet
    _begun: bool
    _buffer: bytearray | None
    _closing: bool
    _context_vars: contextvars.Context
    _end_told: bool
    _error: BaseException | None
    _loop: asyncio.AbstractEventLoop
    _paused: bool
    _raised: BaseException | None  # what a call of ours raised last about the connection
    _reader: asyncio.Future[None] | None  # who waits for input
    _reading: bool
    _settings: ServerOptions | ConnectOptions

    if TYPE_CHECKING:  # the socket's

        def _begin(self) -> None: ...
        def _raise(self, error: BaseException) -> NoReturn: ...
        def _raise_closed(self) -> NoReturn: ...
        def _tell_end(self) -> None: ...

    # ---- pull

    async def read(self, n: int = -1) -> bytes:
        """Read what is there, at most `n` bytes; waits for at least one. b"" at the end, every time.

        A cancellation loses nothing, here and in the calls below.

        Raises:
            TLSError: what ended the connection, after all bytes that came before it.
            UsageStateError: somebody else reads.
        """
        if n < -1:
            raise UsageValueError(f"n must be -1 or more, got {n}", code="ERR_OUT_OF_RANGE")
        if n == 0:
            return b""
        self._claim()
        try:
            limit = _DATA_CHUNK if n < 0 else n
            while (data := self._take(limit)) is None:
                await self._more()
            return data
        finally:
            self._reading = False

    async def readexactly(self, n: int) -> bytes:
        """Read `n` bytes.

        Raises:
            IncompleteReadError: the end came first; `partial` has what there was.
        """
        if n < 0:
            raise UsageValueError(f"n must not be negative, got {n}", code="ERR_OUT_OF_RANGE")
        if n == 0:
            return b""
        self._claim()
        try:
            while (held := len(self._buffer or b"")) < n:
                await self._grow(n, min(n - held, _DATA_CHUNK))
            return self._cut(n)
        finally:
            self._reading = False

    async def readuntil(self, sep: bytes = b"\n") -> bytes:
        """Read up to and including `sep`.

        Raises:
            IncompleteReadError: the end came first.
            LimitOverrunError: no `sep` within `read_limit`; nothing is lost.
        """
        if not sep:
            raise UsageValueError("sep must not be empty")
        limit, searched = self._settings.read_limit, 0
        self._claim()
        try:
            while (found := -1 if self._buffer is None else self._buffer.find(sep, searched)) < 0:
                held = len(self._buffer or b"")
                searched = max(0, held - len(sep) + 1)
                if held >= limit:
                    raise LimitOverrunError(f"No {sep!r} within read_limit ({limit} bytes)", searched)
                await self._grow(None, _DATA_CHUNK)
            if found + len(sep) > limit:
                raise LimitOverrunError(f"{sep!r} comes after read_limit ({limit} bytes)", found)
            return self._cut(found + len(sep))
        finally:
            self._reading = False

    async def readline(self) -> bytes:
        """Read a line with its end; at the end of the stream what is left, then b""."""
        try:
            return await self.readuntil(b"\n")
        except IncompleteReadError as error:
            return error.partial

    async def pipe(self, destination: Any, *, end: bool = True) -> int:
        """Write all that comes to `destination`, at its pace; then end it. Returns the bytes moved.

        A cancellation leaves what was read written, and `destination` open.

        Args:
            destination: A TLSSocket, an asyncio StreamWriter, or whatever has `write`, `drain`, and `end` or `write_eof`.
            end: Whether to end it.
        """
        total = 0
        async for chunk in self:
            destination.write(chunk)
            await destination.drain()
            total += len(chunk)
        if end:
            (destination.end if hasattr(destination, "end") else destination.write_eof)()
        return total

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        data = await self.read()
        if not data:
            raise StopAsyncIteration
        return data

    def _claim(self) -> None:
        self._connection.check_caller()
        if self._reading:
            raise UsageStateError("Somebody reads from this socket already", hint="One reader at a time: await the first read.")
        if self._has("data"):
            raise UsageStateError("This socket has a data listener", hint='Either on("data") or reads: off("data", ...) first.')
        if not self._begun:
            self._begin()
        self._reading = True

    def _take(self, limit: int) -> bytes | None:
        """What can be had now; None: nothing yet. b"": the end."""
        if self._buffer is not None:
            return self._cut(limit)
        data = self._connection.read(limit) if self._secure else None
        if data is not None:
            return data
        if self._error is not None:
            self._raise(self._error)
        if self._closing:
            self._raise_closed()
        if not self._connection.input_ended:
            return None
        if self._connection.truncated and not self._settings.allow_truncation:
            self._raise(TruncatedError())
        return b""

    async def _more(self) -> None:
        """Wait until there may be something to take."""
        self._reader = self._loop.create_future()
        self._connection.await_input()
        try:
            await self._reader
        finally:
            self._reader = None
            self._connection.cancel_await()

    async def _grow(self, expected: int | None, limit: int) -> None:
        """Add to what is held; the end is an error here."""
        held, self._buffer = self._buffer, None
        try:
            while (data := self._take(limit)) is None:
                await self._more()
        finally:
            self._buffer = held
        if not data:
            self._raised = error = IncompleteReadError(b"" if held is None else self._cut(len(held)), expected)
            raise error
        if self._buffer is None:
            self._buffer = bytearray()
        self._buffer += data

    def _cut(self, n: int) -> bytes:
        """The first bytes of what is held; held is never empty: it is None then."""
        held = self._buffer
        assert held is not None  # noqa: S101 - for the type checker
        data = bytes(held[:n])
        del held[:n]
        if not held:
            self._buffer = None
        return data

    # ---- flow

    def pause(self) -> Self:
        """Give no `data` until `resume`. Tickets, alerts and the close are still seen."""
        self._connection.check_caller()
        self._paused = True
        self._connection.set_flow(None)
        return self

    def resume(self) -> Self:
        """Let `data` flow again."""
        self._connection.check_caller()
        self._paused = False
        self._update_flow()
        return self

    def _listeners_changed(self, event: str) -> None:
        super()._listeners_changed(event)
        if event != "data":
            return
        if self._reading and self._has("data"):
            self._listeners_of("data").pop()
            raise UsageStateError("Somebody reads from this socket", hint="Either read or listen to data, not both.")
        self._update_flow()

    def _update_flow(self) -> None:
        """Start or stop the flow, as listeners, pause and async listeners allow it."""
        if self._paused or self._closed or self._awaited:
            return
        listeners = self._listeners_of("data")
        if listeners and not self._secure:
            self._begin()
        elif listeners and self._buffer is not None:
            self._loop.call_soon(self._flow_held, context=self._context_vars)
        else:
            self._connection.set_flow(self._find_flow())
            if self._connection.input_ended and not self._end_told:
                self._loop.call_soon(self._tell_end, context=self._context_vars)

    def _find_flow(self) -> Listener | None:
        """Who is given the data. A listener that is alone is called by the engine itself: that is the shortest way."""
        listeners = self._listeners_of("data")
        if len(listeners) == 1 and not isinstance(alone := listeners[0], Once):
            return alone
        return self._emit_data if listeners else None

    def _flow_held(self) -> None:
        """What reads have left behind flows first."""
        if self._buffer is not None and self._has("data") and not self._paused and not self._closed and not self._awaited:
            try:
                self._emit_data(self._cut(len(self._buffer)))
            except Exception as error:  # noqa: BLE001  (code of the user)
                self._listener_failed(error)
        self._update_flow()

    def _emit_data(self, chunk: bytes) -> None:
        for listener in self._callables("data"):
            result = listener(chunk)
            if asyncio.iscoroutine(result):
                self._await_listener(result)

    def _await_listener(self, result: Coroutine[Any, Any, Any]) -> None:
        """Hold the flow until an async data listener is done."""
        self._connection.set_flow(None)
        self._awaited += 1
        self._spawn(self._finish_listener(result))

    async def _finish_listener(self, result: Coroutine[Any, Any, Any]) -> None:
        try:
            await result
        finally:
            self._awaited -= 1
        self._update_flow()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
