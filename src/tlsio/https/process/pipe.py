"""One end of a pipe between processes: messages of any size, and neither side waits for the other.

`multiprocessing.Pipe` does not suit a loop. Its `send` waits for a process that does not read; and
where the loop has made its descriptor non-blocking, as uvloop does, it fails within a message.

A message is a pickle after its length, four bytes. Both sides are processes of this server.
"""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["Pipe"]

_LENGTH = 4  # bytes
_CHUNK = 65536
_LAST = 5.0  # seconds that `send_last` waits for the other side


class Pipe:
    """Sends and receives messages in a loop."""

    def __init__(self, end: socket.socket) -> None:
        """Take one socket of a pair; `start` connects it with the loop."""
        end.setblocking(False)  # noqa: FBT003
        self._socket = end
        self._loop: asyncio.AbstractEventLoop | None = None
        self._received: Callable[[Any], object] = lambda _: None
        self._ended: Callable[[], object] = lambda: None
        self._in, self._out = bytearray(), bytearray()

    def start(self, *, received: Callable[[Any], object], ended: Callable[[], object]) -> None:
        """Call `received` with each message, and `ended` when the other side has closed."""
        self._received, self._ended = received, ended
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self.read)

    def send(self, message: object) -> None:
        """Send a message, now or when the other side reads. If it has gone, nothing happens."""
        self._out += _frame(message)
        self._write()

    def send_last(self, message: object) -> None:
        """Send a message when no loop runs any more; to a side that does not read, it is lost."""
        self._socket.settimeout(_LAST)
        try:
            self._socket.sendall(self._out + _frame(message))
        except OSError:
            return

    def read(self) -> None:
        """Receive what is here."""
        is_open = True
        while is_open:
            try:
                chunk = self._socket.recv(_CHUNK)
            except BlockingIOError:
                break
            except OSError:  # ECONNRESET: it has ended with messages unread
                chunk = b""
            self._in += chunk
            is_open = bool(chunk)
        while (message := self._take()) is not None:
            self._received(pickle.loads(message))  # noqa: S301 - of our own process
        if not is_open:
            self.stop()
            self._ended()

    def stop(self) -> None:
        """Receive no more, and drop what could not be sent."""
        if self._loop is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._loop = None

    def close(self) -> None:
        """Stop, and close the socket."""
        self.stop()
        self._socket.close()

    def _take(self) -> bytes | None:
        end = _LENGTH + int.from_bytes(self._in[:_LENGTH])
        if len(self._in) < max(end, _LENGTH + 1):
            return None
        message = bytes(self._in[_LENGTH:end])
        del self._in[:end]
        return message

    def _write(self) -> None:
        try:
            while self._out:
                del self._out[: self._socket.send(self._out)]
        except BlockingIOError:
            if self._loop is not None:
                self._loop.add_writer(self._socket, self._write)
            return
        except OSError:  # the other side has gone, which `read` reports
            self._out.clear()
        if self._loop is not None:
            self._loop.remove_writer(self._socket)


def _frame(message: object) -> bytes:
    data = pickle.dumps(message)
    return len(data).to_bytes(_LENGTH) + data
