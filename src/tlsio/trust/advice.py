"""Says in words why a chain was refused, and what would mend it.

OpenSSL says "unable to get local issuer certificate" of a server that forgot its intermediate and of one whose authority
nobody here knows. They need opposite mends by different people, so what the certificates tell is weighed here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from tlsio.model.codes import x509_text
from tlsio.model.errors import UsageValueError

from .certificate import PeerCertificate, parse, print_time
from .facts import PeerFacts
from .names import printable

# Earlier than this library: such a clock was never set.
_CLOCK_NEVER_SET = datetime(2026, 1, 1, tzinfo=UTC)
# Certificates last from days to a year or so. One that is further off was forgotten for long, or the clock is wrong.
_CLOCK_DOUBTFUL = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Advice:
    """Why, in OpenSSL's words with names and dates behind them, and what to do ("" when nobody knows)."""

    cause: str
    hint: str = ""


def advise(facts: PeerFacts) -> list[Advice]:
    """Explain the failures of a chain, each kind once. The deciding one comes first: the one OpenSSL found last, as in Node."""
    found: dict[str, Advice] = {}
    for number, depth in reversed(facts.verify_errors):
        advice = _advise(facts, number, depth)
        found.setdefault(advice.hint or advice.cause, advice)
    return list(found.values())


def read_chain(chain: tuple[bytes, ...]) -> list[PeerCertificate]:
    """Read what can be read of a chain."""
    found = []
    for data in chain:
        try:
            found.append(parse(data))
        except UsageValueError:
            break  # what stands behind it has lost its place
    return found


def _advise(facts: PeerFacts, number: int, depth: int) -> Advice:
    text = x509_text(number)
    chain = read_chain(facts.verified_chain or facts.chain)
    if depth >= len(chain):
        return Advice(text)
    explain = _EXPLANATIONS.get(number)
    cause, hint = explain(facts, chain[depth]) if explain else (f'"{_subject(chain[depth])}"', "")
    return Advice(f"{text}: {cause}", hint)


def _unknown_issuer(facts: PeerFacts, _: PeerCertificate) -> tuple[str, str]:
    path = _path(read_chain(facts.chain))
    top = path[-1]
    issuer = top.issuer_name.describe()
    return f'"{issuer}", the issuer of "{_subject(top)}", was not sent and is not trusted', _mend_issuer(facts, path)


def _mend_issuer(facts: PeerFacts, path: list[PeerCertificate]) -> str:
    """Tell a missing intermediate from an unknown authority, or put the likelier first."""
    top, peer = path[-1], facts.peer
    issuer, key = top.issuer_name.describe(), top.issuer_name.key()
    missing = f'The {peer} did not send the intermediate certificate "{issuer}": it has to send it after its own (a "fullchain" file).'
    unknown = f'"{issuer}" is an authority unknown here: if you trust it, add its root certificate with ca= or extra_ca=.'
    fetch = f" It can be had from {printable(top.ca_issuers[0])}." if top.ca_issuers else ""
    above = {name.key() for name in top.authority_issuers}
    if key in facts.root_subjects:
        return f'An authority named "{issuer}" is trusted, but with another key: it was renewed, or this is somebody else of that name.'
    # authorityCertIssuer says who issued the issuer. When it did so itself, it is a root; when a trusted root did, it is none.
    # Sent intermediates, too, tell where their issuer is to be had, and that is a root as a rule: so caIssuers decide on a leaf only.
    if key in above or (len(path) > 1 and not above & facts.root_subjects):
        return unknown + fetch
    if fetch or above & facts.root_subjects:
        return missing + fetch
    if facts.explicit_ca:
        return f"{missing} If it is a root and no intermediate, it is an authority unknown here: add it with ca= or extra_ca=."
    return f"{unknown} If it is an intermediate and no root, the {peer} has to send it."


def _path(chain: list[PeerCertificate]) -> list[PeerCertificate]:
    """Follow the issuers from the leaf as far as they were sent, in whatever order."""
    path = chain[:1]
    while issuer := next((c for c in chain if c not in path and path[-1].is_issued_by(c)), None):
        path.append(issuer)
    return path


def _no_root(_: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    issuer = certificate.issuer_name.describe()
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
    return _validity(facts, certificate), hint + _doubt_clock(facts, certificate.not_after)


def _not_yet_valid(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    hint = f'"{_subject(certificate)}" was made for later, or a clock is wrong: compare it with the one here.'
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
    usage = "serverAuth" if facts.role == "client" else "clientAuth"
    return f'"{_subject(certificate)}"', f"The {facts.peer} needs a certificate whose extendedKeyUsage allows {usage}."


def _simply(hint: str) -> "_Explain":
    """Make an explanation out of one sentence, which may name the `{subject}`, its `{issuer}` and the `{peer}`."""

    def explain(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
        subject = _subject(certificate)
        return f'"{subject}"', hint.format(subject=subject, issuer=certificate.issuer_name.describe(), peer=facts.peer)

    return explain


def _subject(certificate: PeerCertificate) -> str:
    return certificate.subject_name.describe()


_Explain: TypeAlias = Callable[[PeerFacts, PeerCertificate], tuple[str, str]]
_WEAK = _simply("A stronger key is needed; ciphers= with @SECLEVEL=1 would let the weak one pass, and those who break it too.")

# By X509_V_ERR number (openssl/x509_vfy.h).
_EXPLANATIONS: Mapping[int, _Explain] = {
    2: _no_root,
    3: _simply('crl= checks the whole chain: add the revocation list of "{issuer}".'),
    7: _simply(
        'The signature of "{issuer}" does not fit: an authority of that name is trusted with another key, or the certificate was altered.'
    ),
    9: _not_yet_valid,
    10: _expired,
    12: _simply('Get the present revocation list of "{issuer}".'),
    18: _self_signed,
    19: _root_sent,
    20: _unknown_issuer,
    21: _unknown_issuer,
    23: _simply('"{issuer}" has withdrawn this certificate: the {peer} needs a new one.'),
    25: _simply("An authority in the chain may not have as many authorities below it: it has to be made again with a longer path length."),
    26: _purpose,
    66: _WEAK,
    67: _WEAK,
    68: _WEAK,
    79: _simply('"{subject}" issues certificates but is no authority (basicConstraints): the chain has to be made again.'),
}
