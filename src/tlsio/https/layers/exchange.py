"""One request and its response as they happen, for what counts or logs them."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

from tlsio.https.protocols.connection import REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsio.https.asgi import Message, Receive, Scope, Send
    from tlsio.https.protocols.connection import Connection, Handler, RefusalWatcher

__all__ = ["Exchange", "watch", "watch_refusals"]

_SWITCHING, _OK, _FORBIDDEN, _FAILED = 101, 200, 403, 500
_WITHOUT_BODY = frozenset({204, 304})
_CLIENT_GONE = 499  # nginx's: the client went away before there was a response


class Exchange:
    """What a request has come to.

    Attributes:
        connection: Its connection.
        scope: Its ASGI scope.
        sent: Bytes of the response's body, or of messages to a WebSocket, that were to be sent.
        received: Bytes of the request's body, or of messages from a WebSocket.
        seconds: Its duration, once it is over.
    """

    __slots__ = (
        "_head_waits",
        "_is_gone",
        "_is_socket",
        "_receive",
        "_send",
        "_started",
        "_status",
        "connection",
        "received",
        "scope",
        "seconds",
        "sent",
    )

    def __init__(self, connection: Connection, scope: Scope, receive: Receive, send: Send) -> None:
        """Watch the messages of one request."""
        self.connection = connection
        self.scope = scope
        self.sent = self.received = 0
        self.seconds = 0.0
        self._receive, self._send = receive, send
        self._is_socket = scope["type"] == "websocket"
        self._is_gone = False
        # The head of a response is not sent yet: over HTTP/2 it waits for the first part of the
        # body, and until then a failure is answered with 500.
        self._head_waits = False
        self._status: int | None = None
        self._started = perf_counter()

    @property
    def status(self) -> int:
        """The response's status; 500 if the application failed before it; 499: the client left."""
        refused: int | None = self.scope.get(REFUSED)
        if refused is not None:  # what the application sent has not left
            return refused
        if self._status is not None:
            return self._status
        return _CLIENT_GONE if self._is_gone else _FAILED

    async def receive(self) -> Message:
        """Pass on what the client sent."""
        message = await self._receive()
        kind = message["type"]
        if kind == "http.request":
            self.received += len(message.get("body", b""))
        elif kind == "websocket.receive":
            self.received += _size(message)
        elif kind in {"http.disconnect", "websocket.disconnect"}:
            self._is_gone = True
        return message

    async def send(self, message: Message) -> None:
        """Pass on what the application sent."""
        kind = message["type"]
        if kind == "http.response.body":
            has_body = self.scope["method"] != "HEAD" and self._status not in _WITHOUT_BODY
            self.sent += _size_of(message.get("body")) if has_body else 0
        await self._send(message)  # what it refuses has no effect
        if kind == "http.response.start":
            self._status = message["status"]
            self._head_waits = self.scope["http_version"] == "2"
        elif kind == "websocket.http.response.start":
            self._status = message["status"]
        elif self._is_socket:
            self._note(kind, message)
        else:
            self._head_waits = False

    def _note(self, kind: str, message: Message) -> None:
        if kind == "websocket.send":
            self.sent += _size(message)
        elif kind == "websocket.http.response.body":
            self.sent += _size_of(message.get("body"))
        elif self._status is None:
            accepted = _SWITCHING if self.scope["http_version"] == "1.1" else _OK
            self._status = accepted if kind == "websocket.accept" else _FORBIDDEN

    def finish(self) -> None:
        """Note the time, and what has become of the head."""
        self.seconds = perf_counter() - self._started
        if self._head_waits:
            self._status = None


def _size(message: Message) -> int:
    data = message.get("bytes")
    return len(message.get("text") or "") if data is None else _size_of(data)


def _size_of(data: Any) -> int:
    """Return the number of bytes of any buffer; 0: it is none, which `send` judges."""
    if isinstance(data, bytes):
        return len(data)
    try:
        return memoryview(data).nbytes
    except TypeError:
        return 0


async def watch(handler: Handler, exchange: Exchange, done: Callable[[Exchange], None]) -> Any:
    """Handle a request, and call `done` when it is over, however it ends."""
    try:
        return await handler(exchange.connection, exchange.scope, exchange.receive, exchange.send)
    finally:
        exchange.finish()
        done(exchange)


def watch_refusals(done: Callable[[Exchange], None]) -> RefusalWatcher:
    """Return a function that calls `done` for each request that reached no layer."""

    def refused(connection: Connection, scope: Scope, status: int) -> None:
        done(Exchange(connection, {**scope, REFUSED: status}, _never, _never))

    return refused


async def _never(*_: Any) -> NoReturn:
    raise AssertionError("no application runs")
