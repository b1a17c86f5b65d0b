"""The portable driver: the engine over any byte stream.

Theory of operation. One task receives from the stream and feeds the engine, for as long as the connection lives; another one
sends what the engine has given, and exists while there is something to send. The engine never waits for either: what cannot
be sent yet stays in it, bounded, and what nobody reads stops the receiving task.

Letting go. The last bytes, an alert above all, get their chance: they are sent, then the stream's end, then what the peer still
sends is received and thrown away until it ends too. Whoever makes that last longer than `_LINGER` loses the stream at once.
"""

from __future__ import annotations

import asyncio
import errno
import socket as _socket
from typing import TYPE_CHECKING, Any, Protocol

from tlsio.model.checks import wrong_type
from tlsio.model.errors import TruncatedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context as ContextVars

    from tlsio.native._core import Connection

__all__ = ["PortableDriver", "Stream"]

_CHUNK = 65536  # one receive; what the native driver takes from the kernel at once
_HELD = 65536  # ciphertext nobody reads: beyond it the stream is left alone
_LINGER = 2.0  # as the native driver: seconds for the peer to take our last words


class Stream(Protocol):
    """What the driver needs of a byte stream; made by `find_adapter` for the kinds we know."""

    addresses: tuple[Any, Any]
    """The local and the remote one, None where there is none."""

    async def receive(self) -> bytes:
        """Some bytes, b"" at the end; any exception: it is broken."""

    async def send(self, data: bytes) -> None:
        """Send all of it."""

    async def send_eof(self) -> bool:
        """End our direction; False when the stream knows no such thing."""

    async def aclose(self) -> None:
        """Close what has ended in order."""

    async def abort(self) -> None:
        """Close at once."""

    def fileno(self) -> int:
        """The socket's descriptor, -1 when there is none."""


class PortableDriver:
    """One connection's stream and the tasks that move its bytes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stream: object) -> None:
        self.connection: Connection  # set with the socket, before anything happens
        self.context_vars: ContextVars | None = None
        self.failure: BaseException | None = None  # what the stream raised, in its own words
        self._loop = loop
        self._stream = find_adapter(stream)(stream)
        self.addresses = self._stream.addresses
        self._deadline: asyncio.TimerHandle | None = None
        self._outgoing: list[bytes] = []
        self._end_due = self._end_sent = False
        self._half_closes = True
        self._closing = False
        self._scheduled = False
        self._receiver: asyncio.Task[None] | None = None
        self._sender: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None  # the receiver waits for it

    # ---- the engine's side

    def wake(self) -> None:
        """There is something to send, or our end."""
        self._start_sender()

    def set_deadline(self, when: float | None) -> None:
        """A record has to be whole, or another handshake done, at that instant of the loop's clock; None: nothing is due."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if when is None or self._closing else self._loop.call_at(when, self.connection.expire)

    def schedule(self, _connection: Connection) -> None:
        """Something was written, or a reader has come: a turn is due."""
        if not self._scheduled and not self._closing:
            self._scheduled = True
            self._loop.call_soon(self._turn, context=self.context_vars)

    def later(self, call: Callable[..., object], *args: object) -> None:
        """Call it in the loop's next pass."""
        self._loop.call_soon(call, *args)

    def _turn(self) -> None:
        self._scheduled = False
        if self._closing:
            return
        self.connection.settle()
        self._after_input()

    def _after_input(self) -> None:
        if self._room is not None and self._has_room and not self._room.done():
            self._room.set_result(None)
        if self.connection.needs_turn:
            self.schedule(self.connection)

    @property
    def _has_room(self) -> bool:
        return self._closing or self.connection.held_input <= _HELD

    # ---- the socket's side

    def fileno(self) -> int:
        """The descriptor below it all, -1 when there is none."""
        return self._stream.fileno()

    def start(self) -> None:
        """Begin to receive."""
        self._receiver = self._loop.create_task(self._receive(), name="tlsio receive", context=self.context_vars)

    def close(self, *, at_once: bool, drain: bool) -> asyncio.Task[None]:
        """Let the stream go, once.

        Args:
            at_once: Nothing was agreed yet: nothing is worth waiting for.
            drain: The peer may still be sending: wait for its end, so that our last words are not lost.

        Returns:
            The task that does it.
        """
        self._closing = True
        self.set_deadline(None)
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        if not at_once and self._receiver is not None:
            self._end_due = not self._end_sent
            self._start_sender()
        return self._loop.create_task(self._let_go(at_once=at_once, drain=drain), name="tlsio close")

    async def _let_go(self, *, at_once: bool, drain: bool) -> None:
        quiet = True
        try:
            if at_once:
                quiet = False
            else:
                quiet = await _finish(self._sender)
                if quiet and drain and self._half_closes:  # else the peer does not know that we wait for it
                    await _finish(self._receiver)
        finally:
            tasks = [task for task in (self._sender, self._receiver) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._close_stream(quiet=quiet)

    async def _close_stream(self, *, quiet: bool) -> None:
        try:
            if quiet:
                async with asyncio.timeout(_LINGER):
                    await self._stream.aclose()
            else:
                await self._stream.abort()
        except TimeoutError:
            await self._stream.abort()
        except Exception as error:  # noqa: BLE001  (of somebody else's stream; it is gone, which is what was wanted)
            self.failure = self.failure or error

    # ---- the tasks

    async def _receive(self) -> None:
        """Feed the engine until the stream ends; once closing, throw away what still comes."""
        try:
            while data := await self._stream.receive():
                if self._closing:
                    continue
                self.connection.feed(data)
                if not self._closing:
                    self._after_input()
                if not self._has_room:
                    await self._wait_for_room()
        except Exception as error:  # noqa: BLE001  (whatever somebody else's stream raises)
            self._note(error)
            if not self._closing:
                self.connection.feed_error(_number_of(error, errno.ECONNRESET))
        else:
            if not self._closing:
                self.connection.feed_eof()

    async def _wait_for_room(self) -> None:
        while not self._has_room:
            self._room = self._loop.create_future()
            await self._room
            self._room = None

    def _start_sender(self) -> None:
        if self._sender is None:
            self._sender = self._loop.create_task(self._send(), name="tlsio send", context=self.context_vars)

    async def _send(self) -> None:
        try:
            while (data := self.connection.output()) is not None or self.connection.fin_due or self._end_due:
                if data is not None:
                    self._outgoing = [data]
                    await self._stream.send(data)
                    self._outgoing = []
                    self.connection.sent()
                else:
                    self._end_due, self._end_sent = False, True
                    self._half_closes = await self._stream.send_eof()
                    self.connection.fin_sent()
                if not self._closing:
                    self.connection.settle()  # it may have more
                    self._after_input()
        except Exception as error:  # noqa: BLE001
            self._note(error)
            await self._hear_last_words()
            self._outgoing.clear()
            if not self._closing:
                self.connection.unsent(_number_of(error, errno.EPIPE))
        finally:
            self._sender = None

    async def _hear_last_words(self) -> None:
        """Sending has failed. The peer's alert may be on its way: it is to be told rather than the failure."""
        if self._receiver is not None and not self._closing:
            await asyncio.wait([self._receiver], timeout=_LINGER)

    def _note(self, error: Exception) -> None:
        if self.failure is None:
            self.failure = error


async def _finish(task: asyncio.Task[None] | None) -> bool:
    """Whether a task comes to its end in time."""
    if task is None:
        return True
    done, _ = await asyncio.wait([task], timeout=_LINGER)
    return bool(done)


def _number_of(error: Exception, default: int) -> int:
    return (error.errno if isinstance(error, OSError) else None) or default


# ---- the kinds of streams we know


def find_adapter(stream: Any, label: str = "stream") -> Callable[[Any], Stream]:
    """Return what makes a `Stream` of `stream`; `label` is the caller's name for it.

    Raises:
        UsageError: it is none of those we know.
    """
    if isinstance(stream, _socket.socket):
        return _Socket
    if isinstance(stream, tuple) and len(stream) == 2 and hasattr(stream[0], "read") and hasattr(stream[1], "drain"):  # noqa: PLR2004
        return lambda pair: _ReaderWriter(*pair)
    if hasattr(stream, "receive") and hasattr(stream, "send") and hasattr(stream, "aclose"):
        return _ByteStream
    if hasattr(stream, "read") and hasattr(stream, "send") and hasattr(stream, "wait_closed"):
        return _TLSSocketStream
    hint = "A connected socket, an asyncio (reader, writer) tuple, an anyio ByteStream or a TLSSocket."
    raise wrong_type(label, "a byte stream", stream, hint=hint)


class _Socket:
    """A connected socket."""

    def __init__(self, sock: _socket.socket) -> None:
        sock.settimeout(0)
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        try:
            self.addresses: tuple[Any, Any] = (sock.getsockname(), sock.getpeername())
        except OSError:
            self.addresses = (None, None)

    async def receive(self) -> bytes:
        return await self._loop.sock_recv(self._socket, _CHUNK)

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._socket, data)

    async def send_eof(self) -> bool:
        self._socket.shutdown(_socket.SHUT_WR)
        return True

    async def aclose(self) -> None:
        self._socket.close()

    abort = aclose

    def fileno(self) -> int:
        return self._socket.fileno()


