"""The interface of ticket key sources, and a ring of local keys.

A source returns the current keys and the time until which they are current. It neither blocks nor
starts tasks: `connection.ticket_rotation` calls it again at that time and passes the keys to the
engine.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tlsio.model.checks import check_seconds, out_of_range, wrong_type
from tlsio.model.exported import exported
from tlsio.model.options.context import TICKET_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Snapshot", "TicketKeyRing", "TicketKeySource", "check_interval", "check_overlap"]

# A stolen key decrypts the traffic of at most two hours. Rotation costs nothing, so the interval
# could also be a minute.
_INTERVAL = 3600.0
# At least the lifetime of a session, whose default is 300 s (session_timeout).
_OVERLAP = 3600.0
# The engine holds 16 keys: those in their overlap, the current one, the next one, and up to two
# local keys of an isolated node.
_MAX_OVERLAP_INTERVALS = 12


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The current keys.

    Attributes:
        keys: 48 bytes each; the first encrypts, all decrypt.
        until: The time of the next call, in seconds of the source's clock.
    """

    keys: tuple[bytes, ...] = field(repr=False)
    until: float


class TicketKeySource(Protocol):
    """Provides a server with ticket keys.

    Attributes:
        clock: The clock of `now` and `until`, in seconds.
    """

    clock: Callable[[], float]

    def snapshot(self, now: float) -> Snapshot:
        """Return the keys in use at `now`. MUST NOT block; `until` MUST be later than `now`."""

    async def refresh(self) -> None:
        """Fetch new keys; awaited before the first snapshot and each time `until` has passed.

        Calls of several servers overlap. SHOULD NOT raise, and SHOULD NOT take longer than a
        handshake may, since a starting server waits for it.
        """


@exported
class TicketKeyRing:
    """Ticket keys of one process, which rotate by time and exist only in memory.

    A key encrypts for `interval` and decrypts for `overlap` after that. Then it is discarded, and
    recorded traffic can no longer be decrypted with it. After a fork, the processes differ from the
    next key on.

    Args:
        interval: Seconds after which the next key encrypts.
        overlap: Seconds for which the previous key still decrypts: as long as sessions are resumed
            (`session_timeout`).
        clock: Monotonic seconds.
        random: Returns the requested number of random bytes.
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
        self._keys: list[tuple[float, bytes]] = []  # each with the time from which it encrypts, newest first

    def snapshot(self, now: float) -> Snapshot:
        """Return the keys in use at `now`, and the time of their next change."""
        if not self._keys or now >= self._keys[0][0] + self._interval:
            self._keys.insert(0, (now, self._random(TICKET_KEY_BYTES)))
        ends = [start + self._overlap for start, _ in self._keys[:-1]]  # a key expires `overlap` after its successor's start
        self._keys[1:] = [key for key, end in zip(self._keys[1:], ends, strict=True) if end > now]
        until = min([self._keys[0][0] + self._interval, *(end for end in ends if end > now)])
        return Snapshot(tuple(key for _, key in self._keys), until)

    async def refresh(self) -> None:
        """Do nothing: `snapshot` creates new keys."""

    def __repr__(self) -> str:
        return f"<TicketKeyRing interval={self._interval:g} overlap={self._overlap:g}>"


def check_interval(value: object, at_least: float = 0.0) -> float:
    """Check the seconds for which a key encrypts."""
    interval = check_seconds("interval", value)
    if interval is None:
        raise wrong_type("interval", "a number of seconds", value)
    if interval < at_least:
        raise out_of_range("interval", f"{at_least:g} seconds or more", value)
    return interval


def check_overlap(value: object, interval: float) -> float:
    """Check the seconds for which a key still decrypts after it was replaced."""
    overlap = check_seconds("overlap", value)
    if overlap is None:
        raise wrong_type("overlap", "a number of seconds", value)
    if overlap > _MAX_OVERLAP_INTERVALS * interval:
        hint = "A server holds at most 16 keys: use a longer interval= or a shorter overlap=."
        raise out_of_range("overlap", f"at most {_MAX_OVERLAP_INTERVALS} intervals", value, hint=hint)
    return overlap
