"""Futures, one for each call that waits for a condition; one call wakes all, in their order."""

from __future__ import annotations

import asyncio

__all__ = ["Waiters", "wait_in", "wake"]

Waiters = dict[asyncio.Future[None], None]  # a dict keeps the order


async def wait_in(waiters: Waiters) -> None:
    """Wait until `wake` is called for the same waiters. A cancelled wait leaves nothing in them."""
    waiter = asyncio.get_running_loop().create_future()
    waiters[waiter] = None
    try:
        await waiter
    finally:
        waiters.pop(waiter, None)


def wake(waiters: Waiters) -> None:
    """Wake all calls that wait in `waiters` now, the first one first."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
