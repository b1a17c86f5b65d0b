"""WebSockets over HTTP/1.1: what a client can make the server keep, and what an application can send."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from https_peer import connect, exchange, serving

if TYPE_CHECKING:
    import tlsio
    from tlsio.https import Server

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PING, CLOSE, BINARY, CONTINUATION = 0x89, 0x88, 0x02, 0x00


def frame(head: int, data: bytes = b"") -> bytes:
    """Return a client's frame of at most 125 bytes; its mask changes nothing."""
    return bytes([head, 0x80 | len(data)]) + bytes(4) + data


async def echo(_scope: Any, receive: Any, send: Any) -> None:
    """Accept, and send messages back."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"]})


async def opened(server: Server) -> tlsio.TLSSocket:
    """Return a connection whose WebSocket is open."""
    sock = await connect(server)
    await sock.send(HANDSHAKE)
    assert (await sock.read() or b"").startswith(b"HTTP/1.1 101")
    return sock


def protocol_of(server: Server) -> Any:
    """Return the server's side of the only connection."""
    assert server._service is not None
    (found,) = server._service.connections
    return found


@pytest.mark.slow
async def test_pings_of_a_client_that_does_not_read() -> None:
    """Nothing is read from it either, so the answers do not pile up; when it reads, all are there."""
    count = 300_000
    async with serving(echo) as server, await opened(server) as sock:
        transport = protocol_of(server).transport
        sock.pause()
        sending = asyncio.ensure_future(sock.send(frame(PING, b"x" * 100) * count))
        while transport.is_reading():  # noqa: ASYNC110 - the transport has no event
            await asyncio.sleep(0.01)
        assert transport.get_write_buffer_size() < 1 << 18
        received = 0
        while received < 102 * count:
            received += len(await sock.read() or b"")
        await sending
        await sock.send(frame(BINARY | 0x80, b"still here"))
        assert (await sock.read() or b"").endswith(b"still here")


@pytest.mark.parametrize("size", [0, 1, 125])
async def test_fragments_are_kept_in_one_buffer(size: int) -> None:
    """An object for each would be 40 times the message."""
    parts = frame(CONTINUATION, b"x" * size) * 5000
    async with serving(echo) as server, await opened(server) as sock:
        protocol = protocol_of(server)
        await sock.send(frame(BINARY, b"begin") + parts + frame(PING))
        assert await sock.read() == b"\x8a\0"
        assert [len(one) for one in protocol.frames] == [5 + size * 5000]
        await sock.send(frame(CONTINUATION | 0x80, b"end"))
        received = b""
        while not received.endswith(b"end"):
            received += await sock.read() or b""
        assert received.endswith(b"begin" + b"x" * size * 5000 + b"end")


@pytest.mark.parametrize("way", ["destroy", "end"])
async def test_a_connection_that_is_cut(way: str) -> None:
    """RFC 6455, section 7.1.5: without a Close, the code is 1006."""
    reasons: asyncio.Queue[Any] = asyncio.Queue()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        reasons.put_nowait(await receive())

    async with serving(app) as server:
        sock = await opened(server)
        getattr(sock, way)()
        assert await reasons.get() == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        sock.destroy()


async def test_a_close_has_the_clients_code() -> None:
    """Also if the connection ends at once."""
    reasons: asyncio.Queue[Any] = asyncio.Queue()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        reasons.put_nowait(await receive())

    async with serving(app) as server, await opened(server) as sock:
        await sock.send(frame(CLOSE, b"\x03\xe9bye"))
        assert await reasons.get() == {"type": "websocket.disconnect", "code": 1001, "reason": "bye"}


def accept(**more: Any) -> Any:
    """Return the message that accepts a WebSocket."""
    return {"type": "websocket.accept", **more}


def refuse(status: Any, *headers: tuple[bytes, bytes]) -> Any:
    """Return the message that begins a response in its place."""
    return {"type": "websocket.http.response.start", "status": status, "headers": headers}


def answers(*messages: Any) -> Any:
    """Return an application that sends these."""

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for one in messages:
            await send(one)

    return app


BODY = {"type": "websocket.http.response.body", "body": b"no"}


@pytest.mark.parametrize(
    "message",
    [
        accept(headers=[(b"x", b"a\r\nset-cookie: b=c")]),
        accept(headers=[(b"x\r\nset-cookie: b=c", b"a")]),
        accept(subprotocol="a\r\nset-cookie: b=c"),
        refuse(400, (b"x", b"a\r\nset-cookie: b=c")),
        refuse(400, (b"x\r\nset-cookie: b=c", b"a")),
        refuse(101),
        refuse(600),
    ],
)
async def test_what_cannot_be_sent(message: Any) -> None:
    """The client gets an error, with nothing of it."""
    async with serving(answers(message, BODY)) as server:
        answer = await exchange(server, HANDSHAKE)
    assert answer.startswith(b"HTTP/1.1 500")
    assert b"set-cookie" not in answer


@pytest.mark.parametrize("headers", [(), ((b"content-length", b"1"),), ((b"transfer-encoding", b"chunked"),)])
async def test_the_server_alone_frames_a_refusal(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    """Its body has one length."""
    async with serving(answers(refuse(404, *headers), BODY)) as server:
        head, _, body = (await exchange(server, HANDSHAKE)).partition(b"\r\n\r\n")
    assert head.lower().count(b"content-length: 2") == 1
    assert b"transfer-encoding" not in head
    assert body == b"no"


async def test_a_refusal_without_a_body() -> None:
    """ASGI: "Optional; if missing defaults to empty"."""
    async with serving(answers(refuse(404), {"type": "websocket.http.response.body"})) as server:
        answer = await exchange(server, HANDSHAKE)
    assert answer.startswith(b"HTTP/1.1 404")
    assert answer.endswith(b"\r\n\r\n")
