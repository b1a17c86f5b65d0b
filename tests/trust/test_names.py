"""How names are printed and compared. The expected texts are Node 26.10's, asked with the same certificates."""

from __future__ import annotations

import json
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

import pki
from asn1 import oid, tlv
from tlsio.trust import der
from tlsio.trust.names import Name, describe_name, parse_general_name, parse_general_names, parse_name, printable


def x500(*groups: str | list[str]) -> x509.Name:
    """Make an X.500 name from `L=Berlin` texts; a list is one relative name with several attributes."""
    relative = [[group] if isinstance(group, str) else group for group in groups]
    kinds = {"CN": NameOID.COMMON_NAME, "L": NameOID.LOCALITY_NAME, "C": NameOID.COUNTRY_NAME, "1.2.3.4": x509.ObjectIdentifier("1.2.3.4")}
    pairs = [[text.split("=", 1) for text in group] for group in relative]
    return x509.Name([x509.RelativeDistinguishedName([x509.NameAttribute(kinds[k], v) for k, v in group]) for group in pairs])


def name(*groups: str | list[str]) -> Name:
    """Parse the name made by `x500`."""
    return parse_name(der.read(x500(*groups).public_bytes()))


def directory_name(*groups: str | list[str]) -> bytes:
    """Return a directoryName."""
    return tlv(0xA4, x500(*groups).public_bytes())


def other_name(kind: str, tag: int, value: bytes) -> bytes:
    """Return an otherName."""
    return tlv(0xA0, oid(kind), tlv(0xA0, tlv(tag, value)))


XMPP, SRV, UPN = "1.3.6.1.5.5.7.8.5", "1.3.6.1.5.5.7.8.7", "1.3.6.1.4.1.311.20.2.3"


@pytest.mark.node("tls-0-dns-altname", "x509-escaping")
@pytest.mark.parametrize(
    ("general_name", "printed"),
    [
        (tlv(0x82, b"good.example.com, DNS:evil.example.com"), r'DNS:"good.example.com\u002c DNS:evil.example.com"'),
        (tlv(0x82, b"good.example.org\0.evil.example.com"), r'DNS:"good.example.org\u0000.evil.example.com"'),
        (tlv(0x86, b"http://example.com/?a=b&c=d"), "URI:http://example.com/?a=b&c=d"),
        (tlv(0x86, b"http://example.com/a,b"), r'URI:"http://example.com/a\u002cb"'),
        (tlv(0x86, b"http://example.com/a%2Cb"), "URI:http://example.com/a%2Cb"),
        (tlv(0x82, b"ex\xe4mple.com"), r'DNS:"ex\u00e4mple.com"'),
        (tlv(0x82, b'"evil.example.com"'), r'DNS:"\"evil.example.com\""'),
        (tlv(0x82, b"a'b"), 'DNS:"a\'b"'),
        (tlv(0x82, b"a\\b"), r'DNS:"a\\b"'),
        (tlv(0x82, b"a\x7fb"), r'DNS:"a\u007fb"'),
        (tlv(0x87, bytes([8, 8, 4, 4])), "IP Address:8.8.4.4"),
        (tlv(0x87, bytes(5)), "IP Address:<invalid length=5>"),
        (tlv(0x87, bytes.fromhex("0a0b0c0d0e0f0000000000007a7b7c7d")), "IP Address:A0B:C0D:E0F:0:0:0:7A7B:7C7D"),
        (tlv(0x81, b"foo@example.com"), "email:foo@example.com"),
        (tlv(0x81, b"foo@example.com, DNS:good.example.com"), r'email:"foo@example.com\u002c DNS:good.example.com"'),
        (directory_name("C=DE", "L=Hannover"), r'DirName:"L=Hannover\u002cC=DE"'),
        (directory_name("C=DE", "L=München"), r'DirName:"L=München\u002cC=DE"'),
        (directory_name("C=DE", "L=Berlin, DNS:good.example.com"), r'DirName:"L=Berlin\\\u002c DNS:good.example.com\u002cC=DE"'),
        (
            directory_name("C=DE", "L=Berlin, DNS:good.example.com\0evil.example.com"),
            r'DirName:"L=Berlin\\\u002c DNS:good.example.com\u0000evil.example.com\u002cC=DE"',
        ),
        (
            directory_name("C=DE", "L=Berlin, DNS:good.example.com\\\0evil.example.com"),
            r'DirName:"L=Berlin\\\u002c DNS:good.example.com\\\\\u0000evil.example.com\u002cC=DE"',
        ),
        (directory_name("C=DE", "L=Berlin\r\n"), r'DirName:"L=Berlin\u000d\u000a\u002cC=DE"'),
        (directory_name("C=DE", "L=Berlin/CN=good.example.com"), r'DirName:"L=Berlin/CN=good.example.com\u002cC=DE"'),
        (tlv(0x88, oid("1.2.840.113549.1.1.11")[2:]), "Registered ID:1.2.840.113549.1.1.11"),
        (other_name(XMPP, 0x0C, b"abc123"), "othername:XmppAddr:abc123"),
        (other_name(XMPP, 0x0C, "é".encode()), "othername:XmppAddr:é"),
        (other_name(XMPP, 0x0C, b"abc123, DNS:good.example.com"), r'othername:"XmppAddr:abc123\u002c DNS:good.example.com"'),
        (other_name(XMPP, 0x0C, b"good.example.com\0abc123"), r'othername:"XmppAddr:good.example.com\u0000abc123"'),
        (other_name(XMPP, 0x0C, b"a\xffb"), "othername:XmppAddr:a\ufffdb"),
        (other_name("1.3.9999.12.34", 0x0C, b"abc123"), "othername:<unsupported>"),
        (other_name(SRV, 0x16, b"abc123"), "othername:SRVName:abc123"),
        (other_name(SRV, 0x0C, b"abc123"), "othername:<unsupported>"),
        (other_name(SRV, 0x16, b"abc\0def"), r'othername:"SRVName:abc\u0000def"'),
        (other_name(UPN, 0x0C, b"u@x"), "othername:UPN:u@x"),
        (tlv(0xA3, b""), "X400Name:<unsupported>"),
        (tlv(0xA5, b""), "EdiPartyName:<unsupported>"),
    ],
)
def test_general_names_are_printed_as_by_node(general_name: bytes, printed: str) -> None:
    """No value can look like another entry of the list."""
    parsed = parse_general_name(der.read(general_name))
    assert str(parsed) == printed
    if '"' in printed:
        assert json.loads(printed[printed.index('"') :]) == parsed.text


