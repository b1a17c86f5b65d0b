"""The manager under faults: wrong clocks, damaged values, files that are gone, and work that is interrupted."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from faulty_storage import FaultyStorage
from manager_stage import DAY, Stage, issuer_of, leaf_of, serve
from simulated_authority import SimulatedAuthority
from tlsio import certs
from tlsio.acme import AuthorityIssuer, RenewalInfo
from tlsio.acme.storage.storage import lock_lost
from virtual_time import BEGIN

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from tlsio.acme import Lock

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
YEARS = 3650 * DAY
FIRST = "CN=first intermediate"
PLACE = "certificates/first/a.example"
EXPIRED = json.dumps({"not_after": "2000-12-31T23:59:59+00:00", "fingerprint": "x"}).encode()


class Clock:
    """The virtual clock, and an error."""

    def __init__(self, stage: Stage, error: timedelta) -> None:
        self.stage = stage
        self.error = error

    def __call__(self) -> datetime:
        """Return the time that it shows."""
        return self.stage.clock() + self.error


# ---- options and arguments


def test_file_that_is_gone_orders_nothing(tmp_path: Path) -> None:
    """A context made later has what the files of `context` had at first: otherwise each new certificate would seem broken."""
    stage, roots = Stage(), tmp_path / "roots.pem"
    roots.write_bytes(certs.Authority.create("clients").cert_pem)

    async def main() -> None:
        manager = stage.manage("a.example", "b.example", context={"ca": roots, "request_cert": True})
        await manager.start()
        await stage.pass_time(MINUTE)
        roots.unlink()
        context = await serve(manager, "b.example")
        assert issuer_of(context) == FIRST
        assert context is not None
        assert len(context.given_roots) == 1
        await stage.pass_time(2 * HOUR)

    stage.run(main)
    assert len(stage.authority.orders) == 2


def test_file_that_cannot_be_used_is_refused_at_once(tmp_path: Path) -> None:
    """Not when the first certificate was issued for nothing."""
    (tmp_path / "roots.pem").write_bytes(b"no certificate")
    with pytest.raises(tlsio.ConfigError):
        Stage().manage("a.example", context={"ca": tmp_path / "roots.pem"})


@pytest.mark.parametrize("name", ["my authority", "a/b", "../x", ""])
def test_issuer_whose_name_is_no_key_is_refused(name: str) -> None:
    """Each access to the storage would fail."""
    stage = Stage()
    stage.authority.name = name
    with pytest.raises(tlsio.UsageValueError):
        stage.manage("a.example")


# ---- callers


@pytest.mark.slow
def test_renewal_that_was_not_made_raises() -> None:
    """The limits allow ten orders in ten seconds: the eleventh caller must not take the old certificate for a new one."""
    stage, refused = Stage(), []
    stage.authority.latency = 0.1

    async def main() -> None:
        manager = stage.manage(*(f"{number}.example" for number in range(11)))
        await manager.start()
        await stage.pass_time(10 * MINUTE)
        for before in manager.status():
            try:
                assert (await manager.renew(before.names[0])).fingerprint != before.fingerprint
            except tlsio.ConfigError as error:
                refused.append(error.code)

    stage.run(main)
    assert refused == ["ERR_ACME_NOT_YET"]


@pytest.mark.parametrize("is_stopped", [True, False], ids=["stop", "remove"])
def test_caller_that_waits_for_what_is_given_up(is_stopped: bool) -> None:  # noqa: FBT001
    """It gets an error, is not cancelled itself, and nothing is ordered afterwards."""
    stage = Stage()
    stage.authority.latency = 60.0

    async def main() -> None:
        manager = stage.manage("a.example", "b.example")
        await manager.start()
        await stage.pass_time(SECOND)
        waiting = asyncio.ensure_future(manager.obtain("b.example"))
        await stage.pass_time(SECOND)
        if is_stopped:
            await manager.stop()
        else:
            manager.remove("b.example")
        with pytest.raises(tlsio.UsageStateError):
            await waiting
        await stage.pass_time(HOUR)

    stage.run(main)
    assert len(stage.authority.orders) == 2


def test_certificate_that_is_being_stored_survives_two_cancellations() -> None:
    """By `remove`, and then by `stop`: it was issued, and counts."""
    stage = Stage()
    place = "certificates/first/b.example/certificate.pem"

    async def main() -> None:
        manager = stage.manage("a.example", "b.example")
        await manager.start()
        await stage.pass_time(MINUTE)
        before = await stage.storage.load(place)
        stage.storage.latency = 20.0
        waiting = asyncio.ensure_future(manager.renew("b.example"))
        while len(stage.authority.orders) < 3:
            await stage.pass_time(SECOND)
        await stage.pass_time(5 * SECOND)
        manager.remove("b.example")
        await stage.pass_time(SECOND)
        await manager.stop()
        stage.storage.latency = 0.0
        assert await stage.storage.load(place) != before
        with pytest.raises(tlsio.UsageStateError):
            await waiting

    stage.run(main)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["text", 5], ids=str)
def test_suggestion_that_is_none_stops_no_renewal(wrong: Any) -> None:
    """An issuer may be user code: without a suggestion the own rule holds."""
    stage = Stage()

    async def suggest(_certificate: bytes) -> Any:
        return wrong

    async def main() -> None:
        stage.authority.renewal_info = suggest  # type: ignore[method-assign]
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(60 * DAY)
        assert manager.status()[0].state == "valid"

    stage.run(main)


@pytest.mark.slow
def test_name_removed_before_its_turn_is_not_ordered() -> None:
    """Sixteen certificates are worked on at a time, and the others wait."""
    stage = Stage()
    stage.authority.latency = 100.0
    stage.authority.limits = None  # type: ignore[attr-defined]  # which would refuse it, too

    async def main() -> None:
        names = [f"{number}.example" for number in range(18)]
        manager = stage.manage(*names)
        await manager.start()
        await stage.pass_time(5 * SECOND)
        manager.remove(names[-1])
        await stage.pass_time(HOUR)
        assert names[-1] not in {order.names[0] for order in stage.authority.orders}

    stage.run(main)


# ---- authorities


def test_retry_after_of_staging_is_obeyed() -> None:
    """It is left alone for half an hour, while the name is tried at the other one."""
    stage = Stage()
    staging = SimulatedAuthority("staging", stage.clock, lifetime=DAY)
    stage.authority.fault, staging.fault = "refuses", "retry after"

    async def main() -> None:
        await stage.manage("a.example", staging=staging).start()
        await stage.pass_time(29 * MINUTE)

    stage.run(main)
    assert (len(staging.orders), len(stage.authority.orders) > 2) == (1, True)


@pytest.mark.slow
def test_storage_rests_while_one_order_tries() -> None:
    """An authority that hangs takes ten minutes for it, and the other names do not read the storage every half minute."""
    stage = Stage()
    stage.authority.fault = "down"

    async def main() -> None:
        await stage.manage(*(f"{number}.example" for number in range(50))).start()
        await stage.pass_time(HOUR)
        stage.authority.fault = "hangs"
        await stage.pass_time(HOUR)
        stage.storage.calls.clear()
        await stage.pass_time(HOUR)

    stage.run(main)
    assert stage.storage.calls["lock"] < 50


# ---- clocks


def test_outage_under_a_wrong_clock_ends() -> None:
    """The storage failed while the clock was ten years ahead: when to try it again is forgotten with that."""
    stage = Stage()
    clock = Clock(stage, YEARS)

    async def main() -> None:
        manager = stage.manage("a.example", clock=clock)
        stage.storage.is_down = True
        await manager.start()
        await stage.pass_time(20 * SECOND)
        clock.error = timedelta()
        await stage.pass_time(30 * MINUTE)
        stage.storage.is_down = False
        await stage.pass_time(HOUR)
        assert manager.status()[0].state == "valid"

    stage.run(main)


def test_old_certificates_are_removed_after_a_wrong_clock() -> None:
    """The next time is not ten years ahead."""
    stage = Stage()
    clock = Clock(stage, YEARS)

    async def main() -> None:
        await stage.manage("a.example", clock=clock).start()
        await stage.pass_time(20 * SECOND)
        clock.error = timedelta()
        await stage.storage.store("certificates/first/old.example/certificate.json", EXPIRED)
        await stage.pass_time(2 * DAY)
        assert await stage.storage.list("certificates/first/old.example") == []

    stage.run(main)


@pytest.mark.slow
def test_process_with_a_wrong_clock_removes_nothing() -> None:
    """By its clock, what other machines serve has expired long ago."""
    stage = Stage()

    async def main() -> None:
        await stage.manage("a.example", "b.example").start()
        await stage.pass_time(HOUR)
        before = await stage.storage.list("certificates")
        await stage.manage("b.example", clock=Clock(stage, YEARS)).start()
        await stage.pass_time(2 * DAY)
        assert await stage.storage.list("certificates") == before

    stage.run(main)


# ---- values in the storage


def test_instants_at_the_end_of_time_stop_no_housekeeping() -> None:
    """RFC 5280 §4.1.2.5: a certificate without an end has 99991231235959Z."""
    stage, errors = Stage(), []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        for name in ("0", "z"):
            facts = EXPIRED.replace(b"2000", b"9999") if name == "0" else EXPIRED
            await stage.storage.store(f"certificates/first/{name}.example/certificate.json", facts)
            await stage.storage.store(f"status/{name}.example.json", b'{"failed_at": ["9999-12-31T23:59:59+00:00"]}')
        await stage.manage("a.example").start()
        await stage.pass_time(2 * DAY)
        assert await stage.storage.list("certificates/first/z.example") == []

    stage.run(main)
    assert errors == []


def test_new_certificate_with_facts_of_the_old_one_is_not_removed() -> None:
    """A process may die between the two writes."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(MINUTE)
        await manager.stop()
        before = await stage.storage.load(f"{PLACE}/certificate.pem")
        await stage.storage.store(f"{PLACE}/certificate.json", EXPIRED)
        await stage.manage("b.example").start()
        await stage.pass_time(2 * DAY)
        assert await stage.storage.load(f"{PLACE}/certificate.pem") == before

    stage.run(main)


