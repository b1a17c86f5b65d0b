"""RFC 9113, sections 3 to 8, rule by rule: what a server must do with each wrong frame.

h2 ends the connection for many faults that the RFC calls stream errors, which it allows (section 5.4.1: "an endpoint MAY choose to
treat a stream error as a connection error"). In each test a good request precedes the fault in the same bytes and must be handled.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from http2_wire import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GET,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    PADDED,
    PING,
    POST,
    PREFACE,
    PRIORITIZED,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    Wire,
    hello,
    number,
    raw,
    settings,
    wait,
)
from tlsio.https.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

Field = tuple[bytes, bytes]


def without(name: bytes) -> list[Field]:
    """Return a GET without one pseudo-header."""
    return [field for field in GET if field[0] != name]


MALFORMED: dict[str, list[Field]] = {
    "upper case": [*GET, (b"X-Upper", b"a")],
    "empty name": [*GET, (b"", b"a")],
    "space in a name": [*GET, (b"a b", b"a")],
    "colon in a name": [*GET, (b"a:b", b"a")],
    "control character in a name": [*GET, (b"a\x01b", b"a")],
    "a name that is not ASCII": [*GET, (b"a\x80", b"a")],
    # Not of RFC 9113, but of RFC 9110, sections 5.1 and 5.5, as HTTP/1.1 refuses them.
    "a name that is no token": [*GET, (b"x(a)", b"a")],
    "a name with a quote": [*GET, (b'a"', b"a")],
    "VT in a value": [*GET, (b"a", b"a\x0bb")],
    "DEL in a value": [*GET, (b"a", b"a\x7fb")],
    "control character in a cookie": [*GET, (b"cookie", b"a\x01b")],
    "two lengths of HEAD": [(b":method", b"HEAD"), *without(b":method"), (b"content-length", b"0"), (b"content-length", b"1")],
    "NUL in a value": [*GET, (b"a", b"a\0b")],
    "CR in a value": [*GET, (b"a", b"a\rb")],
    "LF in a value": [*GET, (b"a", b"a\nb")],
    "space before a value": [*GET, (b"a", b" b")],
    "tab after a value": [*GET, (b"a", b"b\t")],
    "connection": [*GET, (b"connection", b"close")],
    "keep-alive": [*GET, (b"keep-alive", b"timeout=5")],
    "proxy-connection": [*GET, (b"proxy-connection", b"close")],
    "transfer-encoding": [*GET, (b"transfer-encoding", b"chunked")],
    "upgrade": [*GET, (b"upgrade", b"websocket")],
    "te other than trailers": [*GET, (b"te", b"gzip")],
    "unknown pseudo-header": [*GET, (b":unknown", b"a")],
    "a response's pseudo-header": [*GET, (b":status", b"200")],
    "pseudo-header after a header": [*GET[:3], (b"a", b"b"), GET[3]],
    "doubled :method": [*GET, (b":method", b"GET")],
    "doubled :path": [*GET, (b":path", b"/")],
    "doubled :scheme": [*GET, (b":scheme", b"https")],
    "doubled :authority": [*GET, (b":authority", b"localhost")],
    "no :method": without(b":method"),
    "no :scheme": without(b":scheme"),
    "no :path": without(b":path"),
    "neither :authority nor host": without(b":authority"),
    "empty :path": [*without(b":path"), (b":path", b"")],
    ":path without a slash": [*without(b":path"), (b":path", b"index")],
    ":path with a space": [*without(b":path"), (b":path", b"/a b")],
    ":path with a fragment": [*without(b":path"), (b":path", b"/a#b")],
    ":path that is not ASCII": [*without(b":path"), (b":path", b"/\xff")],
    "asterisk with GET": [*without(b":path"), (b":path", b"*")],
    "a method with a space": [*without(b":method"), (b":method", b"GE T")],
    "an empty method": [(b":method", b""), *without(b":method")],
    "user information": [*without(b":authority"), (b":authority", b"me@localhost")],
    "two hosts": [*without(b":authority"), (b"host", b"localhost"), (b"host", b"localhost")],
    "host other than :authority": [*GET, (b"host", b"example.org")],
    "CONNECT with a path": [(b":method", b"CONNECT"), *without(b":method")],
    ":protocol without CONNECT": [*GET, (b":protocol", b"websocket")],
    "two lengths": [*POST, (b"content-length", b"1"), (b"content-length", b"2")],
    "a length with a sign": [*POST, (b"content-length", b"+1")],
    "an empty length": [*POST, (b"content-length", b"")],
    "a length of a list": [*POST, (b"content-length", b"1, 1")],
    "an enormous length": [*POST, (b"content-length", b"9" * 30)],
    "a length without a body": [*POST, (b"content-length", b"1")],
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_malformed_request_is_refused(case: str) -> None:
    """Section 8.1.1: a stream error of type PROTOCOL_ERROR, or that of the connection. The application does not see it."""
    wire = Wire(hello).start()
    await wire.turn(wire.head(1), wire.head(3, MALFORMED[case]))
    assert PROTOCOL_ERROR in {wire.resets.get(3), wire.goaway}
    assert len(wire.calls) == 1
    if wire.goaway is None:
        assert wire.status(1) == 200
    await wire.end()


HEADER_FORMS: dict[str, list[Field]] = {
    "host instead of :authority": [*without(b":authority"), (b"host", b"localhost")],
    "host as :authority": [*GET, (b"host", b"localhost")],
    "te: trailers": [*GET, (b"te", b"trailers")],
    "empty value": [*GET, (b"a", b"")],
    "tab in a value": [*GET, (b"a", b"b\tc")],
    "all marks of a name": [*GET, (b"!#$%&'*+-.^_`|~09az", b"a")],
    "a value that is not ASCII": [*GET, (b"a", b"\xc3\xa9")],
    "asterisk with OPTIONS": [(b":method", b"OPTIONS"), GET[1], (b":path", b"*"), GET[3]],
    "a length of nothing": [*POST, (b"content-length", b"0")],
    "the same length twice": [*POST, (b"content-length", b"0"), (b"content-length", b"0")],
}


@pytest.mark.parametrize("case", HEADER_FORMS)
async def test_unusual_request_is_served(case: str) -> None:
    """What looks odd and is valid reaches the application."""
    wire = Wire(hello).start()
    await wire.turn(wire.head(1, HEADER_FORMS[case]))
    assert (wire.status(1), wire.resets, wire.goaway) == (200, {}, None)
    headers = [name for name, _ in wire.calls[0]["headers"]]
    assert headers.count(b"host") == 1
    assert headers.count(b"content-length") <= 1
    await wire.end()


# What follows a request on stream 1 that is open, and one on stream 3 that has ended; the stream that may be reset, and the code.
Case = tuple["Callable[[Wire], bytes]", int, int]
FAULTS: dict[str, Case] = {
    # Section 4: frames.
    "a frame longer than 16,384 bytes": (lambda w: raw(DATA, bytes(16385), stream=1), 1, FRAME_SIZE_ERROR),
    "headers that cannot be decompressed": (lambda w: raw(HEADERS, b"\xff\xff\xff\xff\xff", stream=5, flags=5), 0, PROTOCOL_ERROR),
    # Section 5.1: stream states.
    "DATA on an idle stream": (lambda w: raw(DATA, b"a", stream=5), 0, PROTOCOL_ERROR),
    "RST_STREAM on an idle stream": (lambda w: raw(RST_STREAM, number(8), stream=5), 0, PROTOCOL_ERROR),
    "WINDOW_UPDATE on an idle stream": (lambda w: raw(WINDOW_UPDATE, number(1), stream=5), 0, PROTOCOL_ERROR),
    "CONTINUATION on an idle stream": (lambda w: raw(CONTINUATION, b"", stream=5), 0, PROTOCOL_ERROR),
    "DATA on a half-closed stream": (lambda w: raw(DATA, b"a", stream=3), 3, STREAM_CLOSED),
    "HEADERS on a half-closed stream": (lambda w: w.head(3, [(b"a", b"b")]), 3, STREAM_CLOSED),
    "CONTINUATION on a half-closed stream": (lambda w: raw(CONTINUATION, b"", stream=3), 0, PROTOCOL_ERROR),
    "an even stream": (lambda w: w.head(2), 0, PROTOCOL_ERROR),
    "a stream below the last": (lambda w: w.head(7) + w.head(5), 0, PROTOCOL_ERROR),
    # Section 6.1: DATA.
    "DATA on the connection": (lambda w: raw(DATA, b"a"), 0, PROTOCOL_ERROR),
    "padding longer than DATA": (lambda w: raw(DATA, b"\x05abc", stream=1, flags=PADDED), 0, PROTOCOL_ERROR),
    "padding without its length": (lambda w: raw(DATA, b"", stream=1, flags=PADDED), 0, FRAME_SIZE_ERROR),
    # Section 6.2: HEADERS.
    "HEADERS on the connection": (lambda w: raw(HEADERS, b"", flags=END_HEADERS), 0, PROTOCOL_ERROR),
    "padding longer than HEADERS": (lambda w: raw(HEADERS, b"\xff\x82", stream=5, flags=END_HEADERS | PADDED), 0, PROTOCOL_ERROR),
    "HEADERS that depend on themselves": (
        lambda w: raw(HEADERS, number(5) + b"\0" + w.encoder.encode(GET), stream=5, flags=END_HEADERS | PRIORITIZED),
        5,
        PROTOCOL_ERROR,
    ),
    # Section 6.3: PRIORITY.
    "PRIORITY on the connection": (lambda w: raw(PRIORITY, bytes(5)), 0, PROTOCOL_ERROR),
    "PRIORITY of four bytes": (lambda w: raw(PRIORITY, bytes(4), stream=1), 1, FRAME_SIZE_ERROR),
    "PRIORITY on itself": (lambda w: raw(PRIORITY, number(1) + b"\0", stream=1), 1, PROTOCOL_ERROR),
    # Section 6.4: RST_STREAM.
    "RST_STREAM on the connection": (lambda w: raw(RST_STREAM, number(8)), 0, PROTOCOL_ERROR),
    "RST_STREAM of three bytes": (lambda w: raw(RST_STREAM, bytes(3), stream=1), 0, FRAME_SIZE_ERROR),
    # Section 6.5: SETTINGS.
    "SETTINGS on a stream": (lambda w: raw(SETTINGS, stream=1), 0, PROTOCOL_ERROR),
    "SETTINGS of five bytes": (lambda w: raw(SETTINGS, bytes(5)), 0, FRAME_SIZE_ERROR),
    "an acknowledgement with settings": (lambda w: raw(SETTINGS, bytes(6), flags=ACK), 0, FRAME_SIZE_ERROR),
    "ENABLE_PUSH of 2": (lambda w: settings((2, 2)), 0, PROTOCOL_ERROR),
    "a window of 2^31": (lambda w: settings((4, 2**31)), 0, FLOW_CONTROL_ERROR),
    "frames of 16,383 bytes": (lambda w: settings((5, 16383)), 0, PROTOCOL_ERROR),
    "frames of 2^24 bytes": (lambda w: settings((5, 2**24)), 0, PROTOCOL_ERROR),
    "ENABLE_CONNECT_PROTOCOL of 2": (lambda w: settings((8, 2)), 0, PROTOCOL_ERROR),
    # Section 6.6: PUSH_PROMISE.
    "PUSH_PROMISE of a client": (lambda w: raw(PUSH_PROMISE, number(2) + b"\x82", stream=1, flags=END_HEADERS), 0, PROTOCOL_ERROR),
    # Section 6.7: PING.
    "PING on a stream": (lambda w: raw(PING, bytes(8), stream=1), 0, PROTOCOL_ERROR),
    "PING of seven bytes": (lambda w: raw(PING, bytes(7)), 0, FRAME_SIZE_ERROR),
    # Section 6.8: GOAWAY.
    "GOAWAY on a stream": (lambda w: raw(GOAWAY, bytes(8), stream=1), 0, PROTOCOL_ERROR),
    "GOAWAY of seven bytes": (lambda w: raw(GOAWAY, bytes(7)), 0, FRAME_SIZE_ERROR),
    # Section 6.9: WINDOW_UPDATE and flow control.
    "WINDOW_UPDATE of three bytes": (lambda w: raw(WINDOW_UPDATE, bytes(3)), 0, FRAME_SIZE_ERROR),
    "WINDOW_UPDATE of 0 on the connection": (lambda w: raw(WINDOW_UPDATE, number(0)), 0, PROTOCOL_ERROR),
    "WINDOW_UPDATE of 0 on a stream": (lambda w: raw(WINDOW_UPDATE, number(0), stream=1), 1, PROTOCOL_ERROR),
    "a connection's window above 2^31-1": (lambda w: raw(WINDOW_UPDATE, number(2**31 - 1)), 0, FLOW_CONTROL_ERROR),
    "a stream's window above 2^31-1": (lambda w: raw(WINDOW_UPDATE, number(2**31 - 1), stream=1), 1, FLOW_CONTROL_ERROR),
    "all windows above 2^31-1": (lambda w: raw(WINDOW_UPDATE, number(2**20), stream=1) + settings((4, 2**31 - 1)), 0, FLOW_CONTROL_ERROR),
    "more DATA than the window": (lambda w: raw(DATA, bytes(16384), stream=1) * 17, 1, FLOW_CONTROL_ERROR),
    # Section 6.10: CONTINUATION.
    "CONTINUATION without HEADERS": (lambda w: raw(CONTINUATION, b"", stream=1, flags=END_HEADERS), 0, PROTOCOL_ERROR),
    "CONTINUATION on the connection": (lambda w: raw(CONTINUATION, b"", flags=END_HEADERS), 0, PROTOCOL_ERROR),
    "CONTINUATION of another stream": (
        lambda w: w.head(5, flags=0) + raw(CONTINUATION, b"", stream=7, flags=END_HEADERS),
        0,
        PROTOCOL_ERROR,
    ),
    "DATA within headers": (lambda w: w.head(5, flags=0) + raw(DATA, b"a", stream=1), 0, PROTOCOL_ERROR),
    "PING within headers": (lambda w: w.head(5, flags=0) + raw(PING, bytes(8)), 0, PROTOCOL_ERROR),
    "GOAWAY within headers": (lambda w: w.head(5, flags=0) + raw(GOAWAY, bytes(8)), 0, PROTOCOL_ERROR),
    "an unknown frame within headers": (lambda w: w.head(5, flags=0) + raw(0xFA, b"a"), 0, PROTOCOL_ERROR),
    "HEADERS within headers": (lambda w: w.head(5, flags=0) + w.head(7), 0, PROTOCOL_ERROR),
    # Section 8.1: trailers and lengths.
    "trailers that do not end the request": (lambda w: w.head(1, [(b"a", b"b")], ends=False), 1, PROTOCOL_ERROR),
    "a pseudo-header in trailers": (lambda w: w.head(1, [(b":path", b"/")]), 1, PROTOCOL_ERROR),
    "upper case in trailers": (lambda w: w.head(1, [(b"A", b"b")]), 1, PROTOCOL_ERROR),
    "more than the length": (
        lambda w: w.head(5, [*POST, (b"content-length", b"1")], ends=False) + raw(DATA, b"ab", stream=5),
        5,
        PROTOCOL_ERROR,
    ),
    "less than the length": (
        lambda w: w.head(5, [*POST, (b"content-length", b"3")], ends=False) + raw(DATA, b"ab", stream=5, flags=END_STREAM),
        5,
        PROTOCOL_ERROR,
    ),
    "less than the length, with trailers": (
        lambda w: w.head(5, [*POST, (b"content-length", b"3")], ends=False) + raw(DATA, b"ab", stream=5) + w.head(5, [(b"a", b"b")]),
        5,
        PROTOCOL_ERROR,
    ),
}


@pytest.mark.parametrize("case", FAULTS)
async def test_fault_is_answered_with_its_code(case: str) -> None:
    """The stream is reset with the RFC's code, or the connection ends with it; the requests before it have been handled."""
    make, stream, code = FAULTS[case]
    wire = Wire(wait).start()
    await wire.turn(wire.head(1, POST, ends=False) + wire.head(3) + make(wire))
    handled = {scope["method"] for scope in wire.calls}
    assert handled >= {"POST", "GET"} - {{1: "POST", 3: "GET"}.get(stream)}
    if wire.goaway is None:
        assert stream
        assert wire.resets == {stream: code}
        assert not wire.transport.closed
    else:
        assert wire.goaway == code
        assert wire.transport.closed
        assert wire.ended == len(wire.calls)
    await wire.end()


