"""The PROXY protocol, versions 1 and 2: what a TCP proxy says before the client's bytes.

Source: "The PROXY protocol, Versions 1 & 2" of HAProxy (2020/03/05), by its sections.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Address", "Facts", "Header", "MalformedHeaderError", "count_wanted", "parse_header", "write_header"]

Address: TypeAlias = "tuple[str, int] | tuple[str, int, int, int]"  # as sockets have it

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"  # §2.2
_PREFIX = b"PROXY "
_FIXED = 16  # bytes of a version 2 header before the addresses
_LONGEST_V1 = 107  # §2.1: "a 108-byte buffer is always enough to store all the line and a trailing zero"
_SHORTEST_V1 = len(b"PROXY UNKNOWN\r\n")
# §2.2 allows 65535, "but it is expected that the header fits in the first 536 bytes"; certificates
# in TLVs may need more.
_LONGEST_V2 = 4096
_LOCAL, _PROXY = 0x20, 0x21
_FAMILIES = {0x11: (4, "4s4sHH"), 0x21: (16, "16s16sHH")}  # TCP over IPv4 and IPv6: bytes of an address, the layout
_MAX_PORT = 65535
_TLV_ALPN, _TLV_AUTHORITY, _TLV_SSL = 0x01, 0x02, 0x20  # §2.2.1
_SSL_VERSION, _SSL_CN, _SSL_CIPHER = 0x21, 0x22, 0x23
_CLIENT_SSL, _CLIENT_CERT_CONN, _CLIENT_CERT_SESS = 1, 2, 4


class MalformedHeaderError(ValueError):
    """The bytes are not a header, or not one that can be used."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a proxy says.

    Attributes:
        source: The client's address; None if the proxy speaks for itself, as in a health check.
        destination: Where the client has connected to.
    """

    source: Address | None
    destination: Address | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What `write_header` says about the client's TLS connection.

    Attributes:
        version: Such as "TLSv1.3".
        cipher: OpenSSL's name of the suite.
        alpn: The protocol that was negotiated.
        server_name: That the client asked for.
        has_certificate: Whether the client has a certificate, presented when the session began.
        is_verified: Whether it was accepted.
        common_name: Of the client's certificate.
    """

    version: str
    cipher: str
    alpn: str | None = None
    server_name: str | None = None
    has_certificate: bool = False
    is_verified: bool = False
    common_name: str | None = None


def count_wanted(data: bytes) -> int:
    """Return how many bytes of the header are missing at least; 0 if it is complete.

    Bytes after the header are never counted, so a reader that takes no more leaves them alone.

    Raises:
        MalformedHeaderError: this is not the begin of a header.
    """
    if len(data) < len(_SIGNATURE) and (_SIGNATURE.startswith(data) or _PREFIX.startswith(data[: len(_PREFIX)])):
        return len(_SIGNATURE) - len(data)  # both versions are longer
    if data.startswith(_SIGNATURE):
        if len(data) < _FIXED:
            return _FIXED - len(data)
        size = _FIXED + int.from_bytes(data[14:_FIXED])
        if size > _LONGEST_V2:
            raise MalformedHeaderError(f"its header has {size} bytes, more than {_LONGEST_V2}")
        return size - len(data)
    if not data.startswith(_PREFIX):
        raise MalformedHeaderError("it sends no PROXY protocol header")
    if data.endswith(b"\r\n"):
        return 0
    if len(data) >= _LONGEST_V1 or b"\n" in data:
        raise MalformedHeaderError("its header of version 1 has no end, or a line feed before it")
    # After a CR, one byte; otherwise at least CR and LF.
    return max(_SHORTEST_V1 - len(data), 1 if data.endswith(b"\r") or len(data) == _LONGEST_V1 - 1 else 2)


def parse_header(data: bytes) -> Header:
    """Read a complete header.

    Raises:
        MalformedHeaderError: it cannot be used.
    """
    return _parse_v2(data) if data.startswith(_SIGNATURE) else _parse_v1(data)


