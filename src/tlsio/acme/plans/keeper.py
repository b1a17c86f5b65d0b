"""Obtains, renews and revokes the certificates of plans: what `tlsio acme` does, once.

A server that runs uses the manager instead, over the same storage: what one obtains, the other
finds.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tlsio.acme.issuers.acme_issuer import ACMEIssuer, issuer_name
from tlsio.acme.manager.managed import Managed
from tlsio.acme.manager.records import Found, Records
from tlsio.acme.manager.renewal import Renewal
from tlsio.acme.manager.trouble import NO_TROUBLE
from tlsio.acme.plans.delivery import deliver, is_delivered
from tlsio.acme.plans.deployment import Deployments
from tlsio.acme.plans.ordering import Ordering, ask_renewal_info
from tlsio.acme.plans.places import STAGING
from tlsio.acme.plans.plan import load_plan, store_plan
from tlsio.acme.plans.revocations import load_revocations, note_revocation, store_revocations
from tlsio.acme.storage.memory_storage import MemoryStorage
from tlsio.model.errors import StoreError, TLSError, add_hint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tlsio.acme.client.account_key import ExternalAccount
    from tlsio.acme.manager.certificate import Certificate
    from tlsio.acme.manager.trouble import Trouble
    from tlsio.acme.plans.plan import Plan
    from tlsio.acme.solvers.solver import Solver
    from tlsio.acme.storage.storage import Lock, Storage

__all__ = ["Keeper", "Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one plan.

    Attributes:
        plan: The plan.
        state: "obtained"; "rehearsed": a staging server has issued one; "kept": it is not due;
            "due": it would be renewed now; "waiting": the next try is later, after failures.
        certificate: What is in the storage now.
        renewal: When that is renewed, and why.
        trouble: Failures since the last success.
        late_hooks: The deploy hooks that were run for a certificate that was kept.
    """

    plan: Plan
    state: Literal["obtained", "rehearsed", "kept", "due", "waiting"]
    certificate: Certificate | None
    renewal: Renewal
    trouble: Trouble = NO_TROUBLE
    late_hooks: tuple[str, ...] = ()


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
        clock: Callable[[], datetime] | None = None,
        chance: random.Random | None = None,
    ) -> None:
        """Work on a storage.

        Args:
            storage: Accounts, plans and certificates.
            terms_agreed: For a new account.
            external_account: For a new account.
            clock: Returns the time, an aware datetime. Default: the system's clock.
            chance: Chooses the times of renewals.
        """
        self.storage = storage
        self._terms_agreed = terms_agreed
        self._external_account = external_account
        self._clock = clock or partial(datetime.now, UTC)
        self._chance = chance or random.SystemRandom()
        self._deployments = Deployments(storage, self._clock, self._chance)

    def issuer(self, plan: Plan, solvers: Sequence[Solver] = ()) -> ACMEIssuer:
        """Return the issuer of a plan."""
        options: dict[str, Any] = {} if plan.server_ca is None else {"ca": Path(plan.server_ca)}
        return ACMEIssuer(
            plan.server, self.storage, solvers, contact=plan.contact, terms_agreed=self._terms_agreed, external_account=self._external_account,
            profile=plan.profile, key_type=plan.key_type, preferred_chain=plan.preferred_chain, clock=self._clock, **options,
        )  # fmt: skip

    async def look(self, plan: Plan) -> Outcome:
        """Return what the storage has for a plan; changes nothing and asks nobody."""
        records, now = _records(self.storage, plan), self._clock()
        found, trouble = await records.load_best(plan.names, now), await records.load_trouble(plan.names, now)
        renewal = _find_renewal(plan, found, now)
        state: Literal["kept", "due", "waiting"] = "kept" if renewal.at > now else "waiting" if _must_wait(trouble, now) else "due"
        return Outcome(plan, state, None if found is None else found.certificate, renewal, trouble)

    async def obtain(self, plan: Plan, *, is_forced: bool = False) -> Outcome:
        """Obtain a certificate if there is none or it is due, keep the plan, and deliver it.

        The plan is kept as soon as there is a certificate, also if that cannot be delivered. If
        the certificate is kept too, the deploy hooks run that the plan before it did not have.

        Args:
            plan: The certificate; one for other names, or for more, does not do.
            is_forced: Obtain one in any case.
        """
        outcome = await self._renew(plan, is_forced=is_forced, is_patient=False, is_new=True)
        if outcome.state == "kept" and outcome.certificate is not None:
            await store_plan(self.storage, plan)
            await deliver(plan, outcome.certificate)
        return outcome

    async def renew(self, plan: Plan, *, is_forced: bool = False) -> Outcome:
        """Renew a certificate if it is due, and deliver it; waits longer after each failure.

        What `revoke` could not revoke is revoked then.
        """
        outcome = await self._renew(plan, is_forced=is_forced, is_patient=not is_forced)
        await self._revoke_replaced(plan, _records(self.storage, plan))
        return outcome

    async def rehearse(self, plan: Plan, *, is_forced: bool = False) -> Outcome:
        """Try a renewal out, and change nothing.

        If the authority has a staging server, a certificate is ordered there and thrown away. The
        hooks around an order run; deploy hooks do not, and no file of the plan is touched.

        Args:
            plan: The certificate.
            is_forced: Try it out although it is not due, or the last try failed just now.
        """
        outcome = await self.look(plan)
        if is_forced:
            outcome = replace(outcome, state="due", renewal=Renewal(self._clock(), "asked"))
        if outcome.state == "kept" or plan.server not in STAGING:
            return outcome
        trial = replace(plan, server=STAGING[plan.server], cert=None, key=None, deploy_hooks=())
        await Keeper(MemoryStorage(), terms_agreed=True, clock=self._clock).obtain(trial)
        return replace(outcome, state="rehearsed")

    async def revoke(self, plan: Plan, reason: str | None = None, *, is_renewed: bool = False) -> None:
        """Revoke the certificate of a plan. A server that uses it replaces it then.

        Args:
            plan: It is not renewed any more. One that is not stored is that of a server, which
                replaces the certificate.
            reason: As of `Issuer.revoke`.
            is_renewed: Obtain a new one first, and go on with the plan.

        Raises:
            StoreError: there is none (`ERR_ACME_CERTIFICATE`).
        """
        records = _records(self.storage, plan)
        if is_renewed:
            await self._replace(plan, reason, records)
            return
        found = await self._load(records, plan)
        await self._revoke_replaced(plan, records)
        await self.issuer(plan).revoke(found.certificate.leaf, reason)
        if await load_plan(self.storage, plan.name) is not None:
            await store_plan(self.storage, replace(plan, is_renewed=False))
        async with records.lock(plan.names) as lock:
            await records.save_facts(plan.names, Found(found.certificate, replace(found.facts, revoked_at=self._clock())), lock)

    async def _replace(self, plan: Plan, reason: str | None, records: Records) -> None:
        """Obtain a new certificate, then revoke the old one, which is not in the storage then."""
        async with records.lock(plan.names) as lock:
            old, before = await self._load(records, plan), await load_revocations(self.storage, plan.name, self._clock())
            await note_revocation(self.storage, plan, old.certificate, reason, self._clock(), lock)
        try:
            await self._renew(replace(plan, is_renewed=True), is_forced=True, is_patient=False, is_new=True)
        except (TLSError, OSError):
            if (await self._load(records, plan)).certificate.leaf == old.certificate.leaf:
                async with records.lock(plan.names) as lock:
                    await store_revocations(self.storage, plan.name, before, lock)
            else:  # of a hook or a file, when the new one was there
                await self._revoke_replaced(plan, records)
            raise
        await self._revoke_replaced(plan, records)

    async def _revoke_replaced(self, plan: Plan, records: Records) -> None:
        """Revoke what is noted, except for what was not replaced.

        Raises:
            TLSError: the first failure. What is left is noted, for the next renewal.
        """
        noted = await load_revocations(self.storage, plan.name, self._clock())
        if not noted:
            return
        found = await records.load_best(plan.names, self._clock())
        failures, done = list[TLSError](), list[bytes]()
        for one in noted:
            if found is not None and one.leaf == found.certificate.leaf:
                continue
            try:
                await self.issuer(replace(plan, server=one.server)).revoke(one.leaf, one.reason)
                done.append(one.leaf)
            except TLSError as error:
                failures.append(error)
        if done:
            async with records.lock(plan.names) as lock:
                noted = await load_revocations(self.storage, plan.name, self._clock())
                await store_revocations(self.storage, plan.name, [one for one in noted if one.leaf not in done], lock)
        if failures:
            add_hint(
                failures[0],
                "The new certificate is in place. `tlsio acme renew` tries again to revoke the old one, until that has expired.",
            )
            raise failures[0]

    async def _load(self, records: Records, plan: Plan) -> Found:
        found = await records.load_best(plan.names, self._clock())
        if found is None:
            raise StoreError(f"The storage has no certificate called {plan.name}", code="ERR_ACME_CERTIFICATE")
        return found

    async def _renew(self, plan: Plan, *, is_forced: bool, is_patient: bool, is_new: bool = False) -> Outcome:
        await self.storage.check()
        records = _records(self.storage, plan)
        async with records.lock(plan.names) as lock:
            found = await records.load_best(plan.names, self._clock())
            if found is not None and not is_forced:
                found = await self._ask(plan, found, records, lock)
            now = self._clock()
            renewal = _find_renewal(plan, found, now)
            is_exact = not is_new or (found is not None and found.certificate.names == frozenset(plan.names))
            if found is not None and not is_forced and renewal.at > now and is_exact:
                return await self._deploy_late(plan, found.certificate, renewal, lock, is_patient=is_patient, is_new=is_new)
            trouble = await records.load_trouble(plan.names, now)
            if is_patient and _must_wait(trouble, now):
                return Outcome(plan, "waiting", None if found is None else found.certificate, renewal, trouble)
            ordering = Ordering(plan, records=records, lock=lock, make_issuer=self.issuer, clock=self._clock, chance=self._chance)
            new = await ordering.obtain(found, trouble)
            begun = await self._deployments.begin(plan, new.certificate, lock)
        if is_new:
            await store_plan(self.storage, plan)
        await self._deployments.deploy(plan, new.certificate, begun)
        return Outcome(plan, "obtained", new.certificate, _find_renewal(plan, new, self._clock()))

    async def _deploy_late(
        self, plan: Plan, certificate: Certificate, renewal: Renewal, lock: Lock, *, is_patient: bool, is_new: bool
    ) -> Outcome:
        """Deploy what a server has obtained, or what a call that failed or died did not deploy."""
        noted = await self._deployments.load(plan.name)
        if not noted.trouble.failures if is_new else await noted.is_done(plan, certificate):
            hooks = await self._find_new_hooks(plan) if is_new else ()
            if hooks:
                begun = await self._deployments.begin(plan, certificate, lock)
                await store_plan(self.storage, plan)
                await self._deployments.deploy(replace(plan, deploy_hooks=hooks), certificate, begun)
            return Outcome(plan, "kept", certificate, renewal, late_hooks=hooks)
        # Files are written at each call, which is cheap; it is failed hooks that wait.
        if is_patient and _must_wait(noted.trouble, self._clock()) and await is_delivered(plan, certificate):
            return Outcome(plan, "waiting", certificate, renewal, noted.trouble)
        begun = await self._deployments.begin(plan, certificate, lock)
        if is_new:
            await store_plan(self.storage, plan)
        await self._deployments.deploy(plan, certificate, begun)
        return Outcome(plan, "obtained", certificate, renewal)

    async def _find_new_hooks(self, plan: Plan) -> tuple[str, ...]:
        """Return the deploy hooks that the stored plan does not have."""
        try:
            stored = await load_plan(self.storage, plan.name)
        except StoreError:  # a damaged plan, which is replaced
            stored = None
        known = () if stored is None else stored.deploy_hooks
        return tuple(one for one in plan.deploy_hooks if one not in known)

    async def _ask(self, plan: Plan, found: Found, records: Records, lock: Lock) -> Found:
        """Ask the authority when it wants the certificate renewed, unless it was asked lately."""
        facts = found.facts
        if facts.chosen is not None and facts.next_poll is not None and self._clock() < facts.next_poll:
            return found
        found = await ask_renewal_info(self.issuer(plan), found, self._clock(), self._chance)
        await records.save_facts(plan.names, found, lock)
        return found


def _find_renewal(plan: Plan, found: Found | None, now: datetime) -> Renewal:
    managed = Managed(plan.names) if found is None else Managed(plan.names, certificate=found.certificate, facts=found.facts)
    return managed.find_renewal(now)


def _records(storage: Storage, plan: Plan) -> Records:
    return Records(storage, [issuer_name(plan.server)])


def _must_wait(trouble: Trouble, now: datetime) -> bool:
    return trouble.next_try is not None and now < trouble.next_try
