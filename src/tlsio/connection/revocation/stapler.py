"""The stapler: OCSP responses for a server's certificates, fetched ahead of the clients and kept fresh.

Theory of operation. Each certificate has an entry, and each entry a task: it asks the responder that the certificate names,
judges the answer as a client would, keeps it, and sleeps until half of its life is over. While the responder is down the old
answer stays, as long as it counts, and the pauses grow. A handshake takes what is there and never waits, unless the certificate
is good only with a response.

Tasks live while a server of the stapler's listens. A certificate that none of them has by itself, because `sni_callback` brought it or a
name was removed, is let go when no client was shown it since the last answer, or after an hour when there is no responder for it. There is
room for a bounded number of those, of which the one that was shown least recently leaves first: clients choose the names that such
certificates are made for.
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
_SOONEST = 60.0  # an answer with a very short life is not asked for all the time


class Stapler:
    """Keeps OCSP responses for the servers it is given to (`stapling=`). One may serve several, of one event loop.

    The responder is the one named in the certificate (authorityInfoAccess), asked by HTTP POST (RFC 6960 appendix A.1). What it
    answers is stapled only if a client would accept it; "revoked" is stapled too, since it is the truth.
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
        """Make a stapler; it begins when a server listens.

        Args:
            timeout: Seconds for one answer.
            max_entries: Certificates besides those that the servers have by themselves: of names that `sni_callback` brings.
            fetch: Instead of plain HTTP, for those behind a proxy: async function(url, request) that returns the response, both DER.
            now: Another clock, for tests.
            sleep: As asyncio's, for tests.
        """
        self._timeout = check_seconds("timeout", timeout)
        self._fetch: Fetch = check_function("fetch", fetch) if fetch else _post
        self._now = now or partial(datetime.now, UTC)
        self._sleep = sleep or asyncio.sleep
        self._max_entries = check_int("max_entries", max_entries, 1, 2**31 - 1)
        self._entries: dict[bytes, _Entry] = {}
        self._passing: OrderedDict[bytes, None] = OrderedDict()  # those that no server has by itself, the least recently shown first
        self._wanted: dict[object, frozenset[bytes]] = {}  # by server: the certificates it has

    def staple(self, certificate: bytes, issuer: bytes | None, _socket: object = None) -> bytes | Awaitable[bytes | None] | None:
        """Return the response for a certificate, or None. One that is good only with a response waits for the first answer.

        Args:
            certificate: DER.
            issuer: DER, None when nobody knows it.
        """
        if not self._wanted:
            return None
        entry = self._find(certificate, issuer)
        entry.is_used = True
        self._pass(certificate)
        if entry.certificate.requires_staple and not entry.has_tried.is_set():
            return self._wait(entry)
        return entry.response_at(self._now())

    async def _wait(self, entry: _Entry) -> bytes | None:
        await entry.has_tried.wait()
        return entry.response_at(self._now())

    def watch(self, server: object, identities: Iterable[Identity]) -> None:
        """Begin, or go on with other certificates: what `server` has now, each with its issuer. For the servers themselves."""
        found = dict(identities)
        self._wanted[server] = frozenset(found)
        for certificate in tuple(self._entries):
            self._pass(certificate)
        for certificate, issuer in found.items():
            self._find(certificate, issuer)

    def release(self, server: object) -> None:
        """End what is done for `server`."""
        if self._wanted.pop(server, None) is not None and not self._wanted:
            for certificate in tuple(self._entries):
                self._forget(certificate)

    def _pass(self, certificate: bytes) -> None:
        """Count a certificate among those that come and go, unless a server has it."""
        if self._is_wanted(certificate):
            self._passing.pop(certificate, None)
            return
        self._passing[certificate] = None
        self._passing.move_to_end(certificate)
        if self._entries[certificate].is_hopeless or len(self._passing) > self._max_entries:
            self._forget(certificate if self._entries[certificate].is_hopeless else next(iter(self._passing)))

    def _remove(self, entry: _Entry) -> None:
        self._passing.pop(entry.certificate.raw, None)
        del self._entries[entry.certificate.raw]

    def _forget(self, certificate: bytes) -> None:
        entry = self._entries[certificate]
        self._remove(entry)
        entry.has_tried.set()
        if entry.task is not None:
            entry.task.cancel()

    def _find(self, certificate: bytes, issuer: bytes | None) -> _Entry:
        entry = self._entries.get(certificate)
        if entry is None:
            entry = self._entries[certificate] = _Entry(parse(certificate), parse(issuer) if issuer else None)
            # In a context of its own: the task must not keep the variables of the connection that happened to be the first.
            keep = self._keep(entry)
            entry.task = asyncio.get_running_loop().create_task(keep, name="tlsio stapling", context=contextvars.Context())
            entry.task.add_done_callback(lambda task: self._kept(entry, task))
        return entry

    async def _keep(self, entry: _Entry) -> None:
        """Ask, sleep, ask again, for as long as a server has the certificate or shows it."""
        while await self._refresh(entry):
            await self._sleep(entry.pause_at(self._now()))
            if not entry.is_used and not self._is_wanted(entry.certificate.raw):
                self._remove(entry)
                return
            entry.is_used = False
        if not self._is_wanted(entry.certificate.raw):
            await self._sleep(_LONGEST_RETRY)  # the log is told once in that time
            if not self._is_wanted(entry.certificate.raw):
                self._remove(entry)

    def _kept(self, entry: _Entry, task: asyncio.Task[None]) -> None:
        """The task has ended, or was cancelled by the application: then the next client that is shown the certificate begins anew."""
        entry.has_tried.set()
        if task.cancelled() and self._entries.get(entry.certificate.raw) is entry:
            self._remove(entry)

    def _is_wanted(self, certificate: bytes) -> bool:
        return any(certificate in wanted for wanted in self._wanted.values())

    async def _refresh(self, entry: _Entry) -> bool:
        """Ask for an answer; False: there is nobody to be asked."""
        try:
            if entry.issuer is None or not entry.certificate.ocsp_responders:
                entry.warn("its issuer is neither sent along nor in ca" if entry.issuer is None else "it names no OCSP responder")
                return False
            async with asyncio.timeout(self._timeout):
                response = await self._fetch(entry.certificate.ocsp_responders[0], make_request(entry.certificate, entry.issuer))
            entry.take(response, judge_response(response, entry.certificate, entry.issuer, now=self._now()))
        except BaseException as error:  # the top of a task; whatever it is, the next answer may be better
            if ends_task(error):
                raise
            entry.fail(error)
        finally:
            entry.has_tried.set()
        return True

    def __repr__(self) -> str:
        return f"<Stapler certificates={len(self._entries)} servers={len(self._wanted)}>"


