"""The responses of HTTP/1.1: what an application gives, checked, and errors of the server.

A client takes what follows a response for the next one. So a body that has no place, or a length
that can be read in two ways, would let an application's data be a response of its own.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from tlsio.https.protocols.response import NO_CONTENT, check_body, check_status, find_control, has_body

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from tlsio.https.asgi import Message

    Headers = list[tuple[bytes, bytes]]

__all__ = ["FRAMING", "Response", "check_headers", "error_response", "for_http10"]

FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2
_LENGTH = re.compile(rb"[0-9]{1,19}")
_NAMES_CACHED = 512  # applications use the same names again and again


class Response(RequestResponseCycle):
    """uvicorn's request and response, with a head that is checked before any of it is written."""

    _takes_body = True

    def send(self, message: Any) -> Coroutine[Any, Any, None]:
        """Send a part of the response.

        Raises:
            RuntimeError: it cannot be sent.
        """
        kind = message["type"]
        if kind == "http.response.start" and not self.response_started:
            return self._send_head(message)
        if kind == "http.response.body":
            message = {**message, "body": check_body(message.get("body")) if self._takes_body else b""}
        return super().send(message)

    async def _send_head(self, message: Message) -> None:
        """Send the head: how the body is framed is decided here."""
        status = check_status(message["status"])
        headers = check_headers(message.get("headers", ()))
        by_name = dict(headers)
        length = _find_length(headers, by_name)
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if self.response_started:
            raise RuntimeError("The response has started already")
        self._write_head(status, headers, by_name, length)

    def _write_head(self, status: int, headers: Headers, by_name: dict[bytes, bytes], length: bytes | None) -> None:
        self.response_started, self.waiting_for_100_continue = True, False
        self._takes_body = has_body(status)
        content = [STATUS_LINE[status]]
        for name, value in self.default_headers:
            if name not in by_name:
                content += (name, b": ", value, b"\r\n")
        for name, value in headers:
            if name not in FRAMING:
                content += (name, b": ", value, b"\r\n")
        # RFC 9110, section 8.6: "A server MUST NOT send a Content-Length header field in any
        # response with a status code of 1xx (Informational) or 204 (No Content)".
        if length is not None and status != NO_CONTENT:
            content += (b"content-length: ", length, b"\r\n")
            self.chunked_encoding = False
            self.expected_content_length = int(length) if self._takes_body else 0  # a 304 has that of what the client has
        elif self.chunked_encoding is None and self._takes_body and self.scope["method"] != "HEAD":
            content.append(b"transfer-encoding: chunked\r\n")
            self.chunked_encoding = True
        if b"connection" in by_name and _asks_to_close(headers):
            self.keep_alive = False
        elif not self.keep_alive:
            content.append(b"connection: close\r\n")
        content.append(b"\r\n")
        self.transport.write(b"".join(content))


def _find_length(headers: Headers, by_name: dict[bytes, bytes]) -> bytes | None:
    """Return the one content-length of a response; None: it has none."""
    length = by_name.get(b"content-length")
    if length is not None:
        is_repeated = len(by_name) < len(headers) and any(name == b"content-length" and value != length for name, value in headers)
        if is_repeated or _LENGTH.fullmatch(length) is None:
            raise RuntimeError("The response's content-length is not one number")
    return length


def _asks_to_close(headers: Headers) -> bool:
    return any(name == b"connection" and b"close" in [token.strip() for token in value.lower().split(b",")] for name, value in headers)


def check_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return headers of the application, with names in lower case.

    Raises:
        RuntimeError: a name or value cannot be sent.
    """
    checked = []
    for name, value in headers:
        lowered, text = _lowered(bytes(name)), bytes(value)
        if lowered is None:
            raise RuntimeError(f"{name!r} is not the name of a header")
        if find_control(text) is not None:
            raise RuntimeError(f"The value of the header {name!r} has a line break or another control character")
        checked.append((lowered, text))
    return checked


@lru_cache(_NAMES_CACHED)
def _lowered(name: bytes) -> bytes | None:
    """Return the name of a header in lower case; None: it cannot be one."""
    return None if _NAME.fullmatch(name) is None else name.lower()


def for_http10(app: Any, cycle: RequestResponseCycle) -> Any:
    """Return an application that answers a client of HTTP/1.0.

    RFC 9112, section 6.1: "A server MUST NOT send a response containing Transfer-Encoding unless
    the corresponding request indicates HTTP/1.1". The end of the connection is that of the body, so
    the connection is aborted if the response is not complete.

    RFC 9110, section 10.1.1: "A server that receives a 100-continue expectation in an HTTP/1.0
    request MUST ignore that expectation".
    """
    cycle.waiting_for_100_continue = False
    ends_with_connection = False

    async def call(scope: Any, receive: Any, send: Any) -> Any:
        async def send_plain(message: Any) -> None:
            nonlocal ends_with_connection
            if message["type"] == "http.response.start" and not cycle.response_started:
                if not any(name.lower() == b"content-length" for name, _ in message.get("headers", ())):
                    ends_with_connection = True
                    cycle.chunked_encoding = False
            elif message["type"] == "http.response.body" and ends_with_connection:
                message = {**message, "body": check_body(message.get("body"))}
                cycle.expected_content_length = len(message["body"])  # uvicorn compares them
            await send(message)

        try:
            return await app(scope, receive, send_plain)
        finally:
            if ends_with_connection and not cycle.response_complete:
                cycle.transport.abort()

    return call


def error_response(refusal: tuple[int, str], default_headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return a response after which the connection is closed."""
    status, text = refusal
    body = f"{text}\n".encode()
    head = [STATUS_LINE[status], b"content-type: text/plain; charset=utf-8\r\n"]
    head += [b"%s: %s\r\n" % one for one in default_headers]
    head.append(b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body))
    return b"".join([*head, body])
