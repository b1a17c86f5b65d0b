"""An HTTPS server of several names, and clients that choose the name of each request on one connection."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import h2.config
import h2.connection
import h2.events

import pki
import tlsio
from tlsio.https import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

VERSIONS = ["1.1", "2"]
NAMES = ["a.example", "b.example", "c.example", "localhost", "127.0.0.1", "::1"]


@cache
def identity() -> pki.Identity:
    """One certificate for all names: what lets browsers use one connection for several of them."""
    return pki.leaf("a.example", issuer=pki.ca1(), names=NAMES)


def own(**more: Any) -> dict[str, Any]:
    """Return the options of a server or a name with that certificate."""
    return {"cert": identity().cert_pem, "key": identity().key_pem, **more}


def trusting(authority: pki.Identity | None = None, **more: Any) -> dict[str, Any]:
    """Return options that require a client certificate of `authority`."""
    return own(request_cert=True, ca=(authority or pki.ca1()).cert_pem, **more)


async def say_host(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the host; accept each WebSocket and say it there."""
    host = dict(scope["headers"]).get(b"host", b"-")
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "bytes": host})
        await send({"type": "websocket.close"})
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(host))]})
        await send({"type": "http.response.body", "body": host})


@asynccontextmanager
async def serving(app: Any = say_host, **options: Any) -> AsyncIterator[Server]:
    """Serve on a free port."""
    server = Server(app, **(options or own()))
    await server.start("127.0.0.1", 0)
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def connected(server: Server, version: str, name: str | None = "a.example", **options: Any) -> AsyncIterator[Client]:
    """Connect with an SNI name, or without one."""
    checks: dict[str, Any] = {"ca": pki.ca1().cert_pem, "servername": name or "", "check_server_identity": lambda _host, _cert: None}
    alpn = ["h2"] if version == "2" else ["http/1.1"]
    sock = await tlsio.connect(server.port, "127.0.0.1", **{**checks, "alpn_protocols": alpn, **options})
    try:
        yield (Http2Client if version == "2" else Http1Client)(sock)
    finally:
        sock.destroy()
        await sock.aclose()


class Client:
    """A connection.

    Attributes:
        socket: The TLS connection.
    """

    def __init__(self, sock: Any) -> None:
        self.socket = sock

    async def get(self, host: str | Sequence[str], path: str = "/") -> tuple[int, bytes]:
        """Ask for a path of a host; several, or none, are as many Host headers."""
        raise NotImplementedError


class Http1Client(Client):
    """HTTP/1.1, with whatever Host headers."""

    async def get(self, host: str | Sequence[str], path: str = "/") -> tuple[int, bytes]:
        """Ask for a path of a host; several, or none, are as many Host headers."""
        hosts = [host] if isinstance(host, str) else host
        lines = [f"GET {path} HTTP/1.1", *(f"Host: {one}" for one in hosts), "", ""]
        return await self.send("\r\n".join(lines).encode())

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a request's bytes, and return status and body of the response."""
        self.socket.write(request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += await self._read()
        self.head, _, body = data.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in self.head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(body) < length:
            body += await self._read()
        return int(self.head.split()[1]), body

    async def _read(self) -> bytes:
        data = await self.socket.read()
        if not data:
            raise EOFError
        return bytes(data)


class Http2Client(Client):
    """HTTP/2, with whatever authority."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        config = h2.config.H2Configuration(client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.goaway = False
        self._buffer = b""

    def feed(self, data: bytes) -> list[Any]:
        """Return the events of what the server sent. The library would take nothing more after a GOAWAY."""
        self._buffer += data
        events: list[Any] = []
        while len(self._buffer) >= 9 and len(self._buffer) >= (size := 9 + int.from_bytes(self._buffer[:3], "big")):
            frame, self._buffer = self._buffer[:size], self._buffer[size:]
            if frame[3] == 7:
                self.goaway = True
            else:
                events += self.h2.receive_data(frame)
        return events

    async def get(self, host: str | Sequence[str], path: str = "/") -> tuple[int, bytes]:
        """Ask for a path of a host; several, or none, are as many Host headers."""
        hosts = [host] if isinstance(host, str) else list(host)
        headers = [(":method", "GET"), (":scheme", "https"), (":path", path)]
        headers += [(":authority", one) for one in hosts[:1]] + [("host", one) for one in hosts[1:]]
        return await self.ask(headers)

    async def ask(self, headers: list[tuple[str, str]]) -> tuple[int, bytes]:
        """Send a request, and return status and body of the response."""
        stream, status, body = self.h2.get_next_available_stream_id(), 0, b""
        self.h2.send_headers(stream, headers, end_stream=True)
        while True:
            self.socket.write(self.h2.data_to_send())
            data = await self.socket.read()
            if not data:
                raise EOFError
            for event in self.feed(data):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[b":status"])
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    return status, body
                elif isinstance(event, h2.events.StreamReset):
                    return -int(event.error_code or 0), body

    async def until_closed(self) -> None:
        """Answer what the server sends, until it closes."""
        self.socket.write(self.h2.data_to_send() or b"")
        while data := await self.socket.read():
            self.feed(data)
            self.socket.write(self.h2.data_to_send())


async def curl(*arguments: str) -> tuple[int, str]:
    """Run curl, and return its exit code and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "--max-time", "20", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()
