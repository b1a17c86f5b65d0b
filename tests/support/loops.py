"""The event loops that tests run on, and the descriptors that a test may leave behind."""

from __future__ import annotations

import asyncio
import contextlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def open_descriptors() -> set[tuple[int, str]]:
    """Return the open file descriptors of this process, each with what it stands for."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the descriptor that lists this folder is gone by now
            found.add((int(entry.name), str(entry.readlink())))
    return found


@cache
def warm_up(loop_name: str) -> None:
    """Let the loop open what it keeps for the whole process, such as libuv's pipe for signals."""
    with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
        runner.run(asyncio.sleep(0))
