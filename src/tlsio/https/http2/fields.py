"""The headers of HTTP/2: a request's as an ASGI scope, a response's checked for the wire.

What RFC 9113 asks of single fields of a request, the library below has checked. What it leaves out
is here: the path's form, and content-length.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tlsio.https.http2.engine import Header

__all__ = ["MalformedError", "RequestHead", "parse_request", "response_head", "response_headers"]

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")  # RFC 9110, section 5.6.2, in lower case
_NOT_IN_VALUE = re.compile(rb"[\0\r\n]")  # RFC 9113, section 8.2.1
_LENGTH = re.compile(rb"[0-9]{1,19}")
# RFC 9113, section 8.2.2: they have no place here. Applications set them for HTTP/1.1.
_OF_CONNECTION = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_LOWEST_STATUS, _HIGHEST_STATUS = 200, 999


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
        scope["root_path"] = root_path
        scope["path"] = root_path + (unquote(path) if "%" in path else path)
        scope["raw_path"] = root_path.encode("ascii") + self.path
        scope["query_string"] = self.query
        scope["headers"] = self.headers
        return scope


def parse_request(fields: list[Header]) -> RequestHead:
    """Read the head of a request.

    Raises:
        MalformedError: as it says.
    """
    method = target = b""
    authority = protocol = length = None
    wants_continue = False
    headers: list[Header] = []
    cookies: list[bytes] = []
    for name, value in fields:
        if name[0] == _COLON:
            if name == b":method":
                method = value
            elif name == b":path":
                target = value
            elif name == b":authority":
                authority = value
            elif name == b":protocol":
                protocol = value
        elif name == b"cookie":
            cookies.append(value)
        elif name == b"content-length":
            length = _parse_length(value, length)
            headers.append((name, value))
        elif name == b"expect":
            wants_continue = value.lower() == b"100-continue"
            headers.append((name, value))
        elif name == b"host" and authority is not None:
            continue  # the library has compared the two
        else:
            headers.append((name, value))
    if authority is not None:
        headers.insert(0, (b"host", authority))
    if cookies:
        # RFC 9113, section 8.2.3: they "MUST be concatenated into a single octet string using the
        # two-octet delimiter of 0x3b, 0x20".
        headers.append((b"cookie", b"; ".join(cookies)))
    is_connect = method == b"CONNECT" and protocol is None
    path, _, query = target.partition(b"?")
    if not is_connect and not _is_path(path, method):
        raise MalformedError("the path does not begin with a slash")
    if _METHOD.fullmatch(method) is None or not target.isascii():
        raise MalformedError("the method or the path has a character that it must not have")
    return RequestHead(method.decode("ascii"), path, query, protocol, headers, length, wants_continue)


_COLON = 0x3A
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def _is_path(path: bytes, method: bytes) -> bool:
    return path.startswith(b"/") or (path == b"*" and method == b"OPTIONS")


def _parse_length(value: bytes, before: int | None) -> int:
    if _LENGTH.fullmatch(value) is None or before not in (None, int(value)):
        raise MalformedError("content-length is not one number")
    return int(value)


def response_head(status: int, headers: Iterable[Header], default: Iterable[Header]) -> tuple[list[Header], int | None]:
    """Return the fields of a response's head, and its content-length.

    `default` are headers of the server, which the application's own replace.

    Raises:
        RuntimeError: the application gave what cannot be sent.
    """
    if not isinstance(status, int) or not _LOWEST_STATUS <= status <= _HIGHEST_STATUS:
        raise RuntimeError(f"{status!r} is not the status of a response")
    given = response_headers(headers)
    length = None
    names = set()
    for name, value in given:
        names.add(name)
        if name == b"content-length":
            if _LENGTH.fullmatch(value) is None:
                raise RuntimeError("The response's content-length is not a number")
            length = int(value)
    head = [(b":status", b"%d" % status)]
    head += [one for one in default if one[0] not in names]
    head += given
    return head, length


def response_headers(headers: Iterable[Header]) -> list[Header]:
    """Return headers or trailers for the wire: names in lower case, those of HTTP/1.1 left out.

    Raises:
        RuntimeError: a name or value that cannot be sent.
    """
    checked = []
    for name, value in headers:
        lower = name.lower()
        if lower in _OF_CONNECTION:
            continue
        if _NAME.fullmatch(lower) is None:
            raise RuntimeError(f"{name!r} is not the name of a header")
        if _NOT_IN_VALUE.search(value) is not None:
            raise RuntimeError(f"The value of the header {name!r} has a line break or a null character")
        checked.append((bytes(lower), bytes(value).strip(b" \t")))
    return checked
