"""Random clients of HTTP/2 that keep the rules, and frames that do not.

`test_mixes`: requests whose bodies go both ways, resets, windows that open and shrink, pauses of the transport, early answers and
trailers, cut at any byte. The oracle: what comes out is what went in, each application ends, no stream, task or window is left, the
client's windows were never exceeded, and when nothing moves the server is silent.

`test_mutated_frames`: valid traffic with bytes and frames changed. The oracle: no exception, the engine's verdict alone ends the
connection, with a GOAWAY, and each application ends.

`SEED=17 pytest tests/https/protocols/http2/test_search.py` runs one seed again; `FIRST=` and `MANY=` run others, as in `tests/search`.
"""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from http2_wire import (
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    NO_ERROR,
    PADDED,
    PING,
    PRIORITY,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    Wire,
    number,
    raw,
    settings,
)
from tlsio.https.limits import Limits
from tlsio.https.protocols.http2.engine import STREAM_WINDOW

_PLAYS = 160
ONE = os.environ.get("SEED")
FIRST = int(os.environ.get("FIRST", "0"))
MANY = int(os.environ.get("MANY", "2000")) // _PLAYS  # seeds; each of them is as much work as so many of the other plays
SEEDS = [int(ONE)] if ONE else range(FIRST, FIRST + MANY)
STEPS = 150
MOST = 2**31 - 1


def pattern(count: int) -> bytes:
    """Return bytes at whose order a fault is seen."""
    return bytes(index % 251 for index in range(count))


async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: C901 - one branch for each kind of request
    """Do what the path says: /echo, /count (answers with the length), /early, /sized/BYTES/PARTS."""
    chance = random.Random(scope["raw_path"])  # noqa: S311
    kind, *numbers = scope["path"].removeprefix("/").split("/")[1:]
    has_trailers = chance.random() < 0.3

    async def pause() -> None:
        for _ in range(chance.choice((0, 0, 1, 5))):
            await asyncio.sleep(0)

    async def start(status: int = 200) -> None:
        if chance.random() < 0.2:
            await send({"type": "http.response.early_hint", "links": [b"</a>"]})
        await pause()
        await send({"type": "http.response.start", "status": status, "headers": [], "trailers": has_trailers})

    async def part(data: bytes, *, more: bool) -> None:
        await pause()
        await send({"type": "http.response.body", "body": data, "more_body": more})

    if kind == "echo":
        await start()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            more = message["more_body"]
            await part(message["body"], more=more)
    elif kind == "count":
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size, more = size + len(message["body"]), message["more_body"]
            await pause()
        await start()
        await part(b"%d" % size, more=False)
    elif kind == "early":
        await start(403)
        await part(b"early", more=False)
    else:
        size, parts = int(numbers[0]), int(numbers[1])
        await start()
        data = pattern(size)
        step = size // parts + 1
        for begin in range(0, size, step):
            await part(data[begin : begin + step], more=True)
        await part(b"", more=False)
    if has_trailers:
        await send({"type": "http.response.trailers", "headers": [(b"a", b"b")]})


@dataclass
class Request:
    """One stream of the client."""

    stream: int
    kind: str
    expected: bytes | None
    unsent: bytes
    window: int
    has_trailers: bool
    has_ended: bool = False
    is_reset: bool = False
    got: bytearray = field(default_factory=bytearray)
    server_ended: bool = False
    room: int = STREAM_WINDOW  # for our data


