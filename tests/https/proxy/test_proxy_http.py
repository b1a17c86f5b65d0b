"""`tlsio proxy --http`: requests for a backend of HTTP/1.1, with what it is told of the client."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httpx
import pytest
import uvicorn
import websockets
from cryptography import x509
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from websockets.asyncio.client import connect

import pki
from foreign_peers import find
from https_peer import exchange, serving, split
from ports import own_port
from served import Served, client_context, eventually, load_identity, write_files
from tlsio.https import Server
from tlsio.https.proxy.http import HTTPProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket


class Backend:
    """An application, and what happened to it."""

    def __init__(self) -> None:
        self.port = 0
        self.released = asyncio.Event()
        self.left = asyncio.Event()
        routes = [
            Route("/facts{rest:path}", self.facts, methods=["GET", "POST", "HEAD"]),
            Route("/upload", self.upload, methods=["POST"]),
            Route("/stream", self.stream),
            Route("/cut", self.cut),
            Route("/cookies", self.cookies),
            WebSocketRoute("/ws", self.websocket),
        ]
        self.app = Starlette(routes=routes)

    async def facts(self, request: Request) -> Response:
        """Answer with what was asked."""
        target = (request.scope["raw_path"] + (b"?" + request.scope["query_string"] if request.scope["query_string"] else b"")).decode()
        headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.scope["headers"]]
        return JSONResponse({"method": request.method, "target": target, "headers": headers, "body": len(await request.body())})

    async def upload(self, request: Request) -> Response:
        """Answer to each part of the body before the next one comes."""
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
        return PlainTextResponse(str(size))

    async def stream(self, _: Request) -> Response:
        """Answer with parts, of which the second waits for the test."""

        async def parts() -> AsyncIterator[bytes]:
            try:
                yield b"first"
                await self.released.wait()
                yield b"second"
            finally:
                self.left.set()

        return StreamingResponse(parts())

    async def cut(self, _: Request) -> Response:
        """End in the middle of a response."""

        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.sleep(0)
            raise ConnectionError

        return StreamingResponse(parts(), headers={"content-length": "1000"})

    async def cookies(self, _: Request) -> Response:
        """Set two cookies, and a header of this connection alone."""
        response = PlainTextResponse("", headers={"connection": "x-hop", "x-hop": "1", "x-kept": "1"})
        response.raw_headers += [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
        return response

    async def websocket(self, socket: WebSocket) -> None:
        """Echo, say what was asked for, or refuse."""
        if "refuse" in socket.query_params:
            await socket.close()
            return
        cookies = [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
        await socket.accept(subprotocol=next(iter(socket.scope["subprotocols"]), None), headers=cookies)
        await socket.send_text(json.dumps(dict(socket.headers)))
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                self.left.set()
                return
            if message.get("text") == "close":
                await socket.close(4001, "as asked")
                return
            await socket.send(
                {"type": "websocket.send", "text": message["text"]}
                if message.get("text")
                else {"type": "websocket.send", "bytes": message["bytes"]}
            )


@asynccontextmanager
async def proxying(**options: Any) -> AsyncIterator[tuple[Server, Backend]]:
    """Run uvicorn and a proxy in front of it."""
    backend = Backend()
    listening = socket.create_server(("127.0.0.1", 0))
    backend.port = listening.getsockname()[1]
    behind = uvicorn.Server(uvicorn.Config(backend.app, log_level="critical", timeout_graceful_shutdown=1, ws="websockets-sansio"))
    running = asyncio.create_task(behind._serve([listening]))
    who = pki.localhost()
    server = Server(HTTPProxy("127.0.0.1", backend.port), cert=who.chain_pem, key=who.key_pem, **options)
    await server.start("127.0.0.1", 0)
    try:
        yield server, backend
    finally:
        await server.stop()
        behind.should_exit = True
        await running


def client(server: Server, *, http2: bool = True, **options: Any) -> httpx.AsyncClient:
    """Return a client of the proxy."""
    context = options.pop("context", None) or client_context()
    return httpx.AsyncClient(verify=context, http1=not http2, http2=http2, base_url=f"https://localhost:{server.port}", **options)


VERSIONS = pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])


@VERSIONS
async def test_what_the_backend_is_told(http2: bool) -> None:  # noqa: FBT001
    """The client's address, the scheme and the host; the rest is the client's."""
    async with proxying() as (server, _), client(server, http2=http2) as asking:
        own = f"localhost:{server.port}"
        found = (await asking.get("/facts/a%2Fb%20c?x=%20&y", headers={"x-other": "kept", "accept": "text/plain"})).json()
    headers = dict(found["headers"])
    assert (found["method"], found["target"]) == ("GET", "/facts/a%2Fb%20c?x=%20&y")
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-host"] == headers["host"] == own
    assert (headers["x-other"], headers["accept"]) == ("kept", "text/plain")
    assert headers["x-client-cert-verify"] == "NONE"


FORGED = {
    "X-Forwarded-For": "6.6.6.6", "x_forwarded_for": "6.6.6.6", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil",
    "X-Forwarded-Port": "1", "Forwarded": "for=6.6.6.6", "X-Real-IP": "6.6.6.6", "X-Client-Cert-Verify": "SUCCESS",
    "X_Client_Cert_Subject": "CN=root", "X-Client-Cert": "evil", "X.Forwarded.For": "6.6.6.6", "x!real~ip": "evil", "X-Forwarded": "evil",
    "SCRIPT_NAME": "/evil", "Path-Info": "/evil",
}  # fmt: skip


@VERSIONS
async def test_a_client_cannot_speak_for_the_proxy(http2: bool) -> None:  # noqa: FBT001
    """Its own headers of these names are removed, in each spelling."""
    async with proxying() as (server, _), client(server, http2=http2) as asking:
        found = (await asking.get("/facts", headers=FORGED)).json()
    assert "6.6.6.6" not in str(found)
    assert "evil" not in str(found)
    assert "root" not in str(found)
    names = [name.replace("_", "-") for name, _ in found["headers"]]
    assert names.count("x-forwarded-for") == names.count("x-client-cert-verify") == 1


async def test_headers_of_one_connection() -> None:
    """Are not passed on, in either direction; a client cannot have the host removed."""
    async with proxying() as (server, _), client(server, http2=False) as asking:
        sent = {"Connection": "keep-alive, x-hop, host, x-forwarded-for", "X-Hop": "1", "Keep-Alive": "5", "TE": "trailers"}
        found = dict((await asking.get("/facts", headers=sent)).json()["headers"])
        back = (await asking.get("/cookies")).headers
        own = f"localhost:{server.port}"
    assert not {"x-hop", "keep-alive", "te"} & found.keys()
    assert found["host"] == own
    assert found["x-forwarded-for"] == "127.0.0.1"
    assert "x-hop" not in back
    assert back["x-kept"] == "1"
    assert back.get_list("set-cookie") == ["a=1", "b=2"]


@VERSIONS
@pytest.mark.parametrize("has_length", [False, True])
async def test_bodies(http2: bool, has_length: bool) -> None:  # noqa: FBT001
    """Of a known length, and of an unknown one; an empty one is no chunked one."""
    data = os.urandom(3 << 20)

    async def parts() -> AsyncIterator[bytes]:
        for at in range(0, len(data), 100_000):
            yield data[at : at + 100_000]

    async with proxying() as (server, _), client(server, http2=http2) as asking:
        found = await asking.post("/upload", content=data if has_length else parts())
        empty = (await asking.post("/facts")).json()
        head = await asking.head("/facts")
    assert found.text == str(len(data))
    assert empty["body"] == 0
    assert "transfer-encoding" not in dict(empty["headers"])
    assert (head.status_code, head.content) == (200, b"")


@VERSIONS
async def test_a_response_is_passed_on_as_it_comes(http2: bool) -> None:  # noqa: FBT001
    """The first part is here before the second one exists."""
    async with proxying() as (server, backend), client(server, http2=http2) as asking, asking.stream("GET", "/stream") as response:
        parts = response.aiter_raw()
        assert await anext(parts) == b"first"
        backend.released.set()
        assert b"".join([part async for part in parts]) == b"second"


@VERSIONS
async def test_a_client_that_leaves(http2: bool) -> None:  # noqa: FBT001
    """Ends the request at the backend too."""
    async with proxying() as (server, backend):
        async with client(server, http2=http2) as asking, asking.stream("GET", "/stream") as response:
            assert await anext(response.aiter_raw()) == b"first"
        await backend.left.wait()


@VERSIONS
async def test_a_backend_that_fails_in_the_middle(http2: bool, caplog: pytest.LogCaptureFixture) -> None:  # noqa: FBT001
    """The response is cut off, so that it is not taken for a whole one; the log has no traceback."""
    async with proxying() as (server, _), client(server, http2=http2) as asking:
        with pytest.raises(httpx.RemoteProtocolError):
            await asking.get("/cut")
        assert (await asking.get("/facts")).status_code == 200
    assert "The backend 127.0.0.1" in caplog.text
    assert "Traceback" not in caplog.text


@VERSIONS
async def test_a_backend_that_is_not_there(http2: bool) -> None:  # noqa: FBT001
    """502, and 504 if it does not answer in time."""
    who = pki.localhost()
    with own_port() as port, socket.create_server(("127.0.0.1", port)) as silent:
        proxy = HTTPProxy("127.0.0.1", port, read_timeout=0.1)
        server = await Server(proxy, cert=who.chain_pem, key=who.key_pem).start("127.0.0.1", 0)
        async with client(server, http2=http2) as asking:
            assert (await asking.get("/")).status_code == 504
            silent.close()
            answer = await asking.get("/")
            assert answer.status_code == 502
            assert answer.text == "The server behind this one does not answer.\n"
        await server.stop()


@pytest.mark.parametrize("is_trusted", [False, True])
async def test_client_certificates(is_trusted: bool) -> None:  # noqa: FBT001
    """Accepted or not, the backend is told so; the certificate is the one that was sent."""
    who = pki.client() if is_trusted else pki.self_signed()
    context = client_context()
    load_identity(context, who)
    trust: dict[str, Any] = {"ca": pki.ca1().cert_pem, "request_cert": True, "reject_unauthorized": False}
    async with proxying(**trust) as (server, _), client(server, context=context) as asking:
        found = dict((await asking.get("/facts")).json()["headers"])
    verdict = found["x-client-cert-verify"]
    assert verdict == "SUCCESS" if is_trusted else verdict.startswith("FAILED:")
    assert found["x-client-cert-subject"] == who.certificate.subject.rfc4514_string()
    assert int(found["x-client-cert-serial"], 16) == who.certificate.serial_number
    assert unquote(found["x-client-cert"]).encode() == who.cert_pem


async def told_of(who: pki.Identity) -> dict[str, str]:
    """Return what the backend gets of a client with this certificate."""
    context = client_context()
    load_identity(context, who)
    async with (
        proxying(ca=pki.ca1().cert_pem, request_cert=True) as (server, _),
        client(server, context=context) as asking,
    ):
        return dict((await asking.get("/facts")).json()["headers"])


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (x509.UniformResourceIdentifier("spiffe://b/x, DNS:admin.example.org"), r'URI:"spiffe://b/x\u002c DNS:admin.example.org"'),
        (x509.RFC822Name('"a, URI:spiffe://admin"@b.example'), r'email:"\"a\u002c URI:spiffe://admin\"@b.example"'),
        (x509.DNSName("x,DNS:admin.example.org"), r'DNS:"x\u002cDNS:admin.example.org"'),
        (x509.UniformResourceIdentifier("spiffe://b/x"), "URI:spiffe://b/x"),
    ],
    ids=["URI", "email", "DNS", "harmless"],
)
async def test_a_name_of_a_client_is_not_taken_for_two(name: x509.GeneralName, shown: str) -> None:
    """It is quoted, as Node does."""
    names = x509.SubjectAlternativeName([name, x509.DNSName("last.example")])
    found = await told_of(pki.leaf("eve", issuer=pki.ca1(), extensions=[names]))
    assert found["x-client-cert-san"] == f"{shown}, DNS:last.example"


async def test_blanks_at_the_end_of_a_clients_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """They stay in the names, and the request does not fail."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "eve  ")])
    monkeypatch.setattr(pki, "_subject", lambda *_: subject)
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://b/x  ")])
    found = await told_of(pki.leaf("", issuer=pki.ca1(), extensions=[names]))
    assert found["x-client-cert-subject"] == r"CN=eve \20"
    assert found["x-client-cert-san"] == "URI:spiffe://b/x %20"


