"""The verdict: each cause alone, several together, and what the hints make of them."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

import odd
import pki
from tlsio.model.codes import X509_TEXTS
from tlsio.model.errors import CertificateAltNameError, CertificateError, UsageStateError, UsageTypeError
from tlsio.native._core import Roots
from tlsio.native.context_spec import LabelledMaterial
from tlsio.trust.pins import print_pin
from tlsio.trust.verdict import PeerFacts, Verdict, VerifyPolicy, judge

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = pki.NOW
LEAF_ONLY = ((20, 0), (21, 0))  # what OpenSSL reports of a lone leaf whose issuer it does not find
NAME = "agent1"


def facts(*sent: pki.Identity, **more: Any) -> PeerFacts:
    """Return a client's facts about a server that sent these certificates, verified unless errors are given."""
    chain = tuple(identity.cert_der for identity in sent)
    return PeerFacts(**({"role": "client", "now": NOW, "chain": chain, "verified_chain": chain, "server_name": NAME} | more))


def judged(given: PeerFacts, **policy: Any) -> Verdict:
    """Judge under a policy."""
    return judge(given, VerifyPolicy(**policy))


def hint(given: PeerFacts) -> str:
    """Return the hint of the error, which is also a note of it."""
    error = judged(given).error
    assert isinstance(error, CertificateError)
    assert error.hint in error.__notes__
    return error.hint or ""


def roots(*identities: pki.Identity) -> Any:
    """Return how trusted roots are found by their subject."""
    return Roots([LabelledMaterial("ca", identity.cert_pem) for identity in identities]).find


# --- chain, name, and a peer that is good ---


def test_good_peer_is_authorized() -> None:
    """Nothing speaks against it."""
    verdict = judged(facts(pki.agent1(), pki.ca1()))
    assert verdict == Verdict(authorized=True)
    assert verdict.authorization_error is None


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        (LEAF_ONLY, "UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
        (((20, 1),), "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"),
        (((18, 0),), "DEPTH_ZERO_SELF_SIGNED_CERT"),
        (((19, 1),), "SELF_SIGNED_CERT_IN_CHAIN"),
        (((20, 0), (10, 0)), "CERT_HAS_EXPIRED"),
        (((66, 0),), "UNSPECIFIED"),
    ],
)
def test_code_is_that_of_the_last_error(errors: tuple[tuple[int, int], ...], code: str) -> None:
    """Node's callback lets OpenSSL go on to the end."""
    verdict = judged(facts(pki.agent1(), pki.ca1(), verify_errors=errors))
    assert (verdict.authorized, verdict.refused, verdict.authorization_error) == (False, True, code)
    assert verdict.verify_error == errors[-1][0]
    assert isinstance(verdict.error, CertificateError)
    assert verdict.error.reason == X509_TEXTS[errors[-1][0]]
    assert X509_TEXTS[errors[-1][0]] in str(verdict.error)


def test_every_cause_is_named_chain_first() -> None:
    """Whoever mends one cause sees the next at once."""
    errors = ((20, 0), (21, 0), (10, 0))
    verdict = judged(facts(pki.agent3(), verify_errors=errors, server_name="other"), pins=(bytes(32),))
    assert verdict.reasons == (
        "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
        "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
        "CERT_HAS_EXPIRED",
        "ERR_TLS_CERT_ALTNAME_INVALID",
        "ERR_TLS_PIN_MISMATCH",
    )
    assert isinstance(verdict.error, CertificateError)
    assert verdict.error.reasons == verdict.reasons
    assert str(verdict.error).count("was not sent and is not trusted") == 1
    notes = "\n".join(verdict.error.__notes__)
    assert "Host: other." in notes
    assert "pinned" in notes


def test_wrong_name_is_refused() -> None:
    """The chain is good, but somebody else's."""
    verdict = judged(facts(pki.agent1(), server_name="other"))
    assert isinstance(verdict.error, CertificateAltNameError)
    assert (verdict.reasons, verdict.verify_error) == (("ERR_TLS_CERT_ALTNAME_INVALID",), 62)


