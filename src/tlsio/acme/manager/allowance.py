"""What the limits of authorities allow now, and until when certificates wait for them."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from tlsio.acme.issuers.issuer import Limits
from tlsio.acme.manager.duplicates import Duplicates
from tlsio.acme.manager.order_ledger import OrderLedger
from tlsio.model.instants import print_instant

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from tlsio.acme.issuers.issuer import Issuer
    from tlsio.acme.manager.managed import Managed
    from tlsio.acme.storage.storage import Storage

__all__ = ["Allowance", "most_failures"]

_log = logging.getLogger("tlsio.acme")

_DEFAULT_LIMITS = Limits()
_UNLIMITED = 1_000_000  # failures in an hour, of an authority without limits
_SPREAD, _SPREAD_SHARE, _SPREAD_EACH = timedelta(seconds=10), 0.1, timedelta(seconds=1)


class Allowance:
    """Looks up and notes the orders of one manager. Raises StoreError as the storage does."""

    def __init__(self, storage: Storage, clock: Callable[[], datetime], chance: random.Random) -> None:
        """Count in a storage, for all processes that use it."""
        self._clock = clock
        self._chance = chance
        self._ledger = OrderLedger(storage, clock)
        self._duplicates = Duplicates(storage, clock)
        # By issuer, and whether the order renews: until when the limits allow none; and how many
        # certificates wait for that.
        self._closed: dict[tuple[str, bool], datetime] = {}
        self._crowds: dict[tuple[str, bool], int] = {}

    def forget_waits(self) -> None:
        """Forget until when to wait: the clock was set."""
        self._closed.clear()
        self._crowds.clear()

    def find_block(self, managed: Managed, issuer: Issuer) -> datetime | None:
        """Return until when an issuer is to be left alone about this name."""
        block = (managed.blocks or {}).get(issuer.name)
        return block if block is not None and self._clock() < block else None

    def find_known_wait(self, managed: Managed, issuer: Issuer, *, is_renewal: bool) -> datetime | None:
        """Return until when no order is allowed, as far as that is known without the storage."""
        closed = self._closed.get((issuer.name, is_renewal))
        return self.find_block(managed, issuer) or (closed if closed is not None and self._clock() < closed else None)

    async def reserve(self, managed: Managed, issuer: Issuer, *, is_renewal: bool) -> datetime | None:
        """Note an order; or return when the limits allow the next one."""
        limits = _limits_of(issuer)
        if limits is None:
            return None
        if limits.duplicates is not None and not is_renewal:
            wait = await self._duplicates.find_wait(issuer.name, managed.names, limits.duplicates)
            if wait is not None:
                self._block(managed, issuer, wait, limits.duplicates)
                return wait
        kind = issuer.name, is_renewal
        wait = await self._ledger.reserve(issuer.name, limits, is_renewal=is_renewal)
        if wait is None:
            self._crowds[kind] = max(self._crowds.get(kind, 0) - 1, 0)
        else:
            self._closed[kind] = wait
            self._crowds[kind] = self._crowds.get(kind, 0) + 1
        return wait

    def _block(self, managed: Managed, issuer: Issuer, until: datetime, most: int) -> None:
        managed.blocks = {**(managed.blocks or {}), issuer.name: until}
        _log.warning(
            "%s has issued %d certificates for %s within a week, and would refuse another before %s",
            issuer.name,
            most,
            ", ".join(managed.names),
            print_instant(until),
        )

    async def note_issued(self, managed: Managed, issuer: Issuer) -> None:
        """Note a certificate that did not renew another one by its name (RFC 9773 §5)."""
        limits = _limits_of(issuer)
        if limits is not None and limits.duplicates is not None:
            await self._duplicates.note(issuer.name, managed.names)

    def spread(self, issuers: Sequence[Issuer], wait: datetime) -> datetime:
        """Return an instant after a wait, so that not all certificates that wait come at once.

        With ten thousand names, few of which may order in ten seconds, each one that came in vain
        makes the others come less often.
        """
        crowd = max((self._crowds.get((one.name, False), 0) for one in issuers), default=0)
        spread = _SPREAD + _SPREAD_SHARE * max(wait - self._clock(), timedelta()) + _SPREAD_EACH * crowd
        return wait + spread * self._chance.random()


def most_failures(issuers: Sequence[Issuer]) -> int:
    """Return how many orders of a name may fail in an hour, at the strictest of these issuers."""
    return min((limits.failures for one in issuers if (limits := _limits_of(one))), default=_UNLIMITED)


def _limits_of(issuer: Issuer) -> Limits | None:
    found: Limits | None = getattr(issuer, "limits", _DEFAULT_LIMITS)
    return found
