"""What a client can make the server do for little: each flood on both sides of its limit, and the work that was done until then."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from http2_wire import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    GET,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    PADDED,
    PING,
    POST,
    PREFACE,
    PRIORITY,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Wire,
    hello,
    number,
    raw,
    settings,
    wait,
)
from tlsio.https.limits import Limits
from tlsio.https.protocols.http2.engine import STREAM_WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 1000  # frames without effect, and resets, at once
BELOW, ABOVE = LIMIT - 50, LIMIT + 50

FRAMES: dict[str, bytes] = {
    "PING": raw(PING, bytes(8)),
    "acknowledged PING": raw(PING, bytes(8), flags=ACK),
    "SETTINGS": settings((3, 100)),
    "empty SETTINGS": settings(),
    "PRIORITY": raw(PRIORITY, bytes(5), stream=1),
    "PRIORITY on idle streams": raw(PRIORITY, bytes(5), stream=12345),
    "WINDOW_UPDATE of 1": raw(WINDOW_UPDATE, number(1)),
    "WINDOW_UPDATE of 1 on a stream": raw(WINDOW_UPDATE, number(1), stream=1),
    "empty DATA": raw(DATA, b"", stream=1),
    "DATA of padding": raw(DATA, b"\1\0", stream=1, flags=PADDED),
    "DATA on a stream that has ended": raw(DATA, b"a", stream=3),
    "RST_STREAM of a stream that has ended": raw(RST_STREAM, number(8), stream=3),
    "unknown frames": raw(0xFA),
    "GOAWAY": raw(GOAWAY, bytes(8)),
}


async def one_or_wait(scope: Any, receive: Any, send: Any) -> None:
    """Answer a GET; let a POST wait."""
    await (hello if scope["method"] == "GET" else wait)(scope, receive, send)


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("together", [True, False], ids=["together", "one by one"])
async def test_frames_without_effect(kind: str, *, together: bool) -> None:
    """A thousand at once are accepted, a hundred per second after that; the answers never exceed the frames."""
    wire = Wire(one_or_wait).start().stop_clock()
    await wire.turn(wire.head(1, POST, ends=False), wire.head(3))
    for flood in [FRAMES[kind] * BELOW] if together else [FRAMES[kind]] * BELOW:
        wire.send(flood)
    await wire.turn(wire.head(5))
    assert (wire.goaway, wire.status(5)) == (None, 200)
    for flood in [FRAMES[kind] * (ABOVE - BELOW)] if together else [FRAMES[kind]] * (ABOVE - BELOW):
        wire.send(flood)
    await wire.turn()
    assert wire.goaway == ENHANCE_YOUR_CALM
    assert wire.transport.closed
    assert len(wire.frames) <= LIMIT + 20
    await wire.end()


async def test_frames_with_effect_are_not_counted() -> None:
    """Small DATA, and WINDOW_UPDATE for what was sent, are what a client must send."""

    async def chat(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] == "http.request":
            await send({"type": "http.response.body", "body": bytes(1024), "more_body": True})

    wire = Wire(chat).start((4, 2**20)).stop_clock()
    await wire.turn(wire.head(1, POST, ends=False))
    for _ in range(LIMIT):
        wire.send(raw(DATA, b"a", stream=1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        wire.send(raw(WINDOW_UPDATE, number(1024)), raw(WINDOW_UPDATE, number(1024), stream=1))
    await wire.turn()
    assert wire.goaway is None
    assert len(wire.bodies[1]) == LIMIT * 1024
    await wire.end()


# CVE-2023-44487, and CVE-2025-8671: what makes the stream that was just opened be reset, by either side.
RESETS: dict[str, Callable[[Wire, int], bytes]] = {
    "RST_STREAM": lambda w, n: w.head(n) + raw(RST_STREAM, number(8), stream=n),
    "a window above 2^31-1": lambda w, n: w.head(n) + raw(WINDOW_UPDATE, number(2**31 - 1), stream=n),
    "DATA after the end": lambda w, n: w.head(n) + raw(DATA, b"a", stream=n),
    "HEADERS after the end": lambda w, n: w.head(n) + w.head(n, [(b"a", b"b")]),
    "a malformed path": lambda w, n: w.head(n, [*GET[:2], (b":path", b"a"), GET[3]]),
    "a length without a body": lambda w, n: w.head(n, [*GET, (b"content-length", b"1")]),
    "trailers that are too short": lambda w, n: w.head(n, [*POST, (b"content-length", b"1")], ends=False) + w.head(n, [(b"a", b"b")]),
}


@pytest.mark.parametrize("kind", RESETS)
@pytest.mark.parametrize("together", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["together", "one by one"])
async def test_streams_that_are_reset(kind: str, *, together: bool) -> None:
    """A thousand at once are accepted. Those that are reset together with their request do not reach the application at all."""
    wire = Wire(wait).start().stop_clock()
    for index in range(BELOW):
        wire.send(RESETS[kind](wire, 2 * index + 1))
        if not together:
            await wire.turn()
    await wire.turn()
    assert (wire.goaway, wire.left, len(wire.calls)) == (None, [], 0)
    for index in range(BELOW, ABOVE):
        wire.send(RESETS[kind](wire, 2 * index + 1))
    await wire.turn()
    assert wire.goaway == ENHANCE_YOUR_CALM
    assert len(wire.calls) == 0
    await wire.end()


async def test_reset_of_streams_whose_application_runs() -> None:
    """Applications that do not look for the client's end still count: only max_streams of them run at a time."""
    released = asyncio.Event()

    async def deaf(scope: Any, receive: Any, send: Any) -> None:
        await released.wait()

    wire = Wire(deaf, Limits(max_streams=10)).start().stop_clock()
    for index in range(100):
        await wire.turn(wire.head(2 * index + 1))
        await wire.turn(raw(RST_STREAM, number(8), stream=2 * index + 1))
    assert len(wire.calls) == 10
    assert set(wire.resets.values()) == {REFUSED_STREAM}
    released.set()
    await wire.turn()
    await wire.end()


