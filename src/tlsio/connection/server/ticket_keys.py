"""A server's ticket keys: random, given, or from a source that changes them while it listens."""

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

# Seconds until a source that raised is called again; the last keys stay in use.
_RETRY = 1.0
# Seconds; a source may give infinity as the time of its next change, which uvloop cannot handle.
_MAX_PAUSE = 86400.0

_log = logging.getLogger("tlsio")


class TicketKeys:
    """The keys of one server.

    Attributes:
        ring: The engine's keys, which gates and connections use.
    """

    def __init__(self, options: ContextOptions) -> None:
        """Make the keys for the options of the default context."""
        self.ring = Ring(options.session_timeout or SESSION_TIMEOUT)
        self._rotation: TicketRotation | None = None
        self._given = options.ticket_keys
        self._install()

    def _install(self) -> None:
        if isinstance(self._given, tuple):
            self.ring.set(self._given)
        elif self._given is not None:
            self._rotation = TicketRotation(self._given, self.ring.set)

    def adopt(self, options: ContextOptions, *, is_first: bool) -> None:
        """Use the keys and the session timeout of a default context from a context source.

        Without keys in it the present ones stay.

        Raises:
            UsageStateError: a source of keys would be replaced, or replace other keys, while the
                server runs.
        """
        keys = options.ticket_keys
        if keys is not None and keys != self._given:
            if not is_first and not (isinstance(keys, tuple) and self._rotation is None):
                raise UsageStateError("The source in ticket_keys= cannot change: a server keeps the one it started with")
            self._given = keys
            self._install()
        self.ring.keep(options.session_timeout or SESSION_TIMEOUT)

    async def start(self) -> None:
        """Start the rotation of a source's keys, until `stop`. Raises as `TicketRotation.start`."""
        if self._rotation is not None:
            await self._rotation.start()

    def stop(self) -> None:
        """Stop the rotation; the present keys stay."""
        if self._rotation is not None:
            self._rotation.stop()

    def use(self, keys: Any) -> None:
        """Use other keys: a single one is put before the present ones, a list replaces them.

        Raises:
            UsageTypeError: `keys` are not keys.
            UsageValueError: a key has a wrong length.
            UsageStateError: the keys come from a source.
        """
        parsed = parse_ticket_keys("keys", keys)
        self._check_given()
        if isinstance(keys, list | tuple):
            self.ring.set(parsed)
        else:
            self.ring.push(parsed[0])

    def replace(self, option: Any) -> None:
        """Replace all keys by those of another default context. Raises as `use`."""
        self._check_given()
        self.ring.set(parse_ticket_keys("options.ticket_keys", option))

    def _check_given(self) -> None:
        if self._rotation is not None:
            raise UsageStateError("This server's ticket keys cannot be set: they come from the source in ticket_keys=")


class TicketRotation:
    """Installs the keys of a source whenever they change.

    Between two turns there is only a timer. So an application that cancels all tasks of its loop
    can end one turn, after which the source is called again, but not the rotation.

    Args:
        install: Function for the keys, 48 bytes each: the first encrypts, all decrypt.
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
        """Install the present keys and start the rotation, until `stop`, which ends this call too.

        Ignored if the rotation runs.

        Raises:
            UsageError: the keys cannot be used, or the time of the next change is not in the
                future. After any other failure the source is called again later.
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
            turn.add_done_callback(failure_of_task)  # its result is not needed any more
        else:
            pause = turn.result()
            if not self._runs():  # another `start` may have run meanwhile
                self._wait(pause)

    def _runs(self) -> bool:
        return self._timer is not None or self._task is not None

    def stop(self) -> None:
        """Stop the rotation and every pending `start`; the present keys stay."""
        self._stops += 1
        for turn in self._first_turns:
            turn.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._timer = self._task = None

    def _wait(self, pause: float) -> None:
        # A fresh contextvars context: the rotation must not keep the variables of the caller of
        # `listen` alive.
        self._timer = asyncio.get_running_loop().call_later(pause, self._begin_turn, context=contextvars.Context())

    def _begin_turn(self) -> None:
        self._timer = None
        self._task = asyncio.get_running_loop().create_task(self._turn(), name="tlsio ticket keys")
        self._task.add_done_callback(self._end_turn)

    def _end_turn(self, task: asyncio.Task[float]) -> None:
        if task is self._task:  # otherwise the rotation was stopped
            self._task = None
            failed = task.cancelled() or task.exception() is not None
            self._wait(_RETRY if failed else task.result())

    async def _turn(self, *, is_first: bool = False) -> float:
        """Call the source once; return the seconds until it must be called again."""
        source = self._source
        try:
            await source.refresh()
            now = source.clock()
            keys, seconds = _read(source.snapshot(now), now)
            self._install(keys)
            pause = _check_pause(seconds)
        except BaseException as error:  # user code, at the top of its task
            if ends_task(error) or (is_first and isinstance(error, UsageError)):
                raise
            if not self._failed:
                _log.warning(
                    "The source of ticket keys failed: the last keys stay in use, and it is called again each second", exc_info=True
                )
            self._failed = True
            return _RETRY
        self._failed = False
        return pause


def _read(snapshot: object, now: float) -> tuple[list[bytes], float]:
    """Return the keys, and the seconds until they change."""
    try:
        return list(snapshot.keys), float(snapshot.until - now)  # type: ignore[attr-defined]
    except (AttributeError, TypeError) as error:
        hint = "keys: a list of bytes, 48 each. until: a number, the time (by the source's clock, in seconds) at which the keys change."
        message = f"The snapshot of a source of ticket keys must have `keys` and `until`, got {type(snapshot).__name__}"
        raise UsageTypeError(message, hint=hint) from error


def _check_pause(seconds: float) -> float:
    if not seconds > 0:
        raise UsageValueError(
            f"`until` in the snapshot of a source of ticket keys must be in the future, but it is {seconds} seconds from now"
        )
    return min(seconds, _MAX_PAUSE)