class TestWebSockets:
    """Messages in both directions."""

    def connect(self, server: Server, query: str = "", **options: Any) -> Any:
        """Connect through the proxy."""
        return connect(f"wss://localhost:{server.port}/ws{query}", ssl=client_context(), proxy=None, **options)

    async def test_messages(self) -> None:
        """Texts and bytes, and headers as of requests."""
        async with (
            proxying() as (server, _),
            self.connect(server, subprotocols=["chat"], additional_headers=FORGED, origin="https://a.example") as ws,
        ):
            headers = json.loads(await ws.recv())
            assert headers["x-forwarded-for"] == "127.0.0.1"
            assert headers["origin"] == "https://a.example"
            assert headers["host"] == f"localhost:{server.port}"
            assert "evil" not in str(headers)
            assert ws.subprotocol == "chat"
            assert ws.response.headers.get_all("set-cookie") == ["a=1", "b=2"]
            assert len(ws.response.headers.get_all("date")) == 1
            for message in ("text", b"bytes", "x" * 500_000):
                await ws.send(message)
                assert await ws.recv() == message

    async def test_the_backend_closes(self) -> None:
        """Its code and reason reach the client."""
        async with proxying() as (server, _), self.connect(server) as ws:
            await ws.recv()
            await ws.send("close")
            with pytest.raises(websockets.ConnectionClosed):
                await ws.recv()
            assert (ws.close_code, ws.close_reason) == (4001, "as asked")

    async def test_the_client_closes(self) -> None:
        """The backend notices."""
        async with proxying() as (server, backend):
            async with self.connect(server) as ws:
                await ws.recv()
            await backend.left.wait()

    async def test_the_backend_refuses(self) -> None:
        """With its status."""
        async with proxying() as (server, _):
            with pytest.raises(websockets.InvalidStatus) as caught:
                async with self.connect(server, "?refuse=1"):
                    pass
            assert caught.value.response.status_code == 403


