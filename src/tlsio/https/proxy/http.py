"""A reverse proxy as an ASGI application: requests go to one HTTP server, WebSockets included.

The connection to the backend is httpcore's, a pool of HTTP/1.1. Headers about the client are ours:
those that a client sends itself are removed, in every spelling that a backend might take for them.
"""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from tlsio.model.errors import missing_extra
from tlsio.trust.names import printable

try:
    import httpcore
except ModuleNotFoundError:
    raise missing_extra("httpcore", "httpx") from None

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.uri import WebSocketURI

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.http11 import Response

    from tlsio.https.asgi import Message, Receive, Scope, Send
    from tlsio.https.tls.tls_extension import TLSExtension

    Headers = list[tuple[bytes, bytes]]

__all__ = ["HTTPProxy"]

_log = logging.getLogger("tlsio.https")

# RFC 9110, section 7.6.1: headers of one connection alone.
_OF_CONNECTION = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)  # fmt: skip
_OURS = (b"x-forwarded", b"x-client-cert")
_ALSO_OURS = frozenset({b"forwarded", b"x-real-ip"})
_OF_WEBSOCKET = (b"sec-websocket-", b"host", b"content-length")
_OF_ANSWER = frozenset({b"content-length", b"date", b"sec-websocket-accept", b"sec-websocket-extensions", b"sec-websocket-protocol"})
_IDLE = 4.0  # seconds that a connection to the backend is kept; Node and uvicorn close theirs after 5
_STATUSES = range(200, 600)  # RFC 9110, section 15: others are invalid, or not the response itself
_WITHOUT_BODY = frozenset({204, 304})
_NO_LETTER = re.compile(rb"[^a-z0-9]")
_NOT_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110, section 5.5
_BAD_REQUEST, _BAD_GATEWAY, _GATEWAY_TIMEOUT = 400, 502, 504
_HTTP_PORT = 80  # a Host without a port means it
_MAX_MESSAGE = 16 * 1024 * 1024  # bytes of a WebSocket message, as uvicorn's ws_max_size
_ABNORMAL, _INTERNAL = 1006, 1011  # close codes, RFC 6455, section 7.4.1


