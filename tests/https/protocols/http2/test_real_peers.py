"""HTTP/2 with clients of others over TLS: curl, nghttp, h2load, hey and Node's http2; wrk by HTTP/1.1."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pki
from foreign_peers import find, find_node
from tlsio.https import Limits, Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("node_client.js")
LARGE = 3_000_000


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer by path."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0]})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"].upper()})
        return
    path = scope["path"]
    if path == "/hint":
        await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]})
    length = [(b"content-length", b"5")] if path == "/hello" else []
    await send({"type": "http.response.start", "status": 200, "headers": length, "trailers": path == "/trailers"})
    if path == "/echo":
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    elif path == "/large":
        for _ in range(3):
            await send({"type": "http.response.body", "body": bytes(LARGE // 3), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    else:
        await send({"type": "http.response.body", "body": b"hello"})
    if path == "/trailers":
        await send({"type": "http.response.trailers", "headers": [(b"checksum", b"123")]})


@asynccontextmanager
async def serving(limits: Limits | None = None) -> AsyncIterator[Server]:
    """Serve the application."""
    who = pki.localhost()
    server = Server(app, limits=limits, lifespan="off", cert=who.chain_pem, key=who.key_pem)
    await server.start(port=0)
    try:
        yield server
    finally:
        await server.stop()


async def run(*arguments: str) -> str:
    """Run a program to its end, and return what it printed."""
    process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a file with the root."""
    path = tmp_path_factory.mktemp("http2") / "ca.pem"
    path.write_bytes(pki.ca1().cert_pem)
    return str(path)


async def test_curl(ca: str, tmp_path: Path) -> None:
    """A page, an upload with Expect, and a large download."""
    body, got = tmp_path / "body", tmp_path / "got"
    body.write_bytes(bytes(range(250)) * 8000)
    async with serving() as server:
        curl = (find("curl", "curl"), "-sS", "--http2", "--cacert", ca)
        url = f"https://localhost:{server.port}"
        assert (await run(*curl, f"{url}/hello", "-w", " %{http_version} %{http_code}")) == "hello 2 200"
        assert (await run(*curl, "-I", f"{url}/hello")).startswith("HTTP/2 200")
        await run(*curl, f"{url}/echo", "--data-binary", f"@{body}", "-H", "Expect: 100-continue", "-o", str(got))
        assert got.read_bytes() == body.read_bytes()
        assert (await run(*curl, f"{url}/large", "-o", "/dev/null", "-w", "%{size_download}")) == str(LARGE)
        many = [f"{url}/hello?{index}" for index in range(20)]
        assert "hello" * 20 in await run(*curl, "-Z", *many)


async def test_refused_body(ca: str, tmp_path: Path) -> None:
    """`max_body_bytes`: curl and nghttp get the 413 although they still send."""
    body = tmp_path / "body"
    body.write_bytes(bytes(2_000_000))
    async with serving(Limits(max_body_bytes=100_000)) as server:
        url = f"https://localhost:{server.port}/hello"
        curl = (find("curl", "curl"), "-sS", "--http2", "--cacert", ca, "-w", "%{http_code}")
        assert await run(*curl, url, "--data-binary", f"@{body}") == "The body of the request is too large.\n413"
        assert (await run(*curl, url, "--data-binary", f"@{body}", "-H", "Expect: 100-continue")).endswith("\n413")
        assert ":status: 413" in await run(find("nghttp", "nghttp2-client"), "-nv", "-d", str(body), url)


async def test_nghttp() -> None:
    """Many streams of one connection, with padding, and a small window."""
    async with serving() as server:
        nghttp = (find("nghttp", "nghttp2-client"), "-nv", "--no-dep")
        output = await run(*nghttp, "-m", "5", "-b", "100", "-w", "14", "-W", "16", f"https://localhost:{server.port}/large")
        assert output.count(":status: 200") == 5
        assert "GOAWAY" not in re.sub(r"send GOAWAY.*", "", output)


async def test_h2load() -> None:
    """Thousands of requests: none fails."""
    async with serving() as server:
        output = await run(find("h2load", "nghttp2-client"), "-n", "3000", "-c", "10", "-m", "10", f"https://localhost:{server.port}/hello")
        assert "3000 succeeded, 0 failed, 0 errored" in output


@pytest.mark.parametrize("version", ["1.1", "2"])
async def test_hey(version: str) -> None:
    """A load by Go's client, in both versions."""
    async with serving() as server:
        command = [find("hey", "hey"), "-n", "400", "-c", "8", *(["-h2"] if version == "2" else [])]
        assert "[200]\t400 responses" in await run(*command, f"https://localhost:{server.port}/hello")


async def test_wrk() -> None:
    """A load by HTTP/1.1, kept alive."""
    async with serving() as server:
        output = await run(find("wrk", "wrk"), "-c", "8", "-t", "1", "-d", "1", f"https://localhost:{server.port}/hello")
    assert "Non-2xx" not in output
    assert "Socket errors" not in output
    found = re.search(r"(\d+) requests in", output)
    assert found is not None
    assert int(found[1]) > 8


async def test_node(ca: str) -> None:
    """Requests of all kinds and a WebSocket, at a time on one session."""
    async with serving() as server:
        found = json.loads(await run(find_node(), str(SCRIPT), f"https://localhost:{server.port}", ca))
    assert found["enableConnectProtocol"] is True
    assert (found["get"]["status"], found["get"]["size"]) == (200, 5)
    assert (found["head"]["status"], found["head"]["length"], found["head"]["size"]) == (200, "5", 0)
    assert (found["echo"]["size"], found["echo"]["same"]) == (LARGE, True)
    assert found["hint"]["hints"] == [[103, "</style.css>; rel=preload"]]
    assert found["trailers"]["trailers"] == {"checksum": "123"}
    assert (found["early"]["status"], found["early"]["code"]) == (200, 0)
    assert found["websocket"] == {"received": [[1, "HELLO"], [8, 4000]], "status": 200, "protocol": "chat", "ended": True, "code": 0}


async def test_stop_during_a_request(ca: str) -> None:
    """A request that runs when the server stops gets its whole response."""
    async with serving() as server:
        curl = (find("curl", "curl"), "-sS", "--http2", "--cacert", ca, "-o", "/dev/null", "-w", "%{size_download}", "--limit-rate", "10M")
        task = asyncio.ensure_future(run(*curl, f"https://localhost:{server.port}/large"))
        while not server._service or not server._service.state.tasks:  # noqa: ASYNC110 - only the server sees it
            await asyncio.sleep(0.002)
        await server.stop()
        assert await task == str(LARGE)
