"""HTTP/1.1: uvicorn's protocol, with the limits of a server that faces strangers.

uvicorn bounds neither the size of a request's head nor the time that a client takes for a request
or for reading its response. These limits are added around the callbacks of its parser; the parsing
and the messages of ASGI stay uvicorn's.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from tlsio.https.deadline import Deadline, Pace

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from tlsio.https.connection import Connection

__all__ = ["Http1Protocol"]

_log = logging.getLogger("tlsio.https")

_BAD_REQUEST = (400, "This is not a valid request of HTTP/1.1.")
_LATE = (408, "The request took too long.")
_BODY_TOO_LARGE = (413, "The body of the request is too large.")
_HEAD_TOO_LARGE = (431, "The head of the request is too large.")
_TOO_MANY_HEADERS = (431, "The request has too many headers.")
_STOPPING = (503, "The server is stopping.")
_SEPARATORS = 4  # bytes of a header line besides name and value
# Bytes that a client has read at least when a paused transport resumes: from 64 KiB to a quarter.
_DRAINED = 49152
# Seconds after a response, or the handshake, in which a client's next request may be on its way
# when a graceful stop begins: a round trip between continents.
_ON_ITS_WAY = 0.25


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Drop uvicorn's (0.54) traceback of a cancelled request: the stop logs how many there are."""
    return record.exc_info is None or not isinstance(record.exc_info[1], asyncio.CancelledError)


_log.addFilter(_is_no_cancellation)

_AUTHORITY = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)


class _RefusedError(Exception):
    """Stops the parser. The reason is in `Http1Protocol._refusal`."""


class _ConnectionConfig:
    """uvicorn's Config, with the application as one connection sees it."""

    __slots__ = ("_config", "loaded_app")

    def __init__(self, config: Config, app: Any) -> None:
        self._config = config
        self.loaded_app = app

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)


class _WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's.

    It (0.54) logs an error for each `websocket.http.response`, as if the application had returned
    without an answer. So clients whose WebSocket is refused could fill the log.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _log

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True


class _WatchedFlow(FlowControl):
    """Flow control that reports when reading stops and goes on."""

    def __init__(self, transport: asyncio.Transport, changed: Any) -> None:
        super().__init__(transport)
        self._changed = changed

    def pause_reading(self) -> None:
        super().pause_reading()
        self._changed()

    def resume_reading(self) -> None:
        super().resume_reading()
        self._changed()


