"""HTTP/1.1: uvicorn's protocol, with the limits of a server that faces strangers.

uvicorn bounds neither the size of a request's head nor the time that a client takes for a request
or for reading its response. These limits are in the callbacks of its parser. They replace uvicorn's
where calling both would take longer than their work.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tlsio.https.deadline import AHEAD, ON_ITS_WAY, Deadline, Pace
from tlsio.https.protocols.connection import REFUSED
from tlsio.https.protocols.http1_response import Response, error_response, for_http10
from tlsio.https.protocols.http1_target import take_authority
from tlsio.https.protocols.http1_websocket import WebSocketProtocol, is_no_cancellation

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from tlsio.https.protocols.connection import Connection

__all__ = ["Http1Protocol"]

_log = logging.getLogger("tlsio.https")

_BAD_REQUEST = (400, "This is not a valid request of HTTP/1.1.")
_LATE = (408, "The request took too long.")
_BODY_TOO_LARGE = (413, "The body of the request is too large.")
_HEAD_TOO_LARGE = (431, "The head of the request is too large.")
_TOO_MANY_HEADERS = (431, "The request has too many headers.")
_NOT_ALONE = (400, "A WebSocket cannot begin before the earlier requests are answered.")
_UNKNOWN_CODING = (501, "The transfer coding of the request is not supported.")
_STOPPING = (503, "The server is stopping.")
_NOT_IMPLEMENTED = (501, "The method is not supported.")
_OTHER_VERSION = (505, "Only HTTP/1.1 and HTTP/1.0 are supported here.")
_VERSIONS = frozenset({"1.1", "1.0"})
# Methods that are not served: a tunnel, and those that llhttp has for RTSP (RFC 2326, section 10)
# and for Icecast. It does not tell which protocol a request line names.
_NOT_SERVED = frozenset(
    {b"CONNECT", b"DESCRIBE", b"ANNOUNCE", b"SETUP", b"PLAY", b"PAUSE", b"TEARDOWN", b"GET_PARAMETER", b"SET_PARAMETER", b"REDIRECT", b"RECORD", b"FLUSH", b"SOURCE"}
)  # fmt: skip
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
# RFC 9110, section 6.5.1: they have no place in trailers. llhttp obeys them there nevertheless:
# after `Connection: close` it drops what follows, though the response was not the last one.
_NOT_IN_TRAILERS = _FRAMING | {b"connection", b"proxy-connection", b"upgrade"}
_SEPARATORS = 4  # bytes of a header line besides name and value


_log.addFilter(is_no_cancellation)


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
            self.ws_protocol_class = WebSocketProtocol
        self._connection = connection
        self._limits = connection.limits
        self._refusal = _BAD_REQUEST
        self._is_retiring = False
        self._last_words: bytes | None = None  # sent after the responses to earlier requests
        self._started: RequestResponseCycle | None = None  # `cycle` is the latest, which may wait for its turn
        self._is_in_head = self._is_in_body = False
        self._framing: tuple[bytes, bytes] | None = None  # the header that tells how long the body is
        self._is_repeated = False  # the parser reads a head that was taken already
        self._head_bytes = self._head_fields = self._body_bytes = 0
        self._silent_bytes = 0  # received since the parser reported anything
        self._head_deadline = Deadline(self.loop, self._head_is_late)
        self._idle_deadline = Deadline(self.loop, self.timeout_keep_alive_handler)
        self._reading = Pace(self.loop, self._limits, self._sends_too_slowly)
        self._writing = Pace(self.loop, self._limits, self._reads_too_slowly, ahead=AHEAD, acknowledged=connection.acknowledged)

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
        try:
            if self._upgrades(data):
                return
        except httptools.HttpParserError:
            self._refuse(self._refusal)
            return
        if self._silent_bytes > self._limits.max_header_bytes:
            self._refuse(_HEAD_TOO_LARGE)
            return
        if self._is_in_body:
            self._watch_body()
        if self._is_in_head and not self._head_deadline.is_set:
            self._head_deadline.set(self._limits.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end to the request that is being answered, and drop those that wait for it."""
        self.pipeline.clear()
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()
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

    def shutdown(self) -> None:
        """Serve the requests that are here or on their way, then close."""
        self._is_retiring = True
        if self._running is not None:
            super().shutdown()
        elif self._is_in_head:
            return  # the response to this request will be the last
        elif self._idle_time() >= ON_ITS_WAY:
            self.transport.close()
        else:
            self._head_deadline.set(ON_ITS_WAY)

    @property
    def _running(self) -> RequestResponseCycle | None:
        """The request that is being answered."""
        started = self._started
        return None if started is None or started.response_complete else started

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._started = cycle
        if cycle.scope["http_version"] == "1.0":
            app = for_http10(app, cycle)
        task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _idle_time(self) -> float:
        """Return the seconds since the last response; 0.0: there was none."""
        left = self._idle_deadline.left
        return 0.0 if left is None else self.timeout_keep_alive - left

    # ---- the parser calls

    def on_message_begin(self) -> None:
        """Limit the time of a head from its first byte."""
        if self._is_repeated:
            return
        self.url, self.headers, self.expect_100_continue = b"", [], False
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "headers": self.headers,
            "state": self.app_state.copy(),
        }
        self.scope = scope  # type: ignore[assignment]  # on_headers_complete adds the rest
        self._idle_deadline.clear()  # not for the empty lines before it, which are no request
        self._head_deadline.clear()  # set again after this read, unless it has the whole head
        self._is_in_head = True
        self._framing = None
        self._head_bytes = self._head_fields = self._body_bytes = self._silent_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Take a part of the URL."""
        if self._is_repeated:
            return
        self._silent_bytes = 0
        self._head_bytes += len(url)
        if self._head_bytes > self._limits.max_header_bytes:
            self._stop(_HEAD_TOO_LARGE)
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Trailers are counted and left out: ASGI has no place for them."""
        if self._is_repeated:
            return
        self._silent_bytes = 0
        self._head_bytes += len(name) + len(value) + _SEPARATORS
        if self._head_bytes > self._limits.max_header_bytes:
            self._stop(_HEAD_TOO_LARGE)
        self._head_fields += 1
        if self._head_fields > self._limits.max_headers:
            self._stop(_TOO_MANY_HEADERS)
        name = name.lower()
        if self._is_in_head:
            self.headers.append((name, value))
            if name in _FRAMING:
                self._take_framing((name, value))
            elif name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
        elif name in _NOT_IN_TRAILERS:
            self._stop(_BAD_REQUEST)

    def _take_framing(self, header: tuple[bytes, bytes]) -> None:
        """Note how long the body is.

        RFC 9112, section 6.1: "A server that receives a request message with a transfer coding it
        does not understand SHOULD respond with 501 (Not Implemented)". llhttp takes each list that
        ends with `chunked`, and the others would stay in the body.
        """
        name, value = header
        if name == b"transfer-encoding" and value.lower() != b"chunked":
            self._stop(_UNKNOWN_CODING)
        if value != b"0":
            self._framing = header

    def on_headers_complete(self) -> None:
        """Start the request."""
        if self._is_repeated:
            self._is_repeated = False
            return
        self._head_deadline.clear()
        self._silent_bytes = 0
        version = self.parser.get_http_version()
        if version not in _VERSIONS:
            self._stop(_OTHER_VERSION)
        method = self.parser.get_method()
        if method in _NOT_SERVED:
            self._stop(_NOT_IMPLEMENTED)
        if version == "1.0" and self._framing is not None and self._framing[0] == b"transfer-encoding":
            self._stop(_BAD_REQUEST)  # RFC 9112, section 6.1: its framing is faulty
        if not self.url.startswith(b"/"):
            self.url = take_authority(self.url, method, self.headers) or self._stop(_BAD_REQUEST)
        if b"#" in self.url:
            self._stop(_BAD_REQUEST)  # uvicorn has a fragment in the path of a WebSocket
        self.scope["method"] = method.decode("ascii")
        self.scope["http_version"] = version
        if not (self.parser.should_upgrade() and self._should_upgrade()):
            self._begin(version)
        self._is_in_head, self._is_in_body = False, True
        if self._is_retiring and self._running is not None:
            self.cycle.keep_alive = False

    def _begin(self, version: str) -> None:
        """Call the application, after the requests before this one."""
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        self.scope["path"] = self.root_path + (unquote(path) if "%" in path else path)
        self.scope["raw_path"] = self.root_path.encode("ascii") + url.path
        self.scope["query_string"] = url.query or b""
        self.cycle = Response(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if self._running is None and not self.pipeline:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._silent_bytes = 0
        self._idle_deadline.clear()  # it is set if the response was complete before the request
        self._body_bytes += len(body)
        self._reading.move(len(body))
        most = self._limits.max_body_bytes
        if most is not None and self._body_bytes > most:
            self._stop(_BODY_TOO_LARGE)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of the request."""
        is_upgrade = self.parser.should_upgrade()
        if is_upgrade and self._framing is not None:
            return  # that of its head: the body follows
        self._silent_bytes = 0
        self._is_in_body = False
        self._reading.stop()
        if not (is_upgrade and self._should_upgrade()) and not self.cycle.response_complete:
            self.cycle.more_body = False
            self.cycle.message_event.set()
        if self._started is not None and self._started.response_complete:
            self._idle_deadline.set(self.timeout_keep_alive)  # the response was complete before the request

    def _upgrades(self, data: bytes) -> bool:
        """Parse, up to a WebSocket's handshake; tell whether there was one."""
        rest: bytes | memoryview = data
        while True:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = memoryview(rest)[upgrade.args[0] :]
                if self._should_upgrade():
                    self._upgrade(bytes(rest))
                    return True
                # RFC 9110, section 7.8: "A server MAY ignore a received Upgrade header field".
                if self._framing is not None:
                    self._expect_body(self._framing)
            else:
                return False

    def _should_upgrade(self) -> bool:
        """Tell whether the request is a WebSocket's handshake.

        RFC 6455, section 4.1: it is a GET of HTTP/1.1 or higher. One with a body cannot be: what
        follows the head would be taken for frames.
        """
        return super()._should_upgrade() and self._framing is None and self.scope["method"] == "GET" and self.scope["http_version"] == "1.1"

    def _expect_body(self, framing: tuple[bytes, bytes]) -> None:
        """Parse the body of a request whose Upgrade is ignored.

        llhttp takes all that follows such a head for another protocol's. A parser without the
        Upgrade goes on after a head that only says how long the body is.
        """
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._is_repeated, self._framing = True, None
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%s: %s\r\n\r\n" % framing)

    def _upgrade(self, rest: bytes) -> None:
        """Give the connection to uvicorn's WebSocket protocol, which has limits of its own."""
        if self._is_retiring:
            self._refuse(_STOPPING)
        elif self._running is not None:
            self._refuse(_NOT_ALONE)
        else:
            self._end_limits()
            self.handle_websocket_upgrade()
            websocket: Any = self.transport.get_protocol()
            if websocket.close_sent:  # its head was refused
                response = getattr(websocket, "response", None)  # none: websockets could not read it
                self._connection.refused(self._refused_scope(), _BAD_REQUEST[0] if response is None else response.status_code)
            elif rest:
                websocket.data_received(rest)

    def on_response_complete(self) -> None:
        """Start the next request that is here, or refuse the one that follows."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if (self._last_words is None or self.pipeline) and (self.flow.read_paused or self._is_in_body):
            self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._last_words is not None:
            self._say_last_words()
        elif not self._is_in_head:  # the next request is limited by header_timeout
            self._idle_deadline.set(self.timeout_keep_alive)

    # ---- limits

    def _watch_body(self) -> None:
        """Count the time in which we wait for the client's body."""
        if self._is_in_body and not self.flow.read_paused and not self.cycle.waiting_for_100_continue:
            self._reading.wait()
        else:
            self._reading.stop()

    def _end_limits(self) -> None:
        self._head_deadline.end()
        self._idle_deadline.end()
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

    def _stop(self, refusal: tuple[int, str]) -> NoReturn:
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
        self._last_words = error_response(refusal, self.server_state.default_headers)
        if self._is_in_body and self.pipeline:
            self.pipeline.popleft()  # the latest request: it is the one that is refused
            self._is_in_body = False
        running = self._running
        if not self._is_in_body:
            self._connection.refused(self._refused_scope(), status)
            if running is None:
                self._say_last_words()
            else:
                self.flow.pause_reading()  # the fault is in a later request: the present one is answered first
        elif running is None:
            self.transport.close()  # the request was answered before its end: an error would answer the next one
        elif running.response_started:
            self.transport.abort()  # the client would take the error for a part of the response
        else:
            running.scope[REFUSED] = status  # type: ignore[literal-required]
            running.disconnected = True
            running.message_event.set()
            self._say_last_words()

    def _refused_scope(self) -> dict[str, Any]:
        """Return what is known of the latest request."""
        path, _, query = self.url.partition(b"?")
        method = self.scope.get("method") or (self.parser.get_method().decode("ascii") if self.url else "-")
        known = {"method": method, "raw_path": path or b"-", "query_string": query, "headers": self.headers}
        return {"type": "http", "http_version": self.scope.get("http_version", "1.1"), **known}

    def _say_last_words(self) -> None:
        self.transport.write(self._last_words or b"")
        self.transport.close()