class Client:
    """Makes random, valid traffic."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311
        self.initial = self.chance.choice((0, 10, 1000, 65535, 2**20))
        self.wire = Wire(app, Limits(max_streams=20))
        self.out = bytearray()
        self.requests: dict[int, Request] = {}
        self.window = 65535  # for the server's data
        self.room = 2**20  # for ours
        self.next_stream = 1
        self.frames_read = 0
        self.wire.start((4, self.initial))

    def step(self) -> None:
        """Do one thing."""
        actions = (
            self.open,
            self.open,
            self.body,
            self.body,
            self.body,
            self.widen,
            self.widen,
            self.reset,
            self.settings,
            self.ping,
            self.pause,
        )
        self.chance.choice(actions)()

    def open(self) -> None:
        """Begin a request."""
        alive = [one for one in self.requests.values() if not (one.is_reset or (one.server_ended and one.has_ended))]
        if len(alive) >= 20:
            return
        stream = self.next_stream
        self.next_stream += self.chance.choice((2, 2, 2, 8))
        kind = self.chance.choice(("echo", "echo", "count", "early", "sized"))
        size = self.chance.choice((0, 1, 100, 5000, 70_000, 300_000))
        body = pattern(size) if kind != "sized" else b""
        path, expected = f"/{stream}/{kind}", {"echo": body, "count": b"%d" % size, "early": b"early"}.get(kind)
        if kind == "sized":
            path, expected = f"{path}/{size}/{self.chance.choice((1, 3, 50))}", pattern(size)
        fields = [(b":method", b"POST"), *GET[1:2], (b":path", path.encode()), GET[3]]
        if self.chance.random() < 0.5:
            fields.append((b"content-length", b"%d" % len(body)))
        if self.chance.random() < 0.2:
            fields.append((b"large", bytes([97 + stream % 26]) * 3000))
        ends = not body and self.chance.random() < 0.7
        head = self.wire.head(stream, fields, ends=ends, flags=0)
        cut = self.chance.randrange(9, len(head))
        flags = head[4]
        self.out += raw(1, head[9:cut], stream=stream, flags=flags)
        self.out += raw(CONTINUATION, head[cut:], stream=stream, flags=END_HEADERS)
        has_trailers = not ends and self.chance.random() < 0.2
        self.requests[stream] = Request(stream, kind, expected, body, self.initial, has_trailers, has_ended=ends)

    def body(self) -> None:
        """Send a part of some body."""
        some = [one for one in self.requests.values() if not (one.has_ended or one.is_reset)]
        if some:
            self.send_body(self.chance.choice(some), self.chance.choice((1, 50, 5000, 16384)))

    def send_body(self, request: Request, size: int) -> None:
        """Send a part of a body, as the server's windows allow."""
        padding = self.chance.choice((0, 0, 0, 3, 255))
        overhead = padding + 1 if padding else 0
        count = min(size, len(request.unsent), request.room - overhead, self.room - overhead, 16384 - overhead)
        if count < 0 or (count == 0 and request.unsent):
            return
        part, request.unsent = request.unsent[:count], request.unsent[count:]
        ends = not request.unsent and not request.has_trailers
        payload = bytes([padding]) + part + bytes(padding) if padding else part
        request.room -= len(payload)
        self.room -= len(payload)
        if payload or ends or not request.has_trailers:
            self.out += raw(DATA, payload, stream=request.stream, flags=(PADDED if padding else 0) | (END_STREAM if ends else 0))
        if not request.unsent and request.has_trailers:
            self.out += self.wire.head(request.stream, [(b"a", b"b")])
        request.has_ended = not request.unsent

    def widen(self) -> None:
        """Open a window."""
        amount = self.chance.choice((1, 100, 10_000, 100_000))
        some = [one for one in self.requests.values() if not (one.is_reset or one.server_ended)]
        if some and self.chance.random() < 0.6:
            request = self.chance.choice(some)
            if request.window + amount <= MOST:
                request.window += amount
                self.out += raw(WINDOW_UPDATE, number(amount), stream=request.stream)
        elif self.window + amount <= MOST:
            self.window += amount
            self.out += raw(WINDOW_UPDATE, number(amount))

    def reset(self) -> None:
        """Give a request up."""
        some = [one for one in self.requests.values() if not (one.is_reset or (one.server_ended and one.has_ended))]
        if some and self.chance.random() < 0.3:
            request = self.chance.choice(some)
            request.is_reset = True
            self.out += raw(RST_STREAM, number(CANCEL), stream=request.stream)

    def settings(self) -> None:
        """Change the windows of all streams, and what the server may send."""
        if self.chance.random() < 0.3:
            initial = self.chance.choice((0, 10, 1000, 65535, 100_000))
            for request in self.requests.values():
                request.window += initial - self.initial
            self.initial = initial
            self.out += settings((4, initial), (1, self.chance.choice((0, 100, 4096, 2**20))), (5, self.chance.choice((16384, 50_000))))

    def ping(self) -> None:
        """Send something that has no effect."""
        self.out += self.chance.choice((raw(PING, bytes(8)), raw(0xFA, b"a"), raw(PRIORITY, bytes(5), stream=self.next_stream)))

    def pause(self) -> None:
        """Stop reading, or read on."""
        transport = self.wire.transport
        if transport.paused:
            transport.drain(self.chance.choice((None, 100, 100_000)))
        elif self.chance.random() < 0.3:
            transport.room = self.chance.choice((0, 10, 10_000))

    async def move(self) -> None:
        """Send what has come together, in random pieces, and read."""
        data, self.out = bytes(self.out), bytearray()
        start = 0
        while start < len(data):
            size = self.chance.choice((1, 5, 100, 20_000, 200_000))
            while self.wire.transport.reading_paused:
                self.wire.transport.drain(self.chance.choice((None, 1000, 100_000)))
                await asyncio.sleep(0)
            self.wire.send(data[start : start + size])
            start += size
            for _ in range(self.chance.choice((0, 0, 1, 3))):
                await asyncio.sleep(0)
        self.wire.read()
        self.look()

    def look(self) -> None:
        """Judge what the server sent."""
        for frame in self.wire.frames[self.frames_read :]:
            request = self.requests.get(frame.stream_id)
            if frame.type == DATA:
                assert request is not None
                assert not request.server_ended
                request.window -= len(frame.data)
                self.window -= len(frame.data)
                assert self.window >= 0
                # A window that shrank while the data was on its way may be below zero, but was not made use of.
                request.got += frame.data
            elif frame.type == WINDOW_UPDATE:
                if request is None:
                    self.room += frame.window_increment
                else:
                    request.room += frame.window_increment
            elif frame.type == RST_STREAM:
                assert request is not None
                # An answer came early; data after our own reset; or an application that we reset still runs.
                assert frame.error_code in {NO_ERROR, STREAM_CLOSED, REFUSED_STREAM}
                if frame.error_code == REFUSED_STREAM:
                    request.is_reset = True
                assert request.is_reset or request.kind in {"early", "sized"}
                request.has_ended = True
            elif frame.type == SETTINGS:
                assert "ACK" in frame.flags
            else:
                assert frame.type in {1, CONTINUATION, PING}
            if frame.type in {DATA, 1} and "END_STREAM" in frame.flags:
                assert request is not None
                request.server_ended = True
        self.frames_read = len(self.wire.frames)

    async def finish(self) -> None:
        """Open everything, send everything, and wait until nothing moves."""
        for _ in range(2000):
            self.wire.transport.drain()
            if self.window < 2**20:
                self.out += raw(WINDOW_UPDATE, number(2**20))
                self.window += 2**20
            for request in self.requests.values():
                if not (request.is_reset or request.server_ended) and request.window < 2**19:
                    self.out += raw(WINDOW_UPDATE, number(2**20), stream=request.stream)
                    request.window += 2**20
                if not (request.has_ended or request.is_reset):
                    self.send_body(request, 16384)
            quiet = not self.out
            await self.move()
            await self.wire.turn()
            self.look()
            if quiet and not self.wire.left:
                return
        raise AssertionError(f"still moving: {self.wire.left}")


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
async def test_mixes(seed: int) -> None:
    """What comes out is what went in, and nothing is left."""
    client = Client(seed)
    for _ in range(STEPS):
        for _ in range(client.chance.choice((1, 1, 5))):
            client.step()
        await client.move()
    await client.finish()
    wire = client.wire
    for request in client.requests.values():
        if not request.is_reset:
            assert request.server_ended, request.kind
            assert bytes(request.got) == request.expected, request.kind
    assert (wire.goaway, wire.left) == (None, [])
    assert wire.is_window_returned
    assert wire.ended == len(wire.calls)
    sent = len(wire.transport.written)
    await wire.turn()
    assert len(wire.transport.written) == sent
    await wire.end()


