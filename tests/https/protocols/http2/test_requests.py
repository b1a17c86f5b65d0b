"""Requests and responses of HTTP/2 as ASGI applications see them, on a wire in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from http2_wire import (
    CONTINUATION,
    DATA,
    END_STREAM,
    GET,
    HEADERS,
    INTERNAL_ERROR,
    NO_ERROR,
    POST,
    RST_STREAM,
    WINDOW_UPDATE,
    Wire,
    echo,
    hello,
    number,
    raw,
    settings,
    wait,
)
from tlsio.https.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from _pytest.logging import LogCaptureFixture


def start(status: int = 200, *headers: tuple[bytes, bytes], **more: Any) -> dict[str, Any]:
    """Return the message that begins a response."""
    return {"type": "http.response.start", "status": status, "headers": list(headers), **more}


def body(data: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    """Return a part of a response's body."""
    return {"type": "http.response.body", "body": data, "more_body": more}


def saying(*messages: dict[str, Any]) -> Callable[..., Any]:
    """Return an application that sends messages."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


async def test_scope() -> None:
    """Everything that ASGI asks for; the authority is the first header, cookies are one."""
    wire = Wire(hello, root_path="/mount").start()
    fields = [
        *GET[:2],
        (b":path", b"/a%20b?c=%20d"),
        (b":authority", b"example.org:8443"),
        (b"cookie", b"a=1"),
        (b"accept", b"*/*"),
        (b"cookie", b"b=2"),
    ]
    await wire.turn(wire.head(1, fields))
    scope = wire.calls[0]
    assert (scope["type"], scope["http_version"], scope["method"], scope["scheme"]) == ("http", "2", "GET", "https")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/mount/a b", b"/mount/a%20b", b"c=%20d")
    assert scope["headers"] == [(b"host", b"example.org:8443"), (b"accept", b"*/*"), (b"cookie", b"a=1; b=2")]
    assert scope["extensions"].keys() == {"http.response.trailers", "http.response.early_hint", "tls"}
    assert (scope["client"], scope["server"]) == (("127.0.0.1", 50000), ("127.0.0.1", 443))
    await wire.end()


async def test_short_response_is_two_frames_in_one_write() -> None:
    """The head waits for the body, and the body carries the end."""
    wire = Wire(hello).start()
    frames = await wire.turn(wire.head(1))
    assert [(frame.type, "END_STREAM" in frame.flags) for frame in frames] == [(HEADERS, False), (DATA, True)]
    assert not wire.left
    await wire.end()


NO_BODY = {
    "HEAD": ([(b":method", b"HEAD"), *GET[1:]], 200),
    "204": (GET, 204),
    "304": (GET, 304),
    "empty": (GET, 200),
}


@pytest.mark.parametrize("case", NO_BODY)
async def test_response_without_a_body_ends_with_its_head(case: str) -> None:
    """What the application gives as a body is dropped where HTTP has none; content-length stays, except with 204."""
    fields, status = NO_BODY[case]
    data = b"" if case == "empty" else b"abc"
    wire = Wire(saying(start(status, (b"content-length", b"%d" % len(data))), body(data, more=True), body())).start()
    frames = await wire.turn(wire.head(1, fields))
    assert b"".join(frame.data for frame in frames if frame.type == DATA) == b""
    assert "END_STREAM" in frames[-1].flags
    assert dict(wire.heads[1][0]).get(b"content-length") == (None if case == "204" else b"%d" % len(data))
    await wire.end()


async def test_parts_are_sent_as_they_come() -> None:
    """Each part is a frame of its own, and the end an empty one."""
    wire = Wire(saying(start(), body(b"a", more=True), body(b"b", more=True), body())).start()
    await wire.turn(wire.head(1))
    assert [(frame.data, "END_STREAM" in frame.flags) for frame in wire.of_kind(DATA)] == [(b"a", False), (b"b", False), (b"", True)]
    await wire.end()


async def test_body_goes_both_ways() -> None:
    """An echo of parts, while the request is still being sent."""
    wire = Wire(echo).start()
    await wire.turn(wire.head(1, POST, ends=False))
    for part in (b"one", b"two", b"three"):
        await wire.turn(raw(DATA, part, stream=1))
        assert wire.bodies[1].endswith(part)
    await wire.turn(raw(DATA, b"", stream=1, flags=END_STREAM))
    assert "END_STREAM" in wire.frames[-1].flags
    assert wire.is_window_returned
    await wire.end()


async def test_trailers_of_a_request_end_its_body() -> None:
    """ASGI has no place for them; the body is complete."""
    wire = Wire(echo).start()
    await wire.turn(wire.head(1, [*POST, (b"content-length", b"3")], ends=False), raw(DATA, b"abc", stream=1), wire.head(1, [(b"a", b"b")]))
    assert (wire.bodies[1], wire.resets) == (b"abc", {})
    await wire.end()


async def test_trailers_of_a_response() -> None:
    """They end the stream, after a body or without one."""
    trailers = {"type": "http.response.trailers", "headers": [(b"Checksum", b"1")], "more_trailers": True}
    last = {"type": "http.response.trailers", "headers": [(b"status", b"2")]}
    for parts in ([body(b"abc")], [body()], [body(b"a", more=True), body(b"bc")]):
        wire = Wire(saying(start(trailers=True), *parts, trailers, last)).start()
        await wire.turn(wire.head(1))
        assert wire.heads[1][1] == [(b"checksum", b"1"), (b"status", b"2")]
        assert "END_STREAM" in wire.frames[-1].flags
        assert sum("END_STREAM" in frame.flags for frame in wire.frames) == 1
        await wire.end()


async def test_trailers_wait_for_the_body() -> None:
    """They are sent after the last byte, however the client opens its window."""
    last = {"type": "http.response.trailers", "headers": [(b"a", b"b")]}
    wire = Wire(saying(start(trailers=True), body(bytes(2500)), last)).start((4, 1000))
    await wire.turn(wire.head(1))
    assert len(wire.heads[1]) == 1
    await wire.turn(raw(WINDOW_UPDATE, number(1000), stream=1))
    await wire.turn(raw(WINDOW_UPDATE, number(1000), stream=1))
    assert (len(wire.bodies[1]), len(wire.heads[1])) == (2500, 2)
    await wire.end()


async def test_early_hints() -> None:
    """Any number of 103 before the response."""
    hint = {"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload", b"</a.js>; rel=preload"]}
    wire = Wire(saying(hint, hint, start(), body(b"a"))).start()
    await wire.turn(wire.head(1))
    assert [dict(head)[b":status"] for head in wire.heads[1]] == [b"103", b"103", b"200"]
    assert wire.heads[1][0][1:] == [(b"link", b"</style.css>; rel=preload"), (b"link", b"</a.js>; rel=preload")]
    await wire.end()


async def test_continue_is_sent_when_the_application_reads() -> None:
    """RFC 9110, section 10.1.1: not before, not when it answers at once, and not when the body is already here."""
    fields = [*POST, (b"expect", b"100-continue")]
    wire = Wire(echo).start()
    await wire.turn(wire.head(1, fields, ends=False))
    assert [dict(head)[b":status"] for head in wire.heads[1]] == [b"100"]
    await wire.turn(raw(DATA, b"a", stream=1, flags=END_STREAM))
    assert [dict(head)[b":status"] for head in wire.heads[1]] == [b"100", b"200"]
    await wire.turn(wire.head(3, fields, ends=False), raw(DATA, b"a", stream=3, flags=END_STREAM))
    assert [dict(head)[b":status"] for head in wire.heads[3]] == [b"200"]
    await wire.end()
    wire = Wire(hello).start()
    await wire.turn(wire.head(1, fields, ends=False))
    assert [dict(head)[b":status"] for head in wire.heads[1]] == [b"200"]
    await wire.end()


async def test_client_may_finish_an_upload_that_was_answered() -> None:
    """What it sends is dropped, and its windows are returned: it may send more than them."""
    wire = Wire(hello).start()
    await wire.turn(wire.head(1, POST, ends=False), raw(DATA, bytes(1000), stream=1))
    assert [frame.type for frame in wire.frames] == [HEADERS, DATA]
    for _ in range(100):
        await wire.turn(raw(DATA, bytes(16384), stream=1))
    await wire.turn(raw(DATA, b"", stream=1, flags=END_STREAM))
    assert (wire.resets, wire.goaway, wire.left, wire.is_window_returned) == ({}, None, [], True)
    assert not wire.protocol._lingering
    await wire.end()


async def test_uploads_that_were_answered_end_after_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 8.1: RST_STREAM with NO_ERROR; at once for the oldest one, when there are as many as `max_streams`."""
    monkeypatch.setattr("tlsio.https.protocols.http2.protocol._LINGER", 0.05)
    wire = Wire(hello, Limits(max_streams=2)).start()
    for stream in (1, 3, 5):
        await wire.turn(wire.head(stream, POST, ends=False))
    assert wire.resets == {1: NO_ERROR}
    await wire.until(lambda: len(wire.resets) == 3)
    assert set(wire.resets.values()) == {NO_ERROR}
    await wire.end()


