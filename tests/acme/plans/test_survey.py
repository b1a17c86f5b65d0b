"""What a storage has, also where it is damaged."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tlsio.acme import MemoryStorage
from tlsio.acme.plans.plan import Plan, store_plan
from tlsio.acme.plans.survey import survey

NOW = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("names", ["5", "[1]", '["a/b"]', "[]", '"a.example/b"', "{}"])
async def test_damaged_note_of_failures_is_left_out(names: str) -> None:
    """The others are shown."""
    storage = MemoryStorage()
    await storage.store("status/a.example.json", f'{{"names": {names}}}'.encode())
    await storage.store("status/b.example.json", b'{"names": ["b.example"]}')
    assert [one.names for one in await survey(storage, NOW)] == [("b.example",)]


@pytest.mark.parametrize(
    "key", ["certificates/certificate.pem", "certificates/first/certificate.pem", "certificates/a/b/c/certificate.pem"]
)
async def test_key_of_another_program_is_left_out(key: str) -> None:
    """A certificate is three levels below."""
    storage = MemoryStorage()
    await storage.store(key, b"")
    assert await survey(storage, NOW) == []


async def test_a_damaged_plan_hides_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """Plans are edited by hand; one that cannot be read is logged."""
    storage = MemoryStorage()
    await store_plan(storage, Plan(names=("good.example",), server="https://ca.example/d"))
    await storage.store("plans/bad.example.json", b"[]")
    assert [one.names for one in await survey(storage, datetime.now(UTC))] == [("good.example",)]
    assert "plans/bad.example.json" in caplog.text