def mutate(frames: list[bytes], chance: random.Random) -> bytes:  # noqa: C901 - one branch for each change
    """Change frames: bytes, lengths, types, flags, streams; repeat, drop, swap and cut them."""
    frames = list(frames)
    for _ in range(chance.choice((1, 1, 2, 5))):
        index = chance.randrange(len(frames))
        data = bytearray(frames[index])
        action = chance.randrange(9)
        if action == 0:
            data[chance.randrange(len(data))] = chance.randrange(256)
        elif action == 1:
            data[3] = chance.randrange(12)
        elif action == 2:
            data[4] = chance.choice((0, 1, 4, 5, 8, 9, 0x20, 0x24, 0xFF))
        elif action == 3:
            data[5:9] = chance.choice((0, 1, 3, 4, 5, 2**31 - 1)).to_bytes(4)
        elif action == 4:
            data[:3] = chance.choice((0, 1, 4, 8, 16384, 16385, 2**24 - 1)).to_bytes(3)
        elif action == 5:
            frames.insert(index, bytes(data))
        elif action == 6:
            data = data[:9] + chance.randbytes(chance.choice((0, 1, 4, 5, 8, 100)))
            data[:3] = (len(data) - 9).to_bytes(3)
        elif action == 7:
            other = chance.randrange(len(frames))
            frames[index], frames[other] = frames[other], frames[index]
            continue
        else:
            del frames[index]
            if not frames:
                return b""
            continue
        frames[index] = bytes(data)
    return b"".join(frames)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
