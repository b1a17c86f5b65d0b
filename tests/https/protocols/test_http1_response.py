"""Responses of HTTP/1.1 that an application makes wrong: what follows them is still the next response."""

from __future__ import annotations

import re
from typing import Any

import pytest

from https_peer import exchange, serving

TWO = b"GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
LENGTH = (b"content-length", b"5")
CHUNKED = (b"transfer-encoding", b"chunked")
GZIP = (b"transfer-encoding", b"gzip")


def sends(status: Any, *headers: tuple[bytes, bytes], body: bytes = b"hello") -> Any:
    """Return an application that answers `/1` so, and `/2` in order."""

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        is_first = scope["path"] == "/1"
        start = (status, headers) if is_first else (200, [(b"content-length", b"6")])
        await send({"type": "http.response.start", "status": start[0], "headers": start[1]})
        await send({"type": "http.response.body", "body": body if is_first else b"second"})

    return app


async def answers(app: Any) -> tuple[bytes, list[bytes]]:
    """Return the first head, and what follows it."""
    async with serving(app) as server:
        head, _, rest = (await exchange(server, TWO)).partition(b"\r\n\r\n")
    return head, rest.split(b"\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("headers", [(), (LENGTH,), (CHUNKED,)], ids=["none", "length", "chunked"])
async def test_a_response_that_has_no_body(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    """The application's is left out: a client would take it for the next response."""
    head, rest = await answers(sends(status, *headers))
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert rest[0].startswith(b"HTTP/1.1 200")
    assert rest[1] == b"second"


@pytest.mark.parametrize(("status", "has_length"), [(204, False), (304, True)])
async def test_the_length_of_what_the_client_has(status: int, has_length: bool) -> None:  # noqa: FBT001
    """A 304 may tell it, a 204 may not."""
    head, rest = await answers(sends(status, LENGTH, body=b""))
    assert (b"content-length: 5" in head) is has_length
    assert rest[1] == b"second"


@pytest.mark.parametrize("status", [99, 100, 101, 103, 199, 600, 799, "200", None])
async def test_a_status_that_a_response_cannot_have(status: Any) -> None:
    """The client gets an error, not an interim response."""
    head, _ = await answers(sends(status))
    assert head.startswith(b"HTTP/1.1 500")


@pytest.mark.parametrize("status", [200, 299, 418, 599])
async def test_a_status_that_a_response_can_have(status: int) -> None:
    """Whether it has a name or not."""
    head, _ = await answers(sends(status, LENGTH))
    assert head.startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(
    "headers",
    [
        (LENGTH, (b"Content-Length", b"50")),
        ((b"content-length", b"+5"),),
        ((b"content-length", b"5_0"),),
        ((b"content-length", b"5, 5"),),
        ((b"content-length", b""),),
        ((b"x", b"a\r\nset-cookie: b=c"),),
        ((b"x", b"a\0"),),
        ((b"x y", b"a"),),
        ((b"", b"a"),),
        ((b"x:", b"a"),),
    ],
)
async def test_headers_that_cannot_be_sent(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    """The client gets an error, with nothing of them."""
    head, _ = await answers(sends(200, *headers))
    assert head.startswith(b"HTTP/1.1 500")
    assert b"cookie" not in head


@pytest.mark.parametrize("headers", [(LENGTH, CHUNKED), (CHUNKED, LENGTH), (LENGTH, LENGTH), (LENGTH, GZIP)])
async def test_the_server_alone_frames_a_body(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    """Two ways to read a length are two responses."""
    head, rest = await answers(sends(200, *headers))
    assert re.findall(rb"(?i)content-length: \d+|transfer-encoding: \w+", head) == [b"content-length: 5"]
    assert rest[0].startswith(b"helloHTTP/1.1 200")


async def test_headers_of_the_server_are_replaced() -> None:
    """A response has one date, such as that of a backend."""
    head, _ = await answers(sends(200, (b"Date", b"Mon, 01 Jan 2024 00:00:00 GMT"), LENGTH))
    assert re.findall(rb"(?i)date: .*", head) == [b"date: Mon, 01 Jan 2024 00:00:00 GMT\r"]
