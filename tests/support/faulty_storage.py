"""A storage in memory that fails when a test asks for it, and counts what it is asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tlsio import StoreError
from tlsio.acme import MemoryStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tlsio.acme import Lock


class FaultyStorage(MemoryStorage):
    """See above.

    Attributes:
        is_down: Whether each call fails.
        is_full: Whether each write fails.
        latency: Seconds that each call takes.
        calls: How often each method was called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_down = self.is_full = False
        self.latency = 0.0
        self.calls: Counter[str] = Counter()

    async def load(self, key: str) -> bytes | None:
        """Return a value."""
        await self._pass("load")
        return await super().load(key)

    async def store(self, key: str, value: bytes, *, lock: Lock | None = None) -> None:
        """Set a value."""
        await self._pass("store", is_write=True)
        await super().store(key, value, lock=lock)

    async def delete(self, key: str, *, lock: Lock | None = None) -> None:
        """Remove a value."""
        await self._pass("delete", is_write=True)
        await super().delete(key, lock=lock)

    async def list(self, prefix: str) -> list[str]:
        """Return keys."""
        await self._pass("list")
        return await super().list(prefix)

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[Lock]:
        """Hold a lock."""
        await self._pass("lock")
        async with super().lock(name) as lock:
            yield lock

    async def check(self) -> None:
        """Tell whether it can be written."""
        await self._pass("check", is_write=True)

    async def _pass(self, call: str, *, is_write: bool = False) -> None:
        self.calls[call] += 1
        if self.latency:
            await asyncio.sleep(self.latency)
        if self.is_down or (is_write and self.is_full):
            raise StoreError("The storage does not work", code="ERR_TEST")
