"""What the server answers in place of the application: over HTTP/2 the same as over HTTP/1.1."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import pki
from foreign_peers import find
from http2_wire import DATA, END_STREAM, GET, HEADERS, POST, Wire, hello, raw
from https_peer import exchange, serving, split
from tlsio.https.limits import Limits

if TYPE_CHECKING:
    from pathlib import Path

LIMITS: dict[str, Any] = {"max_body_bytes": 1000, "max_headers": 10, "max_header_bytes": 2000}
INITIAL_WINDOW_SIZE = 4
# The status, and headers besides those of any request.
REFUSED: dict[str, tuple[int, list[tuple[bytes, bytes]]]] = {
    "many headers": (431, [(b"x-a", b"1")] * 11),
    "a long header": (431, [(b"x-a", b"1" * 2001)]),
    "an error": (500, []),
}


async def fail(scope: Any, receive: Any, send: Any) -> None:
    """Raise an error."""
    raise ValueError(scope["type"])


@pytest.mark.parametrize("case", REFUSED)
async def test_the_body_is_that_of_http1(case: str) -> None:
    """A short text, with its type and length."""
    status, headers = REFUSED[case]
    wire = Wire(fail, Limits(**LIMITS)).start()
    await wire.turn(wire.head(1, [*GET, *headers]))
    [head] = wire.heads[1]
    async with serving(fail, limits=LIMITS) as server:
        lines = b"".join(b"%b: %b\r\n" % one for one in headers)
        answer = split(await exchange(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + lines + b"\r\n"))
    assert (wire.status(1), wire.bodies[1]) == (status, answer[2])
    assert answer[0] == status
    for name in (b"content-type", b"content-length"):
        assert dict(head)[name] == answer[1][name]
    assert (wire.resets, wire.left) == ({}, [])
    await wire.end()


async def read(scope: Any, receive: Any, send: Any) -> None:
    """Read the body."""
    while (await receive())["type"] != "http.disconnect":
        pass


@pytest.mark.parametrize("is_declared", [False, True])
async def test_a_body_that_is_too_large(is_declared: bool) -> None:  # noqa: FBT001
    """The same text, while the client still sends."""
    wire = Wire(read, Limits(max_body_bytes=1000)).start()
    length = [(b"content-length", b"2000")] if is_declared else []
    await wire.turn(wire.head(1, [*POST, *length], ends=False), raw(DATA, bytes(1001), stream=1))
    async with serving(read, limits={"max_body_bytes": 1000}) as server:
        answer = await exchange(server, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n\r\n" + bytes(1001))
    assert (wire.status(1), wire.bodies[1]) == split(answer)[::2]
    assert (wire.status(1), wire.resets) == (413, {})
    await wire.end()


@pytest.mark.parametrize("app", [fail, hello])
async def test_a_head_has_no_body(app: Any) -> None:
    """The answer to HEAD, by the server or after an error of the application."""
    wire = Wire(app, Limits(max_headers=10)).start()
    extra = [(b"x-a", b"1")] * 11 if app is hello else []
    await wire.turn(wire.head(1, [(b":method", b"HEAD"), *GET[1:], *extra]))
    assert (wire.status(1), [frame.type for frame in wire.frames]) == (431 if app is hello else 500, [HEADERS])
    assert "END_STREAM" in wire.frames[0].flags
    await wire.end()


async def test_a_window_without_room() -> None:
    """The answer has no text then, and nothing is kept."""
    wire = Wire(hello, Limits(max_headers=10)).start((INITIAL_WINDOW_SIZE, 0))
    await wire.turn(wire.head(1, [*GET, *[(b"x-a", b"1")] * 11]))
    assert (wire.status(1), wire.bodies) == (431, {})
    assert dict(wire.heads[1][0])[b"content-length"] == b"0"
    assert wire.left == []
    await wire.end()


@pytest.mark.parametrize(
    ("protocol", "status", "text"),
    [
        ([], 501, b"The method is not supported.\n"),
        ([(b":protocol", b"other")], 501, b"The protocol of the request is not supported.\n"),
        ([(b":protocol", b"websocket")], 400, b"This is not a valid handshake of a WebSocket.\n"),
    ],
    ids=["tunnel", "other protocol", "no version"],
)
async def test_connect(protocol: list[tuple[bytes, bytes]], status: int, text: bytes) -> None:
    """Each says why."""
    wire = Wire(hello).start()
    fields = [(b":method", b"CONNECT"), (b":authority", b"localhost"), *protocol]
    fields += [(b":scheme", b"https"), (b":path", b"/")] if protocol else []
    await wire.turn(wire.head(1, fields, ends=False))
    assert (wire.status(1), wire.bodies[1]) == (status, text)
    await wire.turn(raw(DATA, b"", stream=1, flags=END_STREAM))
    await wire.end()


@pytest.mark.slow
async def test_curl_prints_the_text(tmp_path: Path) -> None:
    """Of an upload that is too large."""
    (tmp_path / "body").write_bytes(bytes(300_000))
    (tmp_path / "ca.pem").write_bytes(pki.ca1().cert_pem)
    async with serving(limits={"max_body_bytes": 1000}) as server:
        command = [find("curl", "curl"), "-sS", "--http2", "--cacert", "ca.pem", "--data-binary", "@body", "-w", "%{http_code}"]
        process = await asyncio.create_subprocess_exec(
            *command, f"https://localhost:{server.port}/", cwd=tmp_path, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
    assert output == b"The body of the request is too large.\n413"
