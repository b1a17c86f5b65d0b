"""The tasks of async listeners for which a server waits when it closes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

__all__ = ["TaskGroup", "cancel_others"]


class TaskGroup:
    """The tasks of a server's own listeners, and of socket listeners that outlive their socket.

    asyncio.TaskGroup is not suitable: there one failure cancels all other tasks.
    """

    def __init__(self, settled: Callable[[], object]) -> None:
        """Call `settled` whenever a task has ended."""
        self._settled = settled
        self._tasks: dict[asyncio.Task[Any], Callable[[asyncio.Task[Any]], object] | None] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def __contains__(self, task: object) -> bool:
        return task in self._tasks

    def run(self, coroutine: Coroutine[Any, Any, Any], ended: Callable[[asyncio.Task[Any]], object]) -> None:
        """Run a listener as a task; `ended(task)` is called after it."""
        self.add(asyncio.get_running_loop().create_task(coroutine), ended)

    def add(self, task: asyncio.Task[Any], ended: Callable[[asyncio.Task[Any]], object] | None = None) -> None:
        """Add a running task."""
        self._tasks[task] = ended
        task.add_done_callback(self._done)

    def cancel(self) -> None:
        """Cancel all tasks except the current one."""
        cancel_others(self._tasks)

    def _done(self, task: asyncio.Task[Any]) -> None:
        ended = self._tasks.pop(task)
        if ended is not None:
            ended(task)
        self._settled()


def cancel_others(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel `tasks`, except the current one."""
    current = _current_task()
    for task in tuple(tasks):
        if task is not current:
            task.cancel()


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs: the program calls close() after its loop
        return None
