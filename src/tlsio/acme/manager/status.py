"""The state of each certificate, as programs, `tlsio acme status` and metrics show it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tlsio.acme.manager.managed import Managed

__all__ = ["CertificateStatus", "ManagerStats", "describe"]

State = Literal["valid", "due", "missing", "expired", "not_yet_valid", "revoked"]


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """One certificate of a manager.

    Attributes:
        names: What it is for.
        state: `"valid"`; `"due"`: its renewal is due; `"missing"`: there is none yet, and a
            temporary one is served; `"expired"`; `"not_yet_valid"`, which the storage may have;
            `"revoked"`.
        issuer: The name of the issuer; None: there is no certificate.
        not_before: Start of its life, aware UTC.
        not_after: End of its life.
        fingerprint: SHA-256 of the certificate in hexadecimal.
        next_try: When it will be renewed or obtained, as far as that is known now.
        reason: Why then: `"suggested"` (by the authority), `"time"`, `"emergency"`, `"revoked"`,
            `"missing"`, `"expired"`, `"not_yet_valid"`, `"names"` (it lacks some) or `"asked"`.
        failures: Failed orders since the last success.
        code: The code of the last error.
        message: Its message.
        hint: What to do about it.
        needs_action: Trying again does not help: settings must change, or a person must act.
        explanation_url: Why the authority suggests the time.
        is_on_demand: A client has asked for it.
        is_saved: Whether the storage has it.
    """

    names: tuple[str, ...]
    state: State
    issuer: str | None
    not_before: datetime | None
    not_after: datetime | None
    fingerprint: str | None
    next_try: datetime | None
    reason: str
    failures: int
    code: str | None
    message: str | None
    hint: str | None
    needs_action: bool
    explanation_url: str | None
    is_on_demand: bool
    is_saved: bool

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data for JSON; instants as ISO 8601."""
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class ManagerStats:
    """The counters of a manager.

    Attributes:
        orders: Orders, by issuer and `"issued"` or `"failed"`.
        paused: Issuers that are left alone now, and until when.
        states: Certificates by `CertificateStatus.state`.
        next_expiry: The first end of a certificate.
        storage_errors: Failed accesses to the storage.
        on_demand_refused: Handshakes for names without permission.
    """

    orders: dict[tuple[str, str], int]
    paused: dict[str, datetime]
    states: dict[str, int]
    next_expiry: datetime | None
    storage_errors: int
    on_demand_refused: int


def describe(managed: Managed, now: datetime) -> CertificateStatus:
    """Return the state of one certificate."""
    certificate, facts, trouble = managed.certificate, managed.facts, managed.trouble
    renewal = managed.find_renewal(now)
    return CertificateStatus(
        names=managed.names,
        state=_find_state(managed, now),
        issuer=None if certificate is None else certificate.issuer,
        not_before=None if certificate is None else certificate.not_before,
        not_after=None if certificate is None else certificate.not_after,
        fingerprint=None if certificate is None else facts.fingerprint,
        next_try=managed.find_order(now),
        reason=renewal.reason,
        failures=trouble.failures,
        code=trouble.code,
        message=trouble.message,
        hint=trouble.hint,
        needs_action=trouble.needs_action,
        explanation_url=facts.explanation_url,
        is_on_demand=managed.is_on_demand,
        is_saved=managed.is_saved,
    )


def _find_state(managed: Managed, now: datetime) -> State:
    if managed.certificate is None:
        return "missing"
    if now >= managed.certificate.not_after:
        return "expired"
    if now < managed.certificate.valid_from:
        return "not_yet_valid"
    if managed.facts.revoked_at is not None:
        return "revoked"
    return "due" if managed.find_renewal(now).at <= now else "valid"