async def test_streams_above_max_streams() -> None:
    """Each is refused; a thousand refusals at once end the connection."""
    wire = Wire(wait, Limits(max_streams=5)).start().stop_clock()
    await wire.turn(*(wire.head(2 * index + 1) for index in range(BELOW)))
    assert (wire.goaway, len(wire.calls), len(wire.resets)) == (None, 5, BELOW - 5)
    await wire.turn(*(wire.head(2 * index + 1) for index in range(BELOW, ABOVE)))
    assert (wire.goaway, len(wire.calls)) == (ENHANCE_YOUR_CALM, 5)
    await wire.end()


@pytest.mark.parametrize("size", [0, 1, 1000])
async def test_continuation(size: int) -> None:
    """CVE-2024-27316: a block that never ends is bounded by its frames and its bytes, and what it takes is not decoded."""
    wire = Wire(hello).start().stop_clock()
    await wire.turn(wire.head(1, flags=0), raw(CONTINUATION, b"", stream=1), raw(CONTINUATION, b"", stream=1, flags=END_HEADERS))
    assert wire.status(1) == 200
    wire.send(wire.head(3, flags=0))
    sent = 0
    while not wire.transport.closed:
        wire.send(raw(CONTINUATION, b"\x40\x01a" + bytes(size), stream=3))
        sent += 1
    await wire.turn()
    assert sent <= 80
    assert len(wire.calls) == 1
    await wire.end()


async def test_header_bomb() -> None:
    """One large entry in the table, referenced by one byte each time: the decoder stops at twice the limit."""
    wire = Wire(hello, Limits(max_header_bytes=4096)).start()
    large = wire.encoder.encode([*GET, (b"a", b"b" * 3000)])
    index = b"\xbe"  # the newest entry of the table
    await wire.turn(raw(HEADERS, large, stream=1, flags=5))
    assert wire.status(1) == 200
    await wire.turn(raw(HEADERS, wire.encoder.encode(GET) + index, stream=3, flags=5))
    assert wire.status(3) == 200
    await wire.turn(raw(HEADERS, wire.encoder.encode(GET) + 2 * index, stream=5, flags=5))
    assert wire.status(5) == 431
    await wire.turn(raw(HEADERS, wire.encoder.encode(GET) + 10000 * index, stream=7, flags=5))
    assert wire.goaway == ENHANCE_YOUR_CALM
    assert len(wire.calls) == 2
    await wire.end()


@pytest.mark.parametrize(("count", "status"), [(100, 200), (101, 431)])
async def test_number_of_headers(count: int, status: int) -> None:
    """`max_headers` counts what the application would get: `host`, and the cookies as one."""
    wire = Wire(hello, Limits(max_headers=100)).start()
    fields = [*GET, *((b"a%d" % index, b"b") for index in range(count - 2)), (b"cookie", b"a=1"), (b"cookie", b"b=2")]
    await wire.turn(wire.head(1, fields))
    assert wire.status(1) == status
    await wire.end()


