"""A clock that tests move forward for a FileSource, together with the files' own times, which are real."""

from __future__ import annotations

import time


class FileClock:
    """Both clocks of a FileSource: each call of `forward` makes all files so much older."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def forward(self, seconds: float = 2.0) -> None:
        """Let time pass: by default as long as files must be left alone."""
        self._ahead += seconds

    def clock(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic() + self._ahead

    def now(self) -> float:
        """Return POSIX seconds."""
        return time.time() + self._ahead
