"""A certificate in the storage, and in the files that a plan names."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from tlsio.acme.storage.keys import key_segment
from tlsio.certs.bundle import read
from tlsio.certs.files import PRIVATE, PUBLIC, NewFile, write_files
from tlsio.certs.keys import key_pem
from tlsio.model.errors import ConfigError, StoreError
from tlsio.trust.certificate import parse

if TYPE_CHECKING:
    from datetime import datetime

    from tlsio.acme.plans.plan import Plan
    from tlsio.acme.storage.storage import Lock, Storage

__all__ = ["Kept", "certificate_key", "load_certificate", "parse_certificate", "store_certificate", "write_certificate"]

_HOST_NAMES = {"DNS", "IP Address"}


@dataclass(frozen=True, slots=True)
class Kept:
    """A certificate with its key.

    Attributes:
        names: Its DNS names and addresses.
        not_before: The begin of its validity, aware UTC.
        not_after: The end.
        der: The leaf.
        chain: The leaf and the certificates above it, PEM.
        key: The private key, PKCS#8 in PEM.
    """

    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    der: bytes = field(repr=False)
    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)


def certificate_key(issuer: str, name: str) -> str:
    """Return where the certificate of an issuer for a name is stored."""
    return f"certificates/{issuer}/{key_segment(name)}/certificate.pem"


def parse_certificate(data: bytes) -> Kept:
    """Read a private key and its chain.

    Raises:
        ConfigError: it cannot be read, or the key does not belong to a certificate in it.
    """
    bundle = read(data)
    if bundle.key is None:
        raise ConfigError("There is no private key with the certificate", code="ERR_TLS_UNREADABLE_KEY")
    leaf = bundle.certificate
    names = tuple(name.text for name in parse(bundle.to_der()).general_names if name.kind in _HOST_NAMES)
    return Kept(
        names, leaf.not_valid_before_utc, leaf.not_valid_after_utc, leaf.public_bytes(Encoding.DER), bundle.to_pem(), key_pem(bundle.key)
    )


async def load_certificate(storage: Storage, issuer: str, name: str) -> Kept | None:
    """Return a certificate of the storage; None: there is none.

    Raises:
        StoreError: it cannot be read, or is damaged (`ERR_ACME_CERTIFICATE`).
    """
    key = certificate_key(issuer, name)
    if (data := await storage.load(key)) is None:
        return None
    try:
        return parse_certificate(data)
    except ConfigError as error:
        hint = "Remove it from the storage, and obtain it again."
        raise StoreError(f"{key} is damaged: {error.message}", code="ERR_ACME_CERTIFICATE", hint=hint) from None


async def store_certificate(storage: Storage, issuer: str, name: str, kept: Kept, *, lock: Lock | None = None) -> None:
    """Put a certificate into the storage: key and chain are one value, which cannot disagree.

    Raises:
        StoreError: it cannot be written.
    """
    await storage.store(certificate_key(issuer, name), kept.key + kept.chain, lock=lock)


async def write_certificate(plan: Plan, kept: Kept) -> None:
    """Write the files that a plan names, both or neither; their folder is made if it is missing.

    Raises:
        OSError: they cannot be written.
    """
    if plan.cert is None:
        return
    if plan.key is None or plan.key == plan.cert:
        files = [NewFile(plan.cert, kept.key + kept.chain, PRIVATE)]
    else:
        files = [NewFile(plan.cert, kept.chain, PUBLIC), NewFile(plan.key, kept.key, PRIVATE)]
    await asyncio.to_thread(_write, files)


def _write(files: list[NewFile]) -> None:
    for one in files:
        Path(one.path).parent.mkdir(parents=True, exist_ok=True)
    write_files(*files, overwrite=True)