def test_policy_decides_about_the_common_name() -> None:
    """Node accepts it, RFC 9525 does not."""
    assert judged(facts(pki.agent1())).authorized
    verdict = judged(facts(pki.agent1()), identity_policy="rfc9525")
    assert isinstance(verdict.error, CertificateError)
    assert "Only the common name" in (verdict.error.hint or "")


def test_refusal_is_left_to_the_caller_who_asked_for_it() -> None:
    """The verdict is the same, but the peer is let in."""
    verdict = judged(facts(pki.agent1(), verify_errors=LEAF_ONLY), reject_unauthorized=False)
    assert (verdict.authorized, verdict.refused, verdict.verify_error) == (False, False, 0)
    assert verdict.authorization_error == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"


def test_client_without_a_name_to_check_is_a_mistake() -> None:
    """Any valid certificate would do."""
    with pytest.raises(UsageStateError):
        judged(facts(pki.agent1(), server_name=None))


def test_server_does_not_check_names() -> None:
    """A client has no host name."""
    assert judged(facts(pki.agent1(), role="server", server_name=None)).authorized


# --- no certificate, or none that can be read ---


def test_absent_certificate_is_refused() -> None:
    """With Node's code; pins and names are not looked for."""
    for role in ("client", "server"):
        verdict = judged(facts(role=role))
        assert (verdict.reasons, verdict.verify_error) == (("UNABLE_TO_GET_ISSUER_CERT",), 28)
    assert judged(facts(resumed=True)).refused


@pytest.mark.node("26: authorized needs a certificate")
def test_server_resumes_without_certificate_but_authorizes_nobody() -> None:
    """As Node does since 26."""
    assert judged(facts(role="server", resumed=True)) == Verdict(authorized=False)


def test_pre_shared_key_stands_for_chain_and_name() -> None:
    """Whoever has it is whom it was shared with; no check that would accept any certificate has to be given."""
    assert judged(facts(psk=True)) == Verdict(authorized=True)
    assert judged(facts(psk=True), answer=None).authorized
    assert judged(facts(psk=True), answer=OwnError("no")).refused


def test_pre_shared_key_stands_for_no_pin() -> None:
    """A pin wants a certificate."""
    assert judged(facts(psk=True), pins=(bytes(32),)).reasons == ("ERR_TLS_PIN_MISMATCH",)


def test_server_authorizes_nobody_by_pre_shared_key() -> None:
    """As Node does since 26: `authorized` speaks of a certificate."""
    assert judged(facts(role="server", psk=True)) == Verdict(authorized=False)


def test_certificate_that_cannot_be_read_is_refused() -> None:
    """Even if OpenSSL liked it."""
    assert judged(facts(chain=(b"\x30\x00",))).reasons == ("CERT_REJECTED",)
    assert judged(facts(chain=(b"\x30\x00",), verified_chain=(), verify_errors=((10, 0),))).reasons == ("CERT_HAS_EXPIRED",)


# --- the caller's own check ---


class OwnError(Exception):
    """Something a user might raise."""


def test_only_none_accepts() -> None:
    """It replaces the check of the name and nothing else."""
    assert judged(facts(pki.agent1(), server_name="other"), answer=None).authorized
    assert judged(facts(pki.agent1(), server_name="other", verify_errors=LEAF_ONLY), answer=None).refused
    assert judged(facts(pki.agent1()), answer=None, pins=(bytes(32),)).refused


@pytest.mark.parametrize(
    ("error", "reason"), [(OwnError("not today"), "not today"), (OwnError(), "OwnError"), (CertificateError(code="MINE"), "MINE")]
)
def test_exception_refuses_and_is_the_error(error: Exception, reason: str) -> None:
    """What the user raised is what the user gets."""
    verdict = judged(facts(pki.agent1()), answer=error, pins=(bytes(32),))
    assert verdict.error is error
    assert verdict.reasons == (reason, "ERR_TLS_PIN_MISMATCH")
    assert verdict.verify_error == 28


