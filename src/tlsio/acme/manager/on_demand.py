"""Certificates at the first handshake for a name: only with a permission, and within bounds.

Strangers choose the names. So, in this order: the name must be one that can have a server; few
names at a time are looked at; the program's hook must permit it; only then is the storage read, and
an authority asked. A refusal is remembered for a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from tlsio.acme.manager.managed import Managed
from tlsio.acme.manager.names import PublicSuffixes
from tlsio.connection.tasks import find_awaitable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["OnDemand"]

_log = logging.getLogger("tlsio.acme")

_MAX_PENDING = 64  # names that are being looked at; their handshakes wait
_HOOK_TIMEOUT = 10.0  # seconds
_REFUSED_FOR = 60.0  # seconds
_FAILED_FOR = 5.0  # seconds; the storage failed, which is not asked again by each handshake
_MAX_REFUSED = 10_000


class OnDemand:
    """The names that clients have asked for.

    Attributes:
        refused: How many handshakes found no permission, or no place.
    """

    def __init__(
        self,
        permission: Callable[[str], Any],
        admit: Callable[[Managed], Awaitable[None]],
        *,
        wait: float,
    ) -> None:
        """Ask `permission(name)` about each name.

        Args:
            permission: Sync or async; true if the name may have a certificate.
            admit: Takes a permitted name under management; returns when there is a certificate, or
                will be none now.
            wait: Seconds that a handshake waits.
        """
        self._permission = permission
        self._admit = admit
        self._wait = wait
        self._suffixes = PublicSuffixes()
        self._pending: dict[str, asyncio.Task[Managed | None]] = {}
        self._refused: OrderedDict[str, float] = OrderedDict()
        self._asked = 0  # challenges for which the hook is asked now
        self.refused = 0

    def is_pending(self, name: str) -> bool:
        """Whether a certificate for a name may be on its way, in this process."""
        return name in self._pending

    async def may_be_pending(self, name: str) -> bool:
        """Whether a certificate for a name may be on its way in another process.

        Its hook has permitted the name, so that of this process has to.
        """
        if self._is_refused(name) or not self._suffixes.is_host(name) or self._asked >= _MAX_PENDING:
            return False
        self._asked += 1
        try:
            is_permitted = await self.permits(name)
        finally:
            self._asked -= 1
        if not is_permitted:
            self._refuse(name)
        return is_permitted

    async def find(self, name: str) -> Managed | None:
        """Return what serves a name; None: nothing does, now."""
        managed = await self._find(name)
        if managed is None:
            self.refused += 1
        return managed

    async def _find(self, name: str) -> Managed | None:
        if self._is_refused(name) or not self._suffixes.is_host(name):
            return None
        flight = self._pending.get(name)
        if flight is None:
            if len(self._pending) >= _MAX_PENDING:
                return None
            flight = self._pending[name] = asyncio.ensure_future(self._ask(name))
            flight.add_done_callback(lambda task: self._ended(name, task))
        # Another handshake may wait for it too, and the next one will: it goes on.
        done, _ = await asyncio.wait((flight,), timeout=self._wait)
        return flight.result() if done and not flight.cancelled() and flight.exception() is None else None

    async def _ask(self, name: str) -> Managed | None:
        if not await self.permits(name):
            self._refuse(name)
            return None
        managed = Managed((name,), is_on_demand=True, was_used=True)
        try:
            await self._admit(managed)
        except Exception:
            self._refuse(name, _FAILED_FOR)
            raise
        if managed.certificate is None:
            self._refuse(name)
        return managed

    async def permits(self, name: str) -> bool:
        """Ask the hook; a failure is a refusal."""
        try:
            async with asyncio.timeout(_HOOK_TIMEOUT):
                answer = self._permission(name)
                if (awaitable := find_awaitable(answer)) is not None:
                    answer = await awaitable
        except Exception:  # noqa: BLE001 - user code; a failure is a refusal
            _log.exception("The hook on_demand= failed for %r, which gets no certificate", name)
            return False
        return answer is True

    def _ended(self, name: str, task: asyncio.Task[Managed | None]) -> None:
        self._pending.pop(name, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("No certificate for %s, which a client asked for: %s", name, error)

    def _refuse(self, name: str, seconds: float = _REFUSED_FOR) -> None:
        self._refused[name] = asyncio.get_running_loop().time() + seconds
        self._refused.move_to_end(name)
        if len(self._refused) > _MAX_REFUSED:
            self._refused.popitem(last=False)

    def _is_refused(self, name: str) -> bool:
        until = self._refused.get(name)
        return until is not None and asyncio.get_running_loop().time() < until

    async def stop(self) -> None:
        """End what is being looked at."""
        flights = tuple(self._pending.values())
        for flight in flights:
            flight.cancel()
        if flights:
            await asyncio.wait(flights)
