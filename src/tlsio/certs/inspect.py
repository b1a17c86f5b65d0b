"""Describes what is in a file: certificates, requests, CRLs, keys, PKCS#12, sessions and others.

The result is plain data, with what is wrong and what will be. It contains no secrets: of a private
key only what its public key says, of a session neither its id nor its keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from tlsio.certs.certificate_facts import describe_certificate, describe_request
from tlsio.certs.contents import Block, read_blocks
from tlsio.certs.dh_facts import describe_dh_parameters
from tlsio.certs.instant import check_instant
from tlsio.certs.item import Finding, Item
from tlsio.certs.pkcs7 import read_pkcs7
from tlsio.certs.pkcs12 import open_pkcs12, read_protection
from tlsio.certs.private_key import load_private_key, spki_of
from tlsio.certs.public_key import describe_spki
from tlsio.certs.session_facts import describe_session
from tlsio.certs.status_facts import describe_crl, describe_ocsp_response
from tlsio.model.checks import check_choice, check_text_or_bytes
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sized
    from datetime import datetime

    from tlsio.certs.contents import Source
    from tlsio.certs.item import Value
    from tlsio.certs.pkcs12 import Protection
    from tlsio.model.checks import BytesLike

__all__ = ["Finding", "Item", "Usage", "inspect"]

Usage: TypeAlias = Literal["server", "client"]


def inspect(
    source: Source, *, passphrase: str | BytesLike | None = None, usage: Usage | None = None, at: datetime | None = None
) -> tuple[Item, ...]:
    """Describe everything in a file.

    Args:
        source: A file (as `pathlib.Path`), PEM or DER in memory, the result of
            `socket.get_session()`, or an object of `cryptography`.
        passphrase: Decrypts keys and PKCS#12. Without it, what is readable is described.
        usage: What the certificates are wanted for; None: whatever their extendedKeyUsage allows.
        at: The instant for which validity is judged, aware; None: now.

    Raises:
        ConfigError: it is damaged or unknown, or the passphrase is wrong.
        OSError: the file cannot be read.
        UsageError: an argument of the wrong type.
    """
    if usage is not None:
        check_choice("usage", usage, ("server", "client"))
    secret = None if passphrase is None else check_text_or_bytes("passphrase", passphrase)
    inspector = _Inspector(secret, usage, check_instant("at", at))
    return tuple(inspector.describe(block) for block in read_blocks(source))


class _Inspector:
    """Describes blocks with the same arguments."""

    def __init__(self, passphrase: bytes | None, usage: Usage | None, now: datetime) -> None:
        self._passphrase = passphrase
        self._usage: Usage | None = usage
        self._now = now

    def describe(self, block: Block) -> Item:
        """Describe one block."""
        describe: dict[str, Callable[[Block], Item]] = {
            "certificate": lambda block: self._certificate(block.data, block.source),
            "request": lambda block: describe_request(block.data, block.source),
            "crl": lambda block: describe_crl(block.data, block.source, self._now),
            "OCSP response": lambda block: describe_ocsp_response(block.data, block.source, self._now),
            "session": lambda block: describe_session(block.data, block.source, self._now),
            "public key": _public_key,
            "Diffie-Hellman parameters": lambda block: describe_dh_parameters(block.data, block.source),
            "private key": self._private_key,
            "encrypted private key": self._private_key,
            "PKCS#7": self._pkcs7,
            "PKCS#12": self._pkcs12,
        }
        return describe[block.kind](block)

    def _certificate(self, data: bytes, source: str) -> Item:
        return describe_certificate(data, source, usage=self._usage, now=self._now)

    def _private_key(self, block: Block) -> Item:
        encrypted = block.kind == "encrypted private key"
        if encrypted and self._passphrase is None:
            return Item(kind="private key", title="encrypted", facts={"encrypted": True}, findings=(_LOCKED,))
        facts = describe_spki(spki_of(load_private_key(block, self._passphrase)))
        return Item(kind="private key", title=str(facts), facts={"encrypted": encrypted, "public_key": facts.as_json()})

    def _pkcs7(self, block: Block) -> Item:
        items = tuple(self._certificate(data, block.source) for data in read_pkcs7(block.data, block.source))
        return Item(kind="PKCS#7", title=_count(items), facts={"certificates": len(items)}, items=items)

    def _pkcs12(self, block: Block) -> Item:
        protection = read_protection(block.data)
        facts: dict[str, Value] = {"ciphers": protection.ciphers, "has_mac": protection.has_mac}
        findings = _find_protection(protection)
        try:
            key, certificates = open_pkcs12(block, self._passphrase)
        except ConfigError as error:
            if self._passphrase is not None or error.code in {"ERR_TLS_UNREADABLE_FILE", "ERR_TLS_TOO_MANY_ITERATIONS"}:
                raise
            return Item(kind="PKCS#12", title="encrypted", facts=facts, findings=(*findings, _LOCKED))
        keys = () if key is None else (self._private_key(Block("private key", key, block.source, block.work)),)
        items = (*keys, *(self._certificate(data, block.source) for data in certificates))
        title = f"{'a private key' if keys else 'no private key'}, {_count(certificates)}"
        return Item(kind="PKCS#12", title=title, facts=facts, findings=findings, items=items)


_LOCKED = Finding(code="encrypted", level="note", text="The content is encrypted", remedy="Give passphrase= to have it described.")


def _count(certificates: Sized) -> str:
    return f"{len(certificates)} certificate{'' if len(certificates) == 1 else 's'}"


def _find_protection(protection: Protection) -> tuple[Finding, ...]:
    found = []
    if protection.outdated:
        found.append(
            Finding(
                code="outdated_encryption",
                level="warning",
                text=f"It is encrypted with {' and '.join(protection.outdated)}, which is outdated, and which OpenSSL 3 may refuse to read",
                remedy="Write it again: tlsio.certs.read(...).to_pfx(...) encrypts with AES-256.",
            )
        )
    if not protection.ciphers:
        found.append(
            Finding(
                code="not_encrypted",
                level="warning",
                text="Nothing in it is encrypted",
                remedy="Protect the file by its permissions, or write it again with a passphrase.",
            )
        )
    if not protection.has_mac:
        found.append(
            Finding(
                code="no_mac",
                level="warning",
                text="It has no MAC, so nothing shows whether it was changed, and some programs refuse it",
                remedy="Write it again: tlsio.certs.read(...).to_pfx(...) adds one.",
            )
        )
    return tuple(found)


def _public_key(block: Block) -> Item:
    facts = describe_spki(block.data)
    return Item(kind="public key", title=str(facts), facts={"public_key": facts.as_json()})