def _parse_v1(data: bytes) -> Header:
    words = data.removesuffix(b"\r\n").split(b" ")
    if words[1:2] == [b"UNKNOWN"]:  # §2.1: "the receiver must ignore anything presented before the CRLF"
        return Header(None, None)
    if len(words) != 6 or words[1] not in {b"TCP4", b"TCP6"}:  # noqa: PLR2004 - PROXY, family, two addresses, two ports
        raise MalformedHeaderError("its header of version 1 is malformed")
    if b"%" in data:  # §2.1 has no zones; Python takes any text as one
        raise MalformedHeaderError("its header of version 1 has an address with a zone")
    try:
        make = ipaddress.IPv4Address if words[1] == b"TCP4" else ipaddress.IPv6Address
        source, destination = (make(one.decode("ascii")) for one in words[2:4])
        return Header(_address(source, _port(words[4])), _address(destination, _port(words[5])))
    except ValueError:
        raise MalformedHeaderError("its header of version 1 has a malformed address or port") from None


def _port(text: bytes) -> int:
    if not text.isdigit() or int(text) > _MAX_PORT or (text.startswith(b"0") and text != b"0"):
        raise ValueError
    return int(text)


def _parse_v2(data: bytes) -> Header:
    command, family = data[12], data[13]
    if command == _LOCAL:  # §2.2: "the receiver must accept this connection as valid and must use the real connection endpoints"
        return Header(None, None)
    if command != _PROXY:
        raise MalformedHeaderError(f"its header has version and command 0x{command:02x}")
    if family not in _FAMILIES:  # UNSPEC, UDP, Unix: nothing that is an address of a client
        if family == 0:
            return Header(None, None)
        raise MalformedHeaderError(f"its header is for the family and protocol 0x{family:02x}, not for TCP")
    size, layout = _FAMILIES[family]
    end = _FIXED + 2 * size + 4
    if len(data) < end:
        raise MalformedHeaderError("its header of version 2 is too short for its addresses")
    source, destination, source_port, destination_port = struct.unpack(f"!{layout}", data[_FIXED:end])
    return Header(
        _address(ipaddress.ip_address(source), source_port), _address(ipaddress.ip_address(destination), destination_port)
    )  # what follows are TLVs, which are not needed


def _address(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> Address:
    mapped = getattr(address, "ipv4_mapped", None)  # of a proxy that listens for both with one socket
    if mapped is not None or address.version == 4:  # noqa: PLR2004
        return (str(mapped or address), port)
    return (str(address), port, 0, 0)


def write_header(source: Sequence[object] | None, destination: Sequence[object] | None, facts: Facts | None = None) -> bytes:
    """Return a header of version 2.

    Args:
        source: The client's address and port, as sockets have it; None, as of a Unix socket, says
            that nothing is known.
        destination: The address that the client has connected to.
        facts: About the client's TLS; None if there is none.
    """
    tlvs = b"" if facts is None else _write_facts(facts)
    if source is None or destination is None:
        return _join(0x00, tlvs)
    addresses = [ipaddress.ip_address(str(one[0]).partition("%")[0]) for one in (source, destination)]
    ports = struct.pack("!HH", source[1], destination[1])
    if addresses[0].version == addresses[1].version == 4:  # noqa: PLR2004
        return _join(0x11, addresses[0].packed + addresses[1].packed + ports + tlvs)
    packed = [one.packed if one.version == 6 else b"\0" * 10 + b"\xff\xff" + one.packed for one in addresses]  # noqa: PLR2004
    return _join(0x21, packed[0] + packed[1] + ports + tlvs)


def _join(family: int, rest: bytes) -> bytes:
    return _SIGNATURE + bytes((_PROXY, family)) + len(rest).to_bytes(2) + rest


def _write_facts(facts: Facts) -> bytes:
    tlvs = [_tlv(kind, value.encode()) for kind, value in ((_TLV_ALPN, facts.alpn), (_TLV_AUTHORITY, facts.server_name)) if value]
    flags = _CLIENT_SSL | (_CLIENT_CERT_CONN | _CLIENT_CERT_SESS if facts.has_certificate else 0)
    # §2.2.6: zero "if the client presented a certificate and it was successfully verified".
    verify = 0 if facts.has_certificate and facts.is_verified else 1
    details = _tlv(_SSL_VERSION, facts.version.encode()) + _tlv(_SSL_CIPHER, facts.cipher.encode())
    if facts.common_name:
        details += _tlv(_SSL_CN, facts.common_name.encode())
    return b"".join([*tlvs, _tlv(_TLV_SSL, struct.pack("!BI", flags, verify) + details)])


def _tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value