HANDSHAKE = (
    b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@asynccontextmanager
async def answering(*responses: bytes) -> AsyncIterator[tuple[Server, list[bytes]]]:
    """Run a proxy of a backend that gives each request the next of these answers, and closes."""
    left = list(responses)
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):  # connected, and not asked
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(left.pop(0))
        writer.close()

    backend = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with serving(HTTPProxy("127.0.0.1", backend.sockets[0].getsockname()[1]), lifespan="on") as server:
        yield server, heads
    backend.close()


def host_of(head: bytes) -> bytes:
    """Return the host that the head of a request has, which must be one."""
    [host] = [line.partition(b": ")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"host:")]
    return host


@pytest.mark.parametrize("target", [b"rg://x/ws", b"rg:80", b"https://localhost/ws", b"https://localhost/ws?a=1"])
async def test_the_target_of_a_websocket_is_no_part_of_its_host(target: bytes) -> None:
    """The backend is asked for the host that was checked, or not at all."""
    async with answering(REFUSAL) as (server, heads):
        assert (await exchange(server, HANDSHAKE % (target, b"localhost"))).startswith(b"HTTP/1.1 4")
    assert [host_of(head) for head in heads] in ([], [b"localhost"])
    assert all(head.startswith(b"GET /ws") for head in heads)


