"""One request of HTTP/2 and its response, as an ASGI application sees them.

The response's head waits for the first part of the body, so that both leave in one write, and a
response without a body ends with its head.

Source: the ASGI specification, "HTTP & WebSocket ASGI Message Format", and its extensions "Early
Hints" and "HTTP Trailers".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsio.connection.waiters import wait_in, wake
from tlsio.https.protocols.connection import REFUSED
from tlsio.https.protocols.http2.engine import ErrorCodes
from tlsio.https.protocols.http2.fields import response_head, response_headers
from tlsio.https.protocols.http2.stream import Stream
from tlsio.https.protocols.refusals import BODY_TOO_LARGE, SERVER_ERROR
from tlsio.https.protocols.response import check_body, count_down, has_body

if TYPE_CHECKING:
    from tlsio.connection.waiters import Waiters
    from tlsio.https.asgi import Message, Scope
    from tlsio.https.protocols.http2.engine import Header
    from tlsio.https.protocols.http2.protocol import Http2Protocol
    from tlsio.https.protocols.refusals import Refusal

__all__ = ["RequestStream"]

_CONTINUE = 100
_EARLY_HINTS = 103


class RequestStream(Stream):
    """ASGI's `receive` and `send` for one request."""

    def __init__(self, protocol: Http2Protocol, stream_id: int, scope: Scope, *, expected: int | None, wants_continue: bool) -> None:
        """Take a request.

        Args:
            protocol: That of its connection.
            stream_id: Its number.
            scope: The ASGI scope of the request.
            expected: The request's content-length, if it has one.
            wants_continue: The client waits for "100 Continue" before it sends the body.
        """
        super().__init__(protocol, stream_id, scope)
        # The request.
        self._expected = expected
        self._wants_continue = wants_continue
        self._received = 0
        self._body = bytearray()  # one buffer: an object for each byte would be 40 times the window
        self._is_end_given = False
        self._news: Waiters = {}
        # The response.
        self._head: list[Header] | None = None  # until it is sent
        self._is_started = False
        self._has_body = True
        self._left: int | None = None  # of the response's content-length
        self._trailers_follow = False

    # ---- the request

    def take_data(self, data: bytes, *, is_ended: bool) -> None:
        """Take a part of the request's body."""
        self._received += len(data)
        most = self._protocol.limits.max_body_bytes
        if not self.is_open:
            self._engine.consumed(self.stream_id, len(data))
        elif most is not None and self._received > most:
            self._engine.consumed(self.stream_id, len(data))
            self._refuse_body()
        elif data:
            self._body += data
            wake(self._news)
        if is_ended:
            self.end_request()

    def _refuse_body(self) -> None:
        if self._is_started:
            self._protocol.reset(self, ErrorCodes.ENHANCE_YOUR_CALM)
        else:
            self._answer(BODY_TOO_LARGE)
            self.scope[REFUSED] = BODY_TOO_LARGE[0]
            self.end()

    def end_request(self) -> None:
        """Take the end of the request. h2 has compared the length of DATA, but not of none."""
        if self._expected is not None and self._received != self._expected:
            self._protocol.reset(self, ErrorCodes.PROTOCOL_ERROR)  # RFC 9113, section 8.1.1
            return
        self.is_request_ended = True
        wake(self._news)

    def _ended(self) -> None:
        self._take_body()
        wake(self._news)

    async def receive(self) -> Message:
        """Return the next part of the request, or `http.disconnect`."""
        if self._wants_continue:
            self._send_continue()
        while not self._has_news():
            if self.is_request_ended:
                await wait_in(self._news)  # until the client goes, or the response is complete
            else:
                await self._protocol.wait_for_body(self, self._news)
        if not self.is_open:
            return {"type": "http.disconnect"}
        self._is_end_given = self.is_request_ended
        return {"type": "http.request", "body": self._take_body(), "more_body": not self.is_request_ended}

    def _has_news(self) -> bool:
        return bool(self._body) or not self.is_open or (self.is_request_ended and not self._is_end_given)

    def _take_body(self) -> bytes:
        if not self._body:
            return b""
        body = bytes(self._body)
        self._body.clear()
        self._engine.consumed(self.stream_id, len(body))
        self._protocol.flush()
        return body

    def _send_continue(self) -> None:
        self._wants_continue = False
        if not (self._is_started or self._received or self.is_request_ended or self.is_gone):
            self._engine.send_headers(self.stream_id, [(b":status", b"%d" % _CONTINUE)])
            self._protocol.flush()

    # ---- the response

    async def send(self, message: Message) -> None:
        """Send a part of the response. After the client has gone, nothing happens."""
        kind = message["type"]
        if self.is_gone:
            return
        if self._ends or self.is_answered:
            raise RuntimeError(f"The response is complete; {kind!r} came after it")
        is_begun = self._is_started or self._head is not None
        if kind == "http.response.body" and is_begun:
            self._send_body(check_body(message.get("body")), more=bool(message.get("more_body", False)))
        elif kind == "http.response.start" and not is_begun:
            self._begin(message)
        elif kind == "http.response.trailers" and is_begun and self._trailers_follow:
            self._send_trailers(message)
        elif kind == "http.response.early_hint" and not is_begun:
            self._send_hint(message)
        else:
            raise RuntimeError(f"{kind!r} is out of order")
        if self._outgoing:
            await self._drained()

    def _begin(self, message: Message) -> None:
        status = message["status"]
        self._head, self._left = response_head(status, message.get("headers", ()), self._protocol.default_headers)
        self._trailers_follow = bool(message.get("trailers", False))
        if self.scope["method"] == "HEAD" or not has_body(status):
            self._has_body = False
            self._left = None

    def _send_hint(self, message: Message) -> None:
        links = response_headers((b"link", link) for link in message["links"])
        self._engine.send_headers(self.stream_id, [(b":status", b"%d" % _EARLY_HINTS), *links])
        self._protocol.flush()

    def _send_body(self, body: bytes | memoryview, *, more: bool) -> None:
        if not self._has_body:
            body = b""
        elif self._left is not None:
            self._left = count_down(self._left, len(body), more=more)
        ends = not more and not self._trailers_follow
        if not self._is_started:
            self._start(is_ended=ends and not body)
        if not self.is_answered:
            self._write(body, ends=ends)

    def _start(self, *, is_ended: bool) -> None:
        """Send the head."""
        head, self._head = self._head or [], None
        self._is_started = True
        self._engine.send_headers(self.stream_id, head, is_ended=is_ended)
        if is_ended:
            self._finish()
        self._protocol.flush()

    def _send_trailers(self, message: Message) -> None:
        self._trailers += response_headers(message.get("headers", ()))
        if not message.get("more_trailers", False):
            if not self._is_started:
                self._start(is_ended=False)
            self._write(b"", ends=True)

    # ---- the end

    async def _app_returned(self) -> None:
        if self._ends:
            await self._drained()  # a task that the application has left behind may have sent it
        if self.is_open:
            self._protocol.log.error("The ASGI application returned before its response was complete")
            self._fail()

    def _fail(self) -> None:
        """Answer 500 if the client has nothing of a response yet, otherwise reset the stream."""
        if not self.is_open:
            return
        if self._is_started:
            self._protocol.reset(self, ErrorCodes.INTERNAL_ERROR)
        else:
            self._answer(SERVER_ERROR)
            self.is_answered = True

    def _answer(self, refusal: Refusal) -> None:
        has_body = self.scope["method"] != "HEAD"
        self._protocol.answer(self.stream_id, refusal, is_request_ended=self.is_request_ended, has_body=has_body)
