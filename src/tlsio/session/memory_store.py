"""Sessions in the memory of one process: bounded, expiring, the least recently used evicted first.

An entry is a single `bytes` object that begins with its expiry time in eight bytes. So a million
entries use little memory, and the garbage collector does not visit them.
"""

from __future__ import annotations

import struct
import sys
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from tlsio.model.checks import check_limit
from tlsio.model.exported import exported
from tlsio.model.statistics import StoreStats

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MemorySessionStore"]

# As OpenSSL's own cache (SSL_SESSION_CACHE_MAX_SIZE_DEFAULT).
_MAX_ENTRIES = 1024 * 20
# Holds _MAX_ENTRIES sessions with a client certificate, which take about 3 KiB each.
_MAX_BYTES = 64 * 1024 * 1024
# Bytes of an entry in addition to id and data, measured by bench/store_memory.py: two `bytes`
# headers, the expiry time, the dictionary's tables.
_ENTRY_OVERHEAD = 216
_EXPIRES = struct.Struct("d")
# With two for each new entry, expired entries are removed faster than new ones are added.
_EXPIRED_PER_PUT = 2


@exported
class MemorySessionStore:
    """A `SessionStore` in memory.

    Its methods are synchronous. All servers of one thread may share it.

    Args:
        max_entries: Maximum number of sessions; None for no limit.
        max_bytes: Maximum memory for them; None for no limit.
        clock: Monotonic seconds.
    """

    def __init__(
        self, max_entries: int | None = _MAX_ENTRIES, max_bytes: int | None = _MAX_BYTES, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_entries = check_limit("max_entries", max_entries) or sys.maxsize
        self._max_bytes = check_limit("max_bytes", max_bytes) or sys.maxsize
        self._clock = clock
        self._entries: OrderedDict[bytes, bytes] = OrderedDict()  # the least recently used first
        self._bytes = 0
        self._hits = self._misses = self._puts = self._dropped = self._evicted = 0

    def get(self, session_id: bytes) -> bytes | None:
        """Return the data of a session, None if it is unknown or has expired."""
        entry = self._entries.get(session_id)
        if entry is not None and self._is_expired(entry):
            self.delete(session_id)
            entry = None
        if entry is None:
            self._misses += 1
            return None
        self._hits += 1
        self._entries.move_to_end(session_id)
        return entry[_EXPIRES.size :]

    def put(self, session_id: bytes, data: bytes, ttl: float) -> None:
        """Keep `data` for `ttl` seconds, replacing earlier data; drop it if over `max_bytes`."""
        self.delete(session_id)
        size = _ENTRY_OVERHEAD + len(session_id) + len(data)
        if ttl <= 0 or size > self._max_bytes:
            self._dropped += 1
            return
        self._forget_expired()
        while len(self._entries) >= self._max_entries or self._bytes + size > self._max_bytes:
            self._forget_oldest()
            self._evicted += 1
        self._entries[session_id] = _EXPIRES.pack(self._clock() + ttl) + data
        self._bytes += size
        self._puts += 1

    def delete(self, session_id: bytes) -> None:
        """Forget a session; do nothing if it is unknown."""
        entry = self._entries.pop(session_id, None)
        if entry is not None:
            self._bytes -= _size(session_id, entry)

    def stats(self) -> StoreStats:
        """Return the counters, and the current number and size of the entries."""
        return StoreStats(
            hits=self._hits,
            misses=self._misses,
            puts=self._puts,
            dropped=self._dropped,
            evicted=self._evicted,
            entries=len(self._entries),
            bytes=self._bytes,
        )

    def _is_expired(self, entry: bytes) -> bool:
        expires: float = _EXPIRES.unpack_from(entry)[0]
        return expires <= self._clock()

    def _forget_expired(self) -> None:
        for _ in range(min(_EXPIRED_PER_PUT, len(self._entries))):
            if not self._is_expired(next(iter(self._entries.values()))):
                return
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        self._bytes -= _size(*self._entries.popitem(last=False))

    def __repr__(self) -> str:
        return f"<MemorySessionStore entries={len(self._entries)}>"


def _size(session_id: bytes, entry: bytes) -> int:
    return _ENTRY_OVERHEAD + len(session_id) + len(entry) - _EXPIRES.size
