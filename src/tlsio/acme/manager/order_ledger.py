"""The orders of the last hours at each authority, counted for all processes together."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tlsio.acme.manager.bounded_lock import hold_lock
from tlsio.acme.manager.facts import parse_json, print_json, read_instant, write_instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from tlsio.acme.issuers.issuer import Limits
    from tlsio.acme.storage.storage import Storage

__all__ = ["OrderLedger"]

_BURST_PERIOD, _PERIOD = timedelta(seconds=10), timedelta(hours=3)
_PATIENCE = 30.0  # seconds; it is held for a read and a write
_SKEW = timedelta(seconds=10)  # clocks of nodes; a later time comes from a clock that was wrong


class OrderLedger:
    """Says when the next order may be made, and notes it.

    Orders that renew (RFC 9773 §5) count in the short period only: Let's Encrypt's other limits
    leave them out.
    """

    def __init__(self, storage: Storage, clock: Callable[[], datetime]) -> None:
        self._storage = storage
        self._clock = clock

    async def reserve(self, issuer: str, limits: Limits, *, is_renewal: bool) -> datetime | None:
        """Note an order; or return when to ask again, and note nothing.

        Raises:
            StoreError: from the storage.
        """
        key = f"accounts/{issuer}/orders.json"
        async with hold_lock(self._storage, f"orders/{issuer}", _PATIENCE) as lock:
            now = self._clock()
            noted = parse_json(await self._storage.load(key))
            recent = list(_read(noted.get("recent"), now, _BURST_PERIOD))
            orders = list(_read(noted.get("orders"), now, _PERIOD))
            if len(recent) >= limits.burst:
                return recent[-limits.burst] + _BURST_PERIOD
            if not is_renewal and len(orders) >= limits.orders:
                return orders[-limits.orders] + _PERIOD
            recent.append(now)
            if not is_renewal:
                orders.append(now)
            value = {"recent": [write_instant(time) for time in recent], "orders": [write_instant(time) for time in orders]}
            await self._storage.store(key, print_json(value), lock=lock)
            return None


def _read(noted: object, now: datetime, period: timedelta) -> Iterator[datetime]:
    for one in noted if isinstance(noted, list) else ():
        time = read_instant(one)
        if time is not None and now - period < time <= now + _SKEW:
            yield time
