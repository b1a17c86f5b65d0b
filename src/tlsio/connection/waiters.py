"""Sets of futures, one for each call that waits for a condition; one call wakes them all."""

from __future__ import annotations

import asyncio

__all__ = ["Waiters", "wait_in", "wake"]

Waiters = set[asyncio.Future[None]]


async def wait_in(waiters: Waiters) -> None:
    """Wait until `wake` is called for the same set. A cancelled wait leaves nothing in it."""
    waiter = asyncio.get_running_loop().create_future()
    waiters.add(waiter)
    try:
        await waiter
    finally:
        waiters.discard(waiter)


def wake(waiters: Waiters) -> None:
    """Wake all calls that wait in `waiters` now."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
