"""Splits the bytes of a client into HTTP/2 frames, before anything is allocated for them.

h2 collects a frame as long as its header announces, and checks the length only then: nine bytes
would make it keep 16 MiB. Here a frame that is too long is refused by its header.

Source: RFC 9113, sections 3.4, 4.1 and 4.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ACK", "END_HEADERS", "MAX_FRAME", "PREFACE", "Frame", "FrameSplitter", "FrameTooLongError", "FrameType", "PrefaceError"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME = 16384  # bytes: SETTINGS_MAX_FRAME_SIZE's initial value, which we keep
ACK, END_HEADERS = 0x1, 0x4  # flags
_HEAD = 9  # bytes of a frame before its payload
_STREAM_ID = 2**31 - 1  # without the reserved bit


class FrameType:
    """The types of frames that the engine treats in a way of its own (RFC 9113, section 6)."""

    DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, CONTINUATION = 0x0, 0x1, 0x3, 0x4, 0x7, 0x9


class PrefaceError(Exception):
    """The client does not begin with the connection preface."""


class FrameTooLongError(Exception):
    """A frame's header announces more than MAX_FRAME bytes."""


class Frame(NamedTuple):
    """One whole frame.

    Attributes:
        kind: A `FrameType`, or another number.
        flags: The flags, whose meaning depends on the type.
        stream_id: 0 for the connection.
        length: Bytes of payload, padding included.
        raw: All bytes of the frame.
    """

    kind: int
    flags: int
    stream_id: int
    length: int
    raw: bytes


class FrameSplitter:
    """Keeps the beginning of a frame until the rest arrives: at most MAX_FRAME and nine bytes.

    Attributes:
        count: Frames that were complete.
    """

    __slots__ = ("_kept", "_preface_left", "count")

    def __init__(self) -> None:
        self.count = 0
        self._kept = b""
        self._preface_left = len(PREFACE)

    @property
    def owes(self) -> bool:
        """Whether the client owes the rest of the preface, or of a frame that is not DATA."""
        # Of a frame whose type has not come yet, three bytes are here at most.
        kept = self._kept
        return self._preface_left > 0 or (bool(kept) and (len(kept) < _HEAD or kept[3] != FrameType.DATA))

    def split(self, data: bytes) -> Iterator[Frame]:
        """Yield each frame that is complete.

        Raises:
            PrefaceError: the first bytes are not the preface.
            FrameTooLongError: a frame is too long; the frames before it have been yielded.
        """
        if self._preface_left:
            preface = data[: self._preface_left]
            if not PREFACE[-self._preface_left :].startswith(preface):
                raise PrefaceError
            self._preface_left -= len(preface)
            data = data[len(preface) :]
        if self._kept:
            data = self._kept + data
        start, end = 0, len(data)
        while start + _HEAD <= end:
            length = int.from_bytes(data[start : start + 3])
            if length > MAX_FRAME:
                raise FrameTooLongError
            after = start + _HEAD + length
            if after > end:
                break
            stream_id = int.from_bytes(data[start + 5 : start + _HEAD]) & _STREAM_ID
            self.count += 1
            yield Frame(data[start + 3], data[start + 4], stream_id, length, data[start:after])
            start = after
        self._kept = data[start:]
