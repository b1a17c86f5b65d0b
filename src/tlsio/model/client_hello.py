"""Parses a ClientHello, and computes its JA4 fingerprint.

Pure. The format is that of RFC 8446 §4.1.2. Numbers are those of IANA's registries, in the order of
the message, including GREASE values (RFC 8701).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ClientHello", "parse_client_hello"]

_SERVER_NAME, _GROUPS, _SIGNATURES, _ALPN, _VERSIONS = 0, 10, 13, 16, 43

_VERSION_NAMES = {0x0300: "SSLv3", 0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}

# JA4 (FoxIO, technical_details/JA4.md): its names of versions, and its hash of an empty list.
_JA4_VERSIONS = {0x0002: "s2", 0x0300: "s3", 0x0301: "10", 0x0302: "11", 0x0303: "12", 0x0304: "13"}
_JA4_NOTHING = "0" * 12
_JA4_MAX_COUNT = 99  # two digits


@dataclass(frozen=True)
class ClientHello:
    """The contents of a ClientHello.

    Attributes:
        legacy_version: The version field of the message, which is 0x0303 in TLS 1.3.
        version_numbers: The versions that the client supports, in order of preference.
        cipher_suites: Numbers, in the order of the message.
        groups: Numbers, in the order of the message.
        signature_algorithms: Numbers, in the order of the message.
        extensions: Numbers, in the order of the message.
        alpn_protocols: Names, in order of preference.
        server_name: The unchanged name, None without SNI.
    """

    legacy_version: int
    version_numbers: tuple[int, ...]
    cipher_suites: tuple[int, ...]
    groups: tuple[int, ...]
    signature_algorithms: tuple[int, ...]
    extensions: tuple[int, ...]
    alpn_protocols: tuple[bytes, ...]
    server_name: str | None

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that have a name, such as "TLSv1.3", in order of preference."""
        return tuple(_VERSION_NAMES[number] for number in self.version_numbers if number in _VERSION_NAMES)

    @cached_property
    def ja4(self) -> str:
        """The JA4 fingerprint, such as "t13d1516h2_8daaf6152771_e5627efa2ab1".

        It is equal for clients with the same implementation and settings.
        """
        suites = sorted(_without_grease(self.cipher_suites))
        extensions = _without_grease(self.extensions)
        return f"{self._ja4_start(len(suites), len(extensions))}_{_hash(_hex(suites))}_{self._ja4_end(extensions)}"

    def _ja4_start(self, suites: int, extensions: int) -> str:
        version = _JA4_VERSIONS.get(max(_without_grease(self.version_numbers), default=0), "00")
        name = "d" if _SERVER_NAME in self.extensions else "i"
        counts = f"{min(suites, _JA4_MAX_COUNT):02}{min(extensions, _JA4_MAX_COUNT):02}"
        return f"t{version}{name}{counts}{_ja4_protocol(self.alpn_protocols)}"

    def _ja4_end(self, extensions: list[int]) -> str:
        listed = _hex(sorted(set(extensions) - {_SERVER_NAME, _ALPN}))
        signatures = _hex(_without_grease(self.signature_algorithms))
        if not extensions:
            return _JA4_NOTHING
        return _hash(f"{listed}_{signatures}" if signatures else listed)


def _ja4_protocol(protocols: tuple[bytes, ...]) -> str:
    """Return the first and last character of the first protocol.

    If one of them is not a letter or digit, those of its hexadecimal form.
    """
    first = next(iter(protocols), b"")
    if not first:
        return "00"
    ends = bytes((first[0], first[-1]))
    if ends.isalnum():
        return ends.decode("ascii")
    return f"{first[0] >> 4:x}{first[-1] & 15:x}"


def _without_grease(numbers: Iterable[int]) -> list[int]:
    """Remove GREASE values: 0x0A0A, 0x1A1A ... 0xFAFA (RFC 8701 §2)."""
    return [number for number in numbers if number & 0x0F0F != 0x0A0A or number >> 8 != number & 0xFF]  # noqa: PLR2004


def _hex(numbers: Iterable[int]) -> str:
    return ",".join(f"{number:04x}" for number in numbers)


def _hash(text: str) -> str:
    return sha256(text.encode("ascii")).hexdigest()[:12] if text else _JA4_NOTHING


def parse_client_hello(message: bytes) -> ClientHello:
    """Parse a ClientHello: handshake header and body.

    OpenSSL validates the message; here it only has to be complete. A malformed extension counts as
    empty.

    Raises:
        ValueError: the message is truncated.
    """
    body = _Reader(message)
    body.take(4)  # type and length
    legacy_version = body.number(2)
    body.take(32)  # random
    body.block(1)  # session id
    suites = body.block(2).numbers()
    body.block(1)  # compression
    extensions: dict[int, _Reader] = {}
    order = []
    block = body.block(2) if body.left else _Reader(b"")
    while block.left:
        number = block.number(2)
        order.append(number)
        extensions.setdefault(number, block.block(2))
    versions = _list_of(extensions, _VERSIONS, 1)
    return ClientHello(
        legacy_version=legacy_version,
        version_numbers=versions or (legacy_version,),
        cipher_suites=suites,
        groups=_list_of(extensions, _GROUPS, 2),
        signature_algorithms=_list_of(extensions, _SIGNATURES, 2),
        extensions=tuple(order),
        alpn_protocols=_protocols(extensions.get(_ALPN)),
        server_name=_server_name(extensions.get(_SERVER_NAME)),
    )


class _Reader:
    """Reads bytes from the front."""

    def __init__(self, data: bytes) -> None:
        self.left = data

    def take(self, size: int) -> bytes:
        if len(self.left) < size:
            raise ValueError("the ClientHello is truncated")
        taken, self.left = self.left[:size], self.left[size:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def block(self, size: int) -> _Reader:
        """Read a vector that begins with a length of `size` bytes."""
        return _Reader(self.take(self.number(size)))

    def numbers(self) -> tuple[int, ...]:
        return tuple(int.from_bytes(self.left[at : at + 2], "big") for at in range(0, len(self.left) - 1, 2))


def _list_of(extensions: dict[int, _Reader], number: int, size: int) -> tuple[int, ...]:
    try:
        return extensions[number].block(size).numbers()
    except (KeyError, ValueError):
        return ()


def _protocols(extension: _Reader | None) -> tuple[bytes, ...]:
    found = []
    try:
        block = extension.block(2) if extension is not None else _Reader(b"")
        while block.left:
            found.append(block.block(1).left)
    except ValueError:
        return ()
    return tuple(found)


def _server_name(extension: _Reader | None) -> str | None:
    """Read the list of names, which has one entry of type 0, host_name (RFC 6066 §3)."""
    try:
        entry = extension.block(2) if extension is not None else _Reader(b"")
        return entry.block(2).left.decode("ascii") if entry.left and entry.number(1) == 0 else None
    except ValueError:
        return None
