"""A storage in Redis or Valkey, for the nodes of a fleet.

Theory of operation. All names in Redis have one hash tag, so a Redis cluster keeps them on one
node, and a script can work on several. A value is a string at `<prefix>{acme}:<key>`; the sorted
set `<prefix>{acme}-keys` lists the keys, so that a folder is found without a walk through the
whole database.

A lock is a string at `…-lock:<name>` whose value is the fencing token, 16 random bytes that its
holder alone knows, and which expires with the lease. Its holder renews it three times in each
lease. A write under a lock is one script: it compares the token and writes, and nothing happens in
between. So a holder that was suspended for longer than its lease cannot write.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from tlsio.model.checks import check_seconds, check_text, wrong_type, wrong_value
from tlsio.model.errors import StoreError, add_hint
from tlsio.model.exported import exported
from tlsio.session.redis_link import RedisBacked, RedisLink, expect_ok
from tlsio.session.sealing import derive_key, seal, unseal

from .keys import CHALLENGES, check_key, check_prefix, check_value
from .storage import LEFTOVER_SECONDS, MAX_VALUE_BYTES, lock_lost
from .uninterrupted import to_the_end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from .storage import Lock

__all__ = ["RedisStorage"]

# Nothing waits for these as a handshake does, and a value may have some tens of kilobytes.
_TIMEOUT = 2.0
# A holder that dies delays the others by this. Renewed three times in it, it outlives two commands
# that Redis did not answer in time, and a pause of the process of twenty seconds.
_LEASE, _MIN_LEASE, _RENEWALS = 30.0, 1.0, 3
_FIRST_PAUSE, _LAST_PAUSE = 0.02, 0.5
_PAGE = 500  # keys of one answer: up to 100 kB
# Without keys: an outage is logged once for each of these.
_READING, _WRITING, _LOCKING = (
    "Reading from the ACME storage in Redis",
    "Writing to the ACME storage in Redis",
    "Locking the ACME storage in Redis",
)
# KEYS: lock. ARGV: token, lease in milliseconds. The token may be there already: a command whose
# answer was lost is sent again.
_ACQUIRE = """local found = redis.call('GET', KEYS[1])
if found and found ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1"""
_RENEW = """if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])"""
_RELEASE = """if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1"""
# KEYS: value, index, lock. ARGV: key, token or "", value, lifetime in seconds or "".
_CHECK = "if ARGV[2] ~= '' and redis.call('GET', KEYS[3]) ~= ARGV[2] then return 0 end\n"
_STORE = f"""{_CHECK}if ARGV[4] ~= '' then redis.call('SET', KEYS[1], ARGV[3], 'EX', ARGV[4])
else redis.call('SET', KEYS[1], ARGV[3]) end
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return 1"""
_DELETE = f"""{_CHECK}redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1"""
# KEYS: index, values. ARGV: their keys.
_EXISTING = """local found = {}
for i, key in ipairs(ARGV) do
  if redis.call('EXISTS', KEYS[i + 1]) == 1 then table.insert(found, key) else redis.call('ZREM', KEYS[1], key) end
