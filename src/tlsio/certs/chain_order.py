"""Puts certificates in the order of a chain: leaf, its issuer, and so on up to the root.

Files come in every order: root first, intermediates twice, the CAs of another server among them.
Names and key identifiers find candidates, and the signature decides, since a CA that was renewed
has several certificates with one name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tlsio.trust.certificate import PeerCertificate

__all__ = ["OrderedChain", "find_leaf", "is_issuer", "is_self_issued", "order"]

_MAX_CHAIN = 100  # OpenSSL's limit (X509_VERIFY_PARAM_set_depth)


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
        issuer = next((one for one in pool if is_issuer(one, current)), None)
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
    ends = [one for one in pool if not any(other is not one and is_issuer(one, other) for other in pool)]
    return next((one for one in ends if not one.is_ca), next(iter(ends), pool[0]))


def is_issuer(issuer: PeerCertificate, certificate: PeerCertificate) -> bool:
    """Tell whether one certificate has issued another: by names, and by the signature."""
    try:
        return certificate.is_issued_by(issuer) and certificate.signed.is_by(issuer.spki)
    except ValueError:
        return False


def is_self_issued(certificate: PeerCertificate) -> bool:
    """Tell whether subject and issuer are the same, as they are of a root."""
    return certificate.subject_key == certificate.issuer_key
