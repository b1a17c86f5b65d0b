"""Reads and writes DER by hand, for certificates and sessions that no library would make."""

from __future__ import annotations

from cryptography import x509


def tlv(tag: int, *contents: bytes) -> bytes:
    """Return one element: tag, length, and the contents behind each other."""
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def elements(sequence: bytes) -> list[tuple[int, bytes]]:
    """Return tag and content of each element within one; tags of a single byte."""
    found = []
    rest, _ = split(sequence)
    while rest:
        tag = rest[0]
        content, rest = split(rest)
        found.append((tag, content))
    return found


def split(data: bytes) -> tuple[bytes, bytes]:
    """Return the content of the first element, and what comes behind that."""
    at, size = 2, data[1]
    if size >= 0x80:
        at += size & 0x7F
        size = int.from_bytes(data[2:at])
    return data[at : at + size], data[at + size :]


def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER."""
    first, second, *rest = map(int, dotted.split("."))
    return tlv(0x06, *map(_base128, (first * 40 + second, *rest)))


def extension(dotted: str, content: bytes) -> x509.UnrecognizedExtension:
    """Return an extension whose content nobody checks."""
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(dotted), content)


def _base128(arc: int) -> bytes:
    octets = [arc & 0x7F]
    while arc := arc >> 7:
        octets.append(arc & 0x7F | 0x80)
    return bytes(reversed(octets))
