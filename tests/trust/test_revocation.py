"""Which revocation lists can be relied on, and what they say."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

import asn1
import odd
import pki
from tlsio.native._core import RevokedSerials
from tlsio.trust import der
from tlsio.trust.certificate import parse
from tlsio.trust.revocation import Edition, read_list

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
    "extension", [(x509.DeltaCRLIndicator(1), True), (asn1.extension("1.2.3.4", b"\5\0"), True)], ids=["delta CRL", "unknown"]
)
def test_critical_extensions(extension: Any) -> None:
    """RFC 5280 §5.2: a list with one that is not known "MUST NOT" be used."""
    with pytest.raises(ValueError, match=r"delta CRL|unsupported critical extension"):
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
        with pytest.raises(ValueError, match="it is valid only from"):
            read(data, now=now)


def test_who_has_signed() -> None:
    """The issuer, by its name and its key, and as one that may."""
    with pytest.raises(ValueError, match="not signed by the issuer"):
        read(issue(signer=pki.ca2()))
    with pytest.raises(ValueError, match="another issuer"):
        read(issue(), issuer=pki.ca3())
    may_not = pki.selfsigned_no_keycertsign()
    with pytest.raises(ValueError, match="not signed by the issuer"):
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
    assert parse(who.cert_der).crl_urls == (URL, "ldap://x/", "http://second.example/")
    assert parse(pki.localhost().cert_der).crl_urls == ()
    assert parse(pki.leaf("x", extensions=[asn1.extension("2.5.29.31", b"\5")]).cert_der).crl_urls == ()


# --- the place ---


def named_point(*attributes: str) -> x509.RelativeDistinguishedName:
    """Return a name relative to the issuer's."""
    return x509.RelativeDistinguishedName([x509.NameAttribute(x509.NameOID.COMMON_NAME, text) for text in attributes])


@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.parametrize(
    "place",
    [
        {"full_name": places("http://elsewhere.example/", "http://third.example/")},
        {"full_name": [x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, URL)]))]},
        {"relative_name": named_point("shard 8")},
        {"full_name": [x509.DNSName("lists.example")]},
        {"full_name": [x509.RFC822Name("crl@lists.example"), *places(URL.upper())]},
    ],
    ids=["others", "directory", "relative", "host", "other case"],
)
def test_list_of_another_place(place: dict[str, Any], critical: bool) -> None:  # noqa: FBT001
    """A name that is not this place's, in whatever form, may be of a shard that does not know the certificate."""
    with pytest.raises(ValueError, match="about other certificates"):
        read(issue(extensions=[(scope(**place)[0], critical)]))


def test_place_among_several() -> None:
    """One name that fits is enough."""
    assert read(issue(extensions=[scope(full_name=[x509.DNSName("a"), *places("http://elsewhere.example/", URL)])])).next_update


def test_numbers_and_times() -> None:
    """They tell which of two lists is older."""
    first = read(issue(extensions=[(x509.CRLNumber(7), False)], last_update=pki.NOW)).edition
    assert first == Edition(pki.NOW, 7)
    assert read(issue()).edition.number is None
    assert not first.is_older_than(first)
    assert first.is_older_than(Edition(pki.NOW, 8))
    assert not Edition(pki.NOW, 8).is_older_than(first)
    assert first.is_older_than(Edition(pki.NOW + MINUTE, None))
    assert first.is_older_than(Edition(pki.NOW + MINUTE, 7))


# --- signatures ---


def resign(who: pki.Identity, algorithm: bytes, sign: Any) -> bytes:
    """Make a list of `who`'s that is signed by another algorithm, named inside and outside."""
    body = der.read(x509.load_der_x509_crl(pki.revocation_list(who, revoked=[], encoding=pki.DER)).tbs_certlist_bytes)
    version, _, *rest = (field.encoded for field in body.children())
    tbs = asn1.tlv(der.SEQUENCE, version, algorithm, *rest)
    return asn1.tlv(der.SEQUENCE, tbs, algorithm, asn1.tlv(der.BIT_STRING, b"\0", sign(tbs)))


