"""Sessions shared by a cluster, in Redis or Valkey."""

from __future__ import annotations

import base64
import hmac
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from tlsio.model.checks import check_int, check_text
from tlsio.model.errors import StoreError
from tlsio.model.statistics import StoreStats

from .redis_link import REDIS_TIMEOUT, RedisBacked, RedisLink, expect_ok
from .sealing import OVERHEAD_BYTES, derive_key, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RedisSessionStore"]

# A session with a client's certificate takes 1 to 4 KiB; one of an odd chain more. What is larger is not worth the network.
_MAX_ENTRY_BYTES = 32 * 1024


class RedisSessionStore(RedisBacked):
    """A `SessionStore` in Redis or Valkey, for all who know its secret.

    Sessions are encrypted and authenticated. The name and the key of each come from its id by HMAC-SHA512, so ids cannot be read there,
    and a value answers to no other id. Redis forgets it when its time is over.

    No client is refused for the sake of the store: when Redis is down, slow, full, or answers nonsense, `get` gives None and `put`
    drops, both are counted, and the log hears of the outage once. After three failures in a row it is asked every two seconds only.

    For servers of one loop. `async with` or `aclose` closes the connections.

    Args:
        url_or_client: `redis://`, `rediss://` or `unix://`, or a client of `redis.asyncio`, which stays yours to close.
        secret: 32 random bytes or more, as str or bytes, the same on all nodes. Whoever has it and Redis reads the sessions.
        prefix: What the names in Redis begin with.
        timeout: Seconds until an operation is given up.
        max_entry_bytes: Larger sessions are dropped.
        clock: Seconds that never go back.

    Raises:
        ConfigError: the package `redis` is missing (`tlsio[redis]`). UsageError: a wrong argument.
    """

    def __init__(
        self,
        url_or_client: Any,
        *,
        secret: str | bytes,
        prefix: str = "tlsio:",
        timeout: float = REDIS_TIMEOUT,
        max_entry_bytes: int = _MAX_ENTRY_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key = derive_key(secret, "sessions")
        self._prefix = check_text("prefix", prefix).encode()
        self._max_entry_bytes = check_int("max_entry_bytes", max_entry_bytes, 1, 2**31 - 1)
        self._link = RedisLink(url_or_client, timeout=timeout, clock=clock)
        self._hits = self._misses = self._puts = self._dropped = self._errors = 0

    async def get(self, session_id: bytes) -> bytes | None:
        """Return what was put; None when there is nothing, or Redis does not tell in time."""
        data = await self._read(session_id)
        if data is None:
            self._misses += 1
        else:
            self._hits += 1
        return data

    async def _read(self, session_id: bytes) -> bytes | None:
        name, key = self._name_and_key(session_id)
        try:
            return await self._link.call("Looking up a session in Redis", "GET", name, read=partial(self._unseal, key, name))
        except StoreError:
            self._errors += 1
            return None

    def _unseal(self, key: bytes, name: bytes, sealed: object) -> bytes | None:
        if sealed is None:
            return None
        if not isinstance(sealed, bytes) or len(sealed) > self._max_entry_bytes + OVERHEAD_BYTES:
            raise ValueError("something else stands in a session's place")
        return unseal(key, sealed, name)

    async def put(self, session_id: bytes, data: bytes, ttl: float) -> None:
        """Keep `data` for `ttl` seconds; dropped when it is too large, or Redis does not take it in time."""
        if ttl <= 0 or len(data) > self._max_entry_bytes:
            self._dropped += 1
            return
        name, key = self._name_and_key(session_id)
        milliseconds = max(1, int(ttl * 1000))
        try:
            await self._link.call("Keeping a session in Redis", "SET", name, seal(key, data, name), "PX", milliseconds, read=expect_ok)
        except StoreError:
            self._errors += 1
            self._dropped += 1
        else:
            self._puts += 1

    async def delete(self, session_id: bytes) -> None:
        """Forget a session.

        Raises:
            StoreError: Redis does not confirm it; the session may be given until its time is over.
        """
        try:
            await self._link.call("Deleting a session in Redis", "DEL", self._name_and_key(session_id)[0], read=int)
        except StoreError:
            self._errors += 1
            raise

    def stats(self) -> StoreStats:
        """What this node has done with it so far."""
        return StoreStats(
            hits=self._hits,
            misses=self._misses,
            puts=self._puts,
            dropped=self._dropped,
            errors=self._errors,
            calls=self._link.calls,
            seconds=self._link.seconds,
        )

    def _name_and_key(self, session_id: bytes) -> tuple[bytes, bytes]:
        """A key of its own for each session: no number of them wears a key out, and no value can be moved to another name."""
        digest = hmac.digest(self._key, session_id, "sha512")
        return self._prefix + base64.urlsafe_b64encode(digest[:32]).rstrip(b"="), digest[32:]

    def __repr__(self) -> str:
        return f"<RedisSessionStore prefix={self._prefix.decode()!r}>"
