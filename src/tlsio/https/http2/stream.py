"""One request of HTTP/2 and its response, as an ASGI application sees them.

The response's head waits for the first part of the body, so that both leave in one write, and a
response without a body ends with its head.

Source: the ASGI specification, "HTTP & WebSocket ASGI Message Format", and its extensions "Early
Hints" and "HTTP Trailers".
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tlsio.https.deadline import Pace
from tlsio.https.http2.engine import ErrorCodes
from tlsio.https.http2.fields import response_head, response_headers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tlsio.https.http2.protocol import Http2Protocol
    from tlsio.https.http2.engine import Header

    App = Callable[[dict[str, Any], Callable[[], Awaitable[dict[str, Any]]], Callable[[dict[str, Any]], Awaitable[None]]], Awaitable[None]]

__all__ = ["Stream"]

_CHUNK = 65536  # bytes of body that one write takes: the transport's own limit, after which it pauses
_NO_BODY = frozenset({204, 304})
_CONTINUE = 100
_DISCONNECT = "http.disconnect"


class Stream:
    """ASGI's `receive` and `send` for one request.

    Attributes:
        stream_id: The stream's number.
        scope: The ASGI scope.
        is_gone: The client or an error has ended the stream: nothing can be sent.
    """

    def __init__(
        self, protocol: Http2Protocol, stream_id: int, scope: dict[str, Any], *, expected: int | None, wants_continue: bool
    ) -> None:
        """Take a request.

        Args:
            protocol: That of its connection.
            stream_id: Its number.
            scope: The ASGI scope of the request.
            expected: The request's content-length, if it has one.
            wants_continue: The client waits for "100 Continue" before it sends the body.
        """
        self.stream_id = stream_id
        self.scope = scope
        self.is_gone = False
        self._protocol = protocol
        self._engine = protocol.engine
        # The request.
        self._expected = expected
        self._wants_continue = wants_continue
        self._received = 0
        self._body: list[bytes] = []
        self._counted = 0  # bytes of `_body` as flow control counts them
        self._is_request_ended = self._is_end_given = False
        self._reader: asyncio.Future[None] | None = None
        self._reading: Pace | None = None
        # The response.
        self._head: list[Header] | None = None  # until it is sent
        self._is_started = self._is_answered = False
        self._has_body = True
        self._left: int | None = None  # of the response's content-length
        self._trailers_follow = False
        self._trailers: list[Header] = []
        self._writer: asyncio.Future[None] | None = None
        self._writing: Pace | None = None

    # ---- the connection calls

    def take_data(self, data: bytes, counted: int) -> bool:
        """Take a part of the request's body; False: it is longer than its content-length."""
        self._received += len(data)
        if self._expected is not None and self._received > self._expected:
            self._engine.consumed(self.stream_id, counted)
            return False
        if self.is_gone or self._is_answered:
            self._engine.consumed(self.stream_id, counted)
            return True
        if self._reading is not None:
            self._reading.move(len(data))
        self._body.append(data)
        self._counted += counted
        self._wake_reader()
        return True

    def end_request(self) -> bool:
        """Take the end of the request; False: its body is shorter than its content-length."""
        if self._expected is not None and self._received != self._expected:
            return False
        self._is_request_ended = True
        self._wake_reader()
        return True

    def wake_writer(self) -> None:
        """Let `send` look again for room."""
        waiter, self._writer = self._writer, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def end(self) -> None:
        """End at once: the application gets `http.disconnect`, and what it sends is dropped."""
        if not self.is_gone:
            self.is_gone = True
            self._release()
            self._wake_reader()
            self.wake_writer()

    def _wake_reader(self) -> None:
        waiter, self._reader = self._reader, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _release(self) -> None:
        """Let go of what the application will not read, and of the timers."""
        self._take_body()
        for pace in (self._reading, self._writing):
            if pace is not None:
                pace.end()
        self._reading = self._writing = None

    # ---- the application

    async def run(self, app: App) -> None:
        """Run the application, and end the stream in order, whatever it does."""
        protocol = self._protocol
        try:
            returned: object = await app(self.scope, self.receive, self.send)
            if returned is not None:
                protocol.log.error("The ASGI application returned %r instead of None", type(returned).__name__)
            if not self._is_answered and not self.is_gone:
                protocol.log.error("The ASGI application returned before its response was complete")
                self._fail()
        except asyncio.CancelledError:
            self._fail()
            raise
        except Exception:
            protocol.log.exception("Exception in ASGI application")
            self._fail()
        finally:
            self._release()
            protocol.stream_finished(self)

    def _fail(self) -> None:
        """Answer 500 if the client has nothing of a response yet, otherwise reset the stream."""
        if self.is_gone or self._is_answered:
            return
        if self._is_started:
            self._protocol.reset(self, ErrorCodes.INTERNAL_ERROR)
        else:
            self._protocol.answer(self.stream_id, 500)
            self._answered()

    async def receive(self) -> dict[str, Any]:
        """Return the next part of the request, or `http.disconnect`."""
        if self._wants_continue:
            self._send_continue()
        while not self._has_news():
            self._reader = reader = asyncio.get_running_loop().create_future()
            if self._is_request_ended:
                await reader  # until the client goes, or the response is complete
            else:
                await self._wait_for_client(reader)
        if self.is_gone or self._is_answered:
            return {"type": _DISCONNECT}
        self._is_end_given = self._is_request_ended
        return {"type": "http.request", "body": self._take_body(), "more_body": not self._is_request_ended}

    def _has_news(self) -> bool:
        return bool(self._body) or self.is_gone or self._is_answered or (self._is_request_ended and not self._is_end_given)

    async def _wait_for_client(self, reader: asyncio.Future[None]) -> None:
        if self._reading is None:
            self._reading = Pace(self._protocol.loop, self._protocol.limits, self._too_slow)
        self._reading.wait()
        try:
            await reader
        finally:
            if self._reading is not None:
                self._reading.stop()

    def _take_body(self) -> bytes:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        counted, self._counted = self._counted, 0
        if counted:
            self._engine.consumed(self.stream_id, counted)
            self._protocol.flush()
        return body

    def _send_continue(self) -> None:
        self._wants_continue = False
        if not self._is_started and not self._is_request_ended and not self.is_gone:
            self._engine.send_headers(self.stream_id, [(b":status", b"%d" % _CONTINUE)])
            self._protocol.flush()

    async def send(self, message: dict[str, Any]) -> None:
        """Send a part of the response. After the client has gone, nothing happens."""
        kind = message["type"]
        if self.is_gone:
            return
        if self._is_answered:
            raise RuntimeError(f"The response is complete; {kind!r} came after it")
        if kind == "http.response.body" and self._is_begun:
            await self._send_body(message.get("body", b""), more=bool(message.get("more_body", False)))
        elif kind == "http.response.start" and not self._is_begun:
            self._begin(message)
        elif kind == "http.response.trailers" and self._is_begun and self._trailers_follow:
            self._send_trailers(message)
        elif kind == "http.response.early_hint" and not self._is_begun:
            self._send_hint(message)
        else:
            raise RuntimeError(f"{kind!r} is out of order")

    @property
    def _is_begun(self) -> bool:
        return self._is_started or self._head is not None

    def _begin(self, message: dict[str, Any]) -> None:
        status = message["status"]
        self._head, self._left = response_head(status, message.get("headers", ()), self._protocol.default_headers)
        self._has_body = self.scope["method"] != "HEAD" and status not in _NO_BODY
        self._trailers_follow = bool(message.get("trailers", False))
        if not self._has_body:
            self._left = None

    def _send_hint(self, message: dict[str, Any]) -> None:
        links = [(b"link", link) for link in message["links"]]
        self._engine.send_headers(self.stream_id, [(b":status", b"103"), *response_headers(links)])
        self._protocol.flush()

    async def _send_body(self, body: bytes, *, more: bool) -> None:
        if not self._has_body:
            body = b""
        elif self._left is not None:
            self._left -= len(body)
            if self._left < 0:
                raise RuntimeError("The response's body is longer than its content-length")
            if self._left and not more:
                raise RuntimeError("The response's body is shorter than its content-length")
        ends = not more and not self._trailers_follow
        self._send_head(is_ended=ends and not body)
        if body:
            await self._write(body, is_ended=ends)
        elif ends and not self._is_answered and self._has_body:
            self._engine.send_data(self.stream_id, b"", is_ended=True)
        if ends:
            self._answered()
        self._protocol.flush()

    def _send_head(self, *, is_ended: bool) -> None:
        head, self._head = self._head, None
        if head is not None:
            self._is_started = True
            self._engine.send_headers(self.stream_id, head, is_ended=is_ended)
            if is_ended:
                self._answered()

    async def _write(self, body: bytes, *, is_ended: bool) -> None:
        """Send a body, as the client and the transport have room for it."""
        protocol, start = self._protocol, 0
        while not self.is_gone:
            room = 0 if protocol.is_paused else min(self._engine.room(self.stream_id), _CHUNK)
            end = start + room
            if end >= len(body):
                self._engine.send_data(self.stream_id, body[start:] if start else body, is_ended=is_ended)
                return
            if room > 0:
                self._engine.send_data(self.stream_id, body[start:end], is_ended=False)
                start = end
                if self._writing is not None:
                    self._writing.move(room)
                protocol.flush()
            else:
                await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        self._writer = writer = asyncio.get_running_loop().create_future()
        if self._writing is None:
            self._writing = Pace(self._protocol.loop, self._protocol.limits, self._too_slow)
        self._writing.wait()
        self._protocol.wait_for_room(self)
        try:
            await writer
        finally:
            if self._writing is not None:
                self._writing.stop()

    def _too_slow(self) -> None:
        self._protocol.log.info("%s was reset: the client is slower than min_rate", self._protocol.name_of(self))
        self._protocol.reset(self, ErrorCodes.CANCEL)

    def _send_trailers(self, message: dict[str, Any]) -> None:
        self._trailers += response_headers(message.get("headers", ()))
        if not message.get("more_trailers", False):
            self._send_head(is_ended=False)
            self._engine.send_headers(self.stream_id, self._trailers, is_ended=True)
            self._answered()
        self._protocol.flush()

    def _answered(self) -> None:
        """Note that the response is complete, and stop a client that still sends its request."""
        if self._is_answered:
            return
        self._is_answered = True
        if not self._is_request_ended and not self.is_gone:
            # RFC 9113, section 8.1: "a server MAY request that the client abort transmission of a
            # request without error by sending a RST_STREAM with an error code of NO_ERROR".
            self._engine.reset(self.stream_id, ErrorCodes.NO_ERROR)
        self._take_body()
        self._wake_reader()
