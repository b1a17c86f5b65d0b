"""The manager under a virtual clock: what is ordered when, of whom, and what is served meanwhile."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry

import tlsio
from faulty_storage import FaultyStorage
from manager_stage import DAY, Stage, issuer_of, leaf_of, names_of, serve
from simulated_authority import SimulatedAuthority
from tlsio import certs
from tlsio.acme import AuthorityIssuer, Manager, ManagerCollector, MemoryStorage

if TYPE_CHECKING:
    from simulated_authority import Fault

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
FIRST = "CN=first intermediate"


# ---- obtaining


def test_names_are_served_by_a_temporary_certificate_until_theirs_are_there() -> None:
    """Self-signed, so that HSTS is not sent under it; a client without a name gets that of the first name."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage("a.example", "b.example")
        await manager.start()
        assert [issuer_of(await serve(manager, name)) for name in ("a.example", None)] == ["itself", "itself"]
        assert manager.is_temporary("a.example")
        changed: list[Any] = []
        manager.on("changed", changed.append)
        await stage.pass_time(MINUTE)
        assert [issuer_of(await serve(manager, name)) for name in ("a.example", "b.example", None)] == [FIRST] * 3
        assert not manager.is_temporary("a.example")
        assert changed == [await serve(manager, "a.example")]
        assert await serve(manager, "c.example") is None

    stage.run(main)
    assert sorted(names_of(stage.events, "obtained")) == [("a.example",), ("b.example",)]


def test_each_name_has_a_certificate_of_its_own_unless_grouped() -> None:
    """A group shares one; its first name is its place in the storage."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage("a.example", ["b.example", "*.b.example", "192.0.2.1"])
        await manager.start()
        await stage.pass_time(MINUTE)
        assert leaf_of(await serve(manager, "b.example")) == leaf_of(await serve(manager, "x.b.example"))
        assert leaf_of(await serve(manager, "a.example")) != leaf_of(await serve(manager, "b.example"))

    stage.run(main)
    assert [order.names for order in stage.authority.orders] == [("a.example",), ("b.example", "*.b.example", "192.0.2.1")]
    assert asyncio.run(stage.storage.list("certificates/first/b.example")) == [
        "certificates/first/b.example/certificate.json",
        "certificates/first/b.example/certificate.pem",
    ]


def test_stored_certificates_are_served_at_once() -> None:
    """After a restart nothing is ordered, and the time to renew is that which was chosen before."""
    stage = Stage()

    async def main() -> None:
        first = stage.manage("a.example")
        await first.start()
        await stage.pass_time(HOUR)
        await first.stop()
        second = stage.manage("a.example")
        await second.start()
        assert issuer_of(await serve(second, "a.example")) == FIRST
        assert second.status()[0].next_try == first.status()[0].next_try
        await stage.pass_time(DAY)

    stage.run(main)
    assert len(stage.authority.orders) == 1


def test_group_that_has_grown_is_ordered_anew() -> None:
    """The old certificate serves its names until then."""
    stage = Stage()

    async def main() -> None:
        await stage.manage("a.example").start()
        await stage.pass_time(MINUTE)
        await stage.managers[0].stop()
        manager = stage.manage(["a.example", "www.a.example"])
        await manager.start()
        assert issuer_of(await serve(manager, "a.example")) == FIRST
        await stage.pass_time(MINUTE)

    stage.run(main)
    assert [order.names for order in stage.authority.orders] == [("a.example",), ("a.example", "www.a.example")]


def test_names_are_added_and_removed() -> None:
    """While it runs; the first name stays, since it serves clients without a name."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        manager.add(["b.example", "c.example"])
        await stage.pass_time(MINUTE)
        assert issuer_of(await serve(manager, "c.example")) == FIRST
        manager.remove("b.example")
        assert await serve(manager, "c.example") is None
        with pytest.raises(tlsio.UsageStateError):
            manager.remove("a.example")
        with pytest.raises(tlsio.UsageValueError):
            manager.add("a.example")

    stage.run(main)


# ---- renewing


