"""Steps that must not be left half done: a cancellation is raised when they have ended."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_thread", "to_the_end"]

_T = TypeVar("_T")


async def in_thread(step: Callable[[], _T]) -> _T:
    """Run a blocking step in a thread of the loop's executor."""
    return await to_the_end(asyncio.get_running_loop().run_in_executor(None, step))


async def to_the_end(step: asyncio.Future[_T]) -> _T:
    """Wait for a step; its caller is cancelled after it, so nothing of it happens later."""
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        while not step.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([step])
        if not step.cancelled():
            step.exception()  # marks it as retrieved
        raise
