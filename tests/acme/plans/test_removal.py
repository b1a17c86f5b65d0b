"""Removing a certificate from a storage: all of it, and nothing else."""

from __future__ import annotations

import pytest

from tlsio.acme import MemoryStorage
from tlsio.acme.plans.removal import remove

OWN = ["plans/a.example.json", "certificates/x/a.example/certificate.json", "certificates/x/a.example/certificate.pem",
       "certificates/y/a.example/certificate.pem", "status/a.example.json", "deployments/a.example.json",
       "revocations/a.example.json"]  # fmt: skip
OTHERS = ["accounts/a.example/key.pem", "certificates/a.example/b.example/certificate.pem", "certificates/x/b.a.example/certificate.pem",
          "issued/x/a.example.json", "plans/b.example.json", "status/b.a.example.json"]  # fmt: skip


async def test_everything_of_a_certificate_is_removed() -> None:
    """Of each authority; what counts in limits stays."""
    storage = MemoryStorage()
    for key in (*OWN, *OTHERS):
        await storage.store(key, b"{}")
    assert await remove(storage, "a.example") == OWN
    assert await storage.list("") == OTHERS
    assert await remove(storage, "a.example") == []


@pytest.mark.parametrize(("name", "segment"), [("*.a.example", "_wildcard.a.example"), ("2001:db8::1", "2001_db8__1")])
async def test_wildcards_and_addresses_have_other_names_in_keys(name: str, segment: str) -> None:
    """As everywhere in the storage."""
    storage = MemoryStorage()
    await storage.store(f"certificates/x/{segment}/certificate.pem", b"")
    assert await remove(storage, name) == [f"certificates/x/{segment}/certificate.pem"]
