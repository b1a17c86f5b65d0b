"""Explains why a chain was rejected, and how to fix it.

OpenSSL reports "unable to get local issuer certificate" both for a server that does not send its
intermediate and for one whose root is not trusted. The first has to be fixed on the server, the
second on the client, so this module looks at the certificates to tell the two apart.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TypeAlias

from tlsio.model.codes import STRICT_ERRORS, UNTRUSTED, VerifyError, x509_text
from tlsio.model.faults import Role
from tlsio.model.instants import print_instant
from tlsio.native._core import check_issued, has_valid_extensions

from .certificate import PeerCertificate, read_all, read_verified
from .constraints import NameConstraints, read_constraints
from .names import printable
from .peer_facts import PeerFacts

_DEVELOPMENT = "CN=tlsio dev "  # the default name of `tlsio dev init`
# This library did not exist before then: an earlier clock was never set.
_CLOCK_NEVER_SET = datetime(2026, 1, 1, tzinfo=UTC)
# Certificates are valid for days to about a year. If one is off by more, either it was neglected
# for long or the clock is wrong.
_CLOCK_DOUBTFUL = timedelta(days=365)
# Limits on the work that a peer can cause: a chain of 100 certificates may have a hundred errors,
# and a peer may send any number of certificates with the issuer's name.
_MAX_ADVICE, _MAX_CANDIDATES = 8, 4
# Name constraints are read only from certificates of up to this size (a thousand subtrees take 2
# ms), and few of their subtrees are printed. RFC 1035 §2.3.4: names have 255 octets or less.
_MAX_READ_BYTES, _MAX_SUBTREES, _MAX_NAME_BYTES = 8192, 4, 255

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


def advise(facts: PeerFacts, *, is_other_server: bool = False) -> list[Advice]:
    """Explain the failures of a chain: each kind once, eight at most.

    The deciding failure comes first: the one OpenSSL found last, as in Node.

    Args:
        facts: What was found.
        is_other_server: The certificate is for another name than the requested one, too.
    """
    # The (possibly partial) chain that OpenSSL built: the certificates that the peer sent are in no
    # particular order.
    chain = read_verified(facts.verified_chain or facts.chain[:1])
    found: dict[str, Advice] = {}
    for number, depth in reversed(facts.verify_errors):
        advice = _advise(facts, chain, number, depth, is_other_server=is_other_server)
        found.setdefault(advice.hint or advice.cause, advice)
        if len(found) == _MAX_ADVICE:
            break
    first, *others = found.values()
    return [Advice(first.cause, f"{_doubt_clock(facts)}{first.hint}"), *others]


def advise_each(facts: PeerFacts) -> list[Advice]:
    """Explain each failure of a chain by itself, in the order of `verify_errors`."""
    chain = read_verified(facts.verified_chain or facts.chain[:1])
    return [_advise(facts, chain, number, depth, is_other_server=False) for number, depth in facts.verify_errors]


def _advise(facts: PeerFacts, chain: list[PeerCertificate], number: int, depth: int, *, is_other_server: bool) -> Advice:
    text = x509_text(number)
    if depth >= len(chain):
        return Advice(text)
    if number in _MAY_BE_EXTENSIONS and not has_valid_extensions(chain[depth].raw):
        cause, hint = _malformed(facts, chain[depth])
    elif number in _UNKNOWN_ISSUER:
        cause, hint = _unknown_issuer(facts, chain)
    elif number in _NAME_CONSTRAINTS:
        cause, hint = _outside_constraints(facts, chain, depth)
    else:
        explain = _EXPLANATIONS.get(number)
        cause, hint = explain(facts, chain[depth]) if explain else (f'"{_subject(chain[depth])}"', "")
    if is_other_server and number in UNTRUSTED:
        hint = _OTHER_SERVER
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
    if _is_trusted_root(facts, top):
        return _untrusted_issuer(facts, top)
    named_alike = (data for data in facts.chain[1:] if top.issuer in data and data != top.raw)
    sent = [one for one in read_all(islice(named_alike, _MAX_CANDIDATES)) if one.subject == top.issuer and one not in chain]
    trusted = list(read_all(facts.find_roots(top.issuer)[:_MAX_CANDIDATES]))
    if sent or trusted:
        return _explain_mismatch(facts, top, sent or trusted, is_sent=bool(sent))
    return f'"{issuer}", the issuer of "{subject}", was not sent and is not trusted', _advise_missing_issuer(facts, chain)


def _explain_mismatch(
    facts: PeerFacts, certificate: PeerCertificate, candidates: list[PeerCertificate], *, is_sent: bool
) -> tuple[str, str]:
    """Say why OpenSSL rejects a CA with the right name as the issuer."""
    issuer, subject = certificate.issuer_text, _subject(certificate)
    reasons = {check_issued(one.raw, certificate.raw) for one in candidates}
    if 0 in reasons:
        return f'"{subject}"', ""  # a candidate is the issuer; OpenSSL rejected it for another reason
    cause = f'"{issuer}" {"was sent" if is_sent else "is trusted"}, but is not the issuer of "{subject}"'
    malformed = next((one for one in candidates if not has_valid_extensions(one.raw)), None)
    if malformed is not None:
        return cause, _malformed(facts, malformed)[0] + f": {_how_to_replace(facts, malformed)}"
    if reasons & {VerifyError.AKID_SKID_MISMATCH, VerifyError.AKID_ISSUER_SERIAL_MISMATCH}:
        return cause, _advise_other_key(facts, issuer, subject, is_sent=is_sent)
    if VerifyError.KEYUSAGE_NO_CERTSIGN in reasons:
        return cause, f'The key usage of "{issuer}" does not allow it to sign certificates: it has to be reissued.'
    return cause, f"OpenSSL's reason: {x509_text(max(reasons))}."


def _advise_other_key(facts: PeerFacts, issuer: str, subject: str, *, is_sent: bool) -> str:
    """Advise about a CA that was renewed with a new key, or that only has the name of another."""
    if is_sent:
        return (
            f'The {facts.peer} sent a CA named "{issuer}", but another key of that name signed "{subject}" (authorityKeyIdentifier): '
            f"the {facts.peer} has to send the matching one after its own certificate."
        )
    return (
        f'The trusted "{issuer}" has another key than the CA that signed "{subject}" (authorityKeyIdentifier). Either that CA was renewed: '
        "then add its new certificate with ca=. Or another CA uses the same name, which is not the one you trust."
    )


def advise_development_root(issuer: str, options: str) -> str | None:
    """Return what to do about the untrusted authority of `tlsio dev`; None if it is another one."""
    if not issuer.startswith(_DEVELOPMENT):
        return None
    return (
        f'"{issuer}" is an authority for development: add its root.pem, which is in the folder that `tlsio dev where` prints on the '
        f"machine where it was made, with {options}."
    )


def _advise_missing_issuer(facts: PeerFacts, path: list[PeerCertificate]) -> str:
    """Tell a missing intermediate from an untrusted root, or name the more likely one first."""
    top, peer = path[-1], facts.peer
    issuer = top.issuer_text
    if facts.ca_is_empty:
        return f"ca= is empty, so no {peer} is trusted: add the root of the {peer}'s CA to it."
    if advice := advise_development_root(issuer, _trusting_options(facts)):
        return advice
    intermediate = f'The {peer} did not send the intermediate certificate "{issuer}": it has to send it after its own (a "fullchain" file).'
    root = f'"{issuer}" is not in the trusted roots. {_advise_root(facts)}'
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
    return (
        f'{_normal_for_strangers(facts)}"{issuer}" was neither sent nor is it trusted: if it is the root of a CA that you rely on, add it '
        f'with {_trusting_options(facts)}; if it is an intermediate, the {peer} has to send it after its own certificate (a "fullchain" '
        f"file).{_describe_roots(facts)}"
    )


def _advise_root(facts: PeerFacts) -> str:
    """Say when to trust an unknown root, and how."""
    return f"{_normal_for_strangers(facts)}If you rely on this CA, add its root with {_trusting_options(facts)}.{_describe_roots(facts)}"


def _normal_for_strangers(facts: PeerFacts) -> str:
    return "This is normal for a stranger; if it is one of your clients, read on. " if facts.role == "server" else ""


def _trusting_options(facts: PeerFacts) -> str:
    """Name the options that add a root.

    A server must not add the roots of its clients to the default ones: every public CA could then
    issue certificates for clients.
    """
    return "ca=" if facts.role == "server" else "ca= or extra_ca="


def _describe_roots(facts: PeerFacts) -> str:
    sentence = facts.describe_roots()
    return f" {sentence}" if sentence else ""


def _untrusted_issuer(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    subject, issuer = _subject(certificate), certificate.issuer_text
    cause = f'"{subject}" is trusted, but it is not a root, and its issuer "{issuer}" is not trusted'
    if certificate.raw == facts.leaf:
        return cause, (
            f'ca= has the {facts.peer}\'s own certificate, but it needs the root of its CA: add "{issuer}". '
            "To trust this one certificate by itself, set allow_partial_trust_chain=True."
        )
    return cause, f'Add "{issuer}" with ca=, or allow the chain to end at an intermediate with allow_partial_trust_chain=True.'


def _self_signed(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    cause = f'"{_subject(certificate)}" is self-signed'
    if facts.role == "server":
        return cause, "That is normal for a stranger. If it is one of your clients, add its certificate with ca=."
    return cause, (
        "If it is your own server, compare the certificate with the one installed there, and add that one with ca= (then nothing else "
        "is trusted) or extra_ca= (in addition to the other roots). Otherwise another server may have answered."
    )


def _untrusted_root(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    cause = f'the {facts.peer} sent the root "{_subject(certificate)}", which is not trusted'
    if facts.ca_is_empty:
        return cause, f"ca= is empty, so no {facts.peer} is trusted: add the root of the {facts.peer}'s CA to it."
    return cause, _advise_root(facts)


def _expired(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    hint = f'The {facts.peer} has to renew "{_subject(certificate)}".'
    if _is_trusted_root(facts, certificate):
        hint = (
            f'"{_subject(certificate)}" is one of the trusted roots: replace it with its successor (ca=, extra_ca=, or the default roots).'
        )
    return _validity(facts, certificate), hint + _suspect_clock(facts, certificate.not_after)


def _not_yet_valid(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    hint = f'"{_subject(certificate)}" is not valid yet, or a clock is wrong: check the clocks of this machine and of the CA.'
    return _validity(facts, certificate), hint + _suspect_clock(facts, certificate.not_before)


def _validity(facts: PeerFacts, certificate: PeerCertificate) -> str:
    return (
        f'"{_subject(certificate)}" is valid from {print_instant(certificate.not_before)} to {print_instant(certificate.not_after)}, '
        f"and {'the local clock says' if facts.is_now else 'the time of the verification is'} {print_instant(facts.now)}"
    )


def _suspect_clock(facts: PeerFacts, limit: datetime | None) -> str:
    never_set = facts.now < _CLOCK_NEVER_SET
    if not facts.is_now:
        return ""
    if never_set or (limit is not None and abs(facts.now - limit) > _CLOCK_DOUBTFUL):
        return f" The local clock says {print_instant(facts.now)}, which may be wrong."
    return ""


def _doubt_clock(facts: PeerFacts) -> str:
    """Lead with the clock if several certificates failed by it: CAs seldom expire all at once."""
    if not facts.is_now:
        return ""
    for number, text in ((VerifyError.CERT_HAS_EXPIRED, "have expired"), (VerifyError.CERT_NOT_YET_VALID, "are not valid yet")):
        if len({depth for one, depth in facts.verify_errors if one == number}) > 1:
            now = print_instant(facts.now)
            return f"This machine's clock says {now}, when several certificates of the chain {text}: check the clock first. "
    return ""


def allows_role(certificate: PeerCertificate, role: Role) -> bool:
    """Tell whether the extendedKeyUsage of a certificate, if any, allows a side of TLS."""
    allowed = certificate["ext_key_usage"]
    return allowed is None or (_CLIENT_AUTH if role == "client" else _SERVER_AUTH) in allowed or _ANY_USAGE in allowed


def _unsuitable_purpose(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    role: Role = "server" if facts.role == "client" else "client"
    usage = f"{role}Auth"
    subject = _subject(certificate)
    if certificate.raw != facts.leaf:
        # For a CA this means that its extensions, or the trust settings of a root, do not allow it
        # to issue for this usage.
        return (
            f'"{subject}"',
            f'The CA "{subject}" may not issue certificates for {usage}: its extensions or OpenSSL\'s trust settings forbid it.',
        )
    if not allows_role(certificate, role):
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
    return certificate.title


def _weak_key(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    subject = _subject(certificate)
    return f'"{subject}"', (
        f'The key of "{subject}" is too small: it needs a new one (RSA with 2048 bits, or EC P-256). {_begin(_how_to_replace(facts, certificate))}'
    )


def _weak_hash(facts: PeerFacts, certificate: PeerCertificate) -> tuple[str, str]:
    subject, name = _subject(certificate), _hash_of(certificate)
    return f'"{subject}" is signed with {name}', (
        f"The key is fine, but the CA signed the certificate with {name}, which can be forged: it must be reissued with SHA-256. "
        f"{_begin(_how_to_replace(facts, certificate))}"
    )


def _hash_of(certificate: PeerCertificate) -> str:
    try:
        name = certificate.signed.hash_name
    except ValueError:  # the algorithm is malformed
        name = None
    return {"sha1": "SHA-1", "md5": "MD5"}.get(name or "", "a weak hash")


def _begin(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _outside_constraints(facts: PeerFacts, chain: list[PeerCertificate], depth: int) -> tuple[str, str]:
    """Name the CA whose name constraints exclude a certificate, and the names that it may issue."""
    subject = _subject(chain[depth])
    limit = _describe_limits(chain[depth:])
    return f'"{subject}" has names that its CA may not issue', (
        f"{limit}The {facts.peer} needs a certificate of another CA, or one with only permitted names; a host cannot be added on this side."
    )


def _describe_limits(chain: list[PeerCertificate]) -> str:
    """Name the names that the CAs of a chain may issue; of a peer's large certificates, nothing."""
    bounded = [one for one in chain[1:] if len(one.raw) <= _MAX_READ_BYTES][:_MAX_CANDIDATES]
    try:
        constraints = list(read_constraints(chain[:1] + bounded))
    except ValueError:
        return ""
    named = [f'"{one.authority}" may issue {_describe_constraints(one)}' for one in constraints]
    return f"{'; '.join(named)}. " if named else ""


