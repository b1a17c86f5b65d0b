"""A CRL or an OCSP response as plain data, without judging its signature: the issuer is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsio.certs.item import Finding, Item
from tlsio.model.errors import ConfigError
from tlsio.model.instants import print_instant
from tlsio.native._core import RevokedSerials
from tlsio.trust import der
from tlsio.trust.names import describe_name
from tlsio.trust.signatures import Signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tlsio.certs.item import Value

__all__ = ["describe_crl", "describe_ocsp_response"]

_TIMES = {der.UTC_TIME, der.GENERALIZED_TIME}
_EXTENSIONS = 0xA0  # [0] EXPLICIT of TBSCertList
_NUMBER = "2.5.29.20"
_STATUSES = ("successful", "malformed_request", "internal_error", "try_later", "", "sig_required", "unauthorized")  # RFC 6960 §4.2.1
_BY_NAME, _BY_KEY = 0xA1, 0xA2  # ResponderID
_CERTIFICATE_STATUSES = {0x80: "good", 0xA1: "revoked", 0x82: "unknown"}
_NEXT_UPDATE = 0xA0
_VERSION = 0xA0


def describe_crl(data: bytes, source: str, now: datetime) -> Item:
    """Describe a CRL in DER.

    Raises:
        ConfigError: it is malformed.
    """
    try:
        signed = Signed(*der.read(data).expect(der.SEQUENCE).children())
        fields = list(signed.data.expect(der.SEQUENCE).children())
        if fields[0].tag == der.INTEGER:
            del fields[0]
        _algorithm, issuer, start, *rest = fields
        end = rest.pop(0).time() if rest and rest[0].tag in _TIMES else None
        entries = rest.pop(0).content if rest and rest[0].tag == der.SEQUENCE else b""
        facts: dict[str, Value] = {
            "issuer": describe_name(issuer.encoded),
            "this_update": start.time(),
            "next_update": end,
            "number": _crl_number(rest),
            "revoked": len(RevokedSerials(entries)),
            "signature_hash": signed.hash_name,
        }
    except (ValueError, TypeError, IndexError):
        raise _unreadable("CRL", source) from None
    return Item(kind="crl", title=str(facts["issuer"]), facts=facts, findings=tuple(_find_age("CRL", end, now)))


def _crl_number(fields: list[der.Element]) -> int | None:
    for field in fields:
        if field.tag == _EXTENSIONS:
            for extension in der.read(field.content).children():
                oid, *_, value = extension.children()
                if oid.oid() == _NUMBER:
                    return der.read(value.content).integer()
    return None


def describe_ocsp_response(data: bytes, source: str, now: datetime) -> Item:
    """Describe an OCSP response in DER.

    Raises:
        ConfigError: it is malformed.
    """
    try:
        status, *optional = der.read(data).expect(der.SEQUENCE).children()
        name = _STATUSES[status.content[0]]
        if not optional:
            return Item(kind="OCSP response", title=name, facts={"response_status": name}, findings=(_refused(name),))
        _kind, content = der.read(optional[0].content).expect(der.SEQUENCE).children()
        basic, algorithm, signature, *_ = der.read(content.content).expect(der.SEQUENCE).children()
        signed = Signed(basic, algorithm, signature)
        fields = [one for one in basic.expect(der.SEQUENCE).children() if one.tag != _VERSION]
        responder, produced, responses = fields[:3]
        answers = [_describe_answer(one) for one in responses.expect(der.SEQUENCE).children()]
        facts: dict[str, Value] = {
            "response_status": name,
            "responder": describe_name(responder.content) if responder.tag == _BY_NAME else der.read(responder.content).content.hex(":"),
            "produced_at": produced.time(),
            "signature_hash": signed.hash_name,
            "answers": answers,
        }
    except (ValueError, TypeError, IndexError):
        raise _unreadable("OCSP response", source) from None
    findings = [finding for answer in answers for finding in _find_answer(answer, now)]
    title = ", ".join(f"{answer['serial_number']} is {answer['status']}" for answer in answers)
    return Item(kind="OCSP response", title=title, facts=facts, findings=tuple(findings))


def _describe_answer(response: der.Element) -> dict[str, Value]:
    identity, status, this_update, *optional = response.expect(der.SEQUENCE).children()
    *_, serial = identity.expect(der.SEQUENCE).children()
    return {
        "serial_number": f"{serial.integer():X}",
        "status": _CERTIFICATE_STATUSES.get(status.tag, "unknown"),
        "revoked_at": next(status.children()).time() if status.tag == 0xA1 else None,  # noqa: PLR2004  (as in the table)
        "this_update": this_update.time(),
        "next_update": next((der.read(one.content).time() for one in optional if one.tag == _NEXT_UPDATE), None),
    }


def _find_answer(answer: dict[str, Value], now: datetime) -> Iterator[Finding]:
    if answer["status"] != "good":
        yield Finding(
            code=str(answer["status"]),
            level="error",
            text=f"The certificate {answer['serial_number']} is {answer['status']}",
            remedy="Get a new certificate with a new key." if answer["status"] == "revoked" else "Ask the issuer's own responder.",
        )
    yield from _find_age("response", answer["next_update"], now)  # type: ignore[arg-type]


def _find_age(what: str, end: datetime | None, now: datetime) -> Iterator[Finding]:
    if end is None:
        yield Finding(
            code="no_next_update",
            level="note",
            text=f"The {what} does not say until when it is valid",
            remedy="Fetch it again before each use.",
        )
    elif now > end:
        yield Finding(
            code="expired", level="error", text=f"The {what} expired on {print_instant(end)}", remedy="Fetch the current one.", when=end
        )


def _refused(status: str) -> Finding:
    return Finding(
        code="no_answer",
        level="error",
        text=f'The responder did not answer the question, but "{status}"',
        remedy="Try again later, or ask the CA.",
    )


def _unreadable(what: str, source: str) -> ConfigError:
    return ConfigError(
        f"Cannot read the {what} of {source}", code="ERR_TLS_UNREADABLE_FILE", hint="It is damaged: get it again from its source."
    )
