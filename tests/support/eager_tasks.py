"""Eager tasks, on every Python."""

from __future__ import annotations

import asyncio
import contextvars
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator


class EagerTask:
    """What Python 3.12's `eager_task_factory` does: a task takes its first step within its making, in the context it is given."""

    def __call__(self, loop: asyncio.AbstractEventLoop, coro: Any, context: Any = None, **_: Any) -> asyncio.Task[Any]:
        """Make a task."""
        context = context or contextvars.copy_context()
        try:
            awaited = context.run(coro.send, None)  # as there, it is an error when the context is entered already
        except StopIteration as stop:
            return asyncio.Task(_done(stop.value), loop=loop, context=context)
        except Exception as error:  # noqa: BLE001
            return asyncio.Task(_failed(error), loop=loop, context=context)
        return asyncio.Task(_rest(coro, awaited), loop=loop, context=context)


async def _done(value: object) -> object:
    return value


async def _failed(error: Exception) -> None:
    raise error


@types.coroutine
def _resume(coro: Any, awaited: Any) -> Generator[Any, Any, Any]:
    while True:
        try:
            value = yield awaited
        except BaseException as error:  # noqa: BLE001
            step, value = coro.throw, error
        else:
            step = coro.send
        try:
            awaited = step(value)
        except StopIteration as stop:
            return stop.value


async def _rest(coro: Any, awaited: Any) -> Any:
    return await _resume(coro, awaited)
