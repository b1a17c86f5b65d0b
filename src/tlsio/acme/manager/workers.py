"""Who works on the certificates that are due: a few at a time, in the order in which they came."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from tlsio.acme.manager.backoff import find_pause
from tlsio.model.errors import StoreError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime

    from tlsio.acme.manager.managed import Managed

__all__ = ["Outage", "Workers"]

_log = logging.getLogger("tlsio.acme")

_WORKERS = 16  # certificates that are worked on at a time
_AFTER_BUG = timedelta(minutes=10)
# The process was suspended, or Redis has restarted: the storage works, and another process may have
# written. Only the first time in a row, since something that removes locks is an outage.
_AFTER_LOST_LOCK = timedelta(seconds=5)


class Outage:
    """Whether the storage works, and when to try it again.

    Attributes:
        errors: Failed accesses, ever.
        in_row: Failures since it worked, of which those within one pause count once.
    """

    def __init__(self, clock: Callable[[], datetime], chance: random.Random, report: Callable[[Exception], object]) -> None:
        """Watch a storage, and call `report` with the first error of each outage."""
        self._clock = clock
        self._chance = chance
        self._report = report
        self._until: datetime | None = None
        self.errors = self.in_row = 0

    def fail(self, error: Exception) -> datetime:
        """Note a failure; return when to try again."""
        now = self._clock()
        self.errors += 1
        is_first = not self.in_row
        if self._until is None or now >= self._until:
            self.in_row += 1
            self._until = now + find_pause(self.in_row, self._chance)
        if is_first:
            _log.warning("The storage of certificates failed, and what is in memory stays served: %s", error)
            self._report(error)
        return self._until + timedelta(minutes=self._chance.random())

    def forget_wait(self) -> None:
        """Forget when to try again: the clock was set."""
        self._until = None

    def end(self) -> None:
        """Note that the storage works."""
        if self.in_row:
            _log.info("The storage of certificates works again")
        self.in_row, self._until = 0, None


class Workers:
    """Runs `tend` for certificates, each one once at a time."""

    def __init__(
        self,
        tend: Callable[[Managed], Awaitable[None]],
        ended: Callable[[Managed, datetime | None], None],
        outage: Outage,
        clock: Callable[[], datetime],
    ) -> None:
        """Make idle workers.

        Args:
            tend: The work.
            ended: Gets the certificate, and when to work on it again; None: when it says so itself.
            outage: The state of the storage.
            clock: The time.
        """
        self._tend = tend
        self._ended = ended
        self._outage = outage
        self._clock = clock
        self._queue: deque[Managed] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, due: Iterable[Managed]) -> None:
        """Work on these when a worker is free."""
        self._queue.extend(due)
        self._begin()

    def work_on(self, managed: Managed) -> asyncio.Task[None]:
        """Begin to work on a certificate now, or return the task that does."""
        if managed.task is None:
            managed.task = task = asyncio.ensure_future(self._tend(managed))
            self._tasks.add(task)
            task.add_done_callback(partial(self._done, managed))
        return managed.task

    def _begin(self) -> None:
        while self._queue and len(self._tasks) < _WORKERS:
            self.work_on(self._queue.popleft())

    def _done(self, managed: Managed, task: asyncio.Task[None]) -> None:
        managed.task = None
        self._tasks.discard(task)
        due = None
        if task.cancelled():  # by `stop`, after which nothing is planned; or by an issuer that cancels itself
            due = self._clock() + _AFTER_BUG
        elif isinstance(error := task.exception(), StoreError):
            if error.code == "ERR_ACME_LOCK_LOST" and not managed.has_lost_lock:
                _log.warning("%s: %s", managed.name, error)
                managed.has_lost_lock = True
                due = self._clock() + _AFTER_LOST_LOCK
            else:
                due = self._outage.fail(error)
        elif error is not None:
            _log.error("The work on the certificate for %s failed", managed.name, exc_info=error)
            due = self._clock() + _AFTER_BUG
        else:
            managed.has_lost_lock = False
            self._outage.end()
        self._ended(managed, due)
        self._begin()

    async def stop(self) -> None:
        """Cancel all work, and wait for its end."""
        self._queue.clear()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
