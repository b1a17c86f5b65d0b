"""Sessions that a client has been given, for its next connections."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from tlsio.model.checks import check_int

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["ClientSessionCache"]

# What Node's https.Agent keeps (maxCachedSessions).
_MAX_ENTRIES = 100
# A server gives one or two for each connection; four let as many connections open at once.
_TICKETS = 4


class _Ticket(NamedTuple):
    data: bytes
    single_use: bool
    expires: float

    def __repr__(self) -> str:
        return "<ticket>"


class ClientSessionCache:
    """Remembers sessions of servers, newest first; bounded, the least recently used server leaves first.

    RFC 8446 Appendix C.4: "Clients SHOULD NOT reuse a ticket for multiple connections", for who does can be recognised. So a session
    of TLS 1.3 is given once, and up to four of them are kept; of older versions the newest is kept and given again and again.

    Sessions are secrets: they stay in memory. For clients of one thread; all of them may share it.

    Args:
        max_entries: Servers it keeps sessions of.
        clock: Seconds of the clock that `expires` is told by.
    """

    def __init__(self, max_entries: int = _MAX_ENTRIES, *, clock: Callable[[], float] = time.time) -> None:
        self._max_entries = check_int("max_entries", max_entries, 1, 2**31 - 1)
        self._clock = clock
        self._tickets: OrderedDict[Hashable, list[_Ticket]] = OrderedDict()  # the newest ticket last

    def take(self, key: Hashable) -> bytes | None:
        """Return the newest session for `key`; one for single use is forgotten.

        Args:
            key: Everything that decides whom the client trusts, and the server: a session never comes back under another key.
        """
        now = self._clock()
        tickets = [ticket for ticket in self._tickets.pop(key, ()) if ticket.expires > now]
        if not tickets:
            return None
        ticket = tickets.pop() if tickets[-1].single_use else tickets[-1]
        if tickets:
            self._tickets[key] = tickets
        return ticket.data

    def put(self, key: Hashable, data: bytes, *, single_use: bool, expires: float) -> None:
        """Keep a session until `expires`, an instant of the clock. `single_use`: it is one of TLS 1.3."""
        before = self._tickets.pop(key, [])
        # What the server gave under another version is worth nothing to the one that it speaks now.
        kept = [ticket for ticket in before if single_use and ticket.single_use][1 - _TICKETS :]
        self._tickets[key] = [*kept, _Ticket(data, single_use, expires)]
        if len(self._tickets) > self._max_entries:
            self._tickets.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        """Drop the sessions for `key`: a handshake that offered one has failed, and the next one is to be in full."""
        self._tickets.pop(key, None)

    def __len__(self) -> int:
        """How many servers it has sessions of."""
        return len(self._tickets)

    def __repr__(self) -> str:
        return f"<ClientSessionCache entries={len(self)}>"