@pytest.mark.parametrize("answer", [True, False, 0, "", "no"])
@pytest.mark.parametrize(("role", "option"), [("client", "check_server_identity"), ("server", "check_client")])
def test_any_other_answer_refuses_as_a_mistake(answer: object, role: str, option: str) -> None:
    """True may mean "fine" or "found an error"."""
    verdict = judged(facts(pki.agent1(), role=role), answer=answer)
    assert isinstance(verdict.error, UsageTypeError)
    assert verdict.refused
    assert option in str(verdict.error)


# --- pins ---


def test_pin_of_any_certificate_of_the_verified_chain_is_enough() -> None:
    """The root's too, though the peer did not send it."""
    given = facts(pki.agent1(), verified_chain=(pki.agent1().cert_der, pki.ca1().cert_der))
    for identity in (pki.agent1(), pki.ca1()):
        assert judged(given, pins=(bytes(32), identity.spki_sha256)).authorized


def test_pin_mismatch_lists_what_was_found() -> None:
    """In the form the option takes."""
    verdict = judged(facts(pki.agent1(), pki.ca1()), pins=(bytes(32),))
    assert verdict.authorization_error == "ERR_TLS_PIN_MISMATCH"
    assert f"{print_pin(pki.agent1().spki_sha256)}, {print_pin(pki.ca1().spki_sha256)}" in str(verdict.error)
    assert verdict.verify_error == 28


def test_pinned_certificate_that_was_only_sent_does_not_count() -> None:
    """Anybody can append it."""
    sent = (pki.agent1().cert_der, pki.ca2().cert_der)
    for verified in ((pki.agent1().cert_der, pki.ca1().cert_der), ()):
        assert judged(facts(chain=sent, verified_chain=verified), pins=(pki.ca2().spki_sha256,)).refused


def test_without_rejecting_only_the_leaf_is_pinned() -> None:
    """Nobody vouches for the rest of such a chain."""
    given = facts(pki.agent1(), pki.ca1(), verify_errors=((19, 1),))
    refused = judged(given, pins=(pki.ca1().spki_sha256,), reject_unauthorized=False)
    assert (refused.refused, refused.verify_error) == (True, 28)
    assert refused.reasons == ("ERR_TLS_PIN_MISMATCH", "SELF_SIGNED_CERT_IN_CHAIN")
    accepted = judged(given, pins=(pki.agent1().spki_sha256,), reject_unauthorized=False)
    assert (accepted.refused, accepted.authorized, accepted.reasons) == (False, False, ("SELF_SIGNED_CERT_IN_CHAIN",))


@pytest.mark.parametrize("reject", [True, False])
def test_pins_do_not_apply_to_a_client_without_a_certificate(reject: bool) -> None:  # noqa: FBT001
    """Whether it may come without one is another question."""
    verdict = judged(facts(role="server"), pins=(bytes(32),), reject_unauthorized=reject)
    assert (verdict.refused, verdict.reasons) == (reject, ("UNABLE_TO_GET_ISSUER_CERT",))


@pytest.mark.parametrize(("reject", "expected"), [(True, True), (False, False)])
def test_resumed_connections_are_pinned_by_what_was_verified_then(reject: bool, expected: bool) -> None:  # noqa: FBT001
    """There is no chain this time."""
    kept = (pki.agent1().spki_sha256, pki.ca1().spki_sha256)
    given = facts(pki.agent1(), resumed=True, spki_digests=kept)
    assert judged(given, pins=(pki.ca1().spki_sha256,), reject_unauthorized=reject).authorized is expected
    assert judged(given, pins=(pki.agent1().spki_sha256,), reject_unauthorized=reject).authorized
    assert "found: none" in str(judged(facts(pki.agent1(), resumed=True), pins=kept).error)


# --- hints: a missing intermediate or an unknown authority ---


def below_ca3() -> pki.Identity:
    """Return a leaf below the intermediate ca3, whose root is ca1."""
    return pki.leaf(NAME, issuer=pki.ca3())


def fetchable(issuer: pki.Identity, name: str = NAME) -> pki.Identity:
    """Return a certificate that tells where its issuer's is to be had."""
    url = x509.UniformResourceIdentifier("http://ca.example/ca3.cer")
    access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, url)
    return pki.leaf(name, issuer=issuer, extensions=[x509.AuthorityInformationAccess([access])])


