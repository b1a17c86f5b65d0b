"""A certificate or a request as plain data."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from tlsio.certs.chain_order import is_self_issued
from tlsio.certs.findings import find_faults
from tlsio.certs.item import Finding, Item
from tlsio.certs.public_key import describe_spki
from tlsio.certs.request_fields import RequestFields
from tlsio.model.errors import ConfigError, UsageValueError
from tlsio.trust import der
from tlsio.trust.certificate import parse
from tlsio.trust.names import printable

if TYPE_CHECKING:
    from datetime import datetime

    from tlsio.certs.inspect import Usage
    from tlsio.certs.item import Value
    from tlsio.trust.certificate import PeerCertificate

__all__ = ["describe_certificate", "describe_request"]

_USAGES = {
    "1.3.6.1.5.5.7.3.1": "serverAuth",
    "1.3.6.1.5.5.7.3.2": "clientAuth",
    "1.3.6.1.5.5.7.3.3": "codeSigning",
    "1.3.6.1.5.5.7.3.4": "emailProtection",
    "1.3.6.1.5.5.7.3.8": "timeStamping",
    "1.3.6.1.5.5.7.3.9": "OCSPSigning",
    "2.5.29.37.0": "anyExtendedKeyUsage",
}
# RFC 5280 §4.2 and RFC 7633: those that requests ask for.
_EXTENSIONS = {
    "2.5.29.14": "subjectKeyIdentifier",
    "2.5.29.15": "keyUsage",
    "2.5.29.17": "subjectAltName",
    "2.5.29.19": "basicConstraints",
    "2.5.29.32": "certificatePolicies",
    "2.5.29.35": "authorityKeyIdentifier",
    "2.5.29.37": "extendedKeyUsage",
    "1.3.6.1.5.5.7.1.24": "tlsFeature",
}
# RFC 5280 §4.2.1.3, from the highest bit of the first octet on.
_KEY_USAGES = (
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
)
_KEY_USAGE, _BASIC_CONSTRAINTS = "2.5.29.15", "2.5.29.19"


def describe_certificate(data: bytes, source: str, *, usage: Usage | None, now: datetime) -> Item:
    """Describe a certificate, from its names on: many have no common name any more."""
    try:
        certificate = parse(data)
    except UsageValueError:
        raise ConfigError(
            f"A certificate of {source} cannot be read", code="ERR_TLS_CERTIFICATE_UNREADABLE", hint="Get it again from its source."
        ) from None
    names = [str(name) for name in certificate.general_names]
    facts: dict[str, Value] = {
        "names": names,
        "subject": certificate.subject_text,
        "issuer": certificate.issuer_text,
        "self_issued": is_self_issued(certificate),
        "serial_number": certificate["serial_number"],
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "days_left": _days_left(certificate, now),
        "public_key": describe_spki(certificate.spki).as_json(),
        "signature_hash": _hash_name(certificate),
        "ca": certificate.is_ca,
        "path_length": _path_length(certificate),
        "key_usage": _key_usage(certificate),
        "extended_key_usage": [_USAGES.get(oid, oid) for oid in certificate["ext_key_usage"] or ()],
        "must_staple": certificate.requires_staple,
        "issuer_urls": certificate.ca_issuers,
        "ocsp_urls": certificate.ocsp_responders,
        "crl_urls": certificate.crl_urls,
        "subject_key_id": _hex(certificate.subject_key_id),
        "authority_key_id": _hex(certificate.authority_key_id),
        "fingerprint_sha256": hashlib.sha256(certificate.raw).hexdigest(),
    }
    return Item(kind="certificate", title=certificate.heading, facts=facts, findings=tuple(find_faults(certificate, usage=usage, now=now)))


def describe_request(data: bytes, source: str) -> Item:
    """Describe a certificate request."""
    request = RequestFields.read(data, source)
    names = [str(name) for name in request.names()]
    key = describe_spki(request.spki)
    facts: dict[str, Value] = {
        "names": names,
        "subject": request.subject_text,
        "public_key": key.as_json(),
        "signature_hash": request.hash_name,
        "signature_valid": request.is_signed,
        "challenge_password": request.has_challenge_password,
        "requested_extensions": sorted(_EXTENSIONS.get(oid, oid) for oid in request.extensions),
    }
    return Item(
        kind="request",
        title=printable(", ".join(names)) or request.subject_text,
        facts=facts,
        findings=_find_request_faults(request, names),
    )


def _find_request_faults(request: RequestFields, names: list[str]) -> tuple[Finding, ...]:
    found = []
    if not request.is_signed:
        found.append(
            Finding(
                code="bad_signature",
                level="error",
                text="Its own key has not signed it",
                remedy="It is damaged: make it again with its key.",
            )
        )
    if not names:
        found.append(
            Finding(
                code="no_subject_alt_name",
                level="warning",
                text="It asks for no names (subjectAltName)",
                remedy="Public CAs take names from there only: make the request again with the names of the server.",
            )
        )
    return tuple(found)


def _days_left(certificate: PeerCertificate, now: datetime) -> int | None:
    """Return the days until its end, of which the last has begun; 0 or less: it has expired.

    Rounded up: the life that an authority gives begins before the certificate is made, so that a
    new one for 365 days ends within the 365th from now.
    """
    end = certificate.not_after
    return None if end is None else -((now - end) // timedelta(days=1))


def _hash_name(certificate: PeerCertificate) -> str | None:
    try:
        return certificate.signed.hash_name
    except ValueError:
        return None


def _key_usage(certificate: PeerCertificate) -> list[str]:
    try:
        content = certificate.extension(_KEY_USAGE)
        bits = content.bits() if content else b""
    except ValueError:
        return []
    return [name for index, name in enumerate(_KEY_USAGES) if index // 8 < len(bits) and bits[index // 8] & 0x80 >> index % 8]


def _path_length(certificate: PeerCertificate) -> int | None:
    try:
        content = certificate.extension(_BASIC_CONSTRAINTS)
        fields = content.expect(der.SEQUENCE).children() if content else ()
        return next((one.integer() for one in fields if one.tag == der.INTEGER), None)
    except ValueError:
        return None


def _hex(data: bytes | None) -> str | None:
    return None if data is None else data.hex(":")
