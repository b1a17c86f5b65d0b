"""Reads DER: just enough ASN.1 to parse a certificate.

`cryptography` rejects a whole certificate for one malformed extension, while OpenSSL may have
verified it. So names, dates and keys are read here, and a malformed field affects that field only.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, OID = 0x01, 0x02, 0x03, 0x04, 0x06
UTF8_STRING, IA5_STRING, UTC_TIME, GENERALIZED_TIME = 0x0C, 0x16, 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31

_LONG_FORM, _TAG_CONTINUES, _CONSTRUCTED = 0x80, 0x1F, 0x20  # X.690 §8.1.3.5, §8.1.2.4 and §8.1.2.5
_END = b"\0\0"  # ends an element of indefinite length
_MAX_OID_OCTETS = 255

# As in OpenSSL's ASN1_STRING_to_UTF8. It reads T61String as Latin-1, like other implementations.
_ENCODINGS = {
    UTF8_STRING: "utf-8",
    0x12: "latin-1",  # NumericString
    0x13: "latin-1",  # PrintableString
    0x14: "latin-1",  # TeletexString, T61String
    IA5_STRING: "latin-1",
    0x1A: "latin-1",  # VisibleString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}


class DerError(ValueError):
    """The bytes are not the DER that was expected."""


class Element(NamedTuple):
    """One tag-length-value.

    Attributes:
        tag: The identifier octet, class and constructed bit included.
        content: The value alone.
        encoded: The unchanged bytes of the input, header included.
    """

    tag: int
    content: bytes
    encoded: bytes

    def children(self) -> "Iterator[Element]":
        """Yield the elements in the content."""
        start = 0
        while start < len(self.content):
            child = _read_at(self.content, start)
            yield child
            start += len(child.encoded)

    def expect(self, tag: int) -> "Element":
        """Return the element itself, or raise if it has another tag."""
        if self.tag != tag:
            raise DerError(f"expected tag 0x{tag:02x}, found 0x{self.tag:02x}")
        return self

    def integer(self) -> int:
        """Read an INTEGER."""
        return int.from_bytes(self.expect(INTEGER).content, "big", signed=True)

    def boolean(self) -> bool:
        """Read a BOOLEAN; every value except zero is true, as in BER."""
        return any(self.expect(BOOLEAN).content)

    def bits(self) -> bytes:
        """Read a BIT STRING, without its leading count of unused bits."""
        if not self.expect(BIT_STRING).content:
            raise DerError("a BIT STRING lacks its count of unused bits")
        return self.content[1:]

    def oid(self) -> str:
        """Read an OBJECT IDENTIFIER in dotted decimal."""
        return read_oid(self.expect(OID).content)

    def text(self) -> str:
        """Read a character string of any ASN.1 type."""
        if self.tag not in _ENCODINGS:
            raise DerError(f"tag 0x{self.tag:02x} is not a character string")
        try:
            return self.content.decode(_ENCODINGS[self.tag])
        except UnicodeDecodeError as error:
            raise DerError("a character string has bytes that its type does not allow") from error

    def time(self) -> datetime:
        """Read a UTCTime or GeneralizedTime: whole seconds, ending in Z (RFC 5280 §4.1.2.5)."""
        digits = self.content[:-1].decode("latin-1")
        if self.tag == UTC_TIME and len(digits) == len("YYMMDDhhmmss"):
            # "Where YY is greater than or equal to 50, the year SHALL be interpreted as 19YY" (RFC
            # 5280 §4.1.2.5.1)
            digits = ("19" if digits >= "5" else "20") + digits
        elif self.tag != GENERALIZED_TIME:
            raise DerError("a time is neither UTCTime nor GeneralizedTime")
        if self.content[-1:] != b"Z" or len(digits) != len("YYYYMMDDhhmmss") or not digits.isdecimal():
            raise DerError("a time is not in whole seconds of UTC")
        try:
            return datetime.strptime(f"{digits}+0000", "%Y%m%d%H%M%S%z").astimezone(UTC)
        except ValueError as error:
            raise DerError("a time has a day or an hour that does not exist") from error


def read(data: bytes, *, trailing: bool = False) -> Element:
    """Read the first element of `data`, which must be all of it unless `trailing`.

    Overlong and indefinite lengths, which BER allows and DER does not, are accepted because OpenSSL
    accepts them. Tags of several octets are rejected: no certificate has them.
    """
    element = _read_at(data, 0)
    if len(element.encoded) < len(data) and not trailing:
        raise DerError("an element is followed by extra bytes")
    return element


def make(tag: int, *contents: bytes) -> bytes:
    """Return one element: tag, length, and the concatenated contents."""
    content = b"".join(contents)
    size = len(content)
    if size < _LONG_FORM:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, _LONG_FORM | len(octets)]) + octets + content


def make_integer(value: int) -> bytes:
    """Return an INTEGER in as few octets as possible."""
    bits = value.bit_length() if value >= 0 else (value + 1).bit_length()
    return make(INTEGER, value.to_bytes(bits // 8 + 1, "big", signed=True))


def read_oid(content: bytes) -> str:
    """Convert the content of an OBJECT IDENTIFIER to dotted decimal."""
    # The limit is far above the 30 or so octets of real ones, and low enough that every arc can be
    # printed.
    if not 0 < len(content) <= _MAX_OID_OCTETS or content[-1] & 0x80:
        raise DerError("an object identifier is truncated or too long")
    arcs, arc = list[int](), 0
    for octet in content:
        arc = arc << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    # "The numerical value of the first subidentifier is derived from ... (X*40) + Y", X at most 2
    # (X.690 §8.19.4)
    root = min(arcs[0] // 40, 2)
    return ".".join(map(str, (root, arcs[0] - 40 * root, *arcs[1:])))


def _read_at(data: bytes, start: int) -> Element:
    tag, content, length = _read_header(data, start)
    if length is None:
        end = _find_end(data, content)
        return Element(tag, data[content : end - len(_END)], data[start:end])
    end = content + length
    if end > len(data):
        raise DerError("an element is truncated")
    return Element(tag, data[content:end], data[start:end])


def _read_header(data: bytes, start: int) -> tuple[int, int, int | None]:
    """Return the tag, the start of the content, and its length (None if indefinite)."""
    content = start + 2
    if content > len(data):
        raise DerError("a header is truncated")
    tag, length = data[start], data[start + 1]
    if tag & _TAG_CONTINUES == _TAG_CONTINUES:
        raise DerError("a tag has several octets, which certificates do not use")
    if length < _LONG_FORM:
        return tag, content, length
    if length == _LONG_FORM and tag & _CONSTRUCTED:
        return tag, content, None
    end = content + length - _LONG_FORM
    if not content < end <= len(data):
        raise DerError("a length is truncated or invalid")
    return tag, end, int.from_bytes(data[content:end])


def _find_end(data: bytes, at: int) -> int:
    """Return the end of an element of indefinite length, after its zero octets (X.690 §8.1.5)."""
    depth = 1
    while depth:
        if data[at : at + len(_END)] == _END:
            depth, at = depth - 1, at + len(_END)
            continue
        _, at, length = _read_header(data, at)
        depth, at = (depth + 1, at) if length is None else (depth, at + length)
    return at
