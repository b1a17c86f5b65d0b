"""Certificates, requests and revocation lists as PEM."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tlsio.certs.files import PUBLIC, NewFile, write_files
from tlsio.model.checks import wrong_type

if TYPE_CHECKING:
    import os

__all__ = ["to_pem", "write_pem"]

PublicObject: TypeAlias = x509.Certificate | x509.CertificateSigningRequest | x509.CertificateRevocationList


def to_pem(*objects: PublicObject) -> bytes:
    """Return certificates, requests or revocation lists as PEM, one after the other.

    Raises:
        UsageTypeError: one of them is something else; for keys there is `key_pem`.
    """
    for one in objects:
        if not isinstance(one, PublicObject):
            raise wrong_type("objects", "certificates, requests and revocation lists", one, hint="For a key, call key_pem().")
    return b"".join(one.public_bytes(Encoding.PEM) for one in objects)


def write_pem(path: str | os.PathLike[str], *objects: PublicObject, overwrite: bool = False) -> None:
    """Write certificates, requests or revocation lists to a file, whole or not at all.

    Args:
        path: The file.
        objects: What it will hold, in this order.
        overwrite: Replace a file that exists.

    Raises:
        FileExistsError: the file exists, and `overwrite` is False.
        OSError: the folder does not exist or may not be written, or the disk is full.
        UsageTypeError: an object is something else.
    """
    write_files(NewFile(path, to_pem(*objects), PUBLIC), overwrite=overwrite)