def naming_the_issuers_issuer(root: pki.Identity) -> pki.Identity:
    """Return a leaf of ca3 whose authorityKeyIdentifier names who issued ca3."""
    key = pki.ec.generate_private_key(pki.ec.SECP256R1())
    authority = x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(root.certificate.subject)], 1)
    subject = x509.Name([x509.NameAttribute(pki.NameOID.COMMON_NAME, NAME)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(pki.ca3().certificate.subject).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + pki.DAY).add_extension(authority, critical=False)
    return pki.Identity(key, builder.sign(pki.ca3().key, pki.hashes.SHA256()))


MISSING, UNKNOWN, EITHER = "did not send the intermediate", "is not in the trusted roots", "was neither sent nor is it trusted"


@pytest.mark.parametrize(
    ("sent", "trusted", "first", "also"),
    [
        (lambda: [fetchable(pki.ca3())], [], MISSING, "http://ca.example/ca3.cer"),
        (lambda: [naming_the_issuers_issuer(pki.ca1())], [pki.ca1], MISSING, None),
        (lambda: [naming_the_issuers_issuer(pki.ca3())], [pki.ca1], UNKNOWN, None),
        (lambda: [below_ca3()], [pki.ca2], EITHER, "if it is an intermediate, the server has to send it"),
        (lambda: [below_ca3(), pki.ca3()], [pki.ca2], UNKNOWN, None),
        (lambda: [below_ca3(), pki.ca2(), pki.ca3()], [pki.ca5], UNKNOWN, None),
    ],
    ids=["can be fetched", "issuer's issuer trusted", "issuer is a root", "undecided", "chain", "unordered chain"],
)
def test_hint_tells_missing_intermediate_from_unknown_authority(sent: Any, trusted: Sequence[Any], first: str, also: str | None) -> None:
    """They need opposite mends by different people."""
    sent_along = sent()
    path = [one.cert_der for one in sent_along if one.certificate != pki.ca2().certificate]  # as far as OpenSSL comes
    errors = ((20, len(path) - 1),)
    trusts = roots(*(root() for root in trusted))
    given = facts(*sent_along, verified_chain=tuple(path), verify_errors=errors, find_roots=trusts)
    text = hint(given)
    assert first in text
    assert also is None or also in text
    assert not any(other in text for other in {MISSING, UNKNOWN, EITHER} - {first})
    assert ('"CN=ca1,' if len(given.chain) > 1 else '"CN=ca3,') in text


def test_hint_for_a_sent_intermediate_whose_issuer_can_be_fetched() -> None:
    """Intermediates tell where their root is: the root is unknown, not missing."""
    intermediate = fetchable(pki.ca1(), "ca3")
    text = hint(facts(pki.leaf(NAME, issuer=intermediate), intermediate, verify_errors=((20, 1),)))
    assert UNKNOWN in text


def test_hint_for_an_authority_for_development() -> None:
    """Its root is in a known folder, and nothing is missing on the server."""
    development = pki.authority("tlsio dev ada@plant")
    text = hint(facts(pki.leaf(NAME, issuer=development), verify_errors=LEAF_ONLY))
    assert "add its root.pem, which is in the folder that `tlsio dev where` prints" in text
    assert text.endswith("with ca= or extra_ca=.")


def test_hint_for_an_authority_made_again() -> None:
    """Same name, another key: the usual state after the test authority was made anew."""
    other = pki.authority("ca1")
    text = hint(facts(pki.leaf(NAME, issuer=other), verify_errors=LEAF_ONLY, find_roots=roots(pki.ca1())))
    assert "has another key than the CA that signed" in text


def test_hint_for_a_trusted_intermediate_without_its_root() -> None:
    """Node's code is that of OpenSSL's error 2."""
    text = hint(facts(below_ca3(), pki.ca3(), verify_errors=((2, 1),)))
    assert "allow_partial_trust_chain=True" in text
    assert '"CN=ca1,' in text


# --- hints: what OpenSSL can do nothing with ---


def told(given: PeerFacts) -> str:
    """Return message and hint."""
    error = judged(given).error
    assert isinstance(error, CertificateError)
    return f"{error} | {error.hint}"


FALSE = ("is not trusted", "another key", "add it with ca=", "has to send it", "Add ")


@pytest.mark.parametrize("number", [2, 18, 19, 20, 21, 24, 26, 79])
def test_malformed_certificate_is_called_so(number: int) -> None:
    """OpenSSL finds no issuer, no purpose and no authority in it; nothing that is added would help."""
    who = odd.doubled(pki.agent1())
    given = facts(chain=(who.cert_der,), verified_chain=(who.cert_der,), verify_errors=((number, 0),), find_roots=roots(pki.ca1()))
    assert "malformed, duplicated" in told(given)
    assert not any(words in told(given) for words in FALSE)


def test_malformed_issuer_is_called_so() -> None:
    """Whoever has it replaces it: the peer that sent it, or we who trust it."""
    broken = odd.doubled(pki.ca3(), pki.ca1())
    leaf = below_ca3().cert_der
    text = told(facts(chain=(leaf, broken.cert_der), verified_chain=(leaf,), verify_errors=LEAF_ONLY))
    assert '"CN=ca3,O=tlsio tests" was sent, but is not the issuer' in text
    assert "the server has to have" in text
    trusted = Roots([LabelledMaterial("ca", broken.cert_pem)]).find
    text = told(facts(chain=(leaf,), verified_chain=(leaf,), verify_errors=LEAF_ONLY, find_roots=trusted))
    assert "is one of the trusted roots" in text


def test_issuer_that_may_not_sign() -> None:
    """Its name and its key fit."""
    key_usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    issuer = pki.leaf("may not", issuer=pki.ca1(), extensions=[key_usage])
    leaf = pki.leaf(NAME, issuer=issuer)
    assert "key usage" in told(facts(leaf, issuer, verified_chain=(leaf.cert_der,), verify_errors=LEAF_ONLY))


def test_expired_root_of_ours() -> None:
    """The peer can do nothing about it."""
    old = pki.leaf("old", not_before=NOW - 30 * pki.DAY, not_after=NOW - pki.DAY)
    given = facts(pki.leaf(NAME, issuer=old), old, verify_errors=((10, 1),), find_roots=roots(old))
    assert "one of the trusted roots" in hint(given)
    assert "The server has to renew" in hint(facts(pki.leaf(NAME, issuer=old), old, verify_errors=((10, 1),)))


@pytest.mark.parametrize(
    ("usages", "words"), [([pki.ExtendedKeyUsageOID.CLIENT_AUTH], "extendedKeyUsage allows serverAuth"), ([], "keyUsage of the server's")]
)
def test_purpose_of_the_leaf(usages: list[x509.ObjectIdentifier], words: str) -> None:
    """Its extendedKeyUsage is named only when it is at fault."""
    assert words in hint(facts(pki.leaf(NAME, usages=usages), verify_errors=((26, 0),)))


def test_purpose_of_an_authority() -> None:
    """The peer's own certificate may be fine."""
    assert '"CN=ca1,O=tlsio tests" may not issue certificates for serverAuth' in hint(
        facts(pki.agent1(), pki.ca1(), verify_errors=((26, 1),))
    )


def test_resumed_connection_says_nothing_of_a_chain() -> None:
    """It was sent in the first connection only."""
    assert "was not sent" not in told(facts(below_ca3(), resumed=True, verify_errors=LEAF_ONLY))


def test_hundred_errors_are_not_all_explained() -> None:
    """All have a code, few a sentence."""
    chain = [pki.agent1().cert_der, *(pki.authority(f"ca {number}").cert_der for number in range(30))]
    given = facts(chain=tuple(chain), verified_chain=tuple(chain), verify_errors=tuple((10, depth) for depth in range(31)))
    error = judged(given).error
    assert isinstance(error, CertificateError)
    assert str(error).count("has expired") == 8


def test_names_of_a_long_stranger_are_not_looked_at() -> None:
    """It may have thousands, and is refused in any case; one that is trusted is looked at."""
    who = pki.leaf("other", names=[f"{number}.example.com" for number in range(1000)])
    assert judged(facts(who, verify_errors=LEAF_ONLY)).reasons == ("UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "UNABLE_TO_VERIFY_LEAF_SIGNATURE")
    assert judged(facts(who)).reasons == ("ERR_TLS_CERT_ALTNAME_INVALID",)
    long_name = pki.leaf("other", units=["unit"] * 500)
    assert "(a name of" in told(facts(long_name, verify_errors=((18, 0),)))
    assert '"(a name of' in told(facts(pki.leaf("x", issuer=long_name), verify_errors=LEAF_ONLY))


# --- hints: dates, and the rest ---


def dated(number: int, now: datetime, not_before: datetime, not_after: datetime) -> PeerFacts:
    """Return facts about a certificate outside of its time."""
    return facts(pki.leaf(NAME, not_before=not_before, not_after=not_after), verify_errors=((number, 0),), now=now)


NEW_YEAR = datetime(2027, 1, 1, tzinfo=UTC)
DAYS_10, DAYS_400 = timedelta(days=10), timedelta(days=400)


@pytest.mark.parametrize(
    ("number", "now", "doubtful"),
    [
        (10, NEW_YEAR + DAYS_10, False),
        (10, NEW_YEAR + timedelta(days=365), False),
        (10, NEW_YEAR + DAYS_400, True),
        (9, NEW_YEAR - DAYS_10 - DAYS_10, False),
        (9, NEW_YEAR - DAYS_400 - DAYS_10, True),
        (9, datetime(1970, 1, 1, tzinfo=UTC), True),
    ],
)
def test_dates_are_told_and_the_clock_is_doubted(number: int, now: datetime, doubtful: bool) -> None:  # noqa: FBT001
    """More than a year off, or before this library was written: rather the clock than the certificate."""
    given = dated(number, now, NEW_YEAR - DAYS_10, NEW_YEAR)
    assert ("may be wrong" in hint(given)) is doubtful
    message = str(judged(given).error)
    assert "valid from 2026-12-22 00:00 UTC to 2027-01-01 00:00 UTC" in message
    assert f"{now:%Y-%m-%d %H:%M} UTC" in message


def test_unreadable_date_is_no_reason_to_doubt_the_clock() -> None:
    """There is nothing to compare."""
    data = pki.leaf(NAME).cert_der
    broken = data.replace(f"{NOW - pki.DAY:%y%m%d}".encode(), b"999999")
    given = facts(chain=(broken,), verified_chain=(broken,), verify_errors=((9, 0),))
    assert "may be wrong" not in hint(given)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (3, "crl="),
        (7, "was altered"),
        (12, "current CRL"),
        (18, "extra_ca="),
        (19, "extra_ca="),
        (23, "has revoked"),
        (25, "path length"),
        (26, "trust settings"),
        (8, "is not signed with its key"),
        (11, "clock"),
        (22, "fewer intermediates"),
        (28, "TRUSTED CERTIFICATE"),
        (66, "RSA with 2048 bits"),
        (67, "RSA with 2048 bits"),
        (68, "reissued with SHA-256"),
        (79, "basicConstraints"),
    ],
)
def test_hint_says_what_to_do(number: int, words: str) -> None:
    """In the user's terms."""
    text = hint(facts(pki.agent1(), verify_errors=((number, 0),)))
    assert words in text
    assert "{" not in text
    assert "SECLEVEL" not in text


