"""The responses of HTTP/1.1: what an application gives, checked, and errors of the server.

A client takes what follows a response for the next one. So a body that has no place, or a length
that can be read in two ways, would let an application's data be a response of its own.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from tlsio.https.asgi import Message

    Headers = list[tuple[bytes, bytes]]

__all__ = ["FRAMING", "check_headers", "check_status", "checked", "error_response", "for_http10", "has_body"]

FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2
_NOT_IN_VALUE = re.compile(rb"[\0\r\n]")  # RFC 9110, section 5.5
_LENGTH = re.compile(rb"[0-9]{1,19}")
_STATUSES = range(200, 600)  # RFC 9110, section 15: others are invalid, or not the response itself
_NO_CONTENT, _NOT_MODIFIED = 204, 304
_NAMES_CACHED = 512  # applications use the same names again and again


def checked(app: Any, cycle: RequestResponseCycle) -> Any:
    """Return an application whose response is checked before uvicorn writes any of it."""

    async def call(scope: Any, receive: Any, send: Any) -> Any:
        takes_body = True

        async def send_checked(message: Message) -> None:
            nonlocal takes_body
            kind = message["type"]
            if kind == "http.response.start" and not cycle.response_started:
                takes_body = has_body(check_status(message["status"]))
                message = {**message, "headers": _check_head(cycle, message)}
            elif kind == "http.response.body" and not takes_body:
                message = {**message, "body": b""}
                cycle.expected_content_length = 0  # of a 304 it is the length of what the client has
            await send(message)

        return await app(scope, receive, send_checked)

    return call


def check_status(status: Any) -> int:
    """Return the status of a response.

    Raises:
        RuntimeError: it cannot be one.
    """
    if not isinstance(status, int) or status not in _STATUSES:
        raise RuntimeError(f"{status!r} is not the status of a response")
    return status


def has_body(status: int) -> bool:
    """Whether a response with this status may have a body (RFC 9110, section 6.4.1)."""
    return status not in {_NO_CONTENT, _NOT_MODIFIED}


def _check_head(cycle: RequestResponseCycle, message: Message) -> Headers:
    """Return the headers of a response: how its body is framed is decided here."""
    headers = check_headers(message.get("headers", ()))
    names = [name.lower() for name, _ in headers]
    for own in cycle.default_headers:
        if own[0] in names:
            cycle.default_headers = [one for one in cycle.default_headers if one[0] not in names]
            break
    if FRAMING.isdisjoint(names):
        return headers
    lengths = {value for name, (_, value) in zip(names, headers, strict=True) if name == b"content-length"}
    if len(lengths) > 1 or any(_LENGTH.fullmatch(value) is None for value in lengths):
        raise RuntimeError("The response's content-length is not one number")
    headers = [one for name, one in zip(names, headers, strict=True) if name not in FRAMING]
    # RFC 9110, section 8.6: "A server MUST NOT send a Content-Length header field in any response
    # with a status code of 1xx (Informational) or 204 (No Content)".
    if lengths and message["status"] != _NO_CONTENT:
        headers.append((b"content-length", lengths.pop()))
    return headers


def check_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return headers of the application.

    Raises:
        RuntimeError: a name or value cannot be sent.
    """
    checked = [(bytes(name), bytes(value)) for name, value in headers]
    for name, value in checked:
        if not _is_name(name):
            raise RuntimeError(f"{name!r} is not the name of a header")
        if _NOT_IN_VALUE.search(value) is not None:
            raise RuntimeError(f"The value of the header {name!r} has a line break or a null character")
    return checked


@lru_cache(_NAMES_CACHED)
def _is_name(name: bytes) -> bool:
    return _NAME.fullmatch(name) is not None


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
                cycle.expected_content_length = len(message.get("body", b""))  # uvicorn compares them
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