def test_damaged_certificate_of_the_issuer_is_found_without_a_client() -> None:
    """Otherwise each look at the revocation list would fail, and nothing after it be done: the name would expire."""
    stage = Stage()

    async def main() -> None:
        first = stage.manage("b.example", "a.example")
        await first.start()
        await stage.pass_time(MINUTE)
        await first.stop()
        head, leaf, issuer = ((await stage.storage.load(f"{PLACE}/certificate.pem")) or b"").split(b"-----BEGIN CERTIFICATE-----")
        damaged = issuer.replace(b"=", b"").replace(b"\n-----END", b"=\n-----END")
        await stage.storage.store(
            f"{PLACE}/certificate.pem", b"-----BEGIN CERTIFICATE-----".join([head, leaf, damaged[:60] + damaged[62:]])
        )
        await stage.manage("b.example", "a.example").start()
        await stage.pass_time(MINUTE)

    stage.run(main)
    assert [order.names[0] for order in stage.authority.orders] == ["b.example", "a.example", "a.example"]


@pytest.mark.slow
def test_default_that_has_expired_is_looked_for() -> None:
    """Clients that send no name get it, and no handshake looks into the storage for them."""
    stage = Stage(lifetime=160 * HOUR)
    refusing = SimulatedAuthority("first", stage.clock, lifetime=DAY)
    refusing.fault = "refuses"

    async def main() -> None:
        first = stage.manage("a.example")
        await first.start()
        await stage.pass_time(HOUR)
        await first.stop()
        second = stage.manage("a.example", issuers=[refusing])
        await second.start()
        await stage.pass_time(170 * HOUR)
        await stage.storage.delete("status/a.example.json")
        third = stage.manage("a.example")
        await third.start()
        await stage.pass_time(2 * MINUTE)
        assert leaf_of(await serve(second, None)) == leaf_of(await serve(third, None))

    stage.run(main)


