"""A storage that ends with the process: for tests, and where the certificates are temporary."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlsio.model.checks import wrong_type
from tlsio.model.exported import exported

from .keys import check_key, check_prefix, check_value
from .storage import lock_lost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .storage import Lock

__all__ = ["MemoryStorage"]


@exported
class MemoryStorage:
    """Keeps values in this object: for one event loop.

    Without other storage a restart orders new certificates, which the authority's limits end soon.
    """

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._turns: dict[str, _Turns] = {}

    async def load(self, key: str) -> bytes | None:
        """Return a value; None: there is none."""
        return self._values.get(check_key(key))

    async def store(self, key: str, value: bytes, *, lock: Lock | None = None) -> None:
        """Set a value.

        Raises:
            StoreError: the lock is not held (`ERR_ACME_LOCK_LOST`).
        """
        key, value = check_key(key), check_value(value)
        _check_lock(lock)
        self._values[key] = value

    async def delete(self, key: str, *, lock: Lock | None = None) -> None:
        """Remove a value, if there is one.

        Raises:
            StoreError: the lock is not held (`ERR_ACME_LOCK_LOST`).
        """
        key = check_key(key)
        _check_lock(lock)
        self._values.pop(key, None)

    async def list(self, prefix: str) -> list[str]:
        """Return the keys below a folder, sorted."""
        folder = check_prefix(prefix) and f"{prefix}/"
        return sorted(key for key in self._values if key.startswith(folder))

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[Lock]:
        """Wait for a lock, first come first served, and hold it in the `async with`."""
        check_key(name, "name")
        turns = self._turns.setdefault(name, _Turns(asyncio.Lock()))
        turns.users += 1
        try:
            async with turns.lock:
                held = _MemoryLock(name)
                try:
                    yield held
                finally:
                    held.is_held = False
        finally:
            turns.users -= 1
            if not turns.users:
                del self._turns[name]

    async def check(self) -> None:
        """Do nothing: memory takes values."""

    def __repr__(self) -> str:
        return f"<MemoryStorage values={len(self._values)}>"


@dataclass(slots=True)
class _Turns:
    lock: asyncio.Lock
    users: int = 0


@dataclass(slots=True)
class _MemoryLock:
    name: str
    is_held: bool = True


def _check_lock(lock: Lock | None) -> None:
    if lock is None:
        return
    if not isinstance(lock, _MemoryLock):
        raise wrong_type("lock", "a lock of this storage", lock)
    if not lock.is_held:
        raise lock_lost(lock.name)