IGNORED: dict[str, Callable[[Wire], bytes]] = {
    # Section 4.1: "Implementations MUST ignore and discard frames of unknown types."
    "an unknown frame": lambda w: raw(0xFA, b"a", stream=9, flags=0xFF),
    "an unknown frame on the connection": lambda w: raw(0xFA, bytes(16384)),
    # Section 4.1: "The reserved bit MUST remain unset when sending and MUST be ignored when receiving."
    "the reserved bit": lambda w: raw(WINDOW_UPDATE, number(1), stream=2**31 + 1),
    # Section 6.5.2: unknown settings.
    "an unknown setting": lambda w: settings((0xFAFA, 1)),
    "undefined flags": lambda w: raw(PING, bytes(8), flags=ACK | 0xF0),
    # Section 6.3: "can be sent on a stream in any state".
    "PRIORITY on an idle stream": lambda w: raw(PRIORITY, bytes(5), stream=99),
    "PRIORITY on a half-closed stream": lambda w: raw(PRIORITY, bytes(5), stream=3),
    # Section 5.1: WINDOW_UPDATE and RST_STREAM for a short time after the end.
    "WINDOW_UPDATE on a half-closed stream": lambda w: raw(WINDOW_UPDATE, number(1), stream=3),
    "an acknowledgement that nothing asked for": lambda w: raw(SETTINGS, flags=ACK) + raw(PING, bytes(8), flags=ACK),
    "padding": lambda w: raw(DATA, b"\x03abc\0\0\0", stream=1, flags=PADDED),
    "nothing but padding": lambda w: raw(DATA, b"\xff" + bytes(255), stream=1, flags=PADDED),
    "empty DATA": lambda w: raw(DATA, b"", stream=1),
    "settings at their ends": lambda w: settings((1, 0), (2, 0), (3, 0), (4, 2**31 - 1), (5, 2**24 - 1), (6, 0)),
}


