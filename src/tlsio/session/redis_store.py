"""Sessions shared by a cluster, in Redis or Valkey."""

from __future__ import annotations

import base64
import hmac
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from tlsio.model.checks import check_int, check_text, encode
from tlsio.model.errors import StoreError
from tlsio.model.exported import exported
from tlsio.model.statistics import StoreStats

from .redis_link import REDIS_TIMEOUT, RedisBacked, RedisLink, expect_ok
from .sealing import OVERHEAD_BYTES, derive_key, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RedisSessionStore"]

# A session with a client certificate takes 1 to 4 KiB, with an unusual chain more. For a larger
# one, a lookup costs more than it saves.
_MAX_ENTRY_BYTES = 32 * 1024


@exported
class RedisSessionStore(RedisBacked):
    """A `SessionStore` in Redis or Valkey, shared by all nodes with the same secret.

    Sessions are encrypted and authenticated. The name and the key of each are derived from its id
    by HMAC-SHA512, so Redis does not contain the ids, and a value cannot be used for another id.
    Redis deletes it when it expires.

    A failing store does not affect clients beyond a full handshake: if Redis is down, slow, full,
    or sends invalid answers, `get` returns None and `put` drops the session. Both are counted, and
    the outage is logged once. After three failures in a row, Redis is called only every two
    seconds.

    All servers of one loop may share it. `async with` or `aclose` closes the connections.

    Args:
        url_or_client: `redis://`, `rediss://` or `unix://`, or a client of `redis.asyncio`, which
            the caller has to close.
        secret: 32 or more random bytes, as str or bytes, the same on all nodes. With it and access
            to Redis, sessions can be read.
        prefix: Prefix of the names in Redis.
        timeout: Seconds until an operation fails.
        max_entry_bytes: Larger sessions are dropped.
        clock: Monotonic seconds.

    Raises:
        ConfigError: the package `redis` is missing (`tlsio[redis]`).
        UsageError: an invalid argument.
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
        self._prefix = encode("prefix", check_text("prefix", prefix))
        self._max_entry_bytes = check_int("max_entry_bytes", max_entry_bytes, 1, 2**31 - 1)
        self._link = RedisLink(url_or_client, timeout=timeout, clock=clock)
        self._hits = self._misses = self._puts = self._dropped = self._errors = 0

    async def get(self, session_id: bytes) -> bytes | None:
        """Return the data of a session, None if it is unknown or Redis fails."""
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
            raise ValueError("the value is not a session of this store")
        return unseal(key, sealed, name)

    async def put(self, session_id: bytes, data: bytes, ttl: float) -> None:
        """Keep `data` for `ttl` seconds. Drop it if it is too large or Redis fails."""
        if ttl <= 0 or len(data) > self._max_entry_bytes:
            self._dropped += 1
            return
        name, key = self._name_and_key(session_id)
        milliseconds = max(1, int(ttl * 1000))
        try:
            await self._link.call("Storing a session in Redis", "SET", name, seal(key, data, name), "PX", milliseconds, read=expect_ok)
        except StoreError:
            self._errors += 1
            self._dropped += 1
        else:
            self._puts += 1

    async def delete(self, session_id: bytes) -> None:
        """Forget a session.

        Raises:
            StoreError: Redis did not confirm it; the session may still be returned until it
                expires.
        """
        try:
            await self._link.call("Deleting a session in Redis", "DEL", self._name_and_key(session_id)[0], read=int)
        except StoreError:
            self._errors += 1
            raise

    def stats(self) -> StoreStats:
        """Return the counters of this node."""
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
        """Return the name and the encryption key of a session.

        Each session has its own key, so the number of values under one key stays small, and a value
        cannot be moved to another name.
        """
        digest = hmac.digest(self._key, session_id, "sha512")
        return self._prefix + base64.urlsafe_b64encode(digest[:32]).rstrip(b"="), digest[32:]

    def __repr__(self) -> str:
        return f"<RedisSessionStore prefix={self._prefix.decode()!r}>"