async def test_number_of_trailers() -> None:
    """`max_headers` holds for trailers too."""
    wire = Wire(wait, Limits(max_headers=3)).start()
    await wire.turn(wire.head(1, POST, ends=False), wire.head(1, [(b"a%d" % index, b"b") for index in range(3)]))
    assert wire.resets == {}
    await wire.turn(wire.head(3, POST, ends=False), wire.head(3, [(b"a%d" % index, b"b") for index in range(4)]))
    assert wire.resets == {3: ENHANCE_YOUR_CALM}
    await wire.end()


async def test_settings_that_nobody_knows_are_not_kept() -> None:
    """The library would keep each of 65,536 settings, and each size that its table had."""
    wire = Wire(hello).start().stop_clock()
    for start in range(0x10, 0x10 + 800 * 50, 50):
        wire.send(settings(*((start + index, 1) for index in range(50)), (1, start)))
    engine = wire.protocol.engine
    assert len(engine._h2.remote_settings._settings) < 10
    assert len(engine._h2.encoder.table_size_changes) <= 2
    await wire.turn(settings((1, 2**32 - 1)), wire.head(1))
    assert engine._h2.encoder.header_table_size == 4096
    assert wire.status(1) == 200
    await wire.end()


# ---- bodies


@pytest.mark.parametrize(("size", "status"), [(1000, 200), (1001, 413)])
async def test_max_body_bytes_by_content_length(size: int, status: int) -> None:
    """A body that is announced as too long is refused before the application starts."""
    wire = Wire(hello, Limits(max_body_bytes=1000)).start()
    await wire.turn(wire.head(1, [*POST, (b"content-length", b"%d" % size)], ends=False))
    assert (wire.status(1), len(wire.calls)) == (status, int(status == 200))
    await wire.turn(raw(DATA, bytes(size), stream=1, flags=ACK))
    assert (wire.resets, wire.goaway, wire.is_window_returned) == ({}, None, True)
    await wire.end()