@pytest.mark.parametrize("case", IGNORED)
async def test_what_a_server_must_accept(case: str) -> None:
    """Frames that look odd and are valid: nothing is reset, and the next request is served."""
    wire = Wire(lambda scope, receive, send: (hello if scope["path"] == "/hello" else wait)(scope, receive, send)).start()
    await wire.turn(wire.head(1, POST, ends=False) + wire.head(3) + IGNORED[case](wire))
    await wire.turn(wire.head(101, [*without(b":path"), (b":path", b"/hello")]))
    assert (wire.status(101), wire.resets, wire.goaway) == (200, {}, None)
    await wire.end()


PREFACES = {
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "one wrong byte": PREFACE[:-1] + b"\r",
    "PING before SETTINGS": PREFACE + raw(PING, bytes(8)),
    "DATA before SETTINGS": PREFACE + raw(DATA, b"a", stream=1),
    "an acknowledgement before SETTINGS": PREFACE + raw(SETTINGS, flags=ACK),
}


@pytest.mark.parametrize("case", PREFACES)
async def test_connection_without_its_preface_is_ended(case: str) -> None:
    """Section 3.4: an invalid preface is a connection error of type PROTOCOL_ERROR."""
    wire = Wire(hello)
    await wire.turn(PREFACES[case])
    assert wire.goaway == PROTOCOL_ERROR
    assert wire.transport.closed
    await wire.end()


