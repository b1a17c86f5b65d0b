"""A certificate as a mapping with the keys of Node's legacy object, computed on access.

Everything is read from the DER itself. `cryptography` is used only for its own object (`x509`): it
rejects a whole certificate for one odd extension, and odd certificates are the ones that users need
to inspect.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from tlsio.model.errors import CertificateError, UsageValueError

from . import der
from .names import DIRECTORY_NAME, GeneralName, Name, NameKey, ParsedNames, parse_general_name, parse_general_names, parse_name, printable
from .signatures import Signed

if TYPE_CHECKING:
    from cryptography import x509

_AUTHORITY_KEY_ID, _SUBJECT_KEY_ID = "2.5.29.35", "2.5.29.14"
_SUBJECT_ALT_NAME, _BASIC_CONSTRAINTS = "2.5.29.17", "2.5.29.19"
_KEY_USAGE, _EXTENDED_KEY_USAGE, _CRL_DISTRIBUTION_POINTS = "2.5.29.15", "2.5.29.37", "2.5.29.31"
_AUTHORITY_INFO_ACCESS, _TLS_FEATURE = "1.3.6.1.5.5.7.1.1", "1.3.6.1.5.5.7.1.24"
_STATUS_REQUEST = 5  # the extension's number in TLS (RFC 6066 §8), which is the feature's too (RFC 7633 §4.1)

# OpenSSL's long names, which i2t_ASN1_OBJECT prints; Node's keys begin with them.
_ACCESS_METHODS = {
    "1.3.6.1.5.5.7.48.1": "OCSP",
    "1.3.6.1.5.5.7.48.2": "CA Issuers",
    "1.3.6.1.5.5.7.48.3": "AD Time Stamping",
    "1.3.6.1.5.5.7.48.4": "ad dvcs",
    "1.3.6.1.5.5.7.48.5": "CA Repository",
}

_VERSION, _EXTENSIONS = 0xA0, 0xA3  # [0] and [3] EXPLICIT of TBSCertificate (RFC 5280 §4.1)
_POINT_NAME, _FULL_NAME = 0xA0, 0xA0  # [0] of DistributionPoint, and [0] of its name (§4.2.1.13)
_KEY_IDENTIFIER, _AUTHORITY_CERT_ISSUER = 0x80, 0xA1  # [0] and [1] of AuthorityKeyIdentifier (§4.2.1.1)

_RSA_KEYS = {"1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10"}  # rsaEncryption, RSASSA-PSS
_EC_KEY = "1.2.840.10045.2.1"

# OpenSSL's short name, NIST's name where there is one, and the bits of the group's order.
_CURVES: dict[str, tuple[str, str | None, int]] = {
    "1.2.840.10045.3.1.1": ("prime192v1", "P-192", 192),
    "1.2.840.10045.3.1.7": ("prime256v1", "P-256", 256),
    "1.3.132.0.10": ("secp256k1", None, 256),
    "1.3.132.0.33": ("secp224r1", "P-224", 224),
    "1.3.132.0.34": ("secp384r1", "P-384", 384),
    "1.3.132.0.35": ("secp521r1", "P-521", 521),
    "1.3.36.3.3.2.8.1.1.7": ("brainpoolP256r1", None, 256),
    "1.3.36.3.3.2.8.1.1.11": ("brainpoolP384r1", None, 384),
    "1.3.36.3.3.2.8.1.1.13": ("brainpoolP512r1", None, 512),
}
_KEY_CERT_SIGN, _CRL_SIGN = 0x04, 0x02  # bits 5 and 6, counted from the highest, of keyUsage's first octet (RFC 5280 §4.2.1.3)
# A peer may send any number of certificates. OpenSSL's chains have at most this many
# (X509_VERIFY_PARAM_set_depth).
_MAX_CHAIN = 100
# Up to these limits, names are parsed and compared. No real chain exceeds them, and a hostile one
# would take 30 ms.
_MAX_PARSED_NAMES, _MAX_PARSED_BYTES = 16, 32_768
# URLs of one kind in a certificate that are tried one after the other. Microsoft's CAs name up to
# four (LDAP, HTTP within and outside, a file share), public ones one or two.
MAX_TRIED_URLS = 4
_MAX_PRINTED_NAME = 4096  # bytes; real names have a few hundred
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


_T = TypeVar("_T")


def parse(data: bytes) -> "PeerCertificate":
    """Read a certificate.

    Only the outer structure is read at once, in about ten microseconds; fields and extensions are
    read on access. A malformed field is None and never raises.

    Args:
        data: The certificate in DER.

    Raises:
        UsageValueError: `data` is not an X.509 certificate.
    """
    return PeerCertificate(data)


def link(chain: Sequence[bytes], extra: Iterable[bytes] = ()) -> "PeerCertificate":
    """Read a chain and return its leaf, with each certificate linked to its issuer.

    (Node: `getPeerCertificate(true)`.) Issuers are searched for in the rest of `chain`, in any
    order, and in `extra`. The search ends at a self-issued certificate, or where the issuer is
    unknown or already linked; so it also ends when CAs have signed each other (Node's does not).
    **A self-issued certificate is its own issuer**, so a caller that follows `issuer_certificate`
    has to stop there.

    Names and key identifiers are compared, but no signature is checked: the result is for display,
    not for verification. Certificates that cannot be read are skipped, and so are those after the
    first 100: a peer may send thousands.

    Args:
        chain: Certificates in DER, the leaf first.
        extra: More candidates in DER, such as the verified chain or the trusted roots.

    Raises:
        UsageValueError: the chain is empty, or its leaf is not a certificate.
    """
    if not chain:
        raise UsageValueError("The chain is empty: it must contain at least the leaf certificate")
    current = leaf = parse(chain[0])
    candidates = dict.fromkeys(read_all((*chain[1:_MAX_CHAIN], *extra)))
    candidates.pop(leaf, None)
    issuers = _Issuers(candidates)
    while current.issuer != current.subject or not current.is_issued_by(current):
        issuer = issuers.take(current)
        if issuer is None:
            return leaf
        current.issuer_certificate = issuer
        current = issuer
    current.issuer_certificate = current
    return leaf


def read_all(chain: Iterable[bytes]) -> "Iterator[PeerCertificate]":
    """Yield the certificates that can be read, and skip the others."""
    for data in chain:
        try:
            yield parse(data)
        except UsageValueError:
            continue


def read_verified(chain: Iterable[bytes]) -> "list[PeerCertificate]":
    """Read a chain that OpenSSL built, leaf first, and link each certificate to its issuer.

    The result ends before a certificate that cannot be read, since those after it can no longer be
    linked.
    """
    found: list[PeerCertificate] = []
    for data in chain:
        try:
            found.append(parse(data))
        except UsageValueError:
            break
    for certificate, issuer in pairwise(found):
        certificate.issuer_certificate = issuer
    return found


class _Issuers:
    """Certificates by subject and key identifier.

    Each is returned once, so that linking n of them takes n steps.
    """

    def __init__(self, candidates: "Iterable[PeerCertificate]") -> None:
        pool = list(candidates)
        self._is_small = len(pool) <= _MAX_PARSED_NAMES and sum(len(one.raw) for one in pool) <= _MAX_PARSED_BYTES
        self._by_subject: dict[NameKey | bytes, list[PeerCertificate]] = {}
        self._by_key: dict[NameKey | bytes, dict[bytes | None, deque[PeerCertificate]]] = {}
        for one in pool:
            self._by_subject.setdefault(one.subject_key if self._is_small else one.subject, []).append(one)

    def take(self, certificate: "PeerCertificate") -> "PeerCertificate | None":
        """Remove and return the first candidate that may have issued the certificate."""
        name = certificate.issuer_key if self._is_small else certificate.issuer
        if name not in self._by_key:
            by_key_id: dict[bytes | None, deque[PeerCertificate]] = {}
            self._by_key[name] = by_key_id
            for one in self._by_subject.get(name, ()):
                if one.may_sign_certificates:
                    by_key_id.setdefault(one.subject_key_id, deque()).append(one)
        groups = self._by_key[name]
        wanted = certificate.authority_key_id
        for key in (wanted, None) if wanted else list(groups):
            if key in groups:
                found = groups[key].popleft()
                if not groups[key]:
                    del groups[key]
                return found
        return None


class PeerCertificate(Mapping[str, Any]):
    """A certificate: a mapping like Node's legacy object in snake_case, and parsed fields.

    The keys `subject`, `issuer`, `subjectaltname`, `info_access`, `ca`, `modulus`, `exponent`,
    `bits`, `pubkey`, `asn1_curve`, `nist_curve`, `valid_from`, `valid_to`, `fingerprint`,
    `fingerprint256`, `fingerprint512`, `ext_key_usage`, `serial_number` and `raw` always exist; the
    value is None if the certificate lacks the field. `issuer_certificate` exists if the issuer is
    known. Two certificates are equal if their DER is.

    Attributes:
        raw: The DER.
        issuer_certificate: The issuer, if `link` found one; a self-issued certificate is its own
            issuer.
        signed: The part that the issuer signed, with algorithm and signature.
    """

    raw: bytes
    signed: Signed
    issuer_certificate: "PeerCertificate | None"

    def __init__(self, data: bytes) -> None:
        self.raw = bytes(data)
        self.issuer_certificate = None
        try:
            self.signed = Signed(*der.read(self.raw).expect(der.SEQUENCE).children())
            fields = list(self.signed.data.expect(der.SEQUENCE).children())
            self._version = fields.pop(0) if fields[0].tag == _VERSION else None
            self._serial, self._signature_algorithm, self._issuer, self._validity, self._subject, self._key, *optional = fields
        except (ValueError, IndexError, TypeError) as error:
            raise UsageValueError(f"Not an X.509 certificate in DER ({len(self.raw)} bytes)") from error
        self._optional = optional

    @property
    def version(self) -> int:
        """The version of X.509, 1 to 3; without the field it is 1 (RFC 5280 §4.1).

        Raises:
            ValueError: the field is malformed.
        """
        return 1 if self._version is None else next(iter(self._version.children())).integer() + 1

    def __getitem__(self, key: str) -> Any:
        if key == "issuer_certificate" and self.issuer_certificate is not None:
            return self.issuer_certificate
        read = self._keys[key]
        try:
            return read(self)
        except ValueError:  # malformed
            return None

    def __iter__(self) -> Iterator[str]:
        yield from self._keys
        if self.issuer_certificate is not None:
            yield "issuer_certificate"

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __eq__(self, other: object) -> bool:
        return self.raw == other.raw if isinstance(other, PeerCertificate) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"<PeerCertificate {self.title!r} sha256={hashlib.sha256(self.raw).hexdigest()}>"

    def __reduce__(self) -> tuple[Callable[..., "PeerCertificate"], tuple[Any, ...]]:
        # Pickle the DER only: parsed fields hold objects that cannot be pickled, and linked issuers
        # are cyclic.
        if self.issuer_certificate is None:
            return parse, (self.raw,)
        return link, (tuple(certificate.raw for certificate in self.chain()),)

    def chain(self) -> "Iterator[PeerCertificate]":
        """Yield this certificate, its issuer and so on as far as they are linked, each one once."""
        seen = set[PeerCertificate]()
        current: PeerCertificate | None = self
        while current is not None and current not in seen:
            yield current
            seen.add(current)
            current = current.issuer_certificate

    # For the rest of this floor. Malformed fields give empty results.

    @cached_property
    def names(self) -> ParsedNames:
        """The names that identity checks compare."""
        common_names = self.subject_name.values("CN")
        try:
            general = self._general_names()
        except ValueError:
            return ParsedNames(common_names=common_names, is_readable=False)
        return ParsedNames(
            dns=tuple(name.text for name in general if name.kind == "DNS"),
            ip=tuple(name.ip for name in general if name.ip is not None),
            common_names=common_names,
        )

    @cached_property
    def general_names(self) -> tuple[GeneralName, ...]:
        """All names of its subjectAltName, in order; () if it is missing or malformed."""
        return _read_or((), self._general_names)

    @property
    def uris(self) -> tuple[str, ...]:
        """The URIs of its subjectAltName, such as a SPIFFE ID."""
        return tuple(name.text for name in self.general_names if name.kind == "URI")

    @cached_property
    def x509(self) -> "x509.Certificate":
        """The object of `cryptography`.

        Raises:
            CertificateError: `cryptography` rejects this certificate, even if OpenSSL accepts it.
        """
        from cryptography import x509  # noqa: PLC0415  (30 ms, which only a program that asks for this object needs)
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415

        try:
            return x509.load_der_x509_certificate(self.raw)
        except (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
            raise CertificateError(
                f'The package cryptography cannot read the certificate "{self.title}": {error}',
                code="ERR_TLS_CERTIFICATE_UNREADABLE",
                hint="OpenSSL accepts some forms that cryptography rejects. get_peer_certificate() has the fields, and the DER as raw.",
            ) from error

    @cached_property
    def spki_sha256(self) -> bytes:
        """SHA-256 of the SubjectPublicKeyInfo, 32 bytes: the digest in a pin (RFC 7469 §2.4)."""
        return hashlib.sha256(self.spki).digest()

    @property
    def spki(self) -> bytes:
        """The SubjectPublicKeyInfo."""
        return self._key.encoded

    @property
    def public_key_bits(self) -> bytes:
        """The public key alone, which OCSP hashes (RFC 6960 §4.1.1).

        Raises:
            ValueError: the key is malformed.
        """
        return _pair(self._key)[1].bits()

    @property
    def subject(self) -> bytes:
        """The subject in DER."""
        return self._subject.encoded

    @property
    def issuer(self) -> bytes:
        """The issuer's name in DER."""
        return self._issuer.encoded

    @property
    def serial(self) -> int:
        """The serial number.

        Raises:
            ValueError: the serial number is malformed.
        """
        return self._serial.integer()

    @cached_property
    def subject_name(self) -> Name:
        """The subject."""
        return _read_or(Name(()), parse_name, self._subject)

    @cached_property
    def issuer_name(self) -> Name:
        """The issuer's name."""
        return _read_or(Name(()), parse_name, self._issuer)

    @cached_property
    def subject_text(self) -> str:
        """The subject for messages. A peer's may have 100 KB, which is not parsed."""
        return self.subject_name.describe() if len(self.subject) <= _MAX_PRINTED_NAME else f"(a name of {len(self.subject)} bytes)"

    @cached_property
    def title(self) -> str:
        """What messages call it: its subject, or without one its first alternative name."""
        is_empty = len(self.subject) <= _MAX_PRINTED_NAME and not self.subject_name.relative
        return (_read_or(None, self._first_name) if is_empty else None) or self.subject_text

    @cached_property
    def heading(self) -> str:
        """What lists call it: its alternative names, or without any its subject."""
        return printable(", ".join(map(str, self.general_names))) or self.subject_text

    @cached_property
    def issuer_text(self) -> str:
        """The issuer's name for messages."""
        return self.issuer_name.describe() if len(self.issuer) <= _MAX_PRINTED_NAME else f"(a name of {len(self.issuer)} bytes)"

    @cached_property
    def subject_key(self) -> NameKey:
        """The subject in the form in which names are compared."""
        return self.subject_name.key()

    @cached_property
    def issuer_key(self) -> NameKey:
        """The issuer's name in the form in which names are compared."""
        return self.issuer_name.key()

    @property
    def subject_key_id(self) -> bytes | None:
        """The identifier of its own key (subjectKeyIdentifier)."""
        return _read_or(None, self._subject_key_id)

    @property
    def authority_key_id(self) -> bytes | None:
        """The identifier of the key that signed it (authorityKeyIdentifier)."""
        return _read_or(None, self._authority_key_id)

    @property
    def may_sign_certificates(self) -> bool:
        """Whether its keyUsage, if any, allows it to sign certificates."""
        return _read_or(False, self._has_usage, _KEY_CERT_SIGN)  # noqa: FBT003  (the value on malformed input)

    @property
    def is_ca(self) -> bool:
        """Whether basicConstraints, and keyUsage if any, allow it to issue certificates."""
        return _read_or(False, self._is_ca)  # noqa: FBT003  (the value on malformed input)

    @property
    def not_before(self) -> datetime | None:
        """The first moment of its validity, aware and in UTC."""
        return _read_or(None, self._time, 0)

    @property
    def not_after(self) -> datetime | None:
        """The last moment of its validity, aware and in UTC."""
        return _read_or(None, self._time, 1)

    @property
    def ca_issuers(self) -> tuple[str, ...]:
        """URLs of the issuer's certificate (authorityInfoAccess, RFC 5280 §4.2.2.1)."""
        return tuple((self["info_access"] or {}).get("CA Issuers - URI", ()))

    @property
    def ocsp_responders(self) -> tuple[str, ...]:
        """URLs of OCSP responders for this certificate (authorityInfoAccess, RFC 6960 §3.1)."""
        return tuple((self["info_access"] or {}).get("OCSP - URI", ()))

    @property
    def crl_urls(self) -> tuple[str, ...]:
        """URLs of its issuer's CRL (cRLDistributionPoints, RFC 5280 §4.2.1.13)."""
        return _read_or((), self._crl_urls)

    @property
    def may_sign_crls(self) -> bool:
        """Whether its keyUsage, if any, allows it to sign CRLs."""
        return _read_or(False, self._has_usage, _CRL_SIGN)  # noqa: FBT003  (the value on malformed input)

    @property
    def requires_staple(self) -> bool:
        """Whether its server has to staple an OCSP response: "must-staple" (RFC 7633)."""
        return _read_or(False, self._requires_staple)  # noqa: FBT003  (the value on malformed input)

    @property
    def authority_issuers(self) -> tuple[bytes, ...]:
        """Names, in DER, of the issuer's own issuer (authorityCertIssuer, RFC 5280 §4.2.1.1)."""
        return _read_or((), self._authority_issuers)

    def is_signed_by(self, issuer: "PeerCertificate") -> bool:
        """Tell whether the issuer signed it: `is_issued_by`, with a valid and strong signature."""
        try:
            # RFC 5280 §4.1.1.2: both "MUST contain the same algorithm identifier".
            is_same_algorithm = self.signed.algorithm.encoded == self._signature_algorithm.encoded
            return is_same_algorithm and self.is_issued_by(issuer) and not self.signed.find_flaw() and self.signed.is_by(issuer.spki)
        except ValueError:
            return False

    def is_issued_by(self, issuer: "PeerCertificate") -> bool:
        """Tell whether `issuer` may be the issuer.

        Compares what X509_check_issued does: names, key identifiers, key usage.
        """
        if self.issuer != issuer.subject and self.issuer_key != issuer.subject_key:
            return False
        wanted, found = self.authority_key_id, issuer.subject_key_id
        return (not wanted or not found or wanted == found) and issuer.may_sign_certificates

    # Readers of single fields. Each may raise ValueError on malformed input.

    @cached_property
    def _extensions(self) -> dict[str, bytes]:
        # "A certificate MUST NOT include more than one instance of a particular extension" (RFC
        # 5280 §4.2). If it does, the first one counts, as with X509_get_ext_by_NID.
        found: dict[str, bytes] = {}
        wrapped = (e for e in self._optional if e.tag == _EXTENSIONS)
        for extension in (e for w in wrapped for e in der.read(w.content).expect(der.SEQUENCE).children()):
            oid, *_, value = extension.expect(der.SEQUENCE).children()
            found.setdefault(oid.oid(), value.expect(der.OCTET_STRING).content)
        return found

    def extension(self, oid: str) -> der.Element | None:
        """Return the content of an extension, None if the certificate lacks it.

        Raises:
            ValueError: the extensions are malformed.
        """
        content = self._extensions.get(oid)
        return None if content is None else der.read(content)

    def _first_name(self) -> str | None:
        """Return the first alternative name for messages; the rest, maybe long, is not parsed."""
        content = self.extension(_SUBJECT_ALT_NAME)
        first = next(content.expect(der.SEQUENCE).children(), None) if content else None
        return None if first is None or len(first.content) > _MAX_PRINTED_NAME else printable(str(parse_general_name(first)))

    def _general_names(self) -> tuple[GeneralName, ...]:
        content = self.extension(_SUBJECT_ALT_NAME)
        return parse_general_names(content) if content else ()

    def _is_ca(self) -> bool:
        constraints = self.extension(_BASIC_CONSTRAINTS)
        first = next(constraints.expect(der.SEQUENCE).children(), None) if constraints else None
        # cA is DEFAULT FALSE, so the first field may be pathLenConstraint.
        return first is not None and first.tag == der.BOOLEAN and first.boolean() and self.may_sign_certificates

    def _requires_staple(self) -> bool:
        features = self.extension(_TLS_FEATURE)
        return features is not None and _STATUS_REQUEST in [one.integer() for one in features.expect(der.SEQUENCE).children()]

    def _crl_urls(self) -> tuple[str, ...]:
        # Points with more fields than a name are skipped: their CRL covers some reasons only, or
        # comes from another issuer.
        content = self.extension(_CRL_DISTRIBUTION_POINTS)
        points = [list(point.children()) for point in content.expect(der.SEQUENCE).children()] if content else []
        names = [der.read(point[0].content) for point in points if len(point) == 1 and point[0].tag == _POINT_NAME]
        found = (parse_general_name(one) for name in names if name.tag == _FULL_NAME for one in name.children())
        return tuple(one.text for one in found if one.kind == "URI")

    def _has_usage(self, bit: int) -> bool:
        usage = self.extension(_KEY_USAGE)
        return usage is None or bool(usage.bits()[:1] and usage.bits()[0] & bit)

    def _time(self, which: int) -> datetime:
        return _pair(self._validity)[which].time()

    def _subject_key_id(self) -> bytes | None:
        content = self.extension(_SUBJECT_KEY_ID)
        return content.expect(der.OCTET_STRING).content if content else None

    def _authority_key_id(self) -> bytes | None:
        return next((part.content for part in self._authority_key(_KEY_IDENTIFIER)), None)

    def _authority_issuers(self) -> tuple[bytes, ...]:
        general = (name for part in self._authority_key(_AUTHORITY_CERT_ISSUER) for name in part.children())
        return tuple(name.content for name in general if name.tag == DIRECTORY_NAME)

    def _authority_key(self, tag: int) -> Iterable[der.Element]:
        content = self.extension(_AUTHORITY_KEY_ID)
        return (part for part in content.expect(der.SEQUENCE).children() if part.tag == tag) if content else ()

    def _algorithm(self) -> tuple[str, der.Element | None]:
        algorithm, *parameters = _pair(self._key)[0].expect(der.SEQUENCE).children()
        return algorithm.oid(), parameters[0] if parameters else None

    def _rsa(self) -> tuple[int, int] | None:
        if self._algorithm()[0] not in _RSA_KEYS:
            return None
        modulus, exponent = _pair(der.read(_pair(self._key)[1].bits()))
        return modulus.integer(), exponent.integer()

    def _curve(self) -> tuple[str | None, str | None, int | None]:
        algorithm, parameters = self._algorithm()
        if algorithm != _EC_KEY or parameters is None:
            return None, None, None
        return _CURVES.get(parameters.oid(), (None, None, None))

    # The values of Node's legacy keys.

    def _subjectaltname(self) -> str | None:
        return None if self.extension(_SUBJECT_ALT_NAME) is None else ", ".join(map(str, self._general_names()))

    def _info_access(self) -> dict[str, list[str]] | None:
        content = self.extension(_AUTHORITY_INFO_ACCESS)
        if content is None:
            return None
        found: dict[str, list[str]] = {}
        for method, location in map(_pair, content.expect(der.SEQUENCE).children()):
            name = parse_general_name(location)
            found.setdefault(f"{_ACCESS_METHODS.get(method.oid(), method.oid())} - {name.kind}", []).append(name.text)
        return found

    def _modulus(self) -> str | None:
        rsa = self._rsa()
        return f"{rsa[0]:X}" if rsa else None

    def _exponent(self) -> str | None:
        rsa = self._rsa()
        return f"0x{rsa[1]:x}" if rsa else None

    def _bits(self) -> int | None:
        rsa = self._rsa()
        return rsa[0].bit_length() if rsa else self._curve()[2]

    def _pubkey(self) -> bytes | None:
        # As in Node: the whole SubjectPublicKeyInfo for RSA, only the point for EC, nothing for
        # other keys.
        algorithm, _ = self._algorithm()
        if algorithm == _EC_KEY:
            return _pair(self._key)[1].bits()
        return self._key.encoded if algorithm in _RSA_KEYS else None

    def _ext_key_usage(self) -> list[str] | None:
        content = self.extension(_EXTENDED_KEY_USAGE)
        return [purpose.oid() for purpose in content.expect(der.SEQUENCE).children()] if content else None

    def _serial_number(self) -> str:
        number = self._serial.integer()
        # Like BN_bn2hex: whole octets, but zero is one digit.
        digits = abs(number).to_bytes((number.bit_length() + 7) // 8, "big").hex().upper() or "0"
        return f"-{digits}" if number < 0 else digits

    _keys: ClassVar[dict[str, Callable[["PeerCertificate"], Any]]] = {
        "subject": lambda self: parse_name(self._subject).as_dict(),
        "issuer": lambda self: parse_name(self._issuer).as_dict(),
        "subjectaltname": _subjectaltname,
        "info_access": _info_access,
        "ca": lambda self: self.is_ca,
        "modulus": _modulus,
        "exponent": _exponent,
        "bits": _bits,
        "pubkey": _pubkey,
        "asn1_curve": lambda self: self._curve()[0],
        "nist_curve": lambda self: self._curve()[1],
        "valid_from": lambda self: _print_time(self.not_before),
        "valid_to": lambda self: _print_time(self.not_after),
        "fingerprint": lambda self: _fingerprint("sha1", self.raw),
        "fingerprint256": lambda self: _fingerprint("sha256", self.raw),
        "fingerprint512": lambda self: _fingerprint("sha512", self.raw),
        "ext_key_usage": _ext_key_usage,
        "serial_number": _serial_number,
        "raw": lambda self: self.raw,
    }


def _read_or(default: _T, read: Callable[..., _T], *arguments: object) -> _T:
    try:
        return read(*arguments)
    except ValueError:
        return default


def _pair(element: der.Element) -> tuple[der.Element, der.Element]:
    first, second = element.expect(der.SEQUENCE).children()
    return first, second


def _print_time(moment: datetime | None) -> str:
    """Print a UTC time like ASN1_TIME_print: the day padded, and a fixed text for None."""
    if moment is None:
        return "Bad time value"
    return f"{_MONTHS[moment.month - 1]} {moment.day:2} {moment:%H:%M:%S} {moment.year} GMT"


def _fingerprint(algorithm: str, data: bytes) -> str:
    # Not used for security: Node shows SHA-1 as well.
    return hashlib.new(algorithm, data, usedforsecurity=False).digest().hex(":").upper()
