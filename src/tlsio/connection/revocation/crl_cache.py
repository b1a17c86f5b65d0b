"""Revocation lists, fetched from where the certificates of a peer's chain say, and remembered for the next peers."""

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
from tlsio.native._core import Lists, list_keys
from tlsio.trust.certificate import read_all
from tlsio.trust.revocation import read_list

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tlsio.trust.certificate import PeerCertificate
    from tlsio.trust.revocation import Edition, RevocationList

    Fetch = Callable[[str], Awaitable[bytes]]

__all__ = ["CrlCache", "make_cache"]

_log = logging.getLogger("tlsio")

_MAX_BYTES = 10_000_000  # of one list; the largest ones of public authorities have a few million
_KEPT = timedelta(hours=1)  # then a newer one is asked for; the old one counts until its own end
_LONG = 65_536  # bytes: a longer one is read by another thread. One of 8 MB, with 200,000 entries, takes 100 ms
_REMEMBERED = 1024  # places whose newest list is known, long after the list itself was let go
_PAUSE = timedelta(minutes=1)  # before a place that gave none is asked again


class _Kept(NamedTuple):
    found: RevocationList | None
    why: str  # there is none
    until: datetime


class CrlCache:
    """Fetches the revocation lists of peers' chains and keeps them (`fetch_crl=`). Clients and servers of one event loop may share it.

    Every certificate of the chain but the root is looked for in a list of its issuer (cRLDistributionPoints, by plain HTTP).
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
            policy: "check": where no list is to be had, the certificate passes. "require": it is refused.
            max_entries: Lists it keeps; the one that was not used for longest leaves first.
            timeout: Seconds for one list.
            fetch: Instead of plain HTTP: async function(url) that returns the list in DER.
            now: Another clock, for tests.
        """
        self.policy = check_choice("policy", policy, ("check", "require"))
        self._max_entries = check_int("max_entries", max_entries, 1, 2**31 - 1)
        self._timeout = check_seconds("timeout", timeout)
        self._fetch: Fetch = check_function("fetch", fetch) if fetch else _get
        self._now = now or partial(datetime.now, UTC)
        self._kept: OrderedDict[tuple[str, bytes, bool], _Kept] = OrderedDict()
        self._newest: OrderedDict[tuple[str, bytes], Edition] = OrderedDict()
        self._pending: dict[tuple[str, bytes, bool], asyncio.Task[_Kept]] = {}
        # For sessions that are to be resumed: what was published to the engine, and until when it counts by our clock.
        self.at_hand = Lists(required=self.policy == "require", room=self._max_entries)
        self._published: OrderedDict[bytes, tuple[datetime, RevocationList | None]] = OrderedDict()

    async def check(self, chain: Sequence[bytes]) -> CertificateError | None:
        """Return what lists say against a chain that was verified, the leaf's first; DER, leaf first."""
        read = list(read_all(chain))
        if len(read) < len(chain):
            return CertificateError(
                "A certificate of the chain cannot be read: it is not DER", code="CERT_REJECTED", alert="bad_certificate"
            )
        for (certificate, issuer), key in zip(pairwise(read), list_keys(chain), strict=True):
            error = await self._check(certificate, issuer, key)
            if error is not None:
                return error
        return None

    def passes(self, entries: bytes) -> bool:
        """Tell whether the certificates that a session remembers pass by the lists at hand; without them none does."""
        self.expire()
        return self.at_hand.passes(entries, int(time.time()))

    def expire(self) -> None:
        """Take back what was published and is too old by now; the engine knows the system's clock only."""
        now = self._now()
        for key, (until, _) in list(self._published.items()):
            if until <= now:
                self.at_hand.put(key, None, 0)
                del self._published[key]

    def _publish(self, key: bytes, found: RevocationList | None, until: datetime) -> None:
        """Let sessions be resumed by what was found."""
        left = (until - self._now()).total_seconds()
        if left <= 0 or (self._published.get(key) == (until, found) and self.at_hand.until(key)):
            return
        self.at_hand.put(key, None if found is None else found.serials, int(time.time() + left))
        self._published[key] = until, found
        if len(self._published) > self._max_entries:
            self._published.popitem(last=False)

    async def _check(self, certificate: PeerCertificate, issuer: PeerCertificate, key: bytes) -> CertificateError | None:
        reasons = []
        until = self._now() + _KEPT
        for url in certificate.crl_urls:
            kept = await self._find(url, issuer, for_ca=certificate.is_ca)
            if kept.found is not None:
                self._publish(key, kept.found, kept.until)
                return kept.found.find(certificate)
            until = min(until, kept.until)
            reasons.append(f"{url!r:.200}: {kept.why:.200}")
        self._publish(key, None, until)
        why = "; ".join(reasons) or "it names no place for one"
        name = certificate.subject_text
        if self.policy == "check":
            _log.debug('No revocation list for "%s": %s', name, why)
            return None
        return CertificateError(
            f'There is no revocation list for the certificate "{name}": {why}',
            code="UNABLE_TO_GET_CRL",
            alert="certificate_unknown",
            hint='Make the list available where the certificate says, or accept certificates without one: policy "check".',
        )

    async def _find(self, url: str, issuer: PeerCertificate, *, for_ca: bool) -> _Kept:
        key = (url, issuer.spki_sha256, for_ca)
        kept = self._kept.get(key)
        if kept is not None and self._now() < kept.until:
            self._kept.move_to_end(key)
            return kept
        task = self._pending.get(key)
        if task is None:
            # In a context of its own: the list is for all connections, and the task must not keep the variables of the first.
            refresh = self._refresh(key, issuer, kept)
            task = asyncio.get_running_loop().create_task(refresh, name="tlsio revocation list", context=contextvars.Context())
            self._pending[key] = task
            task.add_done_callback(lambda _task: self._pending.pop(key, None))
        return await asyncio.shield(task)  # others may wait for it too

    async def _refresh(self, key: tuple[str, bytes, bool], issuer: PeerCertificate, old: _Kept | None) -> _Kept:
        url, _, for_ca = key
        try:
            async with asyncio.timeout(self._timeout):
                data = _check_der(await self._fetch(url))
            if len(data) > _LONG:
                found = await asyncio.to_thread(read_list, data, url, issuer, for_ca=for_ca, now=self._now())
            else:
                found = read_list(data, url, issuer, for_ca=for_ca, now=self._now())
            self._refuse_older(key[:2], found)
            kept = _Kept(found, "", min(found.next_update, self._now() + _KEPT))
        except BaseException as error:  # the top of a task; it is reported to all that wait
            if ends_task(error):
                raise
            if isinstance(error, _FetchError):
                _log.warning("The fetch function of a CrlCache gives no list: %s", error)
            now = self._now()
            still = old.found if old is not None and old.found is not None and now < old.found.next_update else None
            until = now + _PAUSE
            end = min(until, still.next_update) if still else until
            kept = _Kept(still, str(error) or type(error).__name__, end)
        self._kept[key] = kept
        self._kept.move_to_end(key)
        if len(self._kept) > self._max_entries:
            self._kept.popitem(last=False)
        return kept

    def _refuse_older(self, place: tuple[str, bytes], found: RevocationList) -> None:
        """Refuse a list from before one that was there already: over plain HTTP anybody on the way can answer with that."""
        newest = self._newest.get(place)
        if newest is not None and found.edition.is_older_than(newest):
            raise ValueError("it is older than the one that was there before")
        self._newest[place] = found.edition
        self._newest.move_to_end(place)
        if len(self._newest) > _REMEMBERED:
            self._newest.popitem(last=False)

    def __repr__(self) -> str:
        return f"<CrlCache {self.policy} lists={len(self._kept)}>"


def make_cache(given: object) -> CrlCache | None:
    """Turn the option `fetch_crl` into a cache; a word makes one of its own."""
    if given is None or given == "off":
        return None
    if isinstance(given, CrlCache):
        return given
    if given in ("check", "require"):
        return CrlCache(given)
    raise UsageTypeError(f"options.fetch_crl must be 'off', 'check', 'require' or a CrlCache, got {given!r:.40}")


class _FetchError(ValueError):
    """A `fetch` of the user returns what is no list, which no later call will mend."""


def _check_der(data: object) -> bytes:
    """Refuse what a `fetch` of the user may return by mistake, in words that name it."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise _FetchError(f"fetch must return the list as bytes in DER, got {type(data).__name__}")
    data = bytes(data)
    if data.lstrip().startswith(b"-----BEGIN"):
        raise _FetchError("it is PEM, not DER")
    return data


async def _get(url: str) -> bytes:
    return await fetch_by_http(url, max_bytes=_MAX_BYTES)