async def test_server_sends_settings_first() -> None:
    """Section 3.4: "The server connection preface consists of a potentially empty SETTINGS frame"."""
    wire = Wire(hello, Limits(max_streams=7, max_header_bytes=1000))
    await wire.turn()
    first = wire.frames[0]
    assert (first.type, first.stream_id) == (SETTINGS, 0)
    assert {3: 7, 6: 1000, 8: 1}.items() <= first.settings.items()
    await wire.end()


async def test_settings_and_pings_are_acknowledged() -> None:
    """Sections 6.5.3 and 6.7: in order, a PING with its payload."""
    wire = Wire(hello).start()
    frames = await wire.turn(settings((1, 100)), raw(PING, b"12345678"))
    assert [(frame.type, list(frame.flags)) for frame in frames] == [(SETTINGS, ["ACK"]), (PING, ["ACK"])]
    assert frames[1].opaque_data == b"12345678"
    await wire.end()


async def test_table_sizes_between_two_responses() -> None:
    """RFC 7541, section 4.2: the client learns that its table was emptied, although the last size is the usual one."""
    wire = Wire(saying_header).start()
    await wire.turn(wire.head(1))
    await wire.turn(settings((1, 0)), settings((1, 4096)), settings((1, 4096)))
    await wire.turn(wire.head(3), wire.head(5))
    assert wire.heads[1] == wire.heads[3] == wire.heads[5]
    await wire.end()