def test_server_speaks_of_the_client() -> None:
    """Sides are not mixed up."""
    verdict = judged(facts(pki.agent1(), role="server", verify_errors=((26, 0),)))
    assert "client's certificate" in str(verdict.error)
    assert isinstance(verdict.error, CertificateError)
    assert "clientAuth" in (verdict.error.hint or "")


@pytest.mark.parametrize("errors", [((34, 0),), ((10, 9),)])
def test_cause_without_an_explanation_keeps_openssls_words(errors: tuple[tuple[int, int], ...]) -> None:
    """Nothing is made up."""
    error = judged(facts(pki.agent1(), verify_errors=errors)).error
    assert isinstance(error, CertificateError)
    assert error.hint is None
    assert X509_TEXTS[errors[0][0]] in str(error)


# --- hints: what is trusted, names and signatures ---


def test_hint_for_an_empty_ca() -> None:
    """Whether the server sent its root or not."""
    assert "ca= is empty, so no server is trusted" in hint(facts(pki.agent1(), verify_errors=LEAF_ONLY, ca_is_empty=True))
    given = facts(pki.agent1(), pki.ca1(), verify_errors=((19, 1),), ca_is_empty=True)
    assert "ca= is empty, so no server is trusted" in hint(given)


def test_hint_says_where_the_roots_come_from() -> None:
    """As the caller describes them."""
    given = facts(pki.agent1(), pki.ca1(), verify_errors=((19, 1),), describe_roots=lambda: "They are two.")
    assert hint(given).endswith("add its root with ca= or extra_ca=. They are two.")


