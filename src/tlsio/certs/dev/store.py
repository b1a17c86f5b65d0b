"""A store of trusted certificates, described by the commands that change it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Command", "Root", "Store", "StoreKind"]

StoreKind: TypeAlias = Literal["system", "nss", "java"]


class Command(NamedTuple):
    """A command line, without `sudo`.

    Attributes:
        needs_root: Whether it changes files of the system.
    """

    words: tuple[str, ...]
    needs_root: bool = False


@dataclass(frozen=True, slots=True)
class Store:
    """A store, what adds a root to it, and what removes it.

    Attributes:
        kind: `"system"`, `"nss"` (Firefox, and Chromium on Linux) or `"java"`.
        place: The store, for people.
        add: Run in this order to add the root.
        remove: Run in this order to remove it.
        check: Ends with status 0 if the root is there; or the file that then has its content.
        problem: Why the store cannot be changed, and what to do; None if it can.
    """

    kind: StoreKind
    place: str
    add: tuple[Command, ...]
    remove: tuple[Command, ...]
    check: tuple[str, ...] | Path
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Root:
    """The root to be trusted.

    Attributes:
        path: Its file, in PEM.
        pem: The content of that file.
        name: Unique for each root, so that no other root is ever removed.
        sha1: The fingerprint by which macOS and Windows name a certificate, upper case.
    """

    path: Path
    pem: bytes
    name: str
    sha1: str

    @classmethod
    def read(cls, path: Path) -> Root:
        """Read a root from its file.

        Raises:
            OSError: the file cannot be read.
            ConfigError: it is not a certificate in PEM.
        """
        pem = path.read_bytes()
        try:
            der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        except ValueError:
            hint = "It was damaged, or replaced by something else: restore it, or make another authority."
            raise ConfigError(f"{path} is not a certificate in PEM", code="ERR_CRYPTO_OPERATION_FAILED", hint=hint) from None
        return cls(
            path, pem, f"tlsio-dev-{hashlib.sha256(der).hexdigest()[:16]}", hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()
        )
