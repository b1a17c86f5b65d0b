"""What servers and session stores count, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["ServerStats", "StoreStats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStats:
    """What a server has done since it was made.

    Attributes:
        handshakes_failed: Number of failed handshakes by error code.
        connections_failed: Of connections that the peer or the network broke after the handshake, by error code.
        accepted: Connections taken from the kernel, those in a handshake included.
        dropped: Connections refused by a limit before TLS.
        session_hits: Lookups of `resume_session` or the store that found a session. `session_misses`: that found none.
        sessions_stored: Given to `new_session` or the store. `session_errors`: either went wrong; a full handshake, no more.
        session_seconds: What lookups and storing have taken, all together; the mean latency by `session_calls`.
        store: What the `session_store` has counted itself, where it counts.
        bytes_read: Application data received. `bytes_written`: sent.
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
        """Lookups and stores, those that failed included."""
        return self.session_hits + self.session_misses + self.sessions_stored + self.session_errors


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStats:
    """What a session store has done since it was made.

    Attributes:
        hits: Sessions found. `misses`: not found, errors included. `puts`: sessions kept.
        dropped: Sessions not kept: too large, or an error.
        errors: Calls that failed: no answer in time, no connection, an answer that makes no sense.
        evicted: Sessions that left for want of room.
        entries: Sessions held now. `bytes`: memory that they take. Both 0 where only the server behind the store knows.
        calls: Calls that went to that server. `seconds`: how long they took together, failed ones included.
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