@pytest.mark.slow
@pytest.mark.parametrize("has_ari", [True, False], ids=["suggested", "own rule"])
@pytest.mark.parametrize(("lifetime", "low", "high"), [(160 * HOUR, 72, 81), (45 * DAY, 350, 780)], ids=["6 days", "45 days"])
def test_certificates_are_renewed_in_time(has_ari: bool, lifetime: timedelta, low: float, high: float) -> None:  # noqa: FBT001
    """By the suggestion, with `replaces`; or by the rule. The hours until then are between the limits."""
    stage = Stage(lifetime=lifetime, has_ari=has_ari)

    async def main() -> None:
        await stage.manage("a.example").start()
        await stage.pass_time(lifetime)

    stage.run(main)
    first, second = stage.authority.orders[:2]
    assert low * HOUR < second.at - first.at < high * HOUR
    assert (second.replaces is not None) == has_ari
    assert stage.count("expiring") == 0


def test_suggestion_of_the_past_renews_at_the_next_poll() -> None:
    """As before a mass revocation (RFC 9773 §4.2)."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(DAY)
        stage.authority.moved[leaf_of(await serve(manager, "a.example"))] = stage.clock() - DAY, stage.clock() - HOUR
        await stage.pass_time(7 * HOUR)
        assert len(stage.authority.orders) == 2
        assert manager.status()[0].explanation_url == "https://status.example/"

    stage.run(main)


def test_revoked_certificate_is_replaced() -> None:
    """Found in the list that it names, at the latest after a day."""
    stage = Stage(has_ari=False)

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(DAY)
        await stage.authority.revoke(leaf_of(await serve(manager, "a.example")))
        await stage.pass_time(2 * DAY)
        assert leaf_of(await serve(manager, "a.example")) not in stage.authority.revoked
        assert manager.status()[0].state == "valid"

    stage.run(main)
    assert (stage.issued, stage.count("revoked")) == (2, 1)


def test_caller_can_renew_now() -> None:
    """Before its time; the status of the new one is returned."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage("a.example")
        first = await manager.obtain("a.example")
        assert await manager.obtain("a.example") == first
        second = await manager.renew("a.example")
        assert second.fingerprint != first.fingerprint
        stage.authority.fault = "refuses"
        with pytest.raises(tlsio.ACMEError, match="not yours"):
            await manager.renew("a.example")

    stage.run(main)
    assert len(stage.authority.orders) == 3


# ---- failures


@pytest.mark.slow
def test_expired_certificate_is_served_with_warnings() -> None:
    """To its last minute and beyond; events and the status say so, and the next order is on its way."""
    stage = Stage(lifetime=10 * DAY)

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(HOUR)
        stage.authority.fault = "down"
        await stage.pass_time(12 * DAY)
        assert issuer_of(await serve(manager, "a.example")) == FIRST
        assert issuer_of(await serve(manager, None)) == FIRST
        [status] = manager.status()
        assert (status.state, status.code) == ("expired", "ECONNREFUSED")
        assert status.next_try is not None
        assert status.next_try < stage.clock() + HOUR
        assert manager.stats().paused.keys() == {"first"}
        stage.authority.fault = None
        await stage.pass_time(30 * MINUTE)
        assert manager.status()[0].state == "valid"

    stage.run(main)
    assert [event for _, event, _ in stage.events if event in {"expiring", "expired"}] == ["expiring", "expired"]


def test_refused_name_is_tried_again_over_days() -> None:
    """Five orders in the first hour at most, then fewer; other names are not concerned."""
    stage = Stage()
    stage.authority.fault = "refuses"

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(HOUR - MINUTE)
        assert 4 <= len(stage.authority.orders) <= 5
        await stage.pass_time(7 * DAY)
        assert 30 < len(stage.authority.orders) < 60
        assert issuer_of(await serve(manager, "a.example")) == "itself"
        [status] = manager.status()
        assert (status.state, status.failures) == ("missing", len(stage.authority.orders))
        written = json.loads(await stage.storage.load("status/a.example.json") or b"")
        assert written["message"] == "The name is not yours"
        assert written["failures"] == status.failures

    stage.run(main)
    assert stage.count("failed") == len(stage.authority.orders)


def test_wait_survives_a_restart() -> None:
    """A process that is started again and again orders no more often."""
    stage = Stage()
    stage.authority.fault = "refuses"

    async def main() -> None:
        for _ in range(30):
            manager = stage.manage("a.example")
            await manager.start()
            await stage.pass_time(10 * SECOND)
            await manager.stop()

    stage.run(main)
    assert len(stage.authority.orders) <= 4


