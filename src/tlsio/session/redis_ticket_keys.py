"""Ticket keys that the nodes of a cluster rotate together, through Redis or Valkey.

Redis stores one value, the plan (`ticket_plan`), encrypted with the application's secret. Every
node reads it several times in an interval. A node that finds a key missing takes the lock, reads
again, and completes the plan. It writes the plan and releases the lock in one atomic step, and only
if it still holds the lock. So two nodes never write at the same time, and a node that was suspended
for longer than the lock lasts does not write.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING, Any

from tlsio.model.checks import check_text, encode
from tlsio.model.errors import StoreError
from tlsio.model.exported import exported
from tlsio.model.options.context import MAX_TICKET_KEYS

from .redis_link import REDIS_TIMEOUT, RedisBacked, RedisLink
from .sealing import derive_key, seal, unseal
from .ticket_keys import Snapshot, TicketKeyRing, check_interval, check_overlap
from .ticket_plan import TicketPlan

if TYPE_CHECKING:
    from collections.abc import Callable

    from .ticket_plan import PlannedKey

__all__ = ["RedisTicketKeys"]

_INTERVAL = 3600.0
_OVERLAP = 3600.0
# Within half an interval all nodes must read the plan, with twice the clock difference to spare.
_MIN_INTERVAL = 60.0
# Reads of the plan in an interval, and the maximum time between two, so that a plan lost in a
# restart of Redis is soon written again.
_READS_PER_INTERVAL = 8
_MAX_READ_PAUSE = 60.0
_RETRY_PAUSE = 1.0  # after a failure, or while another node writes
# When all nodes start together, one writes the first plan within a millisecond and the others poll
# for it.
_FIRST_PLAN_POLLS, _POLL_PAUSE = 5, 0.02
# Milliseconds until the lock of a dead holder expires: eight times the timeout of its two commands.
_LOCK_MS = 4000
# Enough for a thousand keys; the longest overlap needs fourteen.
_MAX_PLAN_BYTES = 64 * 1024
_OPERATION = "Sharing ticket keys through Redis"
# KEYS: lock, plan. ARGV: the lock's token, the plan, its lifetime in milliseconds.
_WRITE = """if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[1])
return 1"""

_log = logging.getLogger("tlsio")


@exported
class RedisTicketKeys(RedisBacked):
    """Ticket keys shared by all nodes with the same secret.

    So each node can resume the sessions of the others.

    A key encrypts for `interval` and decrypts for `overlap` after that. All nodes know the next key
    long before it is used and change to it at the same time; clocks may differ by 5 seconds.

    A node that cannot reach Redis continues with the keys it knows, including the next one, until
    they expire. After that, or if it has never reached Redis, it uses local keys, which rotate like
    those of a `TicketKeyRing`: its tickets cannot be resumed on other nodes. This is logged once.

    All servers of one loop may share it. `async with` or `aclose` closes the connections.

    Args:
        url_or_client: `redis://`, `rediss://` or `unix://`, or a client of `redis.asyncio`, which
            the caller has to close.
        secret: 32 or more random bytes, as str or bytes, the same on all nodes. With it and access
            to Redis, the ticket keys can be read.
        prefix: Prefix of the names in Redis.
        interval: Seconds after which the next key encrypts, 60 or more; the same on all nodes.
        overlap: Seconds for which the previous key still decrypts: as long as sessions are resumed
            (`session_timeout`).
        timeout: Seconds until a Redis operation fails.
        clock: Seconds since 1970 (UTC).
        random: Returns the requested number of random bytes.

    Raises:
        ConfigError: the package `redis` is missing (`tlsio[redis]`).
        UsageError: an invalid argument.
    """

    clock: Callable[[], float]

    def __init__(  # noqa: PLR0913  (keyword-only except the first)
        self,
        url_or_client: Any,
        *,
        secret: str | bytes,
        prefix: str = "tlsio:",
        interval: float = _INTERVAL,
        overlap: float = _OVERLAP,
        timeout: float = REDIS_TIMEOUT,
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._key = derive_key(secret, "ticket keys")
        # The braces keep lock and plan on one node of a Redis cluster. The name depends on the
        # secret, so the secret can be changed node by node.
        name = derive_key(secret, "ticket keys name").hex()[:16]
        self._name = encode("prefix", check_text("prefix", prefix)) + f"{{ticket-keys-{name}}}".encode()
        self._plan = TicketPlan(check_interval(interval, at_least=_MIN_INTERVAL), check_overlap(overlap, interval))
        self._local_ring = TicketKeyRing(interval=interval, overlap=overlap, random=random)
        self._local_until = 0.0  # tickets under local keys may be valid until then
        self._isolated = False
        self._failing = True  # until the plan has been read
        self._link = RedisLink(url_or_client, timeout=timeout)
        self.clock = clock
        self._random = random

    def snapshot(self, now: float) -> Snapshot:
        """Return the keys in use at `now`, and the time of the next change or read."""
        shared = self._plan.usable(now)
        self._log_isolation(isolated=not shared)
        next_read = now + (_RETRY_PAUSE if self._failing else min(self._plan.interval / _READS_PER_INTERVAL, _MAX_READ_PAUSE))
        until = min(next_read, self._plan.next_change(now))
        if shared and now >= self._local_until:
            return Snapshot(shared[:MAX_TICKET_KEYS], until)
        local = self._local_ring.snapshot(now)
        if not shared:
            self._local_until = now + self._plan.overlap
        # A server has room for this many. Shared keys come before local ones, the newest first in
        # each group.
        return Snapshot((*shared, *local.keys)[:MAX_TICKET_KEYS], min(until, local.until))

    async def refresh(self) -> None:
        """Read the plan, and complete it if a key is missing. Does not raise if Redis fails."""
        try:
            found = await self._read()
            if not self._is_up_to_date(found):
                await self._write()
            for _ in range(_FIRST_PLAN_POLLS):
                if not self._plan.keys:  # another node is writing the first plan
                    await asyncio.sleep(_POLL_PAUSE)
                    await self._read()
            self._failing = not self._plan.is_complete(self.clock())
        except StoreError:
            self._failing = True

    def _is_up_to_date(self, found: tuple[PlannedKey, ...]) -> bool:
        """Tell whether Redis has all local keys of the plan, and the plan is complete."""
        return set(self._plan.keys) <= set(found) and self._plan.is_complete(self.clock())

    async def _read(self) -> tuple[PlannedKey, ...]:
        found = await self._link.call(_OPERATION, "GET", self._name, read=self._unwrap)
        self._plan = self._plan.joined(found, self.clock())
        return found

    def _unwrap(self, sealed: bytes | None) -> tuple[PlannedKey, ...]:
        if sealed is None:
            return ()
        try:
            if len(sealed) <= _MAX_PLAN_BYTES:
                return TicketPlan.unpack(unseal(self._key, sealed, self._name))
        except (ValueError, TypeError):
            pass
        _log.warning(
            "The ticket keys in Redis were not written with this secret and are replaced: check that secret= is the same on all nodes"
        )
        return ()

    async def _write(self) -> None:
        lock, token = self._name + b":lock", self._random(16)
        # If another node holds the lock, that node adds the missing keys. If it does not, the next
        # read finds out.
        if not await self._link.call(_OPERATION, "SET", lock, token, "NX", "PX", _LOCK_MS, read=bool):
            return
        await self._read()
        plan = self._plan.completed(self.clock(), self._random)
        sealed = seal(self._key, plan.pack(), self._name, self._random)
        lifetime_ms = int(1000 * (3 * plan.interval + plan.overlap))  # the keys expire if no node is left
        if await self._link.call(_OPERATION, "EVAL", _WRITE, 2, lock, self._name, token, sealed, lifetime_ms, read=int):
            self._plan = plan

    def _log_isolation(self, *, isolated: bool) -> None:
        if isolated and not self._isolated:
            _log.warning("No ticket keys from Redis: until it answers, sessions of this node can be resumed only on this node")
        self._isolated = isolated

    def __repr__(self) -> str:
        return f"<RedisTicketKeys name={self._name.decode()!r}>"
