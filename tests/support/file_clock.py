"""A clock that tests move forward for a FileSource, together with the files' own times, which are real."""

from __future__ import annotations

import time


class FileClock:
    """Both clocks of a FileSource: each call of `forward` makes all files so much older.

    Args:
        stands: No time passes by itself. Files get their times by the test, which are an hour ahead of the real ones.
    """

    def __init__(self, *, stands: bool = False) -> None:
        self._ahead = 0.0
        self._start = (time.monotonic(), time.time() + 3600) if stands else None

    def forward(self, seconds: float = 2.0) -> None:
        """Let time pass: by default as long as files must be left alone."""
        self._ahead += seconds

    def clock(self) -> float:
        """Return monotonic seconds."""
        return (time.monotonic() if self._start is None else self._start[0]) + self._ahead

    def now(self) -> float:
        """Return POSIX seconds."""
        return (time.time() if self._start is None else self._start[1]) + self._ahead
