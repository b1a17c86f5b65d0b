"""Refusals of an authority: problem documents (RFC 7807, RFC 8555 §6.7) as errors with a code."""

from __future__ import annotations

from typing import Any

from tlsio.model.errors import ACMEError
from tlsio.trust.names import printable

__all__ = ["invalid_answer", "read_problem"]

_PREFIX = "urn:ietf:params:acme:error:"
_MAX_SUBPROBLEMS = 100  # as many as a certificate of a public authority has names
_MAX_DETAIL = 500  # characters
_MAX_TYPE = 80

# RFC 8555 §6.7; RFC 9773 §7.4 for alreadyReplaced; draft-ietf-acme-profiles for invalidProfile.
_CODES = {
    "accountDoesNotExist": "ERR_ACME_ACCOUNT_DOES_NOT_EXIST",
    "alreadyReplaced": "ERR_ACME_ALREADY_REPLACED",
    "alreadyRevoked": "ERR_ACME_ALREADY_REVOKED",
    "badCSR": "ERR_ACME_BAD_CSR",
    "badNonce": "ERR_ACME_BAD_NONCE",
    "badPublicKey": "ERR_ACME_BAD_PUBLIC_KEY",
    "badRevocationReason": "ERR_ACME_BAD_REVOCATION_REASON",
    "badSignatureAlgorithm": "ERR_ACME_BAD_SIGNATURE_ALGORITHM",
    "caa": "ERR_ACME_CAA",
    "compound": "ERR_ACME_COMPOUND",
    "connection": "ERR_ACME_CONNECTION",
    "dns": "ERR_ACME_DNS",
    "externalAccountRequired": "ERR_ACME_EXTERNAL_ACCOUNT_REQUIRED",
    "incorrectResponse": "ERR_ACME_INCORRECT_RESPONSE",
    "invalidContact": "ERR_ACME_INVALID_CONTACT",
    "invalidProfile": "ERR_ACME_INVALID_PROFILE",
    "malformed": "ERR_ACME_MALFORMED",
    "orderNotReady": "ERR_ACME_ORDER_NOT_READY",
    "rateLimited": "ERR_ACME_RATE_LIMITED",
    "rejectedIdentifier": "ERR_ACME_REJECTED_IDENTIFIER",
    "serverInternal": "ERR_ACME_SERVER_INTERNAL",
    "tls": "ERR_ACME_TLS",
    "unauthorized": "ERR_ACME_UNAUTHORIZED",
    "unsupportedContact": "ERR_ACME_UNSUPPORTED_CONTACT",
    "unsupportedIdentifier": "ERR_ACME_UNSUPPORTED_IDENTIFIER",
    "userActionRequired": "ERR_ACME_USER_ACTION_REQUIRED",
}
_HINTS = {
    "accountDoesNotExist": "The authority has forgotten the account, or its key is of another authority: register it again.",
    "badCSR": "The authority does not accept this kind of key or name: try key_type='p256'.",
    "caa": "A CAA record of the name, or of a parent, permits other authorities only: add this one.",
    "connection": "The authority must reach the name's address from outside: port 80 for http-01, port 443 for tls-alpn-01.",
    "dns": "The name's records must be visible from outside: check A, AAAA, and that the zone's servers answer.",
    "externalAccountRequired": "Get a key identifier and an HMAC key from the authority: external_account=.",
    "incorrectResponse": "Another server answers for this name, or an old answer is cached.",
    "invalidContact": "Give a full e-mail address, such as ada@example.com, or none at all.",
    "rateLimited": "Wait as long as the authority says; every new order counts.",
    "rejectedIdentifier": "The authority does not issue for this name: is it public, and not on a list of blocked names?",
    "serverInternal": "The authority has a fault: try again later.",
    "tls": "The authority must reach port 443 of the name itself, without another TLS server in between.",
    "unauthorized": "Check that the name leads to this machine, and that the account belongs to this key and was not deactivated.",
    "unsupportedIdentifier": "The authority does not issue for this kind of name, such as IP addresses: another profile may.",
    "userActionRequired": "Visit the page that the authority names, such as new terms of service.",
}


def read_problem(
    document: Any, what: str, *, status: int | None = None, retry_after: float | None = None, url: str | None = None
) -> ACMEError:
    """Return the error for a problem document, however malformed it is.

    Args:
        document: Parsed JSON of any type.
        what: What failed, the begin of the message: "The authority refused the order".
        status: Of HTTP.
        retry_after: Seconds.
        url: What was requested.
    """
    fields = document if isinstance(document, dict) else {}
    problem = _text(fields.get("type"), _MAX_TYPE)
    problem = problem.removeprefix(_PREFIX) if problem else None
    detail = _text(fields.get("detail"), _MAX_DETAIL)
    subproblems = fields.get("subproblems")
    parts = tuple(_read_part(one) for one in subproblems[:_MAX_SUBPROBLEMS]) if isinstance(subproblems, list) else ()
    about = _identifier(fields)
    # One part is the cause; of several, those that say most come first.
    causes = [f"{one.identifier or 'the request'}: {one.detail or one.problem}" for one in parts[:5] if one.detail or one.problem]
    place = _text(fields.get("instance"), _MAX_DETAIL) if problem == "userActionRequired" else None
    reason = "; ".join(filter(None, [detail or problem or (f"status {status}" if status else "no reason given"), *causes, place]))
    return ACMEError(
        f"{what}: {reason}",
        code=_CODES.get(problem or "", "ERR_ACME"),
        hint=_HINTS.get(problem or ""),
        problem=problem,
        status=status,
        detail=detail,
        retry_after=retry_after,
        subproblems=parts,
        identifier=about,
        url=url,
    )


def invalid_answer(url: str, why: str, *, status: int | None = None) -> ACMEError:
    """Return the error for an answer that is not what RFC 8555 wants."""
    return ACMEError(
        f"The answer of {printable(url)} cannot be used: {printable(why, _MAX_DETAIL)}",
        code="ERR_ACME_INVALID_RESPONSE",
        hint="Is this an ACME authority (RFC 8555), and does no proxy answer in its place?",
        status=status,
        url=url,
    )


def _read_part(document: Any) -> ACMEError:
    fields = document if isinstance(document, dict) else {}
    # RFC 8555 §6.7.1: subproblems are not nested.
    about = _identifier(fields)
    return read_problem({**fields, "subproblems": None}, about or "The request")


def _identifier(fields: dict[str, Any]) -> str | None:
    identifier = fields.get("identifier")
    return _text(identifier.get("value"), 255) if isinstance(identifier, dict) else None


def _text(value: Any, longest: int) -> str | None:
    return printable(value, longest) if isinstance(value, str) and value else None