@pytest.mark.parametrize("size", [1000, 1001])
async def test_max_body_bytes_without_a_length(size: int) -> None:
    """The application gets `http.disconnect`, the client 413; within the limit the application gets its body."""
    seen: list[str] = []

    async def read(scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            seen.append(message["type"])
            more = message.get("more_body", False)
        await hello(scope, receive, send)

    wire = Wire(read, Limits(max_body_bytes=1000)).start()
    await wire.turn(wire.head(1, POST, ends=False), raw(DATA, bytes(500), stream=1))
    await wire.turn(raw(DATA, bytes(size - 500), stream=1))
    await wire.turn(raw(DATA, b"", stream=1, flags=ACK))
    if size == 1000:
        assert (wire.status(1), wire.resets) == (200, {})
    else:
        assert (wire.status(1), wire.resets, seen[-1]) == (413, {}, "http.disconnect")
    assert wire.is_window_returned
    await wire.end()


async def test_max_body_bytes_within_a_response() -> None:
    """A response that has begun can only be cut."""

    async def begin(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await wait(scope, receive, send)

    wire = Wire(begin, Limits(max_body_bytes=1000)).start()
    await wire.turn(wire.head(1, POST, ends=False))
    await wire.turn(raw(DATA, bytes(1001), stream=1))
    assert wire.resets == {1: ENHANCE_YOUR_CALM}
    assert wire.ended == 1
    await wire.end()


@pytest.mark.parametrize("size", [1, 16384])
async def test_body_that_is_not_read_stays_within_the_window(size: int) -> None:
    """What the application leaves unread is bounded by the stream's window, padding included."""

    async def deaf(scope: Any, receive: Any, send: Any) -> None:
        while not scope["state"]:
            message = await receive()
            scope["state"]["got"] = len(message["body"])
        await wait_for_end.wait()

    wait_for_end = asyncio.Event()
    wire = Wire(deaf).start()
    await wire.turn(wire.head(1, POST, ends=False), raw(DATA, b"a", stream=1))
    padding = b"" if size > 1 else bytes(200)
    frame = raw(DATA, bytes([len(padding)]) * bool(padding) + bytes(size) + padding, stream=1, flags=PADDED if padding else 0)
    counted = len(frame) - 9
    for _ in range(STREAM_WINDOW // counted - 1):
        wire.send(frame)
    assert wire.goaway is None
    assert len(wire.protocol._streams[1]._body) <= STREAM_WINDOW  # type: ignore[attr-defined]
    for _ in range(600):
        if size > 1 and not wire.transport.closed:
            wire.send(frame)
    await wire.turn()
    assert wire.goaway == (FLOW_CONTROL_ERROR if size > 1 else None)
    wait_for_end.set()
    await wire.end()


# ---- time


def quick(**limits: Any) -> Limits:
    """Return limits that a client without movement reaches at once."""
    return Limits(min_rate=10**6, rate_grace=0.02, **limits)


async def large(scope: Any, receive: Any, send: Any) -> None:
    """Answer with more than any window."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": bytes(1_000_000)})


async def test_client_that_opens_no_window() -> None:
    """Its response is reset; the connection, and a response that fits, are not."""
    wire = Wire(lambda scope, *rest: (large if scope["path"] == "/" else hello)(scope, *rest), quick()).start((4, 1000))
    await wire.turn(wire.head(1), wire.head(3, [*GET[:2], (b":path", b"/hello"), GET[3]]))
    await wire.until(lambda: wire.resets)
    assert (wire.resets, wire.bodies[3], wire.goaway) == ({1: ENHANCE_YOUR_CALM}, b"hello", None)
    assert len(wire.bodies[1]) == 1000
    await wire.turn()
    assert not wire.left
    await wire.end()


async def test_client_that_reads_nothing() -> None:
    """The transport has no room: the connection is aborted. Until then nothing more is read from the client."""
    wire = Wire(large, quick()).start((4, 2**20))
    wire.transport.room = 30_000
    await wire.turn(raw(WINDOW_UPDATE, number(2**20)), wire.head(1))
    assert wire.transport.reading_paused
    assert len(wire.transport.written) <= 2 * 65536
    await wire.until(lambda: wire.transport.aborted)
    await wire.end()


async def test_client_that_reads_slowly_gets_everything() -> None:
    """Each part that it takes lets the next one go; nothing is lost or sent twice."""
    wire = Wire(large).start((4, 2**20))
    wire.transport.room = 30_000
    await wire.turn(raw(WINDOW_UPDATE, number(2**20)), wire.head(1))
    turns = 0
    while len(wire.bodies.get(1, b"")) < 1_000_000:
        wire.transport.drain(30_000)
        await wire.turn()
        turns += 1
    assert turns > 10
    wire.transport.drain()
    assert not wire.transport.reading_paused
    await wire.end()


async def test_client_that_sends_no_body() -> None:
    """The request for which the application waits is reset."""
    wire = Wire(wait, quick()).start()
    await wire.turn(wire.head(1, POST, ends=False), wire.head(3))
    await wire.until(lambda: wire.resets)
    assert (wire.resets, wire.goaway, wire.ended) == ({1: ENHANCE_YOUR_CALM}, None, 1)
    await wire.end()


PARTS = {
    "nothing": b"",
    "half of the preface": PREFACE[:10],
    "the preface without settings": PREFACE + settings()[:5],
    "half of a header": PREFACE + settings() + raw(HEADERS, bytes(100), stream=1)[:5],
    "half of HEADERS": PREFACE + settings() + raw(HEADERS, bytes(100), stream=1)[:50],
    "headers that do not end": PREFACE + settings() + raw(HEADERS, b"\x82", stream=1),
}


@pytest.mark.parametrize("part", PARTS)
async def test_header_timeout(part: str) -> None:
    """What has begun must end in time."""
    wire = Wire(hello, Limits(header_timeout=0.02))
    if PARTS[part]:
        wire.send(PARTS[part])
    await wire.until(lambda: wire.transport.closed)
    assert wire.goaway == NO_ERROR
    await wire.end()


async def test_header_timeout_is_not_for_bodies() -> None:
    """An upload whose chunks always end within a frame is limited by min_rate alone."""
    wire = Wire(wait, Limits(header_timeout=0.01)).start()
    data = wire.head(1, POST, ends=False) + raw(DATA, bytes(1000), stream=1) * 20
    for start in range(0, len(data), 700):
        wire.send(data[start : start + 700])
        if start:
            assert wire.protocol.engine.owed == 0 or start + 700 < 100
    assert not wire.protocol._head_deadline.is_set
    await wire.end()


async def test_keep_alive_timeout() -> None:
    """A connection without requests ends; one whose request runs does not."""
    wire = Wire(wait, Limits(keep_alive_timeout=0.02)).start()
    await wire.turn(wire.head(1))
    assert not wire.protocol._idle_deadline.is_set
    await wire.turn(raw(RST_STREAM, number(8), stream=1))
    await wire.until(lambda: wire.transport.closed)
    assert wire.goaway == NO_ERROR
    await wire.end()


async def test_client_that_never_reads_settings_acks() -> None:
    """Answers wait in the transport up to its limit; from there on nothing is read that would need one."""
    wire = Wire(hello).start()
    wire.transport.room = 100
    await wire.turn(raw(PING, bytes(8)) * 100)
    assert wire.transport.reading_paused
    wire.transport.drain()
    assert not wire.transport.reading_paused
    assert len(wire.of_kind(SETTINGS)) == 0
    await wire.end()