end
return found"""

_log = logging.getLogger("tlsio.acme")
_T = TypeVar("_T")


@exported
class RedisStorage(RedisBacked):
    """Keeps values in Redis or Valkey, shared by all nodes that use the same database.

    With `secret`, values are encrypted and authenticated (AES-256-GCM), each for its key. Without,
    each client that can read the database has the private keys. The names of the keys, and with
    them the names in the certificates, are readable in both cases.

    Redis must keep what it has: give it persistence, and the policy `noeviction`.

    `async with` or `aclose` closes the connections.

    Args:
        url_or_client: `redis://`, `rediss://` or `unix://`, or a client of `redis.asyncio`, which
            the caller has to close.
        secret: 32 or more random bytes, as str or bytes, the same on all nodes; None: values are
            not encrypted.
        prefix: Prefix of the names in Redis.
        lease: Seconds after which the lock of a dead or suspended process is free, 1 or more.
        timeout: Seconds until a command fails.
        clock: Monotonic seconds.
        sleep: Waits for seconds: before another try to take a lock, and before a lease is renewed.
        random: Returns the requested number of random bytes.

    Raises:
        ConfigError: the package `redis` is missing (`tlsio[redis]`).
        UsageError: an invalid argument.
    """

    def __init__(  # noqa: PLR0913  (keyword-only except the first)
        self,
        url_or_client: Any,
        *,
        secret: str | bytes | None = None,
        prefix: str = "tlsio:",
        lease: float = _LEASE,
        timeout: float = _TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._key = None if secret is None else derive_key(secret, "acme storage")
        self._base = f"{check_text('prefix', prefix)}{{acme}}:"
        self._own = self._base[:-1] + "-"  # no key has a "}"
        seconds = check_seconds("lease", lease)
        if seconds is None or seconds < _MIN_LEASE:
            raise wrong_value("lease", f"must be {_MIN_LEASE:g} s or more")
        self._lease = seconds
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._link = RedisLink(url_or_client, timeout=timeout)

    async def load(self, key: str) -> bytes | None:
        """Return a value; None: there is none.

        Raises:
            StoreError: Redis failed, or the value was not written with this secret.
        """
        key = check_key(key)
        found = await self._call(_READING, "GET", self._base + key, read=_read_value)
        return None if found is None else self._open(key, found)

    async def store(self, key: str, value: bytes, *, lock: Lock | None = None) -> None:
        """Set a value.

        Raises:
            StoreError: Redis failed, or the lock was lost (`ERR_ACME_LOCK_LOST`).
        """
        key, value = check_key(key), check_value(value)
        sealed = value if self._key is None else seal(self._key, value, key.encode(), self._random)
        lifetime = LEFTOVER_SECONDS if key.startswith(CHALLENGES) else ""
        await self._write(_STORE, key, lock, sealed, lifetime)

    async def delete(self, key: str, *, lock: Lock | None = None) -> None:
        """Remove a value, if there is one.

        Raises:
            StoreError: Redis failed, or the lock was lost (`ERR_ACME_LOCK_LOST`).
        """
        key = check_key(key)
        await self._write(_DELETE, key, lock)

    async def _write(self, script: str, key: str, lock: Lock | None, *arguments: Any) -> None:
        if lock is not None and not isinstance(lock, _RedisLock):
            raise wrong_type("lock", "a lock of this storage", lock)
        names = (self._base + key, f"{self._own}keys", lock.place if lock else f"{self._own}lock:")
        token = lock.token if lock else ""
        # A cancelled caller must not be surprised by a write that happens after its next read.
        write = self._call(_WRITING, "EVAL", script, len(names), *names, key, token, *arguments, read=int)
        if not await to_the_end(asyncio.create_task(write, name="tlsio acme write")):
            assert lock is not None  # noqa: S101 - for the type checker: the script compares a given token
            lock.held_until = -math.inf
            raise lock_lost(lock.name)

    async def list(self, prefix: str) -> list[str]:
        """Return the keys below a folder, sorted.

        Raises:
            StoreError: Redis failed.
        """
        folder = check_prefix(prefix) and f"{prefix}/"
        # "0" is the character after "/".
        start, end = (f"[{folder}", f"({folder[:-1]}0") if folder else ("-", "+")
        found: list[str] = []
        while True:
            page = await self._call(_READING, "ZRANGEBYLEX", f"{self._own}keys", start, end, "LIMIT", 0, _PAGE, read=_read_keys)
            found += await self._existing(page)
            if len(page) < _PAGE:
                return found
            start = f"({page[-1]}"

    async def _existing(self, keys: Sequence[str]) -> Sequence[str]:
        """Return those whose value has not expired; the others leave the index."""
        if not any(key.startswith(CHALLENGES) for key in keys):
            return keys
        names = (f"{self._own}keys", *(self._base + key for key in keys))
        return await self._call(_READING, "EVAL", _EXISTING, len(names), *names, *keys, read=_read_keys)

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[Lock]:
        """Wait for a lock without limit, hold it in the `async with`, and renew its lease.

        Raises:
            StoreError: Redis failed while it was waited for.
        """
        lock = _RedisLock(check_key(name, "name"), f"{self._own}lock:{name}", self._random(16).hex(), self._clock)
        renewal: asyncio.Task[None] | None = None
        try:
            pause = _FIRST_PAUSE
            # To the end: a command that is carried out after the release would leave a lock.
            while not await to_the_end(asyncio.create_task(self._extend(_ACQUIRE, lock), name="tlsio acme lock")):
                await self._sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE)
            renewal = asyncio.create_task(self._renew(lock), name="tlsio acme lease")
            yield lock
        finally:
            await to_the_end(asyncio.create_task(self._release(lock, renewal), name="tlsio acme release"))

    async def _extend(self, script: str, lock: _RedisLock) -> bool:
        until = self._clock() + self._lease
        milliseconds = int(self._lease * 1000)
        is_held = await self._call(_LOCKING, "EVAL", script, 1, lock.place, lock.token, milliseconds, read=bool)
        lock.held_until = until if is_held else -math.inf
        return is_held

    async def _renew(self, lock: _RedisLock) -> None:
        while lock.is_held:
            await self._sleep(self._lease / _RENEWALS)
            with contextlib.suppress(StoreError):  # logged by the link; the next try may succeed within the lease
                await self._extend(_RENEW, lock)
        _log.warning("The lock %r was lost: its lease of %g s ended before it was renewed", lock.name, self._lease)

    async def _release(self, lock: _RedisLock, renewal: asyncio.Task[None] | None) -> None:
        if renewal is not None:
            renewal.cancel()
            await asyncio.wait([renewal])
        lock.held_until = -math.inf
        # Also after a failure: the lock may be ours although the answer did not arrive.
        with contextlib.suppress(StoreError):  # logged by the link; the lease ends
            await self._call(_LOCKING, "EVAL", _RELEASE, 1, lock.place, lock.token, read=int)

    async def check(self) -> None:
        """Write a small value that expires at once.

        Raises:
            StoreError: Redis does not answer, is full, or is a replica.
        """
        await self._call(_WRITING, "SET", f"{self._own}check", "1", "PX", 1000, read=expect_ok)

    async def _call(self, operation: str, *command: Any, read: Callable[[Any], _T]) -> _T:
        try:
            return await self._link.call(operation, *command, read=read)
        except StoreError as error:
            add_hint(error, _hint(error.__cause__))
            raise

    def _open(self, key: str, found: bytes) -> bytes:
        if self._key is None:
            return found
        try:
            return unseal(self._key, found, key.encode())
        except ValueError:
            raise StoreError(
                f"The value {key!r} in Redis was not written with this secret",
                hint="Check that secret= is the same on all nodes. To change it, remove the values first.",
            ) from None

    def __repr__(self) -> str:
        return f"<RedisStorage {self._base!r}{'' if self._key else ' not encrypted'}>"


class _RedisLock:
    """One lock of one holder.

    Attributes:
        name: What is locked.
        place: Its name in Redis.
        token: The fencing token.
        held_until: When the lease ends, if it is not renewed.
    """

    __slots__ = ("_clock", "held_until", "name", "place", "token")

    def __init__(self, name: str, place: str, token: str, clock: Callable[[], float]) -> None:
        self.name = name
        self.place = place
        self.token = token
        self.held_until = -math.inf
        self._clock = clock

    @property
    def is_held(self) -> bool:
        """Whether the lease lasts, as far as is known here."""
        return self._clock() < self.held_until

    def __repr__(self) -> str:
        return f"<lock {self.name!r}{'' if self.is_held else ' not held'}>"


def _read_value(answer: Any) -> bytes | None:
    if answer is not None and not isinstance(answer, bytes):
        raise ValueError("the answer is not a string")
    if answer is not None and len(answer) > 2 * MAX_VALUE_BYTES:
        raise ValueError("the value is too long")
    return answer


def _read_keys(answer: Any) -> list[str]:
    if not isinstance(answer, list):
        raise TypeError("the answer is not a list")
    return [check_key(key.decode("ascii")) for key in answer]


def _hint(cause: BaseException | None) -> str:
    """Return what to do; the client of Redis has classes for some answers, and words for others."""
    hints = {
        "OutOfMemory": "Redis has reached its maxmemory: raise it, or remove other data.",
        "OOM": "Redis has reached its maxmemory: raise it, or remove other data.",
        "ReadOnly": "This Redis is a replica: give the address of the primary.",
        "MISCONF": "Redis cannot write its snapshots to disk: look at its log.",
        "Authentication": "Redis asks for a password: redis://:password@host.",
        "NoPermission": "The Redis user needs GET, SET, DEL, EXISTS, PEXPIRE, ZADD, ZREM, ZRANGEBYLEX and EVAL.",
    }
    reason = f"{type(cause).__name__} {cause}"
    return next((hint for word, hint in hints.items() if word in reason), "Check that Redis runs and can be reached from here.")
