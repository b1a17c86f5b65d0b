"""Bounds the work that a client causes without a result.

The frames differ (PING, SETTINGS, PRIORITY, empty DATA, CONTINUATION, WINDOW_UPDATE: CVE-2019-9511
to 9518 and CVE-2024-27316; RST_STREAM: CVE-2023-44487; frames for which the server must reset a
stream: CVE-2025-8671). The remedy is the same: a supply that time and useful work refill.
"""

from __future__ import annotations

__all__ = ["Budget"]


class Budget:
    """A supply of units that refills with time.

    Attributes:
        left: Units left; below 0 the client has cost too much.
    """

    __slots__ = ("_most", "_rate", "_when", "left")

    def __init__(self, most: float, rate: float, now: float) -> None:
        """Start with `most` units, which is also the cap; `rate` units return each second."""
        self._most = self.left = most
        self._rate = rate
        self._when = now

    def spend(self, units: float, now: float) -> bool:
        """Take units, and return whether there were enough."""
        self.left = min(self._most, self.left + (now - self._when) * self._rate) - units
        self._when = now
        return self.left >= 0

    def earn(self, units: float) -> None:
        """Return units for work that had a result."""
        self.left = min(self._most, self.left + units)
