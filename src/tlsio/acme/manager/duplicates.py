"""The certificates of the last week for exactly the same names: `issued/<issuer>/<name>.json`.

Let's Encrypt issues five of them in seven days. Whether they are still stored does not matter to
it, so they are counted apart from certificates.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tlsio.acme.manager.bounded_lock import hold_lock
from tlsio.acme.manager.facts import parse_json, print_json, read_instant, write_instant
from tlsio.acme.storage.keys import key_segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from tlsio.acme.storage.storage import Storage

__all__ = ["ISSUED", "Duplicates", "is_forgotten"]

ISSUED = "issued"
_PERIOD = timedelta(days=7)
_PATIENCE = 30.0  # seconds; the lock is held for a read and a write
_SKEW = timedelta(seconds=10)  # clocks of nodes; a later time comes from a clock that was wrong
_KEPT = 20  # of sets that share a file; a set may have a hundred names, and a value has 1 MiB at most


class Duplicates:
    """Counts certificates by their set of names. Raises StoreError as the storage does."""

    def __init__(self, storage: Storage, clock: Callable[[], datetime]) -> None:
        """Count in a storage, for all processes that use it."""
        self._storage = storage
        self._clock = clock

    async def find_wait(self, issuer: str, names: Sequence[str], most: int) -> datetime | None:
        """Return when another certificate for these names may be ordered; None: now."""
        noted = _read(await self._storage.load(_place(issuer, names)), self._clock())
        times = [time for one, time in noted if one == sorted(names)]
        return times[-most] + _PERIOD if len(times) >= most else None

    async def note(self, issuer: str, names: Sequence[str]) -> None:
        """Note that a certificate for these names was issued now."""
        place = _place(issuer, names)
        async with hold_lock(self._storage, place.removesuffix(".json"), _PATIENCE) as lock:
            now = self._clock()
            entries = [*_read(await self._storage.load(place), now), (sorted(names), now)][-_KEPT:]
            value = {"certificates": [{"names": one, "at": write_instant(time)} for one, time in entries]}
            await self._storage.store(place, print_json(value), lock=lock)


def is_forgotten(data: bytes | None, now: datetime) -> bool:
    """Tell whether a value of these has nothing of the last week."""
    return not any(_read(data, now))


def _read(data: bytes | None, now: datetime) -> Iterator[tuple[list[str], datetime]]:
    noted: Any = parse_json(data).get("certificates")
    for one in noted if isinstance(noted, list) else ():
        time = read_instant(one.get("at")) if isinstance(one, dict) else None
        if time is not None and now - _PERIOD < time <= now + _SKEW and isinstance(names := one.get("names"), list):
            yield names, time


def _place(issuer: str, names: Sequence[str]) -> str:
    """Return where the certificates of a set are noted: the order of the names does not matter."""
    return f"{ISSUED}/{issuer}/{key_segment(min(names))}.json"
