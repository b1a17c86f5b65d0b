"""Ends a process of tests that hangs, and shows where.

The time of `async def` tests is bounded by the loop that runs them, see `conftest`. That does not help when the loop itself hangs, or C
code that holds the interpreter's lock: this clock is a thread without Python, of `faulthandler`. pytest's own option for it has one
limit for all tests, and before pytest 9 it does not end anything.
"""

from __future__ import annotations

import faulthandler
import os
import signal
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")
CHILD_LIFE = 20  # seconds, within what a test that is not slow has


def fork() -> int:
    """Do as `os.fork`; the child ends in time whatever holds it, so that its parent does not wait for ever."""
    child = os.fork()
    if child == 0:
        signal.alarm(CHILD_LIFE)
    return child


class Watchdog:
    """A plugin of pytest: what takes longer than its limit ends the process, with the stacks of all threads on stderr.

    A test's set-up, the test and its tear-down have `limit` seconds each, or `slow_limit` when it is marked `slow`; so has the end
    of the interpreter, which waits for threads, `limit`. xdist then tells the test that was running and goes on in a new process.
    """

    def __init__(self, limit: float, slow_limit: float) -> None:
        self.limit = limit
        self.slow_limit = slow_limit
        self.stderr = os.dup(2)  # pytest replaces 2 while a test runs

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def watch(self, item: pytest.Item) -> Generator[None, T, T]:
        """Run one part of a test under the clock."""
        self.start(self.slow_limit if item.get_closest_marker("slow") else self.limit)
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()

    pytest_runtest_setup = pytest_runtest_call = pytest_runtest_teardown = watch

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Watch the end of the interpreter; xdist ends its workers itself, when the last of them is done."""
        if not hasattr(config, "workerinput"):
            self.start(self.limit)

    def start(self, limit: float) -> None:
        """Start the clock; a clock that runs is replaced."""
        faulthandler.dump_traceback_later(limit, exit=True, file=self.stderr)
