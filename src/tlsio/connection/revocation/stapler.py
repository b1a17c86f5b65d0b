"""The stapler: OCSP responses for a server's certificates, fetched in advance and kept fresh.

Theory of operation. Each certificate has an entry, and each entry a task: it queries the responder
that the certificate names, checks the response as a client would, stores it, and sleeps for half of
its validity. While the responder is down the old response is used until it expires, and the pauses
between retries grow. A handshake uses the stored response and never waits, unless the certificate
is valid only with a response (must-staple).

Tasks run while a server that uses the stapler listens. A certificate that belongs to no server,
because `sni_callback` returned it or its name was removed, is dropped if no client got it since the
last response, or after an hour if it has no responder. The number of those is bounded, and the
least recently used one is dropped first: clients choose the names that such certificates are made
for.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import OrderedDict
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from tlsio.connection.revocation.http_fetch import fetch as fetch_by_http
from tlsio.connection.tasks import ends_task
from tlsio.model.checks import check_function, check_int, check_seconds
from tlsio.model.exported import exported
from tlsio.trust.certificate import parse
from tlsio.trust.ocsp import MAX_RESPONSE, CertificateStatus, judge_response, make_request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from tlsio.trust.certificate import PeerCertificate

    Identity = tuple[bytes, bytes | None]
    Fetch = Callable[[str, bytes], Awaitable[bytes]]

__all__ = ["Stapler"]

_log = logging.getLogger("tlsio")

_RETRY, _LONGEST_RETRY = 60.0, 3600.0  # seconds; nginx tries again after five minutes, Apache after ten
_MAX_ENTRIES = 1000  # some 10 KB each, with the task
_MIN_INTERVAL = 60.0  # seconds: a responder with very short validities is not queried continuously


@exported
class Stapler:
    """Keeps OCSP responses for servers (`stapling=`). Servers of one event loop may share one.

    The responder is the one named in the certificate (authorityInfoAccess), queried by HTTP POST
    (RFC 6960 appendix A.1). A response is stapled only if a client would accept it; "revoked" is
    stapled too, since clients must learn of it.
    """

    def __init__(
        self,
        *,
        timeout: float = 10.0,
        max_entries: int = _MAX_ENTRIES,
        fetch: Fetch | None = None,
        now: Callable[[], datetime] | None = None,
        sleep: Callable[[float], Awaitable[object]] | None = None,
    ) -> None:
        """Make a stapler; it starts when a server listens.

        Args:
            timeout: Seconds for one response.
            max_entries: Number of certificates in addition to the servers' own: those that
                `sni_callback` returns.
            fetch: Replaces plain HTTP, for servers that need a proxy: async function(url, request)
                that returns the response, both DER.
            now: Another clock, for tests.
            sleep: Replaces asyncio's, for tests.
        """
        self._timeout = check_seconds("timeout", timeout)
        self._fetch: Fetch = _post if fetch is None else check_function("fetch", fetch)
        self._now = now or partial(datetime.now, UTC)
        self._sleep = sleep or asyncio.sleep
        self._max_entries = check_int("max_entries", max_entries, 1, 2**31 - 1)
        self._entries: dict[bytes, _Entry] = {}
        # Certificates that belong to no server, the least recently used first.
        self._transient: OrderedDict[bytes, None] = OrderedDict()
        self._owned: dict[object, frozenset[bytes]] = {}  # by server: its certificates

    def staple(self, certificate: bytes, issuer: bytes | None, _socket: object = None) -> bytes | Awaitable[bytes | None] | None:
        """Return the response for a certificate, or None.

        With must-staple, it waits for the first attempt to fetch one.

        Args:
            certificate: DER.
            issuer: DER; None if unknown.
        """
        if not self._owned:
            return None
        entry = self._find(certificate, issuer)
        entry.is_used = True
        self._classify(certificate)
        if entry.certificate.requires_staple and not entry.first_attempt.is_set():
            return self._wait(entry)
        return entry.response_at(self._now())

    async def _wait(self, entry: _Entry) -> bytes | None:
        await entry.first_attempt.wait()
        return entry.response_at(self._now())

    def watch(self, server: object, identities: Iterable[Identity]) -> None:
        """Start, or replace the certificates of `server`, each with its issuer.

        Servers call this.
        """
        found = dict(identities)
        self._owned[server] = frozenset(found)
        for certificate in tuple(self._entries):
            self._classify(certificate)
        for certificate, issuer in found.items():
            self._find(certificate, issuer)

    def release(self, server: object) -> None:
        """Forget `server`; without any server all tasks end."""
        if self._owned.pop(server, None) is not None and not self._owned:
            for certificate in tuple(self._entries):
                self._forget(certificate)

    def _classify(self, certificate: bytes) -> None:
        """Count a certificate as transient, and as recently used, unless a server owns it."""
        if self._is_owned(certificate):
            self._transient.pop(certificate, None)
            return
        self._transient[certificate] = None
        self._transient.move_to_end(certificate)
        if self._entries[certificate].has_no_responder or len(self._transient) > self._max_entries:
            self._forget(certificate if self._entries[certificate].has_no_responder else next(iter(self._transient)))

    def _remove(self, entry: _Entry) -> None:
        self._transient.pop(entry.certificate.raw, None)
        del self._entries[entry.certificate.raw]

    def _forget(self, certificate: bytes) -> None:
        entry = self._entries[certificate]
        self._remove(entry)
        entry.first_attempt.set()
        if entry.task is not None:
            entry.task.cancel()

    def _find(self, certificate: bytes, issuer: bytes | None) -> _Entry:
        entry = self._entries.get(certificate)
        if entry is None or entry.is_abandoned:
            entry = self._entries[certificate] = _Entry(parse(certificate), parse(issuer) if issuer else None)
            # A fresh contextvars context: the task must not keep the variables of the first
            # connection alive.
            work = self._keep_fresh(entry)
            entry.task = asyncio.get_running_loop().create_task(work, name="tlsio stapling", context=contextvars.Context())
            entry.task.add_done_callback(lambda task: self._task_done(entry, task))
        return entry

    async def _keep_fresh(self, entry: _Entry) -> None:
        """Refresh the response regularly, for as long as a server owns or uses the certificate."""
        while await self._refresh(entry):
            await self._sleep(entry.interval_at(self._now()))
            if not entry.is_used and not self._is_owned(entry.certificate.raw):
                self._remove(entry)
                return
            entry.is_used = False
        if not self._is_owned(entry.certificate.raw):
            await self._sleep(_LONGEST_RETRY)  # so that the warning is logged once in that time
            if not self._is_owned(entry.certificate.raw):
                self._remove(entry)

    def _task_done(self, entry: _Entry, task: asyncio.Task[None]) -> None:
        """Wake waiting handshakes, and drop the entry of a task that was cancelled.

        The next use of the certificate then starts another task.
        """
        entry.first_attempt.set()
        if task.cancelled() and self._entries.get(entry.certificate.raw) is entry:
            self._remove(entry)

    def _is_owned(self, certificate: bytes) -> bool:
        return any(certificate in owned for owned in self._owned.values())

    async def _refresh(self, entry: _Entry) -> bool:
        """Query the responder; False: the certificate has none."""
        try:
            if entry.issuer is None or not entry.certificate.ocsp_responders:
                entry.warn("its issuer is neither in cert= nor in ca=" if entry.issuer is None else "it names no OCSP responder")
                return False
            async with asyncio.timeout(self._timeout):
                response = await self._fetch(entry.certificate.ocsp_responders[0], make_request(entry.certificate, entry.issuer))
            entry.store(response, judge_response(response, entry.certificate, entry.issuer, now=self._now()))
        except BaseException as error:  # the top of a task; it is logged and retried
            if ends_task(error):
                raise
            entry.fail(error)
        finally:
            entry.first_attempt.set()
        return True

    def __repr__(self) -> str:
        return f"<Stapler certificates={len(self._entries)} servers={len(self._owned)}>"


class _Entry:
    """One certificate and the last response about it."""

    def __init__(self, certificate: PeerCertificate, issuer: PeerCertificate | None) -> None:
        self.certificate = certificate
        self.issuer = issuer
        self.is_used = False
        self.first_attempt = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._response: bytes | None = None
        self._status = CertificateStatus()
        self._retry = 0.0  # seconds until the next attempt, 0 after a response

    @property
    def has_no_responder(self) -> bool:
        """Whether the task has ended, for lack of a responder."""
        return self.task is not None and self.task.done()

    @property
    def is_abandoned(self) -> bool:
        """Whether the loop was closed in which the task would go on."""
        return self.task is not None and not self.task.done() and self.task.get_loop().is_closed()

    def response_at(self, now: datetime) -> bytes | None:
        """Return the response if it is valid at `now`."""
        end = self._status.next_update
        return self._response if end is not None and now < end else None

    def store(self, response: bytes, status: CertificateStatus) -> None:
        """Store a valid response.

        Raises:
            CertificateError: it is not valid.
        """
        if status.error is not None and not status.is_conclusive:
            raise status.error
        if status.error is not None and self._status.error is None:
            _log.error("The OCSP responder reports that %s was revoked; this response is stapled", self._name)
        elif self._retry:
            _log.info("%s has an OCSP response again", self._name)
        self._response, self._status, self._retry = response, status, 0.0

    def fail(self, error: BaseException) -> None:
        """Schedule a retry; only the first failure in a row is logged."""
        if not self._retry:
            self.warn(f"the responder {self.certificate.ocsp_responders[0]!r:.200} failed: {str(error) or type(error).__name__:.300}")
        self._retry = min(self._retry * 2 or _RETRY, _LONGEST_RETRY)

    def warn(self, why: str) -> None:
        """Log why there is nothing to staple."""
        _log.warning("No OCSP response for %s: %s", self._name, why)

    def interval_at(self, now: datetime) -> float:
        """Return the seconds until the next query."""
        start, end = self._status.this_update, self._status.next_update
        if self._retry or start is None or end is None:
            return self._retry
        half = start + (end - start) / 2
        if half < now:  # the responder sends old responses
            half = now + (end - now) / 2
        return max((half - now).total_seconds(), _MIN_INTERVAL)

    @property
    def _name(self) -> str:
        return f'the certificate "{self.certificate.title}"'


async def _post(url: str, request: bytes) -> bytes:
    return await fetch_by_http(url, request, content_type="application/ocsp-request", max_bytes=MAX_RESPONSE)