def pss(digest: str) -> bytes:
    """Return the AlgorithmIdentifier of RSASSA-PSS with one hash for all, salt of 32 bytes."""
    hashed = asn1.tlv(der.SEQUENCE, asn1.oid(digest), b"\5\0")
    mask = asn1.tlv(der.SEQUENCE, asn1.oid("1.2.840.113549.1.1.8"), hashed)
    fields = asn1.tlv(0xA0, hashed), asn1.tlv(0xA1, mask), asn1.tlv(0xA2, asn1.tlv(der.INTEGER, b"\x20"))
    return asn1.tlv(der.SEQUENCE, asn1.oid("1.2.840.113549.1.1.10"), asn1.tlv(der.SEQUENCE, *fields))


def rsa_authority() -> pki.Identity:
    """Make an authority with an RSA key."""
    return pki.leaf("RSA authority", key=pki.rsa_key(), extensions=[x509.BasicConstraints(ca=True, path_length=None)])


def test_rsa_pss() -> None:
    """With the parameters that stand beside the signature."""
    who = rsa_authority()
    assert isinstance(who.key, rsa.RSAPrivateKey)
    key, scheme = who.key, padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    data = resign(who, pss("2.16.840.1.101.3.4.2.1"), lambda tbs: key.sign(tbs, scheme, hashes.SHA256()))
    assert read(data, issuer=who).next_update
    with pytest.raises(ValueError, match="not signed by the issuer"):
        read(data[:-1] + bytes([data[-1] ^ 1]), issuer=who)


@pytest.mark.parametrize(("algorithm", "digest"), [("1.2.840.10045.4.1", hashes.SHA1()), ("1.2.840.113549.1.1.10", hashes.SHA1())])  # noqa: S303
def test_weak_hash(algorithm: str, digest: hashes.HashAlgorithm) -> None:
    """As for OCSP: two lists may have one signature. SHA-1 is also what PSS without parameters means."""
    if algorithm.startswith("1.2.840.10045"):
        who, named = pki.ca1(), asn1.tlv(der.SEQUENCE, asn1.oid(algorithm))
        assert isinstance(who.key, ec.EllipticCurvePrivateKey)
        key = who.key
        data = resign(who, named, lambda tbs: key.sign(tbs, ec.ECDSA(digest)))
    else:
        who, named = rsa_authority(), asn1.tlv(der.SEQUENCE, asn1.oid(algorithm), asn1.tlv(der.SEQUENCE))
        assert isinstance(who.key, rsa.RSAPrivateKey)
        rsa_key = who.key
        data = resign(who, named, lambda tbs: rsa_key.sign(tbs, padding.PSS(padding.MGF1(digest), 20), digest))
    with pytest.raises(ValueError, match="sha1, which can be forged"):
        read(data, issuer=who)


def test_algorithm_that_differs_inside() -> None:
    """Only the inner one is signed."""
    data = issue()
    assert isinstance(pki.ca1().key, ec.EllipticCurvePrivateKey)
    tbs = next(der.read(data).children())
    version, _, *rest = (field.encoded for field in tbs.children())
    other = asn1.tlv(der.SEQUENCE, asn1.oid("1.2.840.10045.4.3.3"))
    with pytest.raises(ValueError, match="not signed by the issuer"):
        read(odd.sign(asn1.tlv(der.SEQUENCE, version, other, *rest), pki.ca1()))


# --- entries ---


@pytest.mark.parametrize("shape", odd.SHAPES)
def test_odd_certificates_are_found(shape: str) -> None:
    """Those that other parsers refuse can be revoked like any other."""
    who = parse(odd.SHAPES[shape](pki.revoked()).cert_der)
    entry = asn1.tlv(der.SEQUENCE, der.make_integer(who.serial), asn1.tlv(der.UTC_TIME, b"260102030405Z"))
    error = read(with_entries(entry)).find(who)
    assert error is not None
    assert "2026-01-02" in error.message
    assert read(with_entries()).find(who) is None


