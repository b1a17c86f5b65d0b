"""The one place that decides whether a peer may be talked to: chain, then name, then pins.

In: what OpenSSL found (`PeerFacts`) and what the caller accepts (`VerifyPolicy`). Out: a `Verdict`. A user's own check has run
before; its answer comes in as a value. Nothing here can be asked to skip the chain: `reject_unauthorized=False` lets a refused
peer in, but says so in `authorized`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tlsio.model.codes import VerifyError, x509_code, x509_text
from tlsio.model.errors import (
    CertificateAltNameError,
    CertificateError,
    UsageStateError,
    UsageTypeError,
)
from tlsio.model.options.connect import IdentityPolicy

from . import pins
from .advice import advise
from .certificate import PeerCertificate, read_all, read_verified
from .constraints import may_constrain
from .identity import check_rfc9525, check_server_identity
from .peer_facts import PeerFacts

__all__ = ["NOT_ASKED", "PeerFacts", "Verdict", "VerifyPolicy", "judge"]

NOT_ASKED: Final = object()
"""In place of an answer: the caller has no check of its own."""

# Bytes of a certificate whose names are not looked at when its chain was refused: 5,000 names of a stranger would take 80 ms.
_LONG = 16_384
# Node reports a peer without a certificate as this, which has another meaning in OpenSSL.
_NO_CERTIFICATE_SENT = VerifyError.UNABLE_TO_GET_ISSUER_CERT


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyPolicy:
    """What the caller accepts.

    Attributes:
        reject_unauthorized: False lets a refused peer in; the verdict is the same otherwise, but for pins: see `judge`.
        pins: SHA-256 digests of SPKI, 32 bytes each; () pins nothing.
        identity_policy: How names are compared when there is no check of the caller's own.
        answer: What the caller's own check (`check_server_identity`, `check_client`) returned, or the exception it raised.
            It replaces the default check of the name, and nothing else.
    """

    reject_unauthorized: bool = True
    pins: tuple[bytes, ...] = ()
    identity_policy: IdentityPolicy = "node"
    answer: object = NOT_ASKED


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was decided.

    Attributes:
        authorized: The peer has shown who it is, and nothing speaks against it.
        refused: It must not be talked to.
        error: The deciding cause, an exception to raise or to report; also when `refused` is False.
        reasons: The code of every cause, chain causes first.
        verify_error: X509_V_ERR number for OpenSSL, which picks the alert by it; 0 when the peer is let in.
    """

    authorized: bool
    refused: bool = False
    error: Exception | None = None
    reasons: tuple[str, ...] = ()
    verify_error: int = 0

    @property
    def authorization_error(self) -> str | None:
        """Node's `authorizationError`: the code of the deciding cause."""
        return None if self.error is None else _code(self.error)


def judge(facts: PeerFacts, policy: VerifyPolicy) -> Verdict:
    """Decide whether the peer may be talked to.

    Pure and quick: reads no clock and no file; `facts.now` is the time used.
    Source: node-api §8.4 for the order (chain, then identity), RFC 9525 §6 for names, RFC 7469 §2.6 for pins.
    (Node: `authorized`, `authorizationError`.)

    A pre-shared key that has authenticated a server stands for chain and name. It does not stand for pins: they want a certificate.

    Pins are looked for in the chain that OpenSSL verified. With `reject_unauthorized=False` there may be no such chain, and
    anybody can append a certificate to what he sends: then only the peer's own key counts, the one it has proved to have.

    Args:
        facts: What was found.
        policy: What is accepted.

    Returns:
        A verdict; when something speaks against the peer, `reasons` lists every cause and the error's notes say them.

    Raises:
        UsageStateError: a client without a name to check, and without a check of its own.
    """
    causes = list(_causes(facts, policy))
    if not causes:
        # On a server, a peer without a certificate (resumed, pre-shared key) is fine, but nobody whose certificate we know.
        return Verdict(authorized=facts.leaf is not None or (facts.psk and facts.role == "client"))
    reasons = tuple(reason for cause in causes for reason in _reasons(cause))
    return Verdict(
        authorized=False,
        refused=policy.reject_unauthorized,
        error=_with_all(causes, reasons),
        reasons=reasons,
        verify_error=_verify_error(facts, causes[0]) if policy.reject_unauthorized else 0,
    )


def _causes(facts: PeerFacts, policy: VerifyPolicy) -> Iterator[Exception]:
    """Yield every cause to refuse the peer."""
    leaf = next(iter(_read_constrained(facts) or read_all((facts.leaf,) if facts.leaf else ())), None)
    found = (_judge_chain(facts, leaf), _judge_identity(facts, policy, leaf), _judge_pins(facts, policy))
    return (cause for cause in found if cause is not None)


def _read_constrained(facts: PeerFacts) -> list[PeerCertificate]:
    """Read the verified chain, so that its name constraints count for the leaf; [] where there are none, as nearly always."""
    return read_verified(facts.verified_chain) if any(map(may_constrain, facts.verified_chain[1:])) else []


