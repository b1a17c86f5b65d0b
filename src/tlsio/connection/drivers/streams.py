"""Adapters for the kinds of byte streams that a connection may run over."""

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


__all__ = ["LINGER", "Stream", "close_stream", "find_adapter"]

CHUNK = 65536  # bytes per receive, as in the native driver

LINGER = 2.0  # seconds for the peer to receive our last bytes, as in the native driver


class Stream(Protocol):
    """The interface that the driver expects; `find_adapter` has one for each supported kind."""

    addresses: tuple[Any, Any]
    """The local and the remote address, None if unknown."""

    @property
    def close_timeout(self) -> float | None:
        """Seconds that `aclose` may take; None if the stream has a timeout of its own."""

    async def receive(self) -> bytes:
        """Return some bytes, or b"" at the end; an exception means that the stream is broken."""

    async def send(self, data: bytes) -> None:
        """Send all of `data`, and return when the stream has accepted it."""

    async def send_eof(self) -> bool:
        """End our direction; False if the stream cannot do that."""

    async def aclose(self) -> None:
        """Close the stream after an orderly end."""

    async def abort(self) -> None:
        """Close the stream at once."""

    def fileno(self) -> int:
        """Return the socket's descriptor, -1 if there is none."""


def find_adapter(stream: Any, label: str = "stream") -> Callable[[Any], Stream]:
    """Return a function that wraps `stream` in a `Stream`; `label` is the argument's name.

    Raises:
        UsageError: `stream` is not of a supported kind.
    """
    if isinstance(stream, _socket.socket):
        check_connected(label, stream)
        return _Socket
    if isinstance(stream, tuple) and len(stream) == 2 and hasattr(stream[0], "read") and hasattr(stream[1], "drain"):  # noqa: PLR2004
        if not isinstance(stream[0], io.IOBase):  # not a pipe or file, whose read blocks the loop
            return lambda pair: _ReaderWriter(*pair)
    elif isinstance(stream, type) or _is_datagram(stream):
        pass
    elif hasattr(stream, "receive") and hasattr(stream, "send") and hasattr(stream, "aclose"):
        return _ByteStream
    elif hasattr(stream, "read") and hasattr(stream, "send") and hasattr(stream, "wait_closed"):
        return _TLSSocketStream
    hint = "Give a connected socket, an asyncio (reader, writer) tuple, an anyio ByteStream or a TLSSocket."
    raise wrong_type(label, "a byte stream", stream, hint=hint)


async def close_stream(stream: Any) -> None:
    """Close a stream that `find_adapter` accepts, at once; a failure of that is ignored."""
    with suppress(Exception):
        await find_adapter(stream)(stream).abort()


def _is_datagram(stream: object) -> bool:
    """Whether it is an anyio stream that may lose or reorder data, such as a UDP socket."""
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
    """An asyncio stream pair. What its reader has buffered already is TLS input."""

    close_timeout = LINGER

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        writer.transport.set_write_buffer_limits(0)  # so that `drain` waits until the kernel has all bytes
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
        from anyio import EndOfStream  # noqa: PLC0415  (anyio is optional; such a stream comes from it)

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
    """Another TLSSocket: TLS within TLS."""

    close_timeout = None  # the inner socket has its own

    def __init__(self, sock: Any) -> None:
        self._socket = sock
        self.addresses: tuple[Any, Any] = sock._addresses()  # noqa: SLF001 - a TLSSocket; it has no public method for both

    async def receive(self) -> bytes:
        try:
            return bytes(await self._socket.read())
        except TruncatedError:
            return b""  # the TLS above detects a truncation by itself

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
