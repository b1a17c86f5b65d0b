"""Says in words why a chain was refused, and what would mend it.

OpenSSL says "unable to get local issuer certificate" of a server that forgot its intermediate and of one whose authority
nobody here knows. They need opposite mends by different people, so what the certificates tell is weighed here.
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

# Earlier than this library: such a clock was never set.
_CLOCK_NEVER_SET = datetime(2026, 1, 1, tzinfo=UTC)
# Certificates last from days to a year or so. One that is further off was forgotten for long, or the clock is wrong.
_CLOCK_DOUBTFUL = timedelta(days=365)
# What a stranger can have explained to us: a chain of 100 certificates may have a hundred errors, and it may send any number of
# certificates that all have the issuer's name.
_MOST_ADVICE, _MOST_CANDIDATES = 8, 4

# Errors that come of malformed extensions too: OpenSSL then finds no issuer, no purpose and no authority.
_MAY_COME_OF_EXTENSIONS = {
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
    """Why, in OpenSSL's words with names and dates behind them, and what to do ("" when nobody knows)."""

    cause: str
    hint: str = ""


def advise(facts: PeerFacts) -> list[Advice]:
    """Explain the failures of a chain, each kind once, eight at most.

    The deciding one comes first: the one OpenSSL found last, as in Node.
    """
    # The chain that OpenSSL has built, as far as it came: what was sent beside it is in no order.
    chain = read_verified(facts.verified_chain or facts.chain[:1])
    found: dict[str, Advice] = {}
    for number, depth in reversed(facts.verify_errors):
        advice = _advise(facts, chain, number, depth)
        found.setdefault(advice.hint or advice.cause, advice)
        if len(found) == _MOST_ADVICE:
            break
    return list(found.values())


def _advise(facts: PeerFacts, chain: list[PeerCertificate], number: int, depth: int) -> Advice:
    text = x509_text(number)
    if depth >= len(chain):
        return Advice(text)
    if number in _MAY_COME_OF_EXTENSIONS and not has_valid_extensions(chain[depth].raw):
        cause, hint = _malformed(facts, chain[depth])
    elif number in _UNKNOWN_ISSUER:
        cause, hint = _unknown_issuer(facts, chain)
    else:
        explain = _EXPLANATIONS.get(number)
        cause, hint = explain(facts, chain[depth]) if explain else (f'"{_subject(chain[depth])}"', "")
    return Advice(f"{text}: {cause}", hint)