async def test_mutated_frames(seed: int) -> None:
    """No exception leaves the protocol, and whatever came, everything ends."""
    chance = random.Random(seed)  # noqa: S311
    for _ in range(40):
        wire = Wire(app).start()
        post = [(b":method", b"POST"), *GET[1:2], GET[3]]
        frames = [
            wire.head(1, [*post, (b":path", b"/1/echo")], ends=False),
            wire.head(3, [*post, (b":path", b"/3/sized/5000/3"), (b"content-length", b"0")]),
            raw(DATA, b"\x03abc\0\0\0", stream=1, flags=PADDED),
            settings((4, 100), (1, 0), (5, 20_000)),
            raw(WINDOW_UPDATE, number(1000), stream=3),
            raw(PING, bytes(8)),
            wire.head(5, [*post, (b":path", b"/5/count")], ends=False, flags=0)[:40],
            raw(CONTINUATION, b"", stream=5, flags=END_HEADERS),
            raw(DATA, b"abc", stream=1),
            raw(PRIORITY, number(1) + b"\x10", stream=7),
            wire.head(1, [(b"trailer", b"a")]),
            raw(RST_STREAM, number(CANCEL), stream=5),
            raw(WINDOW_UPDATE, number(100_000)),
            raw(7, bytes(8)),
        ]
        frames[6] = (len(frames[6]) - 9).to_bytes(3) + frames[6][3:]
        data = mutate(frames, chance)
        start = 0
        while start < len(data):
            size = chance.choice((1, 20, 1000))
            wire.send(data[start : start + size])
            start += size
            if chance.random() < 0.2:
                await asyncio.sleep(0)
        await wire.turn()
        if wire.transport.closed:
            assert wire.goaway is not None
        await wire.end()
