"""Name constraints: what OpenSSL compares with the certificate's names is compared with the host as well."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

import pki
from asn1 import extension
from tlsio.trust.certificate import parse, read_verified
from tlsio.trust.constraints import NameConstraints, may_constrain, read_constraints
from tlsio.trust.verdict import PeerFacts, VerifyPolicy, judge


def constrained(*, permitted: Any = None, excluded: Any = None) -> pki.Identity:
    """Make an intermediate of ca1's that may vouch for some names only."""
    kinds = [[_general(name) for name in names] if names else None for names in (permitted, excluded)]
    authority = x509.BasicConstraints(ca=True, path_length=None)
    return pki.leaf("constrained", issuer=pki.ca1(), extensions=[authority, x509.NameConstraints(*kinds)])


def _general(name: str) -> x509.GeneralName:
    return x509.IPAddress(ip_network(name)) if "/" in name else x509.DNSName(name)


def reasons(
    host: str, authority: pki.Identity, *, names: tuple[str, ...] = (), common_name: str = "nobody", policy: Any = "node"
) -> tuple[str, ...]:
    """Return what speaks against a server whose chain OpenSSL has found good."""
    chain = tuple(one.cert_der for one in (pki.leaf(common_name, issuer=authority, names=names), authority, pki.ca1()))
    facts = PeerFacts(role="client", now=pki.NOW, chain=chain[:2], verified_chain=chain, server_name=host)
    return judge(facts, VerifyPolicy(identity_policy=policy)).reasons


REFUSED = ("ERR_TLS_CERT_ALTNAME_INVALID",)


@pytest.mark.parametrize("policy", ["node", "rfc9525"])
@pytest.mark.parametrize(
    ("host", "names", "excluded", "expected"),
    [
        ("www.good.com", ["www.good.com"], ["evil.com"], ()),
        ("www.evil.com", ["www.evil.com."], ["evil.com"], REFUSED),
        ("www.good.com", ["www.good.com."], ["evil.com"], REFUSED),
        ("host.good.com", ["*.good.com"], ["host.good.com"], REFUSED),
        ("other.good.com", ["*.good.com"], ["host.good.com"], ()),
        ("a.sub.good.com", ["a.sub.good.com"], [".good.com"], REFUSED),
        ("127.0.0.1", ["127.0.0.1"], ["127.0.0.0/8"], REFUSED),
        ("127.0.0.1", ["127.0.0.1"], ["10.0.0.0/8", "evil.com"], ()),
    ],
)
def test_excluded(host: str, names: list[str], excluded: list[str], expected: tuple[str, ...], policy: str) -> None:
    """A dot at the end is another text, a wildcard stands for hosts that are excluded one by one."""
    assert reasons(host, constrained(excluded=excluded), names=tuple(names), policy=policy) == expected


@pytest.mark.parametrize(
    ("host", "common_name", "expected"),
    [
        ("www.good.com", "www.good.com", ()),
        ("www.good.com", "*.good.com", REFUSED),
        ("www.evil.com", "*.evil.com", REFUSED),
        ("www.evil.com", "www.evil.com.", REFUSED),
        ("intranet", "intranet", REFUSED),
    ],
)
def test_common_name(host: str, common_name: str, expected: tuple[str, ...]) -> None:
    """OpenSSL looks at plain ones of two labels or more alone."""
    assert reasons(host, constrained(permitted=["good.com"]), common_name=common_name) == expected


def test_without_constraints_nothing_changes() -> None:
    """The policy "node" is Node's; RFC 9525 knows no name that ends in a dot."""
    assert reasons("www.good.com", pki.ca3(), names=("www.good.com.",)) == ()
    assert reasons("www.good.com", pki.ca3(), names=("www.good.com.",), policy="rfc9525") == REFUSED
    assert reasons("www.good.com", pki.ca3(), common_name="*.good.com") == ()


def test_message_names_the_authority() -> None:
    """It is not the certificate that is wrong."""
    authority = constrained(excluded=["evil.com"])
    chain = read_verified([pki.leaf("x", issuer=authority, names=["*.good.com"]).cert_der, authority.cert_der, pki.ca1().cert_der])
    assert [found.authority for found in read_constraints(chain)] == ["CN=constrained,O=tlsio tests"]


def test_constraints_that_cannot_be_read() -> None:
    """OpenSSL refuses such a chain; should it not, we do."""
    authority = x509.BasicConstraints(ca=True, path_length=None)
    broken = pki.leaf("broken", issuer=pki.ca1(), extensions=[authority, extension("2.5.29.30", b"\x30\x05x")])
    assert may_constrain(broken.cert_der)
    assert reasons("good.com", broken, names=("good.com",)) == REFUSED


LABELS = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map(".".join)


@given(LABELS, st.lists(LABELS, max_size=3), st.lists(LABELS, max_size=3))
def test_subtrees(host: str, permitted: list[str], excluded: list[str]) -> None:
    """A base holds itself and what is below it, label by label."""

    def within(base: str) -> bool:
        return host.split(".")[-len(base.split(".")) :] == base.split(".")

    found = NameConstraints("x", tuple((0x82, one.encode()) for one in permitted), tuple((0x82, one.upper().encode()) for one in excluded))
    assert found.allows(host, None) == ((not permitted or any(map(within, permitted))) and not any(map(within, excluded)))
    assert found.allows(host, ip_address("10.0.0.1"))


def test_the_certificates_own_constraints_do_not_count() -> None:
    """They are about what it would issue."""
    assert list(read_constraints([parse(constrained(excluded=["evil.com"]).cert_der)])) == []
