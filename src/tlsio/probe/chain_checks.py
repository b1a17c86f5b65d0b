"""Findings about a server's chain: trust, order, time and strength.

Input: the certificates as they were sent, the chain that OpenSSL built, its verify errors, and an
instant. Nothing is fetched and no clock is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tlsio.model.codes import VerifyError, x509_text
from tlsio.model.instants import print_instant
from tlsio.native._core import has_valid_extensions
from tlsio.probe.findings import found
from tlsio.trust.advice import advise_development_root
from tlsio.trust.certificate import link, read_all, read_verified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tlsio.probe.findings import Finding
    from tlsio.trust.certificate import PeerCertificate

__all__ = ["ChainFacts", "check_chain", "is_untrusted"]

_MAX_LIFETIME = timedelta(days=398)  # the limit of browsers since September 2020 (Apple HT211025)
# Let's Encrypt renews with a third of the life left; half of that means that it was missed.
_SOON = 1 / 6
_LONGEST_SOON = timedelta(days=14)
# This library did not exist before then: an earlier clock was never set.
_CLOCK_NEVER_SET = datetime(2026, 1, 1, tzinfo=UTC)
_MIN_RSA, _MIN_EC = 2048, 224  # bits; NIST SP 800-57 for 112 bits of security
_WEAK_HASHES = {"md5", "sha1"}
_SERVER_AUTH, _ANY_USAGE = "1.3.6.1.5.5.7.3.1", "2.5.29.37.0"

_UNTRUSTED = {
    VerifyError.UNABLE_TO_GET_ISSUER_CERT,
    VerifyError.UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
    VerifyError.UNABLE_TO_VERIFY_LEAF_SIGNATURE,
    VerifyError.SELF_SIGNED_CERT_IN_CHAIN,
    VerifyError.DEPTH_ZERO_SELF_SIGNED_CERT,
}
# These have findings of their own, made from the certificates themselves.
_SEEN_OTHERWISE = {
    *_UNTRUSTED,
    VerifyError.CERT_HAS_EXPIRED,
    VerifyError.CERT_NOT_YET_VALID,
    VerifyError.EE_KEY_TOO_SMALL,
    VerifyError.CA_KEY_TOO_SMALL,
    VerifyError.CA_MD_TOO_WEAK,
    VerifyError.HOSTNAME_MISMATCH,
}
_KINDS: Mapping[int, str] = {
    VerifyError.CERT_REVOKED: "revoked",
    VerifyError.INVALID_CA: "not-an-authority",
    VerifyError.KEYUSAGE_NO_CERTSIGN: "not-an-authority",
    VerifyError.PATH_LENGTH_EXCEEDED: "path-too-long",
    VerifyError.PERMITTED_VIOLATION: "name-constraints",
    VerifyError.EXCLUDED_VIOLATION: "name-constraints",
    VerifyError.CERT_SIGNATURE_FAILURE: "bad-signature",
}
# Products that replace certificates on the way, by words of their authorities' names.
_INSPECTORS = (
    "zscaler", "fortinet", "fortigate", "palo alto", "blue coat", "symantec web", "netskope", "sophos", "mcafee web", "cisco umbrella",
    "umbrella root", "forcepoint", "websense", "barracuda", "watchguard", "sonicwall", "untangle", "kaspersky", "avast", "avg web", "eset ssl",
    "bitdefender", "mitmproxy", "charles proxy", "fiddler", "burp", "portswigger", "squid", "ssl inspection", "ssl-inspection", "tls inspection",
    "https inspection", "ssl decrypt", "web gateway", "superfish",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainFacts:
    """What a server showed.

    Attributes:
        sent: DER as it was sent, the server's own first.
        verified: The chain that OpenSSL built, leaf first; partial without a root.
        errors: Pairs of X509_V_ERR number and depth.
        now: The instant at which it is judged.
        find_roots: Returns the DER of the trusted certificates with a subject.
        name_fits: The certificate is for the requested host.
    """

    sent: tuple[bytes, ...]
    verified: tuple[bytes, ...]
    errors: tuple[tuple[int, int], ...]
    now: datetime
    find_roots: Callable[[bytes], Sequence[bytes]]
    name_fits: bool

    @property
    def path(self) -> list[PeerCertificate]:
        """The chain that OpenSSL built, or the server's certificate alone."""
        return read_verified(self.verified or self.sent[:1])


