"""The manager's part of the storage: certificates with their facts, and troubles."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from tlsio.acme.manager.bounded_lock import hold_lock
from tlsio.acme.manager.certificate import Certificate
from tlsio.acme.manager.facts import Facts
from tlsio.acme.manager.trouble import NO_TROUBLE, Trouble
from tlsio.acme.storage.keys import key_segment
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from tlsio.acme.storage.storage import Lock, Storage

__all__ = ["CERTIFICATES", "STATUS", "Found", "Records", "rank"]

_log = logging.getLogger("tlsio.acme")

_PATIENCE = 900.0  # seconds; another process may hold a lock for as long as an order lasts
CERTIFICATES, STATUS = "certificates", "status"


class Found(NamedTuple):
    """A certificate with what is known about it."""

    certificate: Certificate
    facts: Facts


class Records:
    """Reads and writes the values of one manager. Raises StoreError as the storage does."""

    def __init__(self, storage: Storage, issuers: Iterable[str]) -> None:
        """Use a storage.

        Args:
            storage: The storage.
            issuers: The names of the issuers whose certificates are of use.
        """
        self.storage = storage
        self._issuers = tuple(issuers)

    def lock(self, names: Sequence[str]) -> AbstractAsyncContextManager[Lock]:
        """Wait for the lock of a certificate, which is held for an order."""
        return hold_lock(self.storage, f"{CERTIFICATES}/{key_segment(names[0])}", _PATIENCE)

    async def load_best(
        self, names: Sequence[str], now: datetime, *, known: Certificate | None = None, without: str | None = None
    ) -> Found | None:
        """Return the best certificate for these names, with its facts.

        Args:
            names: A certificate for some of them is better than none.
            now: The time.
            known: What this process has: it need not be read again if the storage has the same.
            without: The fingerprint of one that cannot be used.
        """
        best: Found | None = None
        for issuer in self._issuers:
            found = await self._load(issuer, names, known)
            if found is None or found.facts.fingerprint == without:
                continue
            if best is None or rank(found, names, now) > rank(best, names, now):
                best = found
        return best

    async def _load(self, issuer: str, names: Sequence[str], known: Certificate | None) -> Found | None:
        place = _place(issuer, names)
        value = await self.storage.load(f"{place}/certificate.pem")
        if value is None:
            return None
        try:
            is_known = known is not None and known.issuer == issuer and value == known.pem
            certificate = known if known is not None and is_known else Certificate.read(value, issuer)
        except ConfigError as error:
            _log.warning("%s (%s)", error, place)
            return None
        return Found(certificate, Facts.read(await self.storage.load(f"{place}/certificate.json"), certificate))

    async def save(self, names: Sequence[str], found: Found, lock: Lock) -> None:
        """Write a new certificate, then its facts."""
        place = _place(found.certificate.issuer, names)
        await self.storage.store(f"{place}/certificate.pem", found.certificate.pem, lock=lock)
        await self.save_facts(names, found, lock)

    async def save_facts(self, names: Sequence[str], found: Found, lock: Lock) -> None:
        """Write the facts about a certificate."""
        key = f"{_place(found.certificate.issuer, names)}/certificate.json"
        await self.storage.store(key, found.facts.write(found.certificate), lock=lock)

    async def load_facts(self, names: Sequence[str], certificate: Certificate) -> Facts:
        """Read the facts about a certificate again."""
        return Facts.read(await self.storage.load(f"{_place(certificate.issuer, names)}/certificate.json"), certificate)

    async def load_trouble(self, names: Sequence[str], now: datetime) -> Trouble:
        """Return the failures of all processes."""
        return Trouble.read(await self.storage.load(_status(names)), now)

    async def save_trouble(self, names: Sequence[str], trouble: Trouble, lock: Lock) -> None:
        """Write the failures; without any, remove what is there."""
        if trouble == NO_TROUBLE:
            await self.storage.delete(_status(names), lock=lock)
        else:
            await self.storage.store(_status(names), trouble.write(names), lock=lock)


def rank(found: Found, names: Sequence[str], now: datetime) -> tuple[bool, bool, bool, datetime]:
    """Return what orders certificates by their worth: of two good ones, the later issued."""
    certificate, facts = found
    return certificate.is_valid(now), certificate.covers(names), facts.revoked_at is None, certificate.not_before


def _place(issuer: str, names: Sequence[str]) -> str:
    return f"{CERTIFICATES}/{issuer}/{key_segment(names[0])}"


def _status(names: Sequence[str]) -> str:
    return f"{STATUS}/{key_segment(names[0])}.json"
