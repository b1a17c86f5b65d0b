"""What an OCSP response is worth. That the good ones are good OpenSSL says too, at the end."""

from __future__ import annotations

import datetime as dt
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509 import ocsp

import odd
import pki
from asn1 import extension, oid, tlv
from responses import GOOD, HOUR, REVOKED, UNKNOWN, delegate, refuse_to_answer, respond
from tlsio.trust import der
from tlsio.trust.certificate import parse
from tlsio.trust.ocsp import MAX_RESPONSE, judge_absence, judge_response, make_request

if TYPE_CHECKING:
    from pathlib import Path

    from tlsio.trust.certificate import PeerCertificate
    from tlsio.trust.ocsp import CertificateStatus

MINUTE = dt.timedelta(minutes=1)
SEQUENCE, ENUMERATED, TAGGED_0 = der.SEQUENCE, 0x0A, 0xA0
ECDSA_WITH_SHA1, ECDSA_WITH_SHA256, OCSP_BASIC = "1.2.840.10045.4.1", "1.2.840.10045.4.3.2", "1.3.6.1.5.5.7.48.1.1"


def peer(identity: pki.Identity) -> PeerCertificate:
    """Read an identity's certificate."""
    return parse(identity.cert_der)


def judge(response: bytes, *, now: dt.datetime = pki.NOW) -> CertificateStatus:
    """Judge a response about `pki.localhost()`."""
    return judge_response(response, peer(pki.localhost()), peer(pki.ca1()), now=now)


def code(status: CertificateStatus) -> str:
    """Return the code, "" for a good certificate; what is not conclusive has no times."""
    assert status.is_conclusive == (status.this_update is not None) == (status.next_update is not None)
    return status.error.code if status.error else ""


# --- good ---


def test_good_of_the_issuer() -> None:
    """The usual one, with its times."""
    status = judge(respond(pki.localhost()))
    assert code(status) == ""
    assert status.is_conclusive
    assert (status.this_update, status.next_update) == (pki.NOW - HOUR, pki.NOW + 24 * HOUR)


@pytest.mark.parametrize("key", [None, ed25519.Ed25519PrivateKey.generate()], ids=["EC", "Ed25519"])
def test_good_of_a_delegated_responder(key: pki.PrivateKey | None) -> None:
    """Its certificate comes with the response; its key may be of another kind than the issuer's."""
    who = delegate(key=key)
    assert code(judge(respond(pki.localhost(), signer=who, certificates=[who.certificate]))) == ""


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256(), hashes.SHA384()], ids=lambda one: one.name)  # noqa: S303
def test_certificate_ids_by_any_hash(algorithm: hashes.HashAlgorithm) -> None:
    """Nothing depends on its strength."""
    assert code(judge(respond(pki.localhost(), id_hash=algorithm))) == ""


@pytest.mark.parametrize("key", [pki.rsa_key(), ed25519.Ed25519PrivateKey.generate()], ids=["RSA", "Ed25519"])
def test_other_kinds_of_keys(key: pki.PrivateKey) -> None:
    """The authority's key decides how it signs."""
    authority = pki.leaf("authority", key=key)
    about = pki.leaf("somebody", issuer=authority)
    good, forged = respond(about, issuer=authority), respond(about, issuer=authority, signer=pki.ca1())
    assert code(judge_response(good, peer(about), peer(authority), now=pki.NOW)) == ""
    assert code(judge_response(forged, peer(about), peer(authority), now=pki.NOW)) == "OCSP_SIGNATURE_INVALID"


# --- what it says ---


def test_revoked() -> None:
    """The alert says so; why and since when stands in the message."""
    status = judge(respond(pki.localhost(), status=REVOKED, reason=x509.ReasonFlags.key_compromise))
    assert code(status) == "CERT_REVOKED"
    assert status.error is not None
    assert status.error.alert == "certificate_revoked"
    assert "keyCompromise" in status.error.message
    assert status.is_conclusive


