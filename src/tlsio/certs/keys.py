"""Private keys: made, written as PKCS#8, and read again."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tlsio.certs.files import PRIVATE, NewFile, write_files
from tlsio.certs.private_key import decode_key
from tlsio.certs.unreadable import UNREADABLE, name_of, unreadable
from tlsio.connection.context.files import read_file
from tlsio.model.checks import BytesLike, check_text, check_text_or_bytes, wrong_type, wrong_value
from tlsio.model.errors import ConfigError
from tlsio.model.material import PrivateKey as PrivateKeyLike
from tlsio.model.material import parse_keys
from tlsio.native._core import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, CertificatePublicKeyTypes

    from tlsio.model.material import Content, Material

__all__ = ["KEY_KINDS", "check_kind", "encryption_under", "generate_key", "key_kind", "key_pem", "load_key", "signature_hash", "write_key"]

PrivateKey: TypeAlias = "CertificateIssuerPrivateKeyTypes"
_SignatureHash: TypeAlias = hashes.SHA256 | hashes.SHA384 | hashes.SHA512
PublicKey: TypeAlias = "CertificatePublicKeyTypes"

KEY_KINDS = ("P-256", "P-384", "Ed25519", "RSA-2048", "RSA-3072", "RSA-4096", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87")

_RSA_EXPONENT = 65537  # "MUST be 65537" in practice: FIPS 186-5 §A.1.1 wants more than 2^16
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_MAX_PASSPHRASE = 1023  # bytes: what cryptography's BestAvailableEncryption takes


def generate_key(kind: str = "P-256") -> PrivateKey:
    """Make a private key.

    Args:
        kind: One of `KEY_KINDS`; case, hyphens and underscores do not count. `P-256` is small,
            quick and accepted everywhere. ML-DSA (FIPS 204) needs a `cryptography` that has it, and
            peers that do.

    Raises:
        UsageValueError: there is no such kind.
        ConfigError: this `cryptography`, or its OpenSSL, does not have that kind
            (`ERR_CRYPTO_UNSUPPORTED_OPERATION`).
    """
    name = check_kind("kind", kind)
    return _MAKERS[name]() if name in _MAKERS else _make_ml_dsa(name)


def check_kind(label: str, kind: object) -> str:
    """Return a kind of key as `KEY_KINDS` has it; no key is made, which takes seconds for RSA.

    Raises:
        UsageError: there is no such kind.
    """
    text = check_text(label, kind)
    known = {_plain(one): one for one in KEY_KINDS}
    if _plain(text) not in known:
        raise wrong_value(label, f"must be one of {', '.join(KEY_KINDS)}, got {text!r:.40}", hint=_hint_for_kind(text))
    return known[_plain(text)]


def key_kind(key: PrivateKey | PublicKey) -> str:
    """Return the kind of a private or public key, as in `KEY_KINDS` or as another name."""
    curve = getattr(key, "curve", None)
    if curve is not None:
        return _CURVES.get(curve.name, str(curve.name))
    name = type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey").lstrip("_")
    if name.startswith("MLDSA"):
        return f"ML-DSA-{name.removeprefix('MLDSA')}"
    return f"{name}-{size}" if (size := getattr(key, "key_size", None)) else name


def signature_hash(key: PrivateKey) -> _SignatureHash | None:
    """Return the hash for a key's signatures, None if its kind has its own."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        # RFC 5758 §3.2, CA/Browser Forum BR §7.1.3.2.2: SHA-384 with P-384, SHA-512 with P-521.
        strong: dict[str, _SignatureHash] = {"P-384": hashes.SHA384(), "P-521": hashes.SHA512()}
        return strong.get(key_kind(key), hashes.SHA256())
    return hashes.SHA256() if isinstance(key, rsa.RSAPrivateKey) else None


def key_pem(key: Content | PrivateKey, passphrase: str | BytesLike | None = None) -> bytes:
    """Return a key as PKCS#8 in PEM, encrypted under AES-256 if there is a passphrase.

    Args:
        key: The key, or one that `load_key` reads and that is not encrypted.
        passphrase: Encrypts the key.

    Raises:
        ConfigError: see `load_key`.
        UsageValueError: the passphrase is empty or longer than 1023 bytes.
    """
    return load_key(key).private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption_under(passphrase))


def write_key(
    path: str | os.PathLike[str], key: Content | PrivateKey, *, passphrase: str | BytesLike | None = None, overwrite: bool = False
) -> None:
    """Write a key as PKCS#8 in PEM to a file that only its owner can read (mode 0600).

    The file is written whole or not at all.

    Args:
        path: The file.
        key: The key.
        passphrase: Encrypts the key, under AES-256.
        overwrite: Replace a file that exists; the key in it is lost.

    Raises:
        FileExistsError: the file exists, and `overwrite` is False.
        OSError: the folder does not exist or may not be written, or the disk is full.
        UsageValueError: the passphrase is empty or longer than 1023 bytes.
    """
    write_files(NewFile(path, key_pem(key, passphrase), PRIVATE), overwrite=overwrite)


