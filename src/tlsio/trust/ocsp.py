"""OCSP (RFC 6960): what to ask a responder, and what its answer is worth.

An answer counts when it is about this certificate, signed by the certificate's issuer or by somebody whom that issuer has
certified for it, and of today. `cryptography` reads it and checks the signatures; what follows from that is decided here. The
time is an argument, and nothing is fetched.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from tlsio.model.errors import CertificateError

from .certificate import PeerCertificate

__all__ = ["MAX_RESPONSE", "CertificateStatus", "judge_absence", "judge_response", "make_request"]

MAX_RESPONSE = 16380
"""Bytes of a response. In TLS 1.2 OpenSSL takes a message of SSL3_RT_MAX_PLAIN_LENGTH bytes, four of which are not the response."""

_SKEW = timedelta(minutes=5)  # between our clock and the responder's; what OpenSSL's command allows
# "If nextUpdate is not set, the responder is indicating that newer revocation information is available all the time" (RFC 6960
# §4.2.2.1). Without a bound an old answer could be shown for ever.
_UNDATED = timedelta(days=1)
_WEAK = (hashes.MD5, hashes.SHA1)
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType)

_REVOKED = "certificate_revoked"
# RFC 6066 §8: "Clients requesting an OCSP response and receiving an OCSP response in a "CertificateStatus" message MUST check
# the OCSP response and abort the handshake if the response is not satisfactory with bad_certificate_status_response(113) alert."
_BAD_RESPONSE = "bad_certificate_status_response"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateStatus:
    """What a response says about a certificate.

    Attributes:
        error: What speaks against the certificate or the response, with the `alert` to send; None: the certificate is good.
        is_conclusive: The response can be relied on and says "good" or "revoked".
        this_update: The moment it is about. `next_update`: until when it counts. Both None where there is no such response.
    """

    error: CertificateError | None = None
    is_conclusive: bool = False
    this_update: datetime | None = None
    next_update: datetime | None = None


def make_request(certificate: PeerCertificate, issuer: PeerCertificate) -> bytes:
    """Make the question for a responder, in DER.

    Without a nonce, so that responders may answer from what they have signed before (RFC 5019 §2.1.1, which also wants SHA-1
    for the certificate's id; nothing depends on its strength).

    Raises:
        ValueError: `cryptography` does not take one of the certificates.
    """
    return _request(certificate, issuer, hashes.SHA1()).public_bytes(serialization.Encoding.DER)  # noqa: S303


def judge_absence(certificate: PeerCertificate, *, required: bool) -> CertificateStatus:
    """Judge that there is no response: fine, unless it is `required`, or the certificate says that its server staples one.

    RFC 7633 §4.3.3: a client that understands the feature and finds it missing treats the certificate as not valid.
    """
    if not required and not certificate.requires_staple:
        return CertificateStatus()
    why = 'ocsp="require" wants one' if required else "the certificate is only good with one (must-staple, RFC 7633)"
    return _bad("OCSP_RESPONSE_MISSING", f"was not sent, and {why}", "The server has to staple: in tlsio by stapling=True.")


def judge_response(response: bytes, certificate: PeerCertificate, issuer: PeerCertificate | None, *, now: datetime) -> CertificateStatus:
    """Judge a response; pure, quick, and never raises for what is in it.

    A responder's own certificate has to be issued by `issuer` itself for signing responses and valid now; it is not asked about
    in turn (RFC 6960 §4.2.2.2.1 leaves that to the client; such certificates are short-lived or say `id-pkix-ocsp-nocheck`).

    Args:
        response: In DER.
        certificate: Whom it should be about.
        issuer: Of the certificate, from the verified chain; None when there is none, so that nobody can have signed.
        now: Aware.
    """
    if len(response) > MAX_RESPONSE:
        return _bad("OCSP_RESPONSE_MALFORMED", f"has {len(response)} bytes, more than {MAX_RESPONSE}")
    if issuer is None:
        return _bad("OCSP_SIGNATURE_INVALID", "cannot be checked: the certificate is trusted without its issuer")
    try:
        return _judge(ocsp.load_der_ocsp_response(response), certificate, issuer, now)
    except _UNREADABLE as error:
        return _bad("OCSP_RESPONSE_MALFORMED", f"cannot be read: {error}")


def _judge(response: ocsp.OCSPResponse, certificate: PeerCertificate, issuer: PeerCertificate, now: datetime) -> CertificateStatus:
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        said = response.response_status.name.lower()
        return _bad("OCSP_RESPONSE_UNSUCCESSFUL", f"is the responder's refusal to answer: {said}")
    about = [single for single in response.responses if _is_about(single, certificate, issuer)]
    if not about:
        return _bad("OCSP_RESPONSE_MISMATCH", "is about another certificate", "Does the server staple what belongs to its old certificate?")
    refused = _judge_signer(response, issuer, now)
    if refused is not None:
        return refused
    found = [_judge_single(single, now) for single in about]
    # Two answers about one certificate: what speaks against it wins.
    return next((status for status in found if status.is_conclusive and status.error), None) or min(
        found, key=lambda status: bool(status.error)
    )


def _is_about(single: ocsp.OCSPSingleResponse, certificate: PeerCertificate, issuer: PeerCertificate) -> bool:
    asked = _request(certificate, issuer, single.hash_algorithm)
    return (single.serial_number, single.issuer_name_hash, single.issuer_key_hash) == (
        asked.serial_number,
        asked.issuer_name_hash,
        asked.issuer_key_hash,
    )


def _request(certificate: PeerCertificate, issuer: PeerCertificate, algorithm: hashes.HashAlgorithm) -> ocsp.OCSPRequest:
    return ocsp.OCSPRequestBuilder().add_certificate(certificate.x509, issuer.x509, algorithm).build()


def _judge_signer(response: ocsp.OCSPResponse, issuer: PeerCertificate, now: datetime) -> CertificateStatus | None:
    """Return why the signature does not count; None: it does.

    RFC 6960 §4.2.2.2: the issuer's own, or of a certificate issued by it directly that has id-kp-OCSPSigning.
    """
    if isinstance(response.signature_hash_algorithm, _WEAK):
        return _bad("OCSP_SIGNATURE_INVALID", f"is signed with {response.signature_hash_algorithm.name}, which can be forged")
    if _has_signed(issuer.x509, response):
        return None
    signer = next((one for one in response.certificates if _has_signed(one, response)), None)
    if signer is None:
        return _bad("OCSP_SIGNATURE_INVALID", "has a signature that is neither the issuer's nor of a certificate sent with it")
    flaws = list(_flaws_of_responder(signer, issuer.x509, now))
    if flaws:
        who = signer.subject.rfc4514_string()
        return _bad("OCSP_SIGNER_UNAUTHORIZED", f'is signed by "{who}", who {" and ".join(flaws)}')
    return None


def _flaws_of_responder(signer: x509.Certificate, issuer: x509.Certificate, now: datetime) -> Iterator[str]:
    try:
        signer.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        yield "was not certified by the certificate's issuer"
    try:
        usages = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usages = x509.ExtendedKeyUsage([])
    if ExtendedKeyUsageOID.OCSP_SIGNING not in usages:
        yield "may not sign responses"
    if not signer.not_valid_before_utc <= now <= signer.not_valid_after_utc:
        yield "has a certificate that is not valid now"


def _has_signed(signer: x509.Certificate, response: ocsp.OCSPResponse) -> bool:
    key, algorithm = signer.public_key(), response.signature_hash_algorithm
    signature, data = response.signature, response.tbs_response_bytes
    try:
        if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, data)
        elif isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
            key.verify(signature, data, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
            key.verify(signature, data, ec.ECDSA(algorithm))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _judge_single(single: ocsp.OCSPSingleResponse, now: datetime) -> CertificateStatus:
    if single.certificate_status is ocsp.OCSPCertStatus.UNKNOWN:
        return _bad("OCSP_CERT_UNKNOWN", "says that the responder does not know the certificate")
    start = single.this_update_utc
    if start > now + _SKEW:
        return _bad("OCSP_RESPONSE_NOT_YET_VALID", f"counts from {start:%Y-%m-%d %H:%M:%S} UTC on", "Is this machine's clock right?")
    end = single.next_update_utc or start + _UNDATED
    if end < now - _SKEW:
        hint = "The server staples an old one: its responder may be down. Or this machine's clock is ahead."
        return _bad("OCSP_RESPONSE_EXPIRED", f"counted until {end:%Y-%m-%d %H:%M:%S} UTC", hint)
    error = None
    if single.certificate_status is ocsp.OCSPCertStatus.REVOKED:
        since = single.revocation_time_utc
        why = f", {single.revocation_reason.value}" if single.revocation_reason else ""
        error = CertificateError(
            f"The server's certificate was revoked on {since:%Y-%m-%d} by its issuer{why}: the OCSP response says so",
            code="CERT_REVOKED",
            alert=_REVOKED,
            hint="Nobody should trust it any more. Whoever runs the server needs a new certificate with a new key.",
        )
    return CertificateStatus(error=error, is_conclusive=True, this_update=start, next_update=end)


def _bad(code: str, found: str, hint: str | None = None) -> CertificateStatus:
    return CertificateStatus(
        error=CertificateError(f"The OCSP response about the certificate {found}", code=code, alert=_BAD_RESPONSE, hint=hint)
    )
