"""The connection of the h2 library, bounded in memory, and without the work that has no use here.

The library decides about each frame, each state and each header as it does by itself. What it does
again and again for the same result is left out:

- The text of each frame, for a log that is not kept (`_Connection._receive_frame`).
- A look at all streams for each new one (`_Connection._open_streams`).
- A second search for the ends of frames (`_FrameBuffer`).
- Compressing, decompressing and checking headers that are those of an earlier request: as long as a
  table of HPACK has not changed, equal bytes are equal headers (`_Table`, `_Known`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import FrameDataMissingError, ProtocolError, StreamClosedError, StreamIDTooLowError
from h2.frame_buffer import FrameBuffer
from h2.settings import SettingCodes, Settings
from h2.stream import H2Stream
from hpack import Decoder, Encoder, HeaderTuple
from hpack.table import HeaderTable
from hyperframe.exceptions import InvalidDataError, InvalidFrameError
from hyperframe.frame import Frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from h2.connection import AllowedStreamIDs
    from h2.events import Event
    from h2.exceptions import H2Error
    from h2.utilities import HeaderValidationFlags

__all__ = ["make_connection"]

_TABLE_BYTES = 4096  # RFC 9113, section 6.5.2: the initial size of the table that compresses headers
_HIGHEST_STREAM = 2**31 - 1
_HEAD = 9  # bytes of a frame before its payload
# What one table remembers: the heads that a client of an API or a page repeats. A block of so many
# bytes holds no more headers than that, so a client makes us keep some kilobytes at most.
_MOST_KNOWN, _KNOWN_BYTES = 8, 128
_SPARE_STREAMS = 16  # that have ended, and are kept until there are more: each has about 1 KiB


def make_connection(max_frame: int, max_decoded_bytes: int, settings: dict[SettingCodes, int]) -> H2Connection:
    """Return a server connection that has sent nothing.

    Args:
        max_frame: Bytes of payload that one frame of the client has at most.
        max_decoded_bytes: Bytes of one block of headers, above which the decoder stops.
        settings: What the client is told.
    """
    connection = _Connection(_CONFIG)
    connection.local_settings = _Settings(client=False, initial_values=settings)
    connection.remote_settings = _ClientSettings(client=True)
    connection.incoming_buffer = _FrameBuffer()
    connection.encoder = _Encoder()
    connection.decoder = _Decoder(max_decoded_bytes)
    connection.max_inbound_frame_size = max_frame
    return connection


_CONFIG = H2Configuration(client_side=False, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False)


class _Settings(Settings):
    """Our settings. The layer above refuses the streams beyond what is advertised."""

    @property
    def max_concurrent_streams(self) -> int:
        """Return the number above which the library ends the connection: none.

        RFC 9113, section 5.1.2, asks for a stream error.
        """
        return _HIGHEST_STREAM

    @max_concurrent_streams.setter
    def max_concurrent_streams(self, value: int) -> None:
        self[SettingCodes.MAX_CONCURRENT_STREAMS] = value


class _ClientSettings(Settings):
    """The client's settings. The library would store each of 65,536 unknown ones, in a deque."""

    def __setitem__(self, key: int, value: int) -> None:
        # RFC 9113, section 6.5.2: "An endpoint that receives a SETTINGS frame with any unknown or
        # unsupported identifier MUST ignore that setting."
        if key in _KNOWN_SETTINGS:
            super().__setitem__(key, value)


_KNOWN_SETTINGS = frozenset(SettingCodes)


class _Connection(H2Connection):
    # How closed streams ended is kept for late frames only; 65,536 of them would be megabytes.
    MAX_CLOSED_STREAMS = 1024
    _most_streams = 0  # of which some may have ended

    def _open_streams(self, remainder: int) -> int:
        """Forget the streams that have ended, at every sixteenth new one.

        The result is compared with `_Settings.max_concurrent_streams` only.
        """
        if len(self.streams) <= self._most_streams:
            return 0
        count = super()._open_streams(remainder)
        self._most_streams = len(self.streams) + _SPARE_STREAMS
        return count

    def _begin_new_stream(self, stream_id: int, allowed_ids: AllowedStreamIDs) -> H2Stream:
        stream = super()._begin_new_stream(stream_id, allowed_ids)
        stream.__class__ = _Stream  # the library has no place to choose the class
        return stream

    def _receive_frame(self, frame: Frame) -> list[Event]:
        """Handle a frame as the library does, without describing it for the library's log."""
        try:
            frames, events = self._frame_dispatch_table[type(frame)](frame)
        except (StreamClosedError, StreamIDTooLowError) as error:
            return self._decide(error)
        self._prepare_for_sending(frames)
        result: list[Event] = events
        return result

    def _decide(self, error: H2Error) -> list[Event]:
        """Let the library decide about an error: handling no frame at all raises it again."""

        def fail(_frame: None) -> NoReturn:
            raise error

        table: dict[Any, Any] = self._frame_dispatch_table
        nothing: Any = None
        table[type(nothing)] = fail
        try:
            return super()._receive_frame(nothing)
        finally:
            del table[type(nothing)]


