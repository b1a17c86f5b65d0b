"""A client of HTTP/2 that sends any frame, in memory: the server's protocol has a transport that only collects.

Everything happens in the test's own turns of the loop, so a test says exactly what arrives together and what comes after it.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import uvicorn
from hpack import Decoder, Encoder
from hyperframe.frame import Frame

from tlsio.https.limits import Limits
from tlsio.https.protocols.connection import Connection
from tlsio.https.protocols.http2.protocol import Http2Protocol
from tlsio.https.protocols.service import Service

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITIZED = 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, _, STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = range(9)
COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(9, 12)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
TURNS = 12  # of the loop, after which nothing moves by itself any more
GET = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"localhost")]
POST = [(b":method", b"POST"), *GET[1:]]
CHAT = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:], (b"sec-websocket-version", b"13")]


def raw(kind: int, payload: bytes = b"", *, stream: int = 0, flags: int = 0) -> bytes:
    """Return a frame, whatever is wrong with it."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def number(value: int) -> bytes:
    """Return the payload of RST_STREAM and WINDOW_UPDATE."""
    return value.to_bytes(4)


def settings(*pairs: tuple[int, int]) -> bytes:
    """Return a SETTINGS frame."""
    return raw(SETTINGS, b"".join(key.to_bytes(2) + value.to_bytes(4) for key, value in pairs))


