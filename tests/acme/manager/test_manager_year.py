"""A year of the manager under a virtual clock: no name ever expires, and the authority is never asked too much."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from simulated_authority import HOUR, SimulatedAuthority
from tlsio.acme import Manager, MemoryStorage
from virtual_time import BEGIN, VirtualTime

DAY = timedelta(days=1)
OUTAGE = BEGIN + 120 * DAY, BEGIN + 123 * DAY


def most_in(times: list[Any], period: timedelta) -> int:
    """Return the largest number of times in any such period."""
    most = first = 0
    for last, time in enumerate(times):
        while times[first] <= time - period:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.slow
@pytest.mark.parametrize(("has_ari", "scale"), [(True, 40), (False, 8)], ids=["suggested", "own rule"])
def test_no_name_expires_in_a_year(has_ari: bool, scale: int) -> None:  # noqa: FBT001
    """Up to 200 names with certificates of 6 and of 45 days; three days without the authorities, a revocation, moved suggestions."""
    time = VirtualTime()
    short = SimulatedAuthority("short", time.clock, lifetime=timedelta(hours=160), has_ari=has_ari)
    long = SimulatedAuthority("long", time.clock, lifetime=45 * DAY, has_ari=has_ari)
    short.poll_interval = long.poll_interval = 12 * 3600.0  # Let's Encrypt: "at least twice a day"
    bad: list[tuple[Any, ...]] = []
    replaced: list[Any] = []

    def manage(authority: SimulatedAuthority, names: list[str]) -> Manager:
        manager = Manager(names, MemoryStorage(), [authority], clock=time.clock, chance=random.Random(7), fetch_crl=authority.fetch_crl)
        for event in ("expired", "expiring", "error"):
            manager.on(event, lambda *details, event=event: bad.append((time.clock(), event, *details)))
        manager.on("revoked", lambda status: replaced.append((time.clock(), status.names, status.fingerprint)))
        return manager

    async def live() -> None:
        managers = [
            manage(short, [f"s{number}.example" for number in range(scale)]),
            manage(long, [f"l{number}.example" for number in range(4 * scale)]),
        ]
        for manager in managers:
            await manager.start()
        await asyncio.sleep(HOUR.total_seconds())
        end = BEGIN + 365 * DAY
        revoked_at = None
        while time.clock() < end:
            for manager in managers:
                for status in manager.status():
                    if status.not_after is None or status.not_after <= time.clock():
                        bad.append((time.clock(), "not served", status))
            now = time.clock()
            short.fault = long.fault = "down" if OUTAGE[0] <= now < OUTAGE[1] else None
            if revoked_at is None and now > BEGIN + 200 * DAY:
                revoked_at = now
                name = "l7.example"
                leaf = managers[1].published[name].native.identities[0][0]
                await long.revoke(leaf)
            if has_ari and BEGIN + 250 * DAY < now < BEGIN + 250 * DAY + 6 * HOUR:
                for name in ("l1.example", "l2.example", "l3.example"):  # as before a mass revocation
                    leaf = managers[1].published[name].native.identities[0][0]
                    long.moved[leaf] = now - 2 * HOUR, now - HOUR
            await asyncio.sleep(6 * 3600)
        assert revoked_at is not None
        for manager in managers:
            assert manager.stats().states == {"valid": len(manager.status())}
            await manager.stop()
        assert len(asyncio.all_tasks()) == 1

    time.run(live)
    assert bad == []
    [(at, names, _)] = replaced
    assert names == ("l7.example",)
    assert at < BEGIN + 202 * DAY
    for authority, count, most_per_name in ((short, scale, 160), (long, 4 * scale, 20)):
        issued = [order for order in authority.orders if order.is_issued]
        per_name = Counter(order.names for order in issued)
        times = [order.at for order in authority.orders]
        print(authority.name, len(authority.orders), "orders,", len(issued), "issued,", authority.polls, "polls")
        assert len(per_name) == count
        assert max(per_name.values()) <= most_per_name
        assert authority.exceeded == 0
        assert most_in(times, timedelta(seconds=10)) <= 10
        assert most_in(times, 3 * HOUR) <= 300
        down = [order for order in authority.orders if OUTAGE[0] <= order.at < OUTAGE[1]]
        assert 3 * 24 < len(down) < 3 * 24 * 8  # the authority is tried, by one name each ten minutes
        if has_ari:
            assert sum(order.replaces is not None for order in issued) >= len(issued) - count - 30
