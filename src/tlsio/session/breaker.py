"""A circuit breaker: who does not answer is left alone for a while, instead of costing every caller the whole wait."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Breaker"]

# One failure may be a connection that had died unseen, two a restart; the third says that it will go on.
_FAILURES = 3
# A caller pays one wait for the probe: twice a minute would notice the recovery too late, ten times a second would be felt.
_PAUSE = 2.0


class Breaker:
    """Closed: all pass. Open, after three failures in a row: none passes, for two seconds. Then one passes, and its fate decides.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._retry_at = -math.inf
        self._probing = False

    def lets_pass(self) -> bool:
        """Whether the call may be made; `succeeded`, `failed` or `abandoned` must follow."""
        if self._failures < _FAILURES:
            return True
        if self._probing or self._clock() < self._retry_at:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """The call was answered."""
        self._failures = 0
        self._probing = False

    def failed(self) -> None:
        """It was not."""
        self._failures += 1
        self._probing = False
        self._retry_at = self._clock() + _PAUSE

    def abandoned(self) -> None:
        """Nobody waited for the answer: another may try."""
        self._probing = False
