"""One request and its response between a client and a backend.

Both directions run side by side, each at the pace of its slower end: a backend may answer while
the client still sends. What ends first is

- the response: the rest of the request is not passed on. The server lets the client finish, or
  stops it (RFC 9112, section 9.6; RFC 9113, section 8.1), and the connection to the backend, which
  has a part of a request, is closed;
- or the client, which has gone: the connection to the backend is closed.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import h11

from tlsio.https.proxy.backend import BackendError
from tlsio.https.proxy.headers import without_connection

if TYPE_CHECKING:
    from tlsio.https.asgi import Message, Receive, Send
    from tlsio.https.proxy.backend import BackendConnection
    from tlsio.https.proxy.headers import Headers

__all__ = ["Exchange"]

_STATUSES = range(200, 600)  # RFC 9110, section 15: others are invalid, or not the response itself
_WITHOUT_BODY = frozenset({204, 304})
_NOT_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110, section 5.5
# Seconds that the body waits for the backend's "100 Continue". RFC 9110, section 10.1.1: a client
# "SHOULD NOT wait for an indefinite period". curl waits as long.
_CONTINUE = 1.0


class Exchange:
    """One request and its response.

    Attributes:
        is_started: The client has a part of the response.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        """Take ASGI's functions of a request."""
        self.is_started = False
        self._receive = receive
        self._send = send
        self._first: Message | None = None
        self._continues = asyncio.Event()  # the backend has answered

    async def has_body(self, sent: Headers) -> bool:
        """Return whether the request has a body.

        Without a header that says so, as HTTP/2 may be, only its first part tells.
        """
        lengths = {name: value for name, value in sent if name in {b"content-length", b"transfer-encoding"}}
        if lengths:
            return lengths.get(b"content-length") != b"0"
        self._first = await self._receive()
        return bool(self._first.get("body")) or self._first.get("more_body", False)

    async def run(self, connection: BackendConnection, request: h11.Request) -> None:
        """Ask the backend, and pass both bodies on.

        Raises:
            BackendError: the response is not a whole one.
        """
        expects = (b"expect", b"100-continue") in [(name, value.lower()) for name, value in request.headers]
        # The first task runs first: nothing is received before the head is with the library.
        directions = (
            asyncio.ensure_future(self._pass_request(connection, request, expects=expects)),
            asyncio.ensure_future(self._pass_response(connection)),
        )
        try:
            ended, _ = await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            for task in directions:
                task.cancel()
            await asyncio.gather(*directions, return_exceptions=True)

    async def _pass_request(self, connection: BackendConnection, request: h11.Request, *, expects: bool) -> None:
        """Pass the request on, and wait until the client has gone."""
        await connection.send(request)
        connection.wait_for_client(waits=True)
        if expects and self._first is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CONTINUE):
                    await self._continues.wait()
        has_ended = False
        message = self._first or await self._receive()
        while message["type"] != "http.disconnect":
            connection.wait_for_client(waits=False)
            if not has_ended and (chunk := message.get("body", b"")):
                await connection.send(h11.Data(data=chunk))
            if not has_ended and not message.get("more_body", False):
                has_ended = True
                await connection.send(h11.EndOfMessage())
            connection.wait_for_client(waits=not has_ended)
            message = await self._receive()

    async def _pass_response(self, connection: BackendConnection) -> None:
        event = await connection.receive()
        while isinstance(event, h11.InformationalResponse):
            self._continues.set()
            event = await connection.receive()
        assert isinstance(event, h11.Response)  # noqa: S101 - for the type checker: it is the first
        self._continues.set()
        start = {"type": "http.response.start", "status": event.status_code, "headers": _headers_of(event)}
        self.is_started = True
        await self._send(start)
        while isinstance(event := await connection.receive(), h11.Data):
            await self._send({"type": "http.response.body", "body": bytes(event.data), "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})


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