def is_untrusted(facts: ChainFacts) -> bool:
    """Tell whether no trusted root was found."""
    return any(number in _UNTRUSTED for number, _ in facts.errors)


def check_chain(facts: ChainFacts) -> Iterator[Finding]:
    """Yield what is wrong with a chain."""
    path = facts.path
    if not path:
        yield found("unreadable-certificate", "The server's certificate is not X.509 in DER.")
        return
    broken = [one for one in path if not has_valid_extensions(one.raw)]
    for one in broken:
        yield found("unreadable-certificate", f'"{one.title}" has a malformed, duplicate or unknown critical extension.')
    if not broken:
        yield from _check_trust(facts, path)
        yield from _check_usage(path[0])
    yield from _check_order(facts, path)
    yield from _check_times(facts, path)
    yield from _check_strength(path)


# ---- trust ---------------------------------------------------------------------------------------


def _check_trust(facts: ChainFacts, path: list[PeerCertificate]) -> Iterator[Finding]:
    if is_untrusted(facts):
        yield _explain_untrusted(facts, path)
        if facts.name_fits and (product := _find_inspector(path[-1])):
            yield found("intercepting-proxy", f'The issuer "{product}" is one of a product that intercepts TLS.')
    numbers = dict.fromkeys((number, depth) for number, depth in facts.errors if number not in _SEEN_OTHERWISE)
    for number, depth in numbers:
        where = f'"{path[depth].title}"' if depth < len(path) else "the chain"
        if number == VerifyError.INVALID_PURPOSE:
            # Of a server's own certificate, `_check_usage` says which usage is missing.
            if depth == 0 or (VerifyError.CERT_REJECTED, depth) in numbers:
                continue
            yield found("not-an-authority", f"{where}: {x509_text(number)}.")
        else:
            yield found(_KINDS.get(number, "not-trusted"), f"{where}: {x509_text(number)}.")


def _explain_untrusted(facts: ChainFacts, path: list[PeerCertificate]) -> Finding:
    top = path[-1]
    subject, issuer = f'"{top.title}"', f'"{top.issuer_text}"'
    is_alone = len(path) == 1
    remedy = advise_development_root(top.issuer_text, "ca=")
    kind, reason = "unknown-root", f"{issuer}, the issuer of {subject}, is not trusted here."
    if (signer := _find_false_issuer(top, facts)) is not None:  # which OpenSSL 4.0 does not consider
        kind, reason = "not-an-authority", f'{subject} was issued by "{signer.title}", which is not the certificate of an authority.'
    elif is_alone and _is_self_signed(top):
        kind, reason = "self-signed", f"{subject} is self-signed, and not trusted here."
    elif _is_self_signed(top):
        reason = f"The root {subject} is not trusted here."
    elif any(one.subject_key == top.issuer_key and one not in path for one in read_all(facts.sent[1:])):
        kind, reason = "wrong-intermediate", f"The {issuer} that was sent did not sign {subject}."
    elif facts.find_roots(top.issuer):
        reason = f"{issuer}, the issuer of {subject}, is not trusted here: another authority of that name is."
    elif is_alone and not top.is_ca and remedy is None:
        kind, reason = "missing-intermediate", f"{issuer}, the issuer of {subject}, was not sent and is not trusted here."
    if not facts.name_fits:
        kind, reason = "other-server", f"The certificate is for another name, and not from an authority that is trusted. {reason}"
    return found(kind, reason, remedy if kind == "unknown-root" else None)


def _find_false_issuer(top: PeerCertificate, facts: ChainFacts) -> PeerCertificate | None:
    """Return the non-CA certificate that was sent and that signed `top` by its key identifier."""
    key = top.authority_key_id
    sent = read_all(facts.sent[1:])
    return next((one for one in sent if key and key == one.subject_key_id and one.subject_key == top.issuer_key and not one.is_ca), None)


def _is_self_signed(one: PeerCertificate) -> bool:
    return one.is_issued_by(one) or one.subject == one.issuer


def _find_inspector(top: PeerCertificate) -> str | None:
    text = top.issuer_text.lower()
    return top.issuer_text if any(word in text for word in _INSPECTORS) else None


def _check_usage(leaf: PeerCertificate) -> Iterator[Finding]:
    usages = leaf["ext_key_usage"]
    if usages is not None and not {_SERVER_AUTH, _ANY_USAGE} & set(usages):
        yield found("not-a-server-certificate", f'"{leaf.title}" is not for servers: its extendedKeyUsage lacks serverAuth.')
    if leaf.is_ca and not _is_self_signed(leaf):
        yield found("authority-as-server", f'"{leaf.title}" is the certificate of an authority.')


