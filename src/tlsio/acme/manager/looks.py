"""Looks into the storage for names that clients ask for, and that have no valid certificate."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from tlsio.acme.manager.managed import Managed
    from tlsio.acme.manager.workers import Outage

__all__ = ["Looks"]

_TIMEOUT, _EACH = 1.0, 1.0  # seconds; of a handshake, and between two looks for one name


class Looks:
    """The looks of one manager: of each name one at a time, and at most one in a second."""

    def __init__(self, follow: Callable[[Managed], Awaitable[None]], outage: Outage) -> None:
        """Make none yet.

        Args:
            follow: Takes what the storage has for a name.
            outage: Gets the failures.
        """
        self._follow = follow
        self._outage = outage
        self._flights: dict[Managed, asyncio.Task[None]] = {}

    @property
    def tasks(self) -> Iterable[asyncio.Task[None]]:
        """Those that are under way."""
        return self._flights.values()

    async def look(self, managed: Managed) -> None:
        """Look, or join the look that is under way, and wait for a second at most."""
        flight, now = self._flights.get(managed), asyncio.get_running_loop().time()
        if flight is None and (managed.looked_at is None or now - managed.looked_at >= _EACH):
            managed.looked_at = now
            flight = self._flights[managed] = asyncio.ensure_future(self._follow(managed))
            flight.add_done_callback(partial(self._looked, managed))
        if flight is not None:
            await asyncio.wait((flight,), timeout=_TIMEOUT)

    def _looked(self, managed: Managed, task: asyncio.Task[None]) -> None:
        self._flights.pop(managed, None)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._outage.fail(error)