def _describe_constraints(constraints: NameConstraints) -> str:
    permitted, excluded = (_print_subtrees(one) for one in (constraints.permitted, constraints.excluded))
    only = f"only for names within {permitted}" if permitted else "for all names"
    return f"{only} except {excluded}" if excluded else only


def _print_subtrees(subtrees: Sequence[tuple[int, bytes]]) -> str:
    shown = [
        f'"{printable(base[:_MAX_NAME_BYTES].decode("latin-1"))}"' if tag == _DNS_NAME else "other kinds"
        for tag, base in subtrees[:_MAX_SUBTREES]
    ]
    more = f" and {len(subtrees) - _MAX_SUBTREES} more" if len(subtrees) > _MAX_SUBTREES else ""
    return ", ".join(shown) + more


_OTHER_SERVER = (
    "The certificate is for another name as well, so probably another server answered: check host, port and servername=, and "
    "whether a captive portal, a proxy or the DNS redirects the connection. Do not add this certificate or its CA to the trusted ones."
)

_Explain: TypeAlias = Callable[[PeerFacts, PeerCertificate], tuple[str, str]]

_DNS_NAME = 0x82  # [2] dNSName of GeneralName

_SERVER_AUTH, _CLIENT_AUTH, _ANY_USAGE = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2", "2.5.29.37.0"

