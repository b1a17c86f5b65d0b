"""A loop that a program has closed with tasks in it, which the test can still clean up."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class LeftLoop(asyncio.SelectorEventLoop):
    """Says that it is closed when `is_left` is set."""

    is_left = False

    def is_closed(self) -> bool:
        """Return what a program would see."""
        return self.is_left or super().is_closed()


@contextmanager
def left_loop() -> Iterator[LeftLoop]:
    """Give a loop; set its `is_left`, and do in the `with` what comes after it."""
    loop = LeftLoop()
    try:
        yield loop
    finally:
        loop.is_left = False
        if left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left))
        loop.close()