def test_unknown() -> None:
    """The responder has never heard of the certificate: nothing to rely on."""
    status = judge(respond(pki.localhost(), status=UNKNOWN))
    assert code(status) == "OCSP_CERT_UNKNOWN"
    assert status.error is not None
    assert status.error.alert == "bad_certificate_status_response"


# --- times, with five minutes between the clocks ---


@pytest.mark.parametrize(
    ("late", "expected"), [(4 * MINUTE, ""), (6 * MINUTE, "OCSP_RESPONSE_EXPIRED")], ids=["within the skew", "beyond it"]
)
def test_end(late: dt.timedelta, expected: str) -> None:
    """After nextUpdate it counts no more."""
    assert code(judge(respond(pki.localhost(), next_update=pki.NOW), now=pki.NOW + late)) == expected


@pytest.mark.parametrize(
    ("early", "expected"), [(4 * MINUTE, ""), (6 * MINUTE, "OCSP_RESPONSE_NOT_YET_VALID")], ids=["within the skew", "beyond it"]
)
def test_beginning(early: dt.timedelta, expected: str) -> None:
    """Before thisUpdate it does not count yet."""
    assert code(judge(respond(pki.localhost(), this_update=pki.NOW), now=pki.NOW - early)) == expected


@pytest.mark.parametrize(("age", "expected"), [(24 * HOUR, ""), (25 * HOUR, "OCSP_RESPONSE_EXPIRED")])
def test_without_an_end_it_counts_for_a_day(age: dt.timedelta, expected: str) -> None:
    """Else one from before the revocation could be shown for ever."""
    response = respond(pki.localhost(), this_update=pki.NOW, next_update=None)
    assert code(judge(response, now=pki.NOW + age)) == expected


@pytest.mark.parametrize(("age", "expected"), [(240 * HOUR, ""), (241 * HOUR, "OCSP_RESPONSE_EXPIRED")])
def test_end_far_away_counts_for_ten_days(age: dt.timedelta, expected: str) -> None:
    """Else "good" could be shown for a hundred years, after a revocation too."""
    response = respond(pki.localhost(), this_update=pki.NOW, next_update=pki.NOW + 36500 * pki.DAY)
    status = judge(response, now=pki.NOW + age)
    assert code(status) == expected
    assert status.next_update in (None, pki.NOW + 240 * HOUR)


def test_end_of_the_calendar() -> None:
    """The last moment that DER can say is no reason to fall over."""
    assert code(judge(respond(pki.localhost(), next_update=dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)))) == ""
    assert code(judge(respond(pki.localhost(), this_update=dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC), next_update=None))) == (
        "OCSP_RESPONSE_NOT_YET_VALID"
    )


# --- who has signed ---


def test_stranger() -> None:
    """Anybody can sign something."""
    stranger = pki.ca2()
    assert code(judge(respond(pki.localhost(), signer=stranger))) == "OCSP_SIGNATURE_INVALID"
    assert code(judge(respond(pki.localhost(), signer=stranger, certificates=[stranger.certificate]))) == "OCSP_SIGNER_UNAUTHORIZED"


def test_certificate_itself() -> None:
    """The issuer has certified it, but not for this."""
    who = pki.localhost()
    assert code(judge(respond(who, signer=who, certificates=[who.certificate]))) == "OCSP_SIGNER_UNAUTHORIZED"


@pytest.mark.parametrize(
    "who",
    [delegate(issuer=pki.ca3()), delegate(issuer=pki.ca2()), delegate(may_sign=False), delegate(not_after=pki.NOW - MINUTE)],
    ids=["of an intermediate", "of another authority", "for something else", "expired"],
)
def test_responder_without_authority(who: pki.Identity) -> None:
    """RFC 6960 §4.2.2.2: issued directly by the certificate's issuer, for signing responses; and valid now."""
    assert code(judge(respond(pki.localhost(), signer=who, certificates=[who.certificate]))) == "OCSP_SIGNER_UNAUTHORIZED"


