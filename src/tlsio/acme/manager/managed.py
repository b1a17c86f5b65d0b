"""One certificate under management: a name or a group of names, and all that is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlsio.acme.manager.facts import Facts
from tlsio.acme.manager.records import Found, rank
from tlsio.acme.manager.renewal import Life, Renewal, find_renewal
from tlsio.acme.manager.trouble import NO_TROUBLE

if TYPE_CHECKING:
    import asyncio
    from datetime import datetime

    from tlsio.acme.manager.certificate import Certificate
    from tlsio.acme.manager.trouble import Trouble
    from tlsio.connection.context.secure_context import SecureContext

__all__ = ["Managed"]

_NO_FACTS = Facts()


@dataclass(slots=True, eq=False)
class Managed:
    """The state of one certificate in this process. There may be ten thousand.

    Attributes:
        names: The names, of which the first one is the certificate's place in storage.
        is_on_demand: A client has asked for it, and a hook has permitted it.
        certificate: What is served; None: there has been none yet.
        facts: What is known about it.
        context: Made of the certificate when it is first asked for.
        temporary: Self-signed, in place of the first certificate.
        is_saved: Whether the storage has the certificate.
        trouble: Failures to obtain one.
        error: The last one, until there is a success.
        order_after: No order before: the authority or the storage is down, or a limit is reached.
        blocks: Issuers that want to be left alone about this name, and until when.
        broken: The fingerprint of a certificate that cannot be served.
        renew_over: The fingerprint of the certificate that a caller wants to have replaced.
        task: What works on it now.
        due: When that is next.
        next_look: When the storage is looked at for what other processes did.
        next_crl: When the CRL is looked at.
        looked_at: When a client last had the storage looked at.
        was_used: A client has asked for it since it was obtained.
        warned: What was last said about its end.
    """

    names: tuple[str, ...]
    is_on_demand: bool = False
    certificate: Certificate | None = None
    facts: Facts = _NO_FACTS
    context: SecureContext | None = None
    temporary: tuple[SecureContext, datetime] | None = None
    is_saved: bool = True
    trouble: Trouble = NO_TROUBLE
    error: Exception | None = None
    order_after: datetime | None = None
    blocks: dict[str, datetime] | None = None
    broken: str | None = None
    renew_over: str | None = None
    task: asyncio.Task[None] | None = None
    due: datetime | None = None
    next_look: datetime | None = None
    next_crl: datetime | None = None
    looked_at: float | None = None
    was_used: bool = False
    warned: str | None = None

    @property
    def name(self) -> str:
        """The first name."""
        return self.names[0]

    @property
    def life(self) -> Life | None:
        """The life of the certificate."""
        if self.certificate is None:
            return None
        begin, end, obtained_at = self.certificate.not_before, self.certificate.not_after, self.facts.obtained_at
        return Life(obtained_at if obtained_at is not None and begin <= obtained_at < end else begin, end)

    def is_valid(self, now: datetime) -> bool:
        """Whether there is a certificate that is in date."""
        return self.certificate is not None and self.certificate.is_valid(now)

    def find_renewal(self, now: datetime) -> Renewal:
        """Return when a new certificate is needed, and why."""
        certificate, life, facts = self.certificate, self.life, self.facts
        if certificate is None or life is None:
            return Renewal(now, "missing")
        if now >= certificate.not_after:
            return Renewal(now, "expired")
        if now < certificate.valid_from:
            return Renewal(now, "not_yet_valid")
        if not certificate.covers(self.names):
            return Renewal(now, "names")
        if self.renew_over == facts.fingerprint:
            return Renewal(now, "asked")
        chosen = life.emergency if facts.chosen is None else facts.chosen
        return find_renewal(life, chosen=chosen, is_suggested=facts.window is not None, is_revoked=facts.revoked_at is not None)

    def find_order(self, now: datetime) -> datetime:
        """Return when the next order may be made: the renewal, after all waits."""
        renewal = self.find_renewal(now)
        waits = [self.order_after, None if self.renew_over is not None else self.trouble.next_try]
        return max([renewal.at, *(time for time in waits if time is not None)])

    def find_replaced(self, issuer: str) -> bytes | None:
        """Return the certificate that an order replaces (RFC 9773 §5), if the authority has ARI.

        Such an order counts in few limits. Not after a failure, which may be due to it.
        """
        certificate = self.certificate
        if certificate is None or certificate.issuer != issuer or self.facts.window is None or self.trouble.failures:
            return None
        return certificate.leaf

    def is_worse_than(self, found: Found, now: datetime) -> bool:
        """Whether a certificate of the storage should take the place of the present one."""
        if self.certificate is None:
            return True
        if found.facts.fingerprint == self.facts.fingerprint:
            return False
        return rank(found, self.names, now) > rank(Found(self.certificate, self.facts), self.names, now)
