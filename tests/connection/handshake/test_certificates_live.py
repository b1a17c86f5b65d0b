"""Certificates as data, over live connections: what each end sees of the other's, of its own, and of the chains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

import pki

if TYPE_CHECKING:
    from collections.abc import Callable

    from net import Net, Pair


def shown_by(who: pki.Identity) -> dict[str, Any]:
    """Return the options of who shows that certificate with its intermediates."""
    return {"cert": who.chain_pem, "key": who.key_pem}


@pytest.mark.node("tls-getcertificate-x509")
async def test_both_ends_show_theirs(pair: Pair) -> None:
    """With mutual TLS each end sees the other's certificate and its own, in the same words."""
    us = pki.client()
    async with pair(server={"request_cert": True, "ca": pki.ca1().cert_pem}, client=shown_by(us)) as (client, peer, _):
        for one, other, who in ((client, peer, pki.localhost()), (peer, client, us)):
            seen, own = one.get_peer_certificate(), other.get_certificate()
            assert seen is not None
            assert seen == own
            assert seen["raw"] == who.cert_der
            assert dict(seen) == dict(own or {})
            x509_seen = one.get_peer_x509_certificate()
            assert x509_seen == other.get_x509_certificate() == who.certificate


async def test_who_shows_none(pair: Pair) -> None:
    """**Ours**: None instead of Node's empty object."""
    async with pair() as (client, peer, _):
        assert peer.get_peer_certificate() is peer.get_peer_certificate(detailed=True) is peer.get_peer_x509_certificate() is None
        assert client.get_certificate() is client.get_x509_certificate() is None
        assert peer.get_verified_chain() == ()


@pytest.mark.node("tls-getcertificate-x509")
async def test_the_chain_with_its_issuers(pair: Pair) -> None:
    """`detailed` links up to the root, which comes from the local trust and is its own issuer."""
    who = pki.chained()
    async with pair(server=shown_by(who)) as (client, _, _server):
        plain, found = client.get_peer_certificate(), client.get_peer_certificate(detailed=True)
        assert plain is not None
        assert found is not None
        assert "issuer_certificate" not in plain
        chain = [one["raw"] for one in found.chain()]
        assert chain[0] == who.cert_der
        assert chain[-1] == pki.ca1().cert_der
        assert len(chain) == 3
        root = found["issuer_certificate"]["issuer_certificate"]
        assert root["issuer_certificate"] is root


async def test_verified_chains_on_both_sides(pair: Pair) -> None:
    """Leaf first, root last, as `cryptography` has them."""
    us, them = pki.client(), pki.chained()
    async with pair(server=shown_by(them) | {"request_cert": True, "ca": pki.ca1().cert_pem}, client=shown_by(us)) as (client, peer, _):
        assert client.get_verified_chain() == (them.certificate, *them.intermediates[:1], pki.ca1().certificate)
        assert peer.get_verified_chain() == (us.certificate, pki.ca1().certificate)


async def test_unverified_has_no_verified_chain(pair: Pair) -> None:
    """The certificate is shown, but nothing says that it was verified."""
    async with pair(server=shown_by(pki.self_signed()), client={"reject_unauthorized": False}) as (client, _, _server):
        assert client.get_verified_chain() == ()
        found = client.get_peer_certificate(detailed=True)
        assert found is not None
        assert found["issuer_certificate"] is found


ODD_NAMES: list[tuple[x509.GeneralName, str]] = [
    (x509.DNSName("good.example.com, DNS:evil.example.com"), r'DNS:"good.example.com\u002c DNS:evil.example.com"'),
    (x509.UniformResourceIdentifier("http://example.com/?a=b&c=d"), "URI:http://example.com/?a=b&c=d"),
    (x509.UniformResourceIdentifier("http://example.com/a,b"), r'URI:"http://example.com/a\u002cb"'),
    (x509.DNSName('"evil.example.com"'), r'DNS:"\"evil.example.com\""'),
    (x509.RFC822Name("foo@example.com"), "email:foo@example.com"),
    (
        x509.DirectoryName(
            x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"), x509.NameAttribute(NameOID.LOCALITY_NAME, "München")])
        ),
        r'DirName:"L=München\u002cC=DE"',
    ),
    (x509.RegisteredID(x509.ObjectIdentifier("1.3.9999.12.34")), "Registered ID:1.3.9999.12.34"),
    (x509.DNSName("good.example.org\0.evil.example.com"), r'DNS:"good.example.org\u0000.evil.example.com"'),
]


