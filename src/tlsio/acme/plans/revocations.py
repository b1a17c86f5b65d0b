"""Certificates that are to be revoked when they have been replaced: `revocations/<name>.json`.

The new certificate takes the place of the old one in the storage. Without this note, an old one
whose revocation the authority has refused, or has not answered, could never be revoked.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tlsio.acme.manager.facts import parse_json, print_json, read_instant, write_instant
from tlsio.acme.storage.keys import key_segment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from tlsio.acme.manager.certificate import Certificate
    from tlsio.acme.plans.plan import Plan
    from tlsio.acme.storage.storage import Lock, Storage

__all__ = ["Revocation", "load_revocations", "note_revocation", "revocation_key", "store_revocations"]


@dataclass(frozen=True, slots=True)
class Revocation:
    """One that is left to do.

    Attributes:
        leaf: The certificate, DER.
        reason: As of `Issuer.revoke`.
        server: The directory of its authority; the plan may have another one by then.
        not_after: The end of the certificate, after which there is nothing left to revoke.
    """

    leaf: bytes
    reason: str | None
    server: str
    not_after: datetime


def revocation_key(name: str) -> str:
    """Return where the revocations of a plan are noted."""
    return f"revocations/{key_segment(name)}.json"


async def load_revocations(storage: Storage, name: str, now: datetime) -> list[Revocation]:
    """Return what is left to revoke, without what has expired; what cannot be read is left out.

    Raises:
        StoreError: the storage failed.
    """
    noted: Any = parse_json(await storage.load(revocation_key(name))).get("certificates")
    return [one for one in _read(noted if isinstance(noted, list) else []) if now < one.not_after]


async def note_revocation(storage: Storage, plan: Plan, certificate: Certificate, reason: str | None, now: datetime, lock: Lock) -> None:
    """Note the certificate of a plan; one that is noted gets the new reason.

    Raises:
        StoreError: the storage failed.
    """
    others = [one for one in await load_revocations(storage, plan.name, now) if one.leaf != certificate.leaf]
    new = Revocation(certificate.leaf, reason, plan.server, certificate.not_after)
    await store_revocations(storage, plan.name, [*others, new], lock)


async def store_revocations(storage: Storage, name: str, revocations: Sequence[Revocation], lock: Lock) -> None:
    """Keep what is left to revoke.

    Raises:
        StoreError: the storage failed.
    """
    if not revocations:
        await storage.delete(revocation_key(name), lock=lock)
        return
    value = [{**asdict(one), "leaf": base64.b64encode(one.leaf).decode(), "not_after": write_instant(one.not_after)} for one in revocations]
    await storage.store(revocation_key(name), print_json({"certificates": value}), lock=lock)


def _read(noted: Sequence[Any]) -> Iterator[Revocation]:
    for one in noted:
        match one:
            case {"leaf": str(leaf), "reason": str() | None as reason, "server": str(server), "not_after": str(not_after)}:
                end = read_instant(not_after)
                with contextlib.suppress(binascii.Error):
                    if end is not None:
                        yield Revocation(base64.b64decode(leaf, validate=True), reason, server, end)
