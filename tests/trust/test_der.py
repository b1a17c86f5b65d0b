"""Reading DER: what is well-formed, and everything else."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asn1 import oid, tlv
from tlsio.trust import der


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65536])
def test_lengths_of_every_form_are_read(size: int) -> None:
    """Short lengths and long ones."""
    element = der.read(tlv(0x04, bytes(size)))
    assert (element.tag, len(element.content)) == (der.OCTET_STRING, size)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x04", b"\x04\x01", b"\x04\x80\x00\x00", b"\x04\x82\x01", b"\x04\x81\x01", b"\x1f\x81\x00", b"\x04\x00\x00"],
    ids=["empty", "no length", "no content", "indefinite", "length cut off", "content cut off", "long tag", "trailing"],
)
def test_malformed_frames_are_refused(data: bytes) -> None:
    """Nothing is read beyond the end, nothing is left over."""
    with pytest.raises(der.DerError):
        der.read(data)


def test_trailing_bytes_are_for_those_who_ask() -> None:
    """The element alone comes back."""
    assert der.read(b"\x04\x01a\x05", trailing=True).encoded == b"\x04\x01a"


def test_children_are_yielded_in_order() -> None:
    """A SEQUENCE is what it holds."""
    children = der.read(tlv(0x30, tlv(0x02, b"\x05"), tlv(0x01, b"\xff"), tlv(0x02, b"\xff"))).children()
    five, true, minus_one = children
    assert (five.integer(), true.boolean(), minus_one.integer()) == (5, True, -1)


def test_wrong_tag_is_refused() -> None:
    """Every reader checks what it reads."""
    element = der.read(tlv(0x04, b"\x00"))
    for reader in (element.integer, element.boolean, element.bits, element.oid, element.text, element.time):
        with pytest.raises(der.DerError):
            reader()


def test_bit_string_without_its_count_is_refused() -> None:
    """The first octet counts the unused bits; there is no empty BIT STRING."""
    assert der.read(b"\x03\x02\x00a").bits() == b"a"
    with pytest.raises(der.DerError):
        der.read(b"\x03\x00").bits()


@pytest.mark.parametrize("dotted", ["0.9.2342", "1.2.840.113549", "2.5.29.17", "2.999.1", "2.25.329800735698586629295641978511506172918"])
def test_object_identifiers_are_read(dotted: str) -> None:
    """Arcs of any size, the first two in one."""
    assert der.read(oid(dotted)).oid() == dotted


@pytest.mark.parametrize("content", [b"", b"\x2a\x86", b"\x2a" + b"\xff" * 254 + b"\x00"])
def test_malformed_object_identifiers_are_refused(content: bytes) -> None:
    """Cut off, or longer than any number one would want to print."""
    with pytest.raises(der.DerError):
        der.read_oid(content)


@pytest.mark.parametrize(
    ("tag", "content"),
    [
        (0x0C, "é".encode()),
        (0x12, b"\xe9"),
        (0x13, b"\xe9"),
        (0x14, b"\xe9"),
        (0x16, b"\xe9"),
        (0x1A, b"\xe9"),
        (0x1C, b"\0\0\0\xe9"),
        (0x1E, b"\0\xe9"),
    ],
)
def test_every_kind_of_string_is_read(tag: int, content: bytes) -> None:
    """As OpenSSL reads them: one octet is Latin-1, whatever the type allows."""
    assert der.read(tlv(tag, content)).text() == "é"


@pytest.mark.parametrize(("tag", "content"), [(0x0C, b"\xff"), (0x1E, b"\0"), (0x1C, b"\0\0\0"), (0x1C, b"\xff\0\0\0")])
def test_malformed_strings_are_refused(tag: int, content: bytes) -> None:
    """Bytes that stand for no character."""
    with pytest.raises(der.DerError):
        der.read(tlv(tag, content)).text()


@pytest.mark.parametrize(
    ("tag", "content", "year"),
    [(0x17, b"491231235959Z", 2049), (0x17, b"501231235959Z", 1950), (0x18, b"20501231235959Z", 2050)],
)
def test_times_are_read(tag: int, content: bytes, year: int) -> None:
    """The century of a UTCTime turns at 50."""
    assert der.read(tlv(tag, content)).time() == datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("tag", "content"),
    [
        (0x17, b""),
        (0x17, b"4912312359Z"),
        (0x17, b"491231235959"),
        (0x17, b"20491231235959Z"),
        (0x17, b"49123123595\xb2Z"),
        (0x18, b"20491331235959Z"),
        (0x18, b"00001231235959Z"),
        (0x18, b"20491231235960Z"),
        (0x18, b"20491231235959.5Z"),
        (0x18, b"20491231235959+0100"),
    ],
)
def test_malformed_times_are_refused(tag: int, content: bytes) -> None:
    """Seconds are written, fractions and zones are not (RFC 5280 §4.1.2.5)."""
    with pytest.raises(der.DerError):
        der.read(tlv(tag, content)).time()


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """There is one way to fail."""
    with contextlib.suppress(der.DerError):
        element = der.read(data)
        for reader in (element.integer, element.boolean, element.bits, element.oid, element.text, element.time):
            with contextlib.suppress(der.DerError):
                reader()
        list(element.children())
