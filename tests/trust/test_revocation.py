"""Which revocation lists can be relied on, and what they say."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

import asn1
import pki
from tlsio.trust.certificate import parse
from tlsio.trust.revocation import read_list

if TYPE_CHECKING:
    from tlsio.trust.revocation import RevocationList

URL = "http://lists.example/ca1.crl"
MINUTE = dt.timedelta(minutes=1)


def issue(**changes: Any) -> bytes:
    """Make a list of ca1 that revokes `pki.revoked()`."""
    return pki.revocation_list(pki.ca1(), **{"revoked": [pki.revoked()], "encoding": pki.DER, **changes})


def read(data: bytes, *, now: dt.datetime = pki.NOW, for_ca: bool = False, issuer: pki.Identity | None = None) -> RevocationList:
    """Read a list of ca1's."""
    return read_list(data, URL, parse((issuer or pki.ca1()).cert_der), for_ca=for_ca, now=now)


def scope(**changes: Any) -> tuple[x509.IssuingDistributionPoint, bool]:
    """Return an extension that says what a list is about."""
    usual = {
        "full_name": None, "relative_name": None, "only_contains_user_certs": False, "only_contains_ca_certs": False,
        "only_some_reasons": None, "indirect_crl": False, "only_contains_attribute_certs": False,
    }  # fmt: skip
    return x509.IssuingDistributionPoint(**usual | changes), True


def places(*urls: str) -> list[x509.UniformResourceIdentifier]:
    """Return general names."""
    return [x509.UniformResourceIdentifier(url) for url in urls]


def test_revoked_and_not() -> None:
    """By serial number."""
    found = read(issue())
    error = found.find(parse(pki.revoked().cert_der))
    assert error is not None
    assert (error.code, error.alert) == ("CERT_REVOKED", "certificate_revoked")
    assert found.find(parse(pki.localhost().cert_der)) is None


@pytest.mark.parametrize(
    "extension",
    [
        scope(full_name=places("http://elsewhere.example/", URL)),
        scope(only_contains_user_certs=True),
        (x509.CRLNumber(7), False),
        (asn1.extension("1.2.3.4", b"\5\0"), False),
    ],
    ids=["of this place", "of leaves", "a number", "unknown, not critical"],
)
def test_extensions_that_do_no_harm(extension: Any) -> None:
    """The list is what was looked for."""
    read(issue(extensions=[extension]))


@pytest.mark.parametrize(
    ("extension", "for_ca"),
    [
        (scope(full_name=places("http://lists.example/other.crl")), False),
        (scope(only_contains_ca_certs=True), False),
        (scope(only_contains_user_certs=True), True),
        (scope(only_contains_attribute_certs=True), False),
        (scope(indirect_crl=True), False),
        (scope(only_some_reasons=frozenset([x509.ReasonFlags.key_compromise])), False),
    ],
    ids=["of another place", "of authorities", "of leaves", "of attributes", "of others", "of some reasons"],
)
def test_lists_of_something_else(extension: Any, for_ca: bool) -> None:  # noqa: FBT001
    """They may not know the certificate."""
    with pytest.raises(ValueError, match="about other certificates"):
        read(issue(extensions=[extension]), for_ca=for_ca)


@pytest.mark.parametrize(
    "extension", [(x509.DeltaCRLIndicator(1), True), (asn1.extension("1.2.3.4", b"\5\0"), True)], ids=["changes only", "unknown"]
)
def test_critical_extensions(extension: Any) -> None:
    """RFC 5280 §5.2: a list with one that is not known "MUST NOT" be used."""
    with pytest.raises(ValueError, match="not known here"):
        read(issue(extensions=[extension]))


@pytest.mark.parametrize(
    ("now", "fits"),
    [
        (pki.NOW - 4 * MINUTE, True),
        (pki.NOW - 6 * MINUTE, False),
        (pki.NOW + 64 * MINUTE, True),
        (pki.NOW + 66 * MINUTE, False),
    ],
)
def test_times(now: dt.datetime, fits: bool) -> None:  # noqa: FBT001
    """With five minutes between the clocks."""
    data = issue(last_update=pki.NOW, next_update=pki.NOW + 60 * MINUTE)
    if fits:
        assert read(data, now=now).next_update == pki.NOW + 60 * MINUTE
    else:
        with pytest.raises(ValueError, match="it counts from"):
            read(data, now=now)


def test_who_has_signed() -> None:
    """The issuer, by its name and its key, and as one that may."""
    with pytest.raises(ValueError, match="has not signed"):
        read(issue(signer=pki.ca2()))
    with pytest.raises(ValueError, match="another issuer"):
        read(issue(), issuer=pki.ca3())
    may_not = pki.selfsigned_no_keycertsign()
    with pytest.raises(ValueError, match="has not signed"):
        read(pki.revocation_list(may_not, revoked=[], encoding=pki.DER), issuer=may_not)


@pytest.mark.parametrize("data", [b"", b"<html>", issue()[:-1], pki.ca1_crl()], ids=["empty", "text", "cut", "PEM"])
def test_malformed(data: bytes) -> None:
    """DER, all of it."""
    with pytest.raises(ValueError, match=r"."):
        read(data)


def test_every_changed_byte_is_noticed() -> None:
    """Nothing but ValueError comes, and nothing passes that ca1 has not signed."""
    data = issue()
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 0x41
        with pytest.raises(ValueError, match=r"."):
            read(bytes(changed))


def test_places_of_a_certificate() -> None:
    """Only those that stand alone, with a full name."""
    point = x509.DistributionPoint
    usual = [point(places(URL, "ldap://x/"), None, None, None), point(places("http://second.example/"), None, None, None)]
    partial = point(places("http://partial.example/"), None, frozenset([x509.ReasonFlags.key_compromise]), None)
    relative = point(None, x509.RelativeDistinguishedName([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")]), None, None)
    who = pki.leaf("x", issuer=pki.ca1(), extensions=[x509.CRLDistributionPoints([*usual, partial, relative])])
    assert parse(who.cert_der).crl_places == (URL, "ldap://x/", "http://second.example/")
    assert parse(pki.localhost().cert_der).crl_places == ()
    assert parse(pki.leaf("x", extensions=[asn1.extension("2.5.29.31", b"\5")]).cert_der).crl_places == ()
