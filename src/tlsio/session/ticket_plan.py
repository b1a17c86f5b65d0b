"""Which ticket key a cluster uses from when: a plan that every node can read ahead and complete.

Theory of operation. A plan is a list of keys, each with the instant from which it encrypts, until the next one's. The next key is put
in as soon as the current one has begun, an interval ahead; nodes read the plan many times in an interval. So each knows a key long
before anyone uses it, switches at its instant by its own clock, and meanwhile reads what a node with another clock has switched to
already, or not yet.

Nodes write at most one after another (the lock in `redis_tickets`), and what they write is the union of what they know and what they
find: nothing that a node uses is ever lost, however often the plan is.

Invariants:
- A key that is in use is never taken out, nor is its instant moved.
- Two nodes with the same plan and the same time encrypt with the same key.
- A new key begins late enough for all to have read it, except the first one of all, which nobody can be ahead of.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tlsio.model.options.context import TICKET_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["CLOCK_DIFFERENCE", "PlannedKey", "TicketPlan"]

# Seconds by which a clock may be off. NTP keeps them within milliseconds; who is further off than this has other troubles.
CLOCK_DIFFERENCE = 5.0
_FORM = struct.Struct(f">d{TICKET_KEY_BYTES}s")


@dataclass(frozen=True, slots=True, order=True)
class PlannedKey:
    """A key and the instant from which it encrypts, in seconds since 1970 (UTC)."""

    start: float
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TicketPlan:
    """What a node knows.

    Attributes:
        interval: Seconds for which a key encrypts. `overlap`: for which it decrypts after that.
        keys: Oldest first.
    """

    interval: float
    overlap: float
    keys: tuple[PlannedKey, ...] = ()

    def joined(self, others: Iterable[PlannedKey], now: float) -> TicketPlan:
        """Add what others know, without what is over.

        A key that begins two intervals ahead was planned by a clock that is wrong: nobody would plan the next one until then.
        """
        horizon = now + 2 * self.interval + CLOCK_DIFFERENCE
        keys = [one for one in sorted({*self.keys, *others}) if one.start <= horizon]
        return TicketPlan(self.interval, self.overlap, tuple(one for one, end in zip(keys, self._ends(keys), strict=True) if end > now))

    def completed(self, now: float, random: Callable[[int], bytes]) -> TicketPlan:
        """Add the next key, and the first if there is none."""
        keys = list(self.keys) or [PlannedKey(now, random(TICKET_KEY_BYTES))]
        if keys[-1].start <= now:
            # Half an interval for all to learn it, where the cluster has slept.
            start = max(keys[-1].start + self.interval, now + self.interval / 2)
            keys.append(PlannedKey(start, random(TICKET_KEY_BYTES)))
        return TicketPlan(self.interval, self.overlap, tuple(keys))

    def is_complete(self, now: float) -> bool:
        """Tell whether the next key is known."""
        return bool(self.keys) and self.keys[-1].start > now

    def usable(self, now: float) -> tuple[bytes, ...]:
        """Return the keys that decrypt at `now`, the one that encrypts first; none when all are over."""
        alive = [one for one, end in zip(self.keys, self._ends(self.keys), strict=True) if end > now]
        if not alive:
            return ()
        begun = [one for one in alive if one.start <= now]
        first = begun[-1] if begun else alive[0]  # a clock behind the one that made the first key
        return (first.key, *(one.key for one in reversed(alive) if one is not first))

    def next_change(self, now: float) -> float:
        """Return the next instant after `now` at which `usable` changes."""
        changes = [one.start for one in self.keys] + self._ends(self.keys)
        return min((change for change in changes if change > now), default=now + self.interval)

    def _ends(self, keys: Iterable[PlannedKey]) -> list[float]:
        """Until when each key decrypts: for the overlap after it was replaced by the slowest clock, seen by the fastest."""
        starts = [one.start for one in keys]
        replaced = [*starts[1:], *(start + self.interval for start in starts[-1:])]
        return [instant + self.overlap + 2 * CLOCK_DIFFERENCE for instant in replaced]

    def pack(self) -> bytes:
        """Write the keys, 56 bytes each."""
        return b"".join(_FORM.pack(one.start, one.key) for one in self.keys)

    @staticmethod
    def unpack(data: bytes) -> tuple[PlannedKey, ...]:
        """Read keys.

        Raises:
            ValueError: no plan.
        """
        try:
            return tuple(PlannedKey(start, key) for start, key in _FORM.iter_unpack(data))
        except struct.error as error:
            raise ValueError("no plan of ticket keys") from error