def test_process_that_dies_in_its_order_waits_too() -> None:
    """The failure is noted before the order: a crash that the order causes is not repeated at once."""
    stage = Stage()
    stage.authority.latency = 5.0

    async def main() -> None:
        for _ in range(30):
            manager = stage.manage("a.example")
            await manager.start()
            await stage.pass_time(3 * SECOND)
            await manager.stop()
        assert json.loads(await stage.storage.load("status/a.example.json") or b"")["code"] == "ERR_ACME_INTERRUPTED"

    stage.run(main)
    assert len(stage.authority.orders) == 2  # at the start, and a minute later


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["down", "server error", "retry after", "garbage"])
def test_authority_that_fails_is_left_alone(fault: Fault) -> None:
    """A hundred names ask it once in ten minutes, all together; when it is back, all have theirs soon."""
    stage = Stage()
    stage.authority.fault = fault

    async def main() -> None:
        manager = stage.manage(*(f"n{number}.example" for number in range(100)))
        await manager.start()
        await stage.pass_time(DAY)
        assert len(stage.authority.orders) < 24 * 8 + 32
        stage.authority.fault = None
        await stage.pass_time(HOUR)
        assert manager.stats().states == {"valid": 100}

    stage.run(main)


def test_retry_after_is_obeyed() -> None:
    """Of a server's error by all names; half an hour here."""
    stage = Stage()
    stage.authority.fault = "retry after"

    async def main() -> None:
        await stage.manage("a.example").start()
        await stage.pass_time(DAY)

    stage.run(main)
    times = [order.at for order in stage.authority.orders]
    assert len(times) > 10
    assert min(later - earlier for earlier, later in pairwise(times)) >= 30 * MINUTE


def test_limit_of_the_authority_is_obeyed() -> None:
    """`rateLimited` with an hour: not asked before, about this name."""
    stage = Stage()
    stage.authority.fault = "rate limited"

    async def main() -> None:
        await stage.manage("a.example").start()
        await stage.pass_time(DAY)

    stage.run(main)
    times = [order.at for order in stage.authority.orders]
    assert min(later - earlier for earlier, later in pairwise(times)) >= HOUR


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["wrong key", "wrong name", "expired", "future", "garbage"])
def test_wrong_certificate_is_not_served(fault: Fault) -> None:
    """The old one stays, nothing is stored, and the next order waits."""
    stage = Stage(lifetime=10 * DAY)

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(DAY)
        before, stored = (
            leaf_of(await serve(manager, "a.example")),
            await stage.storage.load("certificates/first/a.example/certificate.pem"),
        )
        stage.authority.fault = fault
        await stage.pass_time(6 * DAY)
        assert leaf_of(await serve(manager, "a.example")) == before
        assert await stage.storage.load("certificates/first/a.example/certificate.pem") == stored
        assert len(stage.authority.orders) < 60

    stage.run(main)


def test_authority_that_hangs_is_given_up() -> None:
    """After ten minutes; the other names go on."""
    stage = Stage()
    stage.authority.fault = "hangs"

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(11 * MINUTE)
        assert manager.status()[0].code == "TimeoutError"
        stage.authority.fault = None
        await stage.pass_time(30 * MINUTE)
        assert manager.status()[0].state == "valid"

    stage.run(main)


def test_next_issuer_is_asked_when_one_fails() -> None:
    """In the same order; later renewals begin with the first again, without `replaces`."""
    stage = Stage(lifetime=10 * DAY)
    second = SimulatedAuthority("second", stage.clock, lifetime=10 * DAY, seed=2)
    stage.authority.fault = "down"

    async def main() -> None:
        manager = stage.manage("a.example", issuers=[stage.authority, second])
        await manager.start()
        await stage.pass_time(MINUTE)
        assert manager.status()[0].issuer == "second"
        stage.authority.fault = None
        await stage.pass_time(6 * DAY)
        assert manager.status()[0].issuer == "first"
        assert stage.authority.orders[-1].replaces is None

    stage.run(main)
    assert stage.count("failed") == 0


