"""Certificates as Node's object, their chains, and certificates that are not as they should be."""

from __future__ import annotations

import copy
import hashlib
import pickle
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

import odd
import pki
from asn1 import extension, oid, tlv
from tlsio.model.errors import CertificateError, UsageValueError
from tlsio.trust import der
from tlsio.trust.certificate import link, parse

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from tlsio.trust.certificate import PeerCertificate

ALT_NAME, INFO_ACCESS, EXTENDED_USAGE = "2.5.29.17", "1.3.6.1.5.5.7.1.1", "2.5.29.37"
CONSTRAINTS, KEY_USAGE = "2.5.29.19", "2.5.29.15"
KEYS = {
    "subject", "issuer", "subjectaltname", "info_access", "ca", "modulus", "exponent", "bits", "pubkey", "asn1_curve", "nist_curve",
    "valid_from", "valid_to", "fingerprint", "fingerprint256", "fingerprint512", "ext_key_usage", "serial_number", "raw",
}  # fmt: skip


def leaf(*extensions: x509.ExtensionType, **options: Any) -> PeerCertificate:
    """Make and parse a certificate."""
    return parse(pki.leaf("a.com", extensions=extensions, **options).cert_der)


def spki(key: PublicKeyTypes) -> bytes:
    """Return SubjectPublicKeyInfo."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def altered(key: bytes, validity: bytes = b"", serial: bytes = b"\x02\x01\x01") -> PeerCertificate:
    """Return a frame of a certificate with these fields and empty names."""
    algorithm, empty = tlv(0x30, oid("1.2.840.10045.4.3.2")), tlv(0x30)
    tbs = tlv(0x30, serial, algorithm, empty, validity or empty, empty, key)
    return parse(tlv(0x30, tbs, algorithm, b"\x03\x01\x00"))


# --- the object ---


def test_has_all_of_nodes_keys() -> None:
    """Each is always there, so that no reader has to guard against KeyError."""
    parsed = leaf()
    assert set(parsed) == KEYS
    assert len(parsed) == len(KEYS)
    with pytest.raises(KeyError):
        parsed["issuerCertificate"]


@pytest.mark.node("crypto-x509")
def test_names_in_subject_and_issuer() -> None:
    """Short names; what repeats becomes a list, and UTF-8 is decoded."""
    parsed = parse(pki.leaf("Ádám Lippai", units=["Test TLS Certificate", "Engineering"], issuer=pki.ca1()).cert_der)
    assert parsed["subject"] == {"O": "tlsio tests", "OU": ["Test TLS Certificate", "Engineering"], "CN": "Ádám Lippai"}
    assert parsed["issuer"]["CN"] == "ca1"


@pytest.mark.node("crypto-x509")
def test_rsa_key() -> None:
    """Numbers in hexadecimal, the key as SubjectPublicKeyInfo."""
    key = pki.rsa_key()
    parsed = leaf(key=key)
    assert parsed["modulus"] == f"{key.public_key().public_numbers().n:X}"
    assert (parsed["exponent"], parsed["bits"], parsed["asn1_curve"]) == ("0x10001", 2048, None)
    assert parsed["pubkey"] == spki(key.public_key())


@pytest.mark.parametrize(
    ("curve", "short_name", "nist_name", "bits"),
    [(ec.SECP256R1(), "prime256v1", "P-256", 256), (ec.SECP521R1(), "secp521r1", "P-521", 521), (ec.SECP256K1(), "secp256k1", None, 256)],
)
def test_ec_key(curve: ec.EllipticCurve, short_name: str, nist_name: str | None, bits: int) -> None:
    """The key is the bare point, as in Node."""
    key = ec.generate_private_key(curve)
    parsed = leaf(key=key)
    assert (parsed["asn1_curve"], parsed["nist_curve"], parsed["bits"]) == (short_name, nist_name, bits)
    assert parsed["pubkey"] == key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert parsed["modulus"] is None
    assert parsed["exponent"] is None


def test_keys_that_node_says_nothing_of() -> None:
    """Ed25519, and an EC key without or on an unknown curve."""
    edwards = altered(spki(ed25519.Ed25519PrivateKey.generate().public_key()))
    bare = altered(tlv(0x30, tlv(0x30, oid("1.2.840.10045.2.1")), b"\x03\x02\x00\x04"))
    unknown = altered(tlv(0x30, tlv(0x30, oid("1.2.840.10045.2.1"), oid("1.2.3")), b"\x03\x02\x00\x04"))
    for parsed, point in ((edwards, None), (bare, b"\x04"), (unknown, b"\x04")):
        assert [parsed[key] for key in ("modulus", "bits", "asn1_curve", "nist_curve", "pubkey")] == [None, None, None, None, point]


@pytest.mark.node("crypto-x509")
def test_dates_are_printed_as_by_openssl() -> None:
    """The day is padded with a blank."""
    parsed = leaf(not_before=datetime(2022, 9, 3, 21, 40, 37, tzinfo=UTC), not_after=datetime(2052, 12, 31, tzinfo=UTC))
    assert (parsed["valid_from"], parsed["valid_to"]) == ("Sep  3 21:40:37 2022 GMT", "Dec 31 00:00:00 2052 GMT")
    assert parsed.not_before == datetime(2022, 9, 3, 21, 40, 37, tzinfo=UTC)


@pytest.mark.node("crypto-x509")
def test_fingerprints_and_pin() -> None:
    """Fingerprints are of the certificate, the pin is of its key."""
    identity = pki.leaf("a.com")
    parsed = parse(identity.cert_der)
    for key, algorithm in (("fingerprint", "sha1"), ("fingerprint256", "sha256"), ("fingerprint512", "sha512")):
        assert parsed[key].replace(":", "").lower() == hashlib.new(algorithm, identity.cert_der).hexdigest()
    assert parsed["fingerprint"][2] == ":"
    assert parsed.spki_sha256 == identity.spki_sha256


@pytest.mark.node("crypto-x509")
@pytest.mark.parametrize(
    ("content", "printed"), [(b"\x01", "01"), (b"\x00\x80", "80"), (b"\x12\x34", "1234"), (b"\x00", "0"), (b"\xff", "-01")]
)
def test_serial_numbers_are_printed_as_by_openssl(content: bytes, printed: str) -> None:
    """Whole octets, but a lone zero; negative ones exist."""
    assert altered(tlv(0x30), serial=tlv(0x02, content))["serial_number"] == printed


@pytest.mark.node("tls-translate-peer-certificate", "x509-escaping", "crypto-x509")
def test_information_access() -> None:
    """Lists by method and kind; a value with a line break cannot pretend to be another entry."""
    evil = tlv(0x30, oid("1.3.6.1.5.5.7.48.1"), tlv(0x86, b"http://good.example.com/\nOCSP - URI:http://evil.example.com/"))
    unknown = tlv(0x30, oid("1.3.9999.12.34"), tlv(0x86, b"http://a/"))
    issuers = [tlv(0x30, oid("1.3.6.1.5.5.7.48.2"), tlv(0x86, url)) for url in (b"http://b/", b"http://c/")]
    parsed = leaf(extension(INFO_ACCESS, tlv(0x30, evil, unknown, *issuers)))
    assert parsed["info_access"] == {
        "OCSP - URI": ["http://good.example.com/\nOCSP - URI:http://evil.example.com/"],
        "1.3.9999.12.34 - URI": ["http://a/"],
        "CA Issuers - URI": ["http://b/", "http://c/"],
    }
    assert parsed.ca_issuers == ("http://b/", "http://c/")
    assert leaf().ca_issuers == ()


@pytest.mark.node("crypto-x509")
def test_extended_key_usage_is_a_list_of_numbers() -> None:
    """As Node has it."""
    assert leaf(usages=[x509.ObjectIdentifier("1.3.6.1.5.5.7.3.2")])["ext_key_usage"] == ["1.3.6.1.5.5.7.3.2"]


def test_names_for_the_identity_check() -> None:
    """Parsed, not printed."""
    names = leaf(names=["a.com", "*.b.com", "::1"]).names
    assert (names.dns, [str(ip) for ip in names.ip], names.common_names) == (("a.com", "*.b.com"), ["::1"], ("a.com",))


@pytest.mark.parametrize(
    ("extensions", "expected"),
    [
        ([], False),
        ([extension(CONSTRAINTS, tlv(0x30))], False),
        ([extension(CONSTRAINTS, tlv(0x30, b"\x02\x01\x00"))], False),
        ([extension(CONSTRAINTS, tlv(0x30, b"\x01\x01\x00"))], False),
        ([extension(CONSTRAINTS, tlv(0x30, b"\x01\x01\xff"))], True),
        ([extension(CONSTRAINTS, tlv(0x30, b"\x01\x01\xff")), extension(KEY_USAGE, b"\x03\x02\x07\x80")], False),
        ([extension(CONSTRAINTS, tlv(0x30, b"\x01\x01\xff")), extension(KEY_USAGE, b"\x03\x02\x02\x04")], True),
        ([extension(CONSTRAINTS, tlv(0x30, b"\x01\x01\xff")), extension(KEY_USAGE, b"\x03\x01\x00")], False),
        ([extension(CONSTRAINTS, b"\x04\x00")], False),
    ],
)
def test_authority(extensions: list[x509.ExtensionType], expected: bool) -> None:  # noqa: FBT001
    """BasicConstraints allow it and key usage does not deny it."""
    assert leaf(*extensions)["ca"] is expected


@pytest.mark.node("crypto-x509")
def test_object_of_cryptography() -> None:
    """Made when asked for, once."""
    identity = pki.leaf("a.com")
    parsed = parse(identity.cert_der)
    assert parsed.x509 == identity.certificate
    assert parsed.x509 is parsed.x509


def test_equality_hash_repr_and_copies() -> None:
    """By the bytes; the repr shows whose it is."""
    data = pki.leaf("a.com").cert_der
    parsed, same = parse(data), parse(bytearray(data))
    assert parsed == same
    assert len({parsed, same}) == 1
    assert parsed != dict(parsed)
    assert "CN=a.com" in repr(parsed)
    assert pickle.loads(pickle.dumps(parsed)) == parsed  # noqa: S301  (just made)
    assert copy.deepcopy(parsed)["raw"] == data


# --- malformed certificates ---


@pytest.mark.parametrize("data", [b"", b"-----BEGIN CERTIFICATE-----", b"\x30\x00", tlv(0x30, tlv(0x30), tlv(0x30), b"\x03\x01\x00")])
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    """Nothing can be shown of it."""
    with pytest.raises(UsageValueError):
        parse(data)


def test_malformed_fields_are_none() -> None:
    """The certificate is shown as far as it can be read."""
    parsed = altered(tlv(0x30), serial=b"\x04\x00")
    assert [parsed[key] for key in ("modulus", "bits", "pubkey", "serial_number", "asn1_curve")] == [None] * 5
    assert (parsed["valid_from"], parsed.not_after, parsed["subject"]) == ("Bad time value", None, {})


@pytest.mark.parametrize("dotted", [ALT_NAME, INFO_ACCESS, EXTENDED_USAGE, CONSTRAINTS, KEY_USAGE])
def test_malformed_extension_spoils_only_itself(dotted: str) -> None:
    """`cryptography` would refuse all extensions for one."""
    parsed = leaf(extension(dotted, b"\x30\x05ab"))
    dict(parsed)
    assert parsed["subject"]["CN"] == "a.com"
    assert parsed.ca_issuers == ()
    assert not parsed["ca"]


@pytest.mark.node("tls-cert-ext-encoding")
def test_malformed_alternative_names_leave_no_name_at_all() -> None:
    """Else hiding the list would bring the common name back."""
    parsed = leaf(extension(ALT_NAME, b"\x30\x05ab"))
    assert parsed["subjectaltname"] is None
    assert not parsed.names.is_readable
    assert parsed.names.dns == ()


def test_empty_alternative_names_count_as_none() -> None:
    """As in Node, where the text is empty."""
    parsed = leaf(extension(ALT_NAME, tlv(0x30)))
    assert (parsed["subjectaltname"], parsed.names.is_readable) == ("", True)


def test_names_that_cannot_be_read_are_empty() -> None:
    """The key of an unreadable name equals that of no real one."""
    good = pki.leaf("a.com").cert_der
    parsed = parse(good.replace(b"\x06\x03\x55\x04\x03", b"\x05\x03\x55\x04\x03"))
    assert parsed["subject"] is None
    assert parsed.subject_name.relative == ()
    assert parsed.issuer_name.relative == ()


@pytest.mark.node("tls-cert-ext-encoding")
@given(st.data())
def test_any_damage_is_survived(data: st.DataObject) -> None:
    """One octet changed anywhere: the certificate is refused as a whole, or every key has an answer."""
    damaged = bytearray(pki.agent1().cert_der)
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        parsed = parse(damaged)
    except UsageValueError:
        return
    dict(parsed)
    link([damaged, pki.ca1().cert_der])
    assert parsed.names is not None
    assert parsed.authority_issuers == ()


# --- chains ---


def common_names(certificate: PeerCertificate) -> list[str]:
    """Return the common names along a linked chain."""
    return [entry["subject"]["CN"] for entry in certificate.chain()]


def test_chain_is_linked_to_a_root_that_is_its_own_issuer() -> None:
    """Walkers have to stop there."""
    chain = link([pki.agent6().cert_der, pki.ca3().cert_der, pki.ca1().cert_der])
    assert common_names(chain) == ["Ádám Lippai", "ca3", "ca1"]
    root = chain["issuer_certificate"]["issuer_certificate"]
    assert root["issuer_certificate"] is root
    assert set(chain) == KEYS | {"issuer_certificate"}
    assert len(chain) == len(KEYS) + 1


@pytest.mark.node("tls-translate-peer-certificate")
def test_self_signed_leaf_is_its_own_issuer() -> None:
    """As in Node."""
    chain = link([pki.agent2().cert_der])
    assert chain.issuer_certificate is chain


def test_chain_is_linked_in_any_order_and_completed_from_elsewhere() -> None:
    """What the peer did not send may be known here; repeated certificates do no harm."""
    chain = [pki.agent6().cert_der, pki.ca2().cert_der, pki.ca3().cert_der, pki.ca3().cert_der, pki.agent6().cert_der]
    assert common_names(link(chain)) == ["Ádám Lippai", "ca3"]
    assert common_names(link(chain, [pki.ca5().cert_der, pki.ca1().cert_der])) == ["Ádám Lippai", "ca3", "ca1"]
    assert "issuer_certificate" not in link(chain).chain().__next__()["issuer_certificate"]


@pytest.mark.node("tls-translate-peer-certificate")
def test_authorities_that_signed_each_other_end_the_walk() -> None:
    """Node does not come back from this."""
    one, two = pki.authority("one"), pki.authority("two")
    crossed = [
        pki.leaf(a, key=k, issuer=b, extensions=[x509.BasicConstraints(ca=True, path_length=None)])
        for a, k, b in (("one", one.key, two), ("two", two.key, one))
    ]
    leaf_certificate = pki.leaf("a.com", issuer=one)
    assert common_names(link([leaf_certificate.cert_der, *(c.cert_der for c in crossed)])) == ["a.com", "one", "two"]


def test_key_identifiers_tell_authorities_of_one_name_apart() -> None:
    """An authority made again has the name of the old one."""
    old, new = pki.authority("ca"), pki.authority("ca")
    chain = link([pki.leaf("a.com", issuer=new).cert_der], [old.cert_der, new.cert_der])
    assert chain["issuer_certificate"]["raw"] == new.cert_der


def test_certificate_that_may_not_sign_is_no_issuer() -> None:
    """Key usage says what a key is for."""
    no_authority = pki.leaf("ca", extensions=[extension(KEY_USAGE, b"\x03\x02\x07\x80")])
    assert link([pki.leaf("a.com", issuer=no_authority).cert_der, no_authority.cert_der]).issuer_certificate is None


def test_issuers_are_found_among_hundreds() -> None:
    """Each step looks where the issuer can be: of one name, by the key; beyond 100 certificates nothing is looked at."""
    key = ec.generate_private_key(ec.SECP256R1())
    top = pki.authority("top")
    steps = [top]
    for _ in range(40):
        steps.append(pki.authority("top", issuer=steps[-1]))
    crowd = [pki.authority("top", issuer=steps[-1]) for _ in range(50)]
    sent = [pki.leaf("leaf", issuer=steps[-1], key=key), *crowd, *steps]
    found = link([one.cert_der for one in sent])
    assert [one.raw for one in found.chain()] == [sent[0].cert_der, *(one.cert_der for one in reversed(steps))]
    far = [sent[0].cert_der, *[crowd[0].cert_der] * 99, steps[-1].cert_der]
    assert link(far).issuer_certificate is None


def test_names_in_other_types_of_strings() -> None:
    """Are the same names, as for OpenSSL."""
    printable = der.make(der.SET, der.make(der.SEQUENCE, bytes.fromhex("060355040a"), der.make(0x13, b"tlsio  TESTS")))
    common = der.make(der.SET, der.make(der.SEQUENCE, bytes.fromhex("0603550403"), der.make(0x13, b"CA1")))
    who = odd.change(pki.localhost(), lambda fields: [*fields[:3], der.make(der.SEQUENCE, printable, common), *fields[4:]])
    assert link([who.cert_der, pki.ca1().cert_der]).issuer_certificate == parse(pki.ca1().cert_der)


def test_what_cannot_be_read_is_passed_over() -> None:
    """The rest of a chain is a stranger's."""
    found = link([pki.chained().cert_der, b"\x30\0", pki.ca3().cert_der])
    assert common_names(found) == ["localhost", "ca3"]


