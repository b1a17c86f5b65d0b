"""Session ticket keys that several processes share: workers, and a process with its successor.

Each key reaches every process one period before any of them encrypts with it. So a ticket of any
process is accepted by all others.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from tlsio.session.ticket_keys import Snapshot

__all__ = ["KeySchedule", "PassedKeys", "PeriodKeys"]

_KEY_BYTES = 48
_INTERVAL = 3600.0  # seconds, as TicketKeyRing's
_LATE = 0.1  # seconds until a process looks again for the keys of a period that has begun


@dataclass(frozen=True, slots=True)
class PeriodKeys:
    """The ticket keys of one period, and the one that follows.

    Attributes:
        keys: 48 bytes each; the first encrypts, all decrypt.
        following: Encrypts from `until` on.
        until: When the period ends, by the machine's monotonic clock.
    """

    keys: tuple[bytes, ...]
    following: bytes
    until: float

    def __repr__(self) -> str:
        return f"<PeriodKeys until={self.until:.0f}>"


class KeySchedule:
    """Makes the keys; a source for `ticket_keys=` of its own process.

    Attributes:
        period: The present keys.
    """

    clock = staticmethod(time.monotonic)

    def __init__(self, interval: float = _INTERVAL, *, period: PeriodKeys | None = None, now: float | None = None) -> None:
        """Begin a period of `interval` seconds, or go on with one of another process."""
        self._interval = interval
        self.period = period or PeriodKeys((_make_key(),), _make_key(), (self.clock() if now is None else now) + interval)

    def advance(self, now: float) -> bool:
        """Begin the next period if it is time, and return whether it was."""
        period = self.period
        if now < period.until:
            return False
        # Tickets of the last period are accepted for one more.
        self.period = PeriodKeys((period.following, period.keys[0]), _make_key(), now + self._interval)
        return True

    def snapshot(self, now: float) -> Snapshot:
        """Return the keys in use."""
        self.advance(now)
        return Snapshot((*self.period.keys, self.period.following), self.period.until)

    async def refresh(self) -> None:
        """Do nothing: `snapshot` makes new keys."""


class PassedKeys:
    """A source of the keys that another process has sent.

    Attributes:
        period: What it sent last.
    """

    clock = staticmethod(time.monotonic)

    def __init__(self, period: PeriodKeys) -> None:
        """Start with a period."""
        self.period = period

    def snapshot(self, now: float) -> Snapshot:
        """Return the keys in use."""
        period = self.period
        if now < period.until:
            return Snapshot((*period.keys, period.following), period.until)
        return Snapshot((period.following, *period.keys), now + _LATE)  # the message with the next period is on its way

    async def refresh(self) -> None:
        """Do nothing: the other process sends keys when there are new ones."""


def _make_key() -> bytes:
    return os.urandom(_KEY_BYTES)
