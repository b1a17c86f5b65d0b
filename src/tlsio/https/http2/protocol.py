"""A connection of HTTP/2: requests to an ASGI application, their responses back.

Each request is a `Stream` with a task of its own. The number of tasks is what `max_streams` bounds,
not the number of streams: a client that opens streams and resets them at once (CVE-2023-44487) gets
no more work done than one that waits for its responses.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from tlsio.https.deadline import Deadline
from tlsio.https.http2 import engine as engines
from tlsio.https.http2.engine import Engine, ErrorCodes
from tlsio.https.http2.fields import MalformedError, parse_request
from tlsio.https.http2.stream import Stream

if TYPE_CHECKING:
    from tlsio.https.http2.engine import Header
    from tlsio.https.http2.fields import RequestHead
    from tlsio.https.http2.stream import App
    from tlsio.https.limits import Limits
    from tlsio.https.connection import Connection

__all__ = ["Http2Protocol"]

_RETIRE = 1.0  # seconds that a client has to answer the PING after our first GOAWAY: any round trip
_NOT_IMPLEMENTED = 501
_TOO_LARGE = 413
_BODY = "http.request"


class Http2Protocol(asyncio.Protocol):
    """The protocol of one connection.

    Attributes:
        engine: Framing and flow control.
        limits: Those of the server.
        loop: The loop.
        log: Where errors of the application go.
        is_paused: The transport has enough to send.
    """

    def __init__(self, connection: Connection) -> None:
        """Serve one connection; `connection` is what the server knows of it."""
        self._connection = connection
        self.limits: Limits = connection.limits
        self.log = logging.getLogger("tlsio.https")
        self.is_paused = False
        self.loop = asyncio.get_running_loop()
        self.engine = Engine(self, engines.Limits(self.limits.max_streams, self.limits.max_header_bytes), self.loop.time)
        self.transport: asyncio.Transport
        self._streams: dict[int, Stream] = {}  # those that the client has not ended
        self._running: set[Stream] = set()  # whose application has not returned
        self._waiting_for_room: set[Stream] = set()
        self._deadline = Deadline(self.loop, self._expired)
        self._is_receiving = self._owes_head = False
        self._is_retiring = self._refuses_new = self._ends_when_idle = self._is_over = False

    # ---- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send our settings."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._connection.service.opened(self)
        self._watch_head()
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Handle what the client sent."""
        if self._is_over:
            return
        self._is_receiving = True
        try:
            reason = self.engine.receive(data)
        finally:
            self._is_receiving = False
        if reason is not None:
            self._end(reason)
            return
        self._watch_head()
        self.flush()

    def eof_received(self) -> None:
        """Close: a client of HTTP/2 needs both directions."""

    def pause_writing(self) -> None:
        """Let streams wait."""
        self.is_paused = True

    def resume_writing(self) -> None:
        """Let streams go on."""
        self.is_paused = False
        self._wake_writers()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all streams: their applications get `http.disconnect`."""
        del exc
        self._is_over = True
        self._deadline.end()
        for stream in tuple(self._running):
            stream.end()
        self._streams.clear()
        self._waiting_for_room.clear()
        self._connection.service.closed(self)

    # ---- the server

    def shutdown(self) -> None:
        """Serve the requests that are here or on their way, then close."""
        if self._is_over or self._is_retiring:
            return
        self._is_retiring = True
        self.engine.retire()
        self._deadline.set(_RETIRE)
        self.flush()

    def _finish_if_idle(self) -> None:
        if self._ends_when_idle and not self._running and not self._is_over:
            self._is_over = True
            self.transport.close()

    def _end(self, reason: str) -> None:
        """Close a connection whose client broke the rules; the GOAWAY says which."""
        self._is_over = True
        self.log.info("%s: the connection was closed: %s", self._connection.client_text, reason)
        for stream in tuple(self._running):
            stream.end()
        self._write()
        self.transport.close()

    # ---- limits in time

    def _watch_head(self) -> None:
        """Limit the time for the rest of a head, and the time between requests."""
        owes = self.engine.is_within_head
        if owes == self._owes_head or self._is_retiring:
            return
        self._owes_head = owes
        if owes:
            self._deadline.set(self.limits.header_timeout)
        else:
            self._watch_idle()

    def _watch_idle(self) -> None:
        if self._running:
            self._deadline.clear()
        else:
            self._deadline.set(self.limits.keep_alive_timeout)

    def _expired(self) -> None:
        if self._is_retiring:
            self.ping_answered()  # it does not answer; what has not come by now is not served
        elif self._owes_head:
            self.log.info("%s: the connection was closed: header_timeout has passed", self._connection.client_text)
            self._goodbye()
        else:
            self._goodbye()

    def _goodbye(self) -> None:
        if not self._is_over:
            self._is_over = True
            self.engine.close()
            self._write()
            self.transport.close()

    # ---- the engine calls

    def request_received(self, stream_id: int, headers: list[Header], *, is_ended: bool) -> None:
        """Start a request, or refuse it."""
        if self._refuses_new or len(self._running) >= self.limits.max_streams:
            self.engine.reset(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        try:
            head = parse_request(headers)
        except MalformedError:
            self.engine.reset(stream_id, ErrorCodes.PROTOCOL_ERROR)
            return
        if is_ended and head.length:
            # RFC 9113, section 8.1.1: malformed. The library compares with DATA frames only.
            self.engine.reset(stream_id, ErrorCodes.PROTOCOL_ERROR)
        elif len(head.headers) > self.limits.max_headers:
            self.answer(stream_id, 431)
        elif head.method == "CONNECT":
            self._connect(stream_id, head)
        else:
            self._start(stream_id, head, is_ended=is_ended)

    def _connect(self, stream_id: int, head: RequestHead) -> None:
        del head
        self.answer(stream_id, _NOT_IMPLEMENTED)

    def _start(self, stream_id: int, head: RequestHead, *, is_ended: bool) -> None:
        connection = self._connection
        scope = head.add_to(connection.scope("http", "2"), connection.service.config.root_path)
        scope["method"] = head.method
        scope["extensions"] |= {"http.response.trailers": {}, "http.response.early_hint": {}}
        stream = Stream(self, stream_id, scope, expected=head.length, wants_continue=head.wants_continue)
        if is_ended:
            stream.end_request()
        self._run(stream, connection)

    def _run(self, stream: Stream, app: App) -> None:
        if not self._running and not self._is_retiring and not self._owes_head:
            self._deadline.clear()
        self._streams[stream.stream_id] = stream
        self._running.add(stream)
        self._connection.run(stream.run(app))

    def data_received_on(self, stream_id: int, data: bytes, counted: int, *, is_ended: bool) -> None:
        """Give a stream a part of its body."""
        stream = self._streams.get(stream_id)
        if stream is None:
            self.engine.consumed(stream_id, counted)
            return
        if not stream.take_data(data, counted) or (is_ended and not stream.end_request()):
            self.reset(stream, ErrorCodes.PROTOCOL_ERROR)

    def trailers_received(self, stream_id: int) -> None:
        """End a stream's body. ASGI has no place for the trailers themselves."""
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.end_request():
            self.reset(stream, ErrorCodes.PROTOCOL_ERROR)

    def stream_reset(self, stream_id: int) -> None:
        """End a stream that the client gave up."""
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            stream.end()

    def window_opened(self, stream_id: int) -> None:
        """Let streams send again; 0: any of them."""
        if not stream_id:
            self._wake_writers()
        elif (stream := self._streams.get(stream_id)) is not None:
            stream.wake_writer()

    def no_more_requests(self) -> None:
        """The client says goodbye: close when the last response is sent."""
        self._ends_when_idle = True
        self._finish_if_idle()

    def ping_answered(self) -> None:
        """What the client sent before it read our GOAWAY is here."""
        if self._is_retiring and not self._refuses_new:
            self._refuses_new = self._ends_when_idle = True
            self._deadline.clear()
            self.engine.refuse_new()
            self.flush()
            self._finish_if_idle()

    # ---- streams call

    @property
    def default_headers(self) -> list[Header]:
        """The server's own headers, such as `date`."""
        return self._connection.service.state.default_headers

    def name_of(self, stream: Stream) -> str:
        """Return a stream's name for the log."""
        return f"{self._connection.client_text}, stream {stream.stream_id}"

    def answer(self, stream_id: int, status: int) -> None:
        """Answer a request without the application."""
        self.engine.send_headers(stream_id, [(b":status", b"%d" % status), *self.default_headers, (b"content-length", b"0")], is_ended=True)

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        """Reset a stream, and tell its application."""
        self._streams.pop(stream.stream_id, None)
        self.engine.reset(stream.stream_id, code)
        stream.end()
        self.flush()

    def wait_for_room(self, stream: Stream) -> None:
        """Wake a stream when the transport or the connection's window has room."""
        self._waiting_for_room.add(stream)

    def _wake_writers(self) -> None:
        waiting, self._waiting_for_room = self._waiting_for_room, set()
        for stream in waiting:
            stream.wake_writer()

    def stream_finished(self, stream: Stream) -> None:
        """Forget a stream whose application has returned."""
        self._streams.pop(stream.stream_id, None)
        self._running.discard(stream)
        if not self._running and not self._is_over:
            if self._ends_when_idle:
                self._finish_if_idle()
            elif not self._owes_head and not self._is_retiring:
                self._deadline.set(self.limits.keep_alive_timeout)
        self.flush()

    def flush(self) -> None:
        """Send what the engine has, unless more will come in this call."""
        if not self._is_receiving and not self._is_over:
            self._write()

    def _write(self) -> None:
        data = self.engine.take()
        if data:
            self.transport.write(data)