async def saying_header(scope: Any, receive: Any, send: Any) -> None:
    """Answer with headers that go into the table."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"one", b"1"), (b"two", b"2")]})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("size", [1, 2, 5])
async def test_bytes_in_small_pieces(size: int) -> None:
    """However the bytes are cut, the same requests arrive."""
    wire = Wire(hello)
    data = PREFACE + settings() + wire.head(1, [*GET, (b"a", b"b" * 50)], flags=0) + raw(CONTINUATION, b"", stream=1, flags=END_HEADERS)
    data += wire.head(3, [*GET, (b"cookie", b"a=1"), (b"cookie", b"b=2")])
    for start in range(0, len(data), size):
        wire.send(data[start : start + size])
    await wire.turn()
    assert (wire.status(1), wire.status(3), len(wire.calls)) == (200, 200, 2)
    assert (b"cookie", b"a=1; b=2") in wire.calls[1]["headers"]
    await wire.end()


async def test_streams_above_the_limit_are_refused() -> None:
    """Section 5.1.2: a stream error; the requests within the limit go on."""
    wire = Wire(wait, Limits(max_streams=2)).start()
    await wire.turn(wire.head(1), wire.head(3), wire.head(5), wire.head(7))
    assert wire.resets == {5: REFUSED_STREAM, 7: REFUSED_STREAM}
    await wire.turn(raw(RST_STREAM, number(8), stream=1))
    await wire.turn(wire.head(9))
    assert (len(wire.calls), wire.goaway) == (3, None)
    await wire.end()


async def test_data_after_our_reset_is_ignored_and_its_window_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 5.1: frames that were on their way when the server reset a stream do no harm."""
    monkeypatch.setattr("tlsio.https.protocols.http2.protocol._LINGER", 0.01)
    wire = Wire(hello).start()
    await wire.turn(wire.head(1, POST, ends=False))
    await wire.until(lambda: wire.resets)
    assert wire.resets == {1: NO_ERROR}
    await wire.turn(raw(DATA, bytes(10000), stream=1) * 10)
    await wire.turn(wire.head(3))
    assert (wire.status(3), wire.goaway) == (200, None)
    assert not wire.left
    assert wire.is_window_returned
    await wire.end()


