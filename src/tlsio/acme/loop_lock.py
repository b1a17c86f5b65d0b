"""A lock for objects that outlive their event loop.

asyncio's own belongs to the first loop in which a task had to wait for it, and raises in the next
one: a program that calls `asyncio.run` twice would fail in the second run, and only under load.
"""

from __future__ import annotations

import asyncio

__all__ = ["LoopLock"]


class LoopLock:
    """Gives each event loop a new lock, for objects that one loop at a time uses."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()

    @property
    def here(self) -> asyncio.Lock:
        """The lock of the running loop, for `async with`."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._lock = loop, asyncio.Lock()
        return self._lock
