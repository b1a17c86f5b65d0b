"""Splits the bytes of an HTTP/2 connection into frames, and counts those that we send.

The library below reads a frame only when all of it is there, so a stranger could make it keep
16 MiB by a promise in nine bytes. Here a frame that is too long is refused when its header came.

Source: RFC 9113, sections 3.4, 4.1 and 4.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "CONTINUATION",
    "DATA",
    "GOAWAY",
    "HEADERS",
    "MAX_FRAME",
    "PREFACE",
    "RST_STREAM",
    "Frame",
    "FrameSplitter",
    "FrameTooLongError",
    "count_resets",
]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME = 16384  # bytes: SETTINGS_MAX_FRAME_SIZE's initial value, which we keep
DATA, HEADERS, RST_STREAM, GOAWAY, CONTINUATION = 0x0, 0x1, 0x3, 0x7, 0x9
_HEAD = 9  # bytes of a frame before its payload


class FrameTooLongError(Exception):
    """A frame's header announces more than MAX_FRAME bytes."""


class Frame(NamedTuple):
    """One whole frame: its type, the length of its payload, and all its bytes."""

    kind: int
    length: int
    raw: bytes


class FrameSplitter:
    """Keeps the beginning of a frame until the rest arrives: at most MAX_FRAME and nine bytes."""

    __slots__ = ("_kept", "_preface_left")

    def __init__(self) -> None:
        self._kept = b""
        self._preface_left = len(PREFACE)

    @property
    def is_within_frame(self) -> bool:
        """Whether the rest of a frame, or of the preface, is still to come."""
        return bool(self._kept) or self._preface_left > 0

    def split(self, data: bytes) -> Iterator[bytes | Frame]:
        """Yield the parts of the client's preface, as bytes, then each frame that is complete.

        Raises:
            FrameTooLongError: as it says, after the frames before it.
        """
        if self._preface_left:
            preface = data[: self._preface_left]
            self._preface_left -= len(preface)
            yield preface
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
            yield Frame(data[start + 3], length, data[start:after])
            start = after
        self._kept = data[start:]


def count_resets(sent: bytes) -> int:
    """Return how many streams our own whole frames reset, for whatever reason."""
    found = start = 0
    while start < len(sent):
        found += sent[start + 3] == RST_STREAM
        start += _HEAD + int.from_bytes(sent[start : start + 3])
    return found