def with_entries(*entries: bytes) -> bytes:
    """Make a list with these entries."""
    tbs = next(der.read(issue()).children())
    fields = [field.encoded for field in tbs.children()]
    return odd.sign(asn1.tlv(der.SEQUENCE, *fields[:5], *([asn1.tlv(der.SEQUENCE, *entries)] if entries else []), *fields[6:]), pki.ca1())


DATE = asn1.tlv(der.UTC_TIME, b"260102030405Z")


def entry_with(oid: str, *, critical: bool = False, content: bytes = b"\5\0") -> bytes:
    """Make an entry about serial number 5 with one extension."""
    flag = [asn1.tlv(der.BOOLEAN, b"\xff")] if critical else []
    extension = asn1.tlv(der.SEQUENCE, asn1.oid(oid), *flag, asn1.tlv(der.OCTET_STRING, content))
    return asn1.tlv(der.SEQUENCE, asn1.tlv(der.INTEGER, b"\5"), DATE, asn1.tlv(der.SEQUENCE, extension))


@pytest.mark.parametrize(
    "entry",
    [
        entry_with("2.5.29.29", critical=True),
        entry_with("2.5.29.29"),
        entry_with("1.2.3.4", critical=True),
        asn1.tlv(der.SEQUENCE, asn1.tlv(der.INTEGER, b"\0\5"), DATE),
        asn1.tlv(der.SEQUENCE, asn1.tlv(der.INTEGER), DATE),
        asn1.tlv(der.SEQUENCE, asn1.tlv(der.INTEGER, b"\5")),
        asn1.tlv(der.SEQUENCE, asn1.tlv(der.INTEGER, b"\1" * 200), DATE),
        asn1.tlv(der.SET, asn1.tlv(der.INTEGER, b"\5"), DATE),
        b"\x30\x05\x02",
    ],
    ids=["another issuer", "not critical", "unknown critical", "padded", "empty", "no date", "too long", "no sequence", "cut off"],
)
def test_list_with_an_entry_that_cannot_be_relied_on(entry: bytes) -> None:
    """What is not understood may be about any certificate."""
    with pytest.raises(ValueError, match=r"malformed|critical|cut off"):
        read(with_entries(entry))


def test_extensions_of_entries_that_are_known() -> None:
    """The reason, and what is not critical, change nothing."""
    for entry in (entry_with("2.5.29.21", critical=True), entry_with("2.5.29.24"), entry_with("1.2.3.4")):
        assert len(RevokedSerials(entry)) == 1


def test_unreadable_date_is_no_excuse() -> None:
    """It is in the list."""
    entry = asn1.tlv(der.SEQUENCE, asn1.tlv(der.INTEGER, b"\5"), asn1.tlv(der.UTC_TIME, b"x"))
    error = read(with_entries(entry)).find(parse(odd.serial(pki.revoked(), b"\5").cert_der))
    assert error is not None
    assert "an unreadable date" in error.message


@given(st.lists(st.integers(-(2**80), 2**160), max_size=60), st.integers(-(2**80), 2**160))
def test_serial_numbers_are_found_as_in_a_set(numbers: list[int], other: int) -> None:
    """Sorted and searched, whatever their lengths and signs."""
    found = RevokedSerials(b"".join(asn1.tlv(der.SEQUENCE, der.make_integer(number), DATE) for number in numbers))
    assert len(found) == len(numbers)
    assert all(found.find(der.make_integer(number)) == DATE for number in numbers)
    assert (found.find(der.make_integer(other)) is not None) == (other in numbers)


@given(st.binary(max_size=80))
def test_no_bytes_harm_the_reader(data: bytes) -> None:
    """It says ValueError, or has read entries."""
    with suppress(ValueError):
        assert RevokedSerials(data).find(data) is None or data
