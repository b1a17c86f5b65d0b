"""What is known about our own side of a failed handshake, for the hint of its error."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from tlsio.model.faults import ClientOffer, LocalSide, OwnCertificate
from tlsio.trust.advice import allows_role
from tlsio.trust.certificate import read_all

if TYPE_CHECKING:
    from tlsio.connection.context.secure_context import SecureContext
    from tlsio.model.faults import Role
    from tlsio.model.options.context import ContextOptions
    from tlsio.native._core import Connection

__all__ = ["describe_local_side"]

_MAX_SHOWN = 80


def describe_local_side(connection: Connection, context: SecureContext) -> LocalSide:
    """Return what a hint may say about our side.

    Args:
        connection: The connection that has failed.
        context: What it was made of.
    """
    offer = ClientOffer()
    options = context.options
    oldest, newest = context.versions
    if connection.is_server:
        version, suites, groups, signatures = connection.client_offer
        offer = ClientOffer(version=version, suites=suites, groups=groups, signatures=signatures)
    return LocalSide(
        now=datetime.now(UTC),
        min_version=oldest,
        max_version=newest,
        narrowed=_find_narrowed(options),
        server_name=connection.server_name,
        certificate=_describe_certificate(connection, has_others=len(options.cert or ()) + len(options.pfx or ()) > 1),
        offer=offer,
    )


def _find_narrowed(options: ContextOptions) -> dict[str, str]:
    """Return the options that were given and leave something out, as they would be written."""
    names = ("min_version", "max_version", "ciphers", "ecdh_curve", "sigalgs")
    found = {name: repr(value)[:_MAX_SHOWN] for name in names if (value := getattr(options, name)) is not None}
    if options.secure_options:
        found["secure_options"] = hex(options.secure_options)
    if options.alpn_protocols is not None:
        found["alpn_protocols"] = repr([name.decode("latin-1") for name in options.alpn_protocols])[:_MAX_SHOWN]
    return found


def _describe_certificate(connection: Connection, *, has_others: bool) -> OwnCertificate | None:
    """Describe the certificate of this side; which of several is used may not have been decided."""
    data = connection.certificate
    own = _read_certificate(data, "server" if connection.is_server else "client", connection.sent_intermediates) if data else None
    return replace(own, key="") if own is not None and has_others else own


@lru_cache(maxsize=16)  # clients that fail on purpose must not cost more than a handshake
def _read_certificate(data: bytes, role: Role, intermediates: int) -> OwnCertificate | None:
    certificate = next(read_all((data,)), None)
    if certificate is None:
        return None
    return OwnCertificate(
        subject=certificate.title,
        issuer=certificate.issuer_text,
        key="RSA" if certificate["modulus"] else "EC" if certificate["asn1_curve"] else "",
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        is_self_signed=certificate.subject == certificate.issuer,
        fits_role=allows_role(certificate, role),
        intermediates=intermediates,
    )
