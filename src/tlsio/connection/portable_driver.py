"""The portable driver: the engine over any byte stream.

Theory of operation. Two tasks: one receives from the stream and feeds the engine, one sends what the engine has gathered.
The engine never waits for either: what it cannot send yet stays in it, bounded, and what nobody reads stops the receiving task.
"""

from __future__ import annotations

import asyncio
import errno
import socket as _socket
from typing import TYPE_CHECKING, Any, Protocol

from tlsio.model.errors import UsageTypeError

if TYPE_CHECKING:
    from tlsio.native._core import Connection

__all__ = ["PortableDriver", "Stream"]

_CHUNK = 65536              # one receive; what the native driver takes from the kernel at once
_HELD = 65536               # ciphertext nobody reads: beyond it the stream is left alone
_LINGER = 2.0               # as the native driver: seconds for the peer to read our alert and end


class Stream(Protocol):
    """What the driver needs of a byte stream; made by `adapt` for the kinds we know."""

    addresses: tuple[Any, Any]

    async def receive(self) -> bytes:
        """Some bytes, b"" at the end; OSError when broken."""

    async def send(self, data: bytes) -> None: ...

    async def send_eof(self) -> None: ...

    async def aclose(self) -> None: ...


class PortableDriver:
    """One connection's stream and its two tasks."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stream: object) -> None:
        self.connection: Connection = None  # type: ignore[assignment]  # set with the socket, before anything happens
        self.last_activity = loop.time()
        self._loop = loop
        self._stream = _adapt(stream)
        self.addresses = self._stream.addresses
        self._outgoing: list[bytes] = []
        self._eof = False
        self._closing = False
        self._started = False
        self._scheduled = False
        self._receiver: asyncio.Task[None] | None = None
        self._sender: asyncio.Task[None] | None = None
        self._may_send = asyncio.Event()
        self._may_receive = asyncio.Event()

    # ---- the engine's side

    @property
    def blocked(self) -> bool:
        """The stream has enough to do: what is gathered stays in the engine."""
        return bool(self._outgoing)

    def send(self, data: bytes) -> None:
        self._outgoing.append(data)
        self._may_send.set()

    def send_eof(self) -> None:
        self._eof = True
        self._may_send.set()

    def schedule(self, _connection: Connection) -> None:
        """Something was written, or a reader has come: a turn is due."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self.connection.settle()
        self._may_receive.set()
        if self.connection.needs_turn:
            self.schedule(self.connection)

    # ---- the socket's side

    def start(self) -> None:
        """Begin: once the user wants something of the socket."""
        if self._started or self._closing:
            return
        self._started = True
        self._receiver = self._loop.create_task(self._receive(), name="tlsio receive")
        self._sender = self._loop.create_task(self._send(), name="tlsio send")
        self.connection.start()

    def close(self) -> None:
        """Send what is left, then let the stream go."""
        self._closing = True
        self._may_send.set()
        self._may_receive.set()
        if not self._started:
            self._sender = self._loop.create_task(self._finish(), name="tlsio close")

    async def wait_closed(self) -> None:
        """Until the stream is let go."""
        if self._sender is not None:
            await asyncio.wait([self._sender])

    # ---- the tasks

    async def _receive(self) -> None:
        try:
            while not self._closing:
                while self.connection.held_input > _HELD and not self._closing:
                    self._may_receive.clear()
                    await self._may_receive.wait()
                data = await self._stream.receive()
                if self._closing:
                    return
                self.last_activity = self._loop.time()
                if not data:
                    self.connection.feed_eof()
                    return
                self.connection.feed(data)
                if self.connection.needs_turn:
                    self.schedule(self.connection)
        except OSError as error:
            if not self._closing:
                self.connection.lost(error.errno or errno.ECONNRESET)

    async def _send(self) -> None:
        try:
            ended = False
            while True:
                while self._outgoing:
                    await self._stream.send(self._outgoing[0])
                    self._outgoing.pop(0)
                    self.last_activity = self._loop.time()
                    if not self._closing:
                        self.connection.settle()
                if self._eof and not ended:
                    ended = True
                    await self._stream.send_eof()
                if self._closing:
                    break
                self._may_send.clear()
                if not self._outgoing and not (self._eof and not ended):
                    await self._may_send.wait()
        except OSError as error:
            self._outgoing.clear()
            if not self._closing:
                self.connection.lost(error.errno or errno.EPIPE)
        finally:
            await self._finish()

    async def _finish(self) -> None:
        if self._receiver is not None and self._receiver is not asyncio.current_task():
            self._receiver.cancel()
        await self._stream.aclose()


# ---- the kinds of streams we know


def _adapt(stream: Any) -> Stream:  # noqa: ANN401
    if isinstance(stream, _socket.socket):
        return _Socket(stream)
    if isinstance(stream, tuple) and len(stream) == 2 and hasattr(stream[0], "read") and hasattr(stream[1], "drain"):  # noqa: PLR2004
        return _ReaderWriter(*stream)
    if hasattr(stream, "receive") and hasattr(stream, "send") and hasattr(stream, "aclose"):
        return _ByteStream(stream)
    if hasattr(stream, "read") and hasattr(stream, "send") and hasattr(stream, "wait_closed"):
        return _TLSSocketStream(stream)
    raise UsageTypeError(
        f"Not a byte stream: {type(stream).__name__}",
        hint="A connected socket, an asyncio (reader, writer) tuple, an anyio ByteStream or a TLSSocket.",
    )


class _Socket:
    """A connected socket."""

    def __init__(self, sock: _socket.socket) -> None:
        sock.setblocking(False)
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

    async def send_eof(self) -> None:
        self._socket.shutdown(_socket.SHUT_WR)

    async def aclose(self) -> None:
        self._socket.close()


class _ReaderWriter:
    """An asyncio stream pair. What the reader holds already goes into TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.addresses = (writer.get_extra_info("sockname"), writer.get_extra_info("peername"))

    async def receive(self) -> bytes:
        return await self._reader.read(_CHUNK)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def send_eof(self) -> None:
        if self._writer.can_write_eof():
            self._writer.write_eof()

    async def aclose(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            pass        # it is gone, which is what was wanted


class _ByteStream:
    """An anyio ByteStream."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401
        self._stream = stream
        self.addresses = (None, None)

    async def receive(self) -> bytes:
        import anyio  # noqa: PLC0415  (whoever has such a stream has it)

        try:
            return bytes(await self._stream.receive(_CHUNK))
        except anyio.EndOfStream:
            return b""
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise ConnectionResetError(errno.ECONNRESET, "the stream below broke") from error

    async def send(self, data: bytes) -> None:
        import anyio  # noqa: PLC0415

        try:
            await self._stream.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise BrokenPipeError(errno.EPIPE, "the stream below broke") from error

    async def send_eof(self) -> None:
        try:
            await self._stream.send_eof()
        except NotImplementedError:
            pass        # close_notify has said it already

    async def aclose(self) -> None:
        await self._stream.aclose()


class _TLSSocketStream:
    """Another TLSSocket: TLS in TLS."""

    def __init__(self, sock: Any) -> None:  # noqa: ANN401
        self._socket = sock
        self.addresses = sock._addresses()  # noqa: SLF001

    async def receive(self) -> bytes:
        return bytes(await self._socket.read())

    async def send(self, data: bytes) -> None:
        await self._socket.send(data)

    async def send_eof(self) -> None:
        self._socket.end()

    async def aclose(self) -> None:
        self._socket.close()
        await self._socket.wait_closed()