@pytest.mark.parametrize("target", [b"/ws", b"/a;b/c;d?", b"//other.example/ws", b"/ws?a=?&b=;", b"/@%2f[]"])
@pytest.mark.parametrize("host", [b"localhost", b"LOCALHOST:80", b"localhost:8443", b"[::1]:80", b"127.0.0.1"])
async def test_the_target_and_host_of_a_websocket(target: bytes, host: bytes) -> None:
    """Both reach the backend as they came."""
    async with answering(REFUSAL) as (server, heads):
        assert (await exchange(server, HANDSHAKE % (target, host))).startswith(b"HTTP/1.1 403 ")
    assert host_of(heads[0]) == host
    assert heads[0].split()[1] == target.removesuffix(b"?")


async def ask(server: Server, path: str = "/", *, http2: bool, **options: Any) -> httpx.Response:
    """Ask once."""
    async with client(server, http2=http2, **options) as asking:
        return await asking.get(path)


@VERSIONS
@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"304 Not Modified\r\nContent-Length: 100", b""),
        (b"204 No Content\r\nContent-Length: 5", b""),
        (b"200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
        (b"200 OK\r\nContent-Length: 5, 5\r\nContent-Length: 5", b"hello"),
        (b"200 OK\r\nConnection: close", b"hello"),
        (b"103 Early Hints\r\n\r\nHTTP/1.1 599 Odd\r\nContent-Length: 5", b"hello"),
    ],
)
async def test_lengths_of_responses(head: bytes, body: bytes, http2: bool, caplog: pytest.LogCaptureFixture) -> None:  # noqa: FBT001
    """A length that is not the body's is not passed on."""
    async with answering(b"HTTP/1.1 " + head + b"\r\nETag: a\r\n\r\n" + body) as (server, _):
        answer = await ask(server, http2=http2)
    assert (answer.status_code, answer.headers["etag"]) == (599 if b"599" in head else int(head[:3]), "a")
    assert answer.content == (b"hello" if body else b"")
    assert answer.headers.get("content-length") in (None, "5" if body else None)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@VERSIONS
