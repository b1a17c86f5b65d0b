"""HTTP/1.1: the protocol of one connection, around the parser of httptools.

The limits of a server that faces strangers are in the callbacks of the parser: the size of a
request's head and body, and the time that a client takes for sending them or for reading the
response. A request is answered after those before it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote

import httptools

from tlsio.connection.waiters import wait_in, wake
from tlsio.https.deadline import AHEAD, ON_ITS_WAY, Deadline, Pace
from tlsio.https.protocols.connection import REFUSED
from tlsio.https.protocols.http1_response import Response, error_response
from tlsio.https.protocols.http1_target import take_authority
from tlsio.https.protocols.http1_websocket import asks_for_websocket, hand_over

if TYPE_CHECKING:
    from tlsio.connection.waiters import Waiters
    from tlsio.https.protocols.connection import Connection
    from tlsio.https.protocols.http1_response import Headers

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
# RFC 9110, section 5.5: it is excluded before a value is evaluated. llhttp leaves what follows one.
_WHITESPACE = b" \t"
_SEPARATORS = 4  # bytes of a header line besides name and value
_MOST_HELD = 65536  # bytes of a body above which reading pauses, until the application has received them
# Requests that wait for their turn, from which on nothing is read. Until then, a client that goes
# is noticed. One read may bring hundreds: they are small.
_MOST_WAITING = 16


class _RefusedError(Exception):
    """Stops the parser. The reason is in `Http1Protocol._refusal`."""


class Http1Protocol(asyncio.Protocol):
    """The protocol of one connection.

    Attributes:
        loop: That of the connection.
        service: What all connections share.
        tasks: Those of the server's requests.
        transport: That of the connection.
        is_full: The client does not read what it is sent: whatever sends waits in `drain`.
    """

    __slots__ = (
        "_body_bytes",
        "_call",
        "_connection",
        "_deadline",
        "_expects_100",
        "_framing",
        "_has_websockets",
        "_head_bytes",
        "_head_fields",
        "_headers",
        "_is_in_body",
        "_is_in_head",
        "_is_repeated",
        "_is_retiring",
        "_is_upgrade",
        "_keep_alive",
        "_last_words",
        "_latest",
        "_limits",
        "_method",
        "_parser",
        "_pipeline",
        "_reading",
        "_reading_paused",
        "_refusal",
        "_running",
        "_silent_bytes",
        "_url",
        "_version",
        "_writers",
        "_writing",
        "is_full",
        "loop",
        "service",
        "tasks",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, connection: Connection) -> None:
        """Serve one connection."""
        service = connection.service
        self.loop = asyncio.get_running_loop()
        self.tasks = service.state.tasks
        self._connection = connection
        self.service = service
        self._call = partial(service.handle, connection)
        self._limits = connection.limits
        self._keep_alive = service.config.timeout_keep_alive
        self._has_websockets = service.config.ws_protocol_class is not None
        self._parser = self._new_parser()
        # The requests. Those that wait for their turn are in `_pipeline`.
        self._running: Response | None = None
        self._latest: Response | None = None
        self._pipeline: deque[Response] = deque()
        self._refusal = _BAD_REQUEST
        self._last_words: bytes | None = None  # sent after the responses to earlier requests
        self._is_retiring = False
        # The request that the parser reads.
        self._url, self._method, self._version = b"", "", "1.1"
        self._headers: Headers = []
        self._framing: tuple[bytes, bytes] | None = None  # the header that tells how long the body is
        self._is_in_head = self._is_in_body = self._is_upgrade = self._expects_100 = False
        self._is_repeated = False  # the parser reads a head that was taken already
        self._head_bytes = self._head_fields = self._body_bytes = 0
        self._silent_bytes = 0  # received since the parser reported anything
        # Flow control, and limits in time: `_deadline` is that of a head, or of the next request.
        self.is_full = self._reading_paused = False
        self._writers: Waiters = {}
        self._deadline = Deadline(self.loop, self._is_late)
        self._reading = Pace(self.loop, self._limits, self._sends_too_slowly)
        self._writing = Pace(self.loop, self._limits, self._reads_too_slowly, ahead=AHEAD, acknowledged=connection.acknowledged)

    def _new_parser(self) -> Any:
        parser = httptools.HttpRequestParser(self)
        # What follows a last request is not an error: the response to that is sent.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    # ---- asyncio

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        self.transport = transport
        self.service.opened(self)
        self._deadline.set(self._limits.header_timeout)

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
        elif self._is_in_body:
            self._watch_body()
        elif self._is_in_head and self._deadline.due is None:
            self._deadline.set(self._limits.header_timeout)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Report the end to the request that is being answered, and drop those that wait for it."""
        self.service.closed(self)
        self._pipeline.clear()
        if self._running is not None:
            self._running.end()
        self._running = self._latest = self._parser = None
        self.is_full = False
        wake(self._writers)
        self._end_limits()

    def pause_writing(self) -> None:
        """Limit the time until the client reads on."""
        self.is_full = True
        self._writing.wait()

    def resume_writing(self) -> None:
        """Let the application go on."""
        self.is_full = False
        wake(self._writers)
        self._writing.stop()

    def shutdown(self) -> None:
        """Serve the requests that are here or on their way, then close."""
        self._is_retiring = True
        if self._running is not None and self._latest is not None:
            self._latest.keep_alive = False
        elif self._is_in_head:
            return  # the response to this request will be the last
        elif self._idle_time() >= ON_ITS_WAY:
            self.transport.close()
        else:
            self._deadline.set(ON_ITS_WAY)

    def _idle_time(self) -> float:
        """Return the seconds since the last response; 0.0: there was no request."""
        left = self._deadline.left
        return 0.0 if left is None or not self._url else self._keep_alive - left

    # ---- the parser calls

    def on_message_begin(self) -> None:
        """Limit the time of a head from its first byte."""
        if self._is_repeated:
            return
        self._url, self._method, self._version, self._headers = b"", "", "1.1", []
        # Not for the empty lines before it, which are no request. `data_received` sets it again,
        # unless the whole head has been received.
        self._deadline.due = None
        self._is_in_head, self._expects_100, self._framing = True, False, None
        self._head_bytes = self._head_fields = self._body_bytes = self._silent_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Take a part of the URL."""
        if self._is_repeated:
            return
        self._silent_bytes = 0
        self._head_bytes += len(url)
        if self._head_bytes > self._limits.max_header_bytes:
            self._stop(_HEAD_TOO_LARGE)
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Trailers are counted and left out: ASGI has no place for them."""
        if self._is_repeated:
            return
        self._silent_bytes = 0
        self._head_bytes += len(name) + len(value) + _SEPARATORS
        self._head_fields += 1
        limits = self._limits
        if self._head_bytes > limits.max_header_bytes or self._head_fields > limits.max_headers:
            self._stop(_HEAD_TOO_LARGE if self._head_bytes > limits.max_header_bytes else _TOO_MANY_HEADERS)
        name, value = name.lower(), value.strip(_WHITESPACE)
        if self._is_in_head:
            self._headers.append((name, value))
            if name in _FRAMING:
                self._take_framing((name, value))
            elif name == b"expect" and value.lower() == b"100-continue":
                self._expects_100 = True
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
        self._deadline.due = None
        self._silent_bytes = 0
        parser = self._parser
        version = self._version = parser.get_http_version()
        if version not in _VERSIONS:
            self._stop(_OTHER_VERSION)
        method = parser.get_method()
        if method in _NOT_SERVED:
            self._stop(_NOT_IMPLEMENTED)
        if version == "1.0" and self._framing is not None and self._framing[0] == b"transfer-encoding":
            self._stop(_BAD_REQUEST)  # RFC 9112, section 6.1: its framing is faulty
        if not self._url.startswith(b"/"):
            self._url = take_authority(self._url, method, self._headers) or self._stop(_BAD_REQUEST)
        if b"#" in self._url:
            self._stop(_BAD_REQUEST)
        self._method = method.decode("ascii")
        self._is_upgrade = parser.should_upgrade()
        if not (self._is_upgrade and self._should_upgrade()):
            self._begin(version, keep_alive=version != "1.0" and parser.should_keep_alive())
        self._is_in_head, self._is_in_body = False, True

    def _begin(self, version: str, *, keep_alive: bool) -> None:
        """Call the application, after the requests before this one."""
        raw_path, _, query = self._url.partition(b"?")
        path = raw_path.decode("ascii")
        # RFC 9112, section 3.2.4: the target `*` is the server, which is below no path.
        root_path = "" if raw_path == b"*" else self.service.config.root_path
        scope = self._connection.scope(
            "http",
            version,
            method=self._method,
            root_path=root_path,
            path=root_path + (unquote(path) if "%" in path else path),
            raw_path=root_path.encode("ascii") + raw_path if root_path else raw_path,
            query_string=query,
            headers=self._headers,
        )
        # RFC 9110, section 10.1.1: "A server that receives a 100-continue expectation in an
        # HTTP/1.0 request MUST ignore that expectation".
        waits = self._expects_100 and version != "1.0"
        response = self._latest = Response(self, scope, keep_alive=keep_alive and not self._is_retiring, waits_for_100=waits)
        if self._running is None:
            self._running = response
            response.start(self._call)
        else:
            self.pause_reading()
            self._pipeline.append(response)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._silent_bytes = 0
        if not self._is_retiring:
            self._deadline.due = None  # it is set if the response was complete before the request
        self._body_bytes += len(body)
        self._reading.move(len(body))
        most = self._limits.max_body_bytes
        if most is not None and self._body_bytes > most:
            self._stop(_BODY_TOO_LARGE)
        if self._latest is not None:
            self._latest.take_body(body)
            if self._latest.held > _MOST_HELD:
                self.pause_reading()

    def on_message_complete(self) -> None:
        """Take the end of the request."""
        if self._is_upgrade and self._framing is not None:
            return  # that of its head: the body follows
        self._silent_bytes = 0
        self._is_in_body = False
        self._reading.stop()
        if self._is_upgrade and self._should_upgrade():
            return
        if self._latest is not None:
            self._latest.end_request()
        if self._running is None:  # the response was complete before the request
            self._await_request()

    # ---- an Upgrade

    def _upgrades(self, data: bytes) -> bool:
        """Parse, up to a WebSocket's handshake; tell whether there was one.

        Raises:
            HttpParserError: it is not valid.
        """
        rest: bytes | memoryview = data
        while True:
            try:
                self._parser.feed_data(rest)
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
        is_possible = self._has_websockets and self._framing is None and self._method == "GET" and self._version == "1.1"
        return is_possible and asks_for_websocket(self._headers)

    def _expect_body(self, framing: tuple[bytes, bytes]) -> None:
        """Parse the body of a request whose Upgrade is ignored.

        llhttp takes all that follows such a head for another protocol's. A parser without the
        Upgrade goes on after a head that only says how long the body is.
        """
        self._parser = self._new_parser()
        self._is_repeated, self._is_upgrade, self._framing = True, False, None
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%s: %s\r\n\r\n" % framing)

    def _upgrade(self, rest: bytes) -> None:
        """Give the connection to uvicorn's WebSocket protocol, which has limits of its own."""
        if self._is_retiring:
            self._refuse(_STOPPING)
        elif self._running is not None or self.is_full:
            self._refuse(_NOT_ALONE)
        else:
            self._end_limits()
            self.service.closed(self)
            status = hand_over(self._connection, self.transport, self._url, self._headers, rest)
            if status is not None:
                self._connection.refused(self._refused_scope(), status)

    # ---- a response calls

    def send_continue(self) -> None:
        """Let a client send its body."""
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._watch_body()

    async def drain(self) -> None:
        """Wait until the client has read enough, or has gone."""
        while self.is_full:
            await wait_in(self._writers)

    def pause_reading(self) -> None:
        """Let the client wait."""
        if not self._reading_paused:
            self._reading_paused = True
            self.transport.pause_reading()
            self._watch_body()

    def read_on(self) -> None:
        """Let the client go on, unless too much of what it has sent waits already."""
        if not self._reading_paused or len(self._pipeline) >= _MOST_WAITING:
            return
        if self._latest is None or self._latest.held <= _MOST_HELD:
            self._reading_paused = False
            self.transport.resume_reading()
            self._watch_body()

    def on_response_complete(self, response: Response) -> None:
        """Start the next request that is here, or refuse the one that follows."""
        self.service.state.total_requests += 1
        self._running = None
        if not response.keep_alive:
            self.transport.close()
        elif self._pipeline:
            if not self.transport.is_closing():
                self._running = self._pipeline.popleft()
                self.read_on()
                self._running.start(self._call)
        elif self._last_words is not None:
            self._say_last_words()
        else:
            self._latest = None
            self.read_on()
            if not self._is_in_head:  # the next request is limited by header_timeout
                self._await_request()

    def _await_request(self) -> None:
        """Keep nothing of the last request, which may be the last for long."""
        self._latest, self._headers = None, []
        self._deadline.set(self._keep_alive)

    # ---- limits

    def _watch_body(self) -> None:
        """Count the time in which we wait for the client's body."""
        if self._is_in_body and not self._reading_paused and not (self._latest is not None and self._latest.waits_for_100):
            self._reading.wait()
        else:
            self._reading.stop()

    def _end_limits(self) -> None:
        self._deadline.end()
        self._reading.end()
        self._writing.end()

    def _is_late(self) -> None:
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
        self._deadline.end()
        self._reading.end()
        status, text = refusal
        _log.info("%s: %d: %s", self._connection.client_text, status, text)
        self._last_words = error_response(refusal, self.service.state.default_headers)
        if self._is_in_body and self._pipeline:
            self._pipeline.pop()  # the latest request: it is the one that is refused
            self._latest = self._pipeline[-1] if self._pipeline else self._running
            self._is_in_body = False
        running = self._running
        if not self._is_in_body:
            self._connection.refused(self._refused_scope(), status)
            if running is None:
                self._say_last_words()
            else:
                self.pause_reading()  # the fault is in a later request: the present one is answered first
        elif running is None:
            self.transport.close()  # the request was answered before its end: an error would answer the next one
        elif running.is_started:
            self.transport.abort()  # the client would take the error for a part of the response
        else:
            running.scope[REFUSED] = status
            running.end()
            self._say_last_words()

    def _refused_scope(self) -> dict[str, Any]:
        """Return what is known of the latest request."""
        path, _, query = self._url.partition(b"?")
        method = self._method or (self._parser.get_method().decode("ascii") if self._url else "-")
        known = {"method": method, "raw_path": path or b"-", "query_string": query, "headers": self._headers}
        return {"type": "http", "http_version": self._version, **known}

    def _say_last_words(self) -> None:
        self.transport.write(self._last_words or b"")
        self.transport.close()
