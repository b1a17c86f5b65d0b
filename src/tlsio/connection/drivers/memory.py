"""A wire in memory: a driver that moves nothing."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tlsio.native._core import in_psk_callback

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsio.native._core import Connection


__all__ = ["MemoryWire"]


class MemoryWire:
    """The connection's driver: bytes both ways, moved on by whoever calls."""

    __slots__ = ("_begun", "_due", "_eof_fed", "_late", "_turning", "connection", "ended", "eof", "failure", "incoming", "outgoing")

    def __init__(self) -> None:
        self.connection: Connection  # set by its owner
        self.incoming: deque[bytes] = deque()
        self.outgoing = bytearray()
        self.eof = False  # nothing comes in any more
        self.ended = False  # nothing goes out any more
        self.failure: BaseException | None = None  # what a listener raised
        self._late: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._begun = self._eof_fed = self._due = self._turning = False

    def turn(self) -> bool:
        """Do all there is to do, and raise what a listener has raised. Whether there was something.

        A listener may call either end: what that leaves to be done is done by the turn that runs the listener. Nothing moves
        while a `psk_callback` runs, of this pair or of another.
        """
        if self._turning or in_psk_callback():
            return False
        self._turning, moved = True, False
        try:
            while self._step():
                moved = True
        finally:
            self._turning = False
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        return moved

    def _step(self) -> bool:
        connection = self.connection
        if self._late:
            call, args = self._late.popleft()
            call(*args)
            return True
        if connection.owner is None:  # it is over
            self.incoming.clear()
            return False
        if not self._begun:
            self._begun = True
            connection.start()
        elif self.incoming:
            connection.feed(self.incoming.popleft())
        elif self.eof and not self._eof_fed:
            self._eof_fed = True
            connection.feed_eof()
        elif self._due or connection.needs_turn:
            self._due = False
            connection.settle()
        else:
            return False
        return True

    # ---- the engine's side

    def wake(self) -> None:
        """Keep what the connection has; there may be more."""
        while (data := self.connection.output()) is not None:
            self.outgoing += data
            self.connection.sent()
            self._due = True
        if self.connection.fin_due:
            self.connection.fin_sent()
            self.ended = True

    def set_deadline(self, when: float | None) -> None:
        """A pair has no clock."""

    def schedule(self, _connection: Connection) -> None:
        """A step is due."""
        self._due = True

    def later(self, call: Callable[..., object], *args: object) -> None:
        """Call it in the next step."""
        self._late.append((call, args))
