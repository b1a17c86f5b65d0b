"""Findings about the client's own certificate, when a server wants one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsio.model.instants import print_instant
from tlsio.probe.findings import found
from tlsio.trust.certificate import read_all
from tlsio.trust.names import describe_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tlsio.model.errors import TLSError
    from tlsio.probe.findings import Finding
    from tlsio.probe.target import ObservedHandshake
    from tlsio.trust.certificate import PeerCertificate

__all__ = ["check_refusal"]

_CLIENT_AUTH, _ANY_USAGE = "1.3.6.1.5.5.7.3.2", "2.5.29.37.0"
_MAX_SHOWN = 6  # authorities in a message


def check_refusal(side: ObservedHandshake, error: TLSError, *, now: datetime) -> Iterator[Finding]:
    """Explain why a server that asked for a certificate refused the client."""
    own = next(iter(read_all(der for der, _ in side.context.native.identities)), None)
    authorities = side.connection.requested_authorities
    if own is None:
        shown = "; ".join(map(describe_name, authorities[:_MAX_SHOWN]))
        reason = "The server requires a client certificate"
        yield found("client-certificate-required", f"{reason}, from one of: {shown}." if shown else f"{reason}.")
        return
    causes = list(_find_causes(side, own, now))
    yield from causes or [found("client-certificate-refused", f"The server refused the client's certificate: {error.message}.")]


def _find_causes(side: ObservedHandshake, own: PeerCertificate, now: datetime) -> Iterator[Finding]:
    authorities = side.connection.requested_authorities
    name = f'The client\'s certificate "{own.title}"'
    usages = own["ext_key_usage"]
    if own.not_after is not None and own.not_after < now:
        yield found("client-certificate-expired", f"{name} expired on {print_instant(own.not_after)}.")
    if usages is not None and not {_CLIENT_AUTH, _ANY_USAGE} & set(usages):
        yield found("client-certificate-usage", f"{name} is not for clients: its extendedKeyUsage lacks clientAuth.")
    if authorities and own.issuer not in authorities:
        unnamed = f'{name} is from "{own.issuer_text}", which the server does not name'
        if side.connection.sent_intermediates:
            yield found("client-certificate-authority", f"{unnamed}.")
        else:
            yield found("client-certificate-chain", f"{unnamed}, and is sent without intermediates.")
