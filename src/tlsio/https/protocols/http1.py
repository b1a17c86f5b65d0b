"""HTTP/1.1: the protocol of one connection.

It limits the time that a client takes for sending a request or for reading the response, and what
it may send ahead. A request is answered after those before it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tlsio.connection.waiters import wait_in, wake
from tlsio.https.deadline import AHEAD, ON_ITS_WAY, Deadline, Pace
from tlsio.https.protocols.connection import REFUSED
from tlsio.https.protocols.http1_reader import RequestReader
from tlsio.https.protocols.http1_response import Response, error_response
from tlsio.https.protocols.http1_websocket import hand_over
from tlsio.https.protocols.refusals import LATE, NOT_ALONE, STOPPING, RefusedError

if TYPE_CHECKING:
    from tlsio.connection.waiters import Waiters
    from tlsio.https.protocols.connection import Connection
    from tlsio.https.protocols.refusals import Refusal

__all__ = ["Http1Protocol"]

_log = logging.getLogger("tlsio.https")

_MOST_HELD = 65536  # bytes of a body above which reading pauses, until the application has received them
# Requests that wait for their turn, from which on nothing is read. Until then, a client that goes
# is noticed.
_MOST_WAITING = 16
_END_OF_HEAD = b"\r\n\r\n"


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
        "_call",
        "_connection",
        "_deadline",
        "_is_retiring",
        "_is_starting",
        "_keep_alive",
        "_last_words",
        "_latest",
        "_limits",
        "_pipeline",
        "_reader",
        "_reading",
        "_reading_paused",
        "_running",
        "_unread",
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
        self._reader = RequestReader(self, self._limits, has_websockets=service.config.ws_protocol_class is not None)
        # The requests. Those that wait for their turn are in `_pipeline`.
        self._running: Response | None = None
        self._latest: Response | None = None
        self._pipeline: deque[Response] = deque()
        self._unread = b""  # what came with the last of them, and waits until fewer do
        self._last_words: bytes | None = None  # sent after the responses to earlier requests
        self._is_retiring = self._is_starting = False
        # Flow control, and limits in time: `_deadline` is that of a head, or of the next request.
        self.is_full = self._reading_paused = False
        self._writers: Waiters = {}
        self._deadline = Deadline(self.loop, self._is_late)
        self._reading = Pace(self.loop, self._limits, self._sends_too_slowly)
        self._writing = Pace(self.loop, self._limits, self._reads_too_slowly, ahead=AHEAD, acknowledged=connection.acknowledged)

    # ---- asyncio

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        self.transport = transport
        self.service.opened(self)
        self._deadline.set(self._limits.header_timeout)

    def data_received(self, data: bytes) -> None:
        """Parse what the client sent. What follows too many requests waits, as bytes."""
        while data:
            if self._last_words is not None:
                return
            if len(self._pipeline) >= _MOST_WAITING:
                self._unread = data
                return
            end = _find_heads(data, self._reader.body_left, _MOST_WAITING - len(self._pipeline))
            data, part = data[end:], data[:end]
            try:
                rest = self._reader.feed(part)
            except RefusedError as error:
                self._refuse(error.refusal)
                return
            if rest is not None:
                self._upgrade(rest + data)
                return
        if self._reader.is_in_body:
            self._watch_body()
        elif self._reader.is_in_head:
            self._watch_head()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Report the end to the request that is being answered, and drop those that wait for it."""
        self.service.closed(self)
        self._pipeline.clear()
        self._unread = b""
        if self._running is not None:
            self._running.end()
        self._running = self._latest = None
        self._reader.end()
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
        elif self._reader.is_in_head:
            return  # the response to this request will be the last
        elif self._idle_time() >= ON_ITS_WAY:
            self.transport.close()
        else:
            self._deadline.set(ON_ITS_WAY)

    def _idle_time(self) -> float:
        """Return the seconds since the last response; 0.0: there was no request."""
        left = self._deadline.left
        return 0.0 if left is None or not self._reader.url else self._keep_alive - left

    # ---- the reader calls

    def request_begun(self) -> None:
        """Limit the time of a head from its first byte, not from the empty lines before it."""
        self._deadline.due = None  # `_watch_head` sets it again, unless the whole head was received

    def begin(self, *, keep_alive: bool) -> None:
        """Call the application, after the requests before this one."""
        reader = self._reader
        self._deadline.due = None
        raw_path, _, query = reader.url.partition(b"?")
        path = raw_path.decode("ascii")
        # RFC 9112, section 3.2.4: the target `*` is the server, which is below no path.
        root_path = "" if raw_path == b"*" else self.service.config.root_path
        scope = self._connection.scope(
            "http",
            reader.version,
            method=reader.method,
            root_path=root_path,
            path=root_path + (unquote(path) if "%" in path else path),
            raw_path=root_path.encode("ascii") + raw_path if root_path else raw_path,
            query_string=query,
            headers=reader.headers,
        )
        # RFC 9110, section 10.1.1: "A server that receives a 100-continue expectation in an
        # HTTP/1.0 request MUST ignore that expectation".
        waits = reader.expects_100 and reader.version != "1.0"
        response = self._latest = Response(self, scope, keep_alive=keep_alive and not self._is_retiring, waits_for_100=waits)
        if self._running is None:
            self._running = response
            response.start(self._call)
        else:
            self.pause_reading()
            self._pipeline.append(response)

    def take_body(self, body: bytes) -> None:
        """Take a part of the body of the latest request."""
        if not self._is_retiring:
            self._deadline.due = None  # it is set if the response was complete before the request
        self._reading.move(len(body))
        if self._latest is not None:
            self._latest.take_body(body)
            if self._latest.held > _MOST_HELD:
                self.pause_reading()

    def end_request(self) -> None:
        """Take the end of the latest request."""
        self._reading.stop()
        if self._latest is not None:
            self._latest.end_request()
        if self._running is None:  # the response was complete before the request
            self._await_request()

    def _upgrade(self, rest: bytes) -> None:
        """Give the connection to uvicorn's WebSocket protocol, which has limits of its own."""
        if self._is_retiring:
            self._refuse(STOPPING)
        elif self._running is not None or self.is_full:
            self._refuse(NOT_ALONE)
        else:
            self._end_limits()
            self.service.closed(self)
            status = hand_over(self._connection, self.transport, self._reader.url, self._reader.headers, rest)
            if status is not None:
                self._connection.refused(self._reader.facts(), status)
            self._reader.end()

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
            if self._reader.is_in_head:
                self._deadline.due = None

    def read_on(self) -> None:
        """Let the client go on, unless too much of what it has sent waits already."""
        if not self._reading_paused:
            return
        if self._unread and len(self._pipeline) <= _MOST_WAITING // 2:  # several at once: each time copies the rest
            unread, self._unread = self._unread, b""
            self.data_received(unread)
        if not self._unread and len(self._pipeline) < _MOST_WAITING and (self._latest is None or self._latest.held <= _MOST_HELD):
            self._reading_paused = False
            self.transport.resume_reading()
            self._watch_body()
            self._watch_head()

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
                self._start_next()
        elif self._last_words is not None:
            self._say_last_words()
        else:
            self._latest = None
            if self._reading_paused:
                self.read_on()
            if not self._reader.is_in_head:  # the next request is limited by header_timeout
                self._await_request()

    def _start_next(self) -> None:
        """Start the request whose turn it is, and those after it that end before `start` returns.

        Eager tasks may end there. Each would start the next one within itself, ever deeper.
        """
        if self._is_starting:
            return
        self._is_starting, started = True, None
        try:
            while self._running is not started and self._running is not None:
                started = self._running
                started.start(self._call)
        finally:
            self._is_starting = False

    def _await_request(self) -> None:
        """Keep nothing of the last request, which may be the last for long."""
        self._latest, self._reader.headers = None, []
        self._deadline.set(ON_ITS_WAY if self._is_retiring else self._keep_alive)

    # ---- limits

    def _watch_head(self) -> None:
        """Limit the time of a head, while it is read."""
        if self._reader.is_in_head and self._deadline.due is None and not self._reading_paused:
            self._deadline.set(self._limits.header_timeout)

    def _watch_body(self) -> None:
        """Count the time in which we wait for the client's body."""
        if self._reader.is_in_body and not self._reading_paused and not (self._latest is not None and self._latest.waits_for_100):
            self._reading.wait()
        else:
            self._reading.stop()

    def _end_limits(self) -> None:
        self._deadline.end()
        self._reading.end()
        self._writing.end()

    def _is_late(self) -> None:
        if self._reader.is_in_head:
            self._refuse(LATE)
        else:
            self.transport.close()

    def _sends_too_slowly(self) -> None:
        self._refuse(LATE)

    def _reads_too_slowly(self) -> None:
        _log.info("%s: the connection was aborted: the client reads more slowly than min_rate", self._connection.client_text)
        self.transport.abort()

    # ---- refusals

    def _refuse(self, refusal: Refusal) -> None:
        """Answer with an error, after the responses that are due before, and close."""
        if self.transport.is_closing() or self._last_words is not None:
            return
        self._deadline.end()
        self._reading.end()
        _log.info("%s: %d: %s", self._connection.client_text, refusal.status, refusal.text.rstrip())
        self._last_words = error_response(refusal, self.service.state.default_headers)
        if self._reader.is_in_body and self._pipeline:
            self._pipeline.pop()  # the latest request: it is the one that is refused
            self._latest = self._pipeline[-1] if self._pipeline else self._running
            self._reader.is_in_body = False
        running = self._running
        if not self._reader.is_in_body:
            self._connection.refused(self._reader.facts(), refusal.status)
            if running is None:
                self._say_last_words()
            else:
                self.pause_reading()  # the fault is in a later request: the present one is answered first
        elif running is None:
            self.transport.close()  # the request was answered before its end: an error would answer the next one
        elif running.is_started:
            self.transport.abort()  # the client would take the error for a part of the response
        else:
            running.scope[REFUSED] = refusal.status
            running.end()
            self._say_last_words()

    def _say_last_words(self) -> None:
        self.transport.write(self._last_words or b"")
        self.transport.close()


def _find_heads(data: bytes, start: int, most: int) -> int:
    """Return a length of `data`, from `start` on, in which at most so many heads end."""
    end = start
    for _ in range(most):
        found = data.find(_END_OF_HEAD, end)
        if found < 0:
            return len(data)
        end = found + len(_END_OF_HEAD)
    return end