@dataclass
class HTTPProxy:
    """The application; can be pickled, for workers.

    Attributes:
        host: The backend's name or address.
        port: Its port.
        connect_timeout: Seconds for connecting to it.
        read_timeout: Seconds for each part of its response; None: no limit.
    """

    host: str
    port: int
    connect_timeout: float = 10.0
    read_timeout: float | None = 60.0
    _pool: httpcore.AsyncConnectionPool | None = field(default=None, init=False, repr=False, compare=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward one request or WebSocket."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await self._forward_websocket(scope, receive, send)
        else:
            await self._forward(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with httpcore.AsyncConnectionPool(max_connections=None, max_keepalive_connections=100, keepalive_expiry=_IDLE) as self._pool:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    # ---- requests

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(receive)
        answering = asyncio.ensure_future(self._answer(scope, body, send))
        leaving = asyncio.ensure_future(body.wait_disconnected())
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
        finally:
            for task in (answering, leaving):
                task.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)

    async def _answer(self, scope: Scope, body: _Body, send: Send) -> None:
        """Ask the backend, and pass its response on."""
        assert self._pool is not None  # noqa: S101 - for the type checker: the lifespan has begun
        response: httpcore.Response | None = None
        is_started = False
        try:
            response = await self._pool.handle_async_request(await self._request(scope, body))
            start = {"type": "http.response.start", "status": response.status, "headers": _response_headers(response)}
            is_started = True
            await send(start)
            async for chunk in response.aiter_stream():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except httpcore.LocalProtocolError as error:  # the request cannot be sent; the backend knows nothing of it
            _log.info("A request was refused at %s %s: %s", scope["method"], printable(scope["path"]), error)
            await _refuse(send, _BAD_REQUEST)
        except (httpcore.NetworkError, httpcore.RemoteProtocolError, httpcore.TimeoutException) as error:
            reason = str(error) or type(error).__name__
            _log.error("The backend %s:%d failed at %s %s: %s", self.host, self.port, scope["method"], printable(scope["path"]), reason)
            if not is_started:
                await _refuse(send, _GATEWAY_TIMEOUT if isinstance(error, httpcore.TimeoutException) else _BAD_GATEWAY)
            # Otherwise, the server cuts the response off: this function returns before its end.
        finally:
            if response is not None:
                await response.aclose()

    async def _request(self, scope: Scope, body: _Body) -> httpcore.Request:
        headers = forwarded_headers(scope)
        if not any(name == b"host" for name, _ in headers):
            headers.append((b"host", self._host_for(scope)))
        has_body = await body.has_begun()
        if has_body and not any(name == b"content-length" for name, _ in headers):
            headers.append((b"transfer-encoding", b"chunked"))
        limits = {"connect": self.connect_timeout, "read": self.read_timeout, "write": self.read_timeout, "pool": self.connect_timeout}
        url = httpcore.URL(scheme=b"http", host=self.host.encode(), port=self.port, target=_target(scope))
        return httpcore.Request(
            scope["method"].encode(), url, headers=headers, content=body.chunks() if has_body else None, extensions={"timeout": limits}
        )

    # ---- WebSockets

    async def _forward_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        if not _target(scope).startswith(b"/"):
            await _deny(scope, send, _BAD_REQUEST)  # in absolute form it would name another host
            return
        try:
            backend = await self._open_websocket(scope)
        except (OSError, InvalidHandshake) as error:
            if isinstance(error, InvalidStatus) and error.response.status_code in _STATUSES:
                await _deny(scope, send, error.response)
                return
            _log.error("The backend %s:%d failed at the WebSocket %s: %s", self.host, self.port, printable(scope["path"]), error)
            await _deny(scope, send, _GATEWAY_TIMEOUT if isinstance(error, TimeoutError) else _BAD_GATEWAY)
            return
        async with backend:
            headers = [] if backend.response is None else _answer_headers(backend.response)  # such as cookies
            await send({"type": "websocket.accept", "subprotocol": backend.subprotocol, "headers": headers})
            directions = [asyncio.ensure_future(_to_backend(receive, backend)), asyncio.ensure_future(_to_client(backend, send))]
            try:
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in directions:
                    task.cancel()
                await asyncio.gather(*directions, return_exceptions=True)

    async def _open_websocket(self, scope: Scope) -> ClientConnection:
        """Ask the backend for a WebSocket, with the client's own Host and target.

        The library's `connect` takes a URL: a Host and a target joined to one can be divided at
        another place. And it follows redirects, which are for the client to follow.
        """
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in forwarded_headers(scope)
            if not name.startswith(_OF_WEBSOCKET)
        ]
        # A host with its port is sent as it is beside the port that needs none.
        host, target = self._host_for(scope).decode("latin-1"), _target(scope).decode("latin-1")
        uri = WebSocketURI(secure=False, host=host, port=_HTTP_PORT, path=target, query="")
        protocol = ClientProtocol(uri, subprotocols=scope["subprotocols"] or None, max_size=_MAX_MESSAGE)
        async with asyncio.timeout(self.connect_timeout):
            _, backend = await asyncio.get_running_loop().create_connection(lambda: ClientConnection(protocol), self.host, self.port)
            try:
                await backend.handshake(headers, None)
            except BaseException:
                backend.transport.abort()
                raise
        backend.start_keepalive()
        return backend

    def _host_for(self, scope: Scope) -> bytes:
        """Return the client's Host, or for HTTP/1.0 without one the backend's own."""
        own = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        return next((value for name, value in scope["headers"] if name == b"host"), own.encode())


def _target(scope: Scope) -> bytes:
    """Return the target of a request in origin form, or "*"."""
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    return (scope.get("raw_path") or quote(scope["path"]).encode()) + query


class _Body:
    """The body of a request, read at the pace of the backend."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._first: Message | None = None
        self._ended = asyncio.Event()
        self._disconnected = asyncio.Event()

    async def has_begun(self) -> bool:
        """Wait for the first message, and return whether there is a body."""
        self._first = await self._next()
        return bool(self._first.get("body")) or self._first.get("more_body", False)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield its parts."""
        message = self._first or await self._next()
        while True:
            if chunk := message.get("body", b""):
                yield chunk
            if not message.get("more_body", False):
                return
            message = await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._disconnected.set()
            self._ended.set()
            await asyncio.Event().wait()  # until the request is cancelled: what was sent is not the whole body
        if not message.get("more_body", False):
            self._ended.set()
        return message

    async def wait_disconnected(self) -> None:
        """Wait until the client has gone."""
        await self._ended.wait()
        while not self._disconnected.is_set():
            if (await self._receive())["type"] == "http.disconnect":
                return


def _response_headers(response: httpcore.Response) -> Headers:
    """Return the headers of a response for the client.

    Raises:
        httpcore.RemoteProtocolError: it cannot be passed on.
    """
    if response.status not in _STATUSES:
        raise httpcore.RemoteProtocolError(f"{response.status} is not the status of a response")
    sent: Headers = response.headers
    headers = _without_connection(sent)
    for name, value in headers:
        if _NOT_IN_VALUE.search(value) is not None:
            raise httpcore.RemoteProtocolError(f"The value of the header {name!r} has control characters")
    # RFC 9112, section 6.3: Transfer-Encoding overrides Content-Length, which an intermediary
    # removes. A 204 has none, and that of a 304 is not the length of what follows.
    if response.status in _WITHOUT_BODY or any(name.lower() == b"transfer-encoding" for name, _ in sent):
        headers = [(name, value) for name, value in headers if name != b"content-length"]
    return headers


