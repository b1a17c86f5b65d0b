"""Standard input and output in an event loop, without a thread that would outlive Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import select
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["has_input_end", "read_input", "replace_closed", "write_output"]

_INPUT, _OUTPUT = 0, 1
_CHUNK = 65536


def replace_closed() -> None:
    """Replace standard streams that the caller closed (`>&-`) by /dev/null.

    Otherwise a file that is opened later would get the descriptor, and what is written to it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - for the life of the process


def has_input_end() -> bool:
    """Tell whether standard input will end by itself: a terminal waits for its user."""
    return not sys.stdin.isatty()


async def read_input() -> bytes:
    """Return what standard input has next, b"" at its end."""
    loop = asyncio.get_running_loop()
    await _until_ready(_INPUT, loop.add_reader, loop.remove_reader)
    return os.read(_INPUT, _CHUNK)


async def write_output(data: bytes) -> None:
    """Write to standard output; the loop goes on while the reader at its other end is slow."""
    loop, left = asyncio.get_running_loop(), memoryview(data)
    while left:
        await _until_ready(_OUTPUT, loop.add_writer, loop.remove_writer)
        # A ready pipe takes this much without blocking (pipe(7), PIPE_BUF).
        left = left[os.write(_OUTPUT, left[: select.PIPE_BUF]) :]


async def _until_ready(descriptor: int, add: Callable[..., None], remove: Callable[[int], bool]) -> None:
    """Wait until a descriptor can be used. Regular files always can, and epoll refuses them."""
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    try:
        add(descriptor, _finish, ready)
    except PermissionError:
        return
    try:
        await ready
    finally:
        remove(descriptor)


def _finish(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
