"""One connection of the HTTP client: h11 over a TCP socket or TLS, with every response bounded."""

from __future__ import annotations

import asyncio
import select
from contextlib import suppress
from dataclasses import dataclass
from errno import ECONNRESET
from typing import TYPE_CHECKING, Any, Protocol, cast

import h11

from tlsio.interop.http_request import refusal
from tlsio.model.errors import FetchError, TLSError, add_hint

if TYPE_CHECKING:
    import socket as _socket

    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.interop.http_request import Proxy, Request, Url

__all__ = ["Exchange", "PlainStream", "Response", "Step", "Stream", "TLSStream", "open_tunnel"]

_MAX_HEAD = 64 * 1024  # bytes of one head or of one chunk's header; browsers allow 256 KiB, servers 16 KiB
# Bytes received for each byte of the body, after the first `_MAX_HEAD`: the framing of chunks of 24
# bytes. A body in chunks of one byte would cost 100 times its size in processor time.
_FRAMING_SHARE = 4
_KEPT_SECONDS = 5.0  # a connection idle for longer is not used again (httpx's value; Node's servers close after 5)
_NEVER_READ = 2**62  # bytes of a body that is announced, but never read
_READ_BYTES = 16 * 1024  # parsed without a pause of the loop: at most 1,500 chunks


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response, whatever its status.

    Attributes:
        url: The URL that was answered: the last one, if redirects were followed.
        status: Such as 200.
        headers: Names in lower case, in the order they came; a name may occur more than once.
        body: As it was sent; nothing is decompressed.
    """

    url: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the first header of a name in any case, None if there is none."""
        return next((value for one, value in self.headers if one == name.lower()), None)


@dataclass
class Step:
    """What an exchange is waiting for, for the message of a timeout."""

    name: str = "connecting"


class Exchange:
    """Requests and responses over one connection, one after the other."""

    def __init__(self, stream: Stream, proxy: Proxy | None) -> None:
        """Take the connection; `proxy` is set if it ends at one that forwards requests."""
        self.stream = stream
        self.has_received = False  # anything of the present response
        self._proxy = proxy
        self.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD)
        self._unused_since = 0.0

    async def converse(self, request: Request, max_bytes: int, step: Step) -> Response:
        """Send a request and receive its response, of at most `max_bytes`."""
        self.has_received = False
        step.name = "sending the request"
        await self.stream.send(self.http.send(self._head_of(request)) + self._content_of(request))
        step.name = "the response"
        receiver = _Receiver(self, _NEVER_READ if request.method == "HEAD" else max_bytes, request.url)
        head = await receiver.head()
        step.name = f"the body of the response (status {head.status_code})"
        body = await receiver.body()
        headers = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers)
        return Response(request.url.text, head.status_code, headers, body)

    def _head_of(self, request: Request) -> h11.Request:
        url, names = request.url, {name.lower() for name, _ in request.headers}
        headers: list[tuple[bytes, bytes]] = [(b"Host", url.host_header.encode("ascii"))]
        headers += [one for one in ((b"Accept", b"*/*"), (b"User-Agent", b"tlsio")) if one[0].lower() not in names]
        headers += request.headers
        if request.body is not None:
            headers.append((b"Content-Length", str(len(request.body)).encode("ascii")))
        if self._proxy is not None:
            headers += self._proxy.headers
        target = url.target if self._proxy is None else f"http://{url.host_header}{url.target}"
        return h11.Request(method=request.method, target=target, headers=headers)

    def _content_of(self, request: Request) -> bytes:
        data = self.http.send(h11.Data(data=request.body)) if request.body else b""
        return (data or b"") + (self.http.send(h11.EndOfMessage()) or b"")

    async def next_event(self, receiver: _Receiver) -> Any:
        """Return h11's next event, and read what it needs for that."""
        while (event := self.http.next_event()) is h11.NEED_DATA:
            data = await self.stream.read(_READ_BYTES)
            if not data and not self.has_received:
                raise ConnectionResetError(ECONNRESET, "the server closed the connection without a response")
            self.has_received = True
            receiver.count(data)
            self.http.receive_data(data)
        return event

    def start_next(self) -> bool:
        """Prepare for another request; False if the connection cannot be used again."""
        if self.http.our_state is not h11.DONE or self.http.their_state is not h11.DONE or self.http.trailing_data[0]:
            return False
        self.http.start_next_cycle()
        self._unused_since = asyncio.get_running_loop().time()
        return True

    def is_old(self) -> bool:
        """Tell whether the server will probably have closed this idle connection."""
        return asyncio.get_running_loop().time() - self._unused_since > _KEPT_SECONDS

    def close(self) -> None:
        """End the connection in order, without waiting for the peer."""
        self.stream.close()

    def abort(self) -> None:
        """End the connection at once."""
        self.stream.abort()


