"""Where a server's ticket keys come from, and the ring that makes its own.

A source tells which keys hold now and until when. It does not wait and starts nothing: `connection.ticket_rotation` asks it again
when that moment has come, and gives the keys to the engine.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tlsio.model.checks import check_seconds, out_of_range, wrong_type
from tlsio.model.options.context import TICKET_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Snapshot", "TicketKeyRing", "TicketKeySource", "check_interval", "check_overlap"]

# A stolen key opens what was said under it: two hours at most. Rotating costs nothing, so the hour could as well be a minute.
_INTERVAL = 3600.0
# As long as a session is to be resumed: more than the 300 s of session_timeout's default.
_OVERLAP = 3600.0
# The engine holds 16 keys: those in their overlap, the current one, the next one, and as a reserve two of a node on its own.
_MAX_INTERVALS_OF_OVERLAP = 12


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The keys that hold now.

    Attributes:
        keys: 48 bytes each; the first encrypts, all decrypt.
        until: When to ask again, in seconds of the source's clock.
    """

    keys: tuple[bytes, ...] = field(repr=False)
    until: float


class TicketKeySource(Protocol):
    """Tells a server its ticket keys.

    Attributes:
        clock: The clock of `now` and `until`, in seconds.
    """

    clock: Callable[[], float]

    def snapshot(self, now: float) -> Snapshot:
        """Return the keys that hold at `now`. MUST NOT wait; `until` MUST be later than `now`."""

    async def refresh(self) -> None:
        """Learn what is new; awaited before the first snapshot and whenever `until` has passed. Calls of several servers overlap.

        SHOULD NOT raise, and SHOULD NOT take longer than a handshake may: a server that starts waits for it.
        """


class TicketKeyRing:
    """Ticket keys that are made here, change by time and exist in memory only.

    A key encrypts for `interval` and decrypts for `overlap` more; then it is forgotten, and with it everything that could be read
    through it. The ring belongs to one process: after a fork, each goes its own way with the next key.

    Args:
        interval: Seconds after which the next key encrypts.
        overlap: Seconds for which the one before still decrypts: as long as sessions are to be resumed (`session_timeout`).
        clock: Seconds that never go back.
        random: Gives as many random bytes as it is asked for.
    """

    clock: Callable[[], float]

    def __init__(
        self,
        *,
        interval: float = _INTERVAL,
        overlap: float = _OVERLAP,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._interval = check_interval(interval)
        self._overlap = check_overlap(overlap, self._interval)
        self.clock = clock
        self._random = random
        self._keys: list[tuple[float, bytes]] = []  # with the instant from which it encrypts, newest first

    def snapshot(self, now: float) -> Snapshot:
        """Return the keys that hold at `now`, and when they change."""
        if not self._keys or now >= self._keys[0][0] + self._interval:
            self._keys.insert(0, (now, self._random(TICKET_KEY_BYTES)))
        ends = [start + self._overlap for start, _ in self._keys[:-1]]  # each ends some time after its successor's start
        self._keys[1:] = [key for key, end in zip(self._keys[1:], ends, strict=True) if end > now]
        until = min([self._keys[0][0] + self._interval, *(end for end in ends if end > now)])
        return Snapshot(tuple(key for _, key in self._keys), until)

    async def refresh(self) -> None:
        """Do nothing: what is new is made by `snapshot`."""

    def __repr__(self) -> str:
        return f"<TicketKeyRing interval={self._interval:g} overlap={self._overlap:g}>"


def check_interval(value: object, at_least: float = 0.0) -> float:
    """Take the seconds for which a key encrypts."""
    interval = check_seconds("interval", value)
    if interval is None:
        raise wrong_type("interval", "a number of seconds", value)
    if interval < at_least:
        raise out_of_range("interval", f"{at_least:g} seconds or more", value)
    return interval


def check_overlap(value: object, interval: float) -> float:
    """Take the seconds for which a key decrypts after it has encrypted."""
    overlap = check_seconds("overlap", value)
    if overlap is None:
        raise wrong_type("overlap", "a number of seconds", value)
    if overlap > _MAX_INTERVALS_OF_OVERLAP * interval:
        raise out_of_range("overlap", f"at most {_MAX_INTERVALS_OF_OVERLAP} intervals", value, hint="A server holds 16 keys at most.")
    return overlap
