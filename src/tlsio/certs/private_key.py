"""Private keys from PEM and DER, as objects of `cryptography`, with errors that say what to do."""

from __future__ import annotations

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

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, PrivateKeyTypes

    from tlsio.certs.contents import Block

__all__ = ["load_private_key", "spki_of"]

_BEGIN = b"-----BEGIN "
_OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"


def load_private_key(block: Block, passphrase: bytes | None) -> CertificateIssuerPrivateKeyTypes:
    """Read a private key. The passphrase is ignored if the key is not encrypted.

    Raises:
        ConfigError: the passphrase is missing or wrong, or the key cannot be used.
    """
    try:
        key = _load(block.data, passphrase)
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


def _load(data: bytes, passphrase: bytes | None) -> PrivateKeyTypes:
    if _OPENSSH in data:
        return cast("PrivateKeyTypes", load_ssh_private_key(data, passphrase))
    load = load_pem_private_key if _BEGIN in data else load_der_private_key
    return load(data, passphrase)


def _undecryptable(source: str, hint: str) -> ConfigError:
    return ConfigError(f"Cannot decrypt the private key of {source}", code="ERR_OSSL_BAD_DECRYPT", hint=hint)


def spki_of(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    """Return the SubjectPublicKeyInfo of a private key in DER."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
