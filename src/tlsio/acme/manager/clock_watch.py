"""Whether the clock was set, by comparison with the loop's, which never is."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ClockWatch"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SET = timedelta(minutes=1)  # a clock that moves by more was set


class ClockWatch:
    """Watches a clock within a running loop. A machine that slept looks as if its clock was set."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        """Begin to watch."""
        self._clock = clock
        self._drift = self._find_drift()

    def was_set(self) -> bool:
        """Tell whether the clock was set since it was last found to be."""
        drift = self._find_drift()
        if abs(drift - self._drift) <= _SET:
            return False
        self._drift = drift
        return True

    def _find_drift(self) -> timedelta:
        """Return by how much the clock differs from the loop's; constant, unless it is set."""
        return self._clock() - _EPOCH - timedelta(seconds=asyncio.get_running_loop().time())
