"""CRLs, fetched from the URLs in the certificates of a peer's chain and cached for later peers."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from tlsio.connection.revocation.http_fetch import fetch as fetch_by_http
from tlsio.connection.tasks import ends_task
from tlsio.model.checks import check_choice, check_function, check_int, check_seconds
from tlsio.model.errors import CertificateError, UsageTypeError
from tlsio.model.exported import exported
from tlsio.native._core import Lists, list_keys
from tlsio.trust.certificate import MAX_TRIED_URLS, read_all
from tlsio.trust.revocation import read_list

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tlsio.trust.certificate import PeerCertificate
    from tlsio.trust.revocation import Edition, RevocationList

    Fetch = Callable[[str], Awaitable[bytes]]

__all__ = ["CrlCache", "make_cache"]

_log = logging.getLogger("tlsio")

# Of one CRL; the largest ones of public CAs have a few million bytes.
_MAX_BYTES = 10_000_000
# After this a newer CRL is fetched; the old one stays valid until its nextUpdate.
_REFRESH_AFTER = timedelta(hours=1)
# Bytes: a longer CRL is parsed in another thread. One of 8 MB, with 200,000 entries, takes 100 ms.
_PARSE_IN_THREAD = 65_536
# Distribution points whose newest edition is known, also after the CRL itself was evicted.
_MAX_EDITIONS = 1024
# Before a distribution point that failed is tried again.
_RETRY_AFTER = timedelta(minutes=1)


class _Fetched(NamedTuple):
    crl: RevocationList | None
    problem: str  # why there is no CRL
    until: datetime


@exported
class CrlCache:
    """Fetches and caches the CRLs for peers' chains (`fetch_crl=`).

    Clients and servers of one event loop may share one. Every certificate of the chain but the root
    is looked up in a CRL of its issuer (cRLDistributionPoints, by plain HTTP).
    """

    def __init__(
        self,
        policy: Literal["check", "require"] = "check",
        *,
        max_entries: int = 64,
        timeout: float = 10.0,
        fetch: Fetch | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """Make an empty cache.

        Args:
            policy: "check": a certificate without an available CRL is accepted. "require": it is
                refused.
            max_entries: Number of CRLs to keep; the least recently used one is evicted first.
            timeout: Seconds to fetch one CRL.
            fetch: Replaces plain HTTP: async function(url) that returns the CRL in DER.
            now: Another clock, for tests.
        """
        self.policy = check_choice("policy", policy, ("check", "require"))
        self._max_entries = check_int("max_entries", max_entries, 1, 2**31 - 1)
        self._timeout = check_seconds("timeout", timeout)
        self._fetch: Fetch = _get if fetch is None else check_function("fetch", fetch)
        self._now = now or partial(datetime.now, UTC)
        self._entries: OrderedDict[tuple[str, bytes, bool], _Fetched] = OrderedDict()
        self._newest: OrderedDict[tuple[str, bytes], Edition] = OrderedDict()
        self._pending: dict[tuple[str, bytes, bool], asyncio.Task[_Fetched]] = {}
        # For resumption: the CRLs that the engine consults, and until when each is valid by our
        # clock.
        self.native_lists = Lists(required=self.policy == "require", room=self._max_entries)
        self._published: OrderedDict[bytes, tuple[datetime, RevocationList | None]] = OrderedDict()

    async def check(self, chain: Sequence[bytes]) -> CertificateError | None:
        """Return the error of a verified chain's first refused certificate; DER, leaf first."""
        read = list(read_all(chain))
        if len(read) < len(chain):
            return CertificateError(
                "A certificate of the peer's chain cannot be parsed: it is not DER",
                code="CERT_REJECTED",
                alert="bad_certificate",
                hint="Have it reissued in valid DER.",
            )
        for (certificate, issuer), key in zip(pairwise(read), list_keys(chain), strict=True):
            error = await self._check(certificate, issuer, key)
            if error is not None:
                return error
        return None

    def passes(self, entries: bytes) -> bool:
        """Tell whether the loaded CRLs accept a session's certificates; without CRLs: no."""
        self.expire()
        return self.native_lists.passes(entries, int(time.time()))

    def expire(self) -> None:
        """Withdraw CRLs that have expired by our clock; the engine uses the system's."""
        now = self._now()
        for key, (until, _) in list(self._published.items()):
            if until <= now:
                self.native_lists.put(key, None, 0)
                del self._published[key]

    def _publish(self, key: bytes, crl: RevocationList | None, until: datetime) -> None:
        """Give the engine a CRL for resumption; None: the issuer has none."""
        left = (until - self._now()).total_seconds()
        if left <= 0 or (self._published.get(key) == (until, crl) and self.native_lists.until(key)):
            return
        self.native_lists.put(key, None if crl is None else crl.serials, int(time.time() + left))
        self._published[key] = until, crl
        if len(self._published) > self._max_entries:
            self._published.popitem(last=False)

    async def _check(self, certificate: PeerCertificate, issuer: PeerCertificate, key: bytes) -> CertificateError | None:
        reasons = []
        until = self._now() + _REFRESH_AFTER
        for url in certificate.crl_urls[:MAX_TRIED_URLS]:
            fetched = await self._find(url, issuer, for_ca=certificate.is_ca)
            if fetched.crl is not None:
                self._publish(key, fetched.crl, fetched.until)
                return fetched.crl.find(certificate)
            until = min(until, fetched.until)
            reasons.append(f"{url!r:.200}: {fetched.problem:.200}")
        self._publish(key, None, until)
        why = "; ".join(reasons) or "the certificate has no CRL distribution point"
        name = certificate.title
        if self.policy == "check":
            _log.debug('No CRL for the certificate "%s": %s', name, why)
            return None
        return CertificateError(
            f'There is no CRL for the certificate "{name}": {why}',
            code="UNABLE_TO_GET_CRL",
            alert="certificate_unknown",
            hint=_UNREACHABLE if reasons else f'The CA puts no CRL URL into its certificates: give the CRL of "{issuer.title}" as crl=.',
        )

    async def _find(self, url: str, issuer: PeerCertificate, *, for_ca: bool) -> _Fetched:
        key = (url, issuer.spki_sha256, for_ca)
        cached = self._entries.get(key)
        if cached is not None and self._now() < cached.until:
            self._entries.move_to_end(key)
            return cached
        task = self._pending.get(key)
        if task is None or task.get_loop() is not asyncio.get_running_loop():  # that of another loop may never end
            # A fresh contextvars context: the CRL is for all connections, and the task must not
            # keep the first one's variables alive.
            refresh = self._refresh(key, issuer, cached)
            task = asyncio.get_running_loop().create_task(refresh, name="tlsio CRL", context=contextvars.Context())
            self._pending[key] = task
            task.add_done_callback(partial(self._fetched, key))
        return await asyncio.shield(task)  # other connections may wait for it too

    def _fetched(self, key: tuple[str, bytes, bool], task: asyncio.Task[_Fetched]) -> None:
        if self._pending.get(key) is task:
            del self._pending[key]

    async def _refresh(self, key: tuple[str, bytes, bool], issuer: PeerCertificate, old: _Fetched | None) -> _Fetched:
        url, _, for_ca = key
        try:
            async with asyncio.timeout(self._timeout):
                data = _check_der(await self._fetch(url))
            if len(data) > _PARSE_IN_THREAD:
                crl = await asyncio.to_thread(read_list, data, url, issuer, for_ca=for_ca, now=self._now())
            else:
                crl = read_list(data, url, issuer, for_ca=for_ca, now=self._now())
            self._reject_older(key[:2], crl)
            fetched = _Fetched(crl, "", min(crl.next_update, self._now() + _REFRESH_AFTER))
        except BaseException as error:  # the top of a task; reported to all connections that wait for it
            if ends_task(error):
                raise
            if isinstance(error, _FetchError):
                _log.warning("The fetch function of a CrlCache returned no usable CRL: %s", error)
            now = self._now()
            still_valid = old.crl if old is not None and old.crl is not None and now < old.crl.next_update else None
            until = now + _RETRY_AFTER
            end = min(until, still_valid.next_update) if still_valid else until
            fetched = _Fetched(still_valid, str(error) or type(error).__name__, end)
        self._entries[key] = fetched
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
        return fetched

    def _reject_older(self, place: tuple[str, bytes], crl: RevocationList) -> None:
        """Reject a CRL older than one seen before: over HTTP, an attacker could replay it."""
        newest = self._newest.get(place)
        if newest is not None and crl.edition.is_older_than(newest):
            raise ValueError("it is older than a CRL fetched before")
        self._newest[place] = crl.edition
        self._newest.move_to_end(place)
        if len(self._newest) > _MAX_EDITIONS:
            self._newest.popitem(last=False)

    def __repr__(self) -> str:
        return f"<CrlCache {self.policy} lists={len(self._entries)}>"


def make_cache(given: object) -> CrlCache | None:
    """Turn the value of `fetch_crl=` into a cache; a policy name makes a new one."""
    if given is None or given == "off":
        return None
    if isinstance(given, CrlCache):
        return given
    if given in ("check", "require"):
        return CrlCache(given)
    raise UsageTypeError(f"options.fetch_crl must be 'off', 'check', 'require' or a CrlCache, got {given!r:.40}")


_UNREACHABLE = (
    "Check that this machine can reach the URL (firewall, proxy, DNS), and that a current CRL of the issuer is there; if none is, the CA has "
    "to publish one."
)


class _FetchError(ValueError):
    """A user's `fetch` returned something that is not a CRL, which a retry will not fix."""


def _check_der(data: object) -> bytes:
    """Reject the usual mistakes of a user's `fetch`, with a message that names each."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise _FetchError(f"fetch must return the CRL as bytes in DER, got {type(data).__name__}")
    data = bytes(data)
    if data.lstrip().startswith(b"-----BEGIN"):
        raise _FetchError("fetch must return the CRL in DER, not PEM")
    return data


async def _get(url: str) -> bytes:
    return await fetch_by_http(url, max_bytes=_MAX_BYTES)
