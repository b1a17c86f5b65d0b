"""Findings about revocation: the stapled OCSP response, and the lists that certificates name."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from tlsio.model.errors import TLSError
from tlsio.model.instants import print_instant
from tlsio.probe.findings import found
from tlsio.trust.names import printable
from tlsio.trust.ocsp import judge_response
from tlsio.trust.revocation import read_list

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from datetime import datetime

    from tlsio.probe.findings import Finding
    from tlsio.trust.certificate import PeerCertificate

__all__ = ["check_lists", "check_staple"]

_KINDS = {"CERT_REVOKED": "revoked", "OCSP_RESPONSE_EXPIRED": "staple-expired", "OCSP_CERT_UNKNOWN": "staple-unknown"}
# Servers fetch the next response when half of the time is over, at the latest with a third left.
_SOON = 1 / 8
# CA/Browser Forum, Baseline Requirements §4.9: certificates of up to this life need no revocation
# (10 days until March 2026, 7 since).
_SHORT_LIVED = timedelta(days=10)


def check_staple(response: bytes | None, path: Sequence[PeerCertificate], *, now: datetime) -> Iterator[Finding]:
    """Judge a server's stapled response, or its absence."""
    leaf = path[0]
    if response is None:
        if leaf.requires_staple:
            yield found("must-staple", f'"{leaf.title}" requires a stapled OCSP response, and the server sent none.')
        elif leaf.ocsp_responders:
            yield found(
                "staple-missing",
                f"The certificate names the responder {printable(leaf.ocsp_responders[0])}, but the server staples nothing.",
            )
        return
    if len(path) == 1:
        return  # without its issuer, no signature can be checked
    status = judge_response(response, leaf, path[1], now=now)
    if status.error is not None:
        yield found(_KINDS.get(status.error.code, "staple-bad"), f"{status.error.message}.")
    elif status.next_update is not None and status.this_update is not None:
        left, whole = status.next_update - now, status.next_update - status.this_update
        if left < whole * _SOON:
            yield found("staple-expiring", f"The stapled response expires at {print_instant(status.next_update)}.")


async def check_lists(
    path: Sequence[PeerCertificate], fetch: Callable[[str], Awaitable[bytes]], *, now: datetime
) -> AsyncIterator[Finding]:
    """Fetch the list that each certificate names, and look for the certificate in it.

    Raises:
        Cancelled: nothing is left behind.
    """
    leaf = path[0]
    life = leaf.not_after - leaf.not_before if leaf.not_after and leaf.not_before else None
    if not leaf.crl_urls and not leaf.ocsp_responders and life is not None and life > _SHORT_LIVED:
        yield found("no-revocation", f'"{leaf.title}" names neither a revocation list nor an OCSP responder.')
    for one, issuer in pairwise(path):
        for url in one.crl_urls[:1]:
            try:
                data = await fetch(url)
            except (OSError, TLSError) as error:  # UsageError too: the certificate chose the address
                why = error.message if isinstance(error, TLSError) else error.strerror or str(error)
                yield found("crl-unavailable", f"The list at {printable(url)} cannot be fetched: {printable(why)}.")
                continue
            try:
                listed = read_list(data, url, issuer, for_ca=one.is_ca, now=now)
            except ValueError as error:
                yield found("crl-bad", f"The list at {printable(url)} cannot be used: {error}.")
                continue
            if refused := listed.find(one):
                yield found("revoked", f"{refused.message}.")
