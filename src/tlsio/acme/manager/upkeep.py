"""What is done for one certificate when its time has come, and when that is next."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from tlsio.acme.client.renewal_info import RenewalInfo
from tlsio.acme.manager.records import Found
from tlsio.acme.manager.renewal import choose_in_window
from tlsio.model.checks import wrong_type
from tlsio.model.errors import StoreError, TLSError, UsageError
from tlsio.model.instants import print_instant
from tlsio.trust.certificate import parse

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from tlsio.acme.issuers.issuer import Issuer
    from tlsio.acme.manager.facts import Facts
    from tlsio.acme.manager.managed import Managed
    from tlsio.acme.manager.orders import Orders
    from tlsio.acme.manager.records import Records
    from tlsio.connection.revocation.crl_cache import CrlCache

__all__ = ["Upkeep"]

_log = logging.getLogger("tlsio.acme")

# How often the storage is looked at for what other processes have done, without being due.
_LOOK = timedelta(hours=6)
# RFC 9773 §4.3: the authority says when to ask again; these are the bounds of what is believed.
_SHORTEST_POLL, _LONGEST_POLL, _AFTER_FAILED_POLL = timedelta(minutes=1), timedelta(days=1), timedelta(hours=1)
# Lists of public authorities are made anew once or twice a day.
_CRL, _CRL_SHARE = timedelta(days=1), 8


class Upkeep:
    """Does the work of one manager, one certificate at a time."""

    def __init__(  # noqa: PLR0913 - what the manager is made of, by keyword
        self,
        records: Records,
        orders: Orders,
        issuers: Mapping[str, Issuer],
        crls: CrlCache,
        *,
        clock: Callable[[], datetime],
        chance: random.Random,
        report: Callable[[str, Managed], None],
    ) -> None:
        self._records = records
        self._orders = orders
        self._issuers = issuers
        self._crls = crls
        self._clock = clock
        self._chance = chance
        self._report = report

    async def tend(self, managed: Managed) -> None:
        """Do all that is due. What may fail notes when to try again.

        Raises:
            StoreError: the storage failed; what is served stays.
        """
        if not managed.is_saved:
            await self._orders.save(managed)
        now = self._clock()
        if managed.next_look is None or _is_time(managed.next_look, now):
            await self._orders.follow(managed)
            managed.next_look = now + self._spread(_LOOK)
        if managed.certificate is not None:
            if _is_time(managed.facts.next_poll, now):
                await self._poll(managed)
            if _is_time(managed.next_crl, now):
                await self._look_for_revocation(managed)
        if managed.find_order(self._clock()) <= self._clock():
            self._orders.wait_for_issuers(managed)
        if managed.find_order(self._clock()) <= self._clock():
            await self._orders.obtain(managed)

    def plan(self, managed: Managed) -> datetime:
        """Return when to tend a certificate next."""
        now = self._clock()
        times = [managed.find_order(now), managed.next_look or now]
        if managed.certificate is not None and managed.life is not None:
            times += [time for time in (managed.facts.next_poll, managed.next_crl) if time is not None]
            dates = managed.certificate.valid_from, managed.life.emergency, managed.certificate.not_after
            times += [time for time in dates if time > now]
        return min(times)

    def begin(self, managed: Managed) -> None:
        """Set the times of a certificate that was adopted."""
        now, life, certificate = self._clock(), managed.life, managed.certificate
        if life is None or certificate is None:
            return
        managed.warned = None
        has_lists = bool(parse(certificate.leaf).crl_urls) and certificate.above != ""
        managed.next_crl = now + self._crl_interval(life.length) * self._chance.random() if has_lists else None
        issuer = self._issuers.get(certificate.issuer)
        if issuer is None or getattr(issuer, "is_local", False):
            managed.facts = replace(managed.facts, next_poll=None)
        elif managed.facts.next_poll is None or managed.facts.next_poll > now + _LONGEST_POLL:
            managed.facts = replace(managed.facts, next_poll=now + _AFTER_FAILED_POLL * self._chance.random())

    def warn(self, managed: Managed) -> None:
        """Say that a certificate ends, once near its end and once after it; or is not valid yet."""
        now, life, certificate = self._clock(), managed.life, managed.certificate
        if life is None or certificate is None or certificate.valid_from <= now < life.emergency:
            return
        state = "expired" if now >= certificate.not_after else "expiring" if now >= certificate.valid_from else "not_yet_valid"
        if managed.warned == state:
            return
        managed.warned = state
        if state == "not_yet_valid":
            begin = print_instant(certificate.not_before)
            _log.warning("The certificate for %s is not valid before %s: is this machine's clock right?", managed.name, begin)
            return
        end = print_instant(certificate.not_after)
        because = f": {managed.trouble.message}" if managed.trouble.message else ""
        if state == "expired":
            _log.error("The certificate for %s has expired on %s, and is still served%s", managed.name, end, because)
        else:
            _log.warning("The certificate for %s expires on %s, and was not renewed yet%s", managed.name, end, because)
        self._report(state, managed)

    # ---- suggestions of the authority (ARI)

    async def _poll(self, managed: Managed) -> None:
        """Ask the authority when to renew, unless another process has just done so."""
        async with self._records.lock(managed.names) as lock:
            await self._orders.follow(managed)
            certificate, now = managed.certificate, self._clock()
            managed.next_look = now + self._spread(_LOOK)
            if certificate is None or not _is_time(managed.facts.next_poll, now):
                return
            issuer = self._issuers.get(certificate.issuer)
            if issuer is None:
                managed.facts = replace(managed.facts, next_poll=None)
                return
            try:
                info = await issuer.renewal_info(certificate.leaf)
                if info is not None and not isinstance(info, RenewalInfo):
                    raise wrong_type("renewal_info", "a RenewalInfo or None", info)  # noqa: TRY301 - as what it raises
                facts = self._take(managed.facts, info, managed.name)
            except StoreError:
                raise
            except Exception as error:  # noqa: BLE001 - an issuer may be user code; without a suggestion the own rule holds
                level = logging.DEBUG if isinstance(error, TLSError) and not isinstance(error, UsageError) else logging.WARNING
                _log.log(level, "%s did not say when to renew %s: %s", issuer.name, managed.name, error)
                managed.facts = replace(managed.facts, next_poll=now + self._spread(_AFTER_FAILED_POLL))
                return
            managed.facts = facts
            if managed.is_saved:
                await self._records.save_facts(managed.names, Found(certificate, managed.facts), lock)

    def _take(self, facts: Facts, info: RenewalInfo | None, name: str) -> Facts:
        """Return the facts with a suggestion. A chosen time that lies in the window stays."""
        now = self._clock()
        if info is None:
            return replace(facts, next_poll=now + self._spread(_LONGEST_POLL))
        wait = min(max(timedelta(seconds=min(info.retry_after, 1e9)), _SHORTEST_POLL), _LONGEST_POLL)
        chosen = facts.chosen
        if facts.window is None or chosen is None or not info.start <= chosen <= info.end:
            chosen = choose_in_window(info.start, info.end, self._chance)
            if facts.window is not None:
                reason = f"; {info.explanation_url}" if info.explanation_url else ""
                _log.info("The authority suggests another time to renew %s: %s%s", name, print_instant(chosen), reason)
        return replace(facts, chosen=chosen, window=(info.start, info.end), next_poll=now + wait, explanation_url=info.explanation_url)

    # ---- revocation

    async def _look_for_revocation(self, managed: Managed) -> None:
        certificate, life, now = managed.certificate, managed.life, self._clock()
        if certificate is None or life is None or (issuer := certificate.issuer_certificate) is None:
            managed.next_crl = None
            return
        managed.next_crl = now + self._spread(self._crl_interval(life.length))
        if managed.facts.revoked_at is not None:
            return
        error = await self._crls.check([certificate.leaf, issuer])
        if error is None or error.code != "CERT_REVOKED":
            return
        managed.facts = replace(managed.facts, revoked_at=now)
        _log.warning("%s: a new one is obtained", error)
        self._report("revoked", managed)
        async with self._records.lock(managed.names) as lock:
            await self._orders.follow(managed)
            if managed.certificate is certificate and managed.is_saved:
                managed.facts = replace(managed.facts, revoked_at=now)
                await self._records.save_facts(managed.names, Found(certificate, managed.facts), lock)

    def _crl_interval(self, length: timedelta) -> timedelta:
        return min(_CRL, length / _CRL_SHARE)

    def _spread(self, time: timedelta) -> timedelta:
        """Return up to a tenth less: certificates that came together are not looked at together."""
        return time * (1 - 0.1 * self._chance.random())


def _is_time(time: datetime | None, now: datetime) -> bool:
    """Tell whether a time has come, or was noted by a clock that was wrong."""
    return time is not None and not now < time <= now + _LONGEST_POLL
