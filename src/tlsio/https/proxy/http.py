"""A reverse proxy as an ASGI application: requests go to one HTTP server, WebSockets included.

The connections for requests are in `backend.py`, those for WebSockets the library's.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

import h11
from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.uri import WebSocketURI

from tlsio.https.proxy.backend import Backend, BackendError, BackendTimeoutError
from tlsio.https.proxy.exchange import Exchange
from tlsio.https.proxy.headers import forwarded_headers, without_connection
from tlsio.https.proxy.relay import relay
from tlsio.trust.names import printable

if TYPE_CHECKING:
    from websockets.http11 import Response

    from tlsio.https.asgi import Receive, Scope, Send

    Headers = list[tuple[bytes, bytes]]

__all__ = ["HTTPProxy"]

_log = logging.getLogger("tlsio.https")

_OF_WEBSOCKET = (b"sec-websocket-", b"host", b"content-length")
_OF_ANSWER = frozenset({b"content-length", b"date", b"sec-websocket-accept", b"sec-websocket-extensions", b"sec-websocket-protocol"})
_STATUSES = range(200, 600)  # RFC 9110, section 15: others are invalid, or not the response itself
_BAD_REQUEST, _BAD_GATEWAY, _GATEWAY_TIMEOUT = 400, 502, 504
_HTTP_PORT = 80  # a Host without a port means it
_MAX_MESSAGE = 16 * 1024 * 1024  # bytes of a WebSocket message, as uvicorn's ws_max_size
_INTERNAL = 1011  # a close code, RFC 6455, section 7.4.1


@dataclass
class HTTPProxy:
    """The application; can be pickled, for workers.

    Attributes:
        host: The backend's name or address.
        port: Its port.
        connect_timeout: Seconds for connecting to it.
        read_timeout: Seconds for each part of its response, and in which it must make room for a
            message of a WebSocket; None: no limit.
    """

    host: str
    port: int
    connect_timeout: float = 10.0
    read_timeout: float | None = 60.0
    _backend: Backend | None = field(default=None, init=False, repr=False, compare=False)

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
        self._backend = Backend(self.host, self.port, connect_timeout=self.connect_timeout, read_timeout=self.read_timeout)
        try:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        finally:
            self._backend.close()
        await send({"type": "lifespan.shutdown.complete"})

    # ---- requests

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        try:
            await self._ask(exchange, scope, send)
        finally:
            exchange.end()

    async def _ask(self, exchange: Exchange, scope: Scope, send: Send) -> None:
        assert self._backend is not None  # noqa: S101 - for the type checker: the lifespan has begun
        try:
            request = self._request(scope, has_body=await exchange.has_body())
        except h11.LocalProtocolError as error:  # the backend knows nothing of it
            _log.info("A request was refused at %s %s: %s", scope["method"], printable(scope["path"]), error)
            await _refuse(send, _BAD_REQUEST)
            return
        if exchange.is_gone:
            return
        try:
            await _run(exchange, self._backend, request)
        except BackendError as error:
            self._log_failure(scope["method"], scope, error)
            if not exchange.is_started:
                await _refuse(send, _GATEWAY_TIMEOUT if isinstance(error, BackendTimeoutError) else _BAD_GATEWAY)
            # Otherwise, the server cuts the response off: this function returns before its end.

    def _request(self, scope: Scope, *, has_body: bool) -> h11.Request:
        """Return the head for the backend.

        Raises:
            h11.LocalProtocolError: it cannot be sent.
        """
        headers = forwarded_headers(scope)
        names = {name for name, _ in headers}
        if b"host" not in names:
            headers.append((b"host", self._host_for(scope)))
        if has_body and b"content-length" not in names:
            headers.append((b"transfer-encoding", b"chunked"))
        return h11.Request(method=scope["method"], target=_target(scope), headers=headers)

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
            self._log_failure("the WebSocket", scope, error)
            await _deny(scope, send, _GATEWAY_TIMEOUT if isinstance(error, TimeoutError) else _BAD_GATEWAY)
            return
        headers = [] if backend.response is None else _answer_headers(backend.response)  # such as cookies
        try:
            await send({"type": "websocket.accept", "subprotocol": backend.subprotocol, "headers": headers})
            await relay(backend, receive, send, take_timeout=self.read_timeout)
        except BackendError as error:
            self._log_failure("the WebSocket", scope, error)
            with suppress(OSError):  # the client has gone too
                await send({"type": "websocket.close", "code": _INTERNAL})
        finally:
            backend.transport.abort()  # the library's `close` would wait for a backend that does not read

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

    def _log_failure(self, what: str, scope: Scope, error: Exception) -> None:
        _log.error("The backend %s:%d failed at %s %s: %s", self.host, self.port, what, printable(scope["path"]), error)

    def _host_for(self, scope: Scope) -> bytes:
        """Return the client's Host, or for HTTP/1.0 without one the backend's own."""
        own = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        return next((value for name, value in scope["headers"] if name == b"host"), own.encode())


async def _run(exchange: Exchange, backend: Backend, request: h11.Request) -> None:
    """Pass a request and its response on; again, if the backend has closed an idle connection.

    Raises:
        BackendError: the response is not a whole one.
    """
    async with backend.connection() as connection:
        try:
            await exchange.run(connection, request)
        except BackendError as error:
            is_closed = connection.may_be_stale and not isinstance(error, BackendTimeoutError)
            if not (is_closed and exchange.may_repeat(request)):
                raise
        else:
            return
    async with backend.connection(is_new=True) as connection:
        await exchange.run(connection, request)


def _target(scope: Scope) -> bytes:
    """Return the target of a request in origin form, or "*"."""
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    return (scope.get("raw_path") or quote(scope["path"]).encode()) + query


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
    return [(name, value) for name, value in without_connection(sent) if name not in _OF_ANSWER]
