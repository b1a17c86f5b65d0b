"""Ticket keys that a cluster changes together, by way of Redis or Valkey.

Redis holds one value, the plan (`ticket_plan`), wrapped with the application's secret. Every node reads it many times in an interval.
Who finds a key missing in it takes the lock, reads again, completes and writes: in one step of Redis with giving the lock back, and
only if it is still the holder. So two never write at once, and who was away for longer than the lock lasts does not write at all.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING, Any

from tlsio.model.checks import check_text
from tlsio.model.errors import StoreError
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
# Half of it has to hold a reading of the plan by all, and twice the difference of clocks.
_SHORTEST_INTERVAL = 60.0
# Readings of the plan in an interval, and the longest time between two: a node that lost it to a restart of Redis is soon found out.
_READINGS = 8
_LONGEST_PAUSE = 60.0
_RETRY = 1.0  # after a failure, or while another node writes
_WAITS, _WAIT = 5, 0.02  # all nodes start at once: a plan is written within a millisecond
# Milliseconds the lock lasts when its holder dies: eight times what its two commands may take.
_LOCK_MS = 4000
# A thousand keys; those of the longest overlap are fourteen.
_MAX_PLAN_BYTES = 64 * 1024
_WHAT = "Sharing ticket keys through Redis"
# KEYS: the lock, the plan. ARGV: whose lock, the plan, how long it is kept.
_WRITE = """if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[1])
return 1"""

_log = logging.getLogger("tlsio")


class RedisTicketKeys(RedisBacked):
    """Ticket keys for all nodes that know a secret: each can resume what another has begun.

    A key encrypts for `interval` and decrypts for `overlap` more. All nodes know the next key long before anyone uses it and change to
    it at the same moment; clocks may be off by 5 seconds.

    A node that cannot reach Redis goes on with the keys it knows, the next one included, until their time is over. Then, and when it
    has never reached Redis, it uses keys of its own, which change as those of a `TicketKeyRing`: its tickets do not resume elsewhere.
    The log hears of it once.

    For servers of one loop. `async with` or `aclose` closes the connections.

    Args:
        url_or_client: `redis://`, `rediss://` or `unix://`, or a client of `redis.asyncio`, which stays yours to close.
        secret: 32 random bytes or more, as str or bytes, the same on all nodes. Whoever has it and Redis has the ticket keys.
        prefix: What the names in Redis begin with.
        interval: Seconds after which the next key encrypts, 60 or more; the same on all nodes.
        overlap: Seconds for which the one before still decrypts: as long as sessions are to be resumed (`session_timeout`).
        timeout: Seconds until an operation of Redis is given up.
        clock: Seconds since 1970 (UTC).
        random: Gives as many random bytes as it is asked for.

    Raises:
        ConfigError: the package `redis` is missing (`tlsio[redis]`). UsageError: a wrong argument.
    """

    clock: Callable[[], float]

    def __init__(  # noqa: PLR0913  (keyword-only but for the first)
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
        # The braces keep lock and plan on one node of a Redis cluster; another secret has another name, so it can be changed node by node.
        self._name = f"{check_text('prefix', prefix)}{{ticket-keys-{derive_key(secret, 'ticket keys name').hex()[:16]}}}".encode()
        self._plan = TicketPlan(check_interval(interval, at_least=_SHORTEST_INTERVAL), check_overlap(overlap, interval))
        self._own = TicketKeyRing(interval=interval, overlap=overlap, random=random)
        self._own_until = 0.0  # own tickets may be out there until then
        self._alone = False
        self._failing = True  # nothing is known yet
        self._link = RedisLink(url_or_client, timeout=timeout)
        self.clock = clock
        self._random = random

    def snapshot(self, now: float) -> Snapshot:
        """Return the keys that hold at `now`, and when they change or the plan is to be read again."""
        shared = self._plan.usable(now)
        self._tell_alone(alone=not shared)
        again = now + (_RETRY if self._failing else min(self._plan.interval / _READINGS, _LONGEST_PAUSE))
        until = min(again, self._plan.next_change(now))
        if shared and now >= self._own_until:
            return Snapshot(shared[:MAX_TICKET_KEYS], until)
        own = self._own.snapshot(now)
        if not shared:
            self._own_until = now + self._plan.overlap
        # A server has room for so many. Those that are shared come first, each part with its newest first.
        return Snapshot((*shared, *own.keys)[:MAX_TICKET_KEYS], min(until, own.until))

    async def refresh(self) -> None:
        """Read the plan, and complete it where a key is missing. Does not raise when Redis fails."""
        try:
            found = await self._read()
            if not self._is_well_known(found):
                await self._write()
            for _ in range(_WAITS):
                if not self._plan.keys:  # another node writes the first plan just now
                    await asyncio.sleep(_WAIT)
                    await self._read()
            self._failing = not self._plan.is_complete(self.clock())
        except StoreError:
            self._failing = True

    def _is_well_known(self, found: tuple[PlannedKey, ...]) -> bool:
        """Whether what is known here stands there too, and is all that is needed."""
        return set(self._plan.keys) <= set(found) and self._plan.is_complete(self.clock())

    async def _read(self) -> tuple[PlannedKey, ...]:
        found = await self._link.call(_WHAT, "GET", self._name, read=self._unwrap)
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
        _log.warning("What stands in Redis in the place of the ticket keys was not written with this secret; it is replaced")
        return ()

    async def _write(self) -> None:
        lock, token = self._name + b":lock", self._random(16)
        # None: another node holds it. It writes what is needed here, too, or the next reading finds that it has not.
        if not await self._link.call(_WHAT, "SET", lock, token, "NX", "PX", _LOCK_MS, read=bool):
            return
        await self._read()
        plan = self._plan.completed(self.clock(), self._random)
        sealed = seal(self._key, plan.pack(), self._name, self._random)
        keep = int(1000 * (3 * plan.interval + plan.overlap))  # when all nodes are gone, their keys go too
        if await self._link.call(_WHAT, "EVAL", _WRITE, 2, lock, self._name, token, sealed, keep, read=int):
            self._plan = plan

    def _tell_alone(self, *, alone: bool) -> None:
        if alone and not self._alone:
            _log.warning("No ticket keys are shared through Redis: sessions begun here resume here only, until it answers")
        self._alone = alone

    def __repr__(self) -> str:
        return f"<RedisTicketKeys name={self._name.decode()!r}>"
