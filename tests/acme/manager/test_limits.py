"""The limits of an authority: what is counted, for all processes together, and what waits for them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from manager_stage import DAY, Stage
from simulated_authority import SimulatedAuthority
from tlsio.acme import ACMEIssuer, Limits, MemoryStorage
from tlsio.acme.manager.duplicates import Duplicates, is_forgotten
from virtual_time import BEGIN, VirtualTime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from tlsio.acme import Issued

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)


class Repeating(SimulatedAuthority):
    """Orders up to four times in one call, as an issuer with several types of challenges."""

    repeats_orders = True
    tries = 4

    async def issue(
        self,
        names: Sequence[str],
        *,
        replaces: bytes | None = None,
        profile: str | None = None,
        may_repeat: Callable[[Exception], Awaitable[bool]] | None = None,
    ) -> Issued:
        """Issue, after some failures."""
        for left in reversed(range(self.tries)):
            try:
                return await super().issue(names, replaces=replaces, profile=profile)
            except tlsio.ACMEError as error:
                if not left or may_repeat is None or not await may_repeat(error):
                    raise
        raise AssertionError


def stage_of(authority: type[SimulatedAuthority] = Repeating, *, limits: Limits | None = None, has_ari: bool = True) -> Stage:
    """Return a stage with another authority."""
    stage = Stage()
    stage.authority = authority("first", stage.clock, lifetime=45 * DAY, has_ari=has_ari)
    if limits is not None:
        stage.authority.limits = limits  # type: ignore[attr-defined]
    return stage


def most_in_an_hour(times: Sequence[datetime]) -> int:
    """Return the largest number of times in any hour."""
    return max(sum(begin <= time < begin + HOUR for time in times) for begin in times)


async def read(stage: Stage, key: str) -> Any:
    """Return a JSON value of the storage."""
    return json.loads(await stage.storage.load(key) or b"{}")


# ---- each order, and each failure


def test_each_order_of_an_issuer_that_repeats_counts_as_a_failure() -> None:
    """Five of a name in any hour, and not five calls."""
    stage = stage_of()
    stage.authority.fault = "refuses"

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(DAY)
        [status] = manager.status()
        assert status.failures == len(stage.authority.orders)
        assert manager.stats().orders == {("first", "failed"): len(stage.authority.orders)}

    stage.run(main)
    times = [order.at for order in stage.authority.orders]
    assert most_in_an_hour(times) == 5
    assert [time - times[0] < MINUTE for time in times[:5]] == [True, True, True, True, False]


def test_each_order_is_noted_in_the_ledger() -> None:
    """The next process counts them too."""
    stage = stage_of()
    stage.authority.fault = "refuses"

    async def main() -> None:
        await stage.manage("a.example").start()
        await stage.pass_time(MINUTE)
        assert len((await read(stage, "accounts/first/orders.json"))["orders"]) == len(stage.authority.orders) == 4

    stage.run(main)


def test_order_beyond_the_limit_is_not_repeated() -> None:
    """The call ends with the failure of the last order."""
    stage = stage_of(limits=Limits(orders=3))
    stage.authority.fault = "refuses"

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(HOUR)
        assert [status.code for status in manager.status()] == ["ERR_ACME"]

    stage.run(main)
    assert len(stage.authority.orders) == 3


def test_process_that_dies_between_two_orders_has_noted_both() -> None:
    """The first as it failed, the second as one that was begun."""
    stage = stage_of()
    stage.authority.fault = "refuses"

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(3 * SECOND)
        await manager.stop()
        noted = await read(stage, "status/a.example.json")
        assert (noted["failures"], noted["code"]) == (2, "ERR_ACME_INTERRUPTED")

    stage.run(main)
    assert len(stage.authority.orders) == 2


# ---- certificates for the same names


def test_sixth_certificate_in_a_week_waits(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever wants it, and whatever became of the others: the authority would refuse it."""
    stage = stage_of(SimulatedAuthority, limits=Limits(duplicates=5), has_ari=False)

    async def main() -> None:
        manager = stage.manage(["a.example", "b.example"])
        await manager.start()
        await stage.pass_time(MINUTE)
        for _ in range(4):
            await manager.renew("a.example")
            await stage.pass_time(HOUR)
        with pytest.raises(tlsio.ConfigError) as refused:
            await manager.renew("a.example")
        assert refused.value.code == "ERR_ACME_NOT_YET"
        await manager.stop()
        for key in await stage.storage.list("certificates"):
            await stage.storage.delete(key)
        after = stage.manage(["b.example", "a.example"])  # the same set
        await after.start()
        await stage.pass_time(6 * DAY)
        assert [status.state for status in after.status()] == ["missing"]
        await stage.pass_time(2 * DAY)
        assert [status.state for status in after.status()] == ["valid"]

    stage.run(main)
    assert stage.issued == 6
    assert "first has issued 5 certificates for a.example, b.example within a week" in caplog.text