def _judge_chain(facts: PeerFacts, leaf: PeerCertificate | None) -> CertificateError | None:
    if facts.leaf is None:
        return _judge_absence(facts)
    if not facts.verify_errors:
        # OpenSSL takes some forms that are not DER. Nothing could be said about whose certificate that is.
        unreadable = f"The {facts.peer}'s certificate cannot be read"
        return None if leaf else CertificateError(unreadable, code=x509_code(VerifyError.CERT_REJECTED))
    advice = advise(facts)
    numbers = [number for number, _ in facts.verify_errors]
    return CertificateError(
        f"The {facts.peer}'s certificate was refused: {'; '.join(item.cause for item in advice)}",
        # Node's callback lets OpenSSL go on, so the last error is the result it reads (SSL_get_verify_result).
        code=x509_code(numbers[-1]),
        reasons=tuple(dict.fromkeys(map(x509_code, numbers))),
        reason=x509_text(numbers[-1]),
        hint=" ".join(item.hint for item in advice if item.hint) or None,
    )


def _judge_absence(facts: PeerFacts) -> CertificateError | None:
    # A server may resume a session that was made without a client certificate. A client's session always has one.
    if facts.psk or not facts.asked or (facts.resumed and facts.role == "server"):
        return None
    hint = "Give the client a certificate (cert= and key=)." if facts.role == "server" else None
    return CertificateError(f"The {facts.peer} sent no certificate", code=x509_code(_NO_CERTIFICATE_SENT), hint=hint)


def _judge_identity(facts: PeerFacts, policy: VerifyPolicy, leaf: PeerCertificate | None) -> Exception | None:
    if policy.answer is not NOT_ASKED:
        return _read_answer(facts, policy.answer)
    if facts.role == "server":
        return None
    if facts.server_name is None:
        raise UsageStateError("There is no name to check the server's certificate against: give servername or host")
    if facts.verify_errors and leaf and len(leaf.raw) > _LONG:
        return None
    check = check_server_identity if policy.identity_policy == "node" else check_rfc9525
    # Whoever has the pre-shared key is whom it was shared with. Node wants a check of the caller's own here, up to TLS 1.2: but
    # one that accepts everything would accept any certificate too, when the server comes with one after all.
    return check(facts.server_name, leaf) if leaf else None  # without one the chain has failed


def _read_answer(facts: PeerFacts, answer: object) -> Exception | None:
    if answer is None or isinstance(answer, Exception):
        return answer
    option = "check_server_identity" if facts.role == "client" else "check_client"
    found = repr(answer) if isinstance(answer, bool) else type(answer).__name__
    return UsageTypeError(f"{option} must return None to accept, or an exception; it returned {found}")


def _judge_pins(facts: PeerFacts, policy: VerifyPolicy) -> CertificateError | None:
    if not policy.pins:
        return None
    digests = _spki_digests(facts, leaf_only=not policy.reject_unauthorized)
    if pins.matches(policy.pins, digests):
        return None
    return CertificateError(
        f"None of the pinned keys is in the {facts.peer}'s chain; found: {', '.join(map(pins.print_pin, digests)) or 'none'}",
        code="ERR_TLS_PIN_MISMATCH",
        hint=_PINS_AND_PSK if facts.psk else _PINS,
    )


_PINS = "If the peer has a new key, add one of these to pins= once you know by another way that it is the peer's."
_PINS_AND_PSK = "The server was authenticated by a pre-shared key and has shown no certificate: use either pins or psk_callback."


def _spki_digests(facts: PeerFacts, *, leaf_only: bool) -> tuple[bytes, ...]:
    if facts.resumed:
        digests = facts.spki_digests
    else:
        # Never the chain as it was sent: a pinned certificate at its end would prove nothing.
        trusted = facts.verified_chain or facts.chain[:1]
        digests = tuple(certificate.spki_sha256 for certificate in read_all(facts.chain[:1] if leaf_only else trusted))
    return digests[:1] if leaf_only else digests


def _with_all(causes: list[Exception], reasons: tuple[str, ...]) -> Exception:
    deciding, *others = causes
    if isinstance(deciding, CertificateError):
        deciding.reasons = reasons
        for other in others:
            deciding.add_note(f"Another cause: {other}")
    return deciding


def _reasons(cause: Exception) -> tuple[str, ...]:
    return cause.reasons if isinstance(cause, CertificateError) else (_code(cause),)


def _code(error: Exception) -> str:
    """Return an error's code; its words where it has none, as Node does."""
    code = getattr(error, "code", None)
    return code if isinstance(code, str) else str(error) or type(error).__name__


def _verify_error(facts: PeerFacts, deciding: Exception) -> int:
    if facts.verify_errors:
        return facts.verify_errors[-1][0]
    # OpenSSL did not find these causes itself. For both it sends bad_certificate.
    return VerifyError.HOSTNAME_MISMATCH if isinstance(deciding, CertificateAltNameError) else VerifyError.CERT_REJECTED
