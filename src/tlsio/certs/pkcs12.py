"""PKCS#12: what one is encrypted with, what it contains, and writing one.

The encryption is read without the passphrase: its algorithms stand outside of what they encrypt
(RFC 7292 §4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import (
    PBES,
    PKCS12Certificate,
    serialize_java_truststore,
    serialize_key_and_certificates,
)

from tlsio.model.errors import ConfigError
from tlsio.native._core import has_legacy_algorithms, open_pfx
from tlsio.native.context_spec import LabelledMaterial
from tlsio.trust import der

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
    from cryptography.hazmat.primitives.serialization import KeySerializationEncryption

    from tlsio.certs.contents import Block

__all__ = ["Protection", "open_pkcs12", "read_protection", "write_pkcs12"]

_DATA, _ENCRYPTED_DATA = "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.6"
_SHROUDED_KEY = "1.2.840.113549.1.12.10.1.2"
_PBES2 = "1.2.840.113549.1.5.13"
_PBE = "1.2.840.113549.1.12.1"
_CIPHERS = {
    f"{_PBE}.1": "RC4-128",
    f"{_PBE}.2": "RC4-40",
    f"{_PBE}.3": "3DES",
    f"{_PBE}.4": "2-key 3DES",
    f"{_PBE}.5": "RC2-128",
    f"{_PBE}.6": "RC2-40",
    "1.2.840.113549.3.2": "RC2",
    "1.2.840.113549.3.7": "3DES",
    "1.3.14.3.2.7": "DES",
    "2.16.840.1.101.3.4.1.2": "AES-128",
    "2.16.840.1.101.3.4.1.22": "AES-192",
    "2.16.840.1.101.3.4.1.42": "AES-256",
}
_MODERN = {"AES-128", "AES-192", "AES-256"}
_SAFE_CONTENTS = "1.2.840.113549.1.12.10.1.6"
_CONSTRUCTED_OCTETS = 0x24  # BER, which old Windows and Java write: an OCTET STRING in pieces
_MAX_PIECES_NEST = 5  # OpenSSL's ASN1_MAX_STRING_NEST
_MAX_BAGS_NEST = 30  # OpenSSL's ASN1_MAX_CONSTRUCTED_NEST


@dataclass(frozen=True, slots=True)
class Protection:
    """How a PKCS#12 is protected.

    Attributes:
        ciphers: The names of its ciphers; () if nothing is encrypted.
        has_mac: It has a MAC, by which a wrong passphrase is told from damage.
    """

    ciphers: tuple[str, ...]
    has_mac: bool

    @property
    def outdated(self) -> tuple[str, ...]:
        """Its ciphers that are outdated."""
        return tuple(name for name in self.ciphers if name not in _MODERN)


def read_protection(data: bytes) -> Protection:
    """Return how a PKCS#12 in DER or BER is protected; what cannot be read is left out."""
    try:
        return _parse_protection(data)
    except ValueError:
        return Protection((), has_mac=False)


def open_pkcs12(block: Block, passphrase: bytes | None) -> tuple[bytes | None, tuple[bytes, ...]]:
    """Return the private key in DER, if there is one, and the certificates in DER.

    The certificate of the key comes first. Old algorithms are read too, if OpenSSL has its provider
    for them.

    Raises:
        ConfigError: the passphrase is missing or wrong, or it cannot be read, or it needs too many
            iterations (`ERR_TLS_TOO_MANY_ITERATIONS`).
    """
    try:
        outdated = _parse_protection(block.data).outdated
    except ValueError:
        raise ConfigError(
            f"Cannot read the PKCS#12 of {block.source}",
            code="ERR_TLS_UNREADABLE_FILE",
            hint="It is damaged: get it again from its source.",
        ) from None
    material = LabelledMaterial(block.source, block.data, passphrase)
    try:
        return open_pfx(material, block.work, legacy=bool(outdated))
    except ConfigError as error:
        if error.code != "ERR_CRYPTO_UNSUPPORTED_OPERATION" or has_legacy_algorithms():
            raise
        raise ConfigError(
            f"Cannot open the PKCS#12 of {block.source}: it is encrypted with {' and '.join(outdated)}, for which OpenSSL needs its "
            "legacy provider",
            code=error.code,
            reason=error.reason,
            hint="Install OpenSSL's module legacy.so (Debian: openssl-provider-legacy), or export the file again with AES-256.",
            openssl_errors=error.openssl_errors,
        ) from None


