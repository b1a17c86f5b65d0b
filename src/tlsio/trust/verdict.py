"""The one place that decides whether a peer is accepted: chain, then name, then pins.

Input: what OpenSSL found (`PeerFacts`) and what the caller accepts (`VerifyPolicy`). Output: a
`Verdict`. The caller's own check has run before; its result is an input. The chain check cannot be
skipped: `reject_unauthorized=False` accepts an unverified peer, but reports that in `authorized`.
Pins refuse a peer in any case.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from tlsio.model.codes import VerifyError, x509_code, x509_text
from tlsio.model.errors import (
    CertificateAltNameError,
    CertificateError,
    UsageStateError,
    UsageTypeError,
)
from tlsio.model.options.connect import ChainPolicy, IdentityPolicy

from . import pins
from .advice import advise
from .certificate import PeerCertificate, read_all, read_verified
from .constraints import may_constrain
from .identity import check_rfc9525, check_server_identity
from .peer_facts import PeerFacts
from .profile import find_profile_fault
from .uri_identity import check_uri_identity

if TYPE_CHECKING:
    from tlsio.model.faults import Role

__all__ = ["NOT_ASKED", "PeerFacts", "Verdict", "VerifyPolicy", "judge"]

NOT_ASKED: Final = object()
"""Used in place of an answer if the caller has no check of its own."""

# If the chain was refused, the names of a certificate larger than this are not compared: 5,000
# names would take 80 ms.
_MAX_UNTRUSTED_BYTES = 16_384
_PIN_MISMATCH = "ERR_TLS_PIN_MISMATCH"
_VALIDITY = {VerifyError.CERT_HAS_EXPIRED, VerifyError.CERT_NOT_YET_VALID}
_PROFILE = "ERR_TLS_CERTIFICATE_PROFILE"
# Node reports a peer without a certificate as this error, which has another meaning in OpenSSL.
_NO_CERTIFICATE_SENT = VerifyError.UNABLE_TO_GET_ISSUER_CERT


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyPolicy:
    """What the caller accepts.

    Attributes:
        reject_unauthorized: False accepts a peer whose chain or name was refused. The verdict is
            otherwise the same, except for pins: see `judge`.
        pins: SHA-256 digests of SPKI, 32 bytes each; () pins nothing.
        pins_leaf_only: Compare only the peer's own key, although unverified peers are rejected: the
            engine does if its context accepts them, whatever one request says.
        identity_policy: How names are compared if the caller has no check of its own.
        identity: A URI that the peer's certificate must have, in addition to the host name of the
            facts, if there is one.
        chain_policy: "strict" requires that the chain follows RFC 5280 as `cryptography` judges it.
            OpenSSL's part of that is among the facts.
        answer: The result of the caller's own check (`check_server_identity`, `check_client`), or
            the exception it raised. It replaces the default check of the name, and nothing else.
    """

    reject_unauthorized: bool = True
    pins: tuple[bytes, ...] = ()
    pins_leaf_only: bool = False
    identity_policy: IdentityPolicy = "node"
    identity: str | None = None
    chain_policy: ChainPolicy = "openssl"
    answer: object = NOT_ASKED


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The decision.

    Attributes:
        authorized: The peer has authenticated itself, and every check has passed.
        refused: The connection must be closed.
        error: The deciding cause, an exception to raise or report; set even if `refused` is False.
        reasons: The code of every cause, chain causes first.
        causes: Every cause, in the same order: one for the chain, then one for each other check.
        verify_error: X509_V_ERR number from which OpenSSL chooses the alert; 0 if the peer is
            accepted.
    """

    authorized: bool
    refused: bool = False
    error: Exception | None = None
    reasons: tuple[str, ...] = ()
    causes: tuple[Exception, ...] = ()
    verify_error: int = 0

    @property
    def authorization_error(self) -> str | None:
        """Node's `authorizationError`: the code of the deciding cause."""
        return None if self.error is None else _error_code(self.error)


