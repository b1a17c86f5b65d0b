"""Keeps a server's ticket keys up to date while it listens."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsio.session.ticket_keys import TicketKeySource

__all__ = ["TicketRotation"]

# A source that raises is asked again after a moment; the keys that were installed last stay.
_RETRY = 1.0

_log = logging.getLogger("tlsio")


class TicketRotation:
    """Installs the keys of a source at the moments at which they change.

    Args:
        install: Takes the keys, 48 bytes each: the first encrypts, all decrypt.
    """

    def __init__(self, source: TicketKeySource, install: Callable[[list[bytes]], object]) -> None:
        self._source = source
        self._install = install
        self._task: asyncio.Task[None] | None = None
        self._failed = False

    async def start(self) -> None:
        """Install the keys that hold now, then go on by itself until `stop`. Started already: nothing happens."""
        if self._task is not None:
            return
        until = await self._turn()
        self.stop()
        self._task = asyncio.create_task(self._run(until), name="tlsio ticket keys")

    def stop(self) -> None:
        """Let the keys be as they are."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self, until: float) -> None:
        while True:
            await asyncio.sleep(max(0.0, until - self._source.clock()))
            until = await self._turn()

    async def _turn(self) -> float:
        """Ask the source once, and tell when to ask again."""
        source = self._source
        try:
            await source.refresh()
            snapshot = source.snapshot(source.clock())
            self._install(list(snapshot.keys))
        except Exception:  # noqa: BLE001  (code of the user, at the top of its task)
            if not self._failed:
                _log.warning("The source of ticket keys failed; the keys stay, and it is asked again each second", exc_info=True)
            self._failed = True
            return source.clock() + _RETRY
        self._failed = False
        return snapshot.until