_UNKNOWN_ISSUER = {VerifyError.UNABLE_TO_GET_ISSUER_CERT_LOCALLY, VerifyError.UNABLE_TO_VERIFY_LEAF_SIGNATURE}
_NAME_CONSTRAINTS = {VerifyError.PERMITTED_VIOLATION, VerifyError.EXCLUDED_VIOLATION}
_EXPLANATIONS: Mapping[int, _Explain] = {
    VerifyError.UNABLE_TO_GET_ISSUER_CERT: _untrusted_issuer,
    VerifyError.UNABLE_TO_GET_CRL: _hint_only('crl= checks the whole chain: add the CRL of "{issuer}" to it.'),
    VerifyError.CERT_SIGNATURE_FAILURE: _hint_only(
        'The trusted or sent certificate of "{issuer}" has another key than the one that signed it: '
        "the CA has several keys under one name, or the certificate was altered."
    ),
    VerifyError.CRL_SIGNATURE_FAILURE: _hint_only(
        'A CRL in crl= has the name of "{issuer}", but is not signed with its key: get the CRL of this CA, and check that it is unchanged.'
    ),
    VerifyError.CERT_NOT_YET_VALID: _not_yet_valid,
    VerifyError.CERT_HAS_EXPIRED: _expired,
    VerifyError.CRL_NOT_YET_VALID: _hint_only(
        'The CRL of "{issuer}" in crl= is not valid yet: check the clock of this machine, and whether it is the right CRL.'
    ),
    VerifyError.CRL_HAS_EXPIRED: _hint_only('Give the current CRL of "{issuer}" with crl=.'),
    VerifyError.DEPTH_ZERO_SELF_SIGNED_CERT: _self_signed,
    VerifyError.SELF_SIGNED_CERT_IN_CHAIN: _untrusted_root,
    VerifyError.CERT_REVOKED: _hint_only('"{issuer}" has revoked this certificate: the {peer} needs a new one.'),
    VerifyError.CERT_CHAIN_TOO_LONG: _hint_only("The {peer} has to use a CA with fewer intermediates: OpenSSL follows at most 100."),
    VerifyError.CERT_REJECTED: _hint_only(
        '"{subject}" is rejected by OpenSSL\'s trust settings in a TRUSTED CERTIFICATE of ca= or extra_ca=.'
    ),
    VerifyError.PATH_LENGTH_EXCEEDED: _hint_only(
        "The path length of a CA in the chain does not allow this many CAs below it: that CA has to be reissued."
    ),
    VerifyError.INVALID_PURPOSE: _unsuitable_purpose,
    VerifyError.EE_KEY_TOO_SMALL: _weak_key,
    VerifyError.CA_KEY_TOO_SMALL: _weak_key,
    VerifyError.CA_MD_TOO_WEAK: _weak_hash,
    VerifyError.INVALID_CA: _invalid_ca,
    **dict.fromkeys(STRICT_ERRORS, _hint_only('RFC 5280 forbids that (chain_policy="strict"): "{subject}" has to be reissued.')),
}
