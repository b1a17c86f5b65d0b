"""Managers, a storage and authorities under one virtual clock."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from faulty_storage import FaultyStorage
from simulated_authority import SimulatedAuthority
from tlsio.acme import Manager
from tlsio.trust.certificate import parse
from virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from datetime import datetime

    import tlsio

DAY = timedelta(days=1)


class Stage:
    """What a test has at hand.

    Attributes:
        events: What all managers have emitted: the time, the event, its details.
    """

    def __init__(self, *, lifetime: timedelta = 45 * DAY, seed: int = 1, has_ari: bool = True) -> None:
        self.time = VirtualTime()
        self.clock = self.time.clock
        self.storage = FaultyStorage()
        self.authority = SimulatedAuthority("first", self.clock, lifetime=lifetime, has_ari=has_ari)
        self.chance = random.Random(seed)  # noqa: S311 - the same in each run
        self.events: list[tuple[datetime, str, tuple[Any, ...]]] = []
        self.managers: list[Manager] = []

    def manage(self, *names: Any, **options: Any) -> Manager:
        """Make a manager, as that of another process."""
        chance = random.Random(self.chance.random())  # noqa: S311 - as above
        usual = {"storage": self.storage, "issuers": [self.authority], "clock": self.clock, "fetch_crl": self.authority.fetch_crl}
        manager = Manager(names, **{**usual, "chance": chance, **options})  # type: ignore[arg-type]
        for event in ("error", "expired", "expiring", "failed", "obtained", "removed", "revoked"):
            manager.on(event, lambda *details, event=event: self.events.append((self.clock(), event, details)))
        self.managers.append(manager)
        return manager

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a test to its end, stop all managers, and look for tasks that are left."""

        async def whole() -> None:
            try:
                await main()
            finally:
                for manager in self.managers:
                    await manager.stop()
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        self.time.run(whole)

    async def pass_time(self, *times: timedelta) -> None:
        """Let some time pass."""
        await asyncio.sleep(sum(times, timedelta()).total_seconds())

    def count(self, event: str) -> int:
        """Return how often an event was emitted."""
        return sum(one == event for _, one, _ in self.events)

    @property
    def issued(self) -> int:
        """How many certificates the first authority has issued."""
        return sum(order.is_issued for order in self.authority.orders)


async def serve(manager: Manager, name: str | None) -> tlsio.SecureContext | None:
    """Return what a server would serve a name with."""
    published = manager.published
    found = None if name is None else published.get(name) or published.get(f"*.{name.partition('.')[2]}")
    if found is None:
        answer: Any = manager.context_for(name)
        found = await answer if asyncio.iscoroutine(answer) else answer
    return found


def issuer_of(context: tlsio.SecureContext | None) -> str | None:
    """Return the issuer's name of what a context presents; "itself": it is self-signed."""
    if context is None:
        return None
    certificate = parse(context.native.identities[0][0])
    return "itself" if certificate.issuer == certificate.subject else certificate.issuer_text


def leaf_of(context: tlsio.SecureContext | None) -> bytes:
    """Return the certificate that a context presents, DER."""
    assert context is not None
    return context.native.identities[0][0]


def names_of(events: Iterable[tuple[datetime, str, tuple[Any, ...]]], event: str) -> list[tuple[str, ...]]:
    """Return the names that an event was emitted about."""
    return [details[0].names for _, one, details in events if one == event]
