"""What a file holds: PEM blocks and DER, told apart by their labels and by their structure.

A name such as `server.crt` says little: the same ending is used for PEM, DER and whole chains. So
only the content is looked at.
"""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from tlsio.connection.context.files import read_file
from tlsio.model.checks import BytesLike, wrong_type
from tlsio.model.content_hints import explain
from tlsio.model.errors import ConfigError
from tlsio.model.material import PrivateKey, parse_certificates, parse_keys
from tlsio.native._core import Work
from tlsio.trust import der

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509

    from tlsio.model.material import Content

__all__ = ["Block", "Kind", "Source", "find_pem", "read_blocks"]

Source: TypeAlias = "Content | x509.Certificate | PrivateKey"

Kind: TypeAlias = Literal[
    "certificate",
    "request",
    "crl",
    "private key",
    "encrypted private key",
    "public key",
    "PKCS#7",
    "PKCS#12",
    "OCSP response",
    "session",
    "Diffie-Hellman parameters",
]

_PEM_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9. ]{1,40})-----")
# Key, and what it is: RFC 7468, and the older labels that OpenSSL still reads.
_LABELS: Final[dict[bytes, Kind]] = {
    b"CERTIFICATE": "certificate",
    b"X509 CERTIFICATE": "certificate",
    b"TRUSTED CERTIFICATE": "certificate",
    b"CERTIFICATE REQUEST": "request",
    b"NEW CERTIFICATE REQUEST": "request",
    b"X509 CRL": "crl",
    b"PRIVATE KEY": "private key",
    b"RSA PRIVATE KEY": "private key",
    b"EC PRIVATE KEY": "private key",
    b"OPENSSH PRIVATE KEY": "private key",
    b"ENCRYPTED PRIVATE KEY": "encrypted private key",
    b"PUBLIC KEY": "public key",
    b"PKCS7": "PKCS#7",
    b"PKCS12": "PKCS#12",
    b"SSL SESSION PARAMETERS": "session",
    b"DH PARAMETERS": "Diffie-Hellman parameters",
    b"X9.42 DH PARAMETERS": "Diffie-Hellman parameters",
}
_SKIPPED = b"EC PARAMETERS"  # repeats what stands in the key after it
_LEGACY_ENCRYPTION = b"Proc-Type: 4,ENCRYPTED"  # RFC 1421 §4.6.1.1
_SESSION = b"tlsio session "  # how `socket.get_session()` begins

_ENUMERATED = 0x0A
_V3 = 0xA0  # [0] EXPLICIT, the version of a certificate (RFC 5280 §4.1)
_MIN_TBS = 6  # fields of a certificate without optional ones
_PFX_VERSION = 3  # RFC 7292 §4
_SIGNED_DATA = "1.2.840.113549.1.7.2"


@dataclass(frozen=True, slots=True)
class Block:
    """One object of a file.

    Attributes:
        kind: What it is.
        data: DER; of a private key the PEM block, if it was PEM, and of a session the bytes.
        source: Where it came from, for messages.
        work: Counts the iterations of all blocks of its file.
    """

    kind: Kind
    data: bytes = field(repr=False)
    source: str
    work: Work = field(repr=False, compare=False)


def read_blocks(source: Source, label: str = "source") -> list[Block]:
    """Return what a file, or PEM or DER in memory, holds.

    Args:
        source: PEM as str or bytes, DER as bytes, a path, or an object of `cryptography`.
        label: The caller's name of the argument, for messages.

    Raises:
        ConfigError: it is damaged, or nothing that is known here; the hint says what it looks like.
        OSError: the file cannot be read.
        UsageError: an argument of the wrong type.
    """
    if isinstance(source, PrivateKey):
        [key] = parse_keys(label, source)
        return [Block("private key", key.data, label, Work(label))]
    if isinstance(source, list | tuple):
        raise wrong_type(label, "one file, not a list of them", source)
    if isinstance(source, BytesLike) and bytes(source).startswith(_SESSION):
        return [Block("session", bytes(source), label, Work(label))]
    [given] = parse_certificates(label, source)
    material = read_file(label, given)
    name = given.path or label
    work = Work(name)
    data = material.data.removeprefix(b"\xef\xbb\xbf")
    if data.startswith(_SESSION):
        return [Block("session", data, name, work)]
    found = list(_read_pem(data, name, work)) if _PEM_BEGIN.search(data) else [Block(_kind_of_der(data, name), data, name, work)]
    if not found:
        raise _unreadable(data, name)
    return found


