from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from cryptography import x509

import tlsio
from tlsio.certs import describe_name, parse_constraint, parse_name, parse_names
from tlsio.certs.names import is_within, meets

DNS, IP, EMAIL, URI = x509.DNSName, x509.IPAddress, x509.RFC822Name, x509.UniformResourceIdentifier


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("localhost", DNS("localhost")),
        ("Example.COM.", DNS("example.com")),
        ("*.example.com", DNS("*.example.com")),
        ("my_service", DNS("my_service")),
        ("bücher.example", DNS("xn--bcher-kva.example")),
        ("*.bücher.example", DNS("*.xn--bcher-kva.example")),
        ("faß.example", DNS("xn--fa-hia.example")),  # IDNA 2008; 2003 made "fass" of it
        ("192.0.2.1", IP(ip_address("192.0.2.1"))),
        ("2001:db8::1", IP(ip_address("2001:db8::1"))),
        ("[::1]", IP(ip_address("::1"))),
        ("ada@example.com", EMAIL("ada@example.com")),
        ("ada+tls@bücher.example", EMAIL("ada+tls@xn--bcher-kva.example")),
        ("https://example.com/shop?x=1", URI("https://example.com/shop?x=1")),
        ("spiffe://example.org/shop/eu-1", URI("spiffe://example.org/shop/eu-1")),
        ("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", URI("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6")),
        ("DNS:localhost", DNS("localhost")),
        ("ip:127.0.0.1", IP(ip_address("127.0.0.1"))),
        ("IP Address:::1", IP(ip_address("::1"))),
        ("URI:sip:ada@example.com", URI("sip:ada@example.com")),
        ("email:ada@example.com", EMAIL("ada@example.com")),
    ],
)
def test_text_becomes_the_name_that_it_means(text: str, name: x509.GeneralName) -> None:
    """By its form, or by a prefix."""
    assert parse_name(text) == name


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("*.com", "no client accepts"),
        ("*", "not the whole first label"),
        ("w*.example.com", "not the whole first label"),
        ("*.*.example.com", "not the whole first label"),
        ("example.com:443", "a port"),
        ("127.1", "not a host name"),
        ("999.1.1.1", "not a host name"),
        ("a..example", "not a host name"),
        ("-a.example", "not a label"),
        (f"{'a' * 64}.example", "not a label"),
        (".".join(["a" * 60] * 5), "not a host name"),
        (f"{'.'.join(['a' * 60] * 4)}.{'b' * 10}", "longer than 253"),
        ("two words", "not a host name"),
        ("fe80::1%eth0", "a zone"),
        ("IP:localhost", "not an IP address"),
        ("IP:10.0.0.0/8", "not an IP address"),
        ("ada lovelace@example.com", "not an e-mail address"),
        ("ädä@example.com", "not an e-mail address"),
        ("@example.com", "not an e-mail address"),
        ("https://", "must be absolute"),
        ("URI:shop", "must be absolute"),
        ("https://[::1/", "not a URI"),
        ("https://example.com:port/", "not a URI"),
        ("https://example.com/a b", "percent-encoded"),
        ("spiffe://Example.org/shop", "not a SPIFFE ID"),
        ("spiffe://example.org:8443/shop", "not a SPIFFE ID"),
        ("spiffe://example.org", "not a SPIFFE ID"),
        ("spiffe://example.org/shop/", "not a SPIFFE ID"),
        ("spiffe://example.org/../shop", "not a SPIFFE ID"),
        ("spiffe://example.org/shop?x=1", "not a SPIFFE ID"),
        ("URI:spiffe:/example.org/shop", "not a SPIFFE ID"),
        (f"spiffe://example.org/{'a' * 2048}", "must be a URI"),
        ("", "must not be empty"),
        ("local\0host", "null character"),
    ],
)
def test_what_no_client_would_match_is_refused(text: str, problem: str) -> None:
    """Before a certificate is issued for it."""
    with pytest.raises(tlsio.UsageValueError, match=problem):
        parse_name(text)


def test_a_name_of_cryptography_is_taken_as_it_is() -> None:
    """Also one of a kind that no text means."""
    name = x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))
    assert parse_name(name) is name
    assert parse_constraint(name) is name


def test_one_name_is_a_list_of_one() -> None:
    """Rather than a list of its letters."""
    assert parse_names("localhost") == [DNS("localhost")]


def test_duplicates_are_dropped_and_the_order_is_kept() -> None:
    """Names that mean the same are the same."""
    assert parse_names(["b.example", "a.example", "B.example."]) == [DNS("b.example"), DNS("a.example")]


def test_another_type_is_refused() -> None:
    """An address as an object is not text."""
    with pytest.raises(tlsio.UsageTypeError) as caught:
        parse_names([ip_address("127.0.0.1")])  # type: ignore[list-item]
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"


