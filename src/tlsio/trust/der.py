"""Reads DER: just enough ASN.1 to take a certificate apart.

`cryptography` refuses a whole certificate for one extension it dislikes; OpenSSL, which has verified it, does not.
So names, dates and keys are read here, and whatever is malformed stays the trouble of the one field that holds it.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, OID = 0x01, 0x02, 0x03, 0x04, 0x06
UTF8_STRING, IA5_STRING, UTC_TIME, GENERALIZED_TIME = 0x0C, 0x16, 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31

_LONG_FORM, _TAG_CONTINUES, _CONSTRUCTED = 0x80, 0x1F, 0x20  # X.690 §8.1.3.5, §8.1.2.4 and §8.1.2.5
_END = b"\0\0"  # of an element of indefinite length
_OID_OCTETS = 255

# Bytes per character as in OpenSSL's ASN1_STRING_to_UTF8: it reads T61String as Latin-1, like everyone else.
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
    """These bytes are not the DER that was expected here."""


class Element(NamedTuple):
    """One tag-length-value.

    Attributes:
        tag: The identifier octet, class and constructed bit included.
        content: The value alone.
        encoded: The element as it stood in the input, header included.
    """

    tag: int
    content: bytes
    encoded: bytes

    def children(self) -> "Iterator[Element]":
        """Yield the elements that the content is made of."""
        start = 0
        while start < len(self.content):
            child = _read_at(self.content, start)
            yield child
            start += len(child.encoded)

    def expect(self, tag: int) -> "Element":
        """Return the element itself, if it has this tag."""
        if self.tag != tag:
            raise DerError(f"expected tag 0x{tag:02x}, found 0x{self.tag:02x}")
        return self

    def integer(self) -> int:
        """Read an INTEGER."""
        return int.from_bytes(self.expect(INTEGER).content, "big", signed=True)

    def boolean(self) -> bool:
        """Read a BOOLEAN; any value but zero is true, as in BER."""
        return any(self.expect(BOOLEAN).content)

    def bits(self) -> bytes:
        """Read a BIT STRING, without its leading count of unused bits."""
        if not self.expect(BIT_STRING).content:
            raise DerError("a BIT STRING without its count of unused bits")
        return self.content[1:]

    def oid(self) -> str:
        """Read an OBJECT IDENTIFIER in dotted decimal."""
        return read_oid(self.expect(OID).content)

    def text(self) -> str:
        """Read a character string of any of ASN.1's kinds."""
        if self.tag not in _ENCODINGS:
            raise DerError(f"tag 0x{self.tag:02x} is no character string")
        try:
            return self.content.decode(_ENCODINGS[self.tag])
        except UnicodeDecodeError as error:
            raise DerError("a character string with bytes that its type does not allow") from error

    def time(self) -> datetime:
        """Read a UTCTime or GeneralizedTime in the only form RFC 5280 §4.1.2.5 allows: in seconds and ending in Z."""
        digits = self.content[:-1].decode("latin-1")
        if self.tag == UTC_TIME and len(digits) == len("YYMMDDhhmmss"):
            # "Where YY is greater than or equal to 50, the year SHALL be interpreted as 19YY" (RFC 5280 §4.1.2.5.1)
            digits = ("19" if digits >= "5" else "20") + digits
        elif self.tag != GENERALIZED_TIME:
            raise DerError("neither UTCTime nor GeneralizedTime")
        if self.content[-1:] != b"Z" or len(digits) != len("YYYYMMDDhhmmss") or not digits.isdecimal():
            raise DerError("a time that is not written in full seconds of UTC")
        try:
            return datetime.strptime(f"{digits}+0000", "%Y%m%d%H%M%S%z").astimezone(UTC)
        except ValueError as error:
            raise DerError("a time that no calendar has") from error


def read(data: bytes, *, trailing: bool = False) -> Element:
    """Read the first element of `data`, which must be all of it unless `trailing`.

    What BER allows and DER does not, lengths that are longer than needed or indefinite, is read, since OpenSSL reads it; tags of
    several octets are not: no certificate has them.
    """
    element = _read_at(data, 0)
    if len(element.encoded) < len(data) and not trailing:
        raise DerError("followed by bytes that do not belong to it")
    return element


def make(tag: int, *contents: bytes) -> bytes:
    """Return one element: tag, length, and the contents one after the other."""
    content = b"".join(contents)
    size = len(content)
    if size < _LONG_FORM:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, _LONG_FORM | len(octets)]) + octets + content


def make_integer(value: int) -> bytes:
    """Return an INTEGER, in as few octets as it needs."""
    bits = value.bit_length() if value >= 0 else (value + 1).bit_length()
    return make(INTEGER, value.to_bytes(bits // 8 + 1, "big", signed=True))


def read_oid(content: bytes) -> str:
    """Turn the content of an OBJECT IDENTIFIER into dotted decimal."""
    # Far above the 30 or so octets of real ones, and below what makes an arc too long to print.
    if not 0 < len(content) <= _OID_OCTETS or content[-1] & 0x80:
        raise DerError("an object identifier that is cut off or too long")
    arcs, arc = list[int](), 0
    for octet in content:
        arc = arc << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    # "The numerical value of the first subidentifier is derived from ... (X*40) + Y", X at most 2 (X.690 §8.19.4)
    root = min(arcs[0] // 40, 2)
    return ".".join(map(str, (root, arcs[0] - 40 * root, *arcs[1:])))


def _read_at(data: bytes, start: int) -> Element:
    tag, content, length = _read_header(data, start)
    if length is None:
        end = _find_end(data, content)
        return Element(tag, data[content : end - len(_END)], data[start:end])
    end = content + length
    if end > len(data):
        raise DerError("cut off")
    return Element(tag, data[content:end], data[start:end])


def _read_header(data: bytes, start: int) -> tuple[int, int, int | None]:
    """Return the tag, where the content begins, and how long it is; None: as long as it takes."""
    content = start + 2
    if content > len(data):
        raise DerError("cut off in a header")
    tag, length = data[start], data[start + 1]
    if tag & _TAG_CONTINUES == _TAG_CONTINUES:
        raise DerError("a tag of several octets, which no certificate has")
    if length < _LONG_FORM:
        return tag, content, length
    if length == _LONG_FORM and tag & _CONSTRUCTED:
        return tag, content, None
    end = content + length - _LONG_FORM
    if not content < end <= len(data):
        raise DerError("cut off in a length, or without one")
    return tag, end, int.from_bytes(data[content:end])


def _find_end(data: bytes, at: int) -> int:
    """Return where an element of indefinite length ends, its two zero octets included (X.690 §8.1.5)."""
    depth = 1
    while depth:
        if data[at : at + len(_END)] == _END:
            depth, at = depth - 1, at + len(_END)
            continue
        _, at, length = _read_header(data, at)
        depth, at = (depth + 1, at) if length is None else (depth, at + length)
    return at
