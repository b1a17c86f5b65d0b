"""What the user's code does in the tasks of a connection: awaitables of any kind, and how they may end."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

__all__ = ["as_coroutine", "ends_task", "failure_of_task", "find_awaitable"]


def find_awaitable(result: object) -> Awaitable[Any] | None:
    """What an async listener returned: a coroutine of any making, a task, a future. None: the listener was not async."""
    if result is None or result is True or result is False or not inspect.isawaitable(result):
        return None
    return result


def as_coroutine(awaitable: Awaitable[Any]) -> Coroutine[Any, Any, Any]:
    """Make what a task can run."""
    return awaitable if inspect.iscoroutine(awaitable) else _wait_for(awaitable)


async def _wait_for(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def failure_of_task(task: asyncio.Task[Any]) -> BaseException | None:
    """What the task of an async listener failed with.

    A task that was asked to end by `cancel`, as a server that closes and a loop that ends do, has not failed. One that ends by
    CancelledError all the same, because it awaited something that was cancelled, has: its listener did not do its work.
    """
    if task.cancelled():
        return None if task.cancelling() else asyncio.CancelledError("a listener awaited something that was cancelled")
    return task.exception()


def ends_task(error: BaseException) -> bool:
    """Tell whether what the user's code raised must end the task of ours that called it: the task was cancelled, or the program ends.

    Anything else is a failure of that code, a CancelledError of something that it waited for included.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0
    return isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
