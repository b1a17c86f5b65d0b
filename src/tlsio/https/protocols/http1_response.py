"""One request of HTTP/1.1 and its response, as an ASGI application sees them.

A client takes what follows a response for the next one. So a body that has no place, or a length
that can be read in two ways, would let an application's data be a response of its own: the head is
checked before any of it is written.

Source: the ASGI specification, "HTTP & WebSocket ASGI Message Format".
"""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from tlsio.connection.tasks import ends_task
from tlsio.connection.waiters import wait_in, wake
from tlsio.https.asgi import GONE
from tlsio.https.protocols.refusals import SERVER_ERROR
from tlsio.https.protocols.response import NO_CONTENT, check_body, check_status, count_down, find_control, has_body

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from tlsio.connection.waiters import Waiters
    from tlsio.https.asgi import App, Message, Scope
    from tlsio.https.protocols.http1 import Http1Protocol
    from tlsio.https.protocols.refusals import Refusal

    Headers = list[tuple[bytes, bytes]]

__all__ = ["FRAMING", "Response", "check_headers", "error_response"]

_log = logging.getLogger("tlsio.https")

FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2
_LENGTH = re.compile(rb"[0-9]{1,19}")
_LENGTHS_CACHED = 512
_NAMES_CACHED = 512  # applications use the same names again and again
_ERROR = SERVER_ERROR.text.encode()
_ERROR_HEADERS = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(_ERROR)), (b"connection", b"close")]


class Response:
    """ASGI's `receive` and `send` for one request.

    Attributes:
        scope: The ASGI scope.
        keep_alive: The connection stays open after the response.
        waits_for_100: The client waits for "100 Continue" before it sends the body.
        is_started: The head was written.
        is_complete: All of the response was written.
        is_gone: The client has gone, or was refused: the application is told so, and nothing is
            sent any more.
    """

    __slots__ = (
        "_body",
        "_has_body",
        "_has_news",
        "_is_chunked",
        "_is_request_ended",
        "_left",
        "_protocol",
        "_task",
        "_waiters",
        "is_complete",
        "is_gone",
        "is_started",
        "keep_alive",
        "scope",
        "waits_for_100",
    )

    def __init__(self, protocol: Http1Protocol, scope: Scope, *, keep_alive: bool, waits_for_100: bool) -> None:
        """Take a request whose head is complete."""
        self._protocol = protocol
        self.scope = scope
        self.keep_alive = keep_alive
        self.waits_for_100 = waits_for_100
        self._task: asyncio.Task[None] | None = None
        # The request.
        self._body: bytearray | None = None  # what the application has not received yet
        self._is_request_ended = self._has_news = self.is_gone = False
        self._waiters: Waiters | None = None
        # The response.
        self.is_started = self.is_complete = False
        self._is_chunked, self._has_body = False, True
        self._left: int | None = None  # of the response's content-length

    # ---- the application

    def start(self, app: App) -> None:
        """Call the application, in a task that a graceful stop waits for."""
        protocol = self._protocol
        self._task = task = protocol.loop.create_task(self._run(app))
        if not task.done():  # an eager one may be
            protocol.tasks.add(task)

    async def _run(self, app: App) -> None:
        """Run the application, and end the response in order, whatever it does."""
        try:
            returned: object = await app(self.scope, self.receive, self.send)
            if returned is not None:
                _log.error("The ASGI application returned %r instead of None", type(returned).__name__)
            if not (self.is_complete or self.is_gone):
                _log.error("The ASGI application returned before its response was complete")
                self._fail()
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # which ends the request: the others of this process go on
            is_cancelled = not isinstance(error, SystemExit) and ends_task(error)
            if not is_cancelled:
                _log.exception("Exception in ASGI application")
            self._fail()
            if is_cancelled:
                raise
        finally:
            self._protocol.tasks.discard(self._task)

    def _fail(self) -> None:
        """Answer 500 if the client has nothing of a response yet, otherwise end the connection."""
        if self.is_complete or self.is_gone:
            return
        if not self.is_started:
            self._start(SERVER_ERROR.status, _ERROR_HEADERS)
            self._send_body(_ERROR, more=False)
        elif self._has_body and self._left is None and not self._is_chunked:
            self._protocol.transport.abort()  # the end of the connection would be taken for that of the body
        else:
            self._protocol.transport.close()

    # ---- the request

    @property
    def held(self) -> int:
        """Bytes of the body that the application has not received yet."""
        return 0 if self._body is None else len(self._body)

    def take_body(self, data: bytes) -> None:
        """Take a part of the body."""
        if self.is_complete:
            return
        if self._body is None:
            self._body = bytearray()
        self._body += data
        self._notify()

    def end_request(self) -> None:
        """Take the end of the request."""
        self._is_request_ended = True
        self._notify()

    def end(self) -> None:
        """Tell the application that the client has gone."""
        self.is_gone = True
        self._notify()
        if GONE in self.scope:
            self.scope[GONE]()

    def _notify(self) -> None:
        self._has_news = True
        if self._waiters:
            wake(self._waiters)

    async def receive(self) -> Message:
        """Return the next part of the request, or `http.disconnect`."""
        protocol = self._protocol
        if self.waits_for_100:
            self.waits_for_100 = False
            protocol.send_continue()
        while not (self._has_news or self.is_gone or self.is_complete):
            protocol.read_on()
            if self._waiters is None:
                self._waiters = {}
            await wait_in(self._waiters)
        if self.is_gone or self.is_complete:
            return {"type": "http.disconnect"}
        self._has_news = False
        body, self._body = self._body, None
        return {"type": "http.request", "body": bytes(body or b""), "more_body": not self._is_request_ended}

    # ---- the response

    async def send(self, message: Message) -> None:
        """Send a part of the response. After the client has gone, nothing happens.

        Raises:
            RuntimeError: it cannot be sent.
        """
        protocol = self._protocol
        if protocol.is_full and not self.is_gone:
            await protocol.drain()
        if self.is_gone:
            return
        kind = message["type"]
        if self.is_complete:
            raise RuntimeError(f"The response is complete; {kind!r} came after it")
        if kind == "http.response.start" and not self.is_started:
            self._start(message["status"], message.get("headers", ()))
        elif kind == "http.response.body" and self.is_started:
            self._send_body(check_body(message.get("body")), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"{kind!r} is out of order")

    def _start(self, status: Any, given: Iterable[tuple[bytes, bytes]]) -> None:
        """Send the head."""
        self._has_body = has_body(check_status(status)) and self.scope["method"] != "HEAD"
        content = [STATUS_LINE[status], self._protocol.service.date_line]
        length: bytes | None = None
        asks_to_close = False
        for name, value in check_headers(given):
            if name == b"content-length":
                if length not in (None, value):
                    raise RuntimeError("The response has two lengths")
                length = value
            elif name != b"transfer-encoding":
                content += (name, b": ", value, b"\r\n")
                if name == b"connection":
                    asks_to_close = asks_to_close or _has_close(value)
                elif name == b"date":
                    content[1] = b""
        content += self._frame(status, length)
        if asks_to_close:
            self.keep_alive = False
        elif not self.keep_alive:
            content.append(b"connection: close\r\n")
        content.append(b"\r\n")
        self.is_started, self.waits_for_100 = True, False
        self._protocol.transport.write(b"".join(content))

    def _frame(self, status: int, length: bytes | None) -> Iterable[bytes]:
        """Decide how the body is framed; return the parts of the line that says so."""
        # RFC 9110, section 8.6: "A server MUST NOT send a Content-Length header field in any
        # response with a status code of 1xx (Informational) or 204 (No Content)".
        if length is not None and status != NO_CONTENT:
            self._left = _parse_length(length)
            return b"content-length: ", length, b"\r\n"
        # RFC 9112, section 6.1: "A server MUST NOT send a response containing Transfer-Encoding
        # unless the corresponding request indicates HTTP/1.1". The end of the connection is then
        # that of the body.
        if self._has_body and self.scope["http_version"] == "1.1":
            self._is_chunked = True
            return (b"transfer-encoding: chunked\r\n",)
        return ()

    def _send_body(self, body: bytes | memoryview, *, more: bool) -> None:
        if not self._has_body:
            pass
        elif self._is_chunked:
            end = b"" if more else b"0\r\n\r\n"
            self._protocol.transport.write(b"".join((b"%x\r\n" % len(body), body, b"\r\n", end)) if body else end)
        else:
            if self._left is not None:
                self._left = count_down(self._left, len(body), more=more)
            self._protocol.transport.write(body)
        if not more:
            self.is_complete = True
            self._body = None
            self._notify()
            self._protocol.on_response_complete(self)