def load_key(source: Content | PrivateKey, passphrase: str | BytesLike | None = None) -> PrivateKey:
    """Read a private key: PKCS#8 or an older form, PEM or DER.

    Args:
        source: PEM as str or bytes, DER as bytes, a path, or a key, which is returned unchanged.
        passphrase: For an encrypted key; ignored if the key is not encrypted.

    Raises:
        OSError: the file cannot be read.
        ConfigError: not a key (`ERR_CRYPTO_OPERATION_FAILED`), of a kind that cannot sign
            certificates (`ERR_CRYPTO_UNSUPPORTED_OPERATION`), the passphrase is missing or wrong
            (`ERR_OSSL_BAD_DECRYPT`), it needs too many iterations
            (`ERR_TLS_TOO_MANY_ITERATIONS`), or it is too large
            (`ERR_CRYPTO_UNSUPPORTED_OPERATION`).
    """
    if isinstance(source, PrivateKeyLike):
        return _check_signs(source, "The key")
    if not isinstance(source, str | BytesLike | os.PathLike):
        raise wrong_type("key", "one private key: content, a path or an object of cryptography", source)
    [material] = parse_keys("key", source)
    material = read_file("key", material)
    secret = None if passphrase is None else check_text_or_bytes("passphrase", passphrase)
    return _check_signs(_load(material, secret), name_of(material, "key"))


def _check_signs(key: object, name: str) -> PrivateKey:
    """Refuse objects that are not keys, and keys of key agreement, such as X25519."""
    if not hasattr(key, "sign"):
        raise ConfigError(f"{name} cannot sign certificates or handshakes", code="ERR_CRYPTO_UNSUPPORTED_OPERATION")
    return cast("PrivateKey", key)


def _load(material: Material, secret: bytes | None) -> object:
    source = material.path or "key"
    try:
        return decode_key(material.data, None, Work(source), source)
    except TypeError:  # it is encrypted
        if secret is None:
            raise _undecryptable(material, "is encrypted, and no passphrase was given") from None
    except UNREADABLE as error:
        raise unreadable(material, "a private key", "key", error) from None
    try:
        return decode_key(material.data, secret, Work(source), source)
    except UnsupportedAlgorithm as error:
        raise unreadable(material, "a private key", "key", error) from None
    except ValueError:
        raise _undecryptable(material, "cannot be decrypted: the passphrase is wrong, or the key is damaged") from None


def _undecryptable(material: Material, problem: str) -> ConfigError:
    hint = "Give the key's passphrase as passphrase=."
    return ConfigError(f"{name_of(material, 'key')} {problem}", code="ERR_OSSL_BAD_DECRYPT", hint=hint)


def encryption_under(passphrase: str | BytesLike | None) -> serialization.KeySerializationEncryption:
    """Return AES-256 under a passphrase; for None, no encryption.

    Raises:
        UsageValueError: the passphrase is empty or longer than 1023 bytes.
    """
    if passphrase is None:
        return serialization.NoEncryption()
    secret = check_text_or_bytes("passphrase", passphrase)
    if not 0 < len(secret) <= _MAX_PASSPHRASE:
        raise wrong_value("passphrase", "must not be empty" if not secret else f"must have at most {_MAX_PASSPHRASE} bytes")
    return serialization.BestAvailableEncryption(secret)


def _plain(kind: str) -> str:
    return kind.lower().replace("-", "").replace("_", "")


def _hint_for_kind(text: str) -> str | None:
    plain = _plain(text)
    curve = plain.removeprefix("ecdsa").removeprefix("ec")
    if curve in {"", "256", "p256", "prime256v1", "secp256r1", "nistp256"}:
        return "Write 'P-256'."
    if curve in {"384", "p384", "secp384r1", "nistp384"}:
        return "Write 'P-384'."
    if curve in {"521", "p521", "secp521r1", "nistp521"}:
        return "Write 'P-384': browsers do not accept P-521."
    if plain.isdecimal() or plain.startswith("rsa"):
        return (
            "Write 'RSA-2048', 'RSA-3072' or 'RSA-4096': smaller keys are refused by peers, larger ones are slow and no safer in practice."
        )
    return None


def _make_rsa(bits: int) -> Callable[[], PrivateKey]:
    return lambda: rsa.generate_private_key(_RSA_EXPONENT, bits)


def _make_ml_dsa(name: str) -> PrivateKey:
    try:
        mldsa = import_module("cryptography.hazmat.primitives.asymmetric.mldsa")  # not in every version
        key: PrivateKey = getattr(mldsa, f"MLDSA{name.removeprefix('ML-DSA-')}PrivateKey").generate()
    except (ImportError, UnsupportedAlgorithm):
        raise ConfigError(
            f"The installed cryptography cannot make {name} keys",
            code="ERR_CRYPTO_UNSUPPORTED_OPERATION",
            hint="Install a newer one: pip install -U cryptography.",
        ) from None
    return key


_MAKERS: dict[str, Callable[[], PrivateKey]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "RSA-2048": _make_rsa(2048),
    "RSA-3072": _make_rsa(3072),
    "RSA-4096": _make_rsa(4096),
}