def test_weak_signature() -> None:
    """SHA-1 can be forged: two responses, one signature."""
    tbs = ocsp.load_der_ocsp_response(respond(pki.localhost())).tbs_response_bytes
    status = judge(sign(tbs, ECDSA_WITH_SHA1, hashes.SHA1()))  # noqa: S303
    assert code(status) == "OCSP_SIGNATURE_INVALID"
    assert "sha1" in str(status.error)


PSS = "1.2.840.113549.1.1.10"


def pss(digest: str, salt: int) -> bytes:
    """Return the parameters of RSASSA-PSS with one hash for all."""
    hashed = tlv(SEQUENCE, oid(digest), b"\5\0")
    mask = tlv(SEQUENCE, oid("1.2.840.113549.1.1.8"), hashed)
    return tlv(SEQUENCE, tlv(TAGGED_0, hashed), tlv(0xA1, mask), tlv(0xA2, tlv(der.INTEGER, bytes([salt]))))


@pytest.mark.parametrize(
    ("digest", "parameters", "expected"),
    [
        (hashes.SHA256(), pss("2.16.840.1.101.3.4.2.1", 32), ""),
        (hashes.SHA512(), pss("2.16.840.1.101.3.4.2.3", 64), ""),
        (hashes.SHA256(), pss("2.16.840.1.101.3.4.2.2", 32), "OCSP_SIGNATURE_INVALID"),
        (hashes.SHA1(), tlv(SEQUENCE), "OCSP_SIGNATURE_INVALID"),  # noqa: S303
    ],
    ids=["SHA-256", "SHA-512", "other parameters", "SHA-1"],
)
def test_rsa_pss(digest: hashes.HashAlgorithm, parameters: bytes, expected: str) -> None:
    """The hash stands in the parameters; without them it is SHA-1."""
    authority = pki.leaf("RSA authority", key=pki.rsa_key())
    about = pki.leaf("somebody", issuer=authority)
    tbs = ocsp.load_der_ocsp_response(respond(about, issuer=authority)).tbs_response_bytes
    assert isinstance(authority.key, rsa.RSAPrivateKey)
    signature = authority.key.sign(tbs, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    response = wrap(tbs, tlv(SEQUENCE, oid(PSS), parameters), signature)
    assert code(judge_response(response, peer(about), peer(authority), now=pki.NOW)) == expected


def test_responder_certified_by_rsa_pss() -> None:
    """The issuer's own signature is checked as a response's is."""
    authority = pki.leaf("RSA authority", key=pki.rsa_key())
    about, who = pki.leaf("somebody", issuer=authority), delegate(issuer=authority)
    assert isinstance(authority.key, rsa.RSAPrivateKey)
    key = authority.key
    for digest, number, expected in ((hashes.SHA256(), 1, ""), (hashes.SHA1(), 0, "OCSP_SIGNER_UNAUTHORIZED")):  # noqa: S303
        algorithm = tlv(SEQUENCE, oid(PSS), pss("2.16.840.1.101.3.4.2.1", 32) if number else tlv(SEQUENCE))
        fields = [field.encoded for field in next(der.read(who.cert_der).children()).children()]
        tbs = tlv(SEQUENCE, *fields[:2], algorithm, *fields[3:])
        signature = key.sign(tbs, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        signed = tlv(SEQUENCE, tbs, algorithm, tlv(der.BIT_STRING, b"\0", signature))
        response = send_along(respond(about, issuer=authority, signer=who, certificates=[who.certificate]), signed)
        status = judge_response(response, peer(about), peer(authority), now=pki.NOW)
        assert code(status) == expected
        assert not expected or "sha1" in str(status.error)


def test_responder_that_is_malformed_or_not_named() -> None:
    """OpenSSL's opinion of its extensions counts; and one of another name has not signed."""
    who = delegate()
    response = respond(pki.localhost(), signer=who, certificates=[who.certificate])
    assert code(judge(send_along(response, odd.doubled(who).cert_der))) == "OCSP_SIGNER_UNAUTHORIZED"
    other = odd.change(who, lambda fields: [*fields[:6], peer(pki.ca2()).spki, *fields[7:]])
    assert code(judge(send_along(response, other.cert_der))) == "OCSP_SIGNATURE_INVALID"
    assert code(judge(send_along(response, b"\x30\0", *[other.cert_der] * 9, who.cert_der))) == ""


@pytest.mark.parametrize("shape", odd.SHAPES)
def test_odd_certificates(shape: str) -> None:
    """Good is good for a certificate, an issuer and a responder that other parsers refuse."""
    about = odd.SHAPES[shape](pki.localhost())
    response = respond_about(parse(about.cert_der).serial)
    status = judge_response(response, parse(about.cert_der), peer(pki.ca1()), now=pki.NOW)
    assert code(status) == ""
    assert make_request(parse(about.cert_der), peer(pki.ca1()))
    who = odd.SHAPES[shape](delegate())
    response = send_along(respond(pki.localhost(), signer=who.base, certificates=[who.base.certificate]), who.cert_der)
    assert code(judge(response)) == ""


def respond_about(serial: int) -> bytes:
    """Make a good response of ca1's about any serial number."""
    tbs = ocsp.load_der_ocsp_response(respond(pki.localhost())).tbs_response_bytes
    own = der.make_integer(pki.localhost().certificate.serial_number)
    responder, produced, answers = der.read(tbs).children()
    single = next(answers.children())
    about, *rest = single.children()
    changed = tlv(SEQUENCE, about.content.replace(own, der.make_integer(serial)))
    single_changed = tlv(SEQUENCE, changed, *(one.encoded for one in rest))
    return sign(tlv(SEQUENCE, responder.encoded, produced.encoded, tlv(SEQUENCE, single_changed)), ECDSA_WITH_SHA256, hashes.SHA256())


def send_along(response: bytes, *certificates: bytes) -> bytes:
    """Exchange the certificates that come with a response, which nobody has signed. The responder is named by its key."""
    _, wrapped = der.read(response).children()
    kind, octets = der.read(wrapped.content).children()
    tbs, algorithm, signature, *_ = der.read(octets.content).children()
    sent = tlv(TAGGED_0, tlv(SEQUENCE, *certificates))
    basic = tlv(SEQUENCE, tbs.encoded, algorithm.encoded, signature.encoded, sent)
    return tlv(SEQUENCE, tlv(ENUMERATED, b"\0"), tlv(TAGGED_0, tlv(SEQUENCE, kind.encoded, tlv(der.OCTET_STRING, basic))))


@pytest.mark.parametrize("critical", [True, False])
def test_extension_that_is_not_known(critical: bool) -> None:  # noqa: FBT001
    """RFC 6960 §4.4: ignored, unless it is critical."""
    flag = [tlv(der.BOOLEAN, b"\xff")] if critical else []
    more = tlv(0xA1, tlv(SEQUENCE, tlv(SEQUENCE, oid("1.2.3.4"), *flag, tlv(der.OCTET_STRING, b"\5\0"))))
    fields = [one.encoded for one in der.read(ocsp.load_der_ocsp_response(respond(pki.localhost())).tbs_response_bytes).children()]
    status = judge(sign(tlv(SEQUENCE, *fields, more), ECDSA_WITH_SHA256, hashes.SHA256()))
    assert code(status) == ("OCSP_RESPONSE_MALFORMED" if critical else "")


def test_changed_on_the_way() -> None:
    """Each bit of the last bytes counts: they are the signature."""
    response = bytearray(respond(pki.localhost()))
    response[-1] ^= 1
    assert code(judge(bytes(response))) == "OCSP_SIGNATURE_INVALID"


def test_without_issuer() -> None:
    """A leaf that is trusted by itself."""
    status = judge_response(respond(pki.localhost()), peer(pki.localhost()), None, now=pki.NOW)
    assert code(status) == "OCSP_SIGNATURE_INVALID"


# --- whom it is about ---


def test_another_certificate() -> None:
    """Of the same issuer: another serial number."""
    assert code(judge(respond(pki.localhost_rsa()))) == "OCSP_RESPONSE_MISMATCH"


def test_same_serial_number_of_another_issuer() -> None:
    """The issuer's name and key are part of the id."""
    twin = pki.leaf("localhost", issuer=pki.ca2(), serial_number=pki.localhost().certificate.serial_number)
    assert code(judge(respond(twin, issuer=pki.ca2(), signer=pki.ca1()))) == "OCSP_RESPONSE_MISMATCH"


def test_several_answers_in_one_response() -> None:
    """The right one is found; of two about the same certificate the bad one counts."""
    others = [respond(pki.localhost_rsa(), status=REVOKED), respond(pki.localhost())]
    assert code(judge(join(*others))) == ""
    assert code(judge(join(respond(pki.localhost()), respond(pki.localhost(), status=REVOKED)))) == "CERT_REVOKED"
    old = respond(pki.localhost(), this_update=pki.NOW - 9 * HOUR, next_update=pki.NOW - 8 * HOUR)
    assert code(judge(join(old, respond(pki.localhost())))) == ""
    assert code(judge(join(old, old))) == "OCSP_RESPONSE_EXPIRED"


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([(GOOD, 1), (UNKNOWN, 1)], "OCSP_CERT_UNKNOWN"),
        ([(UNKNOWN, 1), (REVOKED, 1)], "CERT_REVOKED"),
        ([(GOOD, 1), (REVOKED, -8)], "CERT_REVOKED"),
        ([(REVOKED, -8)], "CERT_REVOKED"),
        ([(GOOD, -8), (UNKNOWN, -8)], "OCSP_CERT_UNKNOWN"),
    ],
    ids=["unknown", "revoked", "revoked before", "revoked before, alone", "both old"],
)
def test_worst_of_several_answers(answers: list[tuple[ocsp.OCSPCertStatus, int]], expected: str) -> None:
    """In any order. What was revoked stays so, though the answer has ended; but it is nothing to keep."""
    made = [
        respond(pki.localhost(), status=status, this_update=pki.NOW - 9 * HOUR, next_update=pki.NOW + end * HOUR) for status, end in answers
    ]
    for order in (made, made[::-1]):
        assert code(judge(join(*order))) == expected


