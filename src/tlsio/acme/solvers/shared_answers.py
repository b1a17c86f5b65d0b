"""Answers that other processes have put into the storage, read so that strangers cannot cause load.

Theory of operation. A server cannot know whether a request comes from the authority. So requests
that are not answered from memory wait for the next round: one listing of the folder for all of
them, and then only the values that exist and were asked for. Rounds begin a second apart, and one
after the other. A request waits for a round that begins after it came: an older one may have looked
before the answer was stored. So nothing is remembered, and nothing is out of date.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import TYPE_CHECKING

from tlsio.acme.loop_lock import LoopLock
from tlsio.model.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tlsio.acme.storage.storage import Storage

__all__ = ["SharedAnswers"]

# Let's Encrypt waits ten seconds for an answer.
_PAUSE = 1.0
_log = logging.getLogger("tlsio.acme")


class SharedAnswers:
    """The values of one folder of a storage, for one event loop.

    Args:
        storage: Where they are.
        folder: Their folder.
        clock: Monotonic seconds.
        sleep: Waits for seconds.
    """

    def __init__(
        self,
        storage: Storage,
        folder: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._storage = storage
        self._folder = folder
        self._clock = clock
        self._sleep = sleep
        self._turn = LoopLock()
        self._next: _Round | None = None
        self._last = -math.inf

    async def find(self, name: str) -> bytes | None:
        """Return a value; None: there is none, or the storage failed, which is logged."""
        if self._next is None or self._next.has_ended:
            self._next = _Round()
            self._next.task = asyncio.create_task(self._read(self._next), name="tlsio acme answers")
        own = self._next
        own.names.add(name)
        own.waiting += 1
        assert own.task is not None  # noqa: S101 - for the type checker: set above
        try:
            await asyncio.wait([own.task])
        finally:
            own.waiting -= 1
            if not own.waiting and not own.task.done():
                own.task.cancel()
                if self._next is own:
                    self._next = None
        return own.found.get(name)

    async def _read(self, own: _Round) -> None:
        async with self._turn.here:
            if (rest := self._last + _PAUSE - self._clock()) > 0:
                await self._sleep(rest)
            self._next, self._last = None, self._clock()
            try:
                stored = {key.rpartition("/")[2] for key in await self._storage.list(self._folder)}
                for name in own.names & stored:
                    if (value := await self._storage.load(f"{self._folder}/{name}")) is not None:
                        own.found[name] = value
            except StoreError as error:
                _log.warning("The answers to ACME challenges could not be read: %s", error)


class _Round:
    def __init__(self) -> None:
        self.names: set[str] = set()
        self.found: dict[str, bytes] = {}
        self.waiting = 0
        self.task: asyncio.Task[None] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it reads no more: the end of an event loop cancels all tasks."""
        return self.task is not None and self.task.done()
