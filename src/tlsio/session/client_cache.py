"""A cache of the sessions that servers have issued to a client."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple, NoReturn, SupportsIndex

from tlsio.model.checks import check_int
from tlsio.model.errors import UsageTypeError
from tlsio.model.exported import exported

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["ClientSessionCache"]

# As Node's https.Agent (maxCachedSessions).
_MAX_ENTRIES = 100
# A server issues one or two for each connection. With four, as many connections can be opened at
# once.
_MAX_TICKETS = 4


class _Ticket(NamedTuple):
    data: bytes
    single_use: bool
    expires: float

    def __repr__(self) -> str:
        return "<ticket>"


@exported
class ClientSessionCache:
    """A bounded cache of sessions by server, which evicts the least recently used server first.

    RFC 8446 Appendix C.4: "Clients SHOULD NOT reuse a ticket for multiple connections", because
    reuse lets an observer link them. So a TLS 1.3 session is used once, and up to four are kept for
    each server. Of older versions, the newest is kept and used repeatedly.

    Sessions are secrets and stay in memory. All clients of one thread may share a cache.

    Args:
        max_entries: Number of servers whose sessions are kept.
        clock: The current time, in seconds of the clock that `expires` uses.
    """

    def __init__(self, max_entries: int = _MAX_ENTRIES, *, clock: Callable[[], float] = time.time) -> None:
        self._max_entries = check_int("max_entries", max_entries, 1, 2**31 - 1)
        self._clock = clock
        self._tickets: OrderedDict[Hashable, list[_Ticket]] = OrderedDict()  # the newest ticket last

    def take(self, key: Hashable) -> bytes | None:
        """Return the newest session for `key`, and remove it if it is for single use.

        Args:
            key: The server, and everything that determines which servers the client trusts: a
                session is returned only for the same key.
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
        """Keep a session until `expires`.

        Args:
            key: As for `take`.
            data: The encoded session.
            single_use: It is a TLS 1.3 session.
            expires: A time of the clock.
        """
        before = self._tickets.pop(key, [])
        # Sessions of another protocol version are dropped: the server no longer negotiates that
        # version.
        kept = [ticket for ticket in before if single_use and ticket.single_use][1 - _MAX_TICKETS :]
        self._tickets[key] = [*kept, _Ticket(data, single_use, expires)]
        if len(self._tickets) > self._max_entries:
            self._tickets.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        """Drop the sessions for `key`: after a failed resumption, the next handshake is full."""
        self._tickets.pop(key, None)

    def __len__(self) -> int:
        """Return the number of servers with sessions."""
        return len(self._tickets)

    def __bool__(self) -> bool:
        """Return True, also while it is empty: `cache or other` means whether there is one."""
        return True

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        raise UsageTypeError(
            "A ClientSessionCache cannot be pickled or copied: it holds secrets",
            hint="Share it within one thread; other processes need their own.",
        )

    def __repr__(self) -> str:
        return f"<ClientSessionCache entries={len(self)}>"
