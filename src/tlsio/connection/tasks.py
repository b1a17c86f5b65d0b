"""User code in the tasks of a connection: awaitables of any kind, and the ways they may end."""

from __future__ import annotations

import asyncio
import inspect
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

from tlsio.model.errors import UsageStateError, UsageTypeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

__all__ = [
    "as_coroutine",
    "current_loop",
    "drop_awaitable",
    "ends_task",
    "failure_of_task",
    "find_awaitable",
    "find_listener_awaitable",
    "running_loop",
]


def current_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, or None."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running loop.

    Raises:
        UsageStateError: asyncio does not run in this thread.
    """
    loop = current_loop()
    if loop is None:
        raise UsageStateError(
            "There is no running asyncio loop in this thread",
            code="ERR_TLS_NO_LOOP",
            hint="Run your code by asyncio.run(main()). Without asyncio, as in trio or in plain threads, use tlsio.SecurePair.",
        )
    return loop


def find_awaitable(result: object) -> Awaitable[Any] | None:
    """Return the awaitable that an async listener returned; None: the listener was not async."""
    if result is None or result is True or result is False or not inspect.isawaitable(result):
        return None
    return result


def find_listener_awaitable(result: object) -> Awaitable[Any] | None:
    """As `find_awaitable`, for what a listener returned.

    Raises:
        UsageTypeError: it returned a generator, so nothing of the listener has run.
    """
    awaitable = find_awaitable(result)
    if awaitable is None and isinstance(result, GeneratorType | AsyncGeneratorType):
        raise UsageTypeError(
            f"The listener {result.__qualname__} is a generator, because it has a yield: a call runs nothing of it",
            hint="Give a plain or an async function, without yield.",
        )
    return awaitable


def drop_awaitable(result: object) -> None:
    """Close a coroutine that will not be awaited: one that never started would warn."""
    if inspect.iscoroutine(result):
        result.close()


def as_coroutine(awaitable: Awaitable[Any]) -> Coroutine[Any, Any, Any]:
    """Return a coroutine that awaits `awaitable`: a task runs nothing else."""
    return awaitable if inspect.iscoroutine(awaitable) else _wait_for(awaitable)


async def _wait_for(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def failure_of_task(task: asyncio.Task[Any]) -> BaseException | None:
    """Return the exception of an async listener's task, or None.

    A task ended by its own `cancel`, as by a closing server or loop, did not fail. One that ended
    with a CancelledError because it awaited something that was cancelled did: its listener did not
    finish.
    """
    if task.cancelled():
        return None if task.cancelling() else asyncio.CancelledError("a listener awaited something that was cancelled")
    return task.exception()


def ends_task(error: BaseException) -> bool:
    """Tell whether an exception of user code must end the task of ours that called it.

    So it is when the task was cancelled, or the program ends. Anything else is a failure of the
    user code, including a CancelledError of something that it awaited.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0
    return isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
