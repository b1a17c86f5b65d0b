"""Private keys from PEM and DER, as objects of `cryptography`, with errors that say what to do."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import a2b_base64
from typing import TYPE_CHECKING, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
    load_ssh_private_key,
)

from tlsio.model.errors import ConfigError
from tlsio.native._core import check_iterations, check_key_work
from tlsio.native.context_spec import LabelledMaterial

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, PrivateKeyTypes

    from tlsio.certs.contents import Block

__all__ = ["decode_key", "load_private_key", "spki_of"]

_BEGIN = b"-----BEGIN "
_OPENSSH = re.compile(rb"-----BEGIN OPENSSH PRIVATE KEY-----(.*?)-----END", re.DOTALL)
_ENCRYPTED = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----(.*?)-----END", re.DOTALL)
# bcrypt's rounds take about as long as this many iterations of PBKDF2. `ssh-keygen` does 16 or 24.
_BCRYPT_ROUND = 10_000


def load_private_key(block: Block, passphrase: bytes | None) -> CertificateIssuerPrivateKeyTypes:
    """Read a private key. The passphrase is ignored if the key is not encrypted.

    Raises:
        ConfigError: the passphrase is missing or wrong, the key needs too many iterations
            (`ERR_TLS_TOO_MANY_ITERATIONS`), or it cannot be used.
    """
    try:
        key = decode_key(block.data, passphrase, block.source)
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


def decode_key(data: bytes, passphrase: bytes | None, source: str) -> PrivateKeyTypes:
    """Have `cryptography` read a private key, if that needs no more iterations than it may.

    Args:
        data: PEM or DER.
        passphrase: Decrypts it.
        source: Where it came from, for the message about iterations.

    Raises:
        ConfigError: it needs too many (`ERR_TLS_TOO_MANY_ITERATIONS`).
        TypeError, ValueError, UnsupportedAlgorithm: from `cryptography`.
    """
    if (openssh := _OPENSSH.search(data)) is not None:
        check_iterations(source, _BCRYPT_ROUND * _count_rounds(a2b_base64(openssh[1])))
        return cast("PrivateKeyTypes", load_ssh_private_key(data, passphrase))
    # PEM is decoded here too: `cryptography` reads forms that OpenSSL does not.
    encrypted = [b64decode(b"".join(body.split()), validate=True) for body in _ENCRYPTED.findall(data)]
    for one in (data, *encrypted):
        check_key_work(LabelledMaterial(source, one))
    load = load_pem_private_key if _BEGIN in data else load_der_private_key
    return load(data, passphrase)


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
