"""The framing of HTTP/2 on the h2 library: bytes in, calls of a handler and bytes out.

`Engine` is all that the layer above knows of the library, so that a faster one can take its place.
It adds what the library leaves out:

- Frames are handed over one by one. The library returns the events of a whole chunk at once and
  none of them when it raises, so requests that came before an error would be lost.
- A frame that is too long is refused by its header, before its payload is collected.
- The budgets bound frames that cause work without a result (`_judge`).
- What a client can make the library store is bounded (`library.py`).
- Rules that the library does not check (`_find_fault`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    PingAckReceived,
    RemoteSettingsChanged,
    RequestReceived,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import H2Error, ProtocolError
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

from tlsio.https.protocols.http2.budget import Budget
from tlsio.https.protocols.http2.frames import (
    ACK,
    END_HEADERS,
    MAX_FRAME,
    FrameSplitter,
    FrameTooLongError,
    FrameType,
    PrefaceError,
)
from tlsio.https.protocols.http2.library import make_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from h2.events import Event

    from tlsio.https.protocols.http2.frames import Frame

__all__ = ["STREAM_WINDOW", "Engine", "ErrorCodes", "Handler", "Header"]

Header = tuple[bytes, bytes]

# What a client may send ahead of the application. 1 MiB for a connection is the value of Go's
# net/http; one stream gets a quarter, so that an upload that the application leaves unread does not
# stop the others.
_CONNECTION_WINDOW = 1024 * 1024
STREAM_WINDOW = 256 * 1024
_INITIAL_WINDOW = 65535  # RFC 9113, section 6.9.2
# Up to twice the limit the layer above answers 431. Above it the decoder stops, which ends the
# connection: the next headers could not be decompressed.
_DECODED_FACTOR = 2

# Streams that were reset, by either side: nghttp2's bound since CVE-2023-44487.
_RESETS, _RESETS_PER_SECOND = 1000, 33
# Frames other than DATA. Go's client sends two WINDOW_UPDATE for 4 KiB at worst, browsers one for
# 32 KiB; Firefox opens with five PRIORITY. All of them earn more than they spend.
_FRAMES, _FRAMES_PER_SECOND = 1000, 100
_EARNED_BY_REQUEST = 10
_EARNED_BY_BYTE = 1 / 512

_NO_EFFECT = (ErrorCodes.ENHANCE_YOUR_CALM, "too many frames that have no effect")
_HIGHEST_STREAM = 2**31 - 1
_RETIRE_PING = b"retiring"
_SHORTEST_GOAWAY = 8  # bytes


class Handler(Protocol):
    """Receives what the client sent. Calls come while `Engine.receive` runs."""

    def request_received(self, stream_id: int, headers: list[Header], *, is_ended: bool) -> None:
        """Take a new request: its pseudo-headers and headers, validated."""

    def data_received_on(self, stream_id: int, data: bytes, counted: int, *, is_ended: bool) -> None:
        """Take a part of a body; `counted` bytes, padding included, are owed to `consumed`."""

    def trailers_received(self, stream_id: int, count: int) -> None:
        """The body has ended with so many trailers."""

    def stream_reset(self, stream_id: int) -> None:
        """The stream is gone: nothing can be sent on it any more."""

    def window_opened(self, stream_id: int) -> None:
        """More may be sent on a stream; 0: on all of them."""

    def no_more_requests(self) -> None:
        """The client is going away (GOAWAY)."""

    def ping_answered(self) -> None:
        """The client has read what was sent before `retire`."""


class Engine:
    """One server connection of HTTP/2.

    Attributes:
        is_over: The connection has ended, in order or by a fault: only `take` has an effect.
    """

    def __init__(self, handler: Handler, clock: Callable[[], float], *, max_streams: int, max_header_bytes: int) -> None:
        """Serve one connection.

        Args:
            handler: Receives requests.
            clock: Returns seconds, monotonic.
            max_streams: Requests at a time, as it is advertised; the handler refuses more.
            max_header_bytes: Bytes of one request's headers, as it is advertised (RFC 9113,
                section 6.5.2); up to twice as many reach the handler.
        """
        self.is_over = False
        self._handler = handler
        self._clock = clock
        self._splitter = FrameSplitter()
        self._has_settings = False
        self._block_bytes = 0  # of a block of headers that has not ended
        self._block_began = 0  # the number of its first frame
        self._max_block_bytes = max(max_header_bytes, MAX_FRAME)
        now = clock()
        self._resets = Budget(_RESETS, _RESETS_PER_SECOND, now)
        self._frames = Budget(_FRAMES, _FRAMES_PER_SECOND, now)
        self._output = b""
        self._h2 = connection = make_connection(
            MAX_FRAME,
            _DECODED_FACTOR * max_header_bytes,
            {
                SettingCodes.MAX_CONCURRENT_STREAMS: max_streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: max_header_bytes,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
            },
        )
        connection.initiate_connection()
        connection.increment_flow_control_window(_CONNECTION_WINDOW - _INITIAL_WINDOW)

    @property
    def owed(self) -> int:
        """Return the number of the frame, or block of headers, that the client owes; 0: none.

        DATA is not counted: the rate of bodies has a limit of its own.
        """
        if self._block_bytes:
            return self._block_began
        return self._splitter.count + 1 if self._splitter.owes else 0

    # ---- receiving

    def receive(self, data: bytes) -> str | None:
        """Handle bytes from the client.

        Returns:
            None, or in a few words why the connection is over.
        """
        now = self._clock()
        try:
            for frame in self._splitter.split(data):
                if (fault := self._judge(frame, now)) is not None:
                    return self._end(*fault)
                if self._is_goaway(frame):
                    self._handler.no_more_requests()
                    continue
                events = self._h2.receive_data(frame.raw)
                for event in events:
                    self._dispatch(event, now)
                if not self._has_effect(frame, events) and not self._frames.spend(1, now):
                    return self._end(*_NO_EFFECT)
        except PrefaceError:
            return self._end(ErrorCodes.PROTOCOL_ERROR, "it does not begin with the preface of HTTP/2")
        except FrameTooLongError:
            return self._end(ErrorCodes.FRAME_SIZE_ERROR, f"a frame longer than {MAX_FRAME} bytes")
        except H2Error as error:
            self.is_over = True  # the library has put its GOAWAY in the output
            return f"{type(error).__name__}: {error}"
        return None

    def _judge(self, frame: Frame, now: float) -> tuple[ErrorCodes, str] | None:
        """Return why a frame ends the connection, before the library spends time on it."""
        if self._resets.left < 0:
            return ErrorCodes.ENHANCE_YOUR_CALM, "too many streams were reset"
        kind = frame.kind
        if kind == FrameType.DATA and frame.length and self._has_settings:
            self._frames.earn(frame.length * _EARNED_BY_BYTE)
            return None
        if (fault := self._find_fault(frame)) is not None:
            return fault
        if kind == FrameType.HEADERS or (kind == FrameType.CONTINUATION and self._block_bytes):
            self._count_block(frame)
        if self._block_bytes > self._max_block_bytes:
            return ErrorCodes.ENHANCE_YOUR_CALM, "headers longer than max_header_bytes"
        if not self._frames.spend(1, now):
            return _NO_EFFECT
        return None

    def _has_effect(self, frame: Frame, events: Iterable[Event]) -> bool:
        """Whether a DATA frame brought a part of a body.

        Padding alone does not, nor does what comes after the end of its stream, which is answered
        with RST_STREAM each time (CVE-2025-8671). All other frames were counted before.
        """
        if frame.kind != FrameType.DATA or not frame.length:
            return True
        return any(isinstance(event, DataReceived) and event.data for event in events)

    def _find_fault(self, frame: Frame) -> tuple[ErrorCodes, str] | None:
        """Return what is wrong with a frame, as far as the library does not look at it."""
        kind = frame.kind
        if kind == FrameType.SETTINGS and frame.flags & ACK and frame.length:
            # RFC 9113, section 6.5: such a frame "MUST be treated as a connection error (Section
            # 5.4.1) of type FRAME_SIZE_ERROR".
            return ErrorCodes.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS with a payload"
        if not self._has_settings:
            # RFC 9113, section 3.4: the preface "MUST be followed by a SETTINGS frame".
            if kind != FrameType.SETTINGS or frame.flags & ACK:
                return ErrorCodes.PROTOCOL_ERROR, "the first frame is not SETTINGS"
            self._has_settings = True
        elif kind == FrameType.RST_STREAM and frame.stream_id > self._h2.highest_inbound_stream_id:
            # RFC 9113, section 6.4: for an idle stream, "the recipient MUST treat this as a
            # connection error (Section 5.4.1) of type PROTOCOL_ERROR".
            return ErrorCodes.PROTOCOL_ERROR, "RST_STREAM for a stream that is idle"
        return None

    def _count_block(self, frame: Frame) -> None:
        if frame.flags & END_HEADERS:
            self._block_bytes = 0
            return
        if not self._block_bytes:
            self._block_began = self._splitter.count
        self._block_bytes += frame.length + 1  # an empty frame counts, too

    def _is_goaway(self, frame: Frame) -> bool:
        """Whether a frame is a valid GOAWAY. The library would send nothing more after it."""
        return frame.kind == FrameType.GOAWAY and frame.length >= _SHORTEST_GOAWAY and not frame.stream_id and not self._block_bytes

    def _dispatch(self, event: Event, now: float) -> None:
        handler = self._handler
        if isinstance(event, RequestReceived):
            self._frames.earn(_EARNED_BY_REQUEST)
            headers: Any = event.headers
            handler.request_received(event.stream_id, headers, is_ended=event.stream_ended is not None)
        elif isinstance(event, DataReceived):
            handler.data_received_on(event.stream_id, event.data, event.flow_controlled_length, is_ended=event.stream_ended is not None)
        elif isinstance(event, WindowUpdated):
            handler.window_opened(event.stream_id or 0)
        elif isinstance(event, StreamReset):  # by the client, or by the library for its fault
            self._resets.spend(1, now)
            handler.stream_reset(event.stream_id)
        elif isinstance(event, TrailersReceived):
            handler.trailers_received(event.stream_id, len(event.headers or ()))
        elif isinstance(event, RemoteSettingsChanged):
            handler.window_opened(0)  # the initial window may have grown
        elif isinstance(event, PingAckReceived) and event.ping_data == _RETIRE_PING:
            handler.ping_answered()

    def _end(self, code: ErrorCodes, reason: str) -> str:
        self.close(code)
        return reason

    def consumed(self, stream_id: int, counted: int) -> None:
        """Let the client send as many bytes again."""
        if counted and not self.is_over:
            self._h2.acknowledge_received_data(counted, stream_id)

    # ---- sending

    def room(self, stream_id: int) -> int:
        """Return how many bytes of body the client takes on a stream now; it can be negative."""
        return self._h2.local_flow_control_window(stream_id)

    def send_headers(self, stream_id: int, headers: Iterable[Header], *, is_ended: bool = False) -> None:
        """Send a response's head, an informational response, or trailers."""
        self._h2.send_headers(stream_id, headers, end_stream=is_ended)

    def send_data(self, stream_id: int, data: bytes | memoryview, *, is_ended: bool) -> None:
        """Send a part of a body, of at most `room` bytes."""
        connection, left, most = self._h2, len(data), self._h2.max_outbound_frame_size
        self._frames.earn(left * _EARNED_BY_BYTE)
        while left > most:
            connection.send_data(stream_id, data[:most])
            data = data[most:]
            left -= most
        connection.send_data(stream_id, data, end_stream=is_ended)

    def reset(self, stream_id: int, code: ErrorCodes) -> None:
        """End a stream at once, if it has not ended."""
        if self.is_over:
            return
        try:
            self._h2.reset_stream(stream_id, code)
        except ProtocolError:  # it has ended
            return
        if code != ErrorCodes.NO_ERROR:
            self._resets.spend(1, self._clock())

    def retire(self) -> None:
        """Ask the client for no new requests, and for a `ping_answered`.

        "A server that is attempting to gracefully shut down a connection SHOULD send an initial
        GOAWAY frame with the last stream identifier set to 2^31-1" (RFC 9113, section 6.8): the
        requests that are on their way are served.
        """
        self._goaway(_HIGHEST_STREAM)
        self._h2.ping(_RETIRE_PING)

    def refuse_new(self) -> None:
        """Say which request was the last to be served."""
        self._goaway(self._h2.highest_inbound_stream_id)

    def _goaway(self, last: int) -> None:
        # The library sends nothing after a GOAWAY of its own, not even the rest of a response.
        self._output = self.take() + GoAwayFrame(0, last_stream_id=last).serialize()

    def close(self, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Say that the connection is over; streams that are open are not served further."""
        if not self.is_over:
            self.is_over = True
            self._h2.close_connection(code)

    def take(self) -> bytes:
        """Return the bytes to be sent."""
        output, self._output = self._output, b""
        return output + self._h2.data_to_send()
