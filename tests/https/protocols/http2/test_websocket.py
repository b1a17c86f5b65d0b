"""WebSockets over HTTP/2 (RFC 8441): the frames are those of the websockets library's client, on a wire in memory."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from http2_wire import CANCEL, CHAT, DATA, END_STREAM, ENHANCE_YOUR_CALM, GET, NO_ERROR, RST_STREAM, WINDOW_UPDATE, Wire, number, raw
from tlsio.https.limits import Limits
from tlsio.https.protocols.http2.engine import STREAM_WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from _pytest.logging import LogCaptureFixture


DEFLATE = partial(
    PerMessageDeflate,
    remote_no_context_takeover=False,
    local_no_context_takeover=False,
    remote_max_window_bits=12,
    local_max_window_bits=12,
)


class Socket:
    """One WebSocket of a client.

    Attributes:
        frames: What the server sent.
    """

    def __init__(self, wire: Wire, stream: int = 1) -> None:
        self.wire = wire
        self.stream = stream
        self.protocol = Protocol(Side.CLIENT, max_size=None)
        self.frames: list[Any] = []
        self._taken = 0

    async def open(self, *headers: tuple[bytes, bytes]) -> Socket:
        """Ask for a WebSocket."""
        await self.wire.turn(self.wire.head(self.stream, [*CHAT, *headers], ends=False))
        return self

    async def turn(self, *, ends: bool = False) -> list[Any]:
        """Send what the protocol has to send, and read what came."""
        data = b"".join(self.protocol.data_to_send())
        frames = [raw(DATA, data[start : start + 16384], stream=self.stream) for start in range(0, len(data), 16384)]
        if ends:
            frames.append(raw(DATA, b"", stream=self.stream, flags=END_STREAM))
        await self.wire.turn(*frames)
        body = self.wire.bodies.get(self.stream, b"")
        self.protocol.receive_data(body[self._taken :])
        self._taken = len(body)
        self.frames += self.protocol.events_received()
        return self.frames

    @property
    def has_ended(self) -> bool:
        """Whether the server has ended its direction."""
        return any("END_STREAM" in frame.flags for frame in self.wire.frames if frame.stream_id == self.stream and frame.type in {0, 1})


class Chat:
    """An application that echoes, and notes what it got."""

    def __init__(self, **accept: Any) -> None:
        self.got: list[Any] = []
        self.accept = accept

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Run."""
        self.got.append(await receive())
        await send({"type": "websocket.accept", **self.accept})
        while True:
            message = await receive()
            self.got.append(message)
            if message["type"] == "websocket.disconnect":
                return
            with suppress(OSError):  # the client has gone
                await send({**message, "type": "websocket.send"})


def disconnect(code: int, reason: str = "") -> dict[str, Any]:
    """Return the message that tells the application of the end."""
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


async def test_messages_both_ways() -> None:
    """Text and bytes, whole and in fragments, in order."""
    wire = Wire(Chat()).start()
    socket = await Socket(wire).open()
    assert wire.status(1) == 200
    socket.protocol.send_text("grüße".encode())
    socket.protocol.send_binary(b"\0\1")
    socket.protocol.send_text(b"frag", fin=False)
    socket.protocol.send_continuation(b"ment", fin=True)
    socket.protocol.send_binary(b"")
    await socket.turn()
    assert [(frame.opcode, frame.data) for frame in socket.frames] == [
        (Opcode.TEXT, "grüße".encode()),
        (Opcode.BINARY, b"\0\1"),
        (Opcode.TEXT, b"fragment"),
        (Opcode.BINARY, b""),
    ]
    await wire.end()


