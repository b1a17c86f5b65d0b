"""Puts certificates in the order of a chain: leaf, its issuer, and so on up to the root.

Files come in every order: root first, intermediates twice, the CAs of another server among them.
Names and key identifiers find candidates, and the signature decides, since a CA that was renewed
has several certificates with one name.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from tlsio.trust.certificate import PeerCertificate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["OrderedChain", "find_issuer", "find_leaf", "is_self_issued", "order"]

_MAX_CHAIN = 100  # OpenSSL's limit (X509_VERIFY_PARAM_set_depth)
# Signatures that are checked to find one issuer. Its candidates agree by name, and by the key
# identifier if both have it (RFC 5280 §4.2.1.1): several are one CA, renewed or cross-signed.
_MAX_CANDIDATES = 8


@dataclass(frozen=True, slots=True)
class OrderedChain:
    """Certificates in order.

    Attributes:
        chain: The leaf, then each one's issuer, without the root.
        root: The self-issued certificate at the end; None if it is not among them.
        others: Certificates that do not belong to the chain.
    """

    chain: tuple[PeerCertificate, ...]
    root: PeerCertificate | None
    others: tuple[PeerCertificate, ...]


def order(certificates: Iterable[PeerCertificate], spki: bytes | None = None) -> OrderedChain:
    """Put certificates in order, each once.

    Args:
        certificates: At least one, in any order.
        spki: The leaf's public key, if it is known, as a SubjectPublicKeyInfo.
    """
    pool = list(dict.fromkeys(certificates))
    current = find_leaf(pool, spki)
    chain = [current]
    pool.remove(current)
    while not is_self_issued(current) and len(chain) < _MAX_CHAIN:
        issuer = find_issuer(current, pool)
        if issuer is None:
            break
        pool.remove(issuer)
        chain.append(issuer)
        current = issuer
    root = chain.pop() if len(chain) > 1 and is_self_issued(chain[-1]) else None
    return OrderedChain(tuple(chain), root, tuple(pool))


def find_leaf(pool: Sequence[PeerCertificate], spki: bytes | None = None) -> PeerCertificate:
    """Return the certificate that a server or client would present.

    The one of the key if it is known. Otherwise the first that is not a CA and has issued none of
    the others; without one, the first that has issued none.
    """
    if spki is not None:
        owned = [one for one in pool if one.spki == spki]
        if owned:
            return next((one for one in owned if not one.is_ca), owned[0])
    issued = defaultdict[object, list[PeerCertificate]](list)
    for one in pool:
        issued[one.issuer_key].append(one)
    leaves_first = sorted(pool, key=lambda one: one.is_ca)
    return next((one for one in leaves_first if not _has_issued_any(one, issued[one.subject_key])), pool[0])


def find_issuer(certificate: PeerCertificate, pool: Iterable[PeerCertificate]) -> PeerCertificate | None:
    """Return the first that has issued a certificate: by names, and by the signature."""
    candidates = (one for one in pool if one is not certificate and _may_have_issued(one, certificate))
    return next((one for one in islice(candidates, _MAX_CANDIDATES) if _has_signed(one, certificate)), None)


def _has_issued_any(issuer: PeerCertificate, pool: Iterable[PeerCertificate]) -> bool:
    candidates = (one for one in pool if one is not issuer and _may_have_issued(issuer, one))
    return any(_has_signed(issuer, one) for one in islice(candidates, _MAX_CANDIDATES))


def _may_have_issued(issuer: PeerCertificate, certificate: PeerCertificate) -> bool:
    try:
        return certificate.is_issued_by(issuer)
    except ValueError:
        return False


def _has_signed(issuer: PeerCertificate, certificate: PeerCertificate) -> bool:
    try:
        return certificate.signed.is_by(issuer.spki)
    except ValueError:
        return False


def is_self_issued(certificate: PeerCertificate) -> bool:
    """Tell whether subject and issuer are the same, as they are of a root."""
    return certificate.subject_key == certificate.issuer_key
