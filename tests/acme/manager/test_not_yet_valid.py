"""Certificates that begin later: kept in the storage, reported, and served as valid when they are."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from manager_stage import Stage, issuer_of, leaf_of, serve
from tlsio.acme.plans.survey import survey

if TYPE_CHECKING:
    from datetime import datetime

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
PLACE = "certificates/first/a.example/certificate.pem"
FIRST = "CN=first intermediate"


async def store(stage: Stage, begin: datetime) -> bytes:
    """Put a certificate into the storage, as another program does; return it as DER."""
    leaf = stage.authority.authority.server("a.example", not_before=begin, not_after=begin + 1000 * HOUR)
    await stage.storage.store(PLACE, leaf.key_pem + leaf.chain_pem)
    return leaf.certificate.public_bytes(Encoding.DER)


@pytest.mark.parametrize(("early", "state"), [(5 * MINUTE, "valid"), (5 * MINUTE + SECOND, "not_yet_valid")], ids=["5-minutes", "longer"])
def test_a_stored_certificate_is_valid_from_its_begin(early: timedelta, state: str) -> None:
    """Clocks may differ by five minutes."""
    stage = Stage()
    stage.authority.fault = "down"

    async def main() -> None:
        await store(stage, stage.clock() + early)
        manager = stage.manage("a.example")
        await manager.start()
        [status] = manager.status()
        assert status.state == state
        assert ("a.example" in manager.published) == (state == "valid")
        assert manager.stats().states == {state: 1}

    stage.run(main)


def test_one_that_begins_later_is_served_for_want_of_another(caplog: pytest.LogCaptureFixture) -> None:
    """It is better than a temporary one, the log names it, and in its time it is valid without a further order."""
    stage = Stage()
    stage.authority.fault = "down"

    async def main() -> None:
        stored = await store(stage, stage.clock() + 2 * HOUR)
        manager = stage.manage("a.example")
        await manager.start()
        assert [leaf_of(await serve(manager, name)) for name in ("a.example", None)] == [stored] * 2
        await stage.pass_time(MINUTE)
        assert manager.status()[0].state == "not_yet_valid"
        [standing] = await survey(stage.storage, stage.clock())
        assert standing.reason == "not_yet_valid"
        await stage.pass_time(2 * HOUR)
        assert manager.status()[0].state == "valid"
        assert leaf_of(manager.published["a.example"]) == stored

    stage.run(main)
    assert sum("not valid before" in one.getMessage() for one in caplog.records) == 1


def test_one_that_begins_later_is_replaced_by_an_order() -> None:
    """The authority issues one that is valid now."""
    stage = Stage()

    async def main() -> None:
        stored = await store(stage, stage.clock() + 2 * HOUR)
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(MINUTE)
        assert leaf_of(await serve(manager, "a.example")) != stored
        assert (manager.status()[0].state, len(stage.authority.orders)) == ("valid", 1)

    stage.run(main)


def test_one_that_begins_later_does_not_replace_a_valid_one() -> None:
    """That of the storage is taken when it is valid, and nothing is ordered."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(MINUTE)
        present = leaf_of(await serve(manager, "a.example"))
        stored = await store(stage, stage.clock() + 2 * HOUR)
        await manager.reload()
        await stage.pass_time(HOUR)
        assert leaf_of(await serve(manager, "a.example")) == present
        await stage.pass_time(8 * HOUR)
        assert leaf_of(await serve(manager, "a.example")) == stored

    stage.run(main)
    assert len(stage.authority.orders) == 1


def test_an_issuer_of_such_certificates_is_refused() -> None:
    """With a code, and what to look at; until then, clients get a temporary certificate."""
    stage = Stage()
    stage.authority.fault = "future"

    async def main() -> None:
        manager = stage.manage("a.example")
        await manager.start()
        await stage.pass_time(10 * SECOND)
        assert issuer_of(await serve(manager, "a.example")) == "itself"
        [status] = manager.status()
        assert (status.state, status.code) == ("missing", "ERR_ACME_INVALID_CERTIFICATE")
        shown: Any = status.message, status.hint
        assert "not valid before" in shown[0]
        assert "clock" in shown[1]

    stage.run(main)
    assert stage.count("obtained") == 0
