"""The counters of servers and session stores, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tlsio.model.exported import exported

__all__ = ["FileSourceStats", "ServerStats", "StoreStats"]


@exported
@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStats:
    """The counters of a server since it was created.

    Attributes:
        handshakes_full: Full handshakes.
        handshakes_resumed: Handshakes that resumed a session.
        handshakes_failed: Number of failed handshakes by error code.
        connections_failed: Number of connections that failed after the handshake, by error code.
        open_connections: Connections that are open now.
        accepted: Connections accepted from the kernel, including those in a handshake.
        dropped: Connections refused by a limit before TLS.
        bytes_read: Application data received.
        bytes_written: Application data sent.
        session_hits: Lookups by `resume_session` or the store that found a session.
        session_misses: Lookups that found none.
        sessions_stored: Sessions passed to `new_session` or the store.
        session_errors: Lookups and stores that failed. Each costs only a full handshake.
        session_seconds: Total time of lookups and stores; divided by `session_calls`, their mean
            latency.
        store: The counters of the `session_store` itself, if it has any.
    """

    handshakes_full: int = 0
    handshakes_resumed: int = 0
    handshakes_failed: Mapping[str, int] = field(default_factory=dict)
    connections_failed: Mapping[str, int] = field(default_factory=dict)
    open_connections: int = 0
    accepted: int = 0
    dropped: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    session_hits: int = 0
    session_misses: int = 0
    sessions_stored: int = 0
    session_errors: int = 0
    session_seconds: float = 0.0
    store: "StoreStats | None" = None

    @property
    def session_calls(self) -> int:
        """Lookups and stores, including failed ones."""
        return self.session_hits + self.session_misses + self.sessions_stored + self.session_errors


@exported
@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStats:
    """The counters of a session store since it was created.

    Attributes:
        hits: Sessions found.
        misses: Sessions not found, including errors.
        puts: Sessions stored.
        dropped: Sessions not stored: too large, or an error.
        errors: Calls that failed: no answer in time, no connection, or an invalid answer.
        evicted: Sessions removed to make room.
        entries: Sessions stored now; 0 if only the store's backend knows.
        bytes: Memory that they use; 0 if only the store's backend knows.
        calls: Calls to the backend.
        seconds: Total time of these calls, including failed ones.
    """

    hits: int = 0
    misses: int = 0
    puts: int = 0
    dropped: int = 0
    errors: int = 0
    evicted: int = 0
    entries: int = 0
    bytes: int = 0
    calls: int = 0
    seconds: float = 0.0


@exported
@dataclass(frozen=True, slots=True, kw_only=True)
class FileSourceStats:
    """The counters of a FileSource since it was created.

    Attributes:
        checks: How often it looked at its files.
        loads: Sets of files that were taken, the first one included.
        failures: Changed files that could not be used.
        loaded_at: When the present set was taken; None: there is none yet.
        next_expiry: When the first certificate or CRL of the present set ends: the own
            certificates with their issuers, the CRLs, and the roots of `ca=` that are still valid.
    """

    checks: int = 0
    loads: int = 0
    failures: int = 0
    loaded_at: datetime | None = None
    next_expiry: datetime | None = None
