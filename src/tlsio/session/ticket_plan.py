"""The schedule of a cluster's ticket keys, which every node can read in advance and complete.

Theory of operation. A plan is a list of keys, each with the time from which it encrypts, until the
next key does. The next key is added as soon as the current one has started, one interval in
advance, and nodes read the plan several times in an interval. So every node knows a key long before
it is used and switches to it by its own clock. Until all have switched, each can decrypt the
tickets of nodes whose clocks are ahead or behind.

Nodes write one at a time (the lock in `redis_ticket_keys`). They write the union of their own keys
and those in Redis, so no key in use is lost even if Redis loses the plan.

Invariants:
- A key in use is never removed, and its start never changes.
- Two nodes with the same plan and the same time encrypt with the same key.
- A new key starts late enough for all nodes to have read it. The very first key starts at once,
  since no node has another one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tlsio.model.options.context import TICKET_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["CLOCK_DIFFERENCE", "PlannedKey", "TicketPlan"]

# Seconds by which a node's clock may be wrong. NTP keeps clocks within milliseconds.
CLOCK_DIFFERENCE = 5.0
_PLANNED_KEY = struct.Struct(f">d{TICKET_KEY_BYTES}s")


@dataclass(frozen=True, slots=True, order=True)
class PlannedKey:
    """A key and the time from which it encrypts, in seconds since 1970 (UTC)."""

    start: float
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TicketPlan:
    """The plan as one node knows it.

    Attributes:
        interval: Seconds for which a key encrypts.
        overlap: Seconds for which it decrypts after that.
        keys: The keys, oldest first.
    """

    interval: float
    overlap: float
    keys: tuple[PlannedKey, ...] = ()

    def joined(self, others: Iterable[PlannedKey], now: float) -> TicketPlan:
        """Return the plan with the keys of other nodes, and without expired ones.

        A key that starts more than two intervals ahead is dropped: it was planned with a wrong
        clock, and no further key would be planned until then.
        """
        horizon = now + 2 * self.interval + CLOCK_DIFFERENCE
        keys = [one for one in sorted({*self.keys, *others}) if one.start <= horizon]
        return TicketPlan(self.interval, self.overlap, tuple(one for one, end in zip(keys, self._ends(keys), strict=True) if end > now))

    def completed(self, now: float, random: Callable[[int], bytes]) -> TicketPlan:
        """Return the plan with the next key, and with a first one if there is none."""
        keys = list(self.keys) or [PlannedKey(now, random(TICKET_KEY_BYTES))]
        if keys[-1].start <= now:
            # If the next key is overdue, leave half an interval for all nodes to read it.
            start = max(keys[-1].start + self.interval, now + self.interval / 2)
            keys.append(PlannedKey(start, random(TICKET_KEY_BYTES)))
        return TicketPlan(self.interval, self.overlap, tuple(keys))

    def is_complete(self, now: float) -> bool:
        """Tell whether the next key is known."""
        return bool(self.keys) and self.keys[-1].start > now

    def usable(self, now: float) -> tuple[bytes, ...]:
        """Return the keys that decrypt at `now`, the encrypting one first; () if all expired."""
        alive = [one for one, end in zip(self.keys, self._ends(self.keys), strict=True) if end > now]
        if not alive:
            return ()
        started = [one for one in alive if one.start <= now]
        # None has started if this node's clock is behind that of the node that planned the first
        # key.
        first = started[-1] if started else alive[0]
        return (first.key, *(one.key for one in reversed(alive) if one is not first))

    def next_change(self, now: float) -> float:
        """Return the next time after `now` at which `usable` changes."""
        changes = [one.start for one in self.keys] + self._ends(self.keys)
        return min((change for change in changes if change > now), default=now + self.interval)

    def _ends(self, keys: Iterable[PlannedKey]) -> list[float]:
        """Return the time until which each key decrypts.

        The overlap begins when the node with the slowest clock replaces the key, and its end is
        read from the fastest clock: hence twice the clock difference.
        """
        starts = [one.start for one in keys]
        replaced = [*starts[1:], *(start + self.interval for start in starts[-1:])]
        return [time + self.overlap + 2 * CLOCK_DIFFERENCE for time in replaced]

    def pack(self) -> bytes:
        """Encode the keys, 56 bytes each."""
        return b"".join(_PLANNED_KEY.pack(one.start, one.key) for one in self.keys)

    @staticmethod
    def unpack(data: bytes) -> tuple[PlannedKey, ...]:
        """Decode the result of `pack`.

        Raises:
            ValueError: `data` is not a plan.
        """
        try:
            return tuple(PlannedKey(start, key) for start, key in _PLANNED_KEY.iter_unpack(data))
        except struct.error as error:
            raise ValueError("not a plan of ticket keys") from error
