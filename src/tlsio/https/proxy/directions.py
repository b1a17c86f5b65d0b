"""Two directions of a connection, until one ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["run_both"]


async def run_both(first: Coroutine[object, object, None], second: Coroutine[object, object, None]) -> None:
    """Run both, `first` first, until one ends; then cancel the other. What ended it is raised."""
    directions = (asyncio.ensure_future(first), asyncio.ensure_future(second))
    try:
        ended, _ = await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
    finally:
        for task in directions:
            task.cancel()
        await asyncio.gather(*directions, return_exceptions=True)
