"""Orders: which authority is asked for a certificate, and what follows from its answer.

One order of a name runs at a time across all processes: it holds the lock of the name. With the
lock, the storage is looked at first, because another process may have been faster, or may have
failed just now. Nothing is ordered while the storage cannot be written: the certificate would be
lost, and count in the authority's limits.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, TypedDict

from tlsio.acme.manager.allowance import Allowance, most_failures
from tlsio.acme.manager.authority_health import AuthorityHealth, is_of_authority, retry_after_of, was_issued
from tlsio.acme.manager.backoff import find_wait
from tlsio.acme.manager.certificate import Certificate
from tlsio.acme.manager.facts import Facts
from tlsio.acme.manager.mistakes import MISTAKES, find_rest
from tlsio.acme.manager.names import is_private
from tlsio.acme.manager.records import Found
from tlsio.acme.manager.renewal import Life, choose_time
from tlsio.acme.manager.trouble import NO_TROUBLE
from tlsio.acme.storage.uninterrupted import to_the_end
from tlsio.model.errors import ACMEError, ConfigError, StoreError, TLSError
from tlsio.model.instants import print_instant

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime
    from typing import Any

    from tlsio.acme.issuers.issuer import Issued, Issuer
    from tlsio.acme.manager.managed import Managed
    from tlsio.acme.manager.records import Records
    from tlsio.acme.manager.trouble import Trouble
    from tlsio.acme.storage.storage import Lock
    from tlsio.connection.context.secure_context import SecureContext

__all__ = ["Orders"]

_log = logging.getLogger("tlsio.acme")

_ORDER_TIMEOUT = 600.0  # seconds; Let's Encrypt keeps a pending authorization for an hour or longer
_FIRST_POLL = timedelta(minutes=5)  # the window of a new certificate is far away


class _Details(TypedDict):
    code: str
    message: str
    hint: str | None


class Orders:
    """Makes the orders of one manager.

    Attributes:
        health: The state of each issuer, by name.
        counts: Orders by issuer and result, `"issued"` or `"failed"`.
    """

    def __init__(  # noqa: PLR0913 - what the manager is made of, by keyword
        self,
        records: Records,
        issuers: Sequence[Issuer],
        *,
        staging: Issuer | None,
        profile: str | None,
        clock: Callable[[], datetime],
        chance: random.Random,
        options: Mapping[str, Any],
        adopt: Callable[[Managed, Found, SecureContext | None], None],
        obtained: Callable[[Managed], None],
        failed: Callable[[Managed], None],
    ) -> None:
        self._records = records
        self._issuers = tuple(issuers)
        self._staging = staging
        self._profile = profile
        self._clock = clock
        self._chance = chance
        self._options = options
        self._adopt, self._obtained, self._failed = adopt, obtained, failed
        self._allowance = Allowance(records.storage, clock, chance)
        self.health = {issuer.name: AuthorityHealth(chance) for issuer in (*issuers, *([staging] if staging else []))}
        self.counts: dict[tuple[str, str], int] = {}
        self._settings_since = clock()

    async def obtain(self, managed: Managed) -> None:
        """Take a newer certificate from the storage, or order one.

        A failure is noted in `managed.trouble`, and reported. Cancelled: an order may have been
        made, and counts as failed for the next minute.

        Raises:
            StoreError: the storage failed; nothing was ordered.
        """
        async with self._records.lock(managed.names) as lock:
            await self.follow(managed)
            now = self._clock()
            managed.trouble = self._rest(managed, await self._records.load_trouble(managed.names, now))
            if managed.find_order(now) <= now:
                await self._order(managed, lock)

    async def follow(self, managed: Managed) -> None:
        """Take from the storage what is newer than what this process has.

        Raises:
            StoreError: the storage failed.
        """
        now = self._clock()
        best = await self._records.load_best(managed.names, now, known=managed.certificate, without=managed.broken)
        if best is None:
            return
        if best.facts.fingerprint == managed.facts.fingerprint:
            managed.facts = _merge(managed.facts, best.facts)
        elif managed.is_worse_than(best, now):
            self._adopt(managed, Found(best.certificate, self.complete(best)), None)

    def forget_waits(self) -> None:
        """Forget until when to wait: the clock was set, and these times mean nothing."""
        self._allowance.forget_waits()
        for health in self.health.values():
            health.succeed()

    def try_mistakes_again(self) -> None:
        """Try again what only a change of settings, or a person, could mend: there may be one."""
        self._settings_since = self._clock()
        for health in self.health.values():
            health.succeed()

    def complete(self, found: Found) -> Facts:
        """Return the facts with a time to renew, which another program may not have noted."""
        if found.facts.chosen is not None:
            return found.facts
        life = Life(found.facts.obtained_at or found.certificate.not_before, found.certificate.not_after)
        return replace(found.facts, chosen=choose_time(life, self._chance))

    # ---- one order

    async def _order(self, managed: Managed, lock: Lock) -> None:
        """Ask one issuer after the other, until one has issued."""
        errors: dict[str, Exception] = {}
        waits: list[datetime] = []
        for issuer in self._issuers_for(managed):
            with self.health[issuer.name].attempt(self._clock()) as pause:
                wait = self._allowance.find_block(managed, issuer) or pause
                if wait is None:
                    wait = await self._allowance.reserve(managed, issuer, is_renewal=self._is_renewal(managed, issuer))
                if wait is not None:
                    waits.append(wait)
                    continue
                try:
                    if not errors:
                        await self._presume_failure(managed, lock)
                    if managed.trouble.failures and self._staging is not None and issuer is self._issuers[0]:
                        await self._rehearse(managed, self._staging)
                    found, context = await self._issue(managed, issuer, partial(self._may_repeat, managed, issuer, lock))
                except StoreError:
                    raise
                except Exception as error:  # noqa: BLE001 - an issuer may be user code: this is reported, and the next one is asked
                    errors[issuer.name] = error
                    continue
            counted = None if self._is_renewal(managed, issuer) else issuer
            await self._keep(managed, found, context, lock, counted)
            return
        if errors:
            await self._fail(managed, errors, lock)
        else:
            self._wait_until(managed, min(waits))

    def wait_for_issuers(self, managed: Managed) -> None:
        """Have a certificate wait if each issuer is left alone now: then no storage is asked."""
        now, issuers = self._clock(), self._issuers_for(managed)
        waits = [wait for one in issuers if (wait := self._find_known_wait(managed, one, now)) is not None]
        if len(waits) == len(issuers):
            self._wait_until(managed, min(waits))

    def _find_known_wait(self, managed: Managed, issuer: Issuer, now: datetime) -> datetime | None:
        known = self._allowance.find_known_wait(managed, issuer, is_renewal=self._is_renewal(managed, issuer))
        return known or self.health[issuer.name].find_wait(now)

    def _wait_until(self, managed: Managed, wait: datetime) -> None:
        managed.order_after = self._allowance.spread(self._issuers_for(managed), wait)

    def _issuers_for(self, managed: Managed) -> tuple[Issuer, ...]:
        """Return the issuers to ask: local ones only for what is not public, or without others."""
        local = tuple(one for one in self._issuers if getattr(one, "is_local", False))
        public = tuple(one for one in self._issuers if one not in local)
        first, second = (local, public) if all(map(is_private, managed.names)) else (public, local)
        return first or second

    async def _presume_failure(self, managed: Managed, lock: Lock) -> None:
        """Note a failure before there is one: this process may not live to note it."""
        await self._records.storage.check()
        failed = self._add_failure(managed, "ERR_ACME_INTERRUPTED", "An order was begun, and its process has ended since", None)
        await self._records.save_trouble(managed.names, failed, lock)

    async def _rehearse(self, managed: Managed, staging: Issuer) -> None:
        """Order of the staging authority, whose limits are wide; its certificate is dropped.

        If it is down, or wants to be left alone, that says nothing.
        """
        with self.health[staging.name].attempt(self._clock()) as pause:
            if self._allowance.find_block(managed, staging) or pause:
                return
            try:
                await self._issue(managed, staging, None)
            except Exception as error:
                if not is_of_authority(error):
                    raise

    async def _may_repeat(self, managed: Managed, issuer: Issuer, lock: Lock, error: Exception) -> bool:
        """Count a failed order of an issuer that would order again; tell whether it may.

        Each order counts in the limits, and each failed one for the name.
        """
        noted = self._add_failure(managed, **_describe({issuer.name: error}, error))
        if noted.count_recent(self._clock()) >= most_failures(self._issuers_for(managed)):
            return False
        if await self._allowance.reserve(managed, issuer, is_renewal=False) is not None:
            return False
        managed.trouble = noted
        self._count(issuer, "failed")
        await self._presume_failure(managed, lock)
        return True

    async def _issue(
        self, managed: Managed, issuer: Issuer, may_repeat: Callable[[Exception], Awaitable[bool]] | None
    ) -> tuple[Found, SecureContext]:
        """Have one issuer issue, and check what it has issued."""
        health = self.health[issuer.name]
        options: dict[str, Any] = {"may_repeat": may_repeat} if getattr(issuer, "repeats_orders", False) else {}
        issued: Issued | None = None
        replaced = managed.find_replaced(issuer.name)
        try:
            async with asyncio.timeout(_ORDER_TIMEOUT):
                issued = await issuer.issue(managed.names, replaces=replaced, profile=self._profile, **options)
            certificate, context = self._read(issued, issuer, managed)
        except Exception as error:
            now = self._clock()
            self._count(issuer, "failed")
            if (wait := retry_after_of(error)) is not None:
                managed.blocks = {**(managed.blocks or {}), issuer.name: now + wait}
            health.fail(error, now)
            if (issued is not None or was_issued(error)) and not self._is_renewal(managed, issuer):
                await self._allowance.note_issued(managed, issuer)
            raise
        self._count(issuer, "issued")
        health.succeed()
        now = self._clock()
        facts = Facts(
            certificate.fingerprint,
            obtained_at=now,
            next_poll=None if getattr(issuer, "is_local", False) else now + _FIRST_POLL * self._chance.random(),
            order_url=issued.order_url,
            profile=self._profile,
        )
        found = Found(certificate, facts)
        return Found(certificate, self.complete(found)), context

    def _is_renewal(self, managed: Managed, issuer: Issuer) -> bool:
        """Tell whether an order names a certificate that it replaces, and counts in few limits."""
        return managed.find_replaced(issuer.name) is not None

    def _read(self, issued: Issued, issuer: Issuer, managed: Managed) -> tuple[Certificate, SecureContext]:
        """Return what was issued; refuse what clients would refuse, and the key of another one."""
        try:
            certificate = Certificate.of(issued, issuer.name)
            self._check(certificate, managed)
            return certificate, certificate.make_context(self._options)
        except (ConfigError, OSError) as error:
            raise ACMEError(
                f"What {issuer.name!r} has issued cannot be used: {_text_of(error)}",
                code="ERR_ACME_INVALID_CERTIFICATE",
                hint="Ask the authority.",
            ) from error

    def _check(self, certificate: Certificate, managed: Managed) -> None:
        if not certificate.covers(managed.names):
            missing = ", ".join(name for name in managed.names if name not in certificate.names)
            raise _unusable(certificate, f"is not for {missing}", "It is another one than was ordered: ask the authority.")
        if certificate.not_after <= self._clock():
            raise _unusable(certificate, "has expired already", "Check the clock of this machine.")
        if self._clock() < certificate.valid_from:
            # Not kept until then: it would take the place of the present one in the storage.
            begin = print_instant(certificate.not_before)
            raise _unusable(certificate, f"is not valid before {begin}", "Check the clocks of this machine and of the issuer.")

    # ---- results

    async def _keep(self, managed: Managed, found: Found, context: SecureContext, lock: Lock, counted: Issuer | None) -> None:
        """Serve a new certificate, and store it, also if this is cancelled meanwhile."""
        managed.trouble, managed.order_after, managed.blocks = NO_TROUBLE, None, None
        self._adopt(managed, found, context)
        managed.is_saved = False
        saving = asyncio.ensure_future(self._store(managed, found, lock, counted))
        try:
            await asyncio.shield(saving)
        except asyncio.CancelledError:
            with suppress(asyncio.CancelledError):  # once more: by `remove`, and then `stop`
                await to_the_end(saving)
            if not saving.cancelled() and (error := saving.exception()) is not None:
                _log.warning("A new certificate for %s could not be stored, and is lost: %s", managed.name, error)
            raise
        finally:
            self._obtained(managed)

    async def _store(self, managed: Managed, found: Found, lock: Lock, counted: Issuer | None) -> None:
        """Store a certificate, and count it for its issuer; None: it renewed another one."""
        await self._records.save(managed.names, found, lock)
        await self._records.save_trouble(managed.names, NO_TROUBLE, lock)
        if counted is not None:
            await self._allowance.note_issued(managed, counted)
        managed.is_saved = True

    async def save(self, managed: Managed) -> None:
        """Store a certificate that could not be stored when it was obtained.

        Raises:
            StoreError: it still cannot.
        """
        async with self._records.lock(managed.names) as lock:
            await self.follow(managed)
            if managed.certificate is not None and not managed.is_saved:
                issuer = next((one for one in self._issuers if one.name == managed.certificate.issuer), None)
                await self._store(managed, Found(managed.certificate, managed.facts), lock, issuer)

    async def _fail(self, managed: Managed, errors: Mapping[str, Exception], lock: Lock) -> None:
        """Note a failure: of the name, or only of the authorities."""
        now = self._clock()
        error = _find_decisive(errors)
        details = _describe(errors, error)
        if all(map(is_of_authority, errors.values())):
            # The name is not to blame, and does not wait longer each time: the pause of the
            # authority bounds what it is asked.
            wait = find_wait(1, self._left(managed), self._chance)
            trouble = replace(managed.trouble, next_try=now + wait, noted_at=now, **details)
        else:
            trouble = self._add_failure(managed, **details)
        blocks = [block for issuer in self._issuers_for(managed) if (block := self._allowance.find_block(managed, issuer))]
        if trouble.next_try is not None and len(blocks) == len(self._issuers_for(managed)):
            trouble = replace(trouble, next_try=max(trouble.next_try, min(blocks)))
        managed.trouble, managed.renew_over, managed.error = self._rest(managed, trouble), None, error
        self._failed(managed)
        await self._records.save_trouble(managed.names, trouble, lock)

    def _rest(self, managed: Managed, trouble: Trouble) -> Trouble:
        """Wait longer after a failure that these settings would have again.

        The storage has the usual wait: a process that was started since may have other settings.
        """
        noted_at = trouble.noted_at
        if not trouble.needs_action or noted_at is None or noted_at < self._settings_since:
            return trouble
        rest = noted_at + find_rest(self._left(managed))
        return replace(trouble, next_try=max(trouble.next_try or rest, rest))

    def _add_failure(self, managed: Managed, code: str, message: str, hint: str | None) -> Trouble:
        wait = find_wait(managed.trouble.failures + 1, self._left(managed), self._chance)
        return managed.trouble.add(self._clock(), wait, most_failures(self._issuers_for(managed)), code, message, hint)

    def _left(self, managed: Managed) -> timedelta | None:
        return None if managed.certificate is None else managed.certificate.not_after - self._clock()

    def _count(self, issuer: Issuer, result: str) -> None:
        self.counts[issuer.name, result] = self.counts.get((issuer.name, result), 0) + 1


def _merge(own: Facts, stored: Facts) -> Facts:
    """Return the facts of the storage, with what only this process knows."""
    polls = [time for time in (own.next_poll, stored.next_poll) if time is not None]
    chosen = own.chosen if stored.chosen is None else stored.chosen
    return replace(stored, chosen=chosen, next_poll=max(polls, default=None), revoked_at=stored.revoked_at or own.revoked_at)


def _find_decisive(errors: Mapping[str, Exception]) -> Exception:
    """Return the error that decides about the next try: the last one that may pass, if any may."""
    every = list(errors.values())
    return next((one for one in reversed(every) if getattr(one, "code", None) not in MISTAKES), every[-1])


def _describe(errors: Mapping[str, Exception], decisive: Exception) -> _Details:
    """Return what is noted of a failure; with several issuers, the message has all errors."""
    texts = {name: _text_of(error) for name, error in errors.items()}
    message = "; ".join(f"{name}: {text}" for name, text in texts.items()) if len(texts) > 1 else _text_of(decisive)
    if isinstance(decisive, TLSError):
        return {"code": decisive.code, "message": message, "hint": decisive.hint}
    return {"code": type(decisive).__name__, "message": message, "hint": None}


def _text_of(error: Exception) -> str:
    return error.message if isinstance(error, TLSError) else str(error) or type(error).__name__


def _unusable(certificate: Certificate, reason: str, hint: str) -> ACMEError:
    return ACMEError(f"The certificate that {certificate.issuer!r} has issued {reason}", code="ERR_ACME_INVALID_CERTIFICATE", hint=hint)
