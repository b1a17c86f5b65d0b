"""One order of a plan, between its hooks, counted as the manager of a server counts its orders.

Both share a storage and an account, and so the limits of the authority: failures of a name in an
hour, and certificates for exactly the same names in a week.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from tlsio.acme.manager.authority_health import was_issued
from tlsio.acme.manager.backoff import MAX_RETRY_AFTER, find_wait
from tlsio.acme.manager.certificate import Certificate
from tlsio.acme.manager.duplicates import Duplicates
from tlsio.acme.manager.facts import Facts
from tlsio.acme.manager.managed import Managed
from tlsio.acme.manager.records import Found
from tlsio.acme.manager.renewal import choose_in_window, choose_time
from tlsio.acme.manager.trouble import NO_TROUBLE
from tlsio.acme.plans.hooks import run_hooks
from tlsio.acme.plans.solvers import solving
from tlsio.model.errors import ConfigError, StoreError, TLSError, UsageError
from tlsio.model.instants import print_instant

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from tlsio.acme.issuers.acme_issuer import ACMEIssuer
    from tlsio.acme.manager.records import Records
    from tlsio.acme.manager.trouble import Trouble
    from tlsio.acme.plans.plan import Plan
    from tlsio.acme.solvers.solver import Solver
    from tlsio.acme.storage.storage import Lock

__all__ = ["Ordering", "ask_renewal_info"]

_log = logging.getLogger("tlsio.acme")


class Ordering:
    """Orders the certificate of one plan, under the lock of its names."""

    def __init__(
        self,
        plan: Plan,
        *,
        records: Records,
        lock: Lock,
        make_issuer: Callable[[Plan, Sequence[Solver]], ACMEIssuer],
        clock: Callable[[], datetime],
        chance: random.Random,
    ) -> None:
        self._plan = plan
        self._records = records
        self._lock = lock
        self._make_issuer = make_issuer
        self._clock = clock
        self._chance = chance
        self._issuer = make_issuer(plan, ())
        self._duplicates = Duplicates(records.storage, clock)

    async def obtain(self, found: Found | None, trouble: Trouble) -> Found:
        """Obtain and store a certificate; a failure of the authority is noted in the storage.

        Args:
            found: What is replaced; None: nothing.
            trouble: Failures so far.

        Raises:
            ConfigError: the limit of certificates for these names is reached (`ERR_ACME_NOT_YET`).
            Exception: as the methods of `Keeper`.
        """
        plan, records = self._plan, self._records
        managed = Managed(plan.names, trouble=trouble)
        if found is not None:
            managed.certificate, managed.facts = found
        replaced = managed.find_replaced(self._issuer.name)
        if replaced is None and (wait := await self._find_wait()) is not None:
            raise self._not_yet(wait)

        async def may_repeat(error: TLSError) -> bool:
            """Count each failed order, of which one call may make several."""
            nonlocal replaced
            worse = self._worse(managed, error)
            if worse.count_recent(self._clock()) >= self._issuer.limits.failures or await self._find_wait() is not None:
                return False
            managed.trouble, replaced = worse, None
            await records.save_trouble(plan.names, worse, self._lock)
            return True

        try:
            new = await self._order(replaced, may_repeat)
        except (ConfigError, StoreError, UsageError):  # of this side: no reason to leave the authority alone
            raise
        except TLSError as error:
            await records.save_trouble(plan.names, self._worse(managed, error), self._lock)
            if replaced is None and was_issued(error):
                await self._note_issued()
            raise
        await records.save(plan.names, new, self._lock)
        await records.save_trouble(plan.names, NO_TROUBLE, self._lock)
        if replaced is None:
            await self._note_issued()
        return new

    async def _order(self, replaced: bytes | None, may_repeat: Callable[[TLSError], Awaitable[bool]]) -> Found:
        plan = self._plan
        try:
            await run_hooks(plan.pre_hooks, plan)
            async with solving(plan, self._records.storage) as solvers:
                issuer = self._make_issuer(plan, solvers)
                issued = await issuer.issue(plan.names, replaces=replaced, may_repeat=may_repeat)
        finally:
            try:
                await run_hooks(plan.post_hooks, plan)
            except ConfigError as error:  # the result of the order matters more
                _log.error("%s", error)
        certificate = Certificate.of(issued, issuer.name)
        facts = Facts(certificate.fingerprint, obtained_at=self._clock(), order_url=issued.order_url, profile=plan.profile)
        return await ask_renewal_info(issuer, Found(certificate, facts), self._clock(), self._chance)

    async def _find_wait(self) -> datetime | None:
        most = self._issuer.limits.duplicates
        return None if most is None else await self._duplicates.find_wait(self._issuer.name, self._plan.names, most)

    async def _note_issued(self) -> None:
        """Count a certificate that did not renew another one by its name (RFC 9773 §5)."""
        if self._issuer.limits.duplicates is not None:
            await self._duplicates.note(self._issuer.name, self._plan.names)

    def _not_yet(self, wait: datetime) -> ConfigError:
        names, most = ", ".join(self._plan.names), self._issuer.limits.duplicates
        return ConfigError(
            f"{self._issuer.name} has issued {most} certificates for {names} within a week, and would refuse another before {print_instant(wait)}",
            code="ERR_ACME_NOT_YET",
            hint="Use one of them. The limit is for exactly these names: a certificate with one more is not concerned.",
        )

    def _worse(self, managed: Managed, error: TLSError) -> Trouble:
        now, certificate = self._clock(), managed.certificate
        left = None if certificate is None else max(certificate.not_after - now, timedelta())
        wait = find_wait(managed.trouble.failures + 1, left, self._chance)
        asked = getattr(error, "retry_after", None)
        if asked is not None:
            wait = max(wait, min(timedelta(seconds=asked), MAX_RETRY_AFTER))
        return managed.trouble.add(now, wait, self._issuer.limits.failures, error.code, error.message, error.hint)


async def ask_renewal_info(issuer: ACMEIssuer, found: Found, now: datetime, chance: random.Random) -> Found:
    """Return a certificate with the time to renew it, chosen once for each suggestion.

    Without an answer of the authority, what was chosen before holds.
    """
    certificate, facts = found
    life = Managed(tuple(certificate.names), certificate=certificate, facts=facts).life
    assert life is not None  # noqa: S101 - there is a certificate
    if facts.chosen is None:
        facts = replace(facts, chosen=choose_time(life, chance))
    try:
        info = await issuer.renewal_info(certificate.leaf)
    except TLSError as error:
        _log.warning("%s did not say when to renew %s: %s", issuer.name, ", ".join(sorted(certificate.names)), error)
        return Found(certificate, facts)
    if info is None:
        return Found(certificate, facts)
    facts = replace(facts, next_poll=now + timedelta(seconds=info.retry_after), explanation_url=info.explanation_url)
    if facts.window != (info.start, info.end):
        facts = replace(facts, window=(info.start, info.end), chosen=choose_in_window(info.start, info.end, chance))
    return Found(certificate, facts)