def test_linked_chain_survives_pickling() -> None:
    """Circles included."""
    chain = pickle.loads(pickle.dumps(link([pki.agent1().cert_der, pki.ca1().cert_der])))  # noqa: S301  (just made)
    assert common_names(chain) == ["agent1", "ca1"]


@pytest.mark.parametrize("shape", odd.SHAPES)
def test_odd_certificates_are_read(shape: str) -> None:
    """By us; and where `cryptography` refuses one, the error is ours, and says what to do."""
    parsed = parse(odd.SHAPES[shape](pki.localhost()).cert_der)
    assert parsed.is_signed_by(parse(pki.ca1().cert_der))
    assert not parsed.is_signed_by(parse(pki.ca2().cert_der))
    assert parsed.not_after == pki.localhost().certificate.not_valid_after_utc
    with warnings.catch_warnings(action="ignore"):
        if shape in odd.READABLE:
            assert parsed.x509
            return
        with pytest.raises(CertificateError, match="cryptography cannot read") as caught:
            _ = parsed.x509
    assert caught.value.code == "ERR_TLS_CERTIFICATE_UNREADABLE"
    assert "get_peer_certificate" in (caught.value.hint or "")


def test_chain_without_certificates_is_refused() -> None:
    """There is no leaf to return."""
    with pytest.raises(UsageValueError):
        link([])


def test_issuer_of_the_issuer() -> None:
    """The one place where a leaf may tell that an intermediate is missing."""
    directory = x509.DirectoryName(pki.ca1().certificate.subject)
    authority = x509.AuthorityKeyIdentifier(None, [directory, x509.DNSName("a")], 1)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(pki.ca3().certificate.subject).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(pki.NOW).not_valid_after(pki.NOW + pki.DAY).add_extension(authority, critical=False)
    parsed = parse(builder.sign(pki.ca3().key, pki.hashes.SHA256()).public_bytes(Encoding.DER))
    assert parsed.authority_issuers == (pki.ca1().certificate.subject.public_bytes(),)
    assert parsed.is_issued_by(parse(pki.ca3().cert_der))


def test_the_version_is_read_without_cryptography() -> None:
    """As of certificates that `cryptography` refuses; without the field it is 1."""
    assert parse(pki.localhost().cert_der).version == pki.localhost().certificate.version.value + 1
    assert parse(odd.first_version(pki.localhost()).cert_der).version == 1
    starred = parse(odd.star_in_printable_string(pki.localhost()).cert_der)
    with pytest.raises(CertificateError):
        _ = starred.x509
    assert starred.version == 3