def _read_pem(data: bytes, name: str, work: Work) -> Iterator[Block]:
    for label, body in find_pem(data):
        if body is None:
            raise _unreadable(data, name)
        if label == _SKIPPED:
            continue
        kind = _LABELS.get(label)
        if kind is None:
            raise _unreadable(data, name)
        if kind == "private key" and _LEGACY_ENCRYPTION in body:
            kind = "encrypted private key"
        armoured = b"-----BEGIN %s-----%s-----END %s-----\n" % (label, body, label)
        yield Block(kind, armoured if kind.endswith("private key") else _decode(body, label, data, name), name, work)


def find_pem(data: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield label and body of each PEM block; the body is None if the block does not end.

    A block ends before the next one begins, so each byte is read once.
    """
    begins = list(_PEM_BEGIN.finditer(data))
    limits = [*(begin.start() for begin in begins), len(data)]
    for begin, limit in zip(begins, limits[1:], strict=True):
        end = data.find(b"-----END %s-----" % begin[1], begin.end(), limit)
        yield begin[1], None if end < 0 else data[begin.end() : end]


def _decode(body: bytes, label: bytes, data: bytes, name: str) -> bytes:
    try:
        decoded = b64decode(b"".join(body.split()), validate=True)
        # A TRUSTED CERTIFICATE is followed by OpenSSL's settings.
        return der.read(decoded, trailing=label == b"TRUSTED CERTIFICATE").encoded
    except ValueError:
        raise _unreadable(data, name) from None


def _unreadable(data: bytes, name: str) -> ConfigError:
    return ConfigError(
        f"Cannot read a certificate or key from {name}",
        code="ERR_TLS_UNREADABLE_FILE",
        hint=explain(data, "a certificate", "") or "Give PEM, DER, PKCS#7 or PKCS#12.",
    )


# ---- DER -----------------------------------------------------------------------------------------


def _kind_of_der(data: bytes, name: str) -> Kind:
    try:
        kind = _find_kind(list(der.read(data).expect(der.SEQUENCE).children()))
    except (ValueError, IndexError):
        kind = None
    if kind is None:
        raise _unreadable(data, name)
    return kind


def _find_kind(fields: list[der.Element]) -> Kind | None:
    """Recognise DER by the fields of its outer SEQUENCE."""
    first, *others = fields
    if first.tag == _ENUMERATED:
        return "OCSP response"  # RFC 6960 §4.2.1: responseStatus
    if first.tag == der.OID:
        return "PKCS#7" if first.oid() == _SIGNED_DATA else None
    if first.tag == der.INTEGER:
        return _find_numbered_kind(first.integer(), others)
    if first.tag != der.SEQUENCE:
        return None
    if [one.tag for one in others] == [der.SEQUENCE, der.BIT_STRING]:
        return _find_signed_kind(list(first.children()))
    # RFC 5280 §4.1: SubjectPublicKeyInfo; RFC 5958 §3: EncryptedPrivateKeyInfo
    return {der.BIT_STRING: "public key", der.OCTET_STRING: "encrypted private key"}.get(others[0].tag)  # type: ignore[return-value]


def _find_numbered_kind(version: int, others: list[der.Element]) -> Kind | None:
    if version == _PFX_VERSION:
        return "PKCS#12"
    if [one.tag for one in others[:2]] == [der.INTEGER, der.OCTET_STRING]:
        return "session"  # OpenSSL's SSL_SESSION: version, version of TLS, cipher suite
    # PKCS#1's public key of RSA has the same form, with 3 or 65537 as its second number.
    if len(others) in {1, 2} and all(one.tag == der.INTEGER for one in others) and others[0].integer() in {2, 5}:
        return "Diffie-Hellman parameters"
    return "private key" if version in {0, 1} else None


def _find_signed_kind(fields: list[der.Element]) -> Kind:
    """Tell certificate, CRL and request apart, which are signed alike."""
    if fields[0].tag == _V3:
        return "certificate"
    if any(one.tag in {der.UTC_TIME, der.GENERALIZED_TIME} for one in fields):
        return "crl"  # RFC 5280 §5.1: thisUpdate stands beside the names
    return "certificate" if len(fields) >= _MIN_TBS else "request"