# ---- order ---------------------------------------------------------------------------------------


def _check_order(facts: ChainFacts, path: list[PeerCertificate]) -> Iterator[Finding]:
    """Compare what was sent with the path that it belongs to."""
    sent = list(read_all(facts.sent))
    if len(set(sent)) < len(sent):
        twice = next(one for at, one in enumerate(sent) if one in sent[:at])
        yield found("chain-duplicate", f'"{twice.title}" was sent more than once.')
    # Without a trusted root, the path continues through what was sent.
    whole = [*path, *(one for one in link(facts.sent).chain() if one not in path)]
    once = list(dict.fromkeys(sent))
    authorities = {name for one in whole for name in (one.issuer_key, one.subject_key)}
    # Not foreign: another certificate of an authority in the path, such as a cross-signed one.
    foreign = [one for one in once if one not in whole and not (one.is_ca and one.subject_key in authorities)]
    for one in foreign:
        yield found("chain-foreign", f'"{one.title}" was sent, but does not belong to the server\'s certificate.')
    places = [whole.index(one) for one in once if one in whole]
    if places != sorted(places):
        yield found("chain-order", "The certificates were not sent in the order of signing.")
    roots = [one for one in once[1:] if _is_self_signed(one)]
    if any(one in whole for one in roots):
        yield found("root-sent", f'The root "{roots[0].title}" was sent.')


# ---- time ----------------------------------------------------------------------------------------


def _check_times(facts: ChainFacts, path: list[PeerCertificate]) -> Iterator[Finding]:
    leaf, *issuers = path
    if facts.now < _CLOCK_NEVER_SET:
        yield found("clock", f"This machine's clock says {print_instant(facts.now)}, which is long past.")
        return
    yield from _check_leaf_times(leaf, facts.now)
    for one in issuers:
        if one.not_after is not None and one.not_after < facts.now:
            is_root = _is_self_signed(one)
            kind = "expired-root" if is_root else "expired-intermediate"
            yield found(kind, f'"{one.title}" expired on {print_instant(one.not_after)}.')
        elif one.not_before is not None and one.not_before > facts.now:
            yield found("not-yet-valid", f'"{one.title}" is valid from {print_instant(one.not_before)}.')


def _check_leaf_times(leaf: PeerCertificate, now: datetime) -> Iterator[Finding]:
    start, end = leaf.not_before, leaf.not_after
    if start is None or end is None:
        yield found("unreadable-certificate", f'The dates of "{leaf.title}" cannot be read.')
        return
    life = end - start
    if end < now:
        yield found("expired", f'"{leaf.title}" expired on {print_instant(end)}; this machine\'s clock says {print_instant(now)}.')
    elif start > now:
        yield found(
            "not-yet-valid",
            f'"{leaf.title}" is valid from {print_instant(start)}; this machine\'s clock says {print_instant(now)}.',
        )
    elif end - now < min(life * _SOON, _LONGEST_SOON):
        yield found("expires-soon", f'"{leaf.title}" expires on {print_instant(end)}.')
    if life > _MAX_LIFETIME:
        yield found("lifetime", f'"{leaf.title}" is valid for {life.days} days.')


# ---- strength ------------------------------------------------------------------------------------


def _check_strength(path: list[PeerCertificate]) -> Iterator[Finding]:
    for one in path:
        # A root is trusted as it is: its signature proves nothing.
        is_root = _is_self_signed(one) and len(path) > 1
        if not is_root and (name := _hash_of(one)) in _WEAK_HASHES:
            yield found("sha1", f'"{one.title}" is signed with {(name or "").upper()}.')
        yield from _check_key(one)


def _check_key(one: PeerCertificate) -> Iterator[Finding]:
    bits = one["bits"]
    if bits is None:
        return
    if one["modulus"] and bits < _MIN_RSA:
        yield found("weak-rsa", f'"{one.title}" has an RSA key of {bits} bits.')
    elif not one["modulus"] and bits < _MIN_EC:
        yield found("weak-ec", f'"{one.title}" has a key on a curve of {bits} bits.')


def _hash_of(one: PeerCertificate) -> str | None:
    try:
        return one.signed.hash_name
    except ValueError:
        return None
