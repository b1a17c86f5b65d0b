"""HTTP/1.1: uvicorn's protocol, with the limits that a server needs which faces strangers.

uvicorn bounds neither the size of a head nor the time that a client takes for it. Both are added
here, around its parser's callbacks; the parsing itself stays its own.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from tlsio.https.deadline import Deadline, Pace

if TYPE_CHECKING:
    from uvicorn import Config

    from tlsio.https.connection import Connection

__all__ = ["Http1Protocol"]

_log = logging.getLogger("tlsio.https")


class _ConnectionConfig:
    """uvicorn's Config, with the application as one connection sees it."""

    __slots__ = ("_config", "loaded_app")

    def __init__(self, config: Config, app: Any) -> None:
        self._config = config
        self.loaded_app = app

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)


class _HeadError(Exception):
    """A head that is refused: raised in a callback of the parser, which then stops."""


class Http1Protocol(HttpToolsProtocol):
    """The protocol of one connection."""

    def __init__(self, connection: Connection) -> None:
        """Serve one connection."""
        service = connection.service
        config: Any = _ConnectionConfig(service.config, connection)
        super().__init__(config, service.state, service.lifespan_state, asyncio.get_running_loop())
        self.access_log = False  # Connection writes it, for both versions
        self._connection = connection
        self._limits = connection.limits
        self._head_bytes = self._head_fields = 0
        self._unparsed = 0  # bytes since the parser told of anything
        self._refusal = (400, "Invalid HTTP request received.")
        self._deadline = Deadline(self.loop, self._head_late)
        self._reading: Pace | None = None
        self._writing: Pace | None = None

    # ---- asyncio

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._deadline.set(self._limits.header_timeout)

    def data_received(self, data: bytes) -> None:
        """Parse what the client sent."""
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > self._limits.max_header_bytes and not self.transport.is_closing():
            self._refuse(431, "The head of the request is too large.")
            self.send_400_response("")

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the timers."""
        super().connection_lost(exc)
        self._end_limits()

    def pause_writing(self) -> None:
        """Limit the time until the client reads on."""
        super().pause_writing()
        if self._writing is None:
            self._writing = Pace(self.loop, self._limits, self._reads_too_slowly)
        self._writing.wait()

    def resume_writing(self) -> None:
        """Let the application go on."""
        super().resume_writing()
        if self._writing is not None:
            self._writing.stop()
            self._writing.move(_DRAINED)

    # ---- the parser calls

    def on_message_begin(self) -> None:
        """Limit the head's time from its first byte."""
        super().on_message_begin()
        self._head_bytes = self._head_fields = self._unparsed = 0
        self._deadline.set(self._limits.header_timeout)

    def on_url(self, url: bytes) -> None:
        """Take a part of the URL."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; one after the body, a trailer, is counted and left out."""
        self._head_fields += 1
        self._count(len(name) + len(value) + 4)
        if self._head_fields > self._limits.max_headers:
            raise self._refuse(431, "The request has too many headers.")
        if self._deadline.is_set:
            super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._unparsed = 0
        self._head_bytes += size
        if self._head_bytes > self._limits.max_header_bytes:
            raise self._refuse(431, "The head of the request is too large.")

    def on_headers_complete(self) -> None:
        """Start the request."""
        self._deadline.clear()
        self._unparsed = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of the request."""
        self._unparsed = 0
        super().on_message_complete()

    # ---- refusals

    def _refuse(self, status: int, text: str) -> _HeadError:
        self._refusal = (status, text)
        return _HeadError(text)

    def send_400_response(self, msg: str) -> None:
        """Answer with the reason that was found, and close."""
        status, text = self._refusal
        self._end_limits()
        body = f"{text}\n".encode()
        head = [STATUS_LINE[status], b"content-type: text/plain; charset=utf-8\r\n"]
        head += [b"%s: %s\r\n" % one for one in self.server_state.default_headers]
        head.append(b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body))
        self.transport.write(b"".join([*head, body]))
        self.transport.close()

    def handle_websocket_upgrade(self) -> None:
        """Give the connection to uvicorn's WebSocket protocol."""
        self._end_limits()
        super().handle_websocket_upgrade()

    def _end_limits(self) -> None:
        self._deadline.end()
        for pace in (self._reading, self._writing):
            if pace is not None:
                pace.end()

    def _head_late(self) -> None:
        if self.transport.is_closing():
            return
        if self._head_bytes:
            self._refuse(408, "The head of the request took too long.")
            self.send_400_response("")
        else:
            self.transport.close()

    def _reads_too_slowly(self) -> None:
        _log.info("%s: the connection was aborted: the client is slower than min_rate", self._connection.client_text)
        self.transport.abort()


_DRAINED = 49152  # bytes: what the client has read at least when a transport of 64 KiB resumes at a quarter
