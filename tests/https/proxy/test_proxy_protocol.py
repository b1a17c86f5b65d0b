"""The PROXY protocol: headers that are read, to the byte, and headers that are written."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest

from seeds import new_seed
from tlsio.https.proxy.protocol import Facts, Header, MalformedHeaderError, count_wanted, parse_header, write_header

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
NOTHING = Header(None, None)
# From the specification, §2.1, and of each kind.
V1: dict[bytes, Header] = {
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n": Header(("192.168.0.1", 56324), ("192.168.0.11", 443)),
    b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n": Header(("255.255.255.255", 65535), ("255.255.255.255", 65535)),
    b"PROXY TCP6 2001:db8::1 ::1 56324 443\r\n": Header(("2001:db8::1", 56324, 0, 0), ("::1", 443, 0, 0)),
    b"PROXY UNKNOWN\r\n": NOTHING,
    b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n": NOTHING,
}


def v2(family: int, body: bytes, *, command: int = 0x21) -> bytes:
    """Return a header of version 2."""
    return SIGNATURE + bytes((command, family)) + struct.pack("!H", len(body)) + body


IPV4 = bytes([192, 0, 2, 1, 192, 0, 2, 2]) + struct.pack("!HH", 1000, 443)
IPV6 = bytes.fromhex("20010db8000000000000000000000001" + "00000000000000000000000000000001") + struct.pack("!HH", 1000, 443)
V2: dict[bytes, Header] = {
    v2(0x11, IPV4): Header(("192.0.2.1", 1000), ("192.0.2.2", 443)),
    v2(0x11, IPV4 + b"\x04\x00\x03abc"): Header(("192.0.2.1", 1000), ("192.0.2.2", 443)),  # with a TLV
    v2(0x21, IPV6): Header(("2001:db8::1", 1000, 0, 0), ("::1", 443, 0, 0)),
    v2(0x00, b""): NOTHING,
    v2(0x00, b"", command=0x20): NOTHING,
    v2(0x11, IPV4, command=0x20): NOTHING,  # LOCAL: the addresses are to be ignored
}
GOOD = {**V1, **V2}


def read(stream: bytes, cut: Any = None) -> tuple[Header, bytes]:
    """Read a header from a stream as a server does; return it with the rest."""
    data = b""
    while wanted := count_wanted(data):
        assert len(data) < len(stream), "the header is complete, but more is wanted"
        got = stream[len(data) :][: wanted if cut is None else cut(wanted)]
        data += got
    return parse_header(data), stream[len(data) :]


@pytest.mark.parametrize("header", GOOD, ids=repr)
def test_a_header_is_read_to_its_last_byte(header: bytes) -> None:
    """What follows belongs to TLS, however the bytes arrive."""
    rest = b"\x16\x03\x01\r\nPROXY"
    assert read(header + rest) == (GOOD[header], rest)
    assert read(header + rest, lambda _: 1) == (GOOD[header], rest)
    chance = random.Random(new_seed())  # noqa: S311 - for tests
    for _ in range(20):
        assert read(header + rest, lambda wanted: chance.randint(1, wanted)) == (GOOD[header], rest)


@pytest.mark.parametrize(
    "header",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03AAAAAAAAAAAA",  # TLS without a header
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.5 1 65536\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.5 01 443\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.5 -1 443\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.5 1\r\n",
        b"PROXY TCP4  1.2.3.4 1.2.3.5 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 1.2.3.4 1.2.3.5 1 2\r\n",
        b"PROXY TCP4 1.2.3.4.5 1.2.3.5 1 2\r\n",
        b"PROXY TCP4 \xc2\xb2.2.3.4 1.2.3.5 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY TCP6 ::1 fe80::1%1\r\x1b[31m 1 2\r\n",
        b"PROXY UDP4 1.2.3.4 1.2.3.5 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.5 1 2\nabc\r\n",
        b"PROXY UNKNOWN " + b"x" * 200,
        b"proxy TCP4 1.2.3.4 1.2.3.5 1 2\r\n",
        v2(0x11, IPV4[:-1]),
        v2(0x11, b""),
        v2(0x21, IPV4),
        v2(0x12, IPV4),  # UDP
        v2(0x31, bytes(216)),  # a Unix socket
        v2(0x11, IPV4, command=0x22),
        v2(0x11, IPV4, command=0x11),
        v2(0x11, IPV4 + bytes(5000)),
    ],
)
def test_malformed_headers_are_refused(header: bytes) -> None:
    """And no more of the stream is read than the longest header."""
    with pytest.raises(MalformedHeaderError):
        read(header + b"x" * 5000)


def test_lengths_at_their_limits() -> None:
    """107 bytes of version 1; 4096 of version 2."""
    longest = b"PROXY UNKNOWN ".ljust(105, b"x") + b"\r\n"
    assert read(longest + b"rest") == (NOTHING, b"rest")
    with pytest.raises(MalformedHeaderError):
        read(longest.replace(b"\r\n", b"x\r\n") + b"rest")
    padding = 4096 - len(v2(0x11, IPV4))
    assert read(v2(0x11, IPV4 + bytes(padding)))[0].source == ("192.0.2.1", 1000)
    with pytest.raises(MalformedHeaderError):
        read(v2(0x11, IPV4 + bytes(padding + 1)))


class TestWriting:
    """Headers for a backend."""

    @pytest.mark.parametrize(
        ("source", "destination"),
        [(("192.0.2.1", 1000), ("192.0.2.2", 443)), (("2001:db8::1", 1000, 0, 0), ("::1", 443, 0, 0))],
    )
    def test_addresses(self, source: Any, destination: Any) -> None:
        """As the parser reads them."""
        assert read(write_header(source, destination) + b"rest") == (Header(source, destination), b"rest")

    def test_mixed_and_scoped_addresses(self) -> None:
        """An address of IPv4 is mapped beside one of IPv6; a scope is of one machine alone."""
        found = parse_header(write_header(("192.0.2.1", 1), ("fe80::1%lo", 2, 0, 1)))
        assert found == Header(("192.0.2.1", 1), ("fe80::1", 2, 0, 0))

    def test_no_address(self) -> None:
        """Of a client without one."""
        assert parse_header(write_header(None, None)) == NOTHING

    def test_facts_about_tls(self) -> None:
        """Each TLV of §2.2.6, in its place."""
        facts = Facts(
            version="TLSv1.3",
            cipher="TLS_AES_128_GCM_SHA256",
            alpn="h2",
            server_name="a.example",
            has_certificate=True,
            is_verified=True,
            common_name="ada",
        )
        header = write_header(("192.0.2.1", 1000), ("192.0.2.2", 443), facts)
        tlvs = read_tlvs(header[16 + 12 :])
        assert tlvs.pop(0x01) == b"h2"
        assert tlvs.pop(0x02) == b"a.example"
        flags, verify = struct.unpack("!BI", tlvs[0x20][:5])
        assert (flags, verify) == (1 | 2 | 4, 0)
        assert read_tlvs(tlvs.pop(0x20)[5:]) == {0x21: b"TLSv1.3", 0x22: b"ada", 0x23: b"TLS_AES_128_GCM_SHA256"}
        assert tlvs == {}

    @pytest.mark.parametrize(("has_certificate", "flags"), [(False, 1), (True, 7)])
    def test_a_client_that_is_not_verified(self, has_certificate: bool, flags: int) -> None:  # noqa: FBT001
        """The field is not zero, with a refused certificate and without one."""
        header = write_header(
            ("192.0.2.1", 1000), ("192.0.2.2", 443), Facts(version="TLSv1.2", cipher="X", has_certificate=has_certificate)
        )
        found, verify = struct.unpack("!BI", read_tlvs(header[16 + 12 :])[0x20][:5])
        assert found == flags
        assert verify != 0


def read_tlvs(data: bytes) -> dict[int, bytes]:
    """Return the TLVs of a header."""
    found = {}
    while data:
        kind, size = struct.unpack("!BH", data[:3])
        found[kind], data = data[3 : 3 + size], data[3 + size :]
    return found
