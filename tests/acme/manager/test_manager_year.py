"""A year of the manager under a virtual clock: no name ever expires, and the authority is never asked too much."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from simulated_authority import HOUR, SimulatedAuthority
from tlsio.acme import Manager, MemoryStorage
from virtual_time import BEGIN, VirtualTime

if TYPE_CHECKING:
    from datetime import datetime

    from tlsio.acme import CertificateStatus

DAY = timedelta(days=1)
OUTAGE = BEGIN + 120 * DAY, BEGIN + 123 * DAY
REVOCATION, MOVE, END = BEGIN + 200 * DAY, BEGIN + 250 * DAY, BEGIN + 365 * DAY
REVOKED, MOVED = "l7.example", ("l1.example", "l2.example", "l3.example")


class Year:
    """Two managers, with certificates of 6 and of 45 days, and what happens to them."""

    def __init__(self, scale: int, *, has_ari: bool) -> None:
        self.time = VirtualTime()
        self.short = SimulatedAuthority("short", self.time.clock, lifetime=timedelta(hours=160), has_ari=has_ari)
        self.long = SimulatedAuthority("long", self.time.clock, lifetime=45 * DAY, has_ari=has_ari)
        self.short.poll_interval = self.long.poll_interval = 12 * 3600.0  # Let's Encrypt: "at least twice a day"
        self.bad: list[tuple[Any, ...]] = []
        self.revoked: list[tuple[datetime, tuple[str, ...]]] = []
        self.revoked_at = END
        self.managers = [
            self.manage(self.short, [f"s{number}.example" for number in range(scale)]),
            self.manage(self.long, [f"l{number}.example" for number in range(4 * scale)]),
        ]

    def manage(self, authority: SimulatedAuthority, names: list[str]) -> Manager:
        """Make a manager, and note what must not happen."""
        chance = random.Random(7)  # noqa: S311 - the same in each run
        manager = Manager(names, MemoryStorage(), [authority], clock=self.time.clock, chance=chance, fetch_crl=authority.fetch_crl)
        for event in ("expired", "error"):
            manager.on(event, lambda *details, event=event: self.bad.append((self.time.clock(), event, *details)))
        manager.on("expiring", self.note_warning)
        manager.on("revoked", lambda status: self.revoked.append((self.time.clock(), status.names)))
        return manager

    def note_warning(self, status: CertificateStatus) -> None:
        """A warning is bad, but for certificates of six days that were due when the outage began."""
        now = self.time.clock()
        if not OUTAGE[0] < now < OUTAGE[1]:
            self.bad.append((now, "expiring", status))

    async def live(self) -> None:
        """Let the year pass, and look four times a day."""
        for manager in self.managers:
            await manager.start()
        await asyncio.sleep(HOUR.total_seconds())
        before = self.time.clock()
        while before < END:
            self.look()
            now = self.time.clock()
            self.short.fault = self.long.fault = "down" if OUTAGE[0] <= now < OUTAGE[1] else None
            if now >= REVOCATION and not self.long.revoked and self.is_new(REVOKED):
                self.revoked_at = now
                await self.long.revoke(self.leaf(REVOKED))
            if before < MOVE <= now:  # as before a mass revocation
                self.long.moved.update({self.leaf(name): (now - 2 * HOUR, now - HOUR) for name in MOVED})
            before = now
            await asyncio.sleep(6 * 3600)
        for manager in self.managers:
            assert manager.stats().states.keys() <= {"valid", "due"}
            await manager.stop()
        assert len(asyncio.all_tasks()) == 1

    def is_new(self, name: str) -> bool:
        """Tell whether its certificate is a few days old: an older one might be renewed before the list is looked at."""
        [not_before] = [one.not_before for one in self.managers[1].status() if one.names == (name,)]
        return not_before is not None and self.time.clock() < not_before + 5 * DAY

    def leaf(self, name: str) -> bytes:
        """Return what is served."""
        return self.managers[1].published[name].native.identities[0][0]

    def look(self) -> None:
        """Each name has a certificate that is valid."""
        now = self.time.clock()
        every = [status for manager in self.managers for status in manager.status()]
        self.bad += [(now, "not served", status) for status in every if status.not_after is None or status.not_after <= now]


def most_in(times: list[datetime], period: timedelta) -> int:
    """Return the largest number of times in any such period."""
    most = first = 0
    for last, time in enumerate(times):
        while times[first] <= time - period:
            first += 1
        most = max(most, last - first + 1)
    return most


def check_orders(authority: SimulatedAuthority, count: int, most_for_a_name: int) -> None:
    """Compare what an authority was asked with its limits, and with what is needed."""
    issued = [order for order in authority.orders if order.is_issued]
    times = [order.at for order in authority.orders]
    per_name = Counter(order.names for order in issued)
    assert len(per_name) == count
    assert max(per_name.values()) <= most_for_a_name
    assert authority.exceeded == 0
    assert most_in(times, timedelta(seconds=10)) <= 10
    assert most_in(times, 3 * HOUR) <= 300
    assert sum(OUTAGE[0] <= time < OUTAGE[1] for time in times) < 3 * 24 * 8  # tried by one name each ten minutes
    if authority.window is not None:
        assert sum(order.replaces is not None for order in issued) >= len(issued) - count - 40


@pytest.mark.slow
@pytest.mark.parametrize(("has_ari", "scale"), [(True, 40), (False, 8)], ids=["suggested", "own rule"])
def test_no_name_expires_in_a_year(has_ari: bool, scale: int) -> None:  # noqa: FBT001
    """Up to 200 names with certificates of 6 and of 45 days; three days without the authorities, a revocation, moved suggestions."""
    year = Year(scale, has_ari=has_ari)
    year.time.run(year.live)
    assert year.bad == []
    [(at, names)] = year.revoked
    assert names == (REVOKED,)
    assert year.revoked_at < at < year.revoked_at + 2 * DAY
    check_orders(year.short, scale, 130)  # 365 days of half lives are 110; some are earlier
    check_orders(year.long, 4 * scale, 20)
