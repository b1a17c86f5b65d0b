"""Fetched CRLs (RFC 5280 §5): whether a CRL is valid, and whether it contains a certificate.

The CRL is parsed here, from its DER; OpenSSL checks only the signature. The time is an argument,
and nothing is fetched. The CRLs given with the option `crl` are handled by OpenSSL instead.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from tlsio.model.errors import CertificateError
from tlsio.model.instants import print_instant
from tlsio.native._core import RevokedSerials

from . import der
from .certificate import PeerCertificate
from .names import parse_general_name, parse_name
from .signatures import Signed

__all__ = ["Edition", "RevocationList", "read_list"]

_SKEW = timedelta(minutes=5)  # as for OCSP

_TIMES = (der.UTC_TIME, der.GENERALIZED_TIME)
_EXTENSIONS = 0xA0  # [0] EXPLICIT of TBSCertList
_NUMBER, _DELTA, _SCOPE = "2.5.29.20", "2.5.29.27", "2.5.29.28"
# The extensions that are supported, critical or not: authorityKeyIdentifier, cRLNumber,
# issuingDistributionPoint. freshestCRL and issuerAltName are never critical, so they can be
# ignored.
_SUPPORTED = {"2.5.29.35", _NUMBER, _SCOPE}

# IssuingDistributionPoint (§5.2.5). The point is a CHOICE, so its tag is explicit; the flags are
# DEFAULT FALSE.
_POINT, _FULL_NAME = 0xA0, 0xA0
_ONLY_USERS, _ONLY_CAS, _INDIRECT, _ONLY_ATTRIBUTES = 0x81, 0x82, 0x84, 0x85
_FLAGS = {_ONLY_USERS, _ONLY_CAS, _INDIRECT, _ONLY_ATTRIBUTES}


class Edition(NamedTuple):
    """Orders the successive CRLs of one distribution point.

    Attributes:
        this_update: Its thisUpdate.
        number: Its cRLNumber, "a monotonically increasing sequence number" (§5.2.3); None if it has
            none.
    """

    this_update: datetime
    number: int | None

    def is_older_than(self, other: "Edition") -> bool:
        """Tell whether the other CRL was issued later, by its number or by its time."""
        is_lower = self.number is not None and other.number is not None and self.number < other.number
        return is_lower or self.this_update < other.this_update


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A CRL with a valid signature that is current.

    Attributes:
        edition: Orders it among the CRLs of the same distribution point.
        next_update: The end of its validity.
        serials: The serial numbers that it revokes.
    """

    edition: Edition
    next_update: datetime
    serials: RevokedSerials

    def find(self, certificate: PeerCertificate) -> CertificateError | None:
        """Return an error if the CRL revokes a certificate of its issuer, otherwise None.

        Raises:
            ValueError: the certificate's serial number is malformed.
        """
        date = self.serials.find(der.make_integer(certificate.serial))
        if date is None:
            return None
        return CertificateError(
            f'The certificate "{certificate.title}" was revoked by its issuer on {_print_date(date)}, according to the CRL',
            code="CERT_REVOKED",
            alert="certificate_revoked",
            hint="Do not trust this certificate any more. Its owner needs a new certificate with a new key.",
        )


def read_list(data: bytes, url: str, issuer: PeerCertificate, *, for_ca: bool, now: datetime) -> RevocationList:
    """Read a CRL, and check that it is valid and covers these certificates (RFC 5280 §6.3.3).

    Args:
        data: The CRL in DER.
        url: The URL it was fetched from. A CRL of another distribution point may not cover the
            certificate.
        issuer: The issuer of the certificates in question.
        for_ca: The certificate in question is a CA's.
        now: The current time, aware.

    Raises:
        ValueError: the CRL is rejected; the text says why.
    """
    signed = Signed(*_read(der.read(data), 3))
    fields = list(signed.data.expect(der.SEQUENCE).children())
    if fields and fields[0].tag == der.INTEGER:  # the version
        del fields[0]
    if len(fields) < 3:  # noqa: PLR2004  (the mandatory ones)
        raise ValueError("it cannot be read: too few fields")
    algorithm, name, start, *rest = fields
    if name.encoded != issuer.subject and parse_name(name).key() != issuer.subject_key:
        raise ValueError("it is from another issuer")
    # The algorithm is inside and outside the signed part; both "MUST contain the same" (§5.1.1.2).
    if not issuer.may_sign_crls or algorithm.encoded != signed.algorithm.encoded or not signed.is_by(issuer.spki):
        raise ValueError("it is not signed by the issuer")
    if flaw := signed.find_flaw():
        raise ValueError(f"it {flaw}")
    end = rest.pop(0) if rest and rest[0].tag in _TIMES else None
    entries = rest.pop(0).content if rest and rest[0].tag == der.SEQUENCE else b""
    first, last = start.time(), end.time() if end else None
    if first > now + _SKEW or last is None or last < now - _SKEW:
        raise ValueError(f"it is valid only from {print_instant(first)} to {print_instant(last or first)}")
    number = _check_extensions(rest, url, for_ca=for_ca)
    return RevocationList(Edition(first, number), last, RevokedSerials(entries))


def _read(element: der.Element, count: int) -> list[der.Element]:
    found = list(element.expect(der.SEQUENCE).children())
    if len(found) != count:
        raise ValueError(f"it cannot be read: {len(found)} fields instead of {count}")
    return found


def _check_extensions(fields: Iterable[der.Element], url: str, *, for_ca: bool) -> int | None:
    """Return the CRL number; reject delta CRLs and CRLs that do not cover these certificates."""
    number, seen = None, set[str]()
    for field in fields:
        for extension in der.read(field.expect(_EXTENSIONS).content).expect(der.SEQUENCE).children():
            name, *critical, value = extension.expect(der.SEQUENCE).children()
            oid, content = name.oid(), value.expect(der.OCTET_STRING).content
            if oid in seen:
                raise ValueError(f"it has the same extension twice ({oid})")
            seen.add(oid)
            if oid == _SCOPE:
                _check_scope(der.read(content), url, for_ca=for_ca)
            elif oid == _NUMBER:
                number = der.read(content).integer()
            elif oid == _DELTA:
                raise ValueError("it is a delta CRL, which is not supported")
            elif oid not in _SUPPORTED and any(flag.boolean() for flag in critical):
                raise ValueError(f"it has an unsupported critical extension ({oid})")
    return number


def _check_scope(scope: der.Element, url: str, *, for_ca: bool) -> None:
    """Reject a CRL if its issuingDistributionPoint excludes this URL or certificates of this kind.

    A point that is named in another form (a directory name, or relative to the issuer) is rejected
    too, since it cannot be compared with the URL.
    """
    for field in scope.expect(der.SEQUENCE).children():
        if field.tag == _POINT:
            fits = url in _urls_of(der.read(field.content))
        elif field.tag == (_ONLY_CAS if for_ca else _ONLY_USERS):
            fits = True
        else:  # covers other certificates, those of another issuer, or only some reasons
            fits = field.tag in _FLAGS and not any(field.content)
        if not fits:
            raise ValueError("it is about other certificates")


def _urls_of(name: der.Element) -> list[str]:
    if name.tag != _FULL_NAME:
        return []
    return [one.text for one in map(parse_general_name, name.children()) if one.kind == "URI"]


def _print_date(date: bytes) -> str:
    try:
        return print_instant(der.read(date).time())
    except ValueError:
        return "an unreadable date"