def _malformed(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    return (
        f'"{_subject(certificate)}" has an extension that is malformed, doubled, or critical and not known to OpenSSL',
        f"OpenSSL can do nothing with such a certificate: {_have_reissued(facts, certificate)}",
    )


def _have_reissued(facts: PeerFacts, certificate: PeerCertificate) -> str:
    """Say who has to do something about a certificate: whoever shows it, or whoever trusts it."""
    if _is_ours(facts, certificate):
        return f'"{_subject(certificate)}" is one of the trusted certificates here: replace it there (ca=, extra_ca=, the default roots).'
    return f'the {facts.peer} needs "{_subject(certificate)}" reissued.'


def _is_ours(facts: PeerFacts, certificate: PeerCertificate) -> bool:
    return certificate.raw in facts.find_roots(certificate.subject)


def _unknown_issuer(facts: PeerFacts, chain: list[PeerCertificate]) -> tuple[str, str]:
    top = chain[-1]
    issuer, subject = top.issuer_text, _subject(top)
    if facts.resumed:
        return f'"{subject}"', ""  # the chain was seen in the first connection only
    alike = (data for data in facts.chain[1:] if top.issuer in data and data != top.raw)
    sent = [one for one in read_all(islice(alike, _MOST_CANDIDATES)) if one.subject == top.issuer and one not in chain]
    trusted = list(read_all(facts.find_roots(top.issuer)[:_MOST_CANDIDATES]))
    if sent or trusted:
        return _explain_mismatch(facts, top, sent or trusted, "was sent" if sent else "is trusted")
    return f'"{issuer}", the issuer of "{subject}", was not sent and is not trusted', _mend_issuer(facts, chain)


def _explain_mismatch(facts: PeerFacts, certificate: PeerCertificate, candidates: list[PeerCertificate], where: str) -> tuple[str, str]:
    """Say why OpenSSL does not take an authority of the right name for the issuer."""
    issuer, subject = certificate.issuer_text, _subject(certificate)
    reasons = {check_issued(one.raw, certificate.raw) for one in candidates}
    if 0 in reasons:
        return f'"{subject}"', ""  # it is an issuer, but something else kept OpenSSL from it
    cause = f'"{issuer}" {where}, but is not the issuer of "{subject}"'
    malformed = next((one for one in candidates if not has_valid_extensions(one.raw)), None)
    if malformed is not None:
        return cause, _malformed(facts, malformed)[0] + f": {_have_reissued(facts, malformed)}"
    if reasons & {VerifyError.AKID_SKID_MISMATCH, VerifyError.AKID_ISSUER_SERIAL_MISMATCH}:
        return cause, (
            f'An authority named "{issuer}" {where}, but "{subject}" names another key or certificate of its issuer '
            "(authorityKeyIdentifier): the authority was renewed, or another one has the same name."
        )
    if VerifyError.KEYUSAGE_NO_CERTSIGN in reasons:
        return cause, f'The key usage of "{issuer}" does not allow it to sign certificates: it has to be reissued.'
    return cause, f"OpenSSL says why: {x509_text(max(reasons))}."


def _mend_issuer(facts: PeerFacts, path: list[PeerCertificate]) -> str:
    """Tell a missing intermediate from an unknown authority, or put the likelier first."""
    top, peer = path[-1], facts.peer
    issuer = top.issuer_text
    missing = f'The {peer} did not send the intermediate certificate "{issuer}": it has to send it after its own (a "fullchain" file).'
    unknown = f'"{issuer}" is an authority unknown here: if you trust it, add its root certificate with ca= or extra_ca=.'
    fetch = f" It can be had from {printable(top.ca_issuers[0])}." if top.ca_issuers else ""
    above = top.authority_issuers
    above_is_trusted = any(facts.find_roots(name) for name in above)
    # authorityCertIssuer says who issued the issuer. When it did so itself, it is a root; when a trusted root did, it is none.
    # Sent intermediates, too, tell where their issuer is to be had, and that is a root as a rule: so caIssuers decide on a leaf only.
    if top.issuer in above or (len(path) > 1 and not above_is_trusted):
        return unknown + fetch
    if fetch or above_is_trusted:
        return missing + fetch
    if facts.explicit_ca:
        return f"{missing} If it is a root and no intermediate, it is an authority unknown here: add it with ca= or extra_ca=."
    return f"{unknown} If it is an intermediate and no root, the {peer} has to send it."


def _no_root(_: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    issuer = certificate.issuer_text
    return (
        f'"{_subject(certificate)}" is trusted, but is no root, and its issuer "{issuer}" is not trusted',
        f'Add "{issuer}" with ca= or extra_ca=, or let the chain end at an intermediate with allow_partial_trust_chain=True.',
    )


def _self_signed(_: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    return (
        f'"{_subject(certificate)}" vouches for itself',
        "If you know this certificate, trust it: add it with ca= (then nothing else is trusted) or extra_ca= (beside the other roots).",
    )


def _root_sent(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    return (
        f'the root "{_subject(certificate)}" came from the {facts.peer} and is not trusted',
        f'If you trust the authority "{_subject(certificate)}", add its certificate with ca= or extra_ca=.',
    )


def _expired(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    hint = f'"{_subject(certificate)}" has to be renewed on the side of the {facts.peer}.'
    if _is_ours(facts, certificate):
        hint = f'"{_subject(certificate)}" is one of the trusted certificates here: put its successor there (ca=, extra_ca=, the default roots).'
    return _validity(facts, certificate), hint + _doubt_clock(facts, certificate.not_after)


def _not_yet_valid(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    hint = f'"{_subject(certificate)}" is not valid yet, or a clock is wrong: compare it with the one here.'
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


def _purpose(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    usage, oid = ("serverAuth", _SERVER_AUTH) if facts.role == "client" else ("clientAuth", _CLIENT_AUTH)
    subject = _subject(certificate)
    if certificate.raw != facts.leaf:
        # Above the leaf the purpose is refused for want of the right to issue, or by OpenSSL's settings of a trusted root.
        return (
            f'"{subject}"',
            f'The authority "{subject}" is not allowed to vouch for {usage}: by its extensions, or by OpenSSL\'s trust settings.',
        )
    allowed = certificate["ext_key_usage"]
    if allowed is not None and oid not in allowed and _ANY_USAGE not in allowed:
        return f'"{subject}"', f"The {facts.peer} needs a certificate whose extendedKeyUsage allows {usage}."
    return f'"{subject}"', f"The keyUsage of the {facts.peer}'s certificate does not fit {usage}, or OpenSSL's trust settings reject that."


def _no_authority(_: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    subject = _subject(certificate)
    why = "keyUsage does not allow that" if not certificate.may_sign_certificates else "basicConstraints do not say that it is an authority"
    return f'"{subject}"', f'"{subject}" issues certificates, but its {why}: it has to be reissued.'


def _simply(hint: str) -> "_Explain":
    """Make an explanation out of one sentence, which may name the `{subject}`, its `{issuer}` and the `{peer}`."""

    def explain(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
        subject = _subject(certificate)
        return f'"{subject}"', hint.format(subject=subject, issuer=certificate.issuer_text, peer=facts.peer)

    return explain


def _subject(certificate: PeerCertificate) -> str:
    return certificate.subject_text


_Explain: TypeAlias = Callable[[PeerFacts, PeerCertificate], tuple[str, str]]
_WEAK = _simply("A stronger key is needed; ciphers= with @SECLEVEL=1 would let the weak one pass, and those who break it too.")
_WEAK_HASH = _simply(
    "It has to be signed with a stronger hash; ciphers= with @SECLEVEL=1 would let the weak one pass, and those who break it too."
)

_SERVER_AUTH, _CLIENT_AUTH, _ANY_USAGE = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2", "2.5.29.37.0"

_UNKNOWN_ISSUER = {VerifyError.UNABLE_TO_GET_ISSUER_CERT_LOCALLY, VerifyError.UNABLE_TO_VERIFY_LEAF_SIGNATURE}
_EXPLANATIONS: Mapping[int, _Explain] = {
    VerifyError.UNABLE_TO_GET_ISSUER_CERT: _no_root,
    VerifyError.UNABLE_TO_GET_CRL: _simply('crl= checks the whole chain: add the revocation list of "{issuer}".'),
    VerifyError.CERT_SIGNATURE_FAILURE: _simply(
        '"{issuer}" has not signed it with the key that is known here: it has several keys of one name, or the certificate was altered.'
    ),
    VerifyError.CERT_NOT_YET_VALID: _not_yet_valid,
    VerifyError.CERT_HAS_EXPIRED: _expired,
    VerifyError.CRL_HAS_EXPIRED: _simply('Get the present revocation list of "{issuer}".'),
    VerifyError.DEPTH_ZERO_SELF_SIGNED_CERT: _self_signed,
    VerifyError.SELF_SIGNED_CERT_IN_CHAIN: _root_sent,
    VerifyError.CERT_REVOKED: _simply('"{issuer}" has withdrawn this certificate: the {peer} needs a new one.'),
    VerifyError.PATH_LENGTH_EXCEEDED: _simply(
        "An authority in the chain may not have as many authorities below it: it has to be reissued with a longer path length."
    ),
    VerifyError.INVALID_PURPOSE: _purpose,
    VerifyError.EE_KEY_TOO_SMALL: _WEAK,
    VerifyError.CA_KEY_TOO_SMALL: _WEAK,
    VerifyError.CA_MD_TOO_WEAK: _WEAK_HASH,
    VerifyError.INVALID_CA: _no_authority,
}
