"""Private keys that live elsewhere, in an HSM, a KMS or an agent: objects that only sign."""

from __future__ import annotations

import base64
import binascii
import inspect
import re
from typing import TYPE_CHECKING, Any, Protocol

from tlsio.model.checks import BytesLike, wrong_type, wrong_value
from tlsio.model.material import Material, parse_keys

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["ExternalKey", "parse_own_keys"]

_FORMS = "PEM as str or bytes, DER as bytes, an os.PathLike, an object of cryptography or an object with sign(scheme, message)"
_PUBLIC_KEY = re.compile(rb"-----BEGIN PUBLIC KEY-----(.+?)-----END PUBLIC KEY-----", re.DOTALL)


class ExternalKey(Protocol):
    """An object for `key=` that signs with a private key it does not give away.

    It MAY have `public_key`, an attribute or a method without arguments: PEM, DER
    (SubjectPublicKeyInfo) or a public key of `cryptography`. It is compared with the certificate
    when the context is made. Without it, the first signature shows whether key and certificate
    belong together.
    """

    def sign(self, scheme: str, message: bytes, /) -> bytes | Awaitable[bytes]:
        """Sign a message of a handshake; called once for each signature, in the loop's thread.

        Calls may overlap. An async one may be cancelled, and must end within `hook_timeout`; a
        plain function holds up the event loop.

        Args:
            scheme: IANA's name in the registry "TLS SignatureScheme" (RFC 8446 §4.2.3), such as
                `"ecdsa_secp256r1_sha256"` or `"rsa_pss_rsae_sha256"`. Up to TLS 1.2, one of ECDSA
                tells the digest only, not the curve.
            message: What to sign. It is not hashed.

        Returns:
            The signature as TLS has it on the wire: ECDSA in DER; PSS with a salt as long as the
            digest. It MUST be made by the key of the certificate: it is verified before it is sent.

        Raises:
            Exception: any; it fails the handshake.
        """


def parse_own_keys(label: str, value: object) -> tuple[Material, ...]:
    """Parse the `key` of a context: as `parse_keys`, and objects that sign elsewhere."""
    if _signs(value):
        return (_parse(label, value),)
    if isinstance(value, list | tuple) and any(map(_signs, value)):
        return tuple(one for index, item in enumerate(value) for one in parse_own_keys(f"{label}[{index}]", item))
    return parse_keys(label, value, forms=_FORMS)


def _signs(value: object) -> bool:
    """Tell whether it is an object that signs, not a key that can be read."""
    return callable(getattr(value, "sign", None)) and not isinstance(value, type) and not hasattr(type(value), "private_bytes")


def _parse(label: str, value: Any) -> Material:
    public = getattr(value, "public_key", None)
    if callable(public):
        public = public()
    if inspect.isawaitable(public):
        if inspect.iscoroutine(public):
            public.close()
        raise wrong_value(f"{label}.public_key", "must not be async", hint="Load the public key in advance, or leave it out.")
    return Material("elsewhere", b"" if public is None else _encode(f"{label}.public_key", public), signer=value)


def _encode(label: str, public: Any) -> bytes:
    """Return the DER of a public key."""
    if hasattr(public, "public_bytes"):
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415  (loaded with `public`)

        return bytes(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    if not isinstance(public, str | BytesLike):
        raise wrong_type(label, "PEM as str or bytes, DER as bytes, or a public key of cryptography", public)
    data = public.encode() if isinstance(public, str) else bytes(public)
    if (found := _PUBLIC_KEY.search(data)) is not None:
        data = _decode(found[1])
    if not data or (isinstance(public, str) and found is None):
        raise wrong_value(label, "is not a public key", hint="In PEM it begins with -----BEGIN PUBLIC KEY-----.")
    return data


def _decode(text: bytes) -> bytes:
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return b""