@pytest.mark.node("tls-0-dns-altname", "x509-escaping")
@pytest.mark.parametrize(("odd", "printed"), ODD_NAMES)
async def test_odd_names_are_printed_as_by_node(pair: Pair, odd: x509.GeneralName, printed: str) -> None:
    """Names that could be read as two are quoted, in a handshake too, and the true name beside them counts."""
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), odd])
    who = pki.leaf("odd", issuer=pki.ca1(), extensions=[names])
    async with pair(server=shown_by(who)) as (client, _, _server):
        found = client.get_peer_certificate()
        assert found is not None
        assert found["subjectaltname"] == f"DNS:localhost, {printed}"
        assert client.authorized


# What Python's parser of addresses makes of it depends on its version; `cryptography` asks that.
HOSTILE_MAIL = x509.RFC822Name._init_without_validation("x@example.com, DNS:nodejs.org")
HOSTILE: list[Any] = [
    [x509.DNSName("x.example.com, DNS:nodejs.org")],
    [x509.DNSName("x.example.com"), x509.UniformResourceIdentifier("http://x.example.com/, DNS:nodejs.org")],
    [x509.DNSName("x.example.com"), HOSTILE_MAIL],
    [x509.DNSName("x.example.com"), x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.LOCALITY_NAME, "x, DNS:nodejs.org")]))],
    [x509.DNSName("nodejs.org\0.x.example.com")],
    [x509.DNSName('"nodejs.org"')],
]


@pytest.mark.node("x509-escaping")
@pytest.mark.parametrize("names", HOSTILE)
async def test_names_inside_names_do_not_count(net: Net, names: list[x509.GeneralName]) -> None:
    """Nor does the common name beside a DNS name."""
    who = pki.leaf("nodejs.org", issuer=pki.ca1(), extensions=[x509.SubjectAlternativeName(names)])
    async with net.serve(**shown_by(who)) as server:
        _, refused = await net.refused(server, servername="nodejs.org")
    assert refused.code == "ERR_TLS_CERT_ALTNAME_INVALID"


@pytest.mark.node("x509-escaping")
@pytest.mark.parametrize(("who", "authorized"), [(pki.incorrect_san_correct_subject, False), (pki.irrelevant_san_correct_subject, True)])
async def test_common_name_counts_without_dns_names_only(pair: Pair, who: Callable[[], pki.Identity], authorized: bool) -> None:  # noqa: FBT001
    """One has a DNS name that is somebody else's, one an IP address alone."""
    client = {"ca": who().cert_pem, "servername": "good.example.com", "reject_unauthorized": False}
    async with pair(server=shown_by(who()), client=client) as (near, _, _server):
        assert near.authorized is authorized
        assert near.authorization_error == (None if authorized else "ERR_TLS_CERT_ALTNAME_INVALID")


@pytest.mark.node("x509-escaping")
async def test_info_access_with_a_line_break(pair: Pair) -> None:
    """A line break inside a value makes no second entry."""
    value = "http://good.example.com/\nOCSP - URI:http://evil.example.com/"
    access = x509.AuthorityInformationAccess(
        [x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(value))]
    )
    who = pki.leaf("localhost", issuer=pki.ca1(), names=["localhost"], extensions=[access])
    async with pair(server=shown_by(who)) as (client, _, _server):
        found = client.get_peer_certificate()
        assert found is not None
        assert found["info_access"] == {"OCSP - URI": [value]}


@pytest.mark.node("tls-peer-certificate-encoding", "tls-peer-certificate-multi-keys")
async def test_subjects_beyond_ascii_and_repeated(pair: Pair) -> None:
    """UTF-8 comes decoded; a repeated attribute is a list."""
    who = pki.leaf("Ádám Lippai", issuer=pki.ca1(), names=["localhost"], units=["Test TLS Certificate", "Engineering"])
    async with pair(server=shown_by(who)) as (client, peer, _):
        for found in (client.get_peer_certificate(), peer.get_certificate()):
            assert found is not None
            assert found["subject"]["CN"] == "Ádám Lippai"
            assert found["subject"]["OU"] == ["Test TLS Certificate", "Engineering"]


async def test_readable_after_close(pair: Pair) -> None:
    """**Ours**: Node gives null after the close."""
    async with pair(server=shown_by(pki.chained())) as (client, _, _server):
        before = client.get_peer_certificate(detailed=True), client.get_verified_chain(), client.authorized
        client.destroy()
        await client.wait_closed()
        assert (client.get_peer_certificate(detailed=True), client.get_verified_chain(), client.authorized) == before
