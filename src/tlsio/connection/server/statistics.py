"""A server's counters, in addition to those of its gate, and the statistics made of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsio.model.errors import TLSError
from tlsio.model.statistics import ServerStats

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tlsio.connection.handshake.session_storage import ServerSessions
    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.native._core import Gate

__all__ = ["Statistics"]


class Statistics:
    """The counters of one server."""

    def __init__(self, gate: Gate, sessions: ServerSessions) -> None:
        self._upgraded: set[TLSSocket] = set()
        self._gate = gate
        self._sessions = sessions
        self._failed: dict[str, int] = {}
        self._broken: dict[str, int] = {}
        self._bytes_read = self._bytes_written = 0  # of closed sockets of `upgrade`

    @property
    def connections(self) -> int:
        """The number of open connections, including those in a handshake. Any thread."""
        return self._gate.open_connections + self._gate.upgraded

    def upgraded(self, sock: TLSSocket) -> None:
        """Count an open socket of `upgrade`, also for `max_connections`."""
        self._upgraded.add(sock)
        self._gate.upgraded = len(self._upgraded)

    def handshake_failed(self, error: BaseException) -> None:
        """Count a failed handshake whose connection had a socket."""
        _count(self._failed, error)

    def connection_failed(self, error: BaseException) -> None:
        """Count a connection that failed after its handshake."""
        _count(self._broken, error)

    def closed(self, sock: TLSSocket) -> None:
        """Add the bytes of a closed socket, unless the gate counts them."""
        if sock in self._upgraded:
            self._upgraded.discard(sock)
            self._gate.upgraded = len(self._upgraded)
            self._bytes_read += sock.bytes_read
            self._bytes_written += sock.bytes_written

    def read(self, sockets: Iterable[TLSSocket]) -> ServerStats:
        """Return the present statistics, including those of open `sockets`. Any thread."""
        gate, sessions = self._gate, self._sessions
        live = tuple(sockets)
        failed = dict(gate.handshakes_failed)
        for code, count in tuple(self._failed.items()):
            failed[code] = failed.get(code, 0) + count
        return ServerStats(
            handshakes_full=gate.handshakes_full,
            handshakes_resumed=gate.handshakes_resumed,
            handshakes_failed=failed,
            connections_failed=dict(self._broken),
            open_connections=self.connections,
            accepted=gate.accepted,
            dropped=gate.dropped,
            bytes_read=gate.bytes_read + self._bytes_read + sum(one.bytes_read for one in live),
            bytes_written=gate.bytes_written + self._bytes_written + sum(one.bytes_written for one in live),
            session_hits=sessions.hits,
            session_misses=sessions.misses,
            sessions_stored=sessions.stored,
            session_errors=sessions.errors,
            session_seconds=sessions.seconds,
            store=sessions.store_stats,
        )


def _count(counts: dict[str, int], error: BaseException) -> None:
    code = error.code if isinstance(error, TLSError) else TLSError.default_code
    counts[code] = counts.get(code, 0) + 1
