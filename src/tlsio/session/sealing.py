"""Encrypts and authenticates values under a shared secret.

AES-256-GCM with keys from HKDF-SHA256 (RFC 5869). The place of a value is associated data, so the
value cannot be moved to another place.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tlsio.model.checks import check_text_or_bytes, wrong_value

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OVERHEAD_BYTES", "derive_key", "seal", "unseal"]

# The strength of AES-256. Shorter secrets tend to be passwords, which an attacker with access to
# the store can guess offline.
_SECRET_BYTES = 32
_NONCE_BYTES, _TAG_BYTES = 12, 16
OVERHEAD_BYTES = _NONCE_BYTES + _TAG_BYTES


def derive_key(secret: object, purpose: str) -> bytes:
    """Derive the key for one purpose from an application's secret.

    Args:
        secret: 32 or more random bytes, as str or bytes. Not a password: there is no key
            stretching.
        purpose: Each purpose has its own key.

    Raises:
        UsageError: the secret is too short, or neither str nor bytes.
    """
    material = check_text_or_bytes("secret", secret)
    if len(material) < _SECRET_BYTES:
        raise wrong_value(
            "secret",
            f"must be {_SECRET_BYTES} bytes or more, got {len(material)}",
            hint='Generate one: python -c "import secrets; print(secrets.token_urlsafe(32))".',
        )
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"tlsio {purpose}".encode()).derive(material)


def seal(key: bytes, data: bytes, belongs_to: bytes, random: Callable[[int], bytes] = os.urandom) -> bytes:
    """Encrypt and authenticate `data`: 12 bytes of nonce, the ciphertext, 16 bytes of tag.

    The nonce is random, so one key is safe for 2**32 values (NIST SP 800-38D §8.3).
    """
    nonce = random(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, data, belongs_to)


def unseal(key: bytes, sealed: bytes, belongs_to: bytes) -> bytes:
    """Decrypt the result of `seal`.

    Raises:
        ValueError: the value was altered, sealed with another key, or belongs to another place.
    """
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], belongs_to)
    except (InvalidTag, ValueError):  # ValueError: shorter than a nonce
        raise ValueError("the value was altered, or sealed with another secret") from None
