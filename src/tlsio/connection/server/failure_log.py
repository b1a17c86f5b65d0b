"""Logs failed handshakes of a server that has no listener for them.

Any stranger can make a handshake fail, as often as it likes. So they are logged only at DEBUG, a
limited number per second, and cost nothing when the logger does not take that level.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FailureLog"]

_log = logging.getLogger("tlsio")

_LINES_PER_SECOND = 20


class FailureLog:
    """The log of one server."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._second = 0.0  # when the present second began
        self._lines = 0  # in it
        self._omitted = 0

    def accepts(self) -> bool:
        """Tell whether a failure that happens now is logged; if there were too many, count it."""
        if not _log.isEnabledFor(logging.DEBUG):
            return False
        now = self._clock()
        if now - self._second >= 1:
            self._second, self._lines = now, 0
        if self._lines < _LINES_PER_SECOND:
            return True
        self._omitted += 1
        return False

    def write(self, connection: object, error: BaseException) -> None:
        """Log a failure that was accepted."""
        self._lines += 1
        if self._omitted:
            _log.debug("%d more failed handshakes were not logged: at most %d are in a second", self._omitted, _LINES_PER_SECOND)
            self._omitted = 0
        _log.debug("%r: handshake failed: %s", connection, error)