async def test_scope_and_head() -> None:
    """RFC 8441, section 5: no key, no accept; the application chooses the subprotocol."""
    wire = Wire(Chat(subprotocol="two", headers=[(b"X-A", b"b")])).start()
    await Socket(wire).open(
        (b"sec-websocket-protocol", b"one, two"), (b"sec-websocket-protocol", b"three"), (b"origin", b"https://localhost")
    )
    scope = wire.calls[0]
    assert (scope["type"], scope["scheme"], scope["http_version"], scope["path"]) == ("websocket", "wss", "2", "/")
    assert scope["subprotocols"] == ["one", "two", "three"]
    assert scope["extensions"].keys() == {"websocket.http.response", "tls"}
    assert "method" not in scope
    assert wire.heads[1][0] == [(b":status", b"200"), (b"x-a", b"b"), (b"sec-websocket-protocol", b"two")]
    await wire.end()


async def test_compression() -> None:
    """permessage-deflate, negotiated with uvicorn's parameters."""
    wire = Wire(Chat()).start()
    socket = await Socket(wire).open((b"sec-websocket-extensions", b"permessage-deflate; client_max_window_bits"))
    answer = dict(wire.heads[1][0])[b"sec-websocket-extensions"]
    assert answer == b"permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"
    socket.protocol.extensions = [DEFLATE()]
    socket.protocol.send_text(b"a" * 10_000)
    await socket.turn()
    assert socket.frames[0].data == b"a" * 10_000
    assert len(wire.bodies[1]) < 200
    await wire.end()


async def test_compression_can_be_off() -> None:
    """The setting of uvicorn holds."""
    wire = Wire(Chat(), ws_per_message_deflate=False).start()
    await Socket(wire).open((b"sec-websocket-extensions", b"permessage-deflate"))
    assert b"sec-websocket-extensions" not in dict(wire.heads[1][0])
    await wire.end()


