"""A proxy in front of an ACME authority, for faults that the authority itself does not make.

    async with AuthorityProxy(pebble, change) as proxy:
        client = Client(proxy.directory_url, ca=proxy.ca)

Pebble makes its URLs from the Host of the request: everything passes through here. `change` is called with each request
and Pebble's reply, and changes the reply. With `is_plain` the proxy speaks plain HTTP; Pebble refuses signed requests then.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
from base64 import urlsafe_b64decode
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import h11

import pki

if TYPE_CHECKING:
    from collections.abc import Callable

    from pebble import Pebble

# What Pebble calls things.
KINDS = {
    "dir": "directory",
    "nonce-plz": "new_nonce",
    "sign-me-up": "new_account",
    "my-account": "account",
    "order-plz": "new_order",
    "my-order": "order",
    "authZ": "authorization",
    "chalZ": "challenge",
    "finalize-order": "finalize",
    "certZ": "certificate",
    "revoke-cert": "revoke",
    "rollover-account-key": "key_change",
    "draft-ietf-acme-ari-03": "renewal_info",
}


@dataclass
class Request:
    """What the client sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        """Which resource it is for, such as `"order"`."""
        return KINDS[self.path.split("/")[1]]

    @property
    def protected(self) -> dict[str, Any]:
        """The header of its JWS."""
        found: dict[str, Any] = json.loads(_decode(json.loads(self.body)["protected"]))
        return found

    @property
    def payload(self) -> Any:
        """What was signed; None for a POST-as-GET."""
        data = _decode(json.loads(self.body)["payload"])
        return json.loads(data) if data else None


@dataclass
class Reply:
    """What the client gets. Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw: bytes | None = None  # instead of all the others
    stalls: bool = False  # after the head, for ever
    trickles: bool = False  # one byte each 50 ms

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    def set_json(self, value: Any) -> None:
        """Replace the body."""
        self.body = json.dumps(value).encode()

    def update(self, **members: Any) -> None:
        """Replace members of the JSON object."""
        self.set_json(self.json | members)

    def refuse(self, status: int, problem: str, detail: str = "no", **headers: str) -> None:
        """Make it a problem document; it keeps its nonce."""
        self.status = status
        self.headers["content-type"] = "application/problem+json"
        self.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        self.set_json({"type": f"urn:ietf:params:acme:error:{problem}", "detail": detail, "status": status})


def unchanged(request: Request, reply: Reply) -> None:
    """Change nothing."""


@dataclass
class AuthorityProxy:
    """The proxy, on a port of its own."""

    pebble: Pebble
    change: Callable[[Request, Reply], None] = unchanged
    is_plain: bool = False
    intercept: Callable[[Request], Reply | None] = lambda _request: None
    requests: list[Request] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        context = None
        if not self.is_plain:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            with tempfile.NamedTemporaryFile() as file:
                file.write(pki.localhost().key_pem + pki.localhost().chain_pem)
                file.flush()
                context.load_cert_chain(file.name)
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=context)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        assert not self.errors, self.errors

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def directory_url(self) -> str:
        """Where a client begins."""
        return f"{'http' if self.is_plain else 'https'}://localhost:{self.port}/dir"

    @property
    def ca(self) -> bytes:
        """What it is trusted by."""
        return self.pebble.ca

    def count(self, kind: str) -> int:
        """Return how many requests there were of a kind."""
        return sum(1 for one in self.requests if one.kind == kind)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass  # a cancelled task would be an unhandled error of asyncio's streams
        except Exception as error:  # noqa: BLE001 - shown by the test
            self.errors.append(error)
        finally:
            writer.close()
            with suppress(Exception, asyncio.CancelledError):
                await writer.wait_closed()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER)
        while True:
            request = await _read_request(http, reader)
            if request is None:
                return
            self.requests.append(request)
            reply = self.intercept(request) or await self._forward(request)
            self.change(request, reply)
            if reply.raw is not None:
                writer.write(reply.raw)
                await writer.drain()
                return
            is_head = request.method == "HEAD"
            length = len(reply.body)
            names = {"content-length", "connection", "transfer-encoding"}
            headers = [(name, value) for name, value in reply.headers.items() if name.lower() not in names]
            head = h11.Response(status_code=reply.status, headers=[*headers, ("content-length", str(length))])
            writer.write(http.send(head) or b"")
            if reply.stalls:
                await writer.drain()
                await asyncio.sleep(3600)
            if not is_head:
                for start in range(0, length, 1 if reply.trickles else max(length, 1)):
                    piece = reply.body[start : start + 1] if reply.trickles else reply.body
                    writer.write(http.send(h11.Data(data=piece)) or b"")
                    if reply.trickles:
                        await writer.drain()
                        await asyncio.sleep(0.05)
            writer.write(http.send(h11.EndOfMessage()) or b"")
            await writer.drain()
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                return
            http.start_next_cycle()

    async def _forward(self, request: Request) -> Reply:
        upstream = urlsplit(self.pebble.directory_url)
        context = ssl.create_default_context(cadata=self.pebble.ca.decode())
        reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port, ssl=context, server_hostname="localhost")
        try:
            lines = [f"{request.method} {request.path} HTTP/1.1", "Connection: close"]
            lines += ["X-Forwarded-Proto: http"] if self.is_plain else []
            lines += [f"{name}: {value}" for name, value in request.headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode() + request.body)
            http = h11.Connection(h11.CLIENT)
            http.send(h11.Request(method=request.method, target=request.path, headers=list(request.headers.items())))
            if request.body:
                http.send(h11.Data(data=request.body))
            http.send(h11.EndOfMessage())
            http.receive_data(await reader.read(-1))
            http.receive_data(b"")
        finally:
            writer.close()
            with suppress(Exception):
                await writer.wait_closed()
        body, head = bytearray(), None
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                raise TypeError(event)
        assert head is not None
        headers: dict[str, str] = {}
        for name, value in head.headers:
            text = name.decode()
            headers[text] = f"{headers[text]}, {value.decode()}" if text in headers else value.decode()
        return Reply(head.status_code, headers, bytes(body))


async def _read_request(http: h11.Connection, reader: asyncio.StreamReader) -> Request | None:
    body, head = bytearray(), None
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            headers = {name.decode(): value.decode() for name, value in head.headers}
            return Request(head.method.decode(), head.target.decode(), headers, bytes(body))
        else:
            return None


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
