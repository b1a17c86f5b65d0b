"""One request and its response between a client and a backend.

Both directions run side by side, each at the pace of its slower end: a backend may answer while
the client still sends. What ends first is

- the response: the rest of the request is not passed on. The server lets the client finish, or
  stops it (RFC 9112, section 9.6; RFC 9113, section 8.1), and the connection to the backend, which
  has a part of a request, is closed;
- or the client, which has gone: the connection to the backend is closed. The server says so at
  once (`GONE`), since nothing more is received while the backend takes nothing.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import h11

from tlsio.https.asgi import GONE
from tlsio.https.proxy.backend import BackendError
from tlsio.https.proxy.directions import run_both
from tlsio.https.proxy.headers import without_connection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tlsio.https.asgi import Message, Receive, Scope, Send
    from tlsio.https.proxy.backend import BackendConnection
    from tlsio.https.proxy.headers import Headers

__all__ = ["Exchange"]

_STATUSES = range(200, 600)  # RFC 9110, section 15: others are invalid, or not the response itself
_WITHOUT_BODY = frozenset({204, 304})
_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})  # RFC 9110, section 9.2.2
_NOT_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110, section 5.5
# Seconds that the body waits for the backend's "100 Continue". RFC 9110, section 10.1.1: a client
# "SHOULD NOT wait for an indefinite period". curl waits as long.
_CONTINUE = 1.0


class Exchange:
    """One request and its response.

    Attributes:
        is_started: The client has a part of the response.
        is_gone: The client left before it was known whether the request has a body.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take what ASGI gives for a request."""
        self.is_started = self.is_gone = False
        self._scope = scope
        self._receive = receive
        self._send = send
        self._first: asyncio.Future[Message] | None = None  # what the client sends first
        self._has_body_begun = False  # a part of it was for a backend
        self._has_ended = False  # the client has sent all of the request
        self._continues = asyncio.Event()  # the backend has answered

    async def has_body(self) -> bool:
        """Return whether the request has a body, or may get one.

        Without a header that says so, as HTTP/2 may be, it has none if it has ended.
        """
        scope, framing = self._scope, {b"content-length", b"transfer-encoding"}
        lengths = {name: value for name, value in scope["headers"] if name in framing}
        if lengths:
            return lengths.get(b"content-length") != b"0"
        if scope["http_version"] != "2":
            return False
        if _expects(scope["headers"]):  # to receive would ask for the body
            return True
        self._first = asyncio.ensure_future(self._receive())
        await asyncio.sleep(0)  # what has come is received in one step
        if not self._first.done():
            return True  # the client may wait for the response, or its head, before it goes on
        message = self._first.result()
        self.is_gone = message["type"] == "http.disconnect"
        return bool(message.get("body")) or message.get("more_body", False)

    def end(self) -> None:
        """Receive nothing more."""
        if self._first is not None:
            self._first.cancel()

    async def run(self, connection: BackendConnection, request: h11.Request) -> None:
        """Ask the backend, and pass both bodies on.

        Raises:
            BackendError: the response is not a whole one.
        """
        expects = self._first is None and _expects(request.headers)
        gone = asyncio.get_running_loop().create_future()
        self._scope[GONE] = partial(_finish, gone)
        try:
            # The request comes first: nothing is received before the head is with the library.
            await run_both(self._pass_request(connection, request, expects=expects), self._pass_response(connection), until=gone)
        finally:
            del self._scope[GONE]

    def may_repeat(self, request: h11.Request) -> bool:
        """Return whether the request may be sent again, to which no response has come.

        RFC 9110, section 9.2.2: "A proxy MUST NOT automatically retry non-idempotent requests." A
        body that was passed on is not here any more.
        """
        return request.method in _IDEMPOTENT and not self._has_body_begun

    async def _pass_request(self, connection: BackendConnection, request: h11.Request, *, expects: bool) -> None:
        """Pass the request on, and wait until the client has gone."""
        await connection.send(request)
        connection.wait_for_client(waits=True)
        if expects:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CONTINUE):
                    await self._continues.wait()
        while not self._has_ended:
            message = await self._next()
            if message["type"] == "http.disconnect":
                return
            connection.wait_for_client(waits=False)
            self._has_ended = not message.get("more_body", False)
            if chunk := message.get("body", b""):
                self._has_body_begun = True
                await connection.send(h11.Data(data=chunk))
            connection.wait_for_client(waits=not self._has_ended)
        connection.wait_for_client(waits=False)
        await connection.send(h11.EndOfMessage())
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _next(self) -> Message:
        """Return what the client sends next. Cancelled, it leaves that for the next call."""
        first = self._first
        if first is None:
            return await self._receive()
        if not first.done():
            await asyncio.wait([first])
        self._first = None
        return first.result()

    async def _pass_response(self, connection: BackendConnection) -> None:
        head = await connection.receive()
        while isinstance(head, h11.InformationalResponse):
            self._continues.set()
            head = await connection.receive()
        assert isinstance(head, h11.Response)  # noqa: S101 - for the type checker: it is the first
        self._continues.set()
        start = {"type": "http.response.start", "status": head.status_code, "headers": _headers_of(head)}
        self.is_started = True
        await self._send(start)
        event = connection.take()
        if event is None:
            await self._send_part(b"")  # over HTTP/2, the head leaves with the first part
            event = await connection.receive()
        while isinstance(event, h11.Data):
            await self._send_part(bytes(event.data))
            event = await connection.receive()
        await self._send({"type": "http.response.body", "body": b""})

    async def _send_part(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _expects(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)


def _headers_of(response: h11.Response) -> Headers:
    """Return the headers of a response for the client.

    Raises:
        BackendError: it cannot be passed on.
    """
    status, sent = response.status_code, list(response.headers)
    if status not in _STATUSES:
        raise BackendError(f"{status} is not the status of a response")
    headers = without_connection(sent)
    for name, value in headers:
        if _NOT_IN_VALUE.search(value) is not None:
            raise BackendError(f"The value of the header {name!r} has control characters")
    # RFC 9112, section 6.3: Transfer-Encoding overrides Content-Length, which an intermediary
    # removes. A 204 has none, and that of a 304 is not the length of what follows.
    if status in _WITHOUT_BODY or any(name == b"transfer-encoding" for name, _ in sent):
        headers = [(name, value) for name, value in headers if name != b"content-length"]
    return headers
