"""Private keys from PEM and DER, as objects of `cryptography`, with errors that say what to do."""

from __future__ import annotations

from base64 import b64decode, encodebytes
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
    load_ssh_private_key,
)

from tlsio.certs.contents import find_pem
from tlsio.model.errors import ConfigError
from tlsio.trust import der

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, PrivateKeyTypes

    from tlsio.certs.contents import Block
    from tlsio.native._core import Work

__all__ = ["decode_key", "load_private_key", "spki_of"]

_OPENSSH = b"OPENSSH PRIVATE KEY"
_LEGACY_LABELS = {b"RSA PRIVATE KEY", b"EC PRIVATE KEY", b"DSA PRIVATE KEY"}  # those with encryption by headers (RFC 1421 §4.6.1.1)
# bcrypt's rounds take about as long as this many iterations of PBKDF2. `ssh-keygen` does 16 or 24.
_BCRYPT_ROUND = 10_000
# OpenSSL's OPENSSL_RSA_MAX_MODULUS_BITS, above which it verifies no signatures. The test of RSA's
# primes, and DSA's public key, take as long as the cube of their size: 6 seconds with 14,000 bits.
_MAX_BITS = 16_384
# A key of RSA with so many bits has 9,300 bytes, or 11,400 in OpenSSH's form; one of ML-DSA 5,000.
_MAX_BYTES = 12_288
_MAX_NESTING = 4  # of PKCS#8's numbers: in its algorithm, and in the OCTET STRING of the key


def load_private_key(block: Block, passphrase: bytes | None) -> CertificateIssuerPrivateKeyTypes:
    """Read a private key. The passphrase is ignored if the key is not encrypted.

    Raises:
        ConfigError: the passphrase is missing or wrong, the key needs too many iterations
            (`ERR_TLS_TOO_MANY_ITERATIONS`), is too large, or cannot be used.
    """
    try:
        key = decode_key(block.data, passphrase, block.work, block.source)
    except TypeError:
        if passphrase is None:
            raise _undecryptable(block.source, "The private key is encrypted: give its passphrase=.") from None
        return load_private_key(block, None)
    except UnsupportedAlgorithm as error:
        raise ConfigError(
            f"The algorithm of the private key in {block.source} is not supported: {error}",
            code="ERR_CRYPTO_UNSUPPORTED_OPERATION",
            hint="Make a new key: EC P-256, or RSA with 2048 bits. If it is an ordinary key, the file is damaged.",
        ) from None
    except ValueError:
        # `cryptography` has one error for a wrong passphrase and for a damaged key.
        if block.kind == "encrypted private key" or passphrase is not None:
            raise _undecryptable(block.source, "The passphrase is wrong, or the key is damaged.") from None
        raise ConfigError(
            f"Cannot read the private key of {block.source}",
            code="ERR_TLS_UNREADABLE_FILE",
            hint="It is damaged: get it again from its source.",
        ) from None
    return cast("CertificateIssuerPrivateKeyTypes", key)


def decode_key(data: bytes, passphrase: bytes | None, work: Work, source: str) -> PrivateKeyTypes:
    """Have `cryptography` read the first private key, if that takes no more time than it may.

    PEM is parsed here, and `cryptography` gets what was parsed: another parser could find another
    key than the one whose iterations were counted.

    Args:
        data: PEM or DER.
        passphrase: Decrypts it.
        work: Counts the iterations.
        source: Where it came from, for the message about its size.

    Raises:
        ConfigError: it needs too many iterations (`ERR_TLS_TOO_MANY_ITERATIONS`), or is too large.
        TypeError, ValueError, UnsupportedAlgorithm: from `cryptography`.
    """
    label, headers, content = _parse(data)
    if len(content) > _MAX_BYTES:
        raise _too_large(source)
    # RSA's primes are tested below, once their size is known.
    if label == _OPENSSH:
        work.add_iterations(_BCRYPT_ROUND * _count_rounds(content))
        key: PrivateKeyTypes = load_ssh_private_key(_armour(label, b"", content), passphrase, unsafe_skip_rsa_key_validation=True)
    elif headers and label in _LEGACY_LABELS:
        key = load_pem_private_key(_armour(label, headers, content), passphrase, unsafe_skip_rsa_key_validation=True)
    else:
        work.add_key(content)
        if _has_wide_number(der.read(content)):
            raise _too_large(source)
        key = load_der_private_key(content, passphrase, unsafe_skip_rsa_key_validation=True)
    return _validate_rsa(key, source) if isinstance(key, rsa.RSAPrivateKey) else key


def _parse(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return label, headers and content of the first private key; for DER only the content."""
    for label, body in find_pem(data):
        if body is not None and label.endswith(b"PRIVATE KEY"):
            # RFC 1421 §4.4: a blank line follows the headers.
            headers, _, text = body.replace(b"\r\n", b"\n").strip().partition(b"\n\n")
            if b":" not in headers:
                headers, text = b"", body
            return label, headers, b64decode(b"".join(text.split()), validate=True)
    if not data.startswith(b"\x30"):
        raise ValueError("it is neither PEM with a private key nor DER")
    return b"", b"", data


def _armour(label: bytes, headers: bytes, content: bytes) -> bytes:
    if b"-----" in headers:
        raise ValueError("a header looks like the end of the block")
    before = headers + b"\n\n" if headers else b""
    return b"-----BEGIN %s-----\n%s%s-----END %s-----\n" % (label, before, encodebytes(content), label)


def _has_wide_number(element: der.Element, depth: int = _MAX_NESTING) -> bool:
    """Tell whether a key that is not encrypted has a number that is too large."""
    if element.tag == der.INTEGER:
        return len(element.content) > _MAX_BITS // 8 + 1  # the first octet may be the sign
    if depth and element.tag == der.SEQUENCE:
        return any(_has_wide_number(child, depth - 1) for child in element.children())
    if depth and element.tag == der.OCTET_STRING:
        with suppress(ValueError):  # the bytes of a key that are not DER
            return _has_wide_number(der.read(element.content), depth - 1)
    return False


def _validate_rsa(key: rsa.RSAPrivateKey, source: str) -> rsa.RSAPrivateKey:
    numbers = key.private_numbers()
    public = numbers.public_numbers
    if max(public.n, public.e, numbers.p, numbers.q, numbers.d, numbers.dmp1, numbers.dmq1, numbers.iqmp).bit_length() > _MAX_BITS:
        raise _too_large(source)
    if numbers.p * numbers.q != public.n:  # so the primes are not larger than the modulus
        raise ValueError("these are not the primes of the modulus")
    return numbers.private_key()


def _too_large(source: str) -> ConfigError:
    return ConfigError(
        f"The private key in {source} is too large",
        code="ERR_CRYPTO_UNSUPPORTED_OPERATION",
        hint=f"RSA keys may have {_MAX_BITS:,} bits, and 2048 to 4096 are usual: make a new key.",
    )


def _count_rounds(data: bytes) -> int:
    """Return bcrypt's rounds, the end of the third string of a key (OpenSSH's PROTOCOL.key §1)."""
    at = len(b"openssh-key-v1\0")
    for _ in range(2):
        at += 4 + int.from_bytes(data[at : at + 4])
    end = at + 4 + int.from_bytes(data[at : at + 4])
    return int.from_bytes(data[end - 4 : end]) if end > at + 4 else 0


def _undecryptable(source: str, hint: str) -> ConfigError:
    return ConfigError(f"Cannot decrypt the private key of {source}", code="ERR_OSSL_BAD_DECRYPT", hint=hint)


def spki_of(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    """Return the SubjectPublicKeyInfo of a private key in DER."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