class _Entry:
    """One certificate and the last answer about it."""

    def __init__(self, certificate: PeerCertificate, issuer: PeerCertificate | None) -> None:
        self.certificate = certificate
        self.issuer = issuer
        self.is_used = False
        self.has_tried = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._response: bytes | None = None
        self._status = CertificateStatus()
        self._retry = 0.0  # seconds until the next try, 0 after an answer

    @property
    def is_hopeless(self) -> bool:
        """There is nobody to be asked."""
        return self.task is not None and self.task.done()

    def response_at(self, now: datetime) -> bytes | None:
        """The response, while it counts."""
        end = self._status.next_update
        return self._response if end is not None and now < end else None

    def take(self, response: bytes, status: CertificateStatus) -> None:
        """Keep an answer that can be relied on.

        Raises:
            CertificateError: it cannot.
        """
        if status.error is not None and not status.is_conclusive:
            raise status.error
        if status.error is not None and self._status.error is None:
            _log.error("%s was revoked, says its OCSP responder; clients are told so", self._name)
        elif self._retry:
            _log.info("%s has an OCSP response again", self._name)
        self._response, self._status, self._retry = response, status, 0.0

    def fail(self, error: BaseException) -> None:
        """Note that there was no answer. It is told once, until there is one again."""
        if not self._retry:
            self.warn(f"the responder {self.certificate.ocsp_responders[0]!r:.200} gave none: {str(error) or type(error).__name__:.300}")
        self._retry = min(self._retry * 2 or _RETRY, _LONGEST_RETRY)

    def warn(self, why: str) -> None:
        """Say why there is nothing to staple."""
        _log.warning("No OCSP response for %s: %s", self._name, why)

    def pause_at(self, now: datetime) -> float:
        """Seconds until the next question."""
        start, end = self._status.this_update, self._status.next_update
        if self._retry or start is None or end is None:
            return self._retry
        half = start + (end - start) / 2
        if half < now:  # what the responder gives is old already
            half = now + (end - now) / 2
        return max((half - now).total_seconds(), _SOONEST)

    @property
    def _name(self) -> str:
        return f'the certificate "{self.certificate.subject_text}"'


async def _post(url: str, request: bytes) -> bytes:
    return await fetch_by_http(url, request, content_type="application/ocsp-request", max_bytes=MAX_RESPONSE)