def test_staging_is_tried_first_after_a_failure() -> None:
    """Orders that would fail again cost nothing there; its certificate is not used."""
    stage = Stage()
    staging = SimulatedAuthority("staging", stage.clock, lifetime=10 * DAY, seed=2)
    stage.authority.fault = staging.fault = "refuses"

    async def main() -> None:
        manager = stage.manage("a.example", staging=staging)
        await manager.start()
        await stage.pass_time(12 * HOUR)
        assert len(stage.authority.orders) == 1
        assert len(staging.orders) > 5
        stage.authority.fault = staging.fault = None
        await stage.pass_time(7 * HOUR)
        assert manager.status()[0].issuer == "first"

    stage.run(main)
    assert [order.is_issued for order in stage.authority.orders] == [False, True]


def test_staging_that_is_down_says_nothing() -> None:
    """Otherwise its outage would be one of the authority."""
    stage = Stage()
    staging = SimulatedAuthority("staging", stage.clock, lifetime=10 * DAY, seed=2)
    stage.authority.fault = "refuses"

    async def main() -> None:
        manager = stage.manage("a.example", staging=staging)
        await manager.start()
        await stage.pass_time(MINUTE)
        stage.authority.fault, staging.fault = None, "down"
        await stage.pass_time(10 * MINUTE)
        assert manager.status()[0].issuer == "first"

    stage.run(main)


@pytest.mark.slow
def test_many_names_stay_below_the_limits() -> None:
    """Ten orders in ten seconds, 300 in three hours: 700 new names take nine hours."""
    stage = Stage(lifetime=90 * DAY)
    stage.authority.latency = 0.1

    async def main() -> None:
        manager = stage.manage(*(f"n{number}.example" for number in range(700)))
        await manager.start()
        await stage.pass_time(2 * HOUR)
        assert stage.issued == 300
        await stage.pass_time(5 * HOUR)
        assert manager.stats().states == {"valid": 700}

    stage.run(main)
    assert stage.authority.exceeded == 0
    times = [order.at for order in stage.authority.orders]
    assert all(later - earlier >= 10 * SECOND for earlier, later in zip(times, times[10:], strict=False))


# ---- storage


def test_storage_that_is_down_leaves_what_is_served() -> None:
    """Nothing is ordered, because it would be lost; when it works again, the renewal follows soon."""
    stage = Stage(lifetime=10 * DAY)

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(DAY)
        stage.storage.is_down = True
        await stage.pass_time(8 * DAY)
        assert issuer_of(await serve(manager, "a.example")) == FIRST
        assert len(stage.authority.orders) == 1
        assert manager.stats().storage_errors > 10
        stage.storage.is_down = False
        await stage.pass_time(15 * MINUTE)
        assert len(stage.authority.orders) == 2

    stage.run(main)
    assert stage.count("error") == 1


def test_storage_that_is_down_at_the_start_is_read_later() -> None:
    """Servers begin with temporary certificates; the first handshake after that finds the stored one."""
    stage = Stage()

    async def main() -> None:
        await stage.manage("a.example").start()
        await stage.pass_time(HOUR)
        await stage.managers[0].stop()
        stage.storage.is_down = True
        manager = stage.manage("a.example")
        await manager.start()
        assert issuer_of(await serve(manager, "a.example")) == "itself"
        stage.storage.is_down = False
        await stage.pass_time(2 * SECOND)
        assert issuer_of(await serve(manager, "a.example")) == FIRST

    stage.run(main)
    assert len(stage.authority.orders) == 1


def test_slow_storage_does_not_hold_up_servers() -> None:
    """`start` returns after ten seconds, and the rest is read meanwhile."""
    stage = Stage()
    stage.storage.latency = 15.0

    async def main() -> None:
        manager = stage.manage("a.example")
        begin = stage.clock()
        await manager.start()
        assert stage.clock() - begin == 10 * SECOND
        assert issuer_of(await serve(manager, "a.example")) == "itself"
        assert stage.clock() - begin <= 11 * SECOND
        await stage.pass_time(HOUR)
        assert issuer_of(await serve(manager, "a.example")) == FIRST

    stage.run(main)