def join(*responses: bytes) -> bytes:
    """Put the answers of several responses into one, signed by ca1 anew: `cryptography` makes them one by one only."""
    parts = [list(der.read(ocsp.load_der_ocsp_response(one).tbs_response_bytes).children()) for one in responses]
    responder, produced, *_ = parts[0]
    tbs = tlv(SEQUENCE, responder.encoded, produced.encoded, tlv(SEQUENCE, *(answers.content for _, _, answers, *_ in parts)))
    return sign(tbs, ECDSA_WITH_SHA256, hashes.SHA256())


def sign(tbs: bytes, algorithm: str, digest: hashes.HashAlgorithm) -> bytes:
    """Make a response that ca1 has signed."""
    key = pki.ca1().key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return wrap(tbs, tlv(SEQUENCE, oid(algorithm)), key.sign(tbs, ec.ECDSA(digest)))


def wrap(tbs: bytes, algorithm: bytes, signature: bytes) -> bytes:
    """Make a response of its signed parts."""
    signed = tlv(SEQUENCE, tbs, algorithm, tlv(der.BIT_STRING, b"\0", signature))
    return tlv(SEQUENCE, tlv(ENUMERATED, b"\0"), tlv(TAGGED_0, tlv(SEQUENCE, oid(OCSP_BASIC), tlv(der.OCTET_STRING, signed))))