async def test_headers_of_the_application() -> None:
    """Names in lower case, HTTP/1.1's own left out; the server's `date` gives way to the application's."""
    headers = [(b"Content-Type", b"text/plain "), (b"Connection", b"close"), (b"Transfer-Encoding", b"chunked"), (b"Keep-Alive", b"5")]
    wire = Wire(saying(start(200, *headers, (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b"), (b"Date", b"now")), body())).start()
    wire.service.state.default_headers = [(b"date", b"then"), (b"server", b"tlsio")]
    await wire.turn(wire.head(1))
    assert wire.heads[1][0] == [
        (b":status", b"200"),
        (b"server", b"tlsio"),
        (b"content-type", b"text/plain"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"date", b"now"),
    ]
    await wire.end()


async def test_headers_longer_than_a_frame() -> None:
    """They go on in CONTINUATION."""
    wire = Wire(saying(start(200, *((b"a%d" % index, bytes([33 + index]) * 9000) for index in range(5))), body())).start()
    await wire.turn(wire.head(1))
    assert len(wire.of_kind(CONTINUATION)) > 0
    assert len(wire.heads[1][0]) == 6
    await wire.end()


FAILURES: dict[str, list[Any]] = {
    "nothing at all": [],
    "an error at once": [KeyError("deliberate")],
    "an exit": [SystemExit(1)],
    "an error before the body": [start(), KeyError("deliberate")],
    "a head without a body": [start()],
    "a body without a head": [body(b"a")],
    "a status of text": [start("200")],  # type: ignore[arg-type]
    "an informational status": [start(102), body()],
    "a line break in a value": [start(200, (b"a", b"b\r\nc: d")), body()],
    "a space in a name": [start(200, (b"a b", b"c")), body()],
    "a pseudo-header": [start(200, (b":path", b"/")), body()],
    "a length that is none": [start(200, (b"content-length", b"-1")), body()],
    "two lengths": [start(200, (b"content-length", b"1"), (b"content-length", b"2")), body(b"a")],
    "a body that is too long": [start(200, (b"content-length", b"1")), body(b"ab")],
    "a body that is too short": [start(200, (b"content-length", b"2")), body(b"a")],
    "an unknown message": [{"type": "http.response.unknown"}],
}


@pytest.mark.parametrize("case", FAILURES)
async def test_error_of_the_application_before_its_response(case: str, caplog: LogCaptureFixture) -> None:
    """The client gets 500, the log the error, and the connection goes on."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for step in FAILURES[case]:
            if isinstance(step, BaseException):
                raise step
            await send(step)

    wire = Wire(app).start()
    await wire.turn(wire.head(1), wire.head(3))
    assert (wire.status(1), wire.status(3), wire.goaway, wire.left) == (500, 500, None, [])
    assert len(caplog.records) == 2
    await wire.end()


LATE_FAILURES: dict[str, list[Any]] = {
    "an error": [start(), body(b"a", more=True), KeyError("deliberate")],
    "the end": [start(), body(b"a", more=True)],
    "no trailers": [start(trailers=True), body(b"a")],
    "a body that is too long": [start(200, (b"content-length", b"1")), body(b"a", more=True), body(b"b")],
    "a second head": [start(), body(b"a", more=True), start()],
    "a late hint": [start(), body(b"a", more=True), {"type": "http.response.early_hint", "links": []}],
}


@pytest.mark.parametrize("case", LATE_FAILURES)
async def test_error_of_the_application_within_its_response(case: str, caplog: LogCaptureFixture) -> None:
    """A response that has begun is cut, so that the client sees that it is not whole."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for step in LATE_FAILURES[case]:
            if isinstance(step, Exception):
                raise step
            await send(step)

    wire = Wire(app).start()
    await wire.turn(wire.head(1))
    assert (wire.bodies[1], wire.resets, wire.left) == (b"a", {1: INTERNAL_ERROR}, [])
    assert len(caplog.records) == 1
    await wire.end()


async def test_error_after_the_response_is_only_logged(caplog: LogCaptureFixture) -> None:
    """The client has the whole response."""
    wire = Wire(saying(start(), body(b"a"), body(b"b"))).start()
    await wire.turn(wire.head(1))
    assert (wire.bodies[1], wire.resets, len(caplog.records)) == (b"a", {}, 1)
    await wire.end()


async def test_disconnect() -> None:
    """A reset, the end of the response and the end of the connection are `http.disconnect`; sending is without effect."""
    messages: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/answer":
            await hello(scope, receive, send)
        messages.append((await receive())["type"])
        messages.append((await receive())["type"])
        if scope["path"] != "/answer":
            await hello(scope, receive, send)

    wire = Wire(app).start()
    await wire.turn(wire.head(1), wire.head(3), wire.head(5, [*GET[:2], (b":path", b"/answer"), GET[3]]))
    assert messages == ["http.disconnect"] * 2
    await wire.turn(raw(RST_STREAM, number(8), stream=1))
    assert messages == ["http.disconnect"] * 4
    await wire.end()
    assert messages == ["http.disconnect"] * 6


async def test_two_tasks_that_receive() -> None:
    """Each wakes; neither waits for ever."""
    kinds: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def one() -> None:
            while True:
                message = await receive()
                kinds.append(message["type"])
                if message["type"] == "http.disconnect":
                    return

        await asyncio.gather(one(), one(), one())

    wire = Wire(app).start()
    await wire.turn(wire.head(1, POST, ends=False))
    await wire.turn(raw(DATA, b"a", stream=1, flags=END_STREAM))
    await wire.turn(raw(RST_STREAM, number(8), stream=1))
    assert sorted(kinds) == ["http.disconnect"] * 3 + ["http.request"]
    await wire.end()


async def test_cancelled_receive_loses_nothing() -> None:
    """An application that looks for the client with a timeout still gets the body."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(3):
            task = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        await echo(scope, receive, send)

    wire = Wire(app).start()
    await wire.turn(wire.head(1, POST, ends=False))
    await wire.turn(raw(DATA, b"abc", stream=1, flags=END_STREAM))
    assert wire.bodies[1] == b"abc"
    await wire.end()


async def test_two_tasks_that_send() -> None:
    """Their messages do not mix, whatever the window."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await asyncio.gather(*(send(body(letter * 3000, more=True)) for letter in (b"a", b"b", b"c")))
        await send(body())

    wire = Wire(app).start((4, 1000))
    await wire.turn(wire.head(1))
    for _ in range(8):
        await wire.turn(raw(WINDOW_UPDATE, number(1000), stream=1))
    assert wire.bodies[1] == b"a" * 3000 + b"b" * 3000 + b"c" * 3000
    await wire.end()


async def test_cancelled_send_keeps_the_order() -> None:
    """What was given to `send` is sent, although nobody waits for it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        task = asyncio.ensure_future(send(body(b"a" * 3000, more=True)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await send(body(b"b" * 3000))

    wire = Wire(app).start((4, 1000))
    await wire.turn(wire.head(1))
    for _ in range(5):
        await wire.turn(raw(WINDOW_UPDATE, number(1000), stream=1))
    assert wire.bodies[1] == b"a" * 3000 + b"b" * 3000
    await wire.end()


async def test_streams_share_the_connection_in_turn() -> None:
    """A window that opens for the connection serves the stream that has waited longest."""
    wire = Wire(saying(start(), body(bytes(200_000)))).start((4, 2**20))
    await wire.turn(wire.head(1), wire.head(3), wire.head(5))
    before = {stream: len(wire.bodies.get(stream, b"")) for stream in (1, 3, 5)}
    got: list[int] = []
    for _ in range(6):
        wire.frames.clear()
        await wire.turn(raw(WINDOW_UPDATE, number(1000)))
        got += [frame.stream_id for frame in wire.of_kind(DATA)]
    assert before[1] == 65535
    assert got == [1, 3, 5, 1, 3, 5]
    await wire.turn(raw(WINDOW_UPDATE, number(2**20)))
    assert [len(wire.bodies[stream]) for stream in (1, 3, 5)] == [200_000] * 3
    await wire.end()


async def test_window_that_shrinks_below_zero() -> None:
    """Section 6.9.2: the server must wait until it is positive again."""
    wire = Wire(saying(start(), body(bytes(3000)))).start((4, 1000))
    await wire.turn(wire.head(1))
    await wire.turn(settings((4, 100)))
    await wire.turn(raw(WINDOW_UPDATE, number(900), stream=1))
    assert len(wire.bodies[1]) == 1000
    await wire.turn(raw(WINDOW_UPDATE, number(50), stream=1))
    assert len(wire.bodies[1]) == 1050
    await wire.turn(settings((4, 10_000)))
    assert len(wire.bodies[1]) == 3000
    await wire.end()


async def test_large_frames_when_the_client_takes_them() -> None:
    """SETTINGS_MAX_FRAME_SIZE is the client's; without it 16,384 bytes are the most."""
    for pairs, most in (((), 16384), (((5, 2**24 - 1),), 65536)):
        wire = Wire(saying(start(), body(bytes(300_000)))).start((4, 2**20), *pairs)
        await wire.turn(raw(WINDOW_UPDATE, number(2**20)), wire.head(1))
        assert max(len(frame.data) for frame in wire.of_kind(DATA)) == most
        assert len(wire.bodies[1]) == 300_000
        await wire.end()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_kinds_of_body(kind: Any) -> None:
    """Applications may give any bytes-like body."""
    wire = Wire(saying(start(), body(kind(b"abc"), more=True), body(kind(bytes(100_000))))).start((4, 2**20))
    await wire.turn(raw(WINDOW_UPDATE, number(2**20)), wire.head(1))
    assert wire.bodies[1] == b"abc" + bytes(100_000)
    await wire.end()


async def test_connection_that_is_lost_ends_each_application() -> None:
    """Those that wait for a body, for room and for the client's end."""
    wire = Wire(lambda scope, *rest: (saying(start(), body(bytes(100_000))) if scope["method"] == "GET" else wait)(scope, *rest)).start()
    await wire.turn(wire.head(1), wire.head(3, POST, ends=False), wire.head(5, POST))
    assert len(wire.left) > 0
    await wire.end()
    assert wire.ended == 3
