"""A server's ticket keys: random ones, given ones, or those of a source, which are kept up to date while the server listens."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import TYPE_CHECKING, Any

from tlsio.connection.context.secure_context import SESSION_TIMEOUT
from tlsio.connection.tasks import ends_task, failure_of_task
from tlsio.model.errors import UsageError, UsageStateError, UsageTypeError, UsageValueError
from tlsio.model.options.context import parse_ticket_keys
from tlsio.native._core import Ring

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsio.model.options.context import ContextOptions
    from tlsio.session.ticket_keys import TicketKeySource

__all__ = ["TicketKeys", "TicketRotation"]

# A source that raises is asked again after a moment; the keys that were installed last stay.
_RETRY = 1.0
# uvloop cannot count to infinity, which a source may give as the moment of its next change.
_LONGEST = 86400.0

_log = logging.getLogger("tlsio")


class TicketKeys:
    """The keys of one server.

    Attributes:
        ring: The engine's, which gates and connections use.
    """

    def __init__(self, options: ContextOptions) -> None:
        """Make the keys that the options of the default context ask for."""
        self.ring = Ring(options.session_timeout or SESSION_TIMEOUT)
        self._rotation: TicketRotation | None = None
        if isinstance(options.ticket_keys, tuple):
            self.ring.set(options.ticket_keys)
        elif options.ticket_keys is not None:
            self._rotation = TicketRotation(options.ticket_keys, self.ring.set)

    async def start(self) -> None:
        """Let a source's keys change by themselves until `stop`. Raises as `TicketRotation.start`."""
        if self._rotation is not None:
            await self._rotation.start()

    def stop(self) -> None:
        """Leave the keys as they are."""
        if self._rotation is not None:
            self._rotation.stop()

    def use(self, keys: Any) -> None:
        """Use other keys: one is put in front of those there are, a list replaces them.

        Raises:
            UsageTypeError: not keys.
            UsageValueError: keys of a wrong length.
            UsageStateError: a source gives the keys.
        """
        parsed = parse_ticket_keys("keys", keys)
        self._check_given()
        if isinstance(keys, list | tuple):
            self.ring.set(parsed)
        else:
            self.ring.push(parsed[0])

    def replace(self, option: Any) -> None:
        """Use the keys of another default context in place of all. Raises as `use`."""
        self._check_given()
        self.ring.set(parse_ticket_keys("options.ticket_keys", option))

    def _check_given(self) -> None:
        if self._rotation is not None:
            raise UsageStateError("This server's ticket keys come from a source, which changes them by itself")


class TicketRotation:
    """Installs the keys of a source at the moments at which they change.

    Between two turns there is only a timer: an application that cancels all tasks of its loop can end one turn, after which the source
    is asked again in a moment, and never the rotation.

    Args:
        install: Takes the keys, 48 bytes each: the first encrypts, all decrypt.
    """

    def __init__(self, source: TicketKeySource, install: Callable[[list[bytes]], object]) -> None:
        self._source = source
        self._install = install
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[float] | None = None
        self._first_turns: set[asyncio.Task[float]] = set()
        self._failed = False
        self._stops = 0

    async def start(self) -> None:
        """Install the keys that hold now, then go on by itself until `stop`, which also ends this call. Started already: returns at once.

        Raises:
            UsageError: the keys cannot be used, or the source keeps no time. Any other failure is the source's, which is asked again.
        """
        if self._runs():
            return
        stops = self._stops
        turn = asyncio.get_running_loop().create_task(self._turn(is_first=True), name="tlsio ticket keys")
        self._first_turns.add(turn)
        try:
            await asyncio.wait((turn,))
        finally:
            self._first_turns.discard(turn)
            turn.cancel()
        if stops != self._stops:
            turn.add_done_callback(failure_of_task)  # nobody waits for its result any more
        else:
            pause = turn.result()
            if not self._runs():  # another call may have been faster
                self._wait(pause)

    def _runs(self) -> bool:
        return self._timer is not None or self._task is not None

    def stop(self) -> None:
        """Leave the keys as they are, and end a `start` that waits for its source."""
        self._stops += 1
        for turn in self._first_turns:
            turn.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._timer = self._task = None

    def _wait(self, pause: float) -> None:
        # In a context of its own: the rotation must not keep the variables of whatever called `listen`.
        self._timer = asyncio.get_running_loop().call_later(pause, self._begin_turn, context=contextvars.Context())

    def _begin_turn(self) -> None:
        self._timer = None
        self._task = asyncio.get_running_loop().create_task(self._turn(), name="tlsio ticket keys")
        self._task.add_done_callback(self._end_turn)

    def _end_turn(self, task: asyncio.Task[float]) -> None:
        if task is self._task:  # otherwise it was stopped
            self._task = None
            failed = task.cancelled() or task.exception() is not None
            self._wait(_RETRY if failed else task.result())

    async def _turn(self, *, is_first: bool = False) -> float:
        """Ask the source once; returns the seconds until it must be asked again."""
        source = self._source
        try:
            await source.refresh()
            now = source.clock()
            keys, seconds = _read(source.snapshot(now), now)
            self._install(keys)
            pause = _check_pause(seconds)
        except BaseException as error:  # code of the user, at the top of its task
            if ends_task(error) or (is_first and isinstance(error, UsageError)):
                raise
            if not self._failed:
                _log.warning("The source of ticket keys failed; the keys stay, and it is asked again each second", exc_info=True)
            self._failed = True
            return _RETRY
        self._failed = False
        return pause


def _read(snapshot: object, now: float) -> tuple[list[bytes], float]:
    """Return the keys, and the seconds until there are others."""
    try:
        return list(snapshot.keys), float(snapshot.until - now)  # type: ignore[attr-defined]
    except (AttributeError, TypeError) as error:
        hint = "keys: a list of 48 bytes each. until: a number, the moment of the source's clock in seconds at which there are others."
        message = f"A source's snapshot must have keys and until, as {type(snapshot).__name__} does not"
        raise UsageTypeError(message, hint=hint) from error


def _check_pause(seconds: float) -> float:
    if not seconds > 0:
        raise UsageValueError(f"A source of ticket keys must be asked again later than now: `until` is {seconds} seconds away")
    return min(seconds, _LONGEST)
