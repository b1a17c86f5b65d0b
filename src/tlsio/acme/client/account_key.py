"""The key of an account, and what it signs: requests as JWS (RFC 7515, RFC 8555 §6.2)."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tlsio.certs.keys import generate_key, key_kind, key_pem, load_key
from tlsio.model.checks import check_filled_text, wrong_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

    from tlsio.model.material import Content

__all__ = ["AccountKey", "ExternalAccount", "encode_base64url"]

_CURVES: dict[str, tuple[str, hashes.HashAlgorithm, int]] = {  # RFC 7518 §3.4: algorithm, hash, bytes of a coordinate
    "P-256": ("ES256", hashes.SHA256(), 32),
    "P-384": ("ES384", hashes.SHA384(), 48),
}
_MIN_RSA_BITS, _MAX_RSA_BITS = 2048, 4096  # RFC 7518 §3.3; Let's Encrypt accepts no longer ones


class AccountKey:
    """A private key that signs requests: ES256 (P-256), ES384 (P-384) or RS256 (RSA).

    Its repr has the thumbprint alone, which is public.
    """

    def __init__(self, key: Content | CertificateIssuerPrivateKeyTypes) -> None:
        """Read a key, as `tlsio.certs.load_key` does.

        Raises:
            ConfigError: it cannot be read.
            UsageValueError: it is of another kind, or of a size that authorities refuse.
        """
        self._key = load_key(key)
        self._curve = _CURVES.get(key_kind(self._key))
        is_rsa = isinstance(self._key, rsa.RSAPrivateKey) and _MIN_RSA_BITS <= self._key.key_size <= _MAX_RSA_BITS
        if self._curve is None and not is_rsa:
            kinds = f"P-256, P-384, or RSA with {_MIN_RSA_BITS} to {_MAX_RSA_BITS} bits"
            raise wrong_value("key", f"is of the kind {key_kind(self._key)}, and requests of ACME are signed with {kinds}")
        self.algorithm = self._curve[0] if self._curve else "RS256"
        self.jwk = self._make_jwk()

    @classmethod
    def generate(cls) -> AccountKey:
        """Make a key of P-256, which every authority accepts (RFC 8555 §6.2)."""
        return cls(generate_key("P-256"))

    def __repr__(self) -> str:
        return f"<AccountKey {self.algorithm} {self.thumbprint}>"

    @property
    def pem(self) -> bytes:
        """The private key, PKCS#8 in PEM, unencrypted."""
        return key_pem(self._key)

    @property
    def thumbprint(self) -> str:
        """The SHA-256 of the public key in base64url (RFC 7638)."""
        # §3.3: the required members alone, sorted by name, without white space.
        return encode_base64url(hashlib.sha256(_dump(self.jwk, sort_keys=True)).digest())

    def authorize(self, token: str) -> str:
        """Return the key authorization of a challenge's token (RFC 8555 §8.1)."""
        return f"{token}.{self.thumbprint}"

    def sign(self, url: str, payload: Mapping[str, Any] | None, *, kid: str | None = None, nonce: str | None = None) -> dict[str, str]:
        """Return the JWS that is the body of a request (RFC 8555 §6.2).

        Args:
            url: Where it will be sent to; it is signed too.
            payload: None for a POST-as-GET (§6.3).
            kid: The account's URL. Without one the public key is part of the request.
            nonce: Of the authority. None only in a JWS inside another one.
        """
        header: dict[str, Any] = {"alg": self.algorithm, "url": url}
        header |= {"jwk": self.jwk} if kid is None else {"kid": kid}
        header |= {} if nonce is None else {"nonce": nonce}
        protected = encode_base64url(_dump(header))
        content = "" if payload is None else encode_base64url(_dump(payload))
        signature = encode_base64url(self._signature(f"{protected}.{content}".encode("ascii")))
        return {"protected": protected, "payload": content, "signature": signature}

    def _signature(self, data: bytes) -> bytes:
        if isinstance(self._key, ec.EllipticCurvePrivateKey) and self._curve is not None:
            _, algorithm, size = self._curve
            # RFC 7518 §3.4: both numbers, in as many octets as the curve has; not DER.
            return b"".join(one.to_bytes(size, "big") for one in decode_dss_signature(self._key.sign(data, ec.ECDSA(algorithm))))
        assert isinstance(self._key, rsa.RSAPrivateKey)  # noqa: S101 - checked in the constructor
        return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())

    def _make_jwk(self) -> dict[str, str]:
        numbers: Any = self._key.public_key().public_numbers()  # type: ignore[union-attr]
        if self._curve is None:
            return {"e": _encode_number(numbers.e), "kty": "RSA", "n": _encode_number(numbers.n)}
        size = self._curve[2]
        return {"crv": key_kind(self._key), "kty": "EC", "x": _encode_number(numbers.x, size), "y": _encode_number(numbers.y, size)}


@dataclass(frozen=True, slots=True)
class ExternalAccount:
    """An account outside of ACME that the authority has made, and binds ours to (RFC 8555 §7.3.4).

    Attributes:
        kid: What names it; the authority shows it next to the key.
        hmac_key: The secret in base64url, as the authority shows it.
    """

    kid: str
    hmac_key: str = field(repr=False)

    def __post_init__(self) -> None:
        check_filled_text("external_account.kid", self.kid)
        check_filled_text("external_account.hmac_key", self.hmac_key)
        self._secret()

    def bind(self, key: AccountKey, url: str) -> dict[str, str]:
        """Return the binding of an account's key, for a request to `url`."""
        protected = encode_base64url(_dump({"alg": "HS256", "kid": self.kid, "url": url}))
        payload = encode_base64url(_dump(key.jwk))
        signature = hmac.digest(self._secret(), f"{protected}.{payload}".encode("ascii"), "sha256")
        return {"protected": protected, "payload": payload, "signature": encode_base64url(signature)}

    def _secret(self) -> bytes:
        # Some authorities show it with padding, and some in plain base64.
        text = re.sub(r"\s", "", self.hmac_key).rstrip("=").replace("+", "-").replace("/", "_")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", text) or len(text) % 4 == 1:
            hint = "Copy it as the authority shows it."
            raise wrong_value("external_account.hmac_key", "must be a secret in base64url", hint=hint)
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode_base64url(data: bytes) -> str:
    """Return base64url without padding (RFC 7515 §2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _encode_number(number: int, size: int | None = None) -> str:
    return encode_base64url(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))


def _dump(value: Mapping[str, Any], *, sort_keys: bool = False) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=sort_keys).encode("ascii")