def test_renewals_that_name_what_they_replace_are_not_counted() -> None:
    """RFC 9773; Let's Encrypt leaves them out of all limits."""
    stage = stage_of(SimulatedAuthority, limits=Limits(duplicates=2))

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(HOUR)
        for _ in range(5):
            await manager.renew("a.example")
            await stage.pass_time(HOUR)
        assert len((await read(stage, "issued/first/a.example.json"))["certificates"]) == 1

    stage.run(main)
    assert stage.issued == 6


def test_certificate_that_cannot_be_used_counts() -> None:
    """The authority has issued it."""
    stage = stage_of(SimulatedAuthority, limits=Limits(duplicates=2))
    stage.authority.fault = "wrong key"

    async def main() -> None:
        await stage.manage("a.example").start()
        await stage.pass_time(DAY)

    stage.run(main)
    assert len(stage.authority.orders) == 2


def test_another_issuer_is_asked_meanwhile() -> None:
    """The limit is that of one authority."""
    stage = stage_of(SimulatedAuthority, limits=Limits(duplicates=1), has_ari=False)
    second = SimulatedAuthority("second", stage.clock, lifetime=45 * DAY, has_ari=False)

    async def main() -> None:
        manager = stage.manage("a.example", issuers=[stage.authority, second])
        await manager.start()
        await stage.pass_time(MINUTE)
        assert (await manager.renew("a.example")).issuer == "second"

    stage.run(main)
    assert (len(stage.authority.orders), len(second.orders)) == (1, 1)


def test_notes_of_certificates_are_removed_after_a_week() -> None:
    """Also those of names that are not managed any more."""
    stage = stage_of(SimulatedAuthority, limits=Limits(duplicates=5))

    async def main() -> None:
        manager = stage.manage("a.example", "b.example")
        await manager.start()
        await stage.pass_time(HOUR)
        manager.remove("b.example")
        assert len(await stage.storage.list("issued")) == 2
        await stage.pass_time(6 * DAY)
        assert len(await stage.storage.list("issued")) == 2
        await stage.pass_time(2 * DAY)
        assert await stage.storage.list("issued") == []

    stage.run(main)


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[]", b'{"certificates": 1}', b'{"certificates": [1, {"at": 1}, {"at": "2001-01-01", "names": 2}]}']
)
def test_damaged_notes_count_nothing(value: bytes) -> None:
    """They never stop an order, and the next note replaces them."""
    time, storage = VirtualTime(), MemoryStorage()

    async def main() -> None:
        await storage.store("issued/x/a.example.json", value)
        noted = Duplicates(storage, time.clock)
        assert await noted.find_wait("x", ["a.example"], 1) is None
        await noted.note("x", ["a.example"])
        assert await noted.find_wait("x", ["a.example"], 1) == BEGIN + 7 * DAY
        assert not is_forgotten(await storage.load("issued/x/a.example.json"), time.clock())

    assert is_forgotten(value, BEGIN)
    time.run(main)


@pytest.mark.parametrize(
    ("url", "most"),
    [
        ("https://acme-v02.api.letsencrypt.org/directory", 5),
        ("https://acme-staging-v02.api.letsencrypt.org/directory", None),
        ("https://ca.internal/acme", None),
    ],
)
def test_only_lets_encrypt_counts_certificates_for_the_same_names(url: str, most: int | None) -> None:
    """An authority of one's own may issue certificates that live for hours."""
    assert ACMEIssuer(url, MemoryStorage(), []).limits.duplicates == most