class MemoryTransport(asyncio.Transport):
    """Collects what is written, and stops taking it when the test wants."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = bytearray()
        self.taken = 0  # bytes that the client has received at the last `drain`
        self.closed = self.aborted = self.lost = self.reading_paused = False
        self.room: int | None = None  # bytes after which it pauses
        self.paused = False

    def write(self, data: Any) -> None:
        """Collect data."""
        if self.lost:
            return
        assert not self.closed, "written after the end"
        self.written += data
        if self.room is not None and not self.paused:
            self.room -= len(data)
            if self.room < 0:
                self.paused = True
                self.protocol.pause_writing()

    def drain(self, room: int | None = None) -> None:
        """The client reads on."""
        self.taken = len(self.written)
        self.room = room
        if self.paused:
            self.paused = False
            self.protocol.resume_writing()

    def pause_reading(self) -> None:
        """Note that nothing may be received."""
        self.reading_paused = True

    def resume_reading(self) -> None:
        """Note that data may be received again."""
        self.reading_paused = False

    def is_closing(self) -> bool:
        """Whether the server has closed."""
        return self.closed

    def close(self) -> None:
        """Lose the connection at the next turn of the loop."""
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        """Lose the connection, and note why."""
        self.aborted = True
        self.close()


class Wire:
    """One connection: the server's protocol, and a client that is the test.

    Attributes:
        frames: What the server sent, parsed by hyperframe, without its first SETTINGS and WINDOW_UPDATE.
        calls: The scopes that the application was called with.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], limits: Limits | None = None, **config: Any) -> None:
        """Connect, and exchange settings."""
        made = uvicorn.Config(self._count(app), log_config=None, lifespan="off", interface="asgi3", **config)
        made.load()
        self.calls: list[Any] = []
        self.ended = 0
        self.service = Service(made, limits or Limits())
        here = SimpleNamespace(remote_address="127.0.0.1", remote_port=50000, local_address="127.0.0.1", local_port=443)
        connection: Any = Connection(self.service, here)  # type: ignore[arg-type]
        connection.tls = {}  # there is no TLS here
        connection.acknowledged = lambda: self.transport.taken
        self.protocol = Http2Protocol(connection)
        self.transport = MemoryTransport(self.protocol)
        self.frames: list[Any] = []
        self.encoder, self._decoder = Encoder(), Decoder()
        self._parsed = 0
        self._block = bytearray()
        self.heads: dict[int, list[list[tuple[bytes, bytes]]]] = {}
        self.bodies: dict[int, bytes] = {}
        self.protocol.connection_made(self.transport)

    def _count(self, app: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def counted(scope: Any, receive: Any, send: Any) -> None:
            self.calls.append(scope)
            try:
                await app(scope, receive, send)
            finally:
                self.ended += 1

        return counted

    def start(self, *pairs: tuple[int, int]) -> Wire:
        """Send the preface and settings, and forget what the server began with."""
        self.send(PREFACE, settings(*pairs), raw(SETTINGS, flags=ACK))
        self.read()
        self.frames.clear()
        return self

    def stop_clock(self) -> Wire:
        """Let no time pass for the budgets."""
        now = self.protocol.engine._clock()
        self.protocol.engine._clock = lambda: now
        return self

    async def until(self, condition: Callable[[], object]) -> None:
        """Let time pass until something holds."""
        while not condition():
            await asyncio.sleep(0.002)
            self.read()

    def head(self, stream: int, fields: Iterable[tuple[bytes, bytes]] = GET, *, ends: bool = True, flags: int = END_HEADERS) -> bytes:
        """Return a HEADERS frame."""
        return raw(HEADERS, self.encoder.encode(list(fields)), stream=stream, flags=flags | (END_STREAM if ends else 0))

    def send(self, *frames: bytes) -> None:
        """Let the server receive frames, all at once."""
        self.protocol.data_received(b"".join(frames))

    async def turn(self, *frames: bytes) -> list[Any]:
        """Send frames, let everything happen that can, and return all that the server has sent."""
        if frames:
            self.send(*frames)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        self.read()
        return self.frames

    def read(self) -> None:
        """Parse what the server has sent."""
        view = memoryview(bytes(self.transport.written))
        while self._parsed < len(view):
            frame, length = Frame.parse_frame_header(view[self._parsed : self._parsed + 9])
            frame.parse_body(view[self._parsed + 9 : self._parsed + 9 + length])
            self._parsed += 9 + length
            self.frames.append(frame)
            if frame.type in {HEADERS, CONTINUATION}:
                self._block += frame.data
                if "END_HEADERS" in frame.flags:
                    fields = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(bytes(self._block), raw=True)]
                    self.heads.setdefault(frame.stream_id, []).append(fields)
                    self._block.clear()
            elif frame.type == DATA:
                self.bodies[frame.stream_id] = self.bodies.get(frame.stream_id, b"") + frame.data

    def status(self, stream: int) -> int:
        """Return the status of a stream's last response head."""
        return int(dict(self.heads[stream][-1])[b":status"])

    def of_kind(self, kind: int) -> list[Any]:
        """Return the frames of one type."""
        return [frame for frame in self.frames if frame.type == kind]

    @property
    def resets(self) -> dict[int, int]:
        """The streams that the server has reset, and its first code for each; h2 repeats it for frames that come later."""
        return {frame.stream_id: frame.error_code for frame in reversed(self.of_kind(RST_STREAM))}

    @property
    def goaway(self) -> int | None:
        """The code of the server's last GOAWAY."""
        found = self.of_kind(GOAWAY)
        return found[-1].error_code if found else None

    @property
    def left(self) -> list[Any]:
        """What is left of streams: tasks, and places where the protocol keeps them. Those that linger are open at the client, too."""
        protocol = self.protocol
        kept = (protocol._streams, protocol._running, protocol._waiting_for_room, protocol._window_opened, protocol._waiting_for_body)
        return [one for some in (*kept, self.service.state.tasks) for one in some]

    @property
    def is_window_returned(self) -> bool:
        """Whether the client may send as much as at the start, as soon as enough has come together for a WINDOW_UPDATE."""
        window = self.protocol.engine._h2._inbound_flow_control_window_manager
        return bool(window.current_window_size + window._bytes_processed == window.max_window_size)

    async def end(self) -> None:
        """Lose the connection; each application ends."""
        self.transport.lost = True
        self.transport.close()
        for _ in range(20):  # applications that give up the loop between their parts
            await self.turn()
            if not self.left:
                break
        assert self.ended == len(self.calls)
        assert not self.left


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Answer at once."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the request's body, part by part."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
        await send({"type": "http.response.body", "body": message["body"], "more_body": more})


async def wait(scope: Any, receive: Any, send: Any) -> None:
    """Answer nothing until the client goes."""
    while (await receive())["type"] != "http.disconnect":
        pass