class _Known(list[HeaderTuple]):
    """Headers that may come again: their table has not changed.

    Attributes:
        checked: What the library's check has made of them, by the kind of block.
    """

    __slots__ = ("checked",)

    def __init__(self, headers: Iterable[HeaderTuple]) -> None:
        super().__init__(headers)
        self.checked: dict[HeaderValidationFlags, list[Any]] = {}


class _Stream(H2Stream):
    """A stream that does not check the same headers twice."""

    def _process_received_headers(self, headers: Any, header_validation_flags: HeaderValidationFlags, header_encoding: Any) -> Any:
        if not isinstance(headers, _Known):
            return super()._process_received_headers(headers, header_validation_flags, header_encoding)
        checked = headers.checked.get(header_validation_flags)
        if checked is None:  # or they were refused, and will be
            checked = super()._process_received_headers(headers, header_validation_flags, header_encoding)
            headers.checked[header_validation_flags] = checked
        return checked


class _FrameBuffer(FrameBuffer):
    """Parses frames that come one by one, and whole."""

    def __init__(self) -> None:
        super().__init__()  # without a preface
        self._frame: Any = b""

    def add_data(self, data: Any) -> None:
        self._frame = memoryview(data)

    def __iter__(self) -> Iterator[Frame]:  # type: ignore[override]
        raw, self._frame = self._frame, b""
        try:
            frame, _ = Frame.parse_frame_header(raw[:_HEAD])
        except (InvalidDataError, InvalidFrameError) as error:
            raise ProtocolError(f"Received frame with invalid header: {error}") from error
        try:
            frame.parse_body(raw[_HEAD:])
        except InvalidDataError as error:
            raise ProtocolError("Received frame with non-compliant data") from error
        except InvalidFrameError as error:
            raise FrameDataMissingError("Frame data missing or invalid") from error
        complete = self._update_header_buffer(frame)
        return iter(() if complete is None else (complete,))


class _Table(HeaderTable):
    """A table of HPACK, and what was coded without changing it.

    Attributes:
        known: Headers by their block, or blocks by their headers.
        changes: A number that each change of the table raises.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[Any, Any] = {}
        self.changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        self._change()
        super().add(name, value)

    @property
    def maxsize(self) -> int:
        """The most bytes of its entries."""
        return super().maxsize

    @maxsize.setter
    def maxsize(self, value: int) -> None:
        self._change()
        HeaderTable.maxsize.__set__(self, value)  # type: ignore[attr-defined]

    def _change(self) -> None:
        self.changes += 1
        self.known.clear()

    def remember(self, key: Any, value: Any) -> None:
        """Remember what depends on nothing but the table as it is."""
        if len(self.known) >= _MOST_KNOWN:
            self.known.clear()
        self.known[key] = value


class _Encoder(Encoder):
    """Compresses our headers. A client may allow a table of 4 GiB: we use what is usual."""

    def __init__(self) -> None:
        super().__init__()
        self.header_table: _Table = _Table()

    @property
    def header_table_size(self) -> int:
        """The size of the table in bytes."""
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        Encoder.header_table_size.__set__(self, min(value, _TABLE_BYTES))  # type: ignore[attr-defined]
        # RFC 7541, section 4.2: between two blocks the smallest size and the last are signalled.
        # The library keeps each, however many SETTINGS come without a response between them; and it
        # signals nothing if the last one changed nothing (hpack 4.2.0), although those before did.
        changes = self.table_size_changes
        if len(changes) > 1:
            self.table_size_changes = [min(changes), changes[-1]]
        self.header_table.resized = bool(changes)

    def encode(self, headers: Any, huffman: bool = True) -> bytes:  # noqa: FBT001, FBT002  (the library's)
        """Compress a list of headers."""
        table, key = self.header_table, tuple(headers)
        block: bytes | None = table.known.get(key)
        if block is None:
            before = None if table.resized else table.changes  # a new size is signalled once
            block = super().encode(key, huffman)
            if table.changes == before and len(block) <= _KNOWN_BYTES:
                table.remember(key, block)
        return block


class _Decoder(Decoder):
    """Decompresses a client's headers."""

    def __init__(self, max_header_list_size: int) -> None:
        super().__init__(max_header_list_size)
        self.header_table: _Table = _Table()

    def decode(self, data: bytes, raw: bool = False) -> Iterable[HeaderTuple]:  # noqa: FBT001, FBT002  (the library's)
        """Decompress a block of headers."""
        table, key = self.header_table, (data, raw, self.max_header_list_size)
        headers: Iterable[HeaderTuple] | None = table.known.get(key)
        if headers is None:
            before = table.changes
            headers = super().decode(data, raw)
            if table.changes == before and len(data) <= _KNOWN_BYTES:
                headers = _Known(headers)
                table.remember(key, headers)
        return headers
