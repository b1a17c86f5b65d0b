"""What applications send by mistake, over both versions: the client gets whole bytes, or an end."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from array import array
from typing import Any

import pytest

import https_curl
from http2_wire import CHAT, INTERNAL_ERROR, POST, Wire
from https_curl import VERSIONS
from https_peer import exchange, serving

WIDE = array("I", [0x41424344] * 3)
BODIES = {
    "wide": (memoryview(WIDE), WIDE.tobytes()),
    "an array": (WIDE, WIDE.tobytes()),
    "two dimensions": (memoryview(bytes(6)).cast("B", (2, 3)), bytes(6)),
    "every second": (memoryview(b"abcdef")[::2], b"ace"),
    "a buffer": (bytearray(b"ab"), b"ab"),
    "none": (None, b""),
}
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def answering(body: Any, status: int = 200, *headers: tuple[bytes, bytes]) -> Any:
    """Return an application."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def telling(*messages: dict[str, Any]) -> Any:
    """Return an application for a WebSocket."""

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for message in messages:
            await send(message)

    return app


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", BODIES)
async def test_a_body_of_other_bytes(version: str, kind: str) -> None:
    """It is framed by its bytes, not by its items."""
    given, expected = BODIES[kind]
    async with https_curl.serving(answering(given)) as site:
        assert (await site.get(version=version)).body == expected


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", BODIES)
async def test_a_body_of_other_bytes_in_the_access_log(version: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """The log has its bytes, and takes nothing for an error that is none."""
    caplog.set_level(logging.INFO, "tlsio.access")
    given, expected = BODIES[kind]
    async with https_curl.serving(answering(given), access_log="json") as site:
        assert (await site.get(version=version)).body == expected
    assert [json.loads(record.getMessage())["sent"] for record in caplog.records] == [len(expected)]


@pytest.mark.parametrize("body", ["text", [1, 2], 5], ids=repr)
async def test_a_body_that_is_not_bytes(body: Any) -> None:
    """Over HTTP/2 it is refused before the stream is at its end, where nothing could be reset."""
    wire = Wire(answering(body)).start()
    await wire.turn(wire.head(1, POST))
    assert wire.status(1) == 500
    await wire.end()


async def test_a_later_part_that_is_not_bytes() -> None:
    """The stream is reset."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": "b"})

    wire = Wire(app).start()
    await wire.turn(wire.head(1))
    assert wire.resets == {1: INTERNAL_ERROR}
    await wire.end()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("status", "value"), [(600, b"a"), (999, b"a"), (199, b"a"), (200, b"a\x01"), (200, b"a\x7f"), (200, b"a\n")])
async def test_a_head_that_cannot_be_sent(version: str, status: int, value: bytes) -> None:
    """The client gets 500 over each version."""
    async with https_curl.serving(answering(b"", status, (b"x-a", value))) as site:
        assert (await site.get(version=version)).status == 500


ACCEPT = {"type": "websocket.accept", "headers": [(b"Content-Length", b"5"), (b"x-a", b"b")]}


async def test_a_message_of_other_bytes_and_a_length_over_http2() -> None:
    """RFC 9110, section 8.6: the answer to a CONNECT has none."""
    wire = Wire(telling(ACCEPT, {"type": "websocket.send", "bytes": memoryview(WIDE)})).start((8, 1))
    await wire.turn(wire.head(1, CHAT, ends=False))
    assert b"content-length" not in dict(wire.heads[1][0])
    assert dict(wire.heads[1][0])[b"x-a"] == b"b"
    assert wire.bodies[1].startswith(b"\x82\x0c" + WIDE.tobytes())
    wire.transport.abort()
    await wire.end()


async def test_a_message_of_other_bytes_and_a_length_over_http11() -> None:
    """The same of a 101."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await telling(ACCEPT, {"type": "websocket.send", "bytes": memoryview(WIDE)})(scope, receive, send)
        raise RuntimeError

    async with serving(app) as server:
        head, _, rest = (await exchange(server, HANDSHAKE)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert re.search(b"content-length", head, re.IGNORECASE) is None
    assert rest.startswith(b"\x82\x0c" + WIDE.tobytes())


@pytest.mark.parametrize(
    ("status", "length", "expected", "body"),
    [
        (403, b"50", 403, b"no"),
        (204, b"2", 204, b""),
        (101, b"2", 500, b"Internal Server Error"),
        ("403", b"2", 500, b"Internal Server Error"),
    ],
)
async def test_a_response_in_place_of_a_websocket(status: Any, length: bytes, expected: int, body: bytes) -> None:
    """Over HTTP/2 as over HTTP/1.1: without a wrong length, a body that has no place, or a status that is none."""
    start = {"type": "websocket.http.response.start", "status": status, "headers": [(b"content-length", length)]}
    wire = Wire(telling(start, {"type": "websocket.http.response.body", "body": b"no"})).start((8, 1))
    await wire.turn(wire.head(1, CHAT, ends=False))
    await asyncio.sleep(0)
    assert wire.status(1) == expected
    assert wire.bodies.get(1, b"") == body
    assert dict(wire.heads[1][0]).get(b"content-length") != length
    await wire.end()
