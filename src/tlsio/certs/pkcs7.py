"""PKCS#7 as a container of certificates ("p7b"): SignedData without signers (RFC 5652 §5)."""

from __future__ import annotations

from base64 import encodebytes
from typing import TYPE_CHECKING

from tlsio.model.errors import ConfigError
from tlsio.trust import der

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["read_pkcs7", "write_pkcs7"]

_CERTIFICATES = 0xA0  # [0] IMPLICIT of SignedData
_CONTENT = 0xA0  # [0] EXPLICIT of ContentInfo
_DATA = bytes.fromhex("2a864886f70d010701")
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")


def read_pkcs7(data: bytes, source: str) -> tuple[bytes, ...]:
    """Return the certificates of a PKCS#7 in DER or BER, in its order.

    Raises:
        ConfigError: it is damaged, or has no certificates.
    """
    try:
        _oid, wrapped = der.read(data).expect(der.SEQUENCE).children()
        fields = der.read(wrapped.content).expect(der.SEQUENCE).children()
        sets = [one for one in fields if one.tag == _CERTIFICATES]
        found = tuple(one.encoded for group in sets for one in group.children() if one.tag == der.SEQUENCE)
    except ValueError:
        raise ConfigError(
            f"Cannot read the PKCS#7 of {source}", code="ERR_TLS_UNREADABLE_FILE", hint="It is damaged: get it again from its source."
        ) from None
    if not found:
        raise ConfigError(
            f"The PKCS#7 of {source} has no certificates", code="ERR_TLS_NO_CERTIFICATE", hint="It holds CRLs or signatures only."
        )
    return found


def write_pkcs7(certificates: Iterable[bytes], *, pem: bool) -> bytes:
    """Return certificates in DER as PKCS#7, in this order, which readers keep."""
    data = der.make(der.SEQUENCE, der.make(der.OID, _DATA))
    signed = der.make(der.SEQUENCE, der.make_integer(1), der.make(der.SET), data, der.make(_CERTIFICATES, *certificates), der.make(der.SET))
    encoded = der.make(der.SEQUENCE, der.make(der.OID, _SIGNED_DATA), der.make(_CONTENT, signed))
    if not pem:
        return encoded
    # RFC 7468 §2: lines of 64 characters, which is base64 of 48 bytes.
    lines = (encodebytes(encoded[at : at + 48]) for at in range(0, len(encoded), 48))
    return b"".join((b"-----BEGIN PKCS7-----\n", *lines, b"-----END PKCS7-----\n"))