@pytest.mark.parametrize("is_full", [True, False], ids=["full", "down"])
def test_certificate_that_could_not_be_stored_is_served_and_stored_later(is_full: bool) -> None:  # noqa: FBT001
    """The storage fails while the order runs: the certificate is not lost, and not ordered again."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(SECOND)
        setattr(stage.storage, "is_full" if is_full else "is_down", True)
        await stage.pass_time(HOUR)
        assert issuer_of(await serve(manager, "a.example")) == FIRST
        assert not manager.status()[0].is_saved
        stage.storage.is_full = stage.storage.is_down = False
        await stage.pass_time(HOUR)
        assert manager.status()[0].is_saved
        assert await stage.storage.load("certificates/first/a.example/certificate.pem") is not None

    stage.run(main)
    assert len(stage.authority.orders) == 1


def test_full_storage_orders_nothing() -> None:
    """It is tried before the order."""
    stage = Stage()
    stage.storage.is_full = True

    async def main() -> None:
        await stage.manage("a.example").start()
        await stage.pass_time(DAY)

    stage.run(main)
    assert stage.authority.orders == []


@pytest.mark.parametrize(
    "value", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff" * 100, "swapped key"], ids=repr
)
def test_broken_value_in_the_storage_is_replaced(value: Any) -> None:
    """A person has edited it, or a disk has: a new certificate is ordered, and it ends there."""
    stage = Stage()

    async def main() -> None:
        await stage.manage("a.example", "b.example").start()
        await stage.pass_time(MINUTE)
        await stage.managers[0].stop()
        place = "certificates/first/a.example/certificate.pem"
        old = await stage.storage.load(place) or b""
        if isinstance(value, str):
            key = (await stage.storage.load("certificates/first/b.example/certificate.pem") or b"").partition(b"-----BEGIN CERT")[0]
            await stage.storage.store(place, key + b"-----BEGIN CERT" + old.partition(b"-----BEGIN CERT")[2])
        else:
            await stage.storage.store(place, value)
        manager = stage.manage("a.example", "b.example")
        await manager.start()
        assert issuer_of(await serve(manager, "a.example")) in {"itself", FIRST}
        await stage.pass_time(MINUTE)
        assert issuer_of(await serve(manager, "a.example")) == FIRST
        assert manager.status()[0].state == "valid"

    stage.run(main)


@pytest.mark.slow
def test_expired_certificates_are_removed_after_two_weeks() -> None:
    """Also those of names and issuers that are gone; what is served stays."""
    stage = Stage(lifetime=10 * DAY)

    async def main() -> None:
        first = stage.manage("a.example", "b.example")
        await first.start()
        await stage.pass_time(DAY)
        await first.stop()
        await stage.manage("a.example").start()
        await stage.pass_time(20 * DAY)
        assert len(await stage.storage.list("certificates")) == 4
        await stage.pass_time(6 * DAY)
        assert [key.split("/")[2] for key in await stage.storage.list("certificates")] == ["a.example"] * 2

    stage.run(main)
    assert [details for _, event, details in stage.events if event == "removed"] == [("certificates/first/b.example",)]


# ---- several processes


@pytest.mark.slow
def test_processes_order_once_and_follow_each_other() -> None:
    """Four managers over one storage, for a month of certificates of six days."""
    stage = Stage(lifetime=160 * HOUR)

    async def main() -> None:
        for _ in range(4):
            await stage.manage("a.example", "b.example").start()
        await stage.pass_time(30 * DAY)
        for name in ("a.example", "b.example"):
            leaves = {leaf_of(await serve(manager, name)) for manager in stage.managers}
            assert len(leaves) == 1

    stage.run(main)
    assert len(stage.authority.orders) <= 2 * 11
    assert stage.count("expiring") == 0


def test_handshake_finds_what_another_process_has_obtained() -> None:
    """A name without a certificate is looked for in the storage, once a second at most."""
    stage = Stage()

    async def main() -> None:
        one, other = stage.manage("a.example"), stage.manage("a.example")
        await one.start()
        await stage.pass_time(MINUTE)
        stage.storage.is_down = True
        await other.start()
        stage.storage.is_down = False
        stage.storage.calls.clear()
        found = await asyncio.gather(*(serve(other, "a.example") for _ in range(50)))
        assert [issuer_of(one) for one in found] == [FIRST] * 50
        assert stage.storage.calls["load"] <= 2

    stage.run(main)


def test_reload_serves_what_another_program_has_stored() -> None:
    """At once, though the name has a valid certificate and is not due; as servers do on SIGHUP."""
    stage = Stage()

    async def main() -> None:
        one, other = stage.manage("a.example"), stage.manage("a.example")
        await one.start()
        await stage.pass_time(MINUTE)
        await other.start()
        await one.renew("a.example")
        assert leaf_of(await serve(other, "a.example")) != leaf_of(await serve(one, "a.example"))
        await other.reload()
        assert leaf_of(await serve(other, "a.example")) == leaf_of(await serve(one, "a.example"))

    stage.run(main)


def test_reload_reports_a_storage_that_fails() -> None:
    """What is served stays."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(MINUTE)
        stage.storage.is_down = True
        with pytest.raises(tlsio.StoreError):
            await manager.reload()
        assert issuer_of(await serve(manager, "a.example")) == FIRST

    stage.run(main)


