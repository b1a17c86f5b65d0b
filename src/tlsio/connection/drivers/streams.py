"""The kinds of byte streams that a connection may run over, and the four calls that the portable driver makes on each."""

from __future__ import annotations

import asyncio
import io
import socket as _socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from tlsio.connection.drivers.given_sockets import check_connected
from tlsio.model.checks import wrong_type
from tlsio.model.errors import TruncatedError

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["LINGER", "Stream", "find_adapter"]

CHUNK = 65536  # one receive; what the native driver takes from the kernel at once

LINGER = 2.0  # as the native driver: seconds for the peer to take our last words


class Stream(Protocol):
    """What the driver needs of a byte stream; made by `find_adapter` for the kinds we know."""

    addresses: tuple[Any, Any]
    """The local and the remote one, None where there is none."""

    @property
    def close_timeout(self) -> float | None:
        """Seconds that `aclose` may take; None where the stream has a bound of its own."""

    async def receive(self) -> bytes:
        """Some bytes, b"" at the end; any exception: it is broken."""

    async def send(self, data: bytes) -> None:
        """Send all of it, and return when the stream has taken it."""

    async def send_eof(self) -> bool:
        """End our direction; False when the stream knows no such thing."""

    async def aclose(self) -> None:
        """Close what has ended in order."""

    async def abort(self) -> None:
        """Close at once."""

    def fileno(self) -> int:
        """The socket's descriptor, -1 when there is none."""


def find_adapter(stream: Any, label: str = "stream") -> Callable[[Any], Stream]:
    """Return what makes a `Stream` of `stream`; `label` is the caller's name for it.

    Raises:
        UsageError: it is none of those we know.
    """
    if isinstance(stream, _socket.socket):
        check_connected(label, stream)
        return _Socket
    if isinstance(stream, tuple) and len(stream) == 2 and hasattr(stream[0], "read") and hasattr(stream[1], "drain"):  # noqa: PLR2004
        if not isinstance(stream[0], io.IOBase):  # a pipe or file, whose read blocks the loop
            return lambda pair: _ReaderWriter(*pair)
    elif isinstance(stream, type) or _is_datagram(stream):
        pass
    elif hasattr(stream, "receive") and hasattr(stream, "send") and hasattr(stream, "aclose"):
        return _ByteStream
    elif hasattr(stream, "read") and hasattr(stream, "send") and hasattr(stream, "wait_closed"):
        return _TLSSocketStream
    hint = "A connected socket, an asyncio (reader, writer) tuple, an anyio ByteStream or a TLSSocket."
    raise wrong_type(label, "a byte stream", stream, hint=hint)


def _is_datagram(stream: object) -> bool:
    """Whether it is one of anyio's streams that lose or reorder what is sent, such as a connected UDP socket."""
    abc: Any = sys.modules.get("anyio.abc")
    return abc is not None and isinstance(stream, abc.UnreliableObjectReceiveStream) and not isinstance(stream, abc.ByteReceiveStream)


class _Socket:
    """A connected socket."""

    close_timeout = LINGER

    def __init__(self, sock: _socket.socket) -> None:
        sock.settimeout(0)
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        try:
            self.addresses: tuple[Any, Any] = (sock.getsockname(), sock.getpeername())
        except OSError:
            self.addresses = (None, None)

    async def receive(self) -> bytes:
        return await self._loop.sock_recv(self._socket, CHUNK)

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

    close_timeout = LINGER

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        writer.transport.set_write_buffer_limits(0)  # `drain` then waits until the kernel has all, and not only most of it
        self.addresses: tuple[Any, Any] = (writer.get_extra_info("sockname"), writer.get_extra_info("peername"))

    async def receive(self) -> bytes:
        return await self._reader.read(CHUNK)

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

    close_timeout = LINGER

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        sock = self._find_socket()
        self.addresses: tuple[Any, Any] = (None, None)
        if sock is not None:
            with suppress(OSError):
                self.addresses = (sock.getsockname(), sock.getpeername())

    async def receive(self) -> bytes:
        from anyio import EndOfStream  # noqa: PLC0415  (whoever has such a stream has anyio)

        try:
            return bytes(await self._stream.receive(CHUNK))
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
        sock = self._find_socket()
        return -1 if sock is None else int(sock.fileno())

    def _find_socket(self) -> Any:
        extra = getattr(self._stream, "extra", None)
        if extra is None:
            return None
        from anyio.abc import SocketAttribute  # noqa: PLC0415

        return extra(SocketAttribute.raw_socket, None)


class _TLSSocketStream:
    """Another TLSSocket: TLS in TLS."""

    close_timeout = None  # it has its own

    def __init__(self, sock: Any) -> None:
        self._socket = sock
        self.addresses: tuple[Any, Any] = sock._addresses()  # noqa: SLF001 - a TLSSocket, which has no public word for it

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
        return int(self._socket._fileno())  # noqa: SLF001 - as above
