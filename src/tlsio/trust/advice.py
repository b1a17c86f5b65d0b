"""Explains why a chain was rejected, and how to fix it.

OpenSSL reports "unable to get local issuer certificate" both for a server that does not send its
intermediate and for one whose root is not trusted. The first has to be fixed on the server, the
second on the client, so this module looks at the certificates to tell the two apart.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TypeAlias

from tlsio.model.codes import VerifyError, x509_text
from tlsio.native._core import check_issued, has_valid_extensions

from .certificate import PeerCertificate, print_time, read_all, read_verified
from .names import printable
from .peer_facts import PeerFacts

# This library did not exist before then: an earlier clock was never set.
_CLOCK_NEVER_SET = datetime(2026, 1, 1, tzinfo=UTC)
# Certificates are valid for days to about a year. If one is off by more, either it was neglected
# for long or the clock is wrong.
_CLOCK_DOUBTFUL = timedelta(days=365)
# Limits on the work that a peer can cause: a chain of 100 certificates may have a hundred errors,
# and a peer may send any number of certificates with the issuer's name.
_MAX_ADVICE, _MAX_CANDIDATES = 8, 4

# Errors that malformed extensions cause as well: OpenSSL then finds no issuer, no purpose and no
# CA.
_MAY_BE_EXTENSIONS = {
    VerifyError.UNABLE_TO_GET_ISSUER_CERT,
    VerifyError.DEPTH_ZERO_SELF_SIGNED_CERT,
    VerifyError.SELF_SIGNED_CERT_IN_CHAIN,
    VerifyError.UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
    VerifyError.UNABLE_TO_VERIFY_LEAF_SIGNATURE,
    VerifyError.NO_ISSUER_PUBLIC_KEY,
    VerifyError.INVALID_PURPOSE,
    VerifyError.INVALID_CA,
}


@dataclass(frozen=True, slots=True)
class Advice:
    """One failure and its remedy.

    Attributes:
        cause: OpenSSL's text, followed by names and dates.
        hint: What to do; "" if unknown.
    """

    cause: str
    hint: str = ""


def advise(facts: PeerFacts) -> list[Advice]:
    """Explain the failures of a chain: each kind once, eight at most.

    The deciding failure comes first: the one OpenSSL found last, as in Node.
    """
    # The (possibly partial) chain that OpenSSL built: the certificates that the peer sent are in no
    # particular order.
    chain = read_verified(facts.verified_chain or facts.chain[:1])
    found: dict[str, Advice] = {}
    for number, depth in reversed(facts.verify_errors):
        advice = _advise(facts, chain, number, depth)
        found.setdefault(advice.hint or advice.cause, advice)
        if len(found) == _MAX_ADVICE:
            break
    return list(found.values())


def _advise(facts: PeerFacts, chain: list[PeerCertificate], number: int, depth: int) -> Advice:
    text = x509_text(number)
    if depth >= len(chain):
        return Advice(text)
    if number in _MAY_BE_EXTENSIONS and not has_valid_extensions(chain[depth].raw):
        cause, hint = _malformed(facts, chain[depth])
    elif number in _UNKNOWN_ISSUER:
        cause, hint = _unknown_issuer(facts, chain)
    else:
        explain = _EXPLANATIONS.get(number)
        cause, hint = explain(facts, chain[depth]) if explain else (f'"{_subject(chain[depth])}"', "")
    return Advice(f"{text}: {cause}", hint)


def _malformed(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    return (
        f'"{_subject(certificate)}" has an extension that is malformed, duplicated, or critical and not supported by OpenSSL',
        f"OpenSSL cannot use such a certificate: {_how_to_replace(facts, certificate)}",
    )


def _how_to_replace(facts: PeerFacts, certificate: PeerCertificate) -> str:
    """Say which side has to replace a certificate: the one that trusts it, or the peer."""
    if _is_trusted_root(facts, certificate):
        return f'"{_subject(certificate)}" is one of the trusted roots: replace it there (ca=, extra_ca=, or the default roots).'
    return f'the {facts.peer} has to have "{_subject(certificate)}" reissued.'


def _is_trusted_root(facts: PeerFacts, certificate: PeerCertificate) -> bool:
    return certificate.raw in facts.find_roots(certificate.subject)


def _unknown_issuer(facts: PeerFacts, chain: list[PeerCertificate]) -> tuple[str, str]:
    top = chain[-1]
    issuer, subject = top.issuer_text, _subject(top)
    if facts.resumed:
        return f'"{subject}"', ""  # a resumed connection has no chain to explain
    named_alike = (data for data in facts.chain[1:] if top.issuer in data and data != top.raw)
    sent = [one for one in read_all(islice(named_alike, _MAX_CANDIDATES)) if one.subject == top.issuer and one not in chain]
    trusted = list(read_all(facts.find_roots(top.issuer)[:_MAX_CANDIDATES]))
    if sent or trusted:
        return _explain_mismatch(facts, top, sent or trusted, "was sent" if sent else "is trusted")
    return f'"{issuer}", the issuer of "{subject}", was not sent and is not trusted', _advise_missing_issuer(facts, chain)


def _explain_mismatch(facts: PeerFacts, certificate: PeerCertificate, candidates: list[PeerCertificate], where: str) -> tuple[str, str]:
    """Say why OpenSSL rejects a CA with the right name as the issuer."""
    issuer, subject = certificate.issuer_text, _subject(certificate)
    reasons = {check_issued(one.raw, certificate.raw) for one in candidates}
    if 0 in reasons:
        return f'"{subject}"', ""  # a candidate is the issuer; OpenSSL rejected it for another reason
    cause = f'"{issuer}" {where}, but is not the issuer of "{subject}"'
    malformed = next((one for one in candidates if not has_valid_extensions(one.raw)), None)
    if malformed is not None:
        return cause, _malformed(facts, malformed)[0] + f": {_how_to_replace(facts, malformed)}"
    if reasons & {VerifyError.AKID_SKID_MISMATCH, VerifyError.AKID_ISSUER_SERIAL_MISMATCH}:
        return cause, (
            f'A CA named "{issuer}" {where}, but "{subject}" was issued with another key or certificate of that name '
            "(authorityKeyIdentifier): the CA was renewed, or another CA uses the same name."
        )
    if VerifyError.KEYUSAGE_NO_CERTSIGN in reasons:
        return cause, f'The key usage of "{issuer}" does not allow it to sign certificates: it has to be reissued.'
    return cause, f"OpenSSL's reason: {x509_text(max(reasons))}."


def _advise_missing_issuer(facts: PeerFacts, path: list[PeerCertificate]) -> str:
    """Tell a missing intermediate from an untrusted root, or name the more likely one first."""
    top, peer = path[-1], facts.peer
    issuer = top.issuer_text
    intermediate = f'The {peer} did not send the intermediate certificate "{issuer}": it has to send it after its own (a "fullchain" file).'
    root = f'"{issuer}" is not in the trusted roots: if you trust it, add its root certificate with ca= or extra_ca=.'
    source = f" It can be downloaded from {printable(top.ca_issuers[0])}." if top.ca_issuers else ""
    above = top.authority_issuers
    above_is_trusted = any(facts.find_roots(name) for name in above)
    # authorityCertIssuer names the issuer's own issuer. If both are the same, the issuer is a root;
    # if that one is trusted, the issuer is an intermediate. Intermediates that were sent have
    # caIssuers too, mostly for a root: so caIssuers decide only for a leaf.
    if top.issuer in above or (len(path) > 1 and not above_is_trusted):
        return root + source
    if source or above_is_trusted:
        return intermediate + source
    if facts.explicit_ca:
        return f"{intermediate} If it is a root instead, it is not in the trusted roots: add it with ca= or extra_ca=."
    return f"{root} If it is an intermediate instead, the {peer} has to send it."


def _untrusted_issuer(_: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    issuer = certificate.issuer_text
    return (
        f'"{_subject(certificate)}" is trusted, but it is not a root, and its issuer "{issuer}" is not trusted',
        f'Add "{issuer}" with ca= or extra_ca=, or allow the chain to end at an intermediate with allow_partial_trust_chain=True.',
    )


def _self_signed(_: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    return (
        f'"{_subject(certificate)}" is self-signed',
        "If you trust this certificate, add it with ca= (then nothing else is trusted) or extra_ca= (in addition to the other roots).",
    )


def _untrusted_root(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    return (
        f'the {facts.peer} sent the root "{_subject(certificate)}", which is not trusted',
        f'If you trust the CA "{_subject(certificate)}", add its certificate with ca= or extra_ca=.',
    )


def _expired(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    hint = f'The {facts.peer} has to renew "{_subject(certificate)}".'
    if _is_trusted_root(facts, certificate):
        hint = (
            f'"{_subject(certificate)}" is one of the trusted roots: replace it with its successor (ca=, extra_ca=, or the default roots).'
        )
    return _validity(facts, certificate), hint + _doubt_clock(facts, certificate.not_after)


def _not_yet_valid(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    hint = f'"{_subject(certificate)}" is not valid yet, or a clock is wrong: check the clocks of this machine and of the CA.'
    return _validity(facts, certificate), hint + _doubt_clock(facts, certificate.not_before)


def _validity(facts: PeerFacts, certificate: PeerCertificate) -> str:
    return (
        f'"{_subject(certificate)}" is valid from {certificate["valid_from"]} to {certificate["valid_to"]}, '
        f"and the local clock says {print_time(facts.now.astimezone(UTC))}"
    )


def _doubt_clock(facts: PeerFacts, limit: datetime | None) -> str:
    never_set = facts.now < _CLOCK_NEVER_SET
    if never_set or (limit is not None and abs(facts.now - limit) > _CLOCK_DOUBTFUL):
        return f" The local clock says {print_time(facts.now.astimezone(UTC))}, which may be wrong."
    return ""


def _unsuitable_purpose(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    usage, oid = ("serverAuth", _SERVER_AUTH) if facts.role == "client" else ("clientAuth", _CLIENT_AUTH)
    subject = _subject(certificate)
    if certificate.raw != facts.leaf:
        # For a CA this means that its extensions, or the trust settings of a root, do not allow it
        # to issue for this usage.
        return (
            f'"{subject}"',
            f'The CA "{subject}" may not issue certificates for {usage}: its extensions or OpenSSL\'s trust settings forbid it.',
        )
    allowed = certificate["ext_key_usage"]
    if allowed is not None and oid not in allowed and _ANY_USAGE not in allowed:
        return f'"{subject}"', f"The {facts.peer} needs a certificate whose extendedKeyUsage allows {usage}."
    return f'"{subject}"', f"The keyUsage of the {facts.peer}'s certificate does not allow {usage}, or OpenSSL's trust settings reject it."


def _invalid_ca(_: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    subject = _subject(certificate)
    why = "keyUsage does not allow that" if not certificate.may_sign_certificates else "basicConstraints do not mark it as a CA"
    return f'"{subject}"', f'"{subject}" issues certificates, but its {why}: it has to be reissued.'


def _hint_only(hint: str) -> "_Explain":
    """Return an explanation with a fixed hint, which may use `{subject}`, `{issuer}`, `{peer}`."""

    def explain(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
        subject = _subject(certificate)
        return f'"{subject}"', hint.format(subject=subject, issuer=certificate.issuer_text, peer=facts.peer)

    return explain


def _subject(certificate: PeerCertificate) -> str:
    return certificate.subject_text


_Explain: TypeAlias = Callable[[PeerFacts, PeerCertificate], tuple[str, str]]
_WEAK_KEY = _hint_only(
    "It has to be reissued with a larger key. ciphers= with @SECLEVEL=1 accepts the weak one, and with it attackers who can break it."
)
_WEAK_HASH = _hint_only(
    "It has to be reissued with a stronger hash. ciphers= with @SECLEVEL=1 accepts the weak one, and with it attackers who can break it."
)

_SERVER_AUTH, _CLIENT_AUTH, _ANY_USAGE = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2", "2.5.29.37.0"

_UNKNOWN_ISSUER = {VerifyError.UNABLE_TO_GET_ISSUER_CERT_LOCALLY, VerifyError.UNABLE_TO_VERIFY_LEAF_SIGNATURE}
_EXPLANATIONS: Mapping[int, _Explain] = {
    VerifyError.UNABLE_TO_GET_ISSUER_CERT: _untrusted_issuer,
    VerifyError.UNABLE_TO_GET_CRL: _hint_only('crl= checks the whole chain: add the CRL of "{issuer}" to it.'),
    VerifyError.CERT_SIGNATURE_FAILURE: _hint_only(
        'The trusted or sent certificate of "{issuer}" has another key than the one that signed it: '
        "the CA has several keys under one name, or the certificate was altered."
    ),
    VerifyError.CERT_NOT_YET_VALID: _not_yet_valid,
    VerifyError.CERT_HAS_EXPIRED: _expired,
    VerifyError.CRL_HAS_EXPIRED: _hint_only('Give the current CRL of "{issuer}" with crl=.'),
    VerifyError.DEPTH_ZERO_SELF_SIGNED_CERT: _self_signed,
    VerifyError.SELF_SIGNED_CERT_IN_CHAIN: _untrusted_root,
    VerifyError.CERT_REVOKED: _hint_only('"{issuer}" has revoked this certificate: the {peer} needs a new one.'),
    VerifyError.PATH_LENGTH_EXCEEDED: _hint_only(
        "The path length of a CA in the chain does not allow this many CAs below it: that CA has to be reissued."
    ),
    VerifyError.INVALID_PURPOSE: _unsuitable_purpose,
    VerifyError.EE_KEY_TOO_SMALL: _WEAK_KEY,
    VerifyError.CA_KEY_TOO_SMALL: _WEAK_KEY,
    VerifyError.CA_MD_TOO_WEAK: _WEAK_HASH,
    VerifyError.INVALID_CA: _invalid_ca,
}
