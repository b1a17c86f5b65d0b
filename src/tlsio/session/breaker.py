"""A circuit breaker: suspends calls to a server that does not answer, to save the timeouts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Breaker"]

# One failure may be a connection that had died unnoticed, two a restart; a third one is an outage.
_FAILURES = 3
# Each probe costs one caller the whole timeout. Two probes a minute would notice a recovery too
# late, ten a second would slow callers down.
_PAUSE = 2.0


class Breaker:
    """Admits calls, or rejects them during an outage.

    Closed, it admits all calls. After three failures in a row it opens and admits none for two
    seconds. Then it admits a single call, the probe, whose result closes or reopens it.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._retry_at = -math.inf
        self._probing = False

    def admit(self) -> bool:
        """Return whether the call may be made.

        If so, `succeeded`, `failed` or `abandoned` must follow.
        """
        if self._failures < _FAILURES:
            return True
        if self._probing or self._clock() < self._retry_at:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """Record that the call was answered."""
        self._failures = 0
        self._probing = False

    def failed(self) -> None:
        """Record that the call was not answered."""
        self._failures += 1
        self._probing = False
        self._retry_at = self._clock() + _PAUSE

    def abandoned(self) -> None:
        """Record that the call was given up before its result, so that another can probe."""
        self._probing = False