# --- what it is made of ---


def test_refusal_to_answer() -> None:
    """The responder's own error."""
    status = judge(refuse_to_answer())
    assert code(status) == "OCSP_RESPONSE_UNSUCCESSFUL"
    assert "try_later" in str(status.error)


@pytest.mark.parametrize("response", [b"", b"\0", b"nonsense", respond(pki.localhost())[:-1], respond(pki.localhost()) + b"\0"])
def test_malformed(response: bytes) -> None:
    """No DER, or not all of it, or more."""
    assert code(judge(response)) == "OCSP_RESPONSE_MALFORMED"


def test_every_cut_and_every_changed_byte_is_refused() -> None:
    """Nothing falls over, and nothing passes that ca1 has not signed."""
    response = respond(pki.localhost())
    for at in range(len(response)):
        assert code(judge(response[:at])) == "OCSP_RESPONSE_MALFORMED"
        changed = bytearray(response)
        changed[at] ^= 0x41
        assert code(judge(bytes(changed))) != ""


def test_size() -> None:
    """One at the limit is read, one byte more is not."""
    response = respond(pki.localhost())
    about_limit = [response + bytes(size - len(response)) for size in (MAX_RESPONSE, MAX_RESPONSE + 1)]
    read, unread = (str(judge(one).error) for one in about_limit)
    assert "cannot be read" in read
    assert f"more than {MAX_RESPONSE}" in unread


