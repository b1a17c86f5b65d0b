"""Revocation lists (CRLs, RFC 5280 §5) that were fetched: whether one can be relied on, and whether a certificate is in it.

A list is read here, from its DER, and OpenSSL checks the signature; what follows is decided here. The time is an argument,
nothing is fetched. The lists given by the option `crl` are OpenSSL's business.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from tlsio.model.errors import CertificateError
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
# authorityKeyIdentifier, cRLNumber, issuingDistributionPoint: what is understood, critical or not. Where the list of changes is
# (freshestCRL), and issuerAltName, need not be.
_KNOWN = {"2.5.29.35", _NUMBER, _SCOPE}

# IssuingDistributionPoint (§5.2.5). The place is a CHOICE, so its tag is explicit; the flags are DEFAULT FALSE.
_PLACE, _FULL_NAME = 0xA0, 0xA0
_ONLY_USERS, _ONLY_AUTHORITIES, _INDIRECT, _ONLY_ATTRIBUTES = 0x81, 0x82, 0x84, 0x85
_FLAGS = {_ONLY_USERS, _ONLY_AUTHORITIES, _INDIRECT, _ONLY_ATTRIBUTES}


class Edition(NamedTuple):
    """Which of the lists that one place has had over time.

    Attributes:
        this_update: The moment it is about.
        number: Its cRLNumber, "a monotonically increasing sequence number" (§5.2.3); None where it has none.
    """

    this_update: datetime
    number: int | None

    def is_older_than(self, other: "Edition") -> bool:
        """Tell whether the other list was made later, by its number or by its time."""
        is_lower = self.number is not None and other.number is not None and self.number < other.number
        return is_lower or self.this_update < other.this_update


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A list that its issuer has signed and that counts now.

    Attributes:
        edition: To compare it with others from the same place.
        next_update: The end of its time.
        serials: What it revokes.
    """

    edition: Edition
    next_update: datetime
    serials: RevokedSerials

    def find(self, certificate: PeerCertificate) -> CertificateError | None:
        """Return what the list says against a certificate of its issuer.

        Raises:
            ValueError: the certificate's serial number is malformed.
        """
        date = self.serials.find(der.make_integer(certificate.serial))
        if date is None:
            return None
        return CertificateError(
            f'The certificate "{certificate.subject_text}" was revoked on {_print_day(date)}: its issuer\'s list says so',
            code="CERT_REVOKED",
            alert="certificate_revoked",
            hint="Nobody should trust it any more. Whoever it belongs to needs a new certificate with a new key.",
        )


def read_list(data: bytes, url: str, issuer: PeerCertificate, *, for_ca: bool, now: datetime) -> RevocationList:
    """Read a list and check that it is the one that was looked for (RFC 5280 §6.3.3).

    Args:
        data: DER.
        url: Where it was fetched. A list that belongs to another place may not know the certificate.
        issuer: Of the certificates in question.
        for_ca: The certificate in question is an authority's.
        now: Aware.

    Raises:
        ValueError: it cannot be relied on; why.
    """
    signed = Signed(*_read(der.read(data), 3))
    fields = list(signed.data.expect(der.SEQUENCE).children())
    if fields and fields[0].tag == der.INTEGER:  # the version
        del fields[0]
    if len(fields) < 3:  # noqa: PLR2004  (those that are not optional)
        raise ValueError("it cannot be read: too few fields")
    algorithm, name, start, *rest = fields
    if name.encoded != issuer.subject and parse_name(name).key() != issuer.subject_key:
        raise ValueError("it is of another issuer")
    # The algorithm stands inside and outside of what is signed; "MUST contain the same" (§5.1.1.2).
    if not issuer.may_sign_lists or algorithm.encoded != signed.algorithm.encoded or not signed.is_by(issuer.spki):
        raise ValueError("the issuer has not signed it")
    if flaw := signed.find_flaw():
        raise ValueError(f"it {flaw}")
    end = rest.pop(0) if rest and rest[0].tag in _TIMES else None
    entries = rest.pop(0).content if rest and rest[0].tag == der.SEQUENCE else b""
    first, last = start.time(), end.time() if end else None
    if first > now + _SKEW or last is None or last < now - _SKEW:
        raise ValueError(f"it counts from {first:%Y-%m-%d %H:%M} to {last or first:%Y-%m-%d %H:%M} UTC only")
    number = _check_extensions(rest, url, for_ca=for_ca)
    return RevocationList(Edition(first, number), last, RevokedSerials(entries))


def _read(element: der.Element, count: int) -> list[der.Element]:
    found = list(element.expect(der.SEQUENCE).children())
    if len(found) != count:
        raise ValueError(f"it cannot be read: {len(found)} fields instead of {count}")
    return found


def _check_extensions(fields: Iterable[der.Element], url: str, *, for_ca: bool) -> int | None:
    """Refuse lists of something else: of another place, of other certificates, of some reasons, of changes only; return the number."""
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
                raise ValueError("it is a list of changes only, which is not known here")
            elif oid not in _KNOWN and any(flag.boolean() for flag in critical):
                raise ValueError(f"it has an extension that is not known here ({oid})")
    return number


def _check_scope(scope: der.Element, url: str, *, for_ca: bool) -> None:
    """Refuse a list unless its issuingDistributionPoint names this place, if any, and holds all certificates of this kind.

    A name in another form (a directory's, relative to the issuer) may be of the same place, but nothing here tells so.
    """
    for field in scope.expect(der.SEQUENCE).children():
        if field.tag == _PLACE:
            fits = url in _places(der.read(field.content))
        elif field.tag == (_ONLY_AUTHORITIES if for_ca else _ONLY_USERS):
            fits = True
        else:  # other certificates, those of another issuer, or some reasons only
            fits = field.tag in _FLAGS and not any(field.content)
        if not fits:
            raise ValueError("it is about other certificates")


def _places(name: der.Element) -> list[str]:
    if name.tag != _FULL_NAME:
        return []
    return [one.text for one in map(parse_general_name, name.children()) if one.kind == "URI"]


def _print_day(date: bytes) -> str:
    try:
        return f"{der.read(date).time():%Y-%m-%d}"
    except ValueError:
        return "an unreadable date"
