"""Port 80: answers each request with a redirect to HTTPS, and closes the connection.

The parser is h11. A connection gets one small answer, within a few seconds and a few kilobytes: a
client that sends nothing, or sends slowly, holds a socket for these seconds and nothing else.

The redirect goes to the host that the client named, which is checked and copied, so it can leave
neither this host nor the header.
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from inspect import isawaitable
from typing import TYPE_CHECKING

import h11

from tlsio.https.deadline import Deadline
from tlsio.https.host import parse_host
from tlsio.https.plain_http.ports import PlainPorts
from tlsio.model.checks import check_int, wrong_value

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from typing import Self

    Answer = Callable[[str, str], bytes | Awaitable[bytes | None] | None]

__all__ = ["RedirectServer", "check_status"]

_log = logging.getLogger("tlsio.https")

_TIMEOUT = 5.0  # seconds for a connection; Caddy's number on this port
_MAX_HEAD = 16384  # bytes
_MAX_REST = 65536  # bytes that are read after the answer, so that it is not lost by a reset
_MAX_CONNECTIONS = 1000
_CHALLENGE = b"/.well-known/acme-challenge/"
_TARGET = re.compile(rb"/[\x21-\x7e]*")
_ABSOLUTE = re.compile(rb"http://([^/?#]*)(.*)", re.IGNORECASE)
_PORT = re.compile(rb":[0-9]*\Z")


class RedirectServer:
    """The server of plain HTTP beside one of HTTPS.

    Attributes:
        answer: Called for challenges of ACME; None: they are redirected too.
    """

    def __init__(
        self,
        *,
        status: int | None = 308,
        answer: Answer | None = None,
        timeout: float = _TIMEOUT,
        max_connections: int = _MAX_CONNECTIONS,
    ) -> None:
        """Serve nothing yet.

        Args:
            status: 308, or 301, which old clients know; None: nothing is redirected, and what
                `answer` does not know is not found (404).
            answer: Called with path and host of a GET below `/.well-known/acme-challenge/`, before
                it is redirected; returns the body of the answer, or None. May be async.
            timeout: Seconds that a connection lasts at most.
            max_connections: At a time; further ones are closed at once.

        Raises:
            UsageError: a value is out of range.
        """
        self.answer = answer
        self._suffix = b""
        self._status = None if status is None else check_status(status)
        self._timeout = timeout
        self._max_connections = check_int("max_connections", max_connections, 1, 2**20)
        self._connections: set[_Redirect] = set()
        self._ports = PlainPorts()

    async def start(
        self, https_port: int, host: str | Sequence[str] | None = None, port: int = 80, *, sockets: Iterable[socket.socket] = ()
    ) -> Self:
        """Redirect to a port of HTTPS.

        Args:
            https_port: It is named in the redirect unless it is 443.
            host: The address to listen on; None: all.
            port: The port; 0 chooses a free one.
            sockets: Bound already, as to a port below 1024, in place of `host` and `port`.

        Raises:
            OSError: the address cannot be used.
        """
        self._suffix = b"" if https_port == 443 else b":%d" % https_port  # noqa: PLR2004 - the default of https
        loop = asyncio.get_running_loop()
        await self._ports.open(partial(_Redirect, self, loop), host, port, sockets)
        return self

    @property
    def port(self) -> int | None:
        """The port that is listened on."""
        return self._ports.port

    async def stop(self) -> None:
        """Close, connections included. A request that is on its way is answered."""
        await self._ports.close(self._connections)

    # ---- connections call

    def opened(self, connection: _Redirect) -> bool:
        """Note a connection; False: there are too many."""
        if len(self._connections) >= self._max_connections:
            return False
        self._connections.add(connection)
        connection.deadline.set(self._timeout)
        return True

    def closed(self, connection: _Redirect) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    async def respond(self, request: h11.Request) -> _Response:
        """Return the answer to a request."""
        try:
            host, target = _read_address(request)
        except ValueError as error:
            return _Response(400, f"{error}\n".encode())
        if self.answer is not None and request.method == b"GET" and target.startswith(_CHALLENGE):
            body = self.answer(target.decode("ascii"), host.decode("ascii"))
            if isawaitable(body):
                body = await body
            if body is not None:
                return _Response(200, body, content_type=b"application/octet-stream")
        if self._status is None:
            return _Response(404)
        return _Response(self._status, location=b"https://" + host + self._suffix + target)


def check_status(status: int) -> int:
    """Return the status of a redirect.

    Raises:
        UsageError: it is another one.
    """
    if status not in (301, 308):
        raise wrong_value("redirect_status", f"is {status!r}", hint="It is 308 or 301.")
    return status


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    body: bytes = b""
    content_type: bytes = b"text/plain; charset=utf-8"
    location: bytes | None = None

    def headers(self) -> list[tuple[bytes, bytes]]:
        found = [(b"date", formatdate(usegmt=True).encode()), (b"content-length", b"%d" % len(self.body)), (b"connection", b"close")]
        if self.location is not None:
            found.append((b"location", self.location))
        if self.body:
            found += [(b"content-type", self.content_type), (b"x-content-type-options", b"nosniff")]
        return found


class _Redirect(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: RedirectServer, loop: asyncio.AbstractEventLoop) -> None:
        self.deadline = Deadline(loop, self._expired)
        self.transport: asyncio.Transport
        self._server = server
        self._loop = loop
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
        self._task: asyncio.Task[None] | None = None
        self._rest = _MAX_REST
        self._is_answered = self._is_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        if not self._server.opened(self):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._task is not None or self._is_answered:
            self._rest -= len(data)
            if self._rest < 0:
                self.transport.abort()
            return
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            self._send(_Response(error.error_status_hint, b"This is not a valid request of HTTP/1.1.\n"))
            return
        if isinstance(event, h11.Request):
            self._is_head = event.method == b"HEAD"
            self._task = self._loop.create_task(self._respond(event))

    async def _respond(self, request: h11.Request) -> None:
        try:
            response = await self._server.respond(request)
        except Exception:  # noqa: BLE001 - whatever the hook raises
            _log.exception("Port 80: the answer to an ACME challenge could not be found")
            response = _Response(500)
        self._send(response)

    def _send(self, response: _Response) -> None:
        """Send the answer and the end, then read until the client's end.

        A reset, which unread bytes cause, would discard the answer.
        """
        if self.transport.is_closing():
            return
        self._is_answered = True
        head = h11.Response(status_code=response.status, headers=response.headers(), reason=HTTPStatus(response.status).phrase.encode())
        body = b"" if self._is_head else response.body
        parts = [self._http.send(head), self._http.send(h11.Data(data=body)), self._http.send(h11.EndOfMessage())]
        self.transport.write(b"".join(part or b"" for part in parts))
        self.transport.write_eof()

    def eof_received(self) -> bool:
        return not self._is_answered and self._task is not None  # True: an answer is on its way

    def connection_lost(self, _exc: Exception | None) -> None:
        self.deadline.end()
        if self._task is not None:
            self._task.cancel()
        self._server.closed(self)

    def _expired(self) -> None:
        self.transport.abort()


def _read_address(request: h11.Request) -> tuple[bytes, bytes]:
    """Return host and target of a request, as they stand in the redirect.

    Raises:
        ValueError: they are not what a client sends to the server of a site.
    """
    # h11 has checked that there is one Host at most, and one in HTTP/1.1.
    value = next((value for name, value in request.headers if name == b"host"), b"")
    host = parse_host(value)
    if host is None:
        raise ValueError("The Host of the request is not valid.")
    target = request.target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        # RFC 9112, section 3.2.2: "a server MUST accept the absolute-form in requests".
        if parse_host(absolute[1]) != host:
            raise ValueError("The URL of the request and its Host name different hosts.")
        target = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
    if _TARGET.fullmatch(target) is None:
        raise ValueError("The request does not name a path.")
    return _PORT.sub(b"", value), target
