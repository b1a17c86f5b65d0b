"""Removes what a storage has for one certificate: its plan, the certificate and its failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsio.acme.manager.bounded_lock import hold_lock
from tlsio.acme.manager.records import CERTIFICATES, STATUS
from tlsio.acme.plans.deployment import deployment_key
from tlsio.acme.plans.plan import plan_key
from tlsio.acme.plans.revocations import revocation_key
from tlsio.acme.storage.keys import key_segment

if TYPE_CHECKING:
    from tlsio.acme.storage.storage import Storage

__all__ = ["remove"]

_PATIENCE = 900.0  # seconds; an order of another process holds the lock for as long as it lasts


async def remove(storage: Storage, name: str) -> list[str]:
    """Remove a certificate of any authority; return the keys that there were.

    No authority is asked. What it has issued in the last week stays noted, since it still counts.
    The plan goes first: if the rest fails, nothing renews it.

    Args:
        storage: The storage.
        name: The first name of the certificate, as an A-label in lower case, or an address.

    Raises:
        StoreError: the storage failed; a part may be left.
    """
    segment = key_segment(name)
    async with hold_lock(storage, f"{CERTIFICATES}/{segment}", _PATIENCE) as lock:
        places = [key for key in await storage.list(CERTIFICATES) if key.split("/")[2:3] == [segment]]
        wanted = [plan_key(name), *sorted(places), f"{STATUS}/{segment}.json", deployment_key(name), revocation_key(name)]
        found = [key for key in wanted if await storage.load(key) is not None]
        for key in found:
            await storage.delete(key, lock=lock)
    return found
