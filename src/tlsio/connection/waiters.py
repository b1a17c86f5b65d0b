"""Calls that wait for a moment: each has a future in a set, and one call wakes them all."""

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
    """Let all that wait now go on."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
