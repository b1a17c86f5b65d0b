"""What is fetched over plain HTTP: the request as it is sent, and every answer that is no good."""

from __future__ import annotations

import asyncio

import pytest

from ports import own_port
from responder import ok, serve_http
from tlsio.connection.revocation.http_fetch import fetch


async def test_get() -> None:
    """By HTTP/1.0, so that the answer has no chunks."""
    async with serve_http(lambda _body: ok(b"content")) as server:
        assert await fetch(f"{server.url}/a?b=c", max_bytes=100) == b"content"
        [(head, body)] = server.requests
    assert head.startswith("GET /ocsp/a?b=c HTTP/1.0\r\n")
    assert f"Host: 127.0.0.1:{server.port}\r\n" in head
    assert body == b""


async def test_post() -> None:
    """With a body, its type and its size."""
    async with serve_http(ok) as server:
        assert await fetch(server.url, b"question", content_type="application/ocsp-request", max_bytes=100) == b"question"
    assert "Content-Type: application/ocsp-request\r\n" in server.requests[0][0]


@pytest.mark.parametrize("sized", [True, False], ids=["with length", "to the end"])
@pytest.mark.parametrize(("size", "fits"), [(100, True), (101, False)])
async def test_size(size: int, fits: bool, sized: bool) -> None:  # noqa: FBT001
    """What is longer is refused, whether it says so or not."""
    async with serve_http(lambda _body: ok(bytes(size), sized=sized)) as server:
        if fits:
            assert await fetch(server.url, max_bytes=100) == bytes(size)
        else:
            with pytest.raises(OSError, match="100"):
                await fetch(server.url, max_bytes=100)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "within its headers"),
        (b"HTTP/1.1 200 OK\r\n", "within its headers"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "5 of 9 bytes"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "404 Not Found"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", "302 Found"),
        (b"220 mail.example.com ESMTP\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 OK\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + bytes(20000), "the headers"),
    ],
)
async def test_useless_answer(answer: bytes, reason: str) -> None:
    """The error says what came instead."""
    async with serve_http(lambda _body: answer) as server:
        with pytest.raises(OSError, match=reason):
            await fetch(server.url, max_bytes=100)


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/", "ldap://127.0.0.1/", "http:///path", "/path", "http://127.0.0.1/a b", "http://127.0.0.1/\r\nX: y"]
)
async def test_address(url: str) -> None:
    """Nothing but plain HTTP, and nothing that would break a line of the request."""
    with pytest.raises(OSError, match="not an http: URL"):
        await fetch(url, max_bytes=100)


async def test_nobody_listens() -> None:
    """Python's own error."""
    with own_port() as port, pytest.raises(ConnectionRefusedError):
        await fetch(f"http://127.0.0.1:{port}/", max_bytes=100)


async def test_cancelled() -> None:
    """The connection is closed, which the server sees."""
    async with serve_http(lambda _body: None) as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await fetch(server.url, max_bytes=100)
