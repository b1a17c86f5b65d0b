"""An ACME authority without a network, for managers under a virtual clock: made of `tlsio.certs.Authority`.

It counts what it is asked, has Let's Encrypt's limits, suggests times to renew, revokes, and fails in every way that a
test asks for.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

import tlsio
from tlsio import certs
from tlsio.acme import Issued, RenewalInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

Fault = Literal[
    "down", "hangs", "server error", "retry after", "refuses", "rate limited", "wrong key", "wrong name", "expired", "future", "garbage"
]

HOUR = timedelta(hours=1)
CRL_URL = "http://crl.example/"


@cache
def keys() -> list[Any]:
    """Return a few keys, because making them takes longer than all the rest."""
    return [certs.generate_key() for _ in range(4)]


@dataclass
class Order:
    """What was asked for, and when."""

    at: datetime
    names: tuple[str, ...]
    replaces: bytes | None
    second: float  # by the loop's time, which nobody sets
    is_issued: bool = False


class SimulatedAuthority:
    """An issuer.

    Attributes:
        fault: What is wrong with it now.
        latency: Seconds that an order takes.
        poll_interval: Seconds after which it wants to be asked for a suggestion again.
        window: Where it suggests to renew, as shares of the life; None: it has no ARI.
        orders: All orders so far, also failed ones.
        exceeded: How often one of its limits was met.
    """

    def __init__(
        self, name: str, clock: Callable[[], datetime], *, lifetime: timedelta, seed: int = 1, latency: float = 2.0, has_ari: bool = True
    ) -> None:
        self.name = name
        self.clock = clock
        self.lifetime = lifetime
        self.latency = latency
        self.poll_interval = 6 * 3600.0
        self.window: tuple[float, float] | None = (0.48, 0.52) if has_ari else None
        self.moved: dict[bytes, tuple[datetime, datetime]] = {}
        self.fault: Fault | None = None
        self.orders: list[Order] = []
        self.polls = 0
        self.exceeded = 0
        self.revoked: set[bytes] = set()
        self._chance = random.Random(seed)  # noqa: S311 - the same in each run
        root = certs.Authority.create(f"{name} root", clock=clock, days=36500)
        self.authority = root.intermediate(f"{name} intermediate", days=36000, crl_url=CRL_URL + name)
        self._crl: tuple[datetime, int, bytes] | None = None

    async def issue(self, names: Sequence[str], *, replaces: bytes | None = None, profile: str | None = None) -> Issued:
        """Issue, unless something is wrong."""
        order = Order(self.clock(), tuple(names), replaces, asyncio.get_running_loop().time())
        self.orders.append(order)
        await asyncio.sleep(self.latency)
        if self.fault in {"down", "hangs"}:
            if self.fault == "hangs":
                await asyncio.sleep(100_000)
            raise tlsio.FetchError("The authority does not answer", code="ECONNREFUSED")
        if self.fault == "server error":
            raise tlsio.ACMEError("The authority has failed", problem="serverInternal", status=500)
        if self.fault == "retry after":
            raise tlsio.ACMEError("The authority is busy", problem="serverInternal", status=503, retry_after=1800.0)
        if self.fault == "refuses":
            raise tlsio.ACMEError("The name is not yours", problem="unauthorized", status=403, identifier=names[0])
        self._check_limits(order)
        order.is_issued = True
        return self._make(names)

    def _check_limits(self, order: Order) -> None:
        """Refuse what Let's Encrypt would: 300 orders in three hours, without those that replace."""
        counted = [one for one in self.orders if one.at > order.at - 3 * HOUR and one.replaces is None]
        if (len(counted) > 300 and order.replaces is None) or self.fault == "rate limited":
            self.exceeded += self.fault != "rate limited"
            raise tlsio.ACMEError("Too many orders", problem="rateLimited", status=429, retry_after=3600.0)

    def _make(self, names: Sequence[str]) -> Issued:
        now = self.clock().replace(microsecond=0)
        end = now + (timedelta(seconds=-1) if self.fault == "expired" else self.lifetime)
        names = ["other.example"] if self.fault == "wrong name" else names
        key, other = self._chance.sample(keys(), 2)
        begin = now + HOUR if self.fault == "future" else now - HOUR
        leaf = self.authority.server(*names, key=key, not_before=begin, not_after=end)
        if self.fault == "garbage":
            return Issued(b"<html>", b"")
        return Issued(
            leaf.chain_pem, certs.key_pem(other if self.fault == "wrong key" else key), f"https://{self.name}/order/{len(self.orders)}"
        )

    async def renewal_info(self, certificate: bytes) -> RenewalInfo | None:
        """Suggest a time, which `move` may have moved."""
        self.polls += 1
        if self.fault is not None:
            raise tlsio.FetchError("The authority does not answer", code="ECONNREFUSED")
        if self.window is None:
            return None
        window = self.moved.get(certificate)
        if window is None:
            found = x509.load_der_x509_certificate(certificate)
            begin, life = found.not_valid_before_utc, found.not_valid_after_utc - found.not_valid_before_utc
            window = begin + life * self.window[0], begin + life * self.window[1]
        return RenewalInfo(*window, "https://status.example/", self.poll_interval)

    async def revoke(self, certificate: bytes, reason: str | None = None) -> None:
        """Put it on the list."""
        self.revoked.add(certificate)

    async def fetch_crl(self, url: str) -> bytes:
        """Return the list."""
        assert url == CRL_URL + self.name
        now = self.clock()
        if self._crl is None or self._crl[1] != len(self.revoked) or now > self._crl[0] + 12 * HOUR:
            made = self.authority.crl(*map(x509.load_der_x509_certificate, self.revoked), days=3)
            self._crl = now, len(self.revoked), made.public_bytes(Encoding.DER)
        return self._crl[2]
