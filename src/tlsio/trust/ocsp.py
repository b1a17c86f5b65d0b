"""OCSP (RFC 6960): makes requests, and judges responses.

A response is accepted if it is about this certificate, signed by the certificate's issuer or by a
responder that the issuer has certified, and current. It is parsed here, from its DER, and OpenSSL
checks the signatures, so a response with certificates or algorithms that other parsers reject can
still be accepted. The time is an argument, and nothing is fetched.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from tlsio.model.errors import CertificateError
from tlsio.model.instants import print_instant
from tlsio.native._core import has_valid_extensions

from . import der
from .certificate import PeerCertificate, read_all
from .names import parse_name
from .signatures import Signed

__all__ = ["MAX_RESPONSE", "CertificateStatus", "judge_absence", "judge_response", "make_request"]

MAX_RESPONSE = 16380
"""Largest response in bytes: SSL3_RT_MAX_PLAIN_LENGTH, less four bytes of TLS 1.2 header."""

_SKEW = timedelta(minutes=5)  # between the local clock and the responder's; as in `openssl ocsp`
# "If nextUpdate is not set, the responder is indicating that newer revocation information is
# available all the time" (RFC 6960 §4.2.2.1). Without a limit, an old response could be replayed
# for ever.
_LIFETIME_WITHOUT_NEXT_UPDATE = timedelta(days=1)
# Without a limit, a response with a nextUpdate in a hundred years could be replayed for as long,
# even after a revocation. This is Firefox's limit (mozilla::pkix), and the longest that public CAs
# may set (CA/Browser Forum, Baseline Requirements §4.9.10).
_MAX_LIFETIME = timedelta(days=10)
_MAX_RESPONDERS = 4  # certificates in a response that are tried; one is usual, and each costs a signature check

# By object identifier, as in CertID (§4.1.1). Security does not depend on their strength.
_ID_HASHES = {
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
_SHA1 = bytes.fromhex("300906052b0e03021a0500")  # AlgorithmIdentifier, with the customary NULL
_BASIC_RESPONSE, _NONCE, _OCSP_SIGNING = "1.3.6.1.5.5.7.48.1.1", "1.3.6.1.5.5.7.48.1.2", "1.3.6.1.5.5.7.3.9"
_ENUMERATED = 0x0A
_TAG_0, _TAG_1, _TAG_2 = 0xA0, 0xA1, 0xA2  # [0] to [2], constructed
_GOOD, _REVOKED_INFO, _UNKNOWN = 0x80, 0xA1, 0x82  # of CertStatus; the first and the last are IMPLICIT NULL
_RESPONSE_STATUSES = ("successful", "malformed_request", "internal_error", "try_later", "", "sig_required", "unauthorized")  # §4.2.1
_REVOCATION_REASONS = (
    "unspecified",
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "certificateHold",
    "",
    "removeFromCRL",
    "privilegeWithdrawn",
    "aACompromise",
)  # fmt: skip - RFC 5280 §5.3.1

_REVOKED_ALERT = "certificate_revoked"
# RFC 6066 §8: "Clients requesting an OCSP response and receiving an OCSP response in a
# "CertificateStatus" message MUST check the OCSP response and abort the handshake if the response
# is not satisfactory with bad_certificate_status_response(113) alert."
_BAD_RESPONSE_ALERT = "bad_certificate_status_response"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateStatus:
    """What a response says about a certificate.

    Attributes:
        error: Why the certificate or the response is rejected, with the `alert` to send; None if
            the certificate is good.
        is_conclusive: The response is valid and says "good" or "revoked".
        this_update: The time for which the status is known; None without a valid response.
        next_update: The end of the response's validity; None without a valid response.
    """

    error: CertificateError | None = None
    is_conclusive: bool = False
    this_update: datetime | None = None
    next_update: datetime | None = None


def make_request(certificate: PeerCertificate, issuer: PeerCertificate) -> bytes:
    """Return a request for a responder, in DER.

    It has no nonce, so that responders can send responses they signed earlier (RFC 5019 §2.1.1).
    The same section requires SHA-1 for the certificate's id; security does not depend on its
    strength.

    Raises:
        ValueError: the issuer's key is malformed.
    """
    name, key = _id_hashes("sha1", certificate.issuer, issuer)
    hashes = der.make(der.OCTET_STRING, name), der.make(der.OCTET_STRING, key)
    wanted = der.make(der.SEQUENCE, _SHA1, *hashes, der.make_integer(certificate.serial))
    # OCSPRequest, TBSRequest, requestList, Request.
    return der.make(der.SEQUENCE, der.make(der.SEQUENCE, der.make(der.SEQUENCE, der.make(der.SEQUENCE, wanted))))


def judge_absence(certificate: PeerCertificate, *, required: bool) -> CertificateStatus:
    """Judge a missing response: an error if it is `required`, or if the certificate is must-staple.

    RFC 7633 §4.3.3: a client that supports the feature and does not find it treats the certificate
    as invalid.
    """
    if not required and not certificate.requires_staple:
        return CertificateStatus()
    why = 'ocsp="require" needs one' if required else "the certificate requires one (must-staple, RFC 7633)"
    return _rejected(
        "OCSP_RESPONSE_MISSING",
        f"was not sent by the server, and {why}",
        "The server has to staple OCSP responses (in tlsio: stapling=True).",
    )


def judge_response(response: bytes, certificate: PeerCertificate, issuer: PeerCertificate | None, *, now: datetime) -> CertificateStatus:
    """Judge a response; pure, quick, and never raises because of the response's content.

    A responder's own certificate must be valid now and issued by `issuer` itself for signing
    responses. Its revocation is not checked (RFC 6960 §4.2.2.2.1 leaves that to the client; such
    certificates are short-lived or have `id-pkix-ocsp-nocheck`).

    Args:
        response: In DER.
        certificate: The certificate that the response should be about.
        issuer: The certificate's issuer, from the verified chain. With None, no signature can be
            checked.
        now: The current time, aware.
    """
    if len(response) > MAX_RESPONSE:
        return _rejected("OCSP_RESPONSE_MALFORMED", f"has {len(response)} bytes, more than {MAX_RESPONSE}")
    if issuer is None:
        hint = "The certificate itself is trusted here, and its issuer is not known: add the issuer's certificate to ca=."
        return _rejected("OCSP_SIGNATURE_INVALID", "cannot be checked: the certificate is trusted without its issuer", hint)
    try:
        return _judge(der.read(response), certificate, issuer, now)
    except (ValueError, StopIteration) as error:
        return _rejected("OCSP_RESPONSE_MALFORMED", f"cannot be read: {error}")


class _Response(NamedTuple):
    """The signed content of a response.

    Attributes:
        responder: ResponderID.
        answers: One for each requested certificate.
        signed: Both, with the signature.
        certificates: The certificates included with it, in DER.
    """

    responder: der.Element
    answers: tuple["_Answer", ...]
    signed: Signed
    certificates: tuple[bytes, ...]


class _Answer(NamedTuple):
    """A SingleResponse."""

    hash_name: str
    name_hash: bytes
    key_hash: bytes
    serial: int
    status: der.Element
    this_update: datetime
    next_update: datetime | None


def _judge(response: der.Element, certificate: PeerCertificate, issuer: PeerCertificate, now: datetime) -> CertificateStatus:
    status, *rest = response.expect(der.SEQUENCE).children()
    number = int.from_bytes(status.expect(_ENUMERATED).content)
    if number:
        name = _RESPONSE_STATUSES[number] if number < len(_RESPONSE_STATUSES) else str(number)
        return _rejected("OCSP_RESPONSE_UNSUCCESSFUL", f"is the responder's refusal to answer: {name}")
    read = _read(rest)
    about = [answer for answer in read.answers if _is_about(answer, certificate, issuer)]
    if not about:
        hint = "The server probably still staples the response for its previous certificate: it has to fetch a new one."
        return _rejected("OCSP_RESPONSE_MISMATCH", "is about another certificate", hint)
    return _judge_signer(read, issuer, now) or min((_judge_answer(answer, now) for answer in about), key=_rank)


def _rank(status: CertificateStatus) -> int:
    """Rank the answers about one certificate: revoked, unknown, good, outdated."""
    code = status.error.code if status.error else ""
    return {"CERT_REVOKED": 0, "OCSP_CERT_UNKNOWN": 1, "": 2}.get(code, 3)


def _read(parts: list[der.Element]) -> _Response:
    """Read the responseBytes of a successful response (§4.2.1)."""
    (wrapped,) = parts
    kind, octets = der.read(wrapped.expect(_TAG_0).content).expect(der.SEQUENCE).children()
    if kind.oid() != _BASIC_RESPONSE:
        raise ValueError(f"it has an unsupported type ({kind.oid()})")
    data, algorithm, signature, *more = der.read(octets.expect(der.OCTET_STRING).content).expect(der.SEQUENCE).children()
    certificates = der.read(more[0].expect(_TAG_0).content).expect(der.SEQUENCE).children() if more else ()
    fields = list(data.expect(der.SEQUENCE).children())
    if fields[0].tag == _TAG_0:  # the version
        del fields[0]
    responder, produced, answers, *extensions = fields
    produced.time()
    _refuse_critical(extensions)
    return _Response(
        responder,
        tuple(map(_read_answer, answers.expect(der.SEQUENCE).children())),
        Signed(data, algorithm, signature),
        tuple(one.encoded for one in certificates),
    )


def _read_answer(single: der.Element) -> _Answer:
    about, status, start, *more = single.expect(der.SEQUENCE).children()
    algorithm, name, key, serial = about.expect(der.SEQUENCE).children()
    if status.tag not in (_GOOD, _REVOKED_INFO, _UNKNOWN):
        raise ValueError("it has an invalid certificate status")
    end = der.read(more.pop(0).content).time() if more and more[0].tag == _TAG_0 else None
    _refuse_critical(more)
    return _Answer(
        _ID_HASHES.get(next(algorithm.expect(der.SEQUENCE).children()).oid(), ""),
        name.expect(der.OCTET_STRING).content,
        key.expect(der.OCTET_STRING).content,
        serial.integer(),
        status,
        start.time(),
        end,
    )


def _refuse_critical(fields: Iterable[der.Element]) -> None:
    # "Unrecognized extensions MUST be ignored (unless they have the critical flag set and are not
    # understood)" (§4.4)
    for field in fields:
        for extension in der.read(field.expect(_TAG_1).content).expect(der.SEQUENCE).children():
            oid, *rest = extension.expect(der.SEQUENCE).children()
            if rest[0].tag == der.BOOLEAN and rest[0].boolean() and oid.oid() != _NONCE:
                raise ValueError(f"it has an unsupported critical extension ({oid.oid()})")


def _is_about(answer: _Answer, certificate: PeerCertificate, issuer: PeerCertificate) -> bool:
    if not answer.hash_name or answer.serial != certificate.serial:
        return False
    # The issuer's name is in both certificates, and the two may use different string types.
    found = (answer.name_hash, answer.key_hash)
    return any(found == _id_hashes(answer.hash_name, name, issuer) for name in (certificate.issuer, issuer.subject))


def _id_hashes(algorithm: str, name: bytes, issuer: PeerCertificate) -> tuple[bytes, bytes]:
    return tuple(hashlib.new(algorithm, data, usedforsecurity=False).digest() for data in (name, issuer.public_key_bits))  # type: ignore[return-value]  # two


def _judge_signer(response: _Response, issuer: PeerCertificate, now: datetime) -> CertificateStatus | None:
    """Return why the signature is rejected, None if it is accepted.

    RFC 6960 §4.2.2.2: the signer must be the issuer, or have a certificate with id-kp-OCSPSigning
    that the issuer issued directly.
    """
    if flaw := response.signed.find_flaw():
        return _rejected("OCSP_SIGNATURE_INVALID", flaw)
    if response.signed.is_by(issuer.spki):
        return None
    candidates = [one for one in read_all(response.certificates) if _is_responder(response.responder, one)][:_MAX_RESPONDERS]
    signer = next((one for one in candidates if response.signed.is_by(one.spki)), None)
    if signer is None:
        return _rejected("OCSP_SIGNATURE_INVALID", "was signed neither by the certificate's issuer nor by a certificate in the response")
    flaws = list(_flaws_of_responder(signer, issuer, now))
    if flaws:
        return _rejected("OCSP_SIGNER_UNAUTHORIZED", f'is signed by "{signer.title}", which {" and ".join(flaws)}')
    return None


def _is_responder(responder: der.Element, certificate: PeerCertificate) -> bool:
    """Tell whether this is the certificate of the response's ResponderID.

    byName [1], or byKey [2], "SHA-1 hash of responder's public key".
    """
    inner = der.read(responder.content)
    if responder.tag == _TAG_1:
        return inner.encoded == certificate.subject or parse_name(inner).key() == certificate.subject_key
    wanted = inner.expect(der.OCTET_STRING).content if responder.tag == _TAG_2 else b""
    try:
        return hashlib.sha1(certificate.public_key_bits, usedforsecurity=False).digest() == wanted
    except ValueError:
        return False


def _flaws_of_responder(signer: PeerCertificate, issuer: PeerCertificate, now: datetime) -> Iterator[str]:
    if signer.signed.find_flaw():
        yield f"has a certificate that {signer.signed.find_flaw()}"
    elif not signer.is_signed_by(issuer):
        yield "was not certified by the certificate's issuer"
    if not has_valid_extensions(signer.raw):
        yield "has a certificate with malformed or unsupported extensions"
    if _OCSP_SIGNING not in (signer["ext_key_usage"] or ()):
        yield "may not sign responses"
    start, end = signer.not_before, signer.not_after
    if start is None or end is None or not start <= now <= end:
        yield "has a certificate that is not valid now"


def _judge_answer(answer: _Answer, now: datetime) -> CertificateStatus:
    if answer.status.tag == _UNKNOWN:
        return _rejected("OCSP_CERT_UNKNOWN", "says that the responder does not know the certificate")
    revoked = _read_revoked(answer.status) if answer.status.tag == _REVOKED_INFO else None
    start = answer.this_update
    lifetime = min(answer.next_update - start, _MAX_LIFETIME) if answer.next_update else _LIFETIME_WITHOUT_NEXT_UPDATE
    outdated = None
    if start > now + _SKEW:
        hint = "Check this machine's clock."
        outdated = _rejected("OCSP_RESPONSE_NOT_YET_VALID", f"is not valid before {print_instant(start)}", hint)
    elif start + lifetime < now - _SKEW:
        hint = "The server staples an old response, perhaps because its responder is down; or this machine's clock is ahead."
        outdated = _rejected("OCSP_RESPONSE_EXPIRED", f"expired at {print_instant(start + lifetime)}", hint)
    # A revocation is permanent, so an outdated answer still proves it.
    if outdated is not None:
        return CertificateStatus(error=revoked) if revoked else outdated
    return CertificateStatus(error=revoked, is_conclusive=True, this_update=start, next_update=start + lifetime)


def _read_revoked(status: der.Element) -> CertificateError:
    since, *reason = status.children()
    number = int.from_bytes(der.read(reason[0].content).expect(_ENUMERATED).content) if reason else 0
    why = f" ({_REVOCATION_REASONS[number]})" if 0 < number < len(_REVOCATION_REASONS) else ""
    return CertificateError(
        f"The server's certificate was revoked by its issuer on {print_instant(since.time())}{why}, according to the OCSP response",
        code="CERT_REVOKED",
        alert=_REVOKED_ALERT,
        hint="Do not trust this certificate any more. The server needs a new certificate with a new key.",
    )


def _rejected(code: str, problem: str, hint: str | None = None) -> CertificateStatus:
    text = f"The OCSP response for the server's certificate {problem}"
    return CertificateStatus(error=CertificateError(text, code=code, alert=_BAD_RESPONSE_ALERT, hint=hint or _HINTS.get(code)))


_HINTS = {
    "OCSP_RESPONSE_MALFORMED": "The server has to staple its responder's answer unchanged, in DER.",
    "OCSP_RESPONSE_UNSUCCESSFUL": "The server staples a refusal of its responder: it has to fetch a good response, and keep the last one until then.",
    "OCSP_SIGNATURE_INVALID": "The server has to staple the answer of the responder that its certificate names, which its CA, or a responder of the "
    "CA, has signed.",
    "OCSP_SIGNER_UNAUTHORIZED": "The CA has to certify its responder for this (extendedKeyUsage OCSPSigning), with a current certificate: report "
    "it to the CA. Until then the server can staple no response of it.",
    "OCSP_CERT_UNKNOWN": "The server asks the responder of another CA, or its CA has not published the new certificate yet.",
}