class Http1Protocol(HttpToolsProtocol):
    """The protocol of one connection."""

    def __init__(self, connection: Connection) -> None:
        """Serve one connection."""
        service = connection.service
        config: Any = _ConnectionConfig(service.config, connection)
        super().__init__(config, service.state, service.lifespan_state, asyncio.get_running_loop())
        self.logger = _log  # errors of the application go where those of HTTP/2 go
        self.access_log = False  # a layer writes it, for both versions
        if self.ws_protocol_class is not None:
            self.ws_protocol_class = _WebSocketProtocol
        self._connection = connection
        self._limits = connection.limits
        self._refusal = _BAD_REQUEST
        self._is_retiring = False
        self._last_words: bytes | None = None  # sent after the responses to earlier requests
        self._is_in_head = self._is_in_body = False
        self._head_bytes = self._head_fields = self._body_bytes = 0
        self._silent_bytes = 0  # received since the parser reported anything
        self._head_deadline = Deadline(self.loop, self._head_is_late)
        self._reading = Pace(self.loop, self._limits, self._sends_too_slowly)
        self._writing = Pace(self.loop, self._limits, self._reads_too_slowly)

    # ---- asyncio

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self.flow = _WatchedFlow(transport, self._watch_body)
        self._head_deadline.set(self._limits.header_timeout)

    def data_received(self, data: bytes) -> None:
        """Parse what the client sent."""
        if self._last_words is not None:
            return
        self._silent_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._upgrade()
            return
        except httptools.HttpParserError:
            self._refuse(self._refusal)
            return
        if self._silent_bytes > self._limits.max_header_bytes:
            self._refuse(_HEAD_TOO_LARGE)
        else:
            self._watch_body()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the timers."""
        super().connection_lost(exc)
        self._end_limits()

    def pause_writing(self) -> None:
        """Limit the time until the client reads on."""
        super().pause_writing()
        self._writing.wait()

    def resume_writing(self) -> None:
        """Let the application go on."""
        super().resume_writing()
        self._writing.stop()
        self._writing.move(_DRAINED)

    def shutdown(self) -> None:
        """Serve the requests that are here or on their way, then close."""
        self._is_retiring = True
        if self._running is not None:
            super().shutdown()
        elif self._is_in_head:
            return  # the response to this request will be the last
        elif self._idle_time() >= _ON_ITS_WAY:
            self.transport.close()
        else:
            self._head_deadline.set(_ON_ITS_WAY)

    @property
    def _running(self) -> RequestResponseCycle | None:
        """The latest request, if its response is not complete."""
        latest: Any = self.cycle
        return None if latest is None or latest.response_complete else latest

    def _idle_time(self) -> float:
        """Return the seconds since the last response; 0.0: there was none."""
        timer = self.timeout_keep_alive_task
        return 0.0 if timer is None else self.loop.time() + self.timeout_keep_alive - timer.when()

    # ---- the parser calls

    def on_message_begin(self) -> None:
        """Limit the time of a head from its first byte."""
        super().on_message_begin()
        self._is_in_head = True
        self._head_bytes = self._head_fields = self._body_bytes = self._silent_bytes = 0
        self._head_deadline.set(self._limits.header_timeout)

    def on_url(self, url: bytes) -> None:
        """Take a part of the URL."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. ASGI has no place for those after the body: they are only counted."""
        self._head_fields += 1
        self._count(len(name) + len(value) + _SEPARATORS)
        if self._head_fields > self._limits.max_headers:
            self._stop(_TOO_MANY_HEADERS)
        if self._is_in_head:
            super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._silent_bytes = 0
        self._head_bytes += size
        if self._head_bytes > self._limits.max_header_bytes:
            self._stop(_HEAD_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Start the request."""
        self._head_deadline.clear()
        self._silent_bytes = 0
        self._is_in_head, self._is_in_body = False, True
        if not self.url.startswith(b"/"):
            self._take_host()
        super().on_headers_complete()
        if self._is_retiring and self._running is not None:
            self._running.keep_alive = False

    def _take_host(self) -> None:
        """Take the host from a target in absolute form.

        RFC 9112, section 3.2.2: "the origin server MUST ignore the received Host header field (if
        any) and instead use the host information of the request-target". A request without exactly
        one Host stays an error.
        """
        found = _AUTHORITY.match(self.url)
        places = [place for place, (name, _) in enumerate(self.headers) if name == b"host"]
        if found is not None and len(places) == 1:
            self.headers[places[0]] = (b"host", found[1])

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._silent_bytes = 0
        self._body_bytes += len(body)
        self._reading.move(len(body))
        most = self._limits.max_body_bytes
        if most is not None and self._body_bytes > most:
            self._stop(_BODY_TOO_LARGE)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of the request."""
        self._silent_bytes = 0
        self._is_in_body = False
        super().on_message_complete()

    def _upgrade(self) -> None:
        """Give the connection to uvicorn's WebSocket protocol, which has limits of its own."""
        if self._should_upgrade():
            if self._is_retiring:
                self._refuse(_STOPPING)
                return
            self._end_limits()
            self.handle_websocket_upgrade()
        # RFC 9110, section 7.8: "A server MAY ignore a received Upgrade header field".

    def on_response_complete(self) -> None:
        """Start the next request that is here, or refuse the one that follows."""
        if self._last_words is None or self.pipeline:
            super().on_response_complete()
        elif not self.transport.is_closing():
            self._say_last_words()

    # ---- limits

    def _watch_body(self) -> None:
        """Count the time in which we wait for the client's body."""
        running = self._running
        waits = self._is_in_body and not self.flow.read_paused and not (running is not None and running.waiting_for_100_continue)
        if waits:
            self._reading.wait()
        else:
            self._reading.stop()

    def _end_limits(self) -> None:
        self._head_deadline.end()
        self._reading.end()
        self._writing.end()

    def _head_is_late(self) -> None:
        if self._is_in_head:
            self._refuse(_LATE)
        else:
            self.transport.close()

    def _sends_too_slowly(self) -> None:
        self._refuse(_LATE)

    def _reads_too_slowly(self) -> None:
        _log.info("%s: the connection was aborted: the client reads more slowly than min_rate", self._connection.client_text)
        self.transport.abort()

    # ---- refusals

    def _stop(self, refusal: tuple[int, str]) -> None:
        """Refuse a request within a callback of the parser."""
        self._refusal = refusal
        raise _RefusedError

    def _refuse(self, refusal: tuple[int, str]) -> None:
        """Answer with an error, after the responses that are due before, and close."""
        if self.transport.is_closing() or self._last_words is not None:
            return
        self._end_limits()
        status, text = refusal
        _log.info("%s: %d: %s", self._connection.client_text, status, text)
        body = f"{text}\n".encode()
        head = [STATUS_LINE[status], b"content-type: text/plain; charset=utf-8\r\n"]
        head += [b"%s: %s\r\n" % one for one in self.server_state.default_headers]
        head.append(b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body))
        self._last_words = b"".join([*head, body])
        running = self._running
        if running is None:
            self._say_last_words()
        elif not self._is_in_body:
            self.flow.pause_reading()  # the fault is in a later request: the present one is answered first
        elif running.response_started:
            self.transport.abort()  # the client would take the error for a part of the response
        else:
            running.disconnected = True
            running.message_event.set()
            self._say_last_words()

    def _say_last_words(self) -> None:
        self.transport.write(self._last_words or b"")
        self.transport.close()
