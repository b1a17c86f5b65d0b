"""OCSP responses: good ones, and every way in which one may be no good."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

import pki
from asn1 import oid, tlv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

HOUR = dt.timedelta(hours=1)
GOOD, REVOKED, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN


def respond(  # noqa: PLR0913 - each is one thing a response says, all by keyword
    about: pki.Identity,
    *,
    issuer: pki.Identity | None = None,
    signer: pki.Identity | None = None,
    certificates: Sequence[x509.Certificate] = (),
    status: ocsp.OCSPCertStatus = GOOD,
    this_update: dt.datetime = pki.NOW - HOUR,
    next_update: dt.datetime | None = pki.NOW + 24 * HOUR,
    reason: x509.ReasonFlags | None = None,
    id_hash: hashes.HashAlgorithm | None = None,
) -> bytes:
    """Make a response about a certificate; by default good, of today, signed by ca1, who issued it."""
    issuer = issuer or pki.ca1()
    signer = signer or issuer
    builder = ocsp.OCSPResponseBuilder().add_response(
        about.certificate,
        issuer.certificate,
        id_hash or hashes.SHA1(),  # noqa: S303 - what everybody asks by
        status,
        this_update,
        next_update,
        pki.NOW - HOUR if status is REVOKED else None,
        reason,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    if certificates:
        builder = builder.certificates(certificates)
    unhashed = isinstance(signer.key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return builder.sign(signer.key, None if unhashed else hashes.SHA256()).public_bytes(pki.DER)


def delegate(
    *,
    issuer: pki.Identity | None = None,
    key: pki.PrivateKey | None = None,
    may_sign: bool = True,
    not_after: dt.datetime = pki.NOW + pki.DAY,
) -> pki.Identity:
    """Make a responder of its own that `issuer` (ca1) has certified."""
    usages = [ExtendedKeyUsageOID.OCSP_SIGNING if may_sign else ExtendedKeyUsageOID.SERVER_AUTH]
    return pki.leaf("responder", issuer=issuer or pki.ca1(), key=key, usages=usages, not_after=not_after)


def enclose(answer: bytes) -> bytes:
    """Make a response of the right form whose answer is any bytes: TLS carries it, and whoever reads the answer refuses it."""
    return tlv(0x30, tlv(0x0A, b"\0"), tlv(0xA0, tlv(0x30, oid("1.3.6.1.5.5.7.48.1.1"), tlv(0x04, answer))))


def refuse_to_answer(status: ocsp.OCSPResponseStatus = ocsp.OCSPResponseStatus.TRY_LATER) -> bytes:
    """Make a response without an answer."""
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(pki.DER)
