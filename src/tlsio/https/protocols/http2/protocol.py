"""A connection of HTTP/2: requests to an ASGI application, their responses back.

Each request is a `Stream` with a task of its own. `max_streams` bounds the number of tasks, not the
number of streams: a client that opens streams and resets them at once (CVE-2023-44487) gets no more
work done than one that waits for its responses.

Memory of a connection is bounded by what the client is allowed to send ahead (the windows in
`engine.py`), by one message of each application, by the messages that its WebSockets keep together
(`_MOST_KEPT`), and by the transport: while the transport has enough to send, nothing is read from
the client either, since what it sends may need an answer.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import chain
from typing import TYPE_CHECKING

from tlsio.connection.waiters import wait_in
from tlsio.https.deadline import AHEAD, Deadline, Pace
from tlsio.https.protocols.http2.engine import Engine, ErrorCodes
from tlsio.https.protocols.http2.fields import MalformedError, describe, parse_request
from tlsio.https.protocols.http2.request import RequestStream
from tlsio.https.protocols.http2.websocket import WebSocketStream
from tlsio.https.protocols.refusals import (
    BODY_TOO_LARGE,
    HEAD_TOO_LARGE,
    NOT_A_HANDSHAKE,
    NOT_IMPLEMENTED,
    OTHER_PROTOCOL,
    TOO_MANY_HEADERS,
    RefusedError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlsio.connection.waiters import Waiters
    from tlsio.https.limits import Limits
    from tlsio.https.protocols.connection import Connection
    from tlsio.https.protocols.http2.engine import Header
    from tlsio.https.protocols.http2.fields import RequestHead
    from tlsio.https.protocols.http2.stream import Stream
    from tlsio.https.protocols.refusals import Refusal
    from tlsio.https.protocols.service import Service

__all__ = ["Http2Protocol"]

_CHUNK = 65536  # bytes of a body that one turn sends: the transport's own limit, after which it pauses
_FLUSH_AT_ONCE = 16384  # bytes of a body that are not kept for the end of the loop's turn
# Seconds in which a client may still send a request that was answered before its end. Not all can
# take a reset then: curl 7.88 and Node 20 lose the response, or wait for ever.
_LINGER = 5.0
_RETIRE = 1.0  # seconds that a client has to answer the PING after our first GOAWAY: any round trip
# Messages of the largest size that all WebSockets of a connection keep at most: a browser has one
# connection for all pages of a site.
_MOST_KEPT = 4
_FIELD_OVERHEAD = 32  # RFC 9113, section 6.5.2: bytes that each header counts besides name and value
_BAD_REQUEST = 400


class Http2Protocol(asyncio.Protocol):
    """The protocol of one connection.

    Attributes:
        engine: Framing and flow control.
        limits: Those of the server.
        loop: The loop.
        log: Where errors of the application go.
        transport: The TLS connection.
    """

    transport: asyncio.Transport

    def __init__(self, connection: Connection) -> None:
        """Serve one connection; `connection` is what the server knows of it."""
        self.limits: Limits = connection.limits
        self.log = logging.getLogger("tlsio.https")
        self.loop = loop = asyncio.get_running_loop()
        self.engine = Engine(self, loop.time, max_streams=self.limits.max_streams, max_header_bytes=self.limits.max_header_bytes)
        self._connection = connection
        self._streams: dict[int, Stream] = {}  # those on which something can be sent or received
        self._running: set[Stream] = set()  # those whose application has not returned
        # Writers: in the order in which they began to wait, so that each gets its turn.
        self._waiting_for_room: dict[Stream, None] = {}
        self._window_opened: dict[Stream, None] = {}  # while the engine receives
        self._waiting_for_body: set[Stream] = set()
        self._lingering: dict[int, float] = {}  # until when, the next first
        self._kept = 0  # bytes of messages that the applications of WebSockets have not taken
        # Limits in time.
        self._owed = 0  # the frame or block of headers that `_head_deadline` is for
        self._head_deadline = Deadline(loop, self._head_is_late)
        self._idle_deadline = Deadline(loop, self._is_idle_too_long)
        self._retire_deadline = Deadline(loop, self.ping_answered)
        self._linger_deadline = Deadline(loop, self._linger_no_longer)
        self._reading = Pace(loop, self.limits, self._sends_too_slowly)
        # What the transport waits for is the client's kernel; what a stream waits for, its window.
        self._writing = Pace(loop, self.limits, self._reads_too_slowly, ahead=AHEAD, acknowledged=connection.acknowledged)
        self._opening = Pace(loop, self.limits, self._opens_too_slowly, ahead=AHEAD)
        self._is_receiving = self._is_flush_due = self._is_paused = False
        self._is_retiring = self._refuses_new = self._ends_when_idle = self._is_over = False

    # ---- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send our settings."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self.transport = transport
        self._connection.service.opened(self)
        self._idle_deadline.set(self.limits.keep_alive_timeout)
        self._watch_head()
        self._write()

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
            self._close(ErrorCodes.PROTOCOL_ERROR, reason)
            return
        self._watch_head()
        self._pump_opened()
        self._write()
        self._close_if_done()

    def eof_received(self) -> None:
        """Close: a client of HTTP/2 needs both directions."""

    def pause_writing(self) -> None:
        """Let streams wait, and the client too."""
        self._is_paused = True
        self._head_deadline.clear()
        self._opening.stop()
        self._writing.wait()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Let streams go on."""
        self._is_paused = False
        self._writing.stop()
        self.transport.resume_reading()
        self._owed = 0
        self._watch_head()
        self._pump_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all streams: their applications get `http.disconnect`."""
        del exc
        self._is_over = self.engine.is_over = True
        self._end_streams()
        self._connection.service.closed(self)

    # ---- the end

    def shutdown(self) -> None:
        """Serve the requests that are here or on their way, then close."""
        if self._is_over or self._is_retiring:
            return
        self._is_retiring = True
        self._retire_deadline.set(_RETIRE)
        self.engine.retire()
        for stream in tuple(self._streams.values()):
            stream.shutdown()
        self._write()

    def ping_answered(self) -> None:
        """What the client sent before it read our GOAWAY is here, or the client does not answer."""
        if self._is_retiring and not self._refuses_new and not self._is_over:
            self._refuses_new = self._ends_when_idle = True
            self.engine.refuse_new()
            self.flush()
            self._close_if_done()

    def no_more_requests(self) -> None:
        """The client says goodbye: close when the last response is sent."""
        self._ends_when_idle = True

    def _close_if_done(self) -> None:
        if self._ends_when_idle and not self._running and not self._is_receiving and not self._is_over:
            self._close(ErrorCodes.NO_ERROR)

    def _close(self, code: ErrorCodes, reason: str = "") -> None:
        """Send GOAWAY, unless the engine has, and close."""
        if reason:
            self.log.info("%s: the connection was closed: %s", self._connection.client_text, reason)
        self.engine.close(code)
        self._write()
        self._is_over = True
        self._end_streams()
        self.transport.close()

    def _end_streams(self) -> None:
        """End all streams, and release the timers."""
        for stream in tuple(self._running):
            stream.end()
        self._window_opened.clear()
        deadlines = (self._head_deadline, self._idle_deadline, self._retire_deadline, self._linger_deadline)
        for limit in (*deadlines, self._reading, self._writing, self._opening):
            limit.end()

    # ---- limits in time

    def _watch_head(self) -> None:
        """Limit the time from the first byte of a frame, or a block of headers, to its last."""
        owed = self.engine.owed
        if owed != self._owed:
            self._owed = owed
            if owed and not self._is_paused:
                self._head_deadline.set(self.limits.header_timeout)
            else:
                self._head_deadline.clear()

    def _head_is_late(self) -> None:
        self._close(ErrorCodes.NO_ERROR, "header_timeout has passed")

    def _is_idle_too_long(self) -> None:
        self._close(ErrorCodes.NO_ERROR)

    async def wait_for_body(self, stream: Stream, news: Waiters) -> None:
        """Wait for more of a request's body; `min_rate` limits the time."""
        self._waiting_for_body.add(stream)
        self._reading.wait()
        try:
            await wait_in(news)
        finally:
            self._waiting_for_body.discard(stream)
            if not self._waiting_for_body:
                self._reading.stop()

    def _sends_too_slowly(self) -> None:
        for stream in tuple(self._waiting_for_body):
            self.log.info("%s: the request was reset: it is slower than min_rate", self._name_of(stream))
            self.reset(stream, ErrorCodes.ENHANCE_YOUR_CALM)

    def _reads_too_slowly(self) -> None:
        self.log.info("%s: the connection was aborted: the client reads more slowly than min_rate", self._connection.client_text)
        self.transport.abort()

    def _opens_too_slowly(self) -> None:
        for stream in tuple(self._waiting_for_room):
            self.log.info("%s: the response was reset: the client reads it more slowly than min_rate", self._name_of(stream))
            self.reset(stream, ErrorCodes.ENHANCE_YOUR_CALM)

    def _name_of(self, stream: Stream) -> str:
        return f"{self._connection.client_text}, stream {stream.stream_id}"

    # ---- the engine calls

    def request_received(self, stream_id: int, headers: list[Header], *, is_ended: bool) -> None:
        """Start a request, or refuse it."""
        if self._refuses_new or len(self._running) >= self.limits.max_streams:
            self.engine.reset(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        try:
            head = parse_request(headers)
            if is_ended and head.length:  # the library compares with DATA frames only
                raise MalformedError("there is no body, and a content-length")  # noqa: TRY301 - answered as the others
            self._start(self._make_stream(stream_id, head, _size_of(headers), is_ended=is_ended))
        except MalformedError as error:  # RFC 9113, section 8.1.1
            self.log.info("%s, stream %d: the request was reset: %s", self._connection.client_text, stream_id, error)
            self.engine.reset(stream_id, ErrorCodes.PROTOCOL_ERROR)
            self._connection.refused(describe(headers), _BAD_REQUEST)
        except RefusedError as error:
            self.log.info(
                "%s, stream %d: the request was refused: %d: %s", self._connection.client_text, stream_id, error.refusal.status, error
            )
            has_body = (b":method", b"HEAD") not in headers
            self.answer(stream_id, error.refusal, error.headers, is_request_ended=is_ended, has_body=has_body)
            self._connection.refused(describe(headers), error.refusal.status)

    def _make_stream(self, stream_id: int, head: RequestHead, size: int, *, is_ended: bool) -> Stream:
        """Return the stream of a request, or of a WebSocket (RFC 8441).

        Raises:
            RefusedError: it is beyond a limit, or a tunnel or another protocol, which are not
                offered.
        """
        limits = self.limits
        if size > limits.max_header_bytes:
            raise RefusedError(HEAD_TOO_LARGE)
        if len(head.headers) > limits.max_headers:
            raise RefusedError(TOO_MANY_HEADERS)
        if head.length is not None and limits.max_body_bytes is not None and head.length > limits.max_body_bytes:
            raise RefusedError(BODY_TOO_LARGE)
        if head.method == "CONNECT":
            if head.protocol != b"websocket":
                raise RefusedError(NOT_IMPLEMENTED if head.protocol is None else OTHER_PROTOCOL)
            if is_ended:
                raise RefusedError(NOT_A_HANDSHAKE)
            return WebSocketStream(self, stream_id, head.add_to(self._connection.scope("websocket", "2"), self.service.config.root_path))
        scope = head.add_to(self._connection.scope("http", "2"), self.service.config.root_path)
        scope["method"] = head.method
        scope["extensions"] |= {"http.response.trailers": {}, "http.response.early_hint": {}}
        stream = RequestStream(self, stream_id, scope, expected=head.length, wants_continue=head.wants_continue)
        if is_ended:
            stream.end_request()
        return stream

    def _start(self, stream: Stream) -> None:
        self._idle_deadline.clear()
        self._streams[stream.stream_id] = stream
        self._running.add(stream)
        self._connection.run(stream.run(self._connection))

    def data_received_on(self, stream_id: int, data: bytes, counted: int, *, is_ended: bool) -> None:
        """Give a stream a part of its body."""
        self._reading.move(len(data))
        if is_ended:
            self._lingering.pop(stream_id, None)
        stream = self._streams.get(stream_id)
        if stream is None:
            self.engine.consumed(stream_id, counted)
            return
        self.engine.consumed(stream_id, counted - len(data))  # the padding
        stream.take_data(data, is_ended=is_ended)

    def trailers_received(self, stream_id: int, count: int) -> None:
        """End a stream's body. ASGI has no place for the trailers themselves."""
        self._lingering.pop(stream_id, None)
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if count > self.limits.max_headers:
            self.reset(stream, ErrorCodes.ENHANCE_YOUR_CALM)
        else:
            stream.end_request()

    def stream_reset(self, stream_id: int) -> None:
        """End a stream that the client gave up."""
        self._lingering.pop(stream_id, None)
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.is_reset = True
            stream.end()

    def window_opened(self, stream_id: int) -> None:
        """Let streams send again when the engine has handled all that came; 0: any of them."""
        if not stream_id:
            self._window_opened |= self._waiting_for_room
            return
        stream = self._streams.get(stream_id)
        if stream is not None and stream in self._waiting_for_room:
            self._window_opened[stream] = None

    # ---- streams call

    @property
    def service(self) -> Service:
        """What all connections of the server share."""
        return self._connection.service

    @property
    def default_headers(self) -> list[Header]:
        """The server's own headers, such as `date`."""
        return self.service.state.default_headers

    def answer(
        self, stream_id: int, refusal: Refusal, headers: Sequence[Header] = (), *, is_request_ended: bool, has_body: bool = True
    ) -> None:
        """Answer a request without the application, and stop the client if it still sends.

        A client whose window has no room for the text gets none: nothing is kept for it.
        """
        text = refusal.text.encode() if has_body else b""
        if len(text) > self.engine.room(stream_id):
            text = b""
        content = [(b"content-type", b"text/plain; charset=utf-8")] if text else []
        content.append((b"content-length", b"%d" % len(text)))
        head = [(b":status", b"%d" % refusal.status), *self.default_headers, *headers, *content]
        self.engine.send_headers(stream_id, head, is_ended=not text)
        if text:
            self.engine.send_data(stream_id, text, is_ended=True)
        if not is_request_ended:
            self.linger(stream_id)
        self.flush()

    def linger(self, stream_id: int) -> None:
        """Let the client send the rest of a request that was answered; it is dropped."""
        while len(self._lingering) >= self.limits.max_streams:
            self._stop_client(next(iter(self._lingering)))
        self._lingering[stream_id] = self.loop.time() + _LINGER
        if not self._linger_deadline.is_set:
            self._linger_deadline.set(_LINGER)

    def _linger_no_longer(self) -> None:
        now = self.loop.time()
        for stream_id, until in tuple(self._lingering.items()):
            if until > now:
                self._linger_deadline.set(until - now)
                break
            self._stop_client(stream_id)
        self.flush()

    def _stop_client(self, stream_id: int) -> None:
        # RFC 9113, section 8.1: "a server MAY request that the client abort transmission of a
        # request without error by sending a RST_STREAM with an error code of NO_ERROR".
        del self._lingering[stream_id]
        self.engine.reset(stream_id, ErrorCodes.NO_ERROR)

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        """Reset a stream, and end it for its application."""
        stream.is_reset = True
        self.engine.reset(stream.stream_id, code)
        stream.end()
        self.flush()

    def stream_ended(self, stream: Stream) -> None:
        """Forget a stream on which nothing can be sent any more."""
        self._streams.pop(stream.stream_id, None)
        self._waiting_for_room.pop(stream, None)
        self._watch_writers()

    def room(self, stream_id: int) -> int:
        """Return how many bytes of body can be sent on a stream now."""
        return 0 if self._is_paused else min(self.engine.room(stream_id), _CHUNK)

    def body_sent(self, count: int) -> None:
        """Write a part of a body, so that the transport can say when it has enough."""
        self._opening.move(count)
        if count >= _FLUSH_AT_ONCE:
            self._write()

    def wait_for_room(self, stream: Stream, *, goes_last: bool) -> None:
        """Call the stream's `pump` when there may be room; one that had its turn goes last."""
        if goes_last:
            self._waiting_for_room.pop(stream, None)
        self._waiting_for_room[stream] = None
        if not self._is_paused:
            self._opening.wait()
        self.flush()

    def _pump_opened(self) -> None:
        opened, self._window_opened = self._window_opened, {}
        for stream in opened:
            if stream.pump():
                self._waiting_for_room.pop(stream, None)
        self._watch_writers()

    def _pump_waiting(self) -> None:
        self._window_opened |= self._waiting_for_room
        self._pump_opened()

    def _watch_writers(self) -> None:
        if not self._waiting_for_room:
            self._opening.stop()

    def count_kept(self, count: int) -> None:
        """Count what WebSockets keep; above the limit, the one that keeps the most is closed."""
        self._kept += count
        most = self.service.config.ws_max_size * _MOST_KEPT
        while self._kept > most:
            sockets = (stream for stream in self._running if isinstance(stream, WebSocketStream))
            largest = max(sockets, key=lambda socket: socket.kept)
            self.log.info("%s: the WebSocket was closed: too much data waits on its connection", self._name_of(largest))
            largest.drop_messages()

    def stream_finished(self, stream: Stream) -> None:
        """Forget a stream whose application has returned."""
        if isinstance(stream, WebSocketStream):
            stream.forget_messages()
        self._running.discard(stream)
        if not self._running and not self._is_over:
            self._idle_deadline.set(self.limits.keep_alive_timeout)
            self._close_if_done()
        self.flush()

    def flush(self) -> None:
        """Send what the engine has, at the end of the loop's turn: streams share a write."""
        if not self._is_receiving and not self._is_flush_due and not self._is_over:
            self._is_flush_due = True
            self.loop.call_soon(self._write)

    def _write(self) -> None:
        self._is_flush_due = False
        if not self._is_over and (data := self.engine.take()):
            self.transport.write(data)


def _size_of(headers: list[Header]) -> int:
    """Return the size of headers as SETTINGS_MAX_HEADER_LIST_SIZE counts it."""
    return sum(map(len, chain.from_iterable(headers))) + _FIELD_OVERHEAD * len(headers)
