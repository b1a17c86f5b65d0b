"""Turns at what many callers want at once: the first one does it, and the others get the same."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeVar

from tlsio.acme.loop_lock import LoopLock
from tlsio.model.errors import TLSError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

__all__ = ["Turns"]

_T = TypeVar("_T")


class Turns:
    """Lets one caller work at a time, and fails those that waited for a failure together with it.

    Without that, a hundred callers would try an authority that is down one after the other: the
    last one waits a hundred times as long, and the authority gets a hundred times the requests.
    """

    def __init__(self) -> None:
        self._lock = LoopLock()
        self._finished = 0
        self._error: TLSError | None = None

    @property
    def lock(self) -> asyncio.Lock:
        """A lock for other work that must not overlap with it."""
        return self._lock.here

    async def take(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Do the work alone; `work` begins by a look whether it is still needed.

        Raises:
            TLSError: from `work`: of this call, or of the one that it waited for.
        """
        before = self._finished
        async with self.lock:
            if self._error is not None and self._finished > before:
                raise copy.copy(self._error) from self._error
            self._error = None
            try:
                return await work()
            except TLSError as error:
                self._error = error
                raise
            finally:
                self._finished += 1
