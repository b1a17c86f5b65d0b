"""Values that only those who share a secret can read or make.

AES-256-GCM with keys from HKDF-SHA256 (RFC 5869). What a value belongs to goes in as associated data: it cannot be moved elsewhere.
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

# The strength of AES-256; shorter ones tend to be passwords, which whoever reads the store can try out at leisure.
_SECRET_BYTES = 32
_NONCE_BYTES, _TAG_BYTES = 12, 16
OVERHEAD_BYTES = _NONCE_BYTES + _TAG_BYTES


def derive_key(secret: object, purpose: str) -> bytes:
    """Make the key for one purpose out of an application's secret.

    Args:
        secret: str or bytes, 32 bytes or more, from a source of randomness. No password: there is no stretching here.
        purpose: Another one gives another key.

    Raises:
        UsageError: the secret is too short, or no str or bytes.
    """
    material = check_text_or_bytes("secret", secret)
    if len(material) < _SECRET_BYTES:
        raise wrong_value(
            "secret",
            f"must be {_SECRET_BYTES} bytes or more, got {len(material)}",
            hint='python -c "import secrets; print(secrets.token_urlsafe(32))" makes one.',
        )
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"tlsio {purpose}".encode()).derive(material)


def seal(key: bytes, data: bytes, belongs_to: bytes, random: Callable[[int], bytes] = os.urandom) -> bytes:
    """Encrypt and authenticate `data`: 12 bytes of nonce, the ciphertext, 16 bytes of tag.

    A nonce is random, so one key is good for 2**32 values (NIST SP 800-38D §8.3).
    """
    nonce = random(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, data, belongs_to)


def unseal(key: bytes, sealed: bytes, belongs_to: bytes) -> bytes:
    """Return what was sealed.

    Raises:
        ValueError: it was altered, sealed with another key, or belongs elsewhere.
    """
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], belongs_to)
    except (InvalidTag, ValueError):  # the latter for less than a nonce
        raise ValueError("a value that was altered, or sealed with another secret") from None