def judge(facts: PeerFacts, policy: VerifyPolicy) -> Verdict:
    """Decide whether the peer is accepted.

    Pure and quick: reads no clock and no file; `facts.now` is the time used. Source: Node for the
    order (chain, then identity), RFC 9525 §6 for names, RFC 7469 §2.6 for pins. (Node:
    `authorized`, `authorizationError`.)

    If a pre-shared key has authenticated a server, chain and name are not checked. Pins still are,
    and fail: they need a certificate. A client without a certificate has none to compare: other
    rules decide whether it may do without.

    Pins are compared with the chain that OpenSSL verified. With `reject_unauthorized=False` there
    may be no such chain, and a peer can append any certificate to its own. Then only the key of the
    peer's own certificate is compared, since the peer has proved that it has the private key. A
    mismatch refuses the peer, and is then the deciding cause.

    Args:
        facts: What was found.
        policy: What is accepted.

    Returns:
        A verdict. If a check failed, `reasons` lists every cause, and the error has the others as
        notes.

    Raises:
        UsageStateError: a client has neither a name to check nor a check of its own.
    """
    mismatch = _judge_pins(facts, policy)
    causes = list(_causes(facts, policy))
    if mismatch is not None:
        causes.insert(len(causes) if policy.reject_unauthorized else 0, mismatch)
    if not causes:
        # A server accepts a client without a certificate (resumed, pre-shared key), but does not
        # report it as authorized.
        return Verdict(authorized=facts.leaf is not None or (facts.psk and facts.role == "client"))
    reasons = tuple(reason for cause in causes for reason in _reason_codes(cause))
    refused = policy.reject_unauthorized or mismatch is not None
    return Verdict(
        authorized=False,
        refused=refused,
        error=_combine(causes, reasons),
        reasons=reasons,
        causes=tuple(causes),
        verify_error=_verify_error_number(facts, causes[0]) if refused else 0,
    )


def _causes(facts: PeerFacts, policy: VerifyPolicy) -> Iterator[Exception]:
    """Yield every cause of chain and name to refuse the peer."""
    leaf = next(iter(_read_constrained(facts) or read_all((facts.leaf,) if facts.leaf else ())), None)
    identities = _judge_identities(facts, policy, leaf)
    is_other_server = any(isinstance(one, CertificateAltNameError) for one in identities)
    chain = _judge_chain(facts, leaf, is_other_server=is_other_server)
    profile = _judge_profile(facts, policy, is_named=not identities)
    return (cause for cause in (chain, profile, *identities) if cause is not None)


def _read_constrained(facts: PeerFacts) -> list[PeerCertificate]:
    """Read and link the verified chain if it may have name constraints; otherwise return []."""
    return read_verified(facts.verified_chain) if any(map(may_constrain, facts.verified_chain[1:])) else []


def _judge_chain(facts: PeerFacts, leaf: PeerCertificate | None, *, is_other_server: bool) -> CertificateError | None:
    if facts.leaf is None:
        return _judge_missing_certificate(facts)
    if not facts.verify_errors:
        # OpenSSL accepts some forms that are not DER. The names of such a certificate cannot be
        # compared.
        unreadable = f"The {facts.peer}'s certificate is not valid DER, so its names cannot be compared"
        hint = "Have the certificate reissued in valid DER."
        return None if leaf else CertificateError(unreadable, code=x509_code(VerifyError.CERT_REJECTED), hint=hint)
    advice = advise(facts, is_other_server=is_other_server)
    numbers = [number for number, _ in facts.verify_errors]
    return CertificateError(
        f"The {facts.peer}'s certificate was refused: {'; '.join(item.cause for item in advice)}",
        # Node's callback makes OpenSSL continue after each error, so SSL_get_verify_result returns
        # the last one.
        code=x509_code(numbers[-1]),
        reasons=tuple(dict.fromkeys(map(x509_code, numbers))),
        reason=x509_text(numbers[-1]),
        hint=" ".join(item.hint for item in advice if item.hint) or None,
    )


