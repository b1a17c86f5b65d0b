"""Once a day: certificates that expired long ago are removed from the storage."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from tlsio.acme.manager.bounded_lock import hold_lock
from tlsio.acme.manager.certificate import Certificate
from tlsio.acme.manager.duplicates import ISSUED, is_forgotten
from tlsio.acme.manager.facts import parse_json, read_instant
from tlsio.acme.manager.records import CERTIFICATES, STATUS
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from tlsio.acme.storage.storage import Storage

__all__ = ["remove_expired"]

_log = logging.getLogger("tlsio.acme")

# After the end, as certmagic: a person may still want to look at them.
_GRACE = timedelta(days=14)
# Of a name that is not managed any more, the failures tell nothing.
_STATUS_GRACE = timedelta(days=30)
_PATIENCE = 60.0  # seconds
_FILE, _FACTS = "certificate.pem", "certificate.json"


async def remove_expired(storage: Storage, in_use: Collection[str], clock: Callable[[], datetime], emit: Callable[..., object]) -> int:
    """Remove certificates that expired two weeks ago, of all issuers; return how many.

    Args:
        storage: The storage.
        in_use: Fingerprints that are served, and stay.
        clock: The time.
        emit: Gets the event "removed" with the place in the storage.

    Raises:
        StoreError: the storage failed; the rest stays for the next day.
    """
    removed = 0
    for key in await storage.list(CERTIFICATES):
        place, _, file = key.rpartition("/")
        if file == _FACTS and await _is_over(storage, key, in_use, clock()):
            # The lock's name is that of the certificate, without its issuer.
            async with hold_lock(storage, f"{CERTIFICATES}/{place.rpartition('/')[2]}", _PATIENCE) as lock:
                if not await _is_over(storage, key, in_use, clock()):
                    continue
                await storage.delete(f"{place}/{_FILE}", lock=lock)
                await storage.delete(key, lock=lock)
            _log.info("The expired certificate in %s was removed", place)
            emit("removed", place)
            removed += 1
    for key in await storage.list(STATUS):
        times = parse_json(await storage.load(key)).get("failed_at")
        last = read_instant(times[-1]) if isinstance(times, list) and times else None
        if last is not None and last < clock() - _STATUS_GRACE:
            await storage.delete(key)
    for key in await storage.list(ISSUED):
        if is_forgotten(await storage.load(key), clock()):
            await storage.delete(key)
    return removed


async def _is_over(storage: Storage, key: str, in_use: Collection[str], now: datetime) -> bool:
    """Tell by the facts, of which a certificate has some since it was obtained or looked at.

    Facts of another certificate tell nothing: a process may have died before it wrote new ones.
    """
    facts = parse_json(await storage.load(key))
    end, fingerprint = read_instant(facts.get("not_after")), facts.get("fingerprint")
    if end is None or end >= now - _GRACE or fingerprint in in_use:
        return False
    value = await storage.load(f"{key.rpartition('/')[0]}/{_FILE}")
    try:
        return value is None or Certificate.read(value, "").fingerprint == fingerprint
    except ConfigError:
        return True