def forwarded_headers(scope: Scope) -> Headers:
    """Return a request's headers for the backend: the client's own, and ours about the client."""
    sent: Headers = _without_connection(scope["headers"])
    headers = [one for one in sent if not _is_ours(one[0])]
    if scope["client"] is not None:
        headers.append((b"x-forwarded-for", scope["client"][0].encode()))
    headers.append((b"x-forwarded-proto", b"https"))
    headers += [(b"x-forwarded-host", value) for name, value in sent if name == b"host"]  # HTTP/1.0 may have none
    tls = scope["extensions"].get("tls")
    if tls is not None:
        headers += certificate_headers(tls)
    return headers


def certificate_headers(tls: TLSExtension) -> Headers:
    """Return what the backend is told of the client's certificate."""
    socket = tls.socket
    certificate = socket.get_peer_certificate()
    if certificate is None:
        return [(b"x-client-cert-verify", b"NONE")]
    verdict = "SUCCESS" if socket.authorized else f"FAILED:{socket.authorization_error}"
    # As Node prints them: what could be taken for two names is quoted (CVE-2021-44532).
    names = ", ".join(str(name) for name in certificate.general_names if name.name is None)
    found = {
        "x-client-cert-verify": verdict,
        "x-client-cert-subject": tls["client_cert_name"],
        "x-client-cert-serial": certificate["serial_number"],
        "x-client-cert-sha256": certificate["fingerprint256"].replace(":", "").lower(),
        "x-client-cert-san": names,
        "x-client-cert": quote(tls["client_cert_chain"][0]),
    }
    return [(name.encode(), _in_header(value)) for name, value in found.items() if value]


def _in_header(value: str) -> bytes:
    """Return text that a client may have chosen, with what no header may have as in URLs.

    A blank at the end would be lost: in a Name it gets its other form (RFC 4514, section 2.4).
    """
    text = quote(value, safe=_VISIBLE)
    if text.endswith(" "):
        text = text[:-1] + ("20" if text.endswith("\\ ") else "%20")
    return text.encode()


_VISIBLE = "".join(chr(one) for one in range(0x20, 0x7F) if one != ord("%")) + "%"


def _is_ours(name: bytes) -> bool:
    # CGI and WSGI take "_" for "-", and some servers any other character: X_Forwarded_For and
    # X.Forwarded.For would be X-Forwarded-For there.
    spelled = _NO_LETTER.sub(b"-", name)
    return spelled.startswith(_OURS) or spelled in _ALSO_OURS


def _without_connection(headers: Headers) -> Headers:
    named = {word.strip().lower() for name, value in headers if name.lower() == b"connection" for word in value.split(b",")}
    dropped = (_OF_CONNECTION | named) - {b"host"}  # a client cannot take that one away
    return [(name.lower(), value) for name, value in headers if name.lower() not in dropped]


async def _refuse(send: Send, status: int) -> None:
    text = b"The request is not valid.\n" if status == _BAD_REQUEST else b"The server behind this one does not answer.\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


async def _deny(scope: Scope, send: Send, answer: Response | int) -> None:
    """Refuse a WebSocket with the backend's response or a status, where the server can send one."""
    if "websocket.http.response" not in scope["extensions"]:
        await send({"type": "websocket.close"})
        return
    status, headers, body = answer, [], b""
    if not isinstance(answer, int):
        status, headers, body = answer.status_code, _answer_headers(answer), bytes(answer.body or b"")
    await send({"type": "websocket.http.response.start", "status": status, "headers": [*headers, (b"content-length", b"%d" % len(body))]})
    await send({"type": "websocket.http.response.body", "body": body})


def _answer_headers(answer: Response) -> Headers:
    """Return the headers of the backend's answer to a WebSocket's handshake for the client."""
    sent = [(name.encode("latin-1"), value.encode("latin-1", "surrogateescape")) for name, value in answer.headers.raw_items()]
    return [(name, value) for name, value in _without_connection(sent) if name not in _OF_ANSWER]


async def _to_backend(receive: Receive, backend: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        while (message := await receive())["type"] == "websocket.receive":
            text = message.get("text")
            await backend.send(message["bytes"] if text is None else text)
        await backend.close(_sendable(message.get("code") or 1000), message.get("reason") or "")


async def _to_client(backend: ClientConnection, send: Send) -> None:
    with suppress(ConnectionClosed):
        while True:
            data = await backend.recv()
            await send({"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data})
    code = backend.close_code or _ABNORMAL
    await send({"type": "websocket.close", "code": _sendable(code), "reason": backend.close_reason or ""})


def _sendable(code: int) -> int:
    """Return a close code that may be sent: 1005, 1006 and 1015 stand for an end without one."""
    return {1005: 1000, _ABNORMAL: _INTERNAL, 1015: _INTERNAL}.get(code, code)
