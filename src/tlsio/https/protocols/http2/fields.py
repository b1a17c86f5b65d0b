"""The headers of HTTP/2: a request's as an ASGI scope, a response's checked for the wire.

h2 has checked what RFC 9113 asks of the fields of a request. What it leaves out is here: the form
of the method, the path and the authority, and of names and values of headers, since HTTP/1.1
refuses the same.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from tlsio.https.protocols.response import NO_CONTENT, check_status, find_control

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tlsio.https.protocols.http2.engine import Header

__all__ = ["MalformedError", "RequestHead", "describe", "parse_request", "response_head", "response_headers"]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110, section 5.6.2
_METHOD = _NAME = re.compile(_TOKEN)
_TARGET = re.compile(rb"[!\"$-~]*")  # visible ASCII; a fragment is not sent (RFC 9113, section 8.3.1)
_LENGTH = re.compile(rb"[0-9]{1,19}")
_COLON = 0x3A
# RFC 9113, section 8.2.2: they have no place here. Applications set them for HTTP/1.1.
_OF_CONNECTION = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_NAMES_CACHED = 512  # applications use the same names again and again


class MalformedError(Exception):
    """A request that RFC 9113, section 8.1.1, calls malformed: its stream is reset."""


class RequestHead(NamedTuple):
    """What the head of a request says.

    Attributes:
        method: Such as "GET".
        path: The raw path, without the query; b"" for an ordinary CONNECT.
        query: Without its question mark.
        protocol: Of an extended CONNECT, such as b"websocket"; otherwise None.
        headers: As ASGI has them: `host` first, one `cookie`.
        length: The content-length, if there is one.
        wants_continue: The client waits for "100 Continue".
    """

    method: str
    path: bytes
    query: bytes
    protocol: bytes | None
    headers: list[Header]
    length: int | None
    wants_continue: bool

    def add_to(self, scope: dict[str, Any], root_path: str) -> dict[str, Any]:
        """Complete a scope of the connection."""
        path = self.path.decode("ascii")
        if path == "*":  # RFC 9113, section 8.3.1: the whole server, which is below no path
            root_path = ""
        scope["root_path"] = root_path
        scope["path"] = root_path + (unquote(path) if "%" in path else path)
        scope["raw_path"] = root_path.encode("ascii") + self.path
        scope["query_string"] = self.query
        scope["headers"] = self.headers
        return scope


def parse_request(fields: Iterable[Header]) -> RequestHead:
    """Read the head of a request.

    Raises:
        MalformedError: the method, the path, the authority, or a header is not valid.
    """
    pseudo: dict[bytes, bytes] = {}
    host = b""
    length: int | None = None
    wants_continue = False
    headers: list[Header] = []
    cookies: list[bytes] = []
    for name, value in fields:
        if name[0] == _COLON:
            pseudo[name] = value
            continue
        if _NAME.fullmatch(name) is None or find_control(value) is not None:
            raise MalformedError(f"{name!r} is not the name of a header, or its value has control characters")
        if name == b"cookie":
            cookies.append(value)
        elif name == b"host":
            host = value  # h2 has compared it with :authority
        elif name == b"content-length" and length is not None:
            _parse_length(value, length)  # only the first is kept: applications expect one number
        else:
            headers.append((name, value))
            if name == b"content-length":
                length = _parse_length(value, None)
            elif name == b"expect":
                wants_continue = value.lower() == b"100-continue"
    authority = pseudo.get(b":authority", host)
    headers.insert(0, (b"host", authority))
    if cookies:
        # RFC 9113, section 8.2.3: they "MUST be concatenated into a single octet string using the
        # two-octet delimiter of 0x3b, 0x20".
        headers.append((b"cookie", b"; ".join(cookies)))
    method, target, protocol = pseudo[b":method"], pseudo.get(b":path", b""), pseudo.get(b":protocol")
    path, _, query = target.partition(b"?")
    _check_line(method, target, protocol, authority)
    return RequestHead(method.decode("ascii"), path, query, protocol, headers, length, wants_continue)


def describe(fields: Iterable[Header]) -> dict[str, Any]:
    """Return what a log needs of a request that may be malformed, as a scope has it."""
    found = dict(fields)
    path, _, query = found.get(b":path", b"-").partition(b"?")
    if b":authority" in found:
        found[b"host"] = found[b":authority"]
    return {
        "type": "http",
        "http_version": "2",
        "method": found.get(b":method", b"-").decode("latin-1"),
        "raw_path": path,
        "query_string": query,
        "headers": list(found.items()),
    }


def _check_line(method: bytes, target: bytes, protocol: bytes | None, authority: bytes) -> None:
    """Check what is in the request line of HTTP/1.1."""
    path = target.partition(b"?")[0]
    if not _is_path(path, method, protocol) or _TARGET.fullmatch(target) is None:
        raise MalformedError(f"{target!r} is not a path")
    # RFC 9113, section 8.3.1: it "MUST NOT include the deprecated userinfo subcomponent".
    if _METHOD.fullmatch(method) is None or b"@" in authority:
        raise MalformedError(f"{method!r} is not a method, or {authority!r} not an authority")


def _is_path(path: bytes, method: bytes, protocol: bytes | None) -> bool:
    if path == b"*":
        return method == b"OPTIONS"
    if not path:
        return method == b"CONNECT" and protocol is None
    return path.startswith(b"/")


def _parse_length(value: bytes, former: int | None) -> int:
    # h2 has refused what is not a number, and two that differ, but not with HEAD.
    if _LENGTH.fullmatch(value) is None or former not in {None, int(value)}:
        raise MalformedError("content-length is larger than any body, or not one number")
    return int(value)


def response_head(status: Any, headers: Iterable[Header], default: Iterable[Header]) -> tuple[list[Header], int | None]:
    """Return the fields of a response's head, and its content-length.

    `default` are headers of the server, which the application's own replace.

    Raises:
        RuntimeError: the application gave what cannot be sent.
    """
    given = response_headers(headers)
    if check_status(status) == NO_CONTENT:
        # RFC 9110, section 8.6: "A server MUST NOT send a Content-Length header field in any
        # response with a status code of 1xx (Informational) or 204 (No Content)".
        given = [field for field in given if field[0] != b"content-length"]
    length = None
    names = set()
    for name, value in given:
        names.add(name)
        if name == b"content-length":
            if _LENGTH.fullmatch(value) is None or length not in {None, int(value)}:
                raise RuntimeError("The response's content-length is not one number")
            length = int(value)
    head = [(b":status", b"%d" % status), *(field for field in default if field[0] not in names), *given]
    return head, length


def response_headers(headers: Iterable[Header]) -> list[Header]:
    """Return headers or trailers for the wire: names in lower case, those of HTTP/1.1 left out.

    Raises:
        RuntimeError: a name or value that cannot be sent.
    """
    checked = []
    for name, value in headers:
        if lower := _wire_name(bytes(name)):
            if find_control(value) is not None:
                raise RuntimeError(f"The value of the header {lower!r} has a line break or another control character")
            checked.append((lower, bytes(value).strip(b" \t")))
    return checked


@lru_cache(_NAMES_CACHED)
def _wire_name(name: bytes) -> bytes:
    """Return the name of a header in lower case; b"" if HTTP/2 does not have it."""
    if _NAME.fullmatch(name) is None:
        raise RuntimeError(f"{name!r} is not the name of a header")
    lower = name.lower()
    return b"" if lower in _OF_CONNECTION else lower