def _judge_missing_certificate(facts: PeerFacts) -> CertificateError | None:
    # A server may resume a session that has no client certificate. A client's session always has
    # the server's.
    if facts.psk or not facts.certificate_requested or (facts.resumed and facts.role == "server"):
        return None
    hint = "The client has to send a certificate (in tlsio: cert= and key=)." if facts.role == "server" else None
    return CertificateError(f"The {facts.peer} sent no certificate", code=x509_code(_NO_CERTIFICATE_SENT), hint=hint)


def _judge_profile(facts: PeerFacts, policy: VerifyPolicy, *, is_named: bool) -> CertificateError | None:
    """Have `cryptography` judge a chain that leads to a trusted certificate; others are refused."""
    # A session is only resumed under the policy of its full handshake.
    if policy.chain_policy != "strict" or facts.resumed or not facts.verified_chain or not facts.ends_trusted:
        return None
    now = _instant_for_profile(facts)
    if now is None:
        return None
    name = facts.server_name if is_named and policy.answer is NOT_ASKED else None
    peer: Role = "server" if facts.role == "client" else "client"
    fault = find_profile_fault(facts.verified_chain, peer_is=peer, name=name, now=now)
    if fault is None:
        return None
    return CertificateError(
        f"The {facts.peer}'s certificate chain does not follow RFC 5280: {fault}",
        code=_PROFILE,
        reason=fault,
        hint=_advise_on_profile(facts, peer),
    )


def _advise_on_profile(facts: PeerFacts, peer: "Role") -> str:
    leaf = next(iter(read_all(facts.verified_chain[:1])), None)
    if peer == "client" and leaf is not None and not leaf.general_names:
        cause = "A client's certificate needs an alternative name, such as an e-mail address or a URI: have it reissued with one."
    else:
        cause = "Have the certificate that is named reissued."
    return f'{cause} chain_policy="openssl" accepts what OpenSSL does.'


def _instant_for_profile(facts: PeerFacts) -> datetime | None:
    """Return an instant at which no certificate's validity is at fault; None if there is none.

    OpenSSL has reported that fault already, and `cryptography` reports only its first one.
    """
    if not any(number in _VALIDITY for number, _ in facts.verify_errors):
        return facts.now
    chain = list(read_all(facts.verified_chain))
    starts = [one.not_before for one in chain if one.not_before]
    ends = [one.not_after for one in chain if one.not_after]
    return max(starts) if starts and ends and max(starts) <= min(ends) else None


def _judge_identities(facts: PeerFacts, policy: VerifyPolicy, leaf: PeerCertificate | None) -> list[Exception]:
    """Compare the peer with each name that is expected; return an error for each that differs."""
    if policy.answer is not NOT_ASKED:
        results = [_read_answer(facts, policy.answer)]
    else:
        results = [_judge_name(facts, policy, leaf), _judge_uri(facts, policy, leaf)]
    return [one for one in results if one is not None]


def _is_too_large(facts: PeerFacts, leaf: PeerCertificate | None) -> bool:
    return bool(facts.verify_errors) and leaf is not None and len(leaf.raw) > _MAX_UNTRUSTED_BYTES


def _judge_uri(facts: PeerFacts, policy: VerifyPolicy, leaf: PeerCertificate | None) -> CertificateAltNameError | None:
    if policy.identity is None or leaf is None or _is_too_large(facts, leaf):
        return None
    return check_uri_identity(policy.identity, leaf)


def _judge_name(facts: PeerFacts, policy: VerifyPolicy, leaf: PeerCertificate | None) -> CertificateAltNameError | None:
    # A server expects no name of a client, but `tlsio.certs.verify` may be given one.
    if facts.server_name is None and (facts.role == "server" or policy.identity is not None):
        return None
    if facts.server_name is None:
        raise UsageStateError("There is no name to compare with the server's certificate: give servername= or host=")
    if _is_too_large(facts, leaf):
        return None
    check = check_server_identity if policy.identity_policy == "node" else check_rfc9525
    # Without a leaf there is no name to check: a pre-shared key has authenticated the server, or
    # the chain check has failed. Up to TLS 1.2, Node requires the caller to replace this check if a
    # pre-shared key is used. We do not: a replacement that accepts everything would also accept any
    # certificate, which a server may send despite the key.
    return check(facts.server_name, leaf) if leaf else None


