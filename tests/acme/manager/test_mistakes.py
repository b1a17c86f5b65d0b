"""Failures that trying again does not end: said once with what to do, and rarely tried again."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import tlsio
from manager_stage import DAY, Stage
from simulated_authority import SimulatedAuthority

if TYPE_CHECKING:
    import pytest

    from simulated_authority import Order

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
REJECTED = tlsio.ACMEError(
    "a.example is blocked", code="ERR_ACME_REJECTED_IDENTIFIER", hint="Ask for another name.", problem="rejectedIdentifier", status=400
)
NO_TERMS = tlsio.ConfigError("The terms are not agreed to", code="ERR_ACME_TERMS_NOT_AGREED", hint="Agree to them.")


class Refusing(SimulatedAuthority):
    """Fails with one error."""

    error: Exception | None = None

    def _check_limits(self, order: Order) -> None:
        if self.error is not None:
            raise self.error
        super()._check_limits(order)


def stage_with(error: Exception) -> tuple[Stage, Refusing]:
    """Return a stage whose authority refuses."""
    stage = Stage()
    stage.authority = authority = Refusing("first", stage.clock, lifetime=45 * DAY)
    authority.error = error
    return stage, authority


def test_mistake_is_tried_once_a_day_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """With its hint; the status says that settings must change."""
    stage, authority = stage_with(REJECTED)

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(5 * DAY + HOUR)
        [status] = manager.status()
        assert status.needs_action
        assert (status.state, status.code, status.hint) == ("missing", "ERR_ACME_REJECTED_IDENTIFIER", "Ask for another name.")

    stage.run(main)
    assert len(authority.orders) == 6
    said = [one.getMessage() for one in caplog.records if "No certificate for" in one.getMessage()]
    assert len(said) == 1
    assert said[0].endswith("a.example is blocked. Ask for another name.")


def test_passing_failure_is_logged_each_time_with_its_hint(caplog: pytest.LogCaptureFixture) -> None:
    """What helps may be different each time."""
    stage, authority = stage_with(
        tlsio.ACMEError("no A record", code="ERR_ACME_DNS", hint="Check A.", problem="dns", identifier="a.example")
    )

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(HOUR)
        assert not manager.status()[0].needs_action

    stage.run(main)
    said = [one.getMessage() for one in caplog.records if "No certificate for" in one.getMessage()]
    assert len(said) == len(authority.orders) > 1
    assert all(one.endswith("no A record. Check A.") for one in said)


def test_process_that_was_started_since_tries_again() -> None:
    """It may have other settings."""
    stage, authority = stage_with(REJECTED)

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(2 * HOUR)
        await manager.stop()
        authority.error = None
        again = stage.manage("a.example")
        await again.start()
        await stage.pass_time(5 * MINUTE)
        assert [status.state for status in again.status()] == ["valid"]

    stage.run(main)
    assert len(authority.orders) == 2


def test_processes_with_the_same_settings_share_the_wait() -> None:
    """The storage tells each of them what the others met."""
    stage, authority = stage_with(REJECTED)

    async def main() -> None:
        for _ in range(4):
            await stage.manage("a.example").start()
        await stage.pass_time(23 * HOUR)

    stage.run(main)
    assert len(authority.orders) == 1


def test_mistake_of_the_account_leaves_the_authority_alone(caplog: pytest.LogCaptureFixture) -> None:
    """It would meet each name."""
    stage, authority = stage_with(NO_TERMS)

    async def main() -> None:
        manager = stage.manage(*(f"{number}.example" for number in range(40)))
        await manager.start()
        await stage.pass_time(DAY)
        assert manager.stats().paused

    stage.run(main)
    assert 16 <= len(authority.orders) < 16 + 25  # those that were made at once, and one an hour
    assert caplog.text.count("The terms are not agreed to. Agree to them.") == 1


def test_certificate_near_its_end_is_tried_more_often() -> None:
    """At most an eighth of what is left passes, with an hour as the least."""
    stage, authority = stage_with(REJECTED)
    authority.error = None
    authority.lifetime = timedelta(hours=48)

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(MINUTE)
        authority.error = REJECTED
        await stage.pass_time(47 * HOUR)

    stage.run(main)
    assert 8 < len(authority.orders) < 30


def test_another_issuer_may_succeed_later() -> None:
    """So the wait is that of the failure that may pass."""
    stage, authority = stage_with(REJECTED)
    second = SimulatedAuthority("second", stage.clock, lifetime=45 * DAY)
    second.fault = "refuses"

    async def main() -> None:
        manager = stage.manage("a.example", issuers=[second, authority])
        await manager.start()
        await stage.pass_time(MINUTE)
        second.fault = None
        await stage.pass_time(HOUR)
        assert manager.status()[0].issuer == "second"

    stage.run(main)


def test_note_has_the_hint() -> None:
    """For `tlsio acme status`."""
    stage, _ = stage_with(REJECTED)

    async def main() -> None:
        await stage.manage("a.example").start()
        await stage.pass_time(MINUTE)
        noted = json.loads(await stage.storage.load("status/a.example.json") or b"")
        assert noted["hint"] == "Ask for another name."

    stage.run(main)


def test_reload_tries_again() -> None:
    """A person may have acted on the authority's page; the process was not restarted."""
    stage, authority = stage_with(REJECTED)

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(2 * HOUR)
        authority.error = None
        await manager.reload()
        await stage.pass_time(5 * MINUTE)
        assert [status.state for status in manager.status()] == ["valid"]

    stage.run(main)
    assert len(authority.orders) == 2
