"""The driver of a SecurePair: bytes in memory, without I/O."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tlsio.native._core import in_psk_callback

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsio.native._core import Connection


__all__ = ["MemoryWire"]


class MemoryWire:
    """A connection's driver that keeps the bytes of both directions for its caller to move."""

    __slots__ = ("_begun", "_deferred", "_due", "_eof_fed", "_turning", "connection", "ended", "eof", "failure", "incoming", "outgoing")

    def __init__(self) -> None:
        self.connection: Connection  # set by its owner
        self.incoming: deque[bytes] = deque()
        self.outgoing = bytearray()
        self.eof = False  # the peer's direction has ended
        self.ended = False  # our direction has ended
        self.failure: BaseException | None = None  # what a listener raised
        self._deferred: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._begun = self._eof_fed = self._due = self._turning = False

    def turn(self) -> bool:
        """Do all pending work, and raise what a listener raised; return whether there was work.

        A listener may call either end: the work from that is done by the turn that runs the
        listener. While a `psk_callback` runs, of this pair or another, no work is done.
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
        if self._deferred:
            call, args = self._deferred.popleft()
            call(*args)
            return True
        if connection.owner is None:  # the connection has ended
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

    # ---- called by the engine

    def wake(self) -> None:
        """Move the connection's ciphertext to `outgoing`; a further step may produce more."""
        while (data := self.connection.output()) is not None:
            self.outgoing += data
            self.connection.sent()
            self._due = True
        if self.connection.fin_due:
            self.connection.fin_sent()
            self.ended = True

    def set_deadline(self, when: float | None) -> None:
        """Ignore the deadline: a pair has no clock."""

    def schedule(self, _connection: Connection) -> None:
        """Note that a step is due."""
        self._due = True

    def later(self, call: Callable[..., object], *args: object) -> None:
        """Make the call in the next step."""
        self._deferred.append((call, args))