# ---- on demand


def test_storage_that_fails_is_not_asked_by_each_handshake() -> None:
    """The outage is reported, and handshakes within five seconds are refused at once."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage(on_demand=lambda _: True)
        await manager.start()
        stage.storage.is_down = True
        stage.storage.calls.clear()
        for _ in range(20):
            assert await serve(manager, "a.shop.example") is None
        assert (sum(stage.storage.calls.values()), stage.count("error")) == (1, 1)
        stage.storage.is_down = False
        await stage.pass_time(6 * SECOND)
        assert issuer_of(await serve(manager, "a.shop.example")) == FIRST

    stage.run(main)


def test_challenge_of_a_name_that_another_process_obtains() -> None:
    """The authority may connect to any process; a name that the hook does not permit causes no reads."""
    stage = Stage()
    asked: list[str] = []

    class Challenges:
        def context_for_challenge(self, server_name: str) -> None:
            asked.append(server_name)

    async def main() -> None:
        manager = stage.manage(on_demand=lambda name: name == "a.shop.example", challenges=Challenges())
        await manager.start()
        for name in ("a.shop.example", "b.shop.example", "com", "1.2.0.192.in-addr.arpa"):
            answer: Any = manager.challenge_for(name)
            assert await answer is None

    stage.run(main)
    assert asked == ["a.shop.example"]


def test_local_issuer_with_the_name_of_a_key_is_taken() -> None:
    """The other side of the check of names."""
    stage = Stage()
    stage.manage("a.example", issuers=[AuthorityIssuer(certs.Authority.create("x"), name="my_authority@1.0")])


class Naive(SimulatedAuthority):
    """Has a mistake in its suggestions."""

    answer: Any = None

    async def renewal_info(self, certificate: bytes) -> Any:
        """Suggest something else, or a window without a time zone."""
        if self.answer is not None:
            return self.answer
        return RenewalInfo(BEGIN.replace(tzinfo=None), BEGIN.replace(tzinfo=None), None, 60.0)


@pytest.mark.parametrize("answer", [None, (1, 2)], ids=["naive", "tuple"])
def test_mistake_in_the_suggestions_of_an_issuer_is_logged(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    """And the certificate is renewed by its age."""
    stage = Stage()
    stage.authority = authority = Naive("first", stage.clock, lifetime=6 * DAY)
    authority.answer = answer

    async def main() -> None:
        await stage.manage("a.example").start()
        await stage.pass_time(4 * DAY)

    stage.run(main)
    assert stage.issued == 2
    assert "first did not say when to renew a.example" in caplog.text
    assert "The work on" not in caplog.text


class LosingStorage(FaultyStorage):
    """Loses the lock of each write of a certificate, so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    async def store(self, key: str, value: bytes, *, lock: Lock | None = None) -> None:
        """Set a value, or find the lock lost."""
        if lock is not None and key.startswith("certificates/") and self.times:
            self.times -= 1
            raise lock_lost(lock.name)
        await super().store(key, value, lock=lock)


@pytest.mark.parametrize(("times", "is_outage"), [(1, False), (2, True)], ids=["once", "twice"])
def test_a_lost_lock_is_taken_again_at_once(times: int, is_outage: bool) -> None:  # noqa: FBT001 - a table
    """The storage works; only what loses its lock twice in a row waits as after an outage. Nothing is ordered again."""
    stage = Stage()
    stage.storage = LosingStorage(times)

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(timedelta(seconds=20))
        assert [manager.status()[0].is_saved, manager.stats().storage_errors, stage.count("error")] == [not is_outage, is_outage, is_outage]
        await stage.pass_time(timedelta(minutes=5))
        assert manager.status()[0].is_saved

    stage.run(main)
    assert len(stage.authority.orders) == 1