@lru_cache(_LENGTHS_CACHED)
def _parse_length(value: bytes) -> int:
    """Return a content-length.

    Raises:
        RuntimeError: it is not one.
    """
    if _LENGTH.fullmatch(value) is None:
        raise RuntimeError(f"The response's content-length is {value!r} in place of one number")
    return int(value)


def _has_close(value: bytes) -> bool:
    """Tell whether the value of a Connection header has `close`."""
    return b"close" in [token.strip() for token in value.lower().split(b",")]


def check_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return headers of the application, with names in lower case.

    Raises:
        RuntimeError: a name or value cannot be sent.
    """
    checked = []
    for name, value in headers:
        if type(name) is not bytes or type(value) is not bytes:
            name, value = bytes(name), bytes(value)  # noqa: PLW2901
        lowered = _lowered(name)
        if lowered is None:
            raise RuntimeError(f"{name!r} is not the name of a header")
        if find_control(value) is not None:
            raise RuntimeError(f"The value of the header {name!r} has a line break or another control character")
        checked.append((lowered, value))
    return checked


@lru_cache(_NAMES_CACHED)
def _lowered(name: bytes) -> bytes | None:
    """Return the name of a header in lower case; None: it cannot be one."""
    return None if _NAME.fullmatch(name) is None else name.lower()


def error_response(refusal: Refusal, default_headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return a response after which the connection is closed."""
    body = refusal.text.encode()
    head = [STATUS_LINE[refusal.status], b"content-type: text/plain; charset=utf-8\r\n"]
    head += [b"%s: %s\r\n" % one for one in default_headers]
    head.append(b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body))
    return b"".join([*head, body])