REFUSED: dict[str, tuple[list[tuple[bytes, bytes]], int]] = {
    "no version": (CHAT[:-1], 400),
    "another version": ([*CHAT[:-1], (b"sec-websocket-version", b"8")], 400),
    "extensions that cannot be read": ([*CHAT, (b"sec-websocket-extensions", b"a; =")], 400),
    "another protocol": ([CHAT[0], (b":protocol", b"connect-udp"), *CHAT[2:]], 501),
    "a tunnel": ([(b":method", b"CONNECT"), (b":authority", b"localhost:443")], 501),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_request_that_cannot_be_upgraded(case: str) -> None:
    """The application does not see it."""
    fields, status = REFUSED[case]
    wire = Wire(Chat()).start()
    await wire.turn(wire.head(1, fields, ends=False))
    assert (wire.status(1), wire.resets, wire.calls) == (status, {}, [])
    await wire.end()


async def test_request_that_has_ended_is_no_websocket() -> None:
    """END_STREAM would be the end of the connection."""
    wire = Wire(Chat()).start()
    await wire.turn(wire.head(1, CHAT))
    assert (wire.status(1), wire.resets, wire.calls) == (400, {}, [])
    await wire.end()


def sending(*messages: dict[str, Any]) -> Callable[..., Any]:
    """Return an application that sends messages after `websocket.connect`, and then waits for the end."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        for message in messages:
            await send(message)
        if messages:
            assert (await receive())["type"] == "websocket.disconnect"

    return app


async def test_refusal_of_the_application() -> None:
    """403 without more, or a response of its own: the extension "WebSocket Denial Response"."""
    wire = Wire(sending({"type": "websocket.close"})).start()
    await Socket(wire).open()
    assert (wire.status(1), wire.resets, wire.left) == (403, {1: NO_ERROR}, [])
    await wire.end()
    response = {"type": "websocket.http.response.start", "status": 429, "headers": [(b"retry-after", b"5")]}
    parts = [
        {"type": "websocket.http.response.body", "body": b"late", "more_body": True},
        {"type": "websocket.http.response.body", "body": b"r"},
    ]
    wire = Wire(sending(response, *parts)).start()
    await Socket(wire).open()
    assert (wire.heads[1], wire.bodies[1]) == ([[(b":status", b"429"), (b"retry-after", b"5")]], b"later")
    assert (wire.resets, wire.left) == ({1: NO_ERROR}, [])
    await wire.end()


FAILURES: dict[str, tuple[list[dict[str, Any]], int]] = {
    "nothing": ([], 500),
    "a message before accept": ([{"type": "websocket.send", "text": "a"}], 500),
}


@pytest.mark.parametrize("case", FAILURES)
async def test_application_that_fails_before_it_accepts(case: str, caplog: LogCaptureFixture) -> None:
    """The client gets 500, the log the error."""
    messages, status = FAILURES[case]
    wire = Wire(sending(*messages)).start()
    await Socket(wire).open()
    assert (wire.status(1), wire.left, len(caplog.records)) == (status, [], 1)
    await wire.end()


async def test_application_that_fails_after_it_accepted(caplog: LogCaptureFixture) -> None:
    """The client gets Close with 1011."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        raise KeyError("deliberate")

    wire = Wire(app).start()
    socket = await Socket(wire).open()
    await socket.turn()
    assert socket.protocol.close_rcvd is not None
    assert socket.protocol.close_rcvd.code == 1011
    assert (socket.has_ended, wire.left, len(caplog.records)) == (True, [], 1)
    await wire.end()


async def test_client_closes() -> None:
    """The application learns code and reason, the client gets its Close back and the end of the stream."""
    chat = Chat()
    wire = Wire(chat).start()
    socket = await Socket(wire).open()
    socket.protocol.send_close(4000, "bye")
    await socket.turn()
    assert chat.got[-1] == disconnect(4000, "bye")
    assert socket.protocol.close_rcvd is not None
    assert (socket.protocol.close_rcvd.code, socket.has_ended, wire.left) == (4000, True, [])
    await wire.end()


async def test_application_closes() -> None:
    """Its Close goes out; the client's answer ends the stream."""
    wire = Wire(sending({"type": "websocket.accept"}, {"type": "websocket.close", "code": 4001, "reason": "enough"})).start()
    socket = await Socket(wire).open()
    await socket.turn()
    assert socket.protocol.close_rcvd is not None
    assert (socket.protocol.close_rcvd.code, socket.protocol.close_rcvd.reason) == (4001, "enough")
    assert not socket.has_ended
    await socket.turn()  # the protocol has put its answer in the output
    assert (socket.has_ended, wire.left) == (True, [])
    await wire.end()


async def test_application_that_returns_closes() -> None:
    """With 1000, and messages that still come are dropped."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    wire = Wire(app).start()
    socket = await Socket(wire).open()
    wire.send(raw(DATA, Frame(Opcode.TEXT, b"a").serialize(mask=True), stream=1))
    await socket.turn()
    assert socket.protocol.close_rcvd is not None
    assert socket.protocol.close_rcvd.code == 1000
    await socket.turn()
    assert (socket.has_ended, wire.left, wire.is_window_returned) == (True, [], True)
    await wire.end()


ENDS: dict[str, bytes] = {
    "the end of the stream": raw(DATA, b"", stream=1, flags=END_STREAM),
    "a reset": raw(RST_STREAM, number(CANCEL), stream=1),
}


@pytest.mark.parametrize("case", ENDS)
async def test_connection_that_is_cut(case: str) -> None:
    """Without a Close the code is 1006; messages that came before it still arrive."""
    chat = Chat()
    wire = Wire(chat).start()
    await Socket(wire).open()
    text = Frame(Opcode.TEXT, b"last").serialize(mask=True)
    await wire.turn(raw(DATA, text, stream=1), ENDS[case])
    assert chat.got[-1] == disconnect(1006)
    assert [message.get("text") for message in chat.got] == [None, "last", None]
    assert wire.left == []
    await wire.end()


FAULTS: dict[str, tuple[bytes, int]] = {
    "a frame that is not masked": (Frame(Opcode.TEXT, b"a").serialize(mask=False), 1002),
    "a reserved opcode": (b"\x83\x80\0\0\0\0", 1002),
    "a continuation of nothing": (Frame(Opcode.CONT, b"a").serialize(mask=True), 1002),
    "text that is not UTF-8": (Frame(Opcode.TEXT, b"\xff").serialize(mask=True), 1007),
    "a message that is too large": (Frame(Opcode.BINARY, bytes(1001)).serialize(mask=True), 1009),
    "a Close of one byte": (Frame(Opcode.CLOSE, b"a").serialize(mask=True), 1002),
}


@pytest.mark.parametrize("case", FAULTS)
async def test_wrong_frames(case: str) -> None:
    """Close with the code of RFC 6455, the end of the stream, and the same code for the application."""
    data, code = FAULTS[case]
    chat = Chat()
    wire = Wire(chat, ws_max_size=1000).start()
    socket = await Socket(wire).open()
    wire.send(raw(DATA, data, stream=1))
    await socket.turn()
    assert chat.got[-1]["code"] == code
    assert socket.protocol.close_rcvd is not None
    assert (socket.protocol.close_rcvd.code, socket.has_ended, wire.left, wire.goaway) == (code, True, [], None)
    await wire.end()


async def test_messages_before_a_fault_are_delivered(caplog: LogCaptureFixture) -> None:
    """What the application sends after it raises OSError, and is not reported: the fault is the client's."""
    chat = Chat()
    wire = Wire(chat).start()
    socket = await Socket(wire).open()
    wire.send(raw(DATA, Frame(Opcode.TEXT, b"good").serialize(mask=True) + FAULTS["text that is not UTF-8"][0], stream=1))
    await socket.turn()
    assert [message.get("text") for message in chat.got] == [None, "good", None]
    assert (chat.got[-1]["code"], wire.left, caplog.records) == (1007, [], [])
    await wire.end()


async def test_client_that_does_not_answer_close_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8441, section 5: RST_STREAM with CANCEL."""
    monkeypatch.setattr("tlsio.https.protocols.http2.websocket._CLOSE_TIMEOUT", 0.02)
    wire = Wire(sending({"type": "websocket.accept"}, {"type": "websocket.close"})).start()
    await Socket(wire).open()
    await wire.until(lambda: wire.resets)
    await wire.turn()
    assert (wire.resets, wire.left) == ({1: CANCEL}, [])
    await wire.end()


async def test_message_at_its_limit() -> None:
    """`ws_max_size` bytes are accepted, also above the stream's window."""
    size = STREAM_WINDOW + 100_000
    chat = Chat()
    wire = Wire(chat, ws_max_size=size).start((4, 2**20))
    wire.send(raw(WINDOW_UPDATE, number(2**20)))
    socket = await Socket(wire).open()
    socket.protocol.send_binary(bytes(size))
    data = b"".join(socket.protocol.data_to_send())
    for start in range(0, len(data), 16384):
        await wire.turn(raw(DATA, data[start : start + 16384], stream=1))
    await socket.turn()
    assert len(chat.got[1]["bytes"]) == len(socket.frames[0].data) == size
    await wire.end()


async def test_ping_is_answered() -> None:
    """Between fragments, too."""
    wire = Wire(Chat()).start()
    socket = await Socket(wire).open()
    socket.protocol.send_text(b"a", fin=False)
    socket.protocol.send_ping(b"1")
    socket.protocol.send_continuation(b"b", fin=True)
    await socket.turn()
    assert [(frame.opcode, frame.data) for frame in socket.frames] == [(Opcode.PONG, b"1"), (Opcode.TEXT, b"ab")]
    await wire.end()


@pytest.mark.slow  # its timeout is longer than a busy machine needs for an answer
async def test_keepalive() -> None:
    """The server pings; a client that answers stays, one that does not gets 1011."""
    chat = Chat()
    wire = Wire(chat, ws_ping_interval=0.01, ws_ping_timeout=1.0).start()
    socket = await Socket(wire).open()
    for _ in range(3):
        seen = len(socket.frames)
        await socket.turn()
        while len(socket.frames) == seen:
            await asyncio.sleep(0.002)
            await socket.turn()
    assert {frame.opcode for frame in socket.frames} == {Opcode.PING}
    await wire.until(lambda: wire.left == [])
    assert chat.got[-1] == disconnect(1011, "keepalive ping timeout")
    await wire.end()


async def test_send_after_the_end_raises_oserror(caplog: LogCaptureFixture) -> None:
    """ASGI 2.4: the server raises it, and does not report it if the application lets it pass."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        try:
            await send({"type": "websocket.send", "text": "a"})
        except OSError as error:
            raise RuntimeError("the framework's own") from error

    wire = Wire(app).start()
    socket = await Socket(wire).open()
    socket.protocol.send_close(1000)
    await socket.turn()
    assert (wire.left, caplog.records) == ([], [])
    await wire.end()


async def test_send_after_close_is_an_error(caplog: LogCaptureFixture) -> None:
    """The application's own Close is the last that it may send."""
    close = {"type": "websocket.close"}
    wire = Wire(sending({"type": "websocket.accept"}, close, close)).start()
    socket = await Socket(wire).open()
    await socket.turn()
    await socket.turn()
    assert (wire.left, len(caplog.records)) == ([], 1)
    await wire.end()


async def test_application_waits_for_the_clients_window() -> None:
    """`send` returns when the message is sent."""
    sent: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        for index in range(4):
            await send({"type": "websocket.send", "bytes": bytes(1000)})
            sent.append(index)
        await receive()
        await receive()

    wire = Wire(app).start((4, 2500))
    socket = await Socket(wire).open()
    assert len(sent) == 2
    await wire.turn(raw(WINDOW_UPDATE, number(2000), stream=1))
    await socket.turn()
    assert (len(sent), len(socket.frames)) == (4, 4)
    await wire.end()


async def test_client_that_opens_no_window_is_reset() -> None:
    """`min_rate` holds for WebSockets that have something to send."""
    wire = Wire(
        sending({"type": "websocket.accept"}, {"type": "websocket.send", "bytes": bytes(5000)}), Limits(min_rate=10**6, rate_grace=0.02)
    ).start((4, 1000))
    await Socket(wire).open()
    await wire.until(lambda: wire.resets)
    assert wire.resets == {1: ENHANCE_YOUR_CALM}
    await wire.end()


async def test_messages_that_are_not_read_stay_within_the_window() -> None:
    """Compressed ones unfold when the application asks for them, a slice at a time."""
    released = asyncio.Event()
    sizes: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await released.wait()
        await receive()
        while (message := await receive())["type"] == "websocket.receive":
            sizes.append(len(message["bytes"]))

    wire = Wire(app).start()
    await Socket(wire).open((b"sec-websocket-extensions", b"permessage-deflate; client_max_window_bits"))
    frame = Frame(Opcode.BINARY, bytes(500_000)).serialize(mask=True, extensions=[DEFLATE()])
    count = 60_000 // len(frame)
    data = frame * count
    for start in range(0, len(data), 16000):
        wire.send(raw(DATA, data[start : start + 16000], stream=1))
    await wire.turn()
    stream: Any = wire.protocol._streams[1]
    assert stream.kept < 6_000_000
    released.set()
    await wire.turn(raw(DATA, b"", stream=1, flags=END_STREAM))
    await wire.until(lambda: len(sizes) == count)
    assert set(sizes) == {500_000}
    await wire.end()


@pytest.mark.parametrize("is_fragment", [True, False], ids=["unfinished", "not taken"])
async def test_what_all_websockets_keep_is_bounded(is_fragment: bool) -> None:  # noqa: FBT001
    """Four times `ws_max_size`; above it, the one that keeps the most is closed, also for its application."""
    read, got = asyncio.Event(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        if not is_fragment:
            await read.wait()
        while (message := await receive())["type"] == "websocket.receive":
            got.append(len(message["bytes"]))
        got.append(message["code"])

    wire = Wire(app, ws_max_size=1000).start()
    sockets = [await Socket(wire, stream).open() for stream in range(1, 11, 2)]
    for size, socket in zip((900, 1000, 900, 900, 300), sockets, strict=True):  # 4000 together
        socket.protocol.send_binary(b"x" * size, fin=not is_fragment)
        await socket.turn()
        assert not socket.has_ended
    last = await Socket(wire, 11).open()
    last.protocol.send_binary(b"x", fin=not is_fragment)
    await last.turn()
    for socket in sockets:
        await socket.turn()
    assert [socket.has_ended for socket in (*sockets, last)] == [False, True, False, False, False, False]
    assert [(frame.opcode, frame.data[:2]) for frame in sockets[1].frames] == [(Opcode.CLOSE, (1013).to_bytes(2))]
    read.set()
    for socket in (sockets[0], last):
        if is_fragment:
            socket.protocol.send_continuation(b"x", fin=True)
        await socket.turn()
    assert sorted(got) == ([2, 901, 1013] if is_fragment else [1, 300, 900, 900, 900, 1013])
    await wire.end()


async def test_messages_that_were_taken_are_not_kept() -> None:
    """Not by the library's parser either, which has the latest frame."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        assert len((await receive())["bytes"]) == 54_321
        await receive()

    wire = Wire(app).start()
    socket = await Socket(wire).open()
    socket.protocol.send_binary(b"x" * 54_321)
    await socket.turn()
    gc.collect()
    assert not any(type(one) is Frame and len(one.data) == 54_321 for one in gc.get_objects())
    await wire.end()


async def test_messages_that_were_taken_are_not_counted() -> None:
    """Nor are those of WebSockets that are over: a connection has no limit of all its messages."""
    wire = Wire(Chat(), ws_max_size=1000).start()
    for stream in range(1, 41, 2):
        socket = await Socket(wire, stream).open()
        socket.protocol.send_binary(b"x" * 1000)
        socket.protocol.send_binary(b"x" * 900, fin=False)
        await socket.turn()
        assert [len(frame.data) for frame in socket.frames] == [1000]
        await wire.turn(raw(RST_STREAM, CANCEL.to_bytes(4), stream=stream))
    await wire.end()


async def test_pings_are_not_answered_without_a_bound() -> None:
    """A client that sends PING and opens no window waits with them."""
    wire = Wire(Chat()).start((4, 0))
    await Socket(wire).open()
    ping = Frame(Opcode.PING, bytes(125)).serialize(mask=True) * 120
    for _ in range(16):
        wire.send(raw(DATA, ping, stream=1))
    stream: Any = wire.protocol._streams[1]
    assert sum(len(part) for part in stream._outgoing) < 2 * 65536
    await wire.turn(raw(WINDOW_UPDATE, number(2**20), stream=1), raw(WINDOW_UPDATE, number(2**20)))
    assert len(wire.bodies[1]) == 16 * 120 * 127
    await wire.end()


async def test_graceful_stop_closes() -> None:
    """With 1012, as uvicorn does; the connection ends when the client has answered."""
    chat = Chat()
    wire = Wire(chat).start()
    socket = await Socket(wire).open()
    wire.protocol.shutdown()
    await socket.turn()
    assert socket.protocol.close_rcvd is not None
    assert (socket.protocol.close_rcvd.code, chat.got[-1]) == (1012, disconnect(1012))
    await socket.turn()
    assert (socket.has_ended, wire.left) == (True, [])
    await wire.end()


async def test_websockets_and_requests_share_a_connection() -> None:
    """Streams of both kinds at a time."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await Chat()(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"hello"})

    wire = Wire(app).start()
    sockets = [await Socket(wire, stream).open() for stream in (1, 5)]
    await wire.turn(wire.head(7, GET))
    for socket in sockets:
        socket.protocol.send_text(b"%d" % socket.stream)
        await socket.turn()
    assert [socket.frames[0].data for socket in sockets] == [b"1", b"5"]
    assert wire.bodies[7] == b"hello"
    await wire.end()
