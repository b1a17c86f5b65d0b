"""What is noted of certificates that are still to be revoked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tlsio.acme import MemoryStorage
from tlsio.acme.plans.revocations import Revocation, load_revocations, store_revocations

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = datetime(2027, 1, 1, tzinfo=UTC)
ONE = Revocation(b"leaf", "keyCompromise", "https://ca.example/directory", NOW)


async def store(storage: MemoryStorage, revocations: Sequence[Revocation]) -> None:
    """Keep these, for a name."""
    async with storage.lock("test") as lock:
        await store_revocations(storage, "a.example", revocations, lock)


async def test_what_is_noted_is_found_until_it_expires() -> None:
    """After that there is nothing to revoke."""
    storage = MemoryStorage()
    await store(storage, [ONE])
    assert await load_revocations(storage, "a.example", NOW - timedelta(seconds=1)) == [ONE]
    assert await load_revocations(storage, "a.example", NOW) == []
    await store(storage, [])
    assert await storage.list("") == []


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", "[5]", '[{"leaf": "?", "reason": null, "server": "x", "not_after": "2028-01-01T00:00:00+00:00"}]',
     '[{"leaf": "AA==", "reason": null, "server": "x", "not_after": "soon"}]'],
    ids=["none", "object", "number", "no base64", "no time"],
)  # fmt: skip
async def test_a_damaged_note_is_left_out(text: str) -> None:
    """It hides no other."""
    storage = MemoryStorage()
    await store(storage, [ONE])
    noted = (await storage.load("revocations/a.example.json") or b"").decode().strip()
    whole = noted.replace('"certificates": [', f'"damaged": {text}, "certificates": [{text[1:-1]}{"," if len(text) > 2 else ""}')
    await storage.store("revocations/a.example.json", (whole if text.startswith("[") else '{"certificates": {}}').encode())
    assert await load_revocations(storage, "a.example", NOW - timedelta(days=1)) == ([ONE] if text.startswith("[") else [])
