"""A client's first message, taken apart, and its JA4 against the examples of its specification (FoxIO, technical_details/JA4.md)."""

from __future__ import annotations

from hashlib import sha256

import pytest

from tlsio.model.client_hello import ClientHello, parse_client_hello

# "JA4 algorithm", the worked example: a Chrome with GREASE, sixteen extensions, h2.
SUITES = (0x2A2A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014, 0x009C, 0x009D, 0x002F, 0x0035)
EXTENSIONS = (
    0xDADA, 0x001B, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002D, 0x000D, 0x0005, 0x0023, 0x0012, 0x002B, 0xFF01, 0x000B, 0x000A, 0x0015,
)  # fmt: skip
SIGNATURES = (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)


def number(value: int, size: int = 2) -> bytes:
    """Write a number in network order."""
    return value.to_bytes(size, "big")


def block(data: bytes, size: int = 2) -> bytes:
    """Put the length before."""
    return number(len(data), size) + data


def numbers(values: tuple[int, ...]) -> bytes:
    """Write numbers of two bytes each."""
    return b"".join(map(number, values))


CONTENTS = {
    0x0000: block(b"\0" + block(b"example.com")),
    0x000A: block(numbers((0x3A3A, 0x11EC, 29, 23))),
    0x000D: block(numbers(SIGNATURES)),
    0x0010: block(block(b"h2", 1) + block(b"http/1.1", 1)),
    0x002B: block(numbers((0x4A4A, 0x0304, 0x0303)), 1),
}


def hello(
    suites: tuple[int, ...] = SUITES,
    extensions: tuple[int, ...] | None = EXTENSIONS,
    contents: dict[int, bytes] = CONTENTS,
    version: int = 0x0303,
) -> bytes:
    """Make a message; `extensions=None` leaves even their length out, as SSL 3.0 did."""
    body = number(version) + bytes(32) + block(bytes(32), 1) + block(numbers(suites)) + block(b"\0", 1)
    if extensions is not None:
        body += block(b"".join(number(one) + block(contents.get(one, b"")) for one in extensions))
    return b"\1" + block(body, 3)


def offer(**changes: object) -> ClientHello:
    """A client's offer with nothing in it but `changes`."""
    nothing = dict.fromkeys(("version_numbers", "cipher_suites", "groups", "signature_algorithms", "extensions", "alpn_protocols"), ())
    return ClientHello(**({"legacy_version": 0x0303, "server_name": None} | nothing | changes))  # type: ignore[arg-type]


def test_all_is_read() -> None:
    """Lists come in their order, with GREASE in them."""
    found = parse_client_hello(hello())
    assert found.legacy_version == 0x0303
    assert found.version_numbers == (0x4A4A, 0x0304, 0x0303)
    assert found.versions == ("TLSv1.3", "TLSv1.2")
    assert found.cipher_suites == SUITES
    assert found.extensions == EXTENSIONS
    assert found.groups == (0x3A3A, 0x11EC, 29, 23)
    assert found.signature_algorithms == SIGNATURES
    assert found.alpn_protocols == (b"h2", b"http/1.1")
    assert found.server_name == "example.com"


def test_ja4_of_the_specification() -> None:
    """The worked example comes out as published."""
    assert parse_client_hello(hello()).ja4 == "t13d1516h2_8daaf6152771_e5627efa2ab1"


@pytest.mark.parametrize(
    ("protocol", "written"),
    [
        (b"h2", "h2"), (b"http/1.1", "h1"), (b"x", "xx"), (b"", "00"), (b"\xab", "ab"), (b"\xab\xcd", "ad"), (b"\x30\xab", "3b"),
        (b"\x30\x31\xab\xcd", "3d"), (b"\x30\xab\xcd\x31", "01"),
    ],
)  # fmt: skip
def test_ja4_of_protocols(protocol: bytes, written: str) -> None:
    """The specification's examples of odd protocols: first and last character, hexadecimal when they are no letters or digits."""
    assert offer(alpn_protocols=(protocol,)).ja4.startswith(f"t00i0000{written}_")


@pytest.mark.parametrize(
    ("version", "written"), [(0x0304, "13"), (0x0303, "12"), (0x0302, "11"), (0x0301, "10"), (0x0300, "s3"), (0x0002, "s2"), (0x7F1C, "00")]
)
def test_ja4_of_versions(version: int, written: str) -> None:
    """Two characters for each version."""
    assert offer(version_numbers=(version,)).ja4.startswith(f"t{written}i")


def test_ja4_of_an_empty_offer() -> None:
    """Twelve zeros stand for lists of nothing."""
    assert offer(version_numbers=(0x0303,)).ja4 == "t12i000000_000000000000_000000000000"


def test_ja4_without_signature_algorithms() -> None:
    """The extensions then end without an underscore."""
    assert offer(extensions=(0x002B, 0x000A)).ja4.endswith("_" + sha256(b"000a,002b").hexdigest()[:12])


def test_ja4_counts_to_99() -> None:
    """More have no room in two digits."""
    assert offer(cipher_suites=tuple(range(200)), extensions=tuple(range(1, 200)), version_numbers=(0x0304,)).ja4.startswith("t13i999900_")


def test_a_hello_without_extensions() -> None:
    """The version is that of the message; the rest is empty."""
    found = parse_client_hello(hello(extensions=None, version=0x0301))
    assert found.versions == ("TLSv1",)
    assert found.extensions == found.groups == found.alpn_protocols == ()
    assert found.server_name is None


@pytest.mark.parametrize("number_of", [0x0000, 0x000A, 0x000D, 0x0010, 0x002B])
@pytest.mark.parametrize("content", [b"", b"\xff", b"\xff\xff\0", b"\0\4\0\xff\xff\xff"])
def test_malformed_extensions_count_as_empty(number_of: int, content: bytes) -> None:
    """OpenSSL refuses them in its own time."""
    found = parse_client_hello(hello(extensions=(number_of,), contents={number_of: content}))
    assert found.server_name is None
    assert found.alpn_protocols == ()
    assert found.extensions == (number_of,)


def test_a_name_that_is_no_text() -> None:
    """A server name beyond ASCII, or of another type, is none."""
    for content in (block(b"\0" + block(b"\xff\xfe")), block(b"\1" + block(b"a"))):
        assert parse_client_hello(hello(extensions=(0,), contents={0: content})).server_name is None


def test_a_message_cut_off() -> None:
    """Wherever it ends too early, it is told."""
    whole = hello()
    for size in range(len(whole)):
        if size == len(hello(extensions=None)):
            continue
        with pytest.raises(ValueError, match="truncated"):
            parse_client_hello(whole[:size])