@pytest.mark.parametrize("head", [b"600 Odd", b"999 Odd", b"200 OK\r\nX-A: a\x01b", b"200 OK\r\nX-A: a\x7f"])
async def test_responses_that_cannot_be_passed_on(head: bytes, http2: bool, caplog: pytest.LogCaptureFixture) -> None:  # noqa: FBT001
    """502, and one line in the log."""
    async with answering(b"HTTP/1.1 " + head + b"\r\nContent-Length: 2\r\n\r\nok") as (server, _):
        assert (await ask(server, http2=http2)).status_code == 502
    [error] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert error.name == "tlsio.https"
    assert not error.exc_info


async def test_a_request_that_cannot_be_passed_on(caplog: pytest.LogCaptureFixture) -> None:
    """400: it is not the backend's failure."""
    length = b"0" * 30 + b"2"
    async with answering() as (server, heads):
        answer = await exchange(server, b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %b\r\n\r\nok" % length)
    assert split(answer)[::2] == (400, b"The request is not valid.\n")
    assert not heads
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_request_without_a_host() -> None:
    """HTTP/1.0 has them: the backend gets its own host, and not that the client had asked for it."""
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as (server, heads):
        assert (await exchange(server, b"GET /a HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    assert host_of(heads[0]).startswith(b"127.0.0.1:")
    assert b"forwarded-host" not in heads[0].lower()


@pytest.mark.parametrize("location", [b"https://login.example/", b"ws://other.example/", b"/login"])
async def test_a_backend_that_refuses_a_websocket(location: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The client gets its response, a redirect too; the log has no error of it."""
    response = (
        b"HTTP/1.1 302 Found\r\nLocation: %b\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: close, x-hop\r\nX-Hop: 1\r\n"
        b"Content-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nnot\r\n5\r\n here\r\n0\r\n\r\n"
    )
    with caplog.at_level(logging.WARNING):
        async with answering(response % location) as (server, heads):
            answer = await exchange(server, HANDSHAKE % (b"/ws", b"localhost"))
    assert len(heads) == 1
    status, headers, body = split(answer)
    assert (status, headers[b"location"], headers[b"content-type"], body) == (302, location, b"text/html", b"not here")
    assert answer.lower().count(b"set-cookie: ") == 2
    assert not {b"x-hop", b"transfer-encoding"} & headers.keys()
    assert headers[b"content-length"] == b"8"
    assert not caplog.records


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 103 Early\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"what?\r\n\r\n",
        b"",
    ],
)
async def test_a_backend_that_answers_a_websocket_wrongly(response: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """502, and one line in the log, whatever is in the path."""
    async with answering(response) as (server, _):
        answer = await exchange(server, HANDSHAKE % (b"/a%0Ab", b"localhost"))
    assert answer.startswith(b"HTTP/1.1 502 ")
    [error] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert r" failed at the WebSocket /a\x0ab: " in error
    assert "\n" not in error


REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.slow
def test_a_server_of_the_standard_library(tmp_path: Path) -> None:
    """Behind a command with workers; curl asks by HTTP/2."""
    write_files(tmp_path)
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "page.txt").write_text("the page\n")
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", "public"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as behind:
        try:
            assert behind.stdout is not None
            port = behind.stdout.readline().split()[5]
            with Served(tmp_path, "proxy", "PORT", "--to", f"127.0.0.1:{port}", "--http", "--workers", "2") as served:
                curl = ["curl", "-sS", "-4", "--cacert", "ca.pem", "--http2", "-w", "%{http_version} %{http_code}"]
                url = f"https://localhost:{served.port}"
                done = subprocess.run([*curl, f"{url}/page.txt"], cwd=tmp_path, capture_output=True, text=True, check=True)
                assert done.stdout == "the page\n2 200"
                done = subprocess.run(
                    [*curl, "-o", "/dev/null", f"{url}/missing"], cwd=tmp_path, capture_output=True, text=True, check=True
                )
                assert done.stdout == "2 404"
                behind.kill()
                behind.wait()
                refused = eventually(
                    lambda: subprocess.run([*curl, url], cwd=tmp_path, capture_output=True, text=True, check=True).stdout, "an answer"
                )
                assert refused.endswith("2 502")
        finally:
            behind.kill()


NODE = """
const server = require("http").createServer((request, response) => response.end(JSON.stringify(request.headers)));
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"""


@pytest.mark.slow
def test_node_behind_a_redirect_with_hsts_and_metrics(tmp_path: Path) -> None:
    """What `tlsio serve` has around an application, there is around a backend too."""
    name = "site.example.org"
    write_files(tmp_path, pki.leaf(name, issuer=pki.ca1(), names=[name, "localhost"]))
    with subprocess.Popen([find("node", "nodejs"), "-e", NODE], stdout=subprocess.PIPE, text=True) as behind:
        try:
            assert behind.stdout is not None
            target = f"127.0.0.1:{behind.stdout.readline().strip()}"
            with own_port() as plain, own_port() as metrics:
                more = ("--redirect", str(plain), "--metrics", f"127.0.0.1:{metrics}", "--hsts", "--host", "127.0.0.1")
                with Served(tmp_path, "proxy", "PORT", "--to", target, "--http", *more) as served:
                    ports = [part for port in (plain, served.port) for part in ("--resolve", f"{name}:{port}:127.0.0.1")]
                    command = ["curl", "-sS", "-L", "-i", "--cacert", "ca.pem", "--http2", *ports, f"http://{name}:{plain}/x"]
                    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60).stdout
                    assert f"location: https://{name}:{served.port}/x" in answer
                    assert "strict-transport-security: max-age=31536000" in answer
                    assert '"x-forwarded-proto":"https"' in answer
                    command = ["curl", "-sS", f"http://127.0.0.1:{metrics}/metrics"]
                    counted = 'tlsio_https_requests_total{method="GET",status="200",version="2"} 1.0'
                    eventually(lambda: counted in subprocess.run(command, capture_output=True, text=True, check=True).stdout, "the count")
        finally:
            behind.kill()
