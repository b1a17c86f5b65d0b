"""When which certificate is worked on: one heap and one timer for all of them."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import TYPE_CHECKING

from tlsio.acme.manager.renewal import CHECK_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from tlsio.acme.manager.managed import Managed

__all__ = ["Schedule"]

# Old entries of certificates that were given another time stay in the heap until they come up. So
# many more of them than certificates, and it is made anew.
_MOST_STALE = 4
_FEW = 1000


class Schedule:
    """The times at which certificates are due. No task and no timer waits for a single one."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._heap: list[tuple[datetime, int, Managed]] = []
        self._numbers = count()
        self._scheduled = 0  # certificates with a time
        self._changed = asyncio.Event()  # that of the present wait

    def put(self, managed: Managed, due: datetime) -> None:
        """Give a certificate its only time."""
        if managed.due is None:
            self._scheduled += 1
        managed.due = due
        if len(self._heap) > _MOST_STALE * self._scheduled + _FEW:
            self._heap = [(one.due, number, one) for at, number, one in self._heap if one.due == at]
            heapq.heapify(self._heap)
        heapq.heappush(self._heap, (due, next(self._numbers), managed))
        if self._heap[0][2] is managed:
            self._changed.set()

    def remove(self, managed: Managed) -> None:
        """Take the time of a certificate away."""
        if managed.due is not None:
            self._scheduled -= 1
            managed.due = None

    def take_due(self) -> Iterator[Managed]:
        """Yield the certificates whose time has come; each one loses its time."""
        while self._heap and self._heap[0][0] <= self._clock():
            due, _, managed = heapq.heappop(self._heap)
            if managed.due == due:
                self.remove(managed)
                yield managed

    async def wait(self) -> None:
        """Wait until one is due, or one was put before all others; ten minutes at most."""
        left = CHECK_INTERVAL
        if self._heap:
            left = min(max((self._heap[0][0] - self._clock()).total_seconds(), 0.0), left)
        self._changed = asyncio.Event()  # a new one: the last may belong to a loop that has ended
        try:
            async with asyncio.timeout(left):
                await self._changed.wait()
        except TimeoutError:
            pass