class _Receiver:
    """Receives one response, and counts its bytes."""

    def __init__(self, exchange: Exchange, max_bytes: int, url: Url) -> None:
        self._exchange = exchange
        self._max_bytes = max_bytes
        self._url = url
        self._received = 0
        self._body = bytearray()
        self._start = b""
        self._length: int | None = None
        self._has_ended = False

    async def head(self) -> h11.Response:
        """Return status and headers, after any informational responses."""
        try:
            while isinstance(event := await self._exchange.next_event(self), h11.InformationalResponse):
                pass
        except h11.RemoteProtocolError as error:
            self._explain(error)
            raise
        head = cast("h11.Response", event)
        lengths = [int(value) for name, value in head.headers if name == b"content-length"]
        self._length = lengths[0] if lengths else None
        if self._length is not None and self._length > self._max_bytes:
            self._check_size(self._length)
        return head

    async def body(self) -> bytes:
        """Return the whole body."""
        try:
            while isinstance(event := await self._exchange.next_event(self), h11.Data):
                self._body += event.data
                self._check_size(len(self._body))
        except h11.RemoteProtocolError as error:
            if not self._has_ended:
                raise
            size = f"{len(self._body)} of {self._length}" if self._length is not None else f"{len(self._body)}"
            why = f"it is incomplete: {size} bytes of its body were received before the server ended the connection"
            raise refusal(self._url, why, "ERR_FETCH_PROTOCOL", hint="The server or a proxy has cut it off: try again.") from error
        return bytes(self._body)

    def count(self, data: bytes) -> None:
        """Count what arrived, and refuse a response that is mostly framing."""
        self._has_ended = not data
        self._start = self._start or data[:8]
        self._received += len(data)
        if self._received - len(data) - len(self._body) > _MAX_HEAD + len(self._body) // _FRAMING_SHARE:
            raise refusal(self._url, "its headers, or the framing of its chunks, are too long", "ERR_FETCH_TOO_LARGE")

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise refusal(self._url, f"it has more than {self._max_bytes} bytes", "ERR_FETCH_TOO_LARGE", hint="Raise max_bytes=.")

    def _explain(self, error: Exception) -> None:
        if self._start.startswith(b"\x15\x03") and self._url.scheme == "http":  # an alert of TLS
            add_hint(error, "The server speaks TLS on this port: the URL should begin with https.")


async def open_tunnel(stream: Stream, url: Url, proxy: Proxy) -> None:
    """Have a proxy connect to the server (RFC 9110 §9.3.6)."""
    exchange = Exchange(stream, None)
    http = exchange.http
    request = h11.Request(method="CONNECT", target=url.authority, headers=[(b"Host", url.authority.encode("ascii")), *proxy.headers])
    await stream.send((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
    head = await _Receiver(exchange, _NEVER_READ, proxy.url).head()
    if not 200 <= head.status_code < 300:  # noqa: PLR2004
        hint = "The proxy wants a user and password: proxy='http://USER:PASSWORD@HOST:PORT'." if head.status_code == 407 else None  # noqa: PLR2004
        message = f"The proxy {proxy.url.authority} refused the tunnel to {url.authority} with the status {head.status_code}"
        raise FetchError(message, url=url.text, host=url.host, code="ERR_FETCH_PROXY", hint=hint)
    if http.trailing_data[0]:  # would be taken for the server's
        message = f"The proxy {proxy.url.authority} sent data before the tunnel to {url.authority} was used"
        raise FetchError(message, url=url.text, host=url.host, code="ERR_FETCH_PROXY")


# --- streams ---


class Stream(Protocol):
    """A connection: a TCP socket, or TLS over it."""

    async def read(self, size: int) -> bytes:
        """Read at most `size` bytes; b"" at the end."""

    async def send(self, data: bytes) -> None:
        """Write, and wait until the connection has taken it."""

    def has_ended(self) -> bool:
        """Tell whether an idle connection cannot be used: it has ended, or has unexpected data."""

    def release(self) -> Any:
        """Give away the socket, for a handshake over it."""

    def close(self) -> None:
        """End the connection in order, without waiting for the peer."""

    def abort(self) -> None:
        """End the connection at once."""


class PlainStream:
    """A TCP socket; see `Stream`."""

    def __init__(self, sock: _socket.socket) -> None:
        self._socket = sock
        self._loop = asyncio.get_running_loop()

    async def read(self, size: int) -> bytes:
        """Read."""
        return await self._loop.sock_recv(self._socket, size)

    async def send(self, data: bytes) -> None:
        """Write."""
        await self._loop.sock_sendall(self._socket, data)

    def has_ended(self) -> bool:
        """Ask the kernel."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def release(self) -> _socket.socket:
        """Give away the socket."""
        return self._socket

    def close(self) -> None:
        """Close."""
        self._socket.close()

    abort = close


class TLSStream:
    """A TLSSocket; see `Stream`."""

    def __init__(self, sock: TLSSocket) -> None:
        self._socket = sock

    async def read(self, size: int) -> bytes:
        """Read."""
        return await self._socket.read(size)

    async def send(self, data: bytes) -> None:
        """Write."""
        await self._socket.send(data)

    def has_ended(self) -> bool:
        """Try to read: a session ticket, for example, is not data."""
        reading = self._socket.read(1)
        try:
            cast("Any", reading).send(None)
        except (StopIteration, TLSError):
            return True
        reading.close()  # it would wait; a read that ends early loses nothing
        return False

    def release(self) -> TLSSocket:
        """Give away the socket."""
        return self._socket

    def close(self) -> None:
        """Send close_notify, and close."""
        self._socket.end()
        with suppress(RuntimeError):  # the loop is closing
            asyncio.get_running_loop().call_soon(self._socket.destroy)

    def abort(self) -> None:
        """Close."""
        self._socket.destroy()