def _read_answer(facts: PeerFacts, answer: object) -> Exception | None:
    if answer is None or isinstance(answer, Exception):
        return answer
    option = "check_server_identity" if facts.role == "client" else "check_client"
    found = repr(answer) if isinstance(answer, bool) else type(answer).__name__
    return UsageTypeError(f"{option} must return None to accept the peer or an exception to refuse it, but it returned {found}")


def _judge_pins(facts: PeerFacts, policy: VerifyPolicy) -> CertificateError | None:
    if not policy.pins or (facts.leaf is None and facts.role == "server"):
        return None
    leaf_only = policy.pins_leaf_only or not policy.reject_unauthorized
    digests = _spki_digests(facts, leaf_only=leaf_only)
    if pins.matches(policy.pins, digests):
        return None
    own = f"the key of the {facts.peer}'s own certificate (reject_unauthorized=False: only that counts)"
    place = own if leaf_only else f"in the {facts.peer}'s chain"
    return CertificateError(
        f"None of the pinned keys is {place}; found: {', '.join(map(pins.print_pin, digests)) or 'none'}",
        code=_PIN_MISMATCH,
        hint=_hint_for_pins(facts, policy),
    )


def _hint_for_pins(facts: PeerFacts, policy: VerifyPolicy) -> str:
    if facts.psk:
        return _PSK_PIN_HINT
    if pins.matches(policy.pins, (sha256(der).digest() for der in facts.chain)):
        return _FINGERPRINT_HINT
    return _PIN_HINT


_PIN_HINT = "If the peer has a new key, add one of these to pins= after you have confirmed it with the peer's owner."
_FINGERPRINT_HINT = (
    "A pin given is the SHA-256 fingerprint of a whole certificate of this peer, and pins are of the public key alone, which stays when a "
    "certificate is renewed: give one of those above."
)
_PSK_PIN_HINT = "The server was authenticated by a pre-shared key and sent no certificate: use either pins= or psk_callback=."


def _spki_digests(facts: PeerFacts, *, leaf_only: bool) -> tuple[bytes, ...]:
    if facts.resumed:
        digests = facts.spki_digests
    else:
        # The chain as sent is not used: anyone can append a pinned certificate to it.
        trusted = facts.verified_chain or facts.chain[:1]
        digests = tuple(certificate.spki_sha256 for certificate in read_all(facts.chain[:1] if leaf_only else trusted))
    return digests[:1] if leaf_only else digests


def _combine(causes: list[Exception], reasons: tuple[str, ...]) -> Exception:
    deciding, *others = causes
    if isinstance(deciding, CertificateError):
        deciding.reasons = reasons
        for other in others:
            deciding.add_note(f"Another cause: {other}")
    return deciding


def _reason_codes(cause: Exception) -> tuple[str, ...]:
    return cause.reasons if isinstance(cause, CertificateError) else (_error_code(cause),)


def _error_code(error: Exception) -> str:
    """Return an error's code, or its text if it has none, as in Node."""
    code = getattr(error, "code", None)
    return code if isinstance(code, str) else str(error) or type(error).__name__


def _verify_error_number(facts: PeerFacts, deciding: Exception) -> int:
    if facts.verify_errors and _error_code(deciding) != _PIN_MISMATCH:
        return facts.verify_errors[-1][0]
    # OpenSSL did not find these causes itself, so we choose a number. For both it sends the alert
    # bad_certificate.
    return VerifyError.HOSTNAME_MISMATCH if isinstance(deciding, CertificateAltNameError) else VerifyError.CERT_REJECTED
