"""`find_profile_fault`: `cryptography` as the second judge of a chain, at its edges; the cases are in certs/test_verify.py."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.x509 import verification

import pki
from tlsio.trust.profile import find_profile_fault

NOW = dt.datetime.now(dt.UTC)


def fault(who: pki.Identity, name: str | None = None) -> str | None:
    """Return what is wrong with a server below ca1."""
    return find_profile_fault([who.cert_der, pki.ca1().cert_der], peer_is="server", name=name, now=NOW)


def of_names(*names: x509.GeneralName) -> pki.Identity:
    """Make a server with these names, by ca1."""
    return pki.leaf("x", issuer=pki.ca1(), extensions=[x509.SubjectAlternativeName(names)])


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", None])
def test_the_usual_server(name: str | None) -> None:
    """For each of its names, and for none."""
    assert fault(pki.localhost(), name) is None


@pytest.mark.parametrize(
    "names",
    [
        [x509.DNSName("*.example.com")],
        [x509.DNSName("1.2.3.4"), x509.DNSName("example.com")],  # the first is not a host name
        [x509.IPAddress(pki.ipaddress.ip_address("192.0.2.1"))],
        [x509.UniformResourceIdentifier("spiffe://example.org/a")],
    ],
)
def test_without_a_checked_name_any_of_its_own_will_do(names: list[x509.GeneralName]) -> None:
    """The verifier needs one; all else is judged."""
    assert fault(of_names(*names)) is None


def test_a_leaf_without_names() -> None:
    """It is told as that."""
    assert "subjectAltName" in (fault(pki.name_in_cn_only()) or "")


def test_an_old_cryptography_cannot_judge_uris(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no policies for extensions: the leaf is refused."""
    monkeypatch.delattr(verification, "ExtensionPolicy", raising=False)
    assert "from cryptography 45 on" in (fault(of_names(x509.UniformResourceIdentifier("spiffe://example.org/a"))) or "")


def test_a_certificate_that_it_cannot_read() -> None:
    """What either refuses is refused."""
    assert find_profile_fault([b"\x30\x00", pki.ca1().cert_der], peer_is="server", name=None, now=NOW) is not None


def test_hostile_names_are_cut() -> None:
    """The message is bounded, on one line, and names the certificate."""
    found = fault(pki.leaf("a\nb" + "c" * 50, issuer=pki.ca1())) or ""
    assert found.isprintable()
    assert "Certificate(" not in found
    assert len(found) <= 200