@pytest.mark.parametrize(
    ("text", "subtree"),
    [
        ("example.com", DNS("example.com")),
        (".example.com", DNS("example.com")),
        ("*.example.com", DNS("example.com")),
        ("DNS:example.com", DNS("example.com")),
        ("10.0.0.0/8", IP(ip_network("10.0.0.0/8"))),
        ("192.0.2.1", IP(ip_network("192.0.2.1/32"))),
        ("::/0", IP(ip_network("::/0"))),
        ("ada@example.com", EMAIL("ada@example.com")),
        ("@example.com", EMAIL("example.com")),
        ("URI:example.com", URI("example.com")),
        ("URI:.example.com", URI(".example.com")),
    ],
)
def test_text_becomes_a_subtree(text: str, subtree: x509.GeneralName) -> None:
    """For name constraints."""
    assert parse_constraint(text) == subtree


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "example.com/x", "https://example.com/", "a b"])
def test_what_is_no_subtree_is_refused(text: str) -> None:
    """With the reason of Python's `ipaddress` for networks."""
    with pytest.raises(tlsio.UsageValueError):
        parse_constraint(text)


@pytest.mark.parametrize(
    ("name", "subtree", "inside"),
    [
        ("example.com", "example.com", True),
        ("a.b.example.com", "example.com", True),
        ("*.example.com", "example.com", True),
        ("badexample.com", "example.com", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("::1", "10.0.0.0/8", False),
        ("ada@example.com", "ada@example.com", True),
        ("bob@example.com", "ada@example.com", False),
        ("bob@example.com", "@example.com", True),
        ("bob@a.example.com", "@example.com", False),
        ("https://example.com:1/x", "URI:example.com", True),
        ("https://a.example.com/", "URI:example.com", False),
        ("https://a.example.com/", "URI:.example.com", True),
        ("urn:x:y", "URI:example.com", False),
        ("example.com", "10.0.0.0/8", False),
    ],
)
def test_a_name_is_in_a_subtree(name: str, subtree: str, *, inside: bool) -> None:
    """RFC 5280 §4.2.1.10, for each kind."""
    assert is_within(parse_name(name), parse_constraint(subtree)) is inside


@pytest.mark.parametrize(
    ("name", "subtree", "inside"),
    [
        (DNS("WWW.Example.com"), DNS("Example.COM"), True),
        (DNS("example.com"), DNS("EXAMPLE.com."), True),
        (DNS("a.example.com"), DNS(".Example.com"), True),
        (DNS("example.com"), DNS(".example.com"), False),
        (DNS("badexample.com"), DNS(".example.com"), False),
        (EMAIL("ada@Example.com"), EMAIL("example.COM"), True),
        (EMAIL("ada@example.com"), EMAIL("ada@Example.com"), True),
        (EMAIL("Ada@example.com"), EMAIL("ada@example.com"), False),
        (EMAIL("ada@a.example.com"), EMAIL(".Example.com"), True),
        (URI("https://a.example.com/"), URI(".Example.com"), True),
    ],
)
def test_hosts_are_compared_without_regard_to_case(name: x509.GeneralName, subtree: x509.GeneralName, *, inside: bool) -> None:
    """As constraints of other authorities have them; the local part of a mailbox has a case."""
    assert is_within(name, subtree) is meets(name, subtree) is inside


@pytest.mark.parametrize(
    ("name", "subtree", "meeting"),
    [
        ("*.example.com", "secret.example.com", True),
        ("*.example.com", "a.secret.example.com", False),
        ("*.example.com", "other.com", False),
        ("*.example.com", "com", True),
        ("secret.example.com.", "secret.example.com", True),
        ("*.Example.com", "Secret.example.com", True),
        ("*.example.com", ".secret.example.com", False),
    ],
)
def test_a_wildcard_meets_the_subtree_of_a_name_that_it_matches(name: str, subtree: str, *, meeting: bool) -> None:
    """One label only, as for clients."""
    assert meets(DNS(name), DNS(subtree)) is meeting


@pytest.mark.parametrize("text", ["localhost", "192.0.2.1", "ada@example.com", "spiffe://example.org/shop"])
def test_a_description_is_read_again(text: str) -> None:
    """What is printed can be copied."""
    assert describe_name(parse_name(text)) == text


def test_every_kind_has_a_description() -> None:
    """Foreign requests may hold all of them."""
    subject = x509.Name.from_rfc4514_string("CN=a,O=b")
    assert describe_name(x509.DirectoryName(subject)) == "CN=a,O=b"
    assert describe_name(x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))) == "1.2.3"
    assert describe_name(x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00")) == "otherName 1.2.3"
