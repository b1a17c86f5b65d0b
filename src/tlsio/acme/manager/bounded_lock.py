"""A lock of the storage, waited for within a bound: its holder may be suspended."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from tlsio.model.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tlsio.acme.storage.storage import Lock, Storage

__all__ = ["hold_lock"]


@asynccontextmanager
async def hold_lock(storage: Storage, name: str, patience: float) -> AsyncIterator[Lock]:
    """Hold a lock in the `async with`.

    Args:
        storage: The storage.
        name: The lock's.
        patience: Seconds to wait.

    Raises:
        StoreError: it was not free in time (`ERR_ACME_LOCK_TIMEOUT`), or the storage failed.
    """
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(patience):
                lock = await stack.enter_async_context(storage.lock(name))
        except TimeoutError:
            raise StoreError(
                f"The lock {name!r} was not free within {patience:g} seconds",
                code="ERR_ACME_LOCK_TIMEOUT",
                hint="Another process holds it: see whether one of them hangs, or is suspended.",
            ) from None
        yield lock
