"""What a storage has: each certificate with its authority, its times and its last failure.

It is read from the storage alone, so it shows what servers and commands have done, also those of
other machines.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tlsio.acme.manager.certificate import Certificate
from tlsio.acme.manager.facts import parse_json
from tlsio.acme.manager.managed import Managed
from tlsio.acme.manager.names import parse_group
from tlsio.acme.manager.records import CERTIFICATES, STATUS, Records
from tlsio.acme.manager.trouble import NO_TROUBLE
from tlsio.acme.plans.deployment import load_deployment
from tlsio.acme.plans.plan import load_plans, plan_key
from tlsio.acme.plans.revocations import load_revocations
from tlsio.acme.storage.keys import key_segment
from tlsio.model.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from tlsio.acme.manager.trouble import Trouble
    from tlsio.acme.plans.plan import Plan
    from tlsio.acme.storage.storage import Storage

__all__ = ["Standing", "survey"]

_log = logging.getLogger("tlsio.acme")

_DEPTH = 3  # issuer, name and file
_AT_ONCE = 20  # names that are read at a time


@dataclass(frozen=True, slots=True)
class Standing:
    """One certificate.

    Attributes:
        names: The first one names it.
        issuer: What issued it, as the storage calls it; None: there is no certificate yet.
        not_after: Its end; None: there is none.
        renews_at: When it is renewed; None: it is not, by `tlsio acme renew`.
        reason: Why then, as of the manager: "time", "suggested", "emergency", "missing" and so on.
        trouble: Failures since the last success.
        plan: How `tlsio acme renew` renews it; None: only a server with this storage does.
        deployment: Failures to put the certificate in place, which is tried again.
        unrevoked: How many certificates that were replaced are still to be revoked.
    """

    names: tuple[str, ...]
    issuer: str | None
    not_after: datetime | None
    renews_at: datetime | None
    reason: str
    trouble: Trouble
    plan: Plan | None
    deployment: Trouble = NO_TROUBLE
    unrevoked: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "names": list(self.names),
            "issuer": self.issuer,
            "not_after": _print(self.not_after),
            "renews_at": _print(self.renews_at),
            "reason": self.reason,
            "has_plan": self.plan is not None,
            "failures": self.trouble.failures,
            "next_try": _print(self.trouble.next_try),
            "error": _error_of(self.trouble),
            "needs_action": self.trouble.needs_action,
            "deployment": None
            if not self.deployment.failures
            else {
                "failures": self.deployment.failures,
                "next_try": _print(self.deployment.next_try),
                "error": _error_of(self.deployment),
            },
            "unrevoked": self.unrevoked,
        }


async def survey(storage: Storage, now: datetime) -> list[Standing]:
    """Return all certificates, plans and failures of a storage, by name; damaged ones are logged.

    Raises:
        StoreError: it cannot be read.
    """
    plans = {plan_key(plan.name): plan for plan in await load_plans(storage, lambda error: _log.warning("%s", error))}
    places = [key.split("/")[1:] for key in await storage.list(CERTIFICATES)]
    segments = {place[1]: place[0] for place in places if len(place) == _DEPTH and place[-1] == "certificate.pem"}
    issuers = sorted({place[0] for place in places if len(place) == _DEPTH})
    records = Records(storage, issuers)
    named = [plan.names for plan in plans.values()]
    named += [names for segment, issuer in segments.items() if (names := await _names_at(storage, issuer, segment))]
    named += [names for key in await storage.list(STATUS) if (names := _read_names(await storage.load(key)))]
    slots = asyncio.Semaphore(_AT_ONCE)

    async def stand(names: tuple[str, ...]) -> Standing:
        async with slots:
            return await _stand(records, names, plans.get(plan_key(names[0])), now)

    every = await asyncio.gather(*(stand(names) for names in _distinct(named)))
    return sorted(every, key=lambda one: one.names)


async def _stand(records: Records, names: tuple[str, ...], plan: Plan | None, now: datetime) -> Standing:
    found, trouble = await records.load_best(names, now), await records.load_trouble(names, now)
    if found is None:
        renewal = Managed(names, trouble=trouble).find_renewal(now)
        return Standing(names, None, None, trouble.next_try or renewal.at, renewal.reason, trouble, plan)
    renewal = Managed(names, certificate=found.certificate, facts=found.facts).find_renewal(now)
    renews_at = renewal.at if plan is None or plan.is_renewed else None
    standing = Standing(names, found.certificate.issuer, found.certificate.not_after, renews_at, renewal.reason, trouble, plan)
    if plan is None:
        return standing
    deployment = await load_deployment(records.storage, plan.name, now)
    present = found.certificate.leaf
    unrevoked = sum(one.leaf != present for one in await load_revocations(records.storage, plan.name, now))
    return replace(standing, deployment=deployment.trouble, unrevoked=unrevoked)


async def _names_at(storage: Storage, issuer: str, segment: str) -> tuple[str, ...]:
    """Return the names of a stored certificate, that of its place first; (): it is damaged."""
    data = await storage.load(f"{CERTIFICATES}/{issuer}/{segment}/certificate.pem")
    if data is None:
        return ()
    try:
        names = Certificate.read(data, issuer).names
        return tuple(sorted(names, key=lambda name: (key_segment(name) != segment, name)))
    except ConfigError as error:
        _log.warning("%s (%s/%s/%s)", error.message, CERTIFICATES, issuer, segment)
        return ()
    except UsageError:
        return ()


def _read_names(status: bytes | None) -> tuple[str, ...]:
    """Return the names that failures were noted for; (): the note is damaged."""
    try:
        return parse_group(parse_json(status).get("names"))
    except UsageError:
        return ()


def _distinct(named: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return one group of names for each place: the first, the plan's if there is one."""
    found: dict[str, tuple[str, ...]] = {}
    for names in named:
        found.setdefault(key_segment(names[0]), names)
    return list(found.values())


def _error_of(trouble: Trouble) -> dict[str, Any] | None:
    return None if trouble.code is None else {"code": trouble.code, "message": trouble.message, "hint": trouble.hint}


def _print(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()
