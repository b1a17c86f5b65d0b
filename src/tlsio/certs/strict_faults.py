"""What OpenSSL's X509_STRICT reports of one certificate, without its real chain.

OpenSSL applies these checks to chains of two certificates and more. So the certificate gets a
neighbour with matching names: an issuer, and if it is a CA, a leaf below it. That the signatures
are wrong only adds errors, which are ignored here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsio.certs.chain_order import is_self_issued
from tlsio.model.codes import STRICT_ERRORS
from tlsio.native._core import Roots, verify_chain
from tlsio.native.context_spec import LabelledMaterial
from tlsio.trust import der

if TYPE_CHECKING:
    from tlsio.trust.certificate import PeerCertificate

__all__ = ["find_strict_errors"]

_ECDSA_SHA256 = bytes.fromhex("06082a8648ce3d040302")
_ALGORITHM = der.make(der.SEQUENCE, _ECDSA_SHA256)
_VALIDITY = der.make(der.SEQUENCE, der.make(der.UTC_TIME, b"700101000000Z"), der.make(der.UTC_TIME, b"491231235959Z"))
_TRUE = der.make(der.BOOLEAN, b"\xff")
# basicConstraints with cA, and keyUsage with keyCertSign (RFC 5280 §4.2.1.9 and §4.2.1.3)
_CA = bytes.fromhex("0603551d13"), _TRUE, der.make(der.OCTET_STRING, der.make(der.SEQUENCE, _TRUE))
_SIGNS = bytes.fromhex("0603551d0f"), _TRUE, der.make(der.OCTET_STRING, bytes.fromhex("03020204"))
_SUBJECT_KEY_ID, _AUTHORITY_KEY_ID = bytes.fromhex("0603551d0e"), bytes.fromhex("0603551d23")
_VERSION_3 = der.make(0xA0, der.make_integer(2))
_EMPTY_NAME = der.make(der.SEQUENCE)


def find_strict_errors(certificate: PeerCertificate) -> list[int]:
    """Return the X509_V_ERR numbers of STRICT_ERRORS that apply to a certificate.

    Raises:
        ConfigError: OpenSSL cannot read it.
    """
    Roots([LabelledMaterial("certificate", certificate.raw)])  # whether it can be read at all
    chain = [certificate.raw]
    anchor = certificate.raw if is_self_issued(certificate) else _make_issuer(certificate)
    if certificate.is_ca:
        chain.insert(0, _make_leaf(certificate))
    roots = Roots([LabelledMaterial("certificate", anchor)])
    _, errors = verify_chain(roots, chain, at=0, of_server=True, level=0, strict=True)
    depth = len(chain) - 1
    return list(dict.fromkeys(number for number, at in errors if at == depth and number in STRICT_ERRORS))


def _make_issuer(certificate: PeerCertificate) -> bytes:
    key_id = certificate.authority_key_id
    extensions: list[tuple[bytes, ...]] = [_CA, _SIGNS]
    if key_id is not None:
        extensions.append((_SUBJECT_KEY_ID, der.make(der.OCTET_STRING, der.make(der.OCTET_STRING, key_id))))
    return _make(certificate.issuer, certificate.issuer, certificate.spki, extensions)


def _make_leaf(certificate: PeerCertificate) -> bytes:
    key_id = certificate.subject_key_id
    extensions: list[tuple[bytes, ...]] = []
    if key_id is not None:
        above = der.make(der.SEQUENCE, der.make(0x80, key_id))
        extensions.append((_AUTHORITY_KEY_ID, der.make(der.OCTET_STRING, above)))
    return _make(certificate.subject, _EMPTY_NAME, certificate.spki, extensions)


def _make(issuer: bytes, subject: bytes, spki: bytes, extensions: list[tuple[bytes, ...]]) -> bytes:
    """Return a certificate in DER with a signature that is wrong."""
    listed = der.make(der.SEQUENCE, *(der.make(der.SEQUENCE, *one) for one in extensions))
    fields = (_VERSION_3, der.make_integer(1), _ALGORITHM, issuer, _VALIDITY, subject, spki)
    signed = der.make(der.SEQUENCE, *fields, *([der.make(0xA3, listed)] if extensions else []))
    return der.make(der.SEQUENCE, signed, _ALGORITHM, der.make(der.BIT_STRING, b"\0\0"))