def test_hint_for_a_certificate_of_another_server() -> None:
    """Nothing is to be trusted, whatever else is wrong with the chain."""
    given = facts(pki.localhost(), verify_errors=((10, 0), *LEAF_ONLY), server_name="other.example")
    assert "so probably another server answered" in hint(given)
    assert "The server has to renew" in hint(given)
    assert "add its root" not in hint(given)


@pytest.mark.parametrize("constraints", [b"\x30\x00", b"\x30\x03\x02\x01\x00", b"\x05\x00", None])
def test_hint_for_name_constraints_that_say_nothing(constraints: bytes | None) -> None:
    """None, none of host names, or unreadable: the hint is general."""
    name = x509.ObjectIdentifier("2.5.29.30")
    issuer = (
        pki.authority("narrow") if constraints is None else pki.leaf("narrow", extensions=[x509.UnrecognizedExtension(name, constraints)])
    )
    text = hint(facts(pki.leaf(NAME, issuer=issuer), issuer, verify_errors=((47, 0),)))
    assert "The server needs a certificate of another CA" in text


def test_hint_for_name_constraints_of_addresses() -> None:
    """They are not written out."""
    subtree = x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))
    issuer = pki.leaf("narrow", extensions=[x509.NameConstraints(permitted_subtrees=None, excluded_subtrees=[subtree])])
    text = hint(facts(pki.leaf(NAME, issuer=issuer), issuer, verify_errors=((48, 0),)))
    assert '"CN=narrow,O=tlsio tests" may issue for all names except other kinds.' in text