def write_pkcs12(
    key: CertificateIssuerPrivateKeyTypes | None,
    certificates: Sequence[x509.Certificate],
    passphrase: bytes | None,
    *,
    friendly_name: str | None = None,
) -> bytes:
    """Return a PKCS#12 encrypted with AES-256 (PBES2, PBKDF2 and a MAC with SHA-256).

    Args:
        key: The private key of the first certificate. Without one, the result is a list of trusted
            certificates, which Java accepts as a truststore.
        certificates: At least one.
        passphrase: None or b"" encrypts nothing.
        friendly_name: The name that programs show, Java's alias.
    """
    builder = PrivateFormat.PKCS12.encryption_builder().key_cert_algorithm(PBES.PBESv2SHA256AndAES256CBC).hmac_hash(SHA256())
    encryption = builder.build(passphrase) if passphrase else NoEncryption()
    name = None if friendly_name is None else friendly_name.encode()
    try:
        return _serialize(key, certificates, name, encryption)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"Cannot write the PKCS#12: {error}",
            code="ERR_CRYPTO_UNSUPPORTED_OPERATION",
            hint="Write PEM with to_pem(), or use a key of a common kind, such as EC P-256.",
        ) from None


def _serialize(
    key: CertificateIssuerPrivateKeyTypes | None,
    certificates: Sequence[x509.Certificate],
    name: bytes | None,
    encryption: KeySerializationEncryption,
) -> bytes:
    if key is None:
        trusted = [PKCS12Certificate(one, name if index == 0 else None) for index, one in enumerate(certificates)]
        return serialize_java_truststore(trusted, encryption)
    leaf, *others = certificates
    return serialize_key_and_certificates(name, key, leaf, others or None, encryption)  # type: ignore[arg-type]


# ---- reading the algorithms ----------------------------------------------------------------------


def _parse_protection(data: bytes) -> Protection:
    _version, contents, *mac = der.read(data).expect(der.SEQUENCE).children()
    return Protection(tuple(dict.fromkeys(map(_name_cipher, _find_algorithms(contents)))), has_mac=bool(mac))


def _find_algorithms(contents: der.Element) -> Iterator[der.Element]:
    """Yield the algorithm of each encrypted part of an AuthenticatedSafe (RFC 7292 §4.1)."""
    for part in der.read(_data_of(contents)).expect(der.SEQUENCE).children():
        oid, wrapped = part.expect(der.SEQUENCE).children()
        if oid.oid() == _ENCRYPTED_DATA:
            _version, content, *_ = der.read(wrapped.content).expect(der.SEQUENCE).children()
            _type, algorithm, *_ = content.children()
            yield algorithm
        elif oid.oid() == _DATA:
            yield from _find_key_algorithms(der.read(_data_of(part)), _MAX_BAGS_NEST)


def _find_key_algorithms(bags: der.Element, depth: int) -> Iterator[der.Element]:
    """Yield the algorithm of each encrypted key among bags that are not encrypted themselves."""
    if not depth:
        raise der.DerError("bags are nested too deeply")
    for bag in bags.expect(der.SEQUENCE).children():
        kind, value, *_ = bag.expect(der.SEQUENCE).children()
        if kind.oid() == _SHROUDED_KEY:
            algorithm, *_ = der.read(value.content).expect(der.SEQUENCE).children()
            yield algorithm
        elif kind.oid() == _SAFE_CONTENTS:
            yield from _find_key_algorithms(der.read(value.content), depth - 1)


def _data_of(content: der.Element) -> bytes:
    """Return the octets of a ContentInfo with plain data."""
    oid, wrapped = content.expect(der.SEQUENCE).children()
    if oid.oid() != _DATA:
        raise der.DerError("a PKCS#12 is protected by a public key, which is not supported")
    return _octets(der.read(wrapped.content))


def _octets(element: der.Element, depth: int = _MAX_PIECES_NEST) -> bytes:
    if element.tag != _CONSTRUCTED_OCTETS:
        return element.expect(der.OCTET_STRING).content
    if not depth:
        raise der.DerError("the pieces of an OCTET STRING are nested too deeply")
    return b"".join(_octets(piece, depth - 1) for piece in element.children())


def _name_cipher(algorithm: der.Element) -> str:
    """Return the name of an AlgorithmIdentifier; of PBES2, that of its cipher (RFC 8018 A.4)."""
    oid, *parameters = algorithm.expect(der.SEQUENCE).children()
    name = oid.oid()
    if name == _PBES2:
        [values] = parameters
        _derivation, scheme = values.expect(der.SEQUENCE).children()
        cipher, *_ = scheme.expect(der.SEQUENCE).children()
        name = cipher.oid()
    return _CIPHERS.get(name, name)