class _ReaderWriter:
    """An asyncio stream pair. What the reader holds already goes into TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.addresses: tuple[Any, Any] = (writer.get_extra_info("sockname"), writer.get_extra_info("peername"))

    async def receive(self) -> bytes:
        return await self._reader.read(_CHUNK)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def send_eof(self) -> bool:
        if self._writer.can_write_eof():
            self._writer.write_eof()
            return True
        return False

    async def aclose(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def abort(self) -> None:
        self._writer.transport.abort()
        await self.aclose()

    def fileno(self) -> int:
        sock = self._writer.get_extra_info("socket")
        return -1 if sock is None else int(sock.fileno())


class _ByteStream:
    """An anyio ByteStream."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.addresses: tuple[Any, Any] = (None, None)

    async def receive(self) -> bytes:
        from anyio import EndOfStream  # noqa: PLC0415  (whoever has such a stream has anyio)

        try:
            return bytes(await self._stream.receive(_CHUNK))
        except EndOfStream:
            return b""

    async def send(self, data: bytes) -> None:
        await self._stream.send(data)

    async def send_eof(self) -> bool:
        try:
            await self._stream.send_eof()
        except NotImplementedError:
            return False
        return True

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def abort(self) -> None:
        from anyio import aclose_forcefully  # noqa: PLC0415

        await aclose_forcefully(self._stream)

    def fileno(self) -> int:
        return -1


class _TLSSocketStream:
    """Another TLSSocket: TLS in TLS."""

    def __init__(self, sock: Any) -> None:
        self._socket = sock
        self.addresses: tuple[Any, Any] = sock._addresses()  # noqa: SLF001

    async def receive(self) -> bytes:
        try:
            return bytes(await self._socket.read())
        except TruncatedError:
            return b""  # whether that was too early, the TLS above knows

    async def send(self, data: bytes) -> None:
        await self._socket.send(data)

    async def send_eof(self) -> bool:
        self._socket.end()
        return True

    async def aclose(self) -> None:
        await self._socket.aclose()

    async def abort(self) -> None:
        self._socket.destroy()
        await self._socket.wait_closed()

    def fileno(self) -> int:
        return int(self._socket._fileno())  # noqa: SLF001
