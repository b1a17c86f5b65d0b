"""Certificates that OpenSSL takes and `cryptography` does not: each shape, signed anew after its DER was changed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

import pki
from asn1 import tlv
from tlsio.trust import der

if TYPE_CHECKING:
    from collections.abc import Callable

_VERSION, _EXTENSIONS = 0xA0, 0xA3
_PRINTABLE, _UTF8 = 0x13, 0x0C


@dataclass(frozen=True)
class Odd:
    """A certificate of an odd form, its key, and what it was made of."""

    base: pki.Identity
    cert_der: bytes

    @cached_property
    def cert_pem(self) -> bytes:
        """The certificate alone."""
        body = pki.base64.encodebytes(self.cert_der)
        return b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"

    @property
    def key_pem(self) -> bytes:
        """The private key."""
        return self.base.key_pem


def sign(tbs: bytes, signer: pki.Identity) -> bytes:
    """Return a certificate or list over this body, signed with ECDSA and SHA-256."""
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    signature = signer.key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    return tlv(der.SEQUENCE, tbs, algorithm, tlv(der.BIT_STRING, b"\0", signature))


def change(base: pki.Identity, how: Callable[[list[bytes]], list[bytes]], signer: pki.Identity | None = None) -> Odd:
    """Change the fields of a certificate's body (each encoded) and sign it again."""
    tbs = next(der.read(base.cert_der).children())
    fields = how([field.encoded for field in tbs.children()])
    return Odd(base, sign(tlv(der.SEQUENCE, *fields), signer or pki.ca1()))


def change_extensions(base: pki.Identity, how: Callable[[list[bytes]], list[bytes]], signer: pki.Identity | None = None) -> Odd:
    """Change the list of extensions (each encoded)."""

    def changed(fields: list[bytes]) -> list[bytes]:
        listed = der.read(der.read(fields[-1]).content)
        return [*fields[:-1], tlv(_EXTENSIONS, tlv(der.SEQUENCE, *how([one.encoded for one in listed.children()])))]

    return change(base, changed, signer)


def spelled_out(base: pki.Identity, signer: pki.Identity | None = None) -> Odd:
    """`critical FALSE` stands in full, as many devices and home-made authorities write it."""
    return change_extensions(base, lambda found: list(map(_spell_out, found)), signer)


def _spell_out(extension: bytes) -> bytes:
    parts = [one.encoded for one in der.read(extension).children()]
    return extension if len(parts) == 3 else tlv(der.SEQUENCE, parts[0], tlv(der.BOOLEAN, b"\0"), parts[1])


def doubled(base: pki.Identity, signer: pki.Identity | None = None) -> Odd:
    """The last extension stands there twice, so that OpenSSL finds the certificate invalid."""
    return change_extensions(base, lambda found: [*found, found[-1]], signer)


def star_in_printable_string(base: pki.Identity) -> Odd:
    """The subject is of a type of string that has no `*`."""
    name = tlv(der.SEQUENCE, tlv(der.SET, tlv(der.SEQUENCE, bytes.fromhex("0603550403"), tlv(_PRINTABLE, b"*"))))
    return change(base, lambda fields: [*fields[:5], name, *fields[6:]])


def first_version(base: pki.Identity) -> Odd:
    """Version 1, which has no extensions, with extensions."""
    return change(base, lambda fields: fields[1:])


def serial(base: pki.Identity, content: bytes) -> Odd:
    """A serial number that is negative, zero or long."""
    return change(base, lambda fields: [fields[0], tlv(der.INTEGER, content), *fields[2:]])


SHAPES: dict[str, Callable[[pki.Identity], Odd]] = {
    "critical FALSE": spelled_out,
    "star": star_in_printable_string,
    "version 1": first_version,
    "version 8": lambda base: change(base, lambda fields: [tlv(_VERSION, tlv(der.INTEGER, b"\7")), *fields[1:]]),
    "negative serial": lambda base: serial(base, b"\x80\x01"),
    "zero serial": lambda base: serial(base, b"\0"),
    "long serial": lambda base: serial(base, b"\x7f" * 40),
}

READABLE = {"version 1", "negative serial", "zero serial", "long serial"}
"""Those that `cryptography` takes, today."""
