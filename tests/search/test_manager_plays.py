"""Managers, their storage, their authorities and the clock at random: whatever happens, each name is served as well as can be.

`SEED=17 pytest tests/search/test_manager_plays.py` plays one case again; `FIRST=` and `MANY=` as in `test_whole`.

After each act: a name is never without a context; nothing expired is served while the storage has something valid; the
authorities are not asked more than their limits allow. At the end everything works again, and all names become valid.
"""

from __future__ import annotations

import os
import random
import secrets
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, get_args

import pytest

from manager_stage import Stage, leaf_of, serve
from simulated_authority import Fault, SimulatedAuthority
from tlsio.acme.manager.certificate import Certificate
from tlsio.trust.certificate import parse

if TYPE_CHECKING:
    from tlsio.acme import Manager

MANY = int(os.environ.get("MANY", "2000")) // 40
ONE = os.environ.get("SEED")
FIRST = os.environ.get("FIRST")

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
NAMES = [f"n{number}.example" for number in range(6)]
ACTS = 40
LIFETIMES = [timedelta(hours=20), timedelta(hours=160), timedelta(days=45), timedelta(days=90)]


class Play:
    """One case: a fleet of managers, and what happens to it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - printed when it fails
        self.stage = Stage(lifetime=self.random.choice(LIFETIMES), seed=seed, has_ari=self.random.random() < 0.7)
        self.stage.authority.clock = self.stage.time.true_clock
        second = SimulatedAuthority("second", self.stage.time.true_clock, lifetime=self.random.choice(LIFETIMES), seed=seed)
        self.authorities = [self.stage.authority, second][: self.random.choice([1, 2])]
        self.fleet: list[Manager] = []
        self.jumped = timedelta()

    async def run(self) -> None:
        """Act, look, repair everything, and look again."""
        await self.start_process()
        for _ in range(ACTS):
            await self.act()
            await self.look()
        await self.repair()
        if not self.fleet:
            await self.start_process()
        # The longest wait of a name is six hours and a fifth; an authority's limit here an hour.
        await self.stage.pass_time(8 * HOUR)
        await self.look()
        for manager in self.fleet:
            for status in manager.status():
                assert status.state in {"valid", "due"}, status

    async def start_process(self) -> None:
        """Start a manager of all names."""
        options = {"issuers": self.authorities}
        manager = self.stage.manage(*NAMES, **options)
        self.fleet.append(manager)
        await manager.start()

    async def act(self) -> None:  # noqa: C901 - one branch for each act
        """Do something, and let time pass."""
        chance, stage = self.random, self.stage
        act = chance.choice(
            ["fault", "fault", "works", "works", "storage", "full", "slow", "start", "die", "jump", "remove", "add", "revoke", "move"]
        )
        authority = chance.choice(self.authorities)
        if act == "fault":
            authority.fault = chance.choice(get_args(Fault))
        elif act == "works":
            authority.fault = None
        elif act == "storage":
            stage.storage.is_down = not stage.storage.is_down
        elif act == "full":
            stage.storage.is_full = not stage.storage.is_full
        elif act == "slow":
            stage.storage.latency = chance.choice([0.0, 0.0, 0.3, 5.0])
        elif act == "start" and len(self.fleet) < 3:
            await self.start_process()
        elif act == "die" and self.fleet:
            await self.fleet.pop(chance.randrange(len(self.fleet))).stop()
        elif act == "jump":
            jump = chance.choice([-self.jumped, timedelta(days=chance.uniform(-100, 100)), timedelta(hours=chance.uniform(-5, 5))])
            self.jumped += jump
            stage.time.jump(jump.total_seconds())
        elif act in {"remove", "add"} and self.fleet:
            self.change_names(chance.choice(self.fleet), act)
        elif act == "revoke" and self.fleet:
            await self.authorities[0].revoke(leaf_of(chance.choice(self.fleet).context_now(NAMES[0])))  # perhaps another's: no matter
            self.authorities[0].revoked = {one for one in self.authorities[0].revoked if self.is_of(self.authorities[0], one)}
        elif act == "move" and self.fleet:
            now, context = stage.time.true_clock(), chance.choice(self.fleet).context_now(NAMES[1])
            window = now - HOUR, now + chance.choice([-MINUTE, HOUR, 1000 * HOUR])
            if context is not None:  # the name may have been removed from that process
                authority.moved[leaf_of(context)] = window
        await stage.pass_time(chance.choice([SECOND, MINUTE, 20 * MINUTE, 3 * HOUR, 30 * HOUR]))

    @staticmethod
    def is_of(authority: SimulatedAuthority, leaf: bytes) -> bool:
        """Tell whether an authority has issued it."""
        return authority.name in parse(leaf).issuer_text

    def change_names(self, manager: Manager, act: str) -> None:
        """Take a name away from one process, or give it back."""
        managed = {status.names[0] for status in manager.status()}
        name = self.random.choice(NAMES[1:])
        if act == "remove" and name in managed:
            manager.remove(name)
        elif act == "add" and name not in managed:
            manager.add(name)

    async def repair(self) -> None:
        """Let everything work again."""
        for authority in self.authorities:
            authority.fault = None
        self.stage.storage.is_down = self.stage.storage.is_full = False
        self.stage.storage.latency = 0.0
        self.stage.time.jump(-self.jumped.total_seconds())

    async def look(self) -> None:
        """Compare what is served with what the storage has."""
        await self.stage.pass_time(2 * SECOND)
        for manager in self.fleet:
            for status in manager.status():
                await self.look_at(manager, status.names[0])
        for authority in self.authorities:
            check_orders(authority)

    async def look_at(self, manager: Manager, name: str) -> None:
        """A context there is always; an expired or temporary one only if the storage has no better."""
        served = parse(leaf_of(await serve(manager, name)))
        now, storage = self.stage.clock(), self.stage.storage
        assert served.not_after is not None
        is_valid = served.issuer != served.subject and now < served.not_after
        if not is_valid and not storage.is_down and storage.latency < 1:
            assert not [one for one in await self.stored(name) if now + SECOND < one.not_after], name

    async def stored(self, name: str) -> list[Certificate]:
        """Return what the storage has for a name."""
        values = [(one.name, await self.stage.storage.load(f"certificates/{one.name}/{name}/certificate.pem")) for one in self.authorities]
        return [Certificate.read(value, issuer) for issuer, value in values if value is not None]


def check_orders(authority: SimulatedAuthority) -> None:
    """The manager's limits hold by the time that nobody sets, but for what a clock that is set lets through."""
    assert authority.exceeded == 0
    per_name = Counter(order.names for order in authority.orders)
    hours = (authority.orders[-1].second - authority.orders[0].second) / 3600 + 1 if authority.orders else 1
    for names, count in per_name.items():
        assert count <= 12 + 3 * hours, (names, count, hours)  # the mean; six an hour near the end of a certificate


def seeds() -> list[int]:
    """Return the seeds of this run."""
    if ONE is not None:
        return [int(ONE)]
    first = int(FIRST) if FIRST is not None else secrets.randbelow(10**9)
    return list(range(first, first + MANY))


def play(seed: int) -> None:
    """Play one case."""
    case = Play(seed)
    try:
        case.stage.run(case.run)
    except BaseException as error:
        error.add_note(f"SEED={seed}")
        raise


@pytest.mark.slow
def test_plays() -> None:
    """New cases in each run."""
    for seed in seeds():
        play(seed)


@pytest.mark.parametrize("seed", range(1, 3))
def test_a_few_plays(seed: int) -> None:
    """The same ones in each run."""
    play(seed)