async def test_goaway_of_the_client_lets_responses_finish() -> None:
    """Section 6.8: the connection ends when the last response has been sent."""
    released = asyncio.Event()

    async def late(scope: Any, receive: Any, send: Any) -> None:
        await released.wait()
        await hello(scope, receive, send)

    wire = Wire(late).start()
    await wire.turn(wire.head(1), raw(GOAWAY, bytes(8)))
    assert not wire.transport.closed
    released.set()
    await wire.turn()
    assert (wire.status(1), wire.goaway, wire.transport.closed) == (200, NO_ERROR, True)
    await wire.end()


async def test_graceful_stop_serves_what_is_on_its_way() -> None:
    """Section 6.8: GOAWAY with the highest stream, a PING, and after its answer GOAWAY with the last one."""
    wire = Wire(wait).start()
    await wire.turn(wire.head(1))
    wire.protocol.shutdown()
    await wire.turn(wire.head(3))
    assert [frame.last_stream_id for frame in wire.of_kind(GOAWAY)] == [2**31 - 1]
    await wire.turn(raw(PING, wire.of_kind(PING)[0].opaque_data, flags=ACK), wire.head(5))
    assert [frame.last_stream_id for frame in wire.of_kind(GOAWAY)] == [2**31 - 1, 3]
    assert (wire.resets, len(wire.calls)) == ({5: REFUSED_STREAM}, 2)
    await wire.turn(raw(RST_STREAM, number(8), stream=1), raw(RST_STREAM, number(8), stream=3))
    assert wire.transport.closed
    await wire.end()


async def test_headers_beyond_twice_the_limit_end_the_connection() -> None:
    """The decoder stops, so nothing more can be decompressed. Up to there the answer is 431."""
    limits = Limits(max_header_bytes=1000)
    wire = Wire(hello, limits).start()
    await wire.turn(wire.head(1, [*GET, (b"a", b"b" * 500)]), wire.head(3, [*GET, (b"a", b"b" * 1200)]))
    assert (wire.status(1), wire.status(3), len(wire.calls)) == (200, 431, 1)
    await wire.turn(wire.head(5, [*GET, (b"a", b"b" * 2500)]))
    assert wire.goaway in {ENHANCE_YOUR_CALM, COMPRESSION_ERROR}
    await wire.end()
