"""Obtains, renews and revokes the certificates of plans: what `tlsio acme` does, once.

A server that runs uses the manager instead, over the same storage: what one obtains, the other
finds.
"""

from __future__ import annotations

import logging
import random
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Literal

from tlsio.acme.issuers.acme_issuer import ACMEIssuer
from tlsio.acme.manager.certificate import Certificate
from tlsio.acme.manager.facts import Facts
from tlsio.acme.manager.managed import Managed
from tlsio.acme.manager.records import Found, Records
from tlsio.acme.manager.renewal import choose_in_window, choose_time
from tlsio.acme.manager.trouble import NO_TROUBLE
from tlsio.acme.plans.delivery import deliver
from tlsio.acme.plans.hooks import run_hook
from tlsio.acme.plans.plan import store_plan
from tlsio.acme.plans.solvers import solvers_of
from tlsio.model.errors import TLSError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tlsio.acme.client.account_key import ExternalAccount
    from tlsio.acme.manager.renewal import Renewal
    from tlsio.acme.plans.plan import Plan
    from tlsio.acme.storage.storage import Lock, Storage

__all__ = ["Keeper", "Outcome"]

_log = logging.getLogger("tlsio.acme")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one plan.

    Attributes:
        plan: The plan.
        state: "obtained"; "kept": the certificate is not due; "due": it would be renewed.
        certificate: What is in the storage now.
        renewal: When that is renewed, and why.
    """

    plan: Plan
    state: Literal["obtained", "kept", "due"]
    certificate: Certificate | None
    renewal: Renewal


class Keeper:
    """Works on the certificates of one storage.

    Its methods raise:
        ACMEError: the authority refused.
        FetchError: it did not answer.
        StoreError: the storage cannot be used.
        ConfigError: a file, a hook or a provider of DNS cannot be used.
        OSError: a file cannot be written, or a port cannot be used.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        terms_agreed: bool = False,
        external_account: ExternalAccount | None = None,
        clock: Callable[[], datetime] = partial(datetime.now, UTC),
        chance: random.Random | None = None,
    ) -> None:
        """Work on a storage.

        Args:
            storage: Accounts, plans and certificates.
            terms_agreed: For a new account.
            external_account: For a new account.
            clock: Returns the time, aware.
            chance: Chooses the times of renewals.
        """
        self.storage = storage
        self._terms_agreed = terms_agreed
        self._external_account = external_account
        self._clock = clock
        self._chance = chance or random.SystemRandom()

    def issuer(self, plan: Plan, solvers: tuple[object, ...] = ()) -> ACMEIssuer:
        """Return the issuer of a plan."""
        options = {} if plan.server_ca is None else {"ca": plan.server_ca}
        return ACMEIssuer(
            plan.server, self.storage, solvers, contact=plan.contact, terms_agreed=self._terms_agreed, external_account=self._external_account,
            profile=plan.profile, key_type=plan.key_type, preferred_chain=plan.preferred_chain, clock=self._clock, **options,
        )  # fmt: skip

    async def look(self, plan: Plan) -> Outcome:
        """Return what the storage has for a plan; changes nothing and asks nobody."""
        found = await self._records(plan).load_best(plan.names, self._clock())
        renewal = self._renewal(plan, found)
        is_due = renewal.at <= self._clock()
        return Outcome(plan, "due" if is_due else "kept", None if found is None else found.certificate, renewal)

    async def obtain(self, plan: Plan, *, is_forced: bool = False) -> Outcome:
        """Obtain a certificate if there is none or it is due, deliver it, and keep the plan.

        Args:
            plan: The certificate.
            is_forced: Obtain one in any case.
        """
        outcome = await self._renew(plan, is_forced=is_forced)
        if outcome.state == "kept":
            assert outcome.certificate is not None  # noqa: S101 - otherwise it were due
            await deliver(plan, outcome.certificate)
        await store_plan(self.storage, plan)
        return outcome

    async def renew(self, plan: Plan, *, is_forced: bool = False) -> Outcome:
        """Renew a certificate if it is due, and deliver it."""
        return await self._renew(plan, is_forced=is_forced)

    async def revoke(self, plan: Plan, reason: str | None = None) -> bool:
        """Revoke the certificate of a plan at its authority; False: there is none.

        Certificate and plan stay in the storage.
        """
        issuer = self.issuer(plan)
        found = await Records(self.storage, [issuer.name]).load_best(plan.names, self._clock())
        if found is None:
            return False
        await issuer.revoke(found.certificate.leaf, reason)
        return True

    async def _renew(self, plan: Plan, *, is_forced: bool) -> Outcome:
        await self.storage.check()
        records = self._records(plan)
        async with records.lock(plan.names) as lock:
            found = await records.load_best(plan.names, self._clock())
            if found is not None and not is_forced:
                found = await self._ask(plan, found, records, lock)
            renewal = self._renewal(plan, found)
            if found is not None and not is_forced and renewal.at > self._clock():
                return Outcome(plan, "kept", found.certificate, renewal)
            new = await self._issue(plan, found, records, lock)
        await deliver(plan, new.certificate)
        for hook in plan.deploy_hooks:
            await run_hook(hook, plan)
        return Outcome(plan, "obtained", new.certificate, self._renewal(plan, new))

    async def _issue(self, plan: Plan, found: Found | None, records: Records, lock: Lock) -> Found:
        """Order a certificate between the hooks, and store it."""
        for hook in plan.pre_hooks:
            await run_hook(hook, plan)
        try:
            async with AsyncExitStack() as stack:
                issuer = self.issuer(plan, tuple([await stack.enter_async_context(one) for one in solvers_of(plan, self.storage)]))
                issued = await issuer.issue(plan.names, replaces=None if found is None else found.certificate.leaf)
        finally:
            for hook in plan.post_hooks:
                await run_hook(hook, plan)
        certificate = Certificate.of(issued, issuer.name)
        facts = Facts(certificate.fingerprint, obtained_at=self._clock(), order_url=issued.order_url, profile=plan.profile)
        new = Found(certificate, await self._choose(issuer, certificate, facts))
        await records.save(plan.names, new, lock)
        await records.save_trouble(plan.names, NO_TROUBLE, lock)
        return new

    async def _ask(self, plan: Plan, found: Found, records: Records, lock: Lock) -> Found:
        """Ask the authority when it wants the certificate renewed, unless it was asked lately."""
        certificate, facts = found
        if facts.chosen is not None and facts.next_poll is not None and self._clock() < facts.next_poll:
            return found
        found = Found(certificate, await self._choose(self.issuer(plan), certificate, facts))
        await records.save_facts(plan.names, found, lock)
        return found

    async def _choose(self, issuer: ACMEIssuer, certificate: Certificate, facts: Facts) -> Facts:
        """Return the facts with the time to renew, which is chosen once for each suggestion."""
        life = Managed(tuple(certificate.names), certificate=certificate, facts=facts).life
        assert life is not None  # noqa: S101 - there is a certificate
        if facts.chosen is None:
            facts = replace(facts, chosen=choose_time(life, self._chance))
        try:
            info = await issuer.renewal_info(certificate.leaf)
        except TLSError as error:
            _log.warning("%s did not say when to renew %s: %s", issuer.name, ", ".join(sorted(certificate.names)), error)
            return facts
        if info is None:
            return facts
        facts = replace(facts, next_poll=self._clock() + timedelta(seconds=info.retry_after), explanation_url=info.explanation_url)
        if facts.window == (info.start, info.end):
            return facts
        return replace(facts, window=(info.start, info.end), chosen=choose_in_window(info.start, info.end, self._chance))

    def _records(self, plan: Plan) -> Records:
        return Records(self.storage, [self.issuer(plan).name])

    def _renewal(self, plan: Plan, found: Found | None) -> Renewal:
        managed = Managed(plan.names) if found is None else Managed(plan.names, certificate=found.certificate, facts=found.facts)
        return managed.find_renewal(self._clock())