def test_hint_for_many_name_constraints_is_short() -> None:
    """A few are printed and the others counted; those of a huge certificate are not even read."""
    for count, wanted in ((100, " and 96 more."), (2000, "The server needs a certificate of another CA")):
        excluded = [x509.DNSName(f"host-{number}.example") for number in range(count)]
        issuer = pki.leaf("wide", extensions=[x509.NameConstraints(permitted_subtrees=None, excluded_subtrees=excluded)])
        text = hint(facts(pki.leaf(NAME, issuer=issuer), issuer, verify_errors=((48, 0),)))
        assert wanted in text
        assert "host-4.example" not in text
        assert len(text) < 500


def test_hint_for_a_weak_hash_that_cannot_be_read() -> None:
    """An algorithm without a name here, and one that is malformed."""
    data = pki.agent1().cert_der.replace(bytes.fromhex("2a8648ce3d040302"), b"\x80" * 8)
    for given in (facts(pki.agent1(), verify_errors=((68, 0),)), facts(chain=(data,), verified_chain=(data,), verify_errors=((68, 0),))):
        assert "signed the certificate with a weak hash" in hint(given)


def test_pins_of_a_strict_request_under_a_lenient_context_are_the_leafs() -> None:
    """As in the engine, and the message says so: the pinned CA does not count."""
    policy = VerifyPolicy(pins=(pki.ca1().spki_sha256,), pins_leaf_only=True, answer=None)
    given = facts(pki.agent1(), pki.ca1())
    verdict = judge(given, policy)
    assert verdict.refused
    assert verdict.authorization_error == "ERR_TLS_PIN_MISMATCH"
    assert "the key of the server's own certificate" in str(verdict.error)