def test_strangers_cause_no_reads() -> None:
    """Names that are not managed, and names that have their certificate."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(MINUTE)
        stage.storage.calls.clear()
        for name in ["a.example", *(f"x{number}.example" for number in range(100))]:
            await serve(manager, name)
            manager.challenge_for(name)
        assert not stage.storage.calls

    stage.run(main)


# ---- clocks


@pytest.mark.parametrize("days", [-400, -1, 1, 30, 4000])
def test_clock_that_is_set_leaves_no_name_without_a_certificate(days: int) -> None:
    """Forward, the old certificates are expired, and still served; backward, they are not valid yet."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(DAY)
        stage.time.jump(days * 86_400)
        for _ in range(24):
            await stage.pass_time(HOUR)
            assert issuer_of(await serve(manager, "a.example")) == FIRST
        stage.time.jump(-days * 86_400)
        await stage.pass_time(DAY)
        assert issuer_of(await serve(manager, "a.example")) == FIRST

    stage.run(main)
    assert len(stage.authority.orders) < 30


def test_nothing_is_done_at_rest() -> None:
    """Three looks a day and certificate, and the authority's own interval."""
    stage = Stage(lifetime=90 * DAY)

    async def main() -> None:
        await stage.manage(*(f"n{number}.example" for number in range(20))).start()
        await stage.pass_time(DAY)
        stage.storage.calls.clear()
        polls = stage.authority.polls
        await stage.pass_time(DAY)
        assert stage.storage.calls["load"] < 20 * 24
        assert stage.authority.polls - polls <= 20 * 5

    stage.run(main)


# ---- arguments


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ([], {}),
        ("a.example", {}),
        (["a.example", "a.example"], {}),
        (["not a name"], {}),
        (["ada@a.example"], {}),
        ([3], {}),
        (["a.example"], {"issuers": []}),
        (["a.example"], {"issuers": [3]}),
        (["a.example"], {"context": {"cert": "x.pem"}}),
        (["a.example"], {"context": {"no_such_option": 1}}),
        (["a.example"], {"on_demand": 3}),
    ],
    ids=repr,
)
def test_wrong_arguments(names: Any, options: Any) -> None:
    """At once, as UsageError."""
    stage = Stage()
    with pytest.raises(tlsio.UsageError):
        Manager(names, FaultyStorage(), **{"issuers": [stage.authority], **options})


def test_issuers_of_one_name_are_refused() -> None:
    """Their certificates would have one place."""
    stage = Stage()
    with pytest.raises(tlsio.UsageValueError, match="one name"):
        Manager(["a.example"], MemoryStorage(), [stage.authority, stage.authority])


def test_failed_renewal_of_a_caller_is_not_repeated() -> None:
    """The old certificate stays until its time; the next call may try at once."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.obtain("a.example")
        stage.authority.fault = "refuses"
        for _ in range(2):
            with pytest.raises(tlsio.ACMEError):
                await manager.renew("a.example")
        await stage.pass_time(DAY)
        assert len(stage.authority.orders) == 3

    stage.run(main)


def test_lock_of_a_suspended_process_is_given_up() -> None:
    """After fifteen minutes, as a failure of the storage; other names are not held up."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage(*(f"n{number}.example" for number in range(30)))
        async with asyncio.TaskGroup() as group:
            held = [group.create_task(hold(stage.storage, f"certificates/n{number}.example", 2 * 3600)) for number in range(20)]
            await asyncio.sleep(1)
            await manager.start()
            await stage.pass_time(HOUR)
            assert manager.stats().states == {"missing": 20, "valid": 10}
            for one in held:
                one.cancel()
        await stage.pass_time(HOUR)
        assert manager.stats().states == {"valid": 30}

    stage.run(main)
    assert {details[0].code for _, event, details in stage.events if event == "error"} == {"ERR_ACME_LOCK_TIMEOUT"}


