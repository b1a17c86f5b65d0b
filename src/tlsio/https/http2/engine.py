"""HTTP/2's framing, on the `h2` library: bytes in, calls of a handler and bytes out.

`Engine` is all that the layer above knows of the library, so that a faster one can take its place.
It adds what the library leaves out: frames are refused by their header, the frames of one call are
handled one by one, so an error loses nothing before it, and a client that causes work without a
result is stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from h2.config import H2Configuration
from h2.connection import H2Connection
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
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from tlsio.https.http2.budget import Budget
from tlsio.https.http2.frames import CONTINUATION, DATA, GOAWAY, HEADERS, Frame, FrameSplitter, FrameTooLongError, count_resets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from h2.events import Event

__all__ = ["Engine", "ErrorCodes", "Handler", "Header", "Limits"]

Header = tuple[bytes, bytes]

# Go's values (golang.org/x/net/http2: 1 MiB for a connection); one stream gets a quarter, so that
# an application that does not read one upload leaves room for others.
_CONNECTION_WINDOW = 1024 * 1024
STREAM_WINDOW = 256 * 1024
_INITIAL_WINDOW = 65535  # RFC 9113, section 6.9.2
# What clients assume before our SETTINGS reach them (nghttp2, Chromium, Firefox, Go).
_ASSUMED_STREAMS = 100

# nghttp2's bound for resets, since CVE-2023-44487.
_RESETS, _RESETS_PER_SECOND = 1000, 33
# Frames other than HEADERS and full DATA. A browser sends about one WINDOW_UPDATE for each 32 KiB
# it receives, and a few frames for each request; both earn more than they cost.
_FRAMES, _FRAMES_PER_SECOND = 1000, 100
_EARNED_BY_REQUEST = 10
_EARNED_BY_BYTE = 1 / 4096
_SMALL_DATA = 64  # bytes; a DATA frame with less costs as a control frame


class Limits(NamedTuple):
    """What one connection may use.

    Attributes:
        streams: Requests at a time.
        header_bytes: Bytes of one request's headers, counted as RFC 9113, section 6.5.2, says.
    """

    streams: int
    header_bytes: int


class Handler(Protocol):
    """Receives what the client sent. Calls may come while `Engine.receive` runs."""

    def request_received(self, stream_id: int, headers: list[Header], *, is_ended: bool) -> None:
        """Take a new request: its pseudo-headers and headers, validated."""

    def data_received_on(self, stream_id: int, data: bytes, counted: int, *, is_ended: bool) -> None:
        """Take a part of a body; `counted` is what flow control counted, to be given to `consumed`."""

    def trailers_received(self, stream_id: int) -> None:
        """The body has ended with trailers."""

    def stream_reset(self, stream_id: int) -> None:
        """The stream is gone: nothing can be sent on it any more."""

    def window_opened(self, stream_id: int) -> None:
        """More may be sent on a stream; 0: on all of them."""

    def no_more_requests(self) -> None:
        """The client opens no more streams (GOAWAY)."""

    def ping_answered(self) -> None:
        """The client has read what was sent before `retire`."""


class _Settings(Settings):
    """Our settings: what is advertised is kept by the layer above, for streams of before, too."""

    @property
    def max_concurrent_streams(self) -> int:
        """Return the number above which the library closes the connection."""
        return max(super().max_concurrent_streams, _ASSUMED_STREAMS)

    @max_concurrent_streams.setter
    def max_concurrent_streams(self, value: int) -> None:
        self[SettingCodes.MAX_CONCURRENT_STREAMS] = value


class _Connection(H2Connection):
    # How closed streams ended is kept for late frames only; 65,536 of them would be megabytes.
    MAX_CLOSED_STREAMS = 1024


_CONFIG = H2Configuration(client_side=False, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False)


class Engine:
    """One server connection of HTTP/2.

    After `receive` has returned a reason, only `take` may be called: the GOAWAY is in it.
    """

    def __init__(self, handler: Handler, limits: Limits, clock: Callable[[], float]) -> None:
        """Serve one connection.

        Args:
            handler: Receives requests.
            limits: What the connection may use.
            clock: Returns seconds, monotonic.
        """
        self._handler = handler
        self._clock = clock
        self._splitter = FrameSplitter()
        self._continuation_bytes = 0
        self._limits = limits
        now = clock()
        self._resets = Budget(_RESETS, _RESETS_PER_SECOND, now)
        self._frames = Budget(_FRAMES, _FRAMES_PER_SECOND, now)
        self._own_output = b""
        self._resets_asked = 0  # by the layer above, of streams that ended well
        self._h2 = _Connection(_CONFIG)
        self._h2.local_settings = _Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: limits.streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: limits.header_bytes,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
            },
        )
        self._h2.decoder.max_header_list_size = limits.header_bytes
        self._h2.max_inbound_frame_size = self._h2.local_settings.max_frame_size
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_CONNECTION_WINDOW - _INITIAL_WINDOW)

    @property
    def is_within_head(self) -> bool:
        """Whether the client owes the rest of a frame, or of a block of headers."""
        return self._splitter.is_within_frame or self._continuation_bytes > 0

    # ---- receiving

    def receive(self, data: bytes) -> str | None:
        """Handle bytes from the client.

        Returns:
            None, or in a few words why the connection is over.
        """
        now = self._clock()
        try:
            for part in self._splitter.split(data):
                if isinstance(part, Frame):
                    if (reason := self._judge(part, now)) is not None:
                        return self._end(ErrorCodes.ENHANCE_YOUR_CALM, reason)
                    if _is_goaway(part):
                        self._handler.no_more_requests()
                        continue
                    events = self._h2.receive_data(part.raw)
                else:
                    events = self._h2.receive_data(part)
                for event in events:
                    self._dispatch(event, now)
        except FrameTooLongError:
            return self._end(ErrorCodes.FRAME_SIZE_ERROR, "a frame longer than 16,384 bytes")
        except H2Error as error:
            return f"{type(error).__name__}: {error}"  # the library has put its GOAWAY in the output
        if self._resets.left < 0:
            return self._end(ErrorCodes.ENHANCE_YOUR_CALM, "too many streams were reset")
        return None

    def _judge(self, frame: Frame, now: float) -> str | None:
        """Return why a frame is one too many, before the library spends time on it."""
        kind = frame.kind
        if kind == HEADERS:
            # Each costs a request, which `_MAX_STREAMS` and the budget of resets bound.
            self._continuation_bytes = 0 if frame.raw[4] & _END_HEADERS else frame.length + 1
            return None
        if kind == CONTINUATION and self._continuation_bytes:
            self._continuation_bytes = 0 if frame.raw[4] & _END_HEADERS else self._continuation_bytes + frame.length
            if self._continuation_bytes > self._limits.header_bytes:  # compressed; no client needs more than the plain size
                return "headers longer than the limit"
        if kind == DATA and frame.length >= _SMALL_DATA:
            self._frames.earn(frame.length * _EARNED_BY_BYTE)
            return None
        return None if self._frames.spend(1, now) else "too many frames without a request"

    def _dispatch(self, event: Event, now: float) -> None:
        handler = self._handler
        if isinstance(event, RequestReceived):
            self._frames.earn(_EARNED_BY_REQUEST)
            handler.request_received(event.stream_id, _plain(event.headers), is_ended=event.stream_ended is not None)
        elif isinstance(event, DataReceived):
            handler.data_received_on(event.stream_id, event.data, event.flow_controlled_length, is_ended=event.stream_ended is not None)
        elif isinstance(event, WindowUpdated):
            handler.window_opened(event.stream_id)
        elif isinstance(event, StreamReset):
            if event.remote_reset:
                self._resets.spend(1, now)
            handler.stream_reset(event.stream_id)
        elif isinstance(event, TrailersReceived):
            handler.trailers_received(event.stream_id)
        elif isinstance(event, RemoteSettingsChanged):
            handler.window_opened(0)  # the initial window may have grown
        elif isinstance(event, PingAckReceived):
            handler.ping_answered()

    def _end(self, code: ErrorCodes, reason: str) -> str:
        self._h2.close_connection(code)
        return reason

    def consumed(self, stream_id: int, counted: int) -> None:
        """Let the client send as much again as the application has taken."""
        if counted:
            self._h2.acknowledge_received_data(counted, stream_id)

    # ---- sending

    def room(self, stream_id: int) -> int:
        """Return how many bytes of body the client would take on a stream now."""
        return self._h2.local_flow_control_window(stream_id)

    def send_headers(self, stream_id: int, headers: Iterable[Header], *, is_ended: bool = False) -> None:
        """Send a response's head, an informational response, or trailers."""
        self._h2.send_headers(stream_id, list(headers), end_stream=is_ended)

    def send_data(self, stream_id: int, data: bytes | memoryview, *, is_ended: bool) -> None:
        """Send a part of a body, of at most `room` bytes."""
        most = self._h2.max_outbound_frame_size
        self._frames.earn(len(data) * _EARNED_BY_BYTE)
        for start in range(0, len(data) - most, most):
            self._h2.send_data(stream_id, bytes(data[start : start + most]))
        last = (len(data) - 1) // most * most if data else 0
        self._h2.send_data(stream_id, bytes(data[last:]), end_stream=is_ended)

    def reset(self, stream_id: int, code: ErrorCodes) -> None:
        """End a stream at once, if it has not ended."""
        try:
            self._h2.reset_stream(stream_id, code)
        except (ProtocolError, KeyError):
            return
        if code == ErrorCodes.NO_ERROR:
            self._resets_asked += 1

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
        # The library could send nothing after its own GOAWAY, not even the rest of a response.
        self._own_output += GoAwayFrame(0, last_stream_id=last).serialize()

    def close(self, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Say that the connection is over; streams that are open are not served further."""
        self._h2.close_connection(code)

    def take(self) -> bytes:
        """Return the bytes to be sent."""
        sent: bytes = self._h2.data_to_send()
        if self._own_output:
            sent, self._own_output = sent + self._own_output, b""
        if sent and (resets := count_resets(sent) - self._resets_asked) > 0:
            self._resets.spend(resets, self._clock())
        self._resets_asked = 0
        return sent


_END_HEADERS = 0x4
_HIGHEST_STREAM = 2**31 - 1
_RETIRE_PING = b"retiring"
_STREAM_ID = slice(5, 9)
_SHORTEST_GOAWAY = 8  # bytes


def _is_goaway(frame: Frame) -> bool:
    """Whether a frame is a valid GOAWAY. The library would send nothing more after it."""
    return frame.kind == GOAWAY and frame.length >= _SHORTEST_GOAWAY and not any(frame.raw[_STREAM_ID])


def _plain(headers: Any) -> list[Header]:
    """Return headers as tuples: the library's are a subclass that remembers how they were sent."""
    return [(name, value) for name, value in headers]
