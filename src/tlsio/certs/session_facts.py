"""A session as plain data, without what is secret: its id, its ticket and its keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tlsio.certs.item import Finding, Item
from tlsio.model.errors import ConfigError
from tlsio.session.client_session import ClientSession
from tlsio.trust import der
from tlsio.trust.pins import print_pin

if TYPE_CHECKING:
    from tlsio.certs.item import Value

__all__ = ["describe_session"]

_VERSIONS = {0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
# Tags of OpenSSL's SSL_SESSION (ssl/ssl_asn1.c): each is EXPLICIT.
_TIME, _TIMEOUT, _HOST, _TICKET = 0xA1, 0xA2, 0xA6, 0xAA
_NO_EXPIRY = datetime(9999, 1, 1, tzinfo=UTC)


def describe_session(data: bytes, source: str, now: datetime) -> Item:
    """Describe what `socket.get_session()` returned, or an SSL_SESSION of OpenSSL in DER.

    Raises:
        ConfigError: it is malformed.
    """
    session = ClientSession.decode(data)
    try:
        facts = _describe_openssl(session.data if session else data)
    except (ValueError, IndexError, OverflowError):
        raise ConfigError(f"Cannot read the session of {source}", code="ERR_TLS_UNREADABLE_FILE", hint="It is damaged.") from None
    if session is not None:
        facts |= {
            "verified_name": session.name or None,
            "verified_at": _instant(session.verified_at),
            "verdict_valid_until": _instant(session.valid_until),
            "pins": [print_pin(digest) for digest in session.spki_digests],
            "accepted_errors": [number for number, _depth in session.verify_errors],
            "objections": [code for code, _text in session.objections],
        }
    ends = [end for end in (facts["expires"], facts.get("verdict_valid_until")) if isinstance(end, datetime)]
    end = min(ends, default=_NO_EXPIRY)
    expired = Finding(
        code="expired",
        level="error",
        text="The session has expired",
        remedy="Nothing: the next connection makes a full handshake.",
        when=end,
    )
    return Item(
        kind="session",
        title=f"{facts.get('verified_name') or facts['server_name'] or 'no server name'}, {facts['protocol']}",
        facts=facts,
        findings=(expired,) if end <= now else (),
    )


def _describe_openssl(data: bytes) -> dict[str, Value]:
    _version, protocol, cipher, _id, _secret, *optional = der.read(data).expect(der.SEQUENCE).children()
    found = {one.tag: der.read(one.content) for one in optional}
    start = found[_TIME].integer() if _TIME in found else None
    life = found[_TIMEOUT].integer() if _TIMEOUT in found else 0
    number = protocol.integer()
    return {
        "protocol": _VERSIONS.get(number, f"0x{number:04x}"),
        "cipher": f"0x{cipher.content.hex()}",
        "server_name": found[_HOST].content.decode("latin-1") if _HOST in found else None,
        "established": None if start is None else _instant(start),
        "expires": None if start is None else _instant(start + life),
        "has_ticket": _TICKET in found,
    }


def _instant(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return _NO_EXPIRY