async def hold(storage: FaultyStorage, name: str, seconds: float) -> None:
    """Hold a lock."""
    async with storage.lock(name):
        await asyncio.sleep(seconds)


def test_manager_starts_again_after_its_loop_has_ended() -> None:
    """As in a program that runs two loops, one after the other."""
    stage = Stage()
    manager = stage.manage("a.example")

    async def start() -> None:
        await manager.start()
        await asyncio.sleep(60)

    async def go_on() -> None:
        await manager.start()
        await asyncio.sleep(60)
        manager.add("b.example")  # the runner waits: it has to be woken
        await asyncio.sleep(60)

    stage.time.run(start)
    stage.time.run(go_on)
    assert manager.stats().states == {"valid": 2}


def test_metrics() -> None:
    """Of each manager, by a label; names on demand have none of their own."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage("a.example", on_demand=lambda _name: True)
        await manager.start()
        await stage.pass_time(MINUTE)
        await serve(manager, "b.shop.example")
        registry = CollectorRegistry()
        registry.register(ManagerCollector({"web": manager}))
        end = manager.status()[0].not_after
        assert end is not None
        assert registry.get_sample_value("tlsio_acme_certificate_end_seconds", {"manager": "web", "name": "a.example"}) == end.timestamp()
        assert registry.get_sample_value("tlsio_acme_certificate_end_seconds", {"manager": "web", "name": "b.shop.example"}) is None
        assert registry.get_sample_value("tlsio_acme_certificates", {"manager": "web", "state": "valid"}) == 2
        assert registry.get_sample_value("tlsio_acme_orders_total", {"manager": "web", "issuer": "first", "result": "issued"}) == 2
        assert registry.get_sample_value("tlsio_acme_issuer_paused", {"manager": "web", "issuer": "first"}) == 0

    stage.run(main)


def test_local_issuer_gets_the_names_that_are_not_public() -> None:
    """And never the others, even if the public one is down."""
    stage = Stage()
    local = AuthorityIssuer(certs.Authority.create(clock=stage.clock), clock=stage.clock)
    stage.authority.fault = "down"

    async def main() -> None:
        manager = stage.manage("localhost", "www.tlsio.dev", ["a.internal", "10.0.0.1"], issuers=[stage.authority, local])
        await manager.start()
        await stage.pass_time(HOUR)
        assert {status.names[0]: status.issuer for status in manager.status()} == {
            "localhost": "local",
            "www.tlsio.dev": None,
            "a.internal": "local",
        }

    stage.run(main)


def test_listener_that_fails_stops_nothing() -> None:
    """It is reported to the loop."""
    stage = Stage()
    reported: list[Any] = []

    async def fail(_status: Any) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
        manager = stage.manage("a.example")
        manager.on("obtained", fail)
        manager.on("obtained", lambda _status: 1 / 0)
        await manager.start()
        await stage.pass_time(MINUTE)
        assert manager.stats().states == {"valid": 1}

    stage.run(main)
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError] * 2


def test_stopping_ends_a_fetch_of_a_revocation_list() -> None:
    """Nothing is left, although the cache of lists has a task of its own."""
    stage = Stage(has_ari=False)
    begun = asyncio.Event()

    async def hang(_url: str) -> bytes:
        begun.set()
        await asyncio.sleep(5)
        return b""

    async def main() -> None:
        manager = stage.manage("a.example", fetch_crl=hang)
        await manager.start()
        await begun.wait()
        await manager.stop()

    stage.run(main)


def test_issuer_that_cancels_itself_is_asked_again() -> None:
    """As any other failure of user code, ten minutes later."""
    stage = Stage()
    issue, failures = stage.authority.issue, [1]

    async def cancel_once(*arguments: Any, **options: Any) -> Any:
        if failures.pop() if failures else 0:
            raise asyncio.CancelledError
        return await issue(*arguments, **options)

    stage.authority.issue = cancel_once  # type: ignore[method-assign]

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(20 * MINUTE)
        assert manager.stats().states == {"valid": 1}

    stage.run(main)


def test_renewal_waits_for_the_work_that_runs() -> None:
    """A look that began before the call does not count as the renewal."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage("a.example")
        first = await manager.obtain("a.example")
        found = await asyncio.gather(manager.obtain("a.example"), manager.renew("a.example"))
        assert found[1].fingerprint != first.fingerprint

    stage.run(main)