def test_addresses_come_parsed() -> None:
    """Text is for people."""
    parsed = parse_general_names(der.read(tlv(0x30, tlv(0x87, bytes(15) + b"\x01"), tlv(0x87, bytes([127, 0, 0, 1])), tlv(0x87, b""))))
    assert [entry.ip for entry in parsed] == [ip_address("::1"), ip_address("127.0.0.1"), None]


def test_unknown_kind_of_general_name_is_refused() -> None:
    """Unknown to OpenSSL, too."""
    with pytest.raises(der.DerError):
        parse_general_name(der.read(tlv(0x89, b"")))


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        (' #a+b"\\<>; ', r"L=\ #a\+b\"\\\<\>\;\ "),
        ("#", "L=#"),
        ("#a", r"L=\#a"),
        (" ", r"L=\ "),
        ("  ", r"L=\ \ "),
    ],
)
def test_rfc2253_escapes(text: str, printed: str) -> None:
    """RFC 2253 §2.4, with OpenSSL's reading of a lone character."""
    assert name(f"L={text}").rfc2253() == printed


def test_rfc2253_turns_the_order_around() -> None:
    """The last relative name comes first; attributes of unknown type are shown as DER."""
    assert name("C=DE", ["L=a", "L=b"], "1.2.3.4=x").rfc2253() == "1.2.3.4=#0C0178,L=b+L=a,C=DE"


def test_dictionary_form() -> None:
    """Repeated attributes become a list, wherever they stand; unknown ones keep their number."""
    assert name("L=1", ["L=2", "CN=x\n"], "L=3", "1.2.3.4=y").as_dict() == {"L": ["1", "2", "3"], "CN": "x\n", "1.2.3.4": "y"}


@pytest.mark.node("x509-escaping")
@pytest.mark.parametrize(
    "value",
    ["Somewhere\0evil.example.com", "Somewhere\0A", "Somewhere\nCN=evil", "Somewhere, CN = evil", "Somewhere/CN=evil", "Some + CN=evil"],
)
def test_value_is_one_value_whatever_it_holds(value: str) -> None:
    """Nothing in it begins another attribute."""
    assert name("C=DE", f"L={value}").as_dict() == {"C": "DE", "L": value}
    assert name("C=DE", [f"L={value}", "CN=good"]).as_dict() == {"C": "DE", "L": value, "CN": "good"}


def test_attribute_that_is_no_text() -> None:
    """OpenSSL gives up on the whole object; comparing and printing still work."""
    parsed = parse_name(der.read(tlv(0x30, tlv(0x31, tlv(0x30, oid("2.5.4.3"), tlv(0x02, b"\x05"))))))
    assert parsed.as_dict() is None
    assert parsed.values("CN") == ()
    assert parsed.rfc2253() == "CN=#020105"
    assert parsed.key() == parsed.key() != name("CN=x").key()


def test_names_are_equal_but_for_case_and_blanks() -> None:
    """X509_NAME_cmp's view: the string type does not count either."""
    assert name("CN=Root  CA ").key() == name("CN=root ca").key()
    assert name("CN=root ca").key() != name("CN=rootca").key()
    assert name(["CN=a", "L=b"]).key() == name(["L=b", "CN=a"]).key() != name("CN=a", "L=b").key()


def test_description_is_bounded_and_harmless() -> None:
    """It comes from a stranger and goes to a terminal."""
    assert name("CN=\x1b[2J").describe() == "CN=\\x1b[2J"
    assert len(printable("x" * 10_000)) == 160
    assert Name(()).describe() == "(an empty name)"


def test_name_in_der_is_described_for_messages() -> None:
    """What cannot be read is said to be so."""
    assert describe_name(pki.ca1().certificate.subject.public_bytes()) == "CN=ca1,O=tlsio tests"
    assert describe_name(b"\x30\x05") == "(an unreadable name)"
