"""A loop whose time jumps to the next timer when nothing else is to be done: a year takes seconds.

Nothing in it may wait for a descriptor or a thread. The time of day is that of the loop, moved by `jump`.
"""

from __future__ import annotations

import asyncio
import selectors
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_T = TypeVar("_T")

# Seconds. After half a year a float has no smaller steps than some nanoseconds, the usual resolution:
# timers that differ by less would never be due.
_RESOLUTION = 1e-6
BEGIN = datetime(2027, 1, 1, tzinfo=UTC)


class VirtualTime:
    """The loop's time, and the clock of the machine."""

    def __init__(self, begin: datetime = BEGIN) -> None:
        self.seconds = 0.0  # of the loop: it never goes back
        self._begin = begin

    def clock(self) -> datetime:
        """Return the time of day."""
        return self._begin + timedelta(seconds=self.seconds)

    def true_clock(self) -> datetime:
        """Return the time of day of the world, which nobody sets."""
        return BEGIN + timedelta(seconds=self.seconds)

    def jump(self, seconds: float) -> None:
        """Set the clock of the machine; timers do not notice."""
        self._begin += timedelta(seconds=seconds)

    def run(self, main: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Run a program to its end in a loop of this time."""
        loop = _Loop(self)
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(main())


class _Selector(selectors.DefaultSelector):  # type: ignore[valid-type, misc]
    time: VirtualTime

    def select(self, timeout: float | None = None) -> Any:
        """Return what is ready at once; otherwise let the time pass."""
        ready = super().select(0)
        assert ready or timeout is not None, "the program waits for something that never comes"
        if not ready and timeout:
            self.time.seconds += max(timeout, _RESOLUTION)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, time: VirtualTime) -> None:
        selector = _Selector()
        selector.time = time
        self._virtual = time
        super().__init__(selector)
        self._clock_resolution = _RESOLUTION

    def time(self) -> float:
        """Return the virtual time."""
        return self._virtual.seconds
