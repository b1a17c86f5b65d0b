"""What an authority says about certificates it has issued: revocation lists and OCSP responses."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from tlsio.certs.keys import signature_hash
from tlsio.certs.unreadable import UNREADABLE
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tlsio.certs.keys import PrivateKey

__all__ = ["ListNumbers", "Revocation", "issuer_key_identifier", "make_crl", "make_ocsp_response"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DER = serialization.Encoding.DER
# RFC 8954 §2.1: a nonce of a client has 1 to 32 octets; longer ones are not returned.
_MAX_NONCE = 32
_HASHES = (hashes.SHA1, hashes.SHA224, hashes.SHA256, hashes.SHA384, hashes.SHA512)  # what cryptography puts into a response


@dataclass(frozen=True, slots=True)
class Revocation:
    """One revoked certificate.

    Attributes:
        serial_number: That of the certificate, from 1 to 2**159 - 1.
        at: Since when it is not to be trusted, an aware datetime.
        reason: Such as `x509.ReasonFlags.key_compromise`; None says nothing.
    """

    serial_number: int
    at: datetime
    reason: x509.ReasonFlags | None = None


@dataclass(slots=True)
class ListNumbers:
    """The numbers of the revocation lists of one authority, which grow from list to list.

    "If a CRL issuer generates two CRLs ... at different times, the two CRLs MUST NOT have the same
    CRL number" (RFC 5280 §5.2.3). The time makes them grow from process to process too, and the
    last one where the clock has not advanced.
    """

    _last: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, now: datetime) -> int:
        """Return the number of the list that is made now."""
        with self._lock:
            self._last = max((now - _EPOCH) // timedelta(microseconds=1), self._last + 1)
            return self._last


def make_crl(
    issuer: x509.Certificate, key: PrivateKey, revoked: Iterable[Revocation], *, now: datetime, life: timedelta, number: int
) -> x509.CertificateRevocationList:
    """Make a revocation list with the two extensions that RFC 5280 §5.2 requires."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now)
        .next_update(now + life)
        .add_extension(issuer_key_identifier(issuer), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.serial_number).revocation_date(one.at)
        if one.reason is not None:
            entry = entry.add_extension(x509.CRLReason(one.reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key, signature_hash(key))


def make_ocsp_response(  # noqa: PLR0913 - each is one thing a response says, all by keyword
    issuer: x509.Certificate,
    key: PrivateKey,
    certificate: x509.Certificate,
    *,
    revocation: Revocation | None,
    now: datetime,
    life: timedelta,
    request: bytes | None,
) -> bytes:
    """Make an OCSP response in DER, signed by the issuer itself (RFC 6960 §4.2).

    Args:
        issuer: The certificate of the authority.
        key: Its key.
        certificate: Which certificate the response is about.
        revocation: None says "good".
        now: When the response is made.
        life: For how long it is valid.
        request: The request that is answered, in DER: its hash and its nonce are used.

    Raises:
        ConfigError: the request cannot be read, or is about another certificate.
    """
    asked = None if request is None else _load_request(request)
    algorithm: hashes.HashAlgorithm = hashes.SHA256() if asked is None else asked.hash_algorithm
    builder = ocsp.OCSPResponseBuilder().add_response(
        certificate,
        issuer,
        algorithm,
        ocsp.OCSPCertStatus.GOOD if revocation is None else ocsp.OCSPCertStatus.REVOKED,
        this_update=now,
        next_update=now + life,
        revocation_time=None if revocation is None else revocation.at,
        revocation_reason=None if revocation is None else revocation.reason,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, issuer)
    if asked is not None:
        if not _is_about(asked, certificate, issuer):
            raise ConfigError(
                "The OCSP request is about another certificate", hint="Find the certificate by the serial number of the request."
            )
        for extension in asked.extensions:
            if isinstance(extension.value, x509.OCSPNonce) and len(extension.value.nonce) <= _MAX_NONCE:
                builder = builder.add_extension(extension.value, critical=False)
    return builder.sign(key, signature_hash(key)).public_bytes(_DER)


def issuer_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return the key identifier of an issuer, for what it signs: that of its own certificate."""
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())  # type: ignore[arg-type]  # it signs
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _is_about(asked: ocsp.OCSPRequest, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Compare the CertID that was asked for (RFC 6960 §4.1.1) with that of a certificate."""
    own = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, asked.hash_algorithm).build()
    return (own.serial_number, own.issuer_name_hash, own.issuer_key_hash) == (
        asked.serial_number,
        asked.issuer_name_hash,
        asked.issuer_key_hash,
    )


def _load_request(data: bytes) -> ocsp.OCSPRequest:
    try:
        request = ocsp.load_der_ocsp_request(data)
        _ = request.extensions  # parsed when they are asked for
        if isinstance(request.hash_algorithm, _HASHES):
            return request
        problem: object = f"it uses {request.hash_algorithm.name}"
    except UNREADABLE as error:
        problem = error
    raise ConfigError(f"The OCSP request cannot be answered: {problem}", code="ERR_CRYPTO_OPERATION_FAILED")
