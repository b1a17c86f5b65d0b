"""What is noted next to a certificate in storage: `certificate.json`.

It is advice, which may be missing or broken.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlsio.acme.manager.certificate import Certificate

__all__ = ["Facts", "parse_json", "print_json", "read_instant", "read_number", "write_instant"]

_MAX_TEXT = 2048  # characters; URLs


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about one certificate beyond itself.

    Attributes:
        fingerprint: That of the certificate: facts about another one are dropped.
        obtained_at: When it was obtained.
        chosen: The time to renew, chosen once.
        window: The authority's suggestion from which it was chosen; None: from none.
        next_poll: When the authority is asked for a suggestion again.
        explanation_url: Why the authority suggests it.
        revoked_at: When a revocation was found.
        order_url: The order, for questions to the authority.
        profile: The profile that was asked for.
    """

    fingerprint: str = ""
    obtained_at: datetime | None = None
    chosen: datetime | None = None
    window: tuple[datetime, datetime] | None = None
    next_poll: datetime | None = None
    explanation_url: str | None = None
    revoked_at: datetime | None = None
    order_url: str | None = None
    profile: str | None = None

    @classmethod
    def read(cls, data: bytes | None, certificate: Certificate) -> Facts:
        """Read the facts about a certificate, as far as they can be read."""
        found = parse_json(data)
        own = cls(certificate.fingerprint)
        if found.get("fingerprint") != own.fingerprint:
            return own
        start, end = read_instant(found.get("window_start")), read_instant(found.get("window_end"))
        return replace(
            own,
            obtained_at=read_instant(found.get("obtained_at")),
            chosen=read_instant(found.get("renew_at")),
            window=(start, end) if start and end and start < end else None,
            next_poll=read_instant(found.get("next_poll")),
            explanation_url=_read_text(found.get("explanation_url")),
            revoked_at=read_instant(found.get("revoked_at")),
            order_url=_read_text(found.get("order_url")),
            profile=_read_text(found.get("profile")),
        )

    def write(self, certificate: Certificate) -> bytes:
        """Return the facts as a person can read them, with those of the certificate itself."""
        start, end = self.window or (None, None)
        return print_json(
            {
                "names": sorted(certificate.names),
                "issuer": certificate.issuer,
                "not_before": write_instant(certificate.not_before),
                "not_after": write_instant(certificate.not_after),
                "fingerprint": certificate.fingerprint,
                "obtained_at": write_instant(self.obtained_at),
                "renew_at": write_instant(self.chosen),
                "window_start": write_instant(start),
                "window_end": write_instant(end),
                "next_poll": write_instant(self.next_poll),
                "explanation_url": self.explanation_url,
                "revoked_at": write_instant(self.revoked_at),
                "order_url": self.order_url,
                "profile": self.profile,
            }
        )


def parse_json(data: bytes | None) -> Mapping[str, Any]:
    """Return the object in a JSON text; an empty one for anything else."""
    try:
        found = json.loads(data) if data else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def print_json(value: Mapping[str, object]) -> bytes:
    """Return an object as indented JSON, without what is not known."""
    return json.dumps({name: one for name, one in value.items() if one is not None}, indent=2).encode("ascii") + b"\n"


def read_instant(value: object) -> datetime | None:
    """Return an instant of JSON; None: it is none."""
    try:
        return datetime.fromisoformat(value).astimezone(UTC) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def write_instant(value: datetime | None) -> str | None:
    """Return an instant for JSON."""
    return None if value is None else value.isoformat()


def read_number(value: object, most: int) -> int:
    """Return a count of JSON from 0 to `most`; 0: it is none."""
    return min(max(value, 0), most) if isinstance(value, int) else 0


def _read_text(value: object) -> str | None:
    return value if isinstance(value, str) and len(value) <= _MAX_TEXT else None
