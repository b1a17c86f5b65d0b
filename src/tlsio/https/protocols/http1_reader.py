"""Requests of HTTP/1.1 as a client sends them: the parser of httptools, and the limits in size.

llhttp, below httptools, leaves some rules to its user: which methods, versions and transfer codings
are served, what trailers may contain, and that an Upgrade may be ignored. They are here. What is
refused stops the parser for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import httptools

from tlsio.https.protocols.http1_target import take_authority
from tlsio.https.protocols.http1_websocket import asks_for_websocket
from tlsio.https.protocols.refusals import (
    BODY_TOO_LARGE,
    HEAD_TOO_LARGE,
    INVALID,
    NOT_IMPLEMENTED,
    OTHER_VERSION,
    TOO_MANY_HEADERS,
    UNKNOWN_CODING,
    RefusedError,
)

if TYPE_CHECKING:
    from tlsio.https.limits import Limits
    from tlsio.https.protocols.http1 import Http1Protocol
    from tlsio.https.protocols.http1_response import Headers
    from tlsio.https.protocols.refusals import Refusal

__all__ = ["RequestReader"]

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


class RequestReader:
    """Reads the requests of one connection.

    Attributes:
        url: The target of the latest request, as far as it was read: a path if it is valid.
        method: Its method; "" before its head is complete.
        version: Its version of HTTP.
        headers: Its headers.
        expects_100: Its client waits for "100 Continue".
        is_in_head: A part of its head was read.
        is_in_body: Its head was read, and its end was not.
    """

    __slots__ = (
        "_body_bytes",
        "_framing",
        "_has_websockets",
        "_head_bytes",
        "_head_fields",
        "_is_repeated",
        "_is_upgrade",
        "_length",
        "_limits",
        "_parser",
        "_protocol",
        "_refusal",
        "_silent_bytes",
        "expects_100",
        "headers",
        "is_in_body",
        "is_in_head",
        "method",
        "url",
        "version",
    )

    def __init__(self, protocol: Http1Protocol, limits: Limits, *, has_websockets: bool) -> None:
        """Call `request_begun`, `begin`, `take_body` and `end_request` of `protocol`."""
        self._protocol: Any = protocol
        self._limits = limits
        self._has_websockets = has_websockets
        self._parser = self._new_parser()
        self._refusal = INVALID
        self.url, self.method, self.version = b"", "", "1.1"
        self.headers: Headers = []
        self._framing: tuple[bytes, bytes] | None = None  # the header that tells how long the body is
        self.is_in_head = self.is_in_body = self._is_upgrade = self.expects_100 = False
        self._is_repeated = False  # the parser reads a head that was taken already
        self._head_bytes = self._head_fields = self._body_bytes = 0
        self._length = 0  # its content-length
        self._silent_bytes = 0  # received since the parser reported anything

    def _new_parser(self) -> Any:
        parser = httptools.HttpRequestParser(self)
        # What follows a last request is not an error: the response to that is sent.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    # ---- the connection calls

    def feed(self, data: bytes) -> bytes | None:
        """Parse what the client sent.

        Returns:
            What follows a WebSocket's handshake; None: there was no handshake.

        Raises:
            RefusedError: the latest request cannot be served.
        """
        self._silent_bytes += len(data)
        try:
            rest = self._parse(data)
        except httptools.HttpParserError:
            raise RefusedError(self._refusal) from None
        if rest is None and self._silent_bytes > self._limits.max_header_bytes:
            raise RefusedError(HEAD_TOO_LARGE)
        return rest

    def _parse(self, data: bytes) -> bytes | None:
        """Parse, up to a WebSocket's handshake.

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
                    return bytes(rest)
                # RFC 9110, section 7.8: "A server MAY ignore a received Upgrade header field".
                if self._framing is not None:
                    self._expect_body(self._framing)
            else:
                return None

    def _should_upgrade(self) -> bool:
        """Tell whether the request is a WebSocket's handshake.

        RFC 6455, section 4.1: it is a GET of HTTP/1.1 or higher. One with a body cannot be: what
        follows the head would be taken for frames.
        """
        is_possible = self._has_websockets and self._framing is None and self.method == "GET" and self.version == "1.1"
        return is_possible and asks_for_websocket(self.headers)

    def _expect_body(self, framing: tuple[bytes, bytes]) -> None:
        """Parse the body of a request whose Upgrade is ignored.

        llhttp takes all that follows such a head for another protocol's. A parser without the
        Upgrade goes on after a head that only says how long the body is.
        """
        self._parser = self._new_parser()
        self._is_repeated, self._is_upgrade, self._framing = True, False, None
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%s: %s\r\n\r\n" % framing)

    @property
    def body_left(self) -> int:
        """The bytes that are left of a body that tells its length; 0 if there is none."""
        return self._length - self._body_bytes if self.is_in_body else 0

    def facts(self) -> dict[str, Any]:
        """Return what is known of the latest request, as parts of a scope."""
        path, _, query = self.url.partition(b"?")
        method = self.method or (self._parser.get_method().decode("ascii") if self.url else "-")
        known = {"method": method, "raw_path": path or b"-", "query_string": query, "headers": self.headers}
        return {"type": "http", "http_version": self.version, **known}

    def end(self) -> None:
        """Release the parser and the protocol, which refer to each other."""
        self._parser = self._protocol = None

    # ---- the parser calls

    def on_message_begin(self) -> None:
        """Forget the request before."""
        if self._is_repeated:
            return
        self.url, self.method, self.version, self.headers = b"", "", "1.1", []
        self.is_in_head, self.expects_100, self._framing = True, False, None
        self._head_bytes = self._head_fields = self._body_bytes = self._silent_bytes = self._length = 0
        self._protocol.request_begun()

    def on_url(self, url: bytes) -> None:
        """Take a part of the URL."""
        if self._is_repeated:
            return
        self._silent_bytes = 0
        self._head_bytes += len(url)
        if self._head_bytes > self._limits.max_header_bytes:
            self._stop(HEAD_TOO_LARGE)
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Trailers are counted and left out: ASGI has no place for them."""
        if self._is_repeated:
            return
        self._silent_bytes = 0
        self._head_bytes += len(name) + len(value) + _SEPARATORS
        self._head_fields += 1
        limits = self._limits
        if self._head_bytes > limits.max_header_bytes or self._head_fields > limits.max_headers:
            self._stop(HEAD_TOO_LARGE if self._head_bytes > limits.max_header_bytes else TOO_MANY_HEADERS)
        name, value = name.lower(), value.strip(_WHITESPACE)
        if self.is_in_head:
            self.headers.append((name, value))
            if name in _FRAMING:
                self._take_framing((name, value))
            elif name == b"expect" and value.lower() == b"100-continue":
                self.expects_100 = True
        elif name in _NOT_IN_TRAILERS:
            self._stop(INVALID)

    def _take_framing(self, header: tuple[bytes, bytes]) -> None:
        """Note how long the body is, and refuse one that is announced as too large.

        RFC 9112, section 6.1: "A server that receives a request message with a transfer coding it
        does not understand SHOULD respond with 501 (Not Implemented)". llhttp takes each list that
        ends with `chunked`, and the others would stay in the body.
        """
        name, value = header
        if name == b"transfer-encoding" and value.lower() != b"chunked":
            self._stop(UNKNOWN_CODING)
        most = self._limits.max_body_bytes
        if name == b"content-length":
            self._length = int(value)
            if most is not None and self._length > most:
                self._stop(BODY_TOO_LARGE)
        if value != b"0":
            self._framing = header

    def on_headers_complete(self) -> None:
        """Start the request, unless it is a WebSocket's handshake."""
        if self._is_repeated:
            self._is_repeated = False
            return
        self._silent_bytes = 0
        parser = self._parser
        version = self.version = parser.get_http_version()
        if version not in _VERSIONS:
            self._stop(OTHER_VERSION)
        method = parser.get_method()
        if method in _NOT_SERVED:
            self._stop(NOT_IMPLEMENTED)
        if version == "1.0" and self._framing is not None and self._framing[0] == b"transfer-encoding":
            self._stop(INVALID)  # RFC 9112, section 6.1: its framing is faulty
        if not self.url.startswith(b"/"):
            self.url = take_authority(self.url, method, self.headers) or self._stop(INVALID)
        if b"#" in self.url:
            self._stop(INVALID)
        self.method = method.decode("ascii")
        self._is_upgrade = parser.should_upgrade()
        if not (self._is_upgrade and self._should_upgrade()):
            self._protocol.begin(keep_alive=version != "1.0" and parser.should_keep_alive())
        self.is_in_head, self.is_in_body = False, True

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._silent_bytes = 0
        self._body_bytes += len(body)
        most = self._limits.max_body_bytes
        if most is not None and self._body_bytes > most:
            self._stop(BODY_TOO_LARGE)
        self._protocol.take_body(body)

    def on_message_complete(self) -> None:
        """Take the end of the request."""
        if self._is_upgrade and self._framing is not None:
            return  # that of its head: the body follows
        self._silent_bytes = 0
        self.is_in_body = False
        if not (self._is_upgrade and self._should_upgrade()):
            self._protocol.end_request()

    def _stop(self, refusal: Refusal) -> NoReturn:
        """Refuse a request within a callback of the parser."""
        self._refusal = refusal
        raise RefusedError(refusal)
