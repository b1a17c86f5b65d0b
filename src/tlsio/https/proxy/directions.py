"""Two directions of a connection, until one ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine

    Direction = Coroutine[object, object, None]

__all__ = ["run_both"]


async def run_both(first: Direction, second: Direction, *, until: asyncio.Future[None] | None = None) -> None:
    """Run both, `first` first, until one of them or `until` ends; then cancel the others.

    What ended it is raised.
    """
    directions: list[asyncio.Future[None]] = [asyncio.ensure_future(first), asyncio.ensure_future(second)]
    if until is not None:
        directions.append(until)
    try:
        ended, _ = await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
    finally:
        for task in directions:
            task.cancel()
        await asyncio.gather(*directions, return_exceptions=True)
