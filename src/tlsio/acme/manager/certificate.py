"""A certificate with its key, as the storage has it: one PEM text that can never disagree."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tlsio.acme.client.chain import CLOCK_TOLERANCE
from tlsio.connection.context.secure_context import SecureContext
from tlsio.model.errors import ConfigError, TLSError
from tlsio.model.options.parse import parse_context_options
from tlsio.trust.certificate import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from typing import Any

    from tlsio.acme.issuers.issuer import Issued
    from tlsio.trust.certificate import PeerCertificate

__all__ = ["Certificate"]

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END \1-----\r?\n?")
_KINDS = {"DNS", "IP Address"}
_MAX_CHAIN = 10  # certificates; real chains have two to four


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """What one name, or one group of names, is served with.

    Ten thousand of them must fit into memory, so the certificates above the leaf, which are the
    same for all of an issuer, are kept once.

    Attributes:
        issuer: `Issuer.name` of what issued it.
        leaf: The certificate, DER.
        above: Those above it, PEM; interned.
        key: Its private key, PEM.
        names: Names and addresses that it is for, in lower case.
        not_before: Start of its life, aware UTC.
        not_after: End of its life.
    """

    issuer: str
    leaf: bytes = field(repr=False)
    above: str = field(repr=False)
    key: bytes = field(repr=False)
    names: frozenset[str]
    not_before: datetime
    not_after: datetime

    @classmethod
    def read(cls, value: bytes, issuer: str) -> Certificate:
        """Read what `pem` has written, or a program that has the same layout.

        Args:
            value: The private key, and the chain with the leaf first, in PEM.
            issuer: Its `Issuer.name`.

        Raises:
            ConfigError: it is something else (`ERR_ACME_INVALID_CERTIFICATE`).
        """
        keys: list[re.Match[bytes]] = []
        chain: list[re.Match[bytes]] = []
        for block in _BLOCK.finditer(value):
            (chain if block[1] == b"CERTIFICATE" else keys).append(block)
        if len(keys) != 1 or not keys[0][1].endswith(b"PRIVATE KEY") or not 0 < len(chain) <= _MAX_CHAIN:
            raise _unreadable(issuer, "it is not one private key and a chain of certificates in PEM")
        try:
            leaf, *others = (base64.b64decode(block[2]) for block in chain)
            found = parse(leaf)
            for one in others:  # whose damage would be met later, by each look at the revocation list
                parse(one)
        except (binascii.Error, TLSError):
            raise _unreadable(issuer, "one of its certificates is damaged") from None
        if found.not_before is None or found.not_after is None:
            raise _unreadable(issuer, "its life cannot be read")
        above = sys.intern("".join(block[0].decode("ascii") for block in chain[1:]))
        return cls(issuer, leaf, above, keys[0][0], _names_of(found), found.not_before, found.not_after)

    @classmethod
    def of(cls, issued: Issued, issuer: str) -> Certificate:
        """Read what an issuer has issued. Raises as `read`."""
        return cls.read(issued.key.rstrip() + b"\n" + issued.chain, issuer)

    @property
    def chain_pem(self) -> bytes:
        """The chain, leaf first."""
        body = base64.encodebytes(self.leaf).replace(b"\n", b"")
        lines = b"\n".join(body[at : at + 64] for at in range(0, len(body), 64))
        return b"-----BEGIN CERTIFICATE-----\n" + lines + b"\n-----END CERTIFICATE-----\n" + self.above.encode("ascii")

    @property
    def pem(self) -> bytes:
        """The value in storage."""
        return self.key.rstrip() + b"\n" + self.chain_pem

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the leaf, in hexadecimal."""
        return hashlib.sha256(self.leaf).hexdigest()

    @property
    def issuer_certificate(self) -> bytes | None:
        """The certificate above the leaf in DER, if the chain has one."""
        block = _BLOCK.match(self.above.encode("ascii"))
        return None if block is None else base64.b64decode(block[2])

    @property
    def valid_from(self) -> datetime:
        """From when on it is used: five minutes before its notBefore, because clocks differ."""
        return self.not_before - CLOCK_TOLERANCE

    def is_valid(self, now: datetime) -> bool:
        """Tell whether clients accept it by its dates."""
        return self.valid_from <= now < self.not_after

    def covers(self, names: Iterable[str]) -> bool:
        """Tell whether it is for all of these names."""
        return self.names.issuperset(names)

    def make_context(self, options: Mapping[str, Any]) -> SecureContext:
        """Make the context that presents it.

        Raises:
            ConfigError: the key does not belong to the certificate, or OpenSSL cannot use them.
        """
        return SecureContext(parse_context_options({**options, "cert": self.chain_pem, "key": self.key}))


def _names_of(certificate: PeerCertificate) -> frozenset[str]:
    return frozenset(str(name.ip) if name.ip else name.text.lower() for name in certificate.general_names if name.kind in _KINDS)


def _unreadable(issuer: str, reason: str) -> ConfigError:
    return ConfigError(
        f"A certificate of the issuer {issuer!r} cannot be used: {reason}",
        code="ERR_ACME_INVALID_CERTIFICATE",
        hint="If it came from the storage, the file was changed or is damaged: delete it, and a new certificate is obtained.",
    )
