"""TLSSocket: what the user holds of one connection.

One object, three habits: pull (`await read`), flow (`on("data")`), iterate (`async for`). The engine's connection below tells
its news by `_asked`, `_opened`, `_readable`, `_drained`, `_input_ended`, `_finished`, `_broken` and `_listener_failed`, always
from the loop, never from inside an OpenSSL call.

The life of a socket: handshake → open → one or both directions ended → closed. `_fail` is the one way to die of an error,
`_close_now` the one way to be closed: it lets the descriptor go, wakes all who wait and emits `close`.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import socket as _socket
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from tlsio.connection.emitter import Emitter, _Once
from tlsio.connection.stream_errors import IncompleteReadError, LimitOverrunError
from tlsio.model.errors import (
    ConnectionLostError,
    HandshakeTimeoutError,
    TLSError,
    TruncatedError,
    UsageStateError,
    UsageTypeError,
    UsageValueError,
)
from tlsio.model.faults import error_from_fault
from tlsio.trust.certificate import link, parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator
    from types import TracebackType
    from typing import Self

    from cryptography.x509 import Certificate

    from tlsio.connection.client_side import ClientSide
    from tlsio.connection.context import SecureContext
    from tlsio.connection.server_side import ServerSide
    from tlsio.native._core import Connection
    from tlsio.trust.certificate import PeerCertificate

__all__ = ["TLSSocket"]

_log = logging.getLogger("tlsio")

_DATA_CHUNK = 65536         # what one read gives at most when no size is asked for: what the engine takes from the kernel at once


class TLSSocket(Emitter):
    """One TLS connection. (Node: `tls.TLSSocket`.)

    Made by `connect` and by servers; `TLSSocket(stream, ...)` wraps a byte stream: a socket, an asyncio (reader, writer), an
    anyio ByteStream or another TLSSocket. The client side of such a socket verifies as `connect` does.

    Events:
        secure: the handshake is done. `secure_connect`: and the server was let in (clients).
        data(bytes): plaintext, while a listener is there. `end`: the peer has ended. `drain`: writing may go on.
        timeout: nothing moved for as long as `set_timeout` says. `error(error)`, and last `close(had_error)`.
    """

    __slots__ = (
        "__weakref__", "_address", "_awaited", "_buffer", "_close_waiters", "_closed", "_closing", "_connection", "_context", "_context_vars", "_drainers",
        "_driver", "_end_called", "_error", "_error_taken", "_hook", "_idle_timeout", "_idle_timer", "_loop", "_opener", "_paused",
        "_reader", "_reading", "_refused", "_secure", "_server", "_settings", "_side", "_tasks",
    )  # fmt: skip

    _EVENTS: ClassVar[frozenset[str]] = frozenset(
        {"secure", "secure_connect", "data", "end", "drain", "timeout", "error", "close"}
    )

    def __init__(self, stream: object, *, is_server: bool = False, **options: Any) -> None:  # noqa: ANN401
        from tlsio.connection.wrap import wrap_stream  # noqa: PLC0415  (it makes sockets, so it knows this module)

        wrap_stream(self, stream, is_server=is_server, options=options)

    def _set_up(self, connection: Connection, side: ClientSide | ServerSide, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._connection = connection
        self._side = side
        self._settings = side.options
        self._loop = loop
        self._context_vars = contextvars.copy_context()
        self._server: Any = None
        self._driver: Any = None
        self._opener: asyncio.Future[None] | None = None     # who waits for the handshake
        self._reader: asyncio.Future[None] | None = None     # who waits for input
        self._reading = False
        self._buffer: bytearray | None = None       # read, but not yet asked for: what is left behind a line
        self._drainers: list[asyncio.Future[None]] | None = None
        self._close_waiters: list[asyncio.Future[None]] | None = None
        self._tasks: set[asyncio.Task[Any]] | None = None
        self._hook: asyncio.Task[None] | None = None
        self._context: SecureContext | None = None       # chosen by name
        self._refused: BaseException | None = None       # why we refused the peer, in the words of whoever did
        self._error: BaseException | None = None
        self._error_taken = False
        self._secure = self._end_called = self._closing = self._closed = self._paused = False
        self._awaited = 0        # async data listeners that are not done yet
        self._idle_timeout: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._address: tuple[Any, Any] | None = None      # local and remote, where the engine does not know them
        connection.bind(self, self._context_vars, side.options.high_water_mark)

    # ---- reading: pull

    async def read(self, n: int = -1) -> bytes:
        """Read what is there, at most `n` bytes; waits for at least one. b"" at the end, every time.

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
        self._claim()
        try:
            while len(self._held()) < n:
                await self._grow(n, n - len(self._held()))
            return self._cut(n)
        finally:
            self._reading = False

    async def readuntil(self, sep: bytes = b"\n") -> bytes:
        """Read up to and including `sep`.

        Raises:
            IncompleteReadError: the end came first. LimitOverrunError: no `sep` within `read_limit`; nothing is lost.
        """
        if not sep:
            raise UsageValueError("sep must not be empty")
        self._claim()
        try:
            start = 0
            while (found := self._held().find(sep, start)) < 0:
                if len(self._held()) >= self._settings.read_limit:
                    raise LimitOverrunError(f"No {sep!r} within read_limit ({self._settings.read_limit} bytes)", len(self._held()))
                start = max(0, len(self._held()) - len(sep) + 1)
                await self._grow(None, _DATA_CHUNK)
            if found + len(sep) > self._settings.read_limit:
                raise LimitOverrunError(f"{sep!r} comes after read_limit ({self._settings.read_limit} bytes)", found)
            return self._cut(found + len(sep))
        finally:
            self._reading = False

    async def readline(self) -> bytes:
        """Read a line with its end; at the end of the stream what is left, then b""."""
        try:
            return await self.readuntil(b"\n")
        except IncompleteReadError as error:
            return error.partial

    async def pipe(self, destination: Any, *, end: bool = True) -> int:  # noqa: ANN401  (whatever can write and drain)
        """Write all that comes to `destination`, at its pace; then end it. Returns the bytes moved.

        A cancellation leaves what was read written, and `destination` open.
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
        if self._reading:
            raise UsageStateError("Somebody reads from this socket already", hint="One reader at a time: await the first read.")
        if self._has("data"):
            raise UsageStateError("This socket has a data listener", hint='Either on("data") or reads: off("data", ...) first.')
        if not self._secure and self._driver is not None and self._error is None:
            self._driver.start()
        self._reading = True

    def _take(self, limit: int) -> bytes | None:
        """What can be had now; None: nothing yet. b"": the end."""
        if self._buffer:
            return self._cut(min(limit, len(self._buffer)))
        data = self._connection.read(limit) if self._secure else None
        if data is not None:
            return data
        if self._error is not None:
            self._raise()
        if self._connection.input_ended and self._secure:
            if self._connection.truncated and not self._settings.allow_truncation:
                raise TruncatedError
            return b""
        if self._closed:
            raise ConnectionLostError("The socket is closed", code="ERR_SOCKET_CLOSED")
        return None

    async def _more(self) -> None:
        """Wait until there may be something to take. Cancelled: nothing is lost, nobody waits."""
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
            while (data := self._take(min(limit, _DATA_CHUNK))) is None:
                await self._more()
        finally:
            self._buffer = held
        if not data:
            raise IncompleteReadError(self._cut(len(self._held())), expected)
        if self._buffer is None:
            self._buffer = bytearray()
        self._buffer += data

    def _held(self) -> bytearray:
        return self._buffer if self._buffer is not None else bytearray()

    def _cut(self, n: int) -> bytes:
        held = self._held()
        data = bytes(held[:n])
        del held[:n]
        if not held:
            self._buffer = None
        return data

    # ---- reading: flow

    def pause(self) -> TLSSocket:
        """Give no `data` until `resume`. Tickets, alerts and the close are still seen."""
        self._paused = True
        self._connection.set_flow(None)
        return self

    def resume(self) -> TLSSocket:
        """Let `data` flow again."""
        self._paused = False
        self._listeners_changed("data")
        return self

    def _listeners_changed(self, event: str) -> None:
        if event != "data" or self._paused or self._closed or self._awaited:
            return
        listeners = self._listeners_of("data")
        if listeners and self._reading:
            self._listeners_of("data").pop()
            raise UsageStateError("Somebody reads from this socket", hint="Either read or listen to data, not both.")
        if not listeners:
            self._connection.set_flow(None)
        elif self._secure:
            self._flow()
        elif self._driver is not None:
            self._driver.start()

    def _flow(self) -> None:
        """Start the flow, the shortest way: a listener that is alone is called by the engine itself."""
        listeners = self._listeners_of("data")
        alone = listeners[0] if len(listeners) == 1 else None
        self._connection.set_flow(self._emit_data if alone is None or isinstance(alone, _Once) else alone)
        if self._buffer:
            held = self._cut(len(self._buffer))
            self._loop.call_soon(self._emit_data, held)

    def _emit_data(self, chunk: bytes) -> None:
        """Several listeners; those that are async are awaited before the next chunk comes."""
        for entry in tuple(self._listeners_of("data")):
            if isinstance(entry, _Once):
                self._remove("data", entry)
                result = entry.function(chunk)
            else:
                result = entry(chunk)
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
        if not self._awaited:
            self._listeners_changed("data")

    # ---- writing

    def write(self, data: Any) -> bool:  # noqa: ANN401  (bytes-like)
        """Queue plaintext; it is copied before this returns. False: above the high-water mark, wait for `drain`.

        Raises:
            UsageStateError: after our own end, close or destroy (ERR_STREAM_WRITE_AFTER_END).
            UsageTypeError: not bytes-like.
        """
        if type(data) is not bytes and not isinstance(data, bytes | bytearray | memoryview):
            data = self._check_bytes(data)
        if self._end_called:
            raise UsageStateError("write after end", code="ERR_STREAM_WRITE_AFTER_END")
        if self._error is not None or self._closed:
            return False
        if not self._secure and self._driver is not None:
            self._driver.start()
        return self._connection.write(data)

    @staticmethod
    def _check_bytes(data: object) -> memoryview:
        if isinstance(data, str):
            raise UsageTypeError("write takes bytes, got str", hint="Encode it: write(text.encode()).")
        try:
            return memoryview(data)  # type: ignore[arg-type]
        except TypeError:
            raise UsageTypeError(f"write takes bytes-like data, got {type(data).__name__}") from None

    async def drain(self) -> None:
        """Wait until less than the high-water mark waits to be sent. Many may wait.

        Raises:
            TLSError: what ended the connection.
        """
        self._check_writable()
        if self._connection.writable_length <= self._settings.high_water_mark and (self._secure or not self._connection.writable_length):
            return
        waiter = self._loop.create_future()
        if self._drainers is None:
            self._drainers = []
        self._drainers.append(waiter)
        try:
            await waiter
        finally:
            if self._drainers is not None and waiter in self._drainers:
                self._drainers.remove(waiter)
        self._check_writable()

    async def send(self, data: Any) -> None:  # noqa: ANN401
        """Write and drain. Cancelled: the data stays queued."""
        self.write(data)
        await self.drain()

    def end(self, data: Any = None) -> TLSSocket:  # noqa: ANN401
        """End our direction: what is queued, close_notify, FIN. Reading goes on."""
        if data is not None:
            self.write(data)
        if not self._end_called:
            self._end_called = True
            if self._secure:
                self._connection.end()
        return self

    def _check_writable(self) -> None:
        if self._error is not None:
            self._raise()
        if self._connection.out_error:
            self._raise_lost(self._connection.out_error)
        if self._closed:
            raise ConnectionLostError("The socket is closed", code="ERR_SOCKET_CLOSED")

    @staticmethod
    def _raise_lost(number: int) -> NoReturn:
        code = {32: "EPIPE", 104: "ECONNRESET"}.get(number) or f"errno {number}"
        raise ConnectionLostError(f"The peer does not take data any more: {os.strerror(number)}", code=code)

    # ---- ending

    def close(self) -> None:
        """End, throw away what still comes, and be closed when the peer has ended too, or makes no progress for `close_timeout`."""
        if self._closed or self._closing:
            return
        self._closing = True
        self._end_called = True
        if not self._secure:
            self.destroy()
            return
        self._connection.set_flow(None)
        self._connection.close()
        self._wake_reader()
        if self._settings.close_timeout is not None:
            self._watch_close(self._connection.wire_bytes_read + self._connection.wire_bytes_written)

    def _watch_close(self, before: int) -> None:
        def check() -> None:
            moved = self._connection.wire_bytes_read + self._connection.wire_bytes_written
            if self._closed:
                return
            if moved == before:
                self._close_now(had_error=False)
            else:
                self._watch_close(moved)

        self._set_timer(self._settings.close_timeout, check)

    def destroy(self, error: BaseException | None = None) -> TLSSocket:
        """Close at once, without close_notify. Who waits or reads later gets `error`, else ERR_SOCKET_CLOSED."""
        self._end_called = True
        if self._closed:
            return self
        if error is not None:
            self._fail(error)
        else:
            self._close_now(had_error=False)
        return self

    async def wait_closed(self) -> None:
        """Wait until the connection is closed. Never raises its error."""
        if self._closed:
            return
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
        await self.handshake()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        if kind is not None:
            self.destroy()
        await self.aclose()

    async def handshake(self) -> TLSSocket:
        """Do the handshake of a wrapped stream; the first read or write starts it too. Done already: returns at once.

        Raises:
            TLSError: why it failed. Cancelled: the connection is destroyed.
        """
        if self._secure and self._error is None:
            return self
        if self._error is not None:
            self._raise()
        if self._closed:
            raise ConnectionLostError("The socket is closed", code="ERR_SOCKET_CLOSED")
        if self._opener is None:
            self._opener = self._loop.create_future()
        if self._driver is not None:
            self._driver.start()
        try:
            await asyncio.shield(self._opener)
        except asyncio.CancelledError:
            self.destroy()
            raise
        if self._error is not None:
            self._raise()
        return self

    # ---- news from the engine

    def _asked(self, question: int) -> None:
        self._side.asked(self, question)

    def _opened(self) -> None:
        self._secure = True
        if self._server is not None:
            self._server._secured(self)  # noqa: SLF001
        self._emit("secure")
        if not self._side.is_server:
            self._emit("secure_connect")
        if self._opener is not None and not self._opener.done():
            self._opener.set_result(None)
        if not self._connection.has_flow:
            self._listeners_changed("data")
        if self._end_called and not self._closed:
            self._connection.end()

    def _readable(self) -> None:
        self._wake_reader()

    def _drained(self) -> None:
        self._wake(self._drainers)
        self._drainers = None
        self._emit("drain")

    def _input_ended(self, truncated: bool) -> None:
        self._wake_reader()
        flowing = self._has("data")
        if truncated and not self._settings.allow_truncation:
            if flowing:
                self._fail(TruncatedError())
            return
        self._emit("end")
        if flowing and not self._settings.allow_half_open:
            self.end()

    def _finished(self) -> None:
        """Both directions have ended."""
        self._close_now(had_error=False)

    def _broken(self) -> None:
        if self._closed:
            return
        error = self._refused or self._error_of_fault()
        if self._secure:
            self._fail(error)
        else:
            self._handshake_failed(error)

    def _error_of_fault(self) -> TLSError:
        host = None if self._side.is_server else self._side.host
        return error_from_fault(self._connection.fault(), host=host)

    def _handshake_failed(self, error: BaseException) -> None:
        self._error = error
        if self._server is not None:
            self._error_taken = True
            self._server._handshake_failed(self, error)  # noqa: SLF001
            self._close_now(had_error=True)
        else:
            self._fail(error)

    def _listener_failed(self, error: BaseException) -> None:
        """Code of the user raised: the socket ends with that, and it is never lost."""
        taken = self._has("error")
        self._fail(error)
        if not taken:
            self._report(error, "a listener failed")

    # ---- the end

    def _fail(self, error: BaseException) -> None:
        """Die of an error: all who wait get it, all later calls too, and the listeners."""
        if self._closed:
            return
        self._error = error
        waiting = self._opener or self._reader or self._drainers
        if self._emit("error", error) or waiting:
            self._error_taken = True
        self._close_now(had_error=True)
        if not self._error_taken and self._has("data"):
            self._untaken()

    def _close_now(self, *, had_error: bool) -> None:
        if self._closed:
            return
        self._closed = True
        self._end_called = True
        if self._hook is not None:
            self._hook.cancel()
            self._hook = None
        if not self._side.is_server:
            self._side.gone()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        self._connection.destroy(linger=self._secure)
        self._connection.release()
        if self._driver is not None:
            self._driver.close()
        self._wake_reader()
        self._wake(self._drainers)
        self._wake([self._opener] if self._opener else None)
        self._emit("close", had_error)
        if self._server is not None:
            self._server._closed_socket(self)  # noqa: SLF001
        self._wake(self._close_waiters)
        self._drainers = self._close_waiters = None

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    @staticmethod
    def _wake(waiters: list[asyncio.Future[None]] | None) -> None:
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def _raise(self) -> NoReturn:
        self._error_taken = True
        error = self._error
        assert error is not None
        raise error

    def _report(self, error: BaseException, what: str) -> None:
        self._error_taken = True
        self._loop.call_exception_handler({"message": f"tlsio: {what} ({self!r})", "exception": error})

    def _untaken(self) -> None:
        """Nobody took the error: a client's is the application's matter, a server's peer only a number."""
        error = self._error
        if error is None or self._error_taken:
            return
        self._error_taken = True
        if self._server is not None and isinstance(error, TLSError):
            _log.debug("%r: %s", self, error)
        elif not self._loop.is_closed():
            self._report(error, "an error nobody took")

    def __del__(self) -> None:
        if getattr(self, "_error", None) is not None:
            self._untaken()

    # ---- tasks and timers

    def _spawn(self, coroutine: Any) -> asyncio.Task[Any]:  # noqa: ANN401
        """Run an async listener as a task of this socket."""
        task = self._loop.create_task(coroutine)
        if self._tasks is None:
            self._tasks = set()
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        if self._tasks is not None:
            self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._listener_failed(error)

    def set_timeout(self, seconds: float | None) -> TLSSocket:
        """Emit `timeout` when no plaintext moved for so long; without a listener the socket is destroyed. None: never."""
        if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float)):
            raise UsageTypeError(f"seconds must be a number or None, got {type(seconds).__name__}")
        if seconds is not None and not 0 < seconds < float("inf"):
            raise UsageValueError(f"seconds must be more than 0, got {seconds}", code="ERR_OUT_OF_RANGE")
        self._idle_timeout = None if seconds is None else float(seconds)
        if self._closed or self._closing:
            return self
        self._set_timer(self._idle_timeout, self._check_idle)
        return self

    def _check_idle(self) -> None:
        if self._idle_timeout is None or self._closed:
            return
        left = self._connection.last_activity + self._idle_timeout - self._loop.time()
        if left > 0:
            self._set_timer(left, self._check_idle)
        elif self._has("timeout"):
            self._set_timer(self._idle_timeout, self._check_idle)
            self._emit("timeout")
        else:
            self._fail(HandshakeTimeoutError("Nothing moved within the idle timeout", code="ETIMEDOUT"))

    def _set_timer(self, seconds: float | None, function: Callable[[], None]) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._idle_timer = None if seconds is None else self._loop.call_later(seconds, function)

    # ---- facts

    def _use(self, context: SecureContext | None) -> None:
        self._context = context

    @property
    def authorized(self) -> bool:
        """The peer has shown who it is and was found good. (Node: `authorized`.)"""
        if not self._side.is_server:
            return self._secure and self._side.authorized
        connection = self._connection
        return bool(self._secure and connection.peer_certificate and not connection.verify_errors and not connection.pins_failed)

    @property
    def authorization_error(self) -> str | None:
        """The code of what speaks against the peer, None when nothing does. (Node: `authorizationError`.)"""
        if not self._side.is_server:
            return self._side.authorization_error
        if not self._secure or self.authorized:
            return None
        return self._side._judge(self).authorization_error  # noqa: SLF001

    @property
    def encrypted(self) -> bool:
        """Always True, as in Node."""
        return True

    @property
    def secure_connecting(self) -> bool:
        return not self._secure and not self._closed

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def readable(self) -> bool:
        return not self._closed and not self._closing and not self._connection.input_ended

    @property
    def writable(self) -> bool:
        return not self._end_called and not self._closed and self._error is None and not self._connection.out_error

    @property
    def truncated(self) -> bool:
        """The peer's FIN came without close_notify: data may be missing."""
        return self._connection.truncated

    @property
    def writable_length(self) -> int:
        """Bytes written but not yet sent."""
        return self._connection.writable_length

    @property
    def bytes_read(self) -> int:
        return self._connection.bytes_read

    @property
    def bytes_written(self) -> int:
        return self._connection.bytes_written

    @property
    def wire_bytes_read(self) -> int:
        """TLS overhead included. (Node v4: `CryptoStream.bytesWritten` of the other side.)"""
        return self._connection.wire_bytes_read

    @property
    def wire_bytes_written(self) -> int:
        return self._connection.wire_bytes_written

    @property
    def alpn_protocol(self) -> str | None:
        """The protocol both sides agreed on, or None. (Node: `alpnProtocol`, false for none.)"""
        name = self._connection.alpn_protocol
        return None if name is None else name.decode("latin-1")

    @property
    def servername(self) -> str | None:
        """The name of the hello, a lower-case A-label, or None."""
        return self._connection.server_name

    def get_protocol(self) -> str | None:
        """"TLSv1.2", "TLSv1.3"; None before the handshake."""
        return self._connection.protocol if self._secure else None

    def get_cipher(self) -> dict[str, str] | None:
        """`name` and `version` as OpenSSL has them, `standard_name` as the RFCs; None before the handshake."""
        cipher = self._connection.cipher if self._secure else None
        return None if cipher is None else dict(zip(("name", "standard_name", "version"), cipher, strict=True))

    def is_session_reused(self) -> bool:
        return self._connection.session_reused

    def get_peer_certificate(self, detailed: bool = False) -> PeerCertificate | None:  # noqa: FBT001, FBT002  (Node's)
        """The peer's certificate, None when it sent none. `detailed`: with `issuer_certificate`, up to the root."""
        own = self._connection.peer_certificate
        if own is None:
            return None
        return link(self._connection.peer_chain or (own,), self._connection.verified_chain) if detailed else parse(own)

    def get_certificate(self) -> PeerCertificate | None:
        """Our own certificate, None when we have none."""
        own = self._connection.certificate
        return None if own is None else parse(own)

    def get_peer_x509_certificate(self) -> Certificate | None:
        """The peer's certificate as `cryptography` has it."""
        found = self.get_peer_certificate()
        return None if found is None else found.x509

    def get_x509_certificate(self) -> Certificate | None:
        found = self.get_certificate()
        return None if found is None else found.x509

    def get_verified_chain(self) -> tuple[Certificate, ...]:
        """The chain as it was verified, leaf first; () when it was not."""
        if not self.authorized:
            return ()
        return tuple(parse(one).x509 for one in self._connection.verified_chain)

    # ---- addresses and socket options

    def _addresses(self) -> tuple[Any, Any]:
        if self._address is not None:
            return self._address
        return self._connection.local_address, self._connection.peer_address

    @property
    def local_address(self) -> str | None:
        return _part(self._addresses()[0], 0)

    @property
    def local_port(self) -> int | None:
        return _part(self._addresses()[0], 1)

    @property
    def local_family(self) -> str | None:
        return _family(self._addresses()[0])

    @property
    def remote_address(self) -> str | None:
        return _part(self._addresses()[1], 0)

    @property
    def remote_port(self) -> int | None:
        return _part(self._addresses()[1], 1)

    @property
    def remote_family(self) -> str | None:
        return _family(self._addresses()[1])

    def address(self) -> dict[str, Any]:
        """Our end: `address`, `family`, `port`; empty when there is none."""
        local = self._addresses()[0]
        return {} if not isinstance(local, tuple) else {"address": local[0], "family": _family(local), "port": local[1]}

    def set_no_delay(self, enable: bool = True) -> TLSSocket:  # noqa: FBT001, FBT002  (Node's)
        """Send small writes at once (TCP_NODELAY)."""
        self._set_option(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, int(enable))
        return self

    def set_keep_alive(self, enable: bool = True, initial_delay: float = 0.0) -> TLSSocket:  # noqa: FBT001, FBT002
        """Probe an idle peer, for the first time after `initial_delay` seconds (0: the system's default)."""
        self._set_option(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, int(enable))
        if enable and initial_delay >= 1:
            self._set_option(_socket.IPPROTO_TCP, _socket.TCP_KEEPIDLE, int(initial_delay))
        return self

    def _set_option(self, level: int, name: int, value: int) -> None:
        descriptor = self._connection.fileno
        if descriptor < 0:
            return
        handle = _socket.socket(fileno=os.dup(descriptor))
        try:
            handle.setsockopt(level, name, value)
        except OSError:         # a Unix socket has none of these
            pass
        finally:
            handle.close()

    def __repr__(self) -> str:
        role = "server" if self._side.is_server else "client"
        state = "closed" if self._closed else "open" if self._secure else "connecting"
        remote = self._addresses()[1]
        peer = f"{remote[0]}:{remote[1]}" if isinstance(remote, tuple) else "stream"
        return f"<TLSSocket {role} {state} peer={peer} {self.get_protocol() or 'no TLS yet'}>"

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:  # noqa: ANN401
        raise UsageTypeError("A TLSSocket is neither pickled nor copied")


def _part(address: object, index: int) -> Any:  # noqa: ANN401
    return address[index] if isinstance(address, tuple) else None


def _family(address: object) -> str | None:
    if not isinstance(address, tuple):
        return None
    return "IPv6" if ":" in address[0] else "IPv4"