# --- none ---


def test_absence() -> None:
    """Fine, unless it is required or the certificate itself demands it."""
    usual, must_staple = peer(pki.localhost()), peer(pki.must_staple())
    assert code(judge_absence(usual, required=False)) == ""
    assert code(judge_absence(usual, required=True)) == "OCSP_RESPONSE_MISSING"
    assert code(judge_absence(must_staple, required=False)) == "OCSP_RESPONSE_MISSING"


def test_what_the_certificate_says() -> None:
    """Whom to ask, and whether its server has to; a feature that cannot be read is none."""
    assert peer(pki.agent1()).ocsp_responders == ("http://ocsp.nodejs.org/",)
    assert peer(pki.localhost()).ocsp_responders == ()
    assert peer(pki.must_staple()).requires_staple
    other = pki.leaf("x", extensions=[x509.TLSFeature([x509.TLSFeatureType.status_request_v2])])
    broken = pki.leaf("x", extensions=[extension("1.3.6.1.5.5.7.1.24", b"\5")])
    assert not peer(other).requires_staple
    assert not peer(broken).requires_staple


# --- others say so too ---


def test_openssl_reads_our_question() -> None:
    """It is about this certificate."""
    question = make_request(peer(pki.localhost()), peer(pki.ca1()))
    shown = subprocess.run(["openssl", "ocsp", "-reqin", "/dev/stdin", "-req_text"], input=question, capture_output=True, check=True).stdout
    assert f"{pki.localhost().certificate.serial_number:X}" in shown.decode()


@pytest.mark.parametrize("status", [GOOD, REVOKED], ids=["good", "revoked"])
def test_openssl_judges_the_same(tmp_path: Path, status: ocsp.OCSPCertStatus) -> None:
    """Of what a delegated responder has signed."""
    who = delegate()
    response = respond(pki.localhost(), status=status, signer=who, certificates=[who.certificate])
    files = {"response": response, "ca": pki.ca1().cert_pem, "cert": pki.localhost().cert_pem}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    command = ["openssl", "ocsp", "-respin", "response", "-CAfile", "ca", "-issuer", "ca", "-cert", "cert"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Response verify OK" in run.stderr
    assert f"cert: {status.name.lower()}" in run.stdout
    assert code(judge(response)) == ("" if status is GOOD else "CERT_REVOKED")
