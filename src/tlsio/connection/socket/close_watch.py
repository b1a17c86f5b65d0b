"""Looks for progress while a socket closes, and ends the wait. `closing` says what counts as progress in each phase."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from tlsio.connection.handshake.handshake import Handshake
    from tlsio.native._core import Connection

__all__ = ["CloseWatch", "Wire"]

_LOOKS = 4  # how often a close looks for progress within close_timeout
_LONGEST_PACE = 2.0  # seconds
_FIRST_LOOK = 0.01  # seconds; when only acknowledgements are missing, which take a round trip
_EARLY = 0.001  # seconds; a loop's timer may come early by the resolution of its clock


class Wire(Protocol):
    """What knows how much the peer has got: the engine's connection, or the driver of a stream."""

    @property
    def acknowledged(self) -> object:
        """Changes whenever the peer acknowledges something."""

    def count_undelivered(self) -> int:
        """Bytes of data, encrypted, that TCP has not delivered to the peer's kernel."""

    def look_for_reset(self) -> None:
        """Report a reset that has cost data and that no read will find."""


@dataclass(slots=True, eq=False)
class CloseWatch:
    """Begins when it is made, and calls `ended` once, unless it is stopped before.

    Attributes:
        loop: Has the timers.
        connection: What is to be closed.
        wire: Where its data goes.
        handshake: Holds the output back while a hook of ours has to answer, which is not the peer's fault.
        is_local: Over a Unix socket, which delivers at once.
        timeout: Seconds; see `closing`.
        ended: Called with True when the peer has all and has ended, or had its time; with False when it takes nothing.
    """

    loop: asyncio.AbstractEventLoop
    connection: Connection
    wire: Wire
    handshake: Handshake
    is_local: bool
    timeout: float
    ended: Callable[[bool], object]
    _pace: float = field(init=False)
    _longest_pace: float = field(init=False)
    _acknowledged: object = field(init=False)
    _moved: float = field(init=False)
    _looked: float = field(init=False)
    _is_delivered: bool = field(init=False, default=False)  # the peer has acknowledged everything
    _timer: asyncio.TimerHandle = field(init=False)

    def __post_init__(self) -> None:
        self._pace = self._longest_pace = min(self.timeout / _LOOKS, _LONGEST_PACE)
        self._acknowledged = self.wire.acknowledged
        self._moved = self._looked = self.loop.time()
        self._timer = self.loop.call_later(self._pace, self._look)

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def has_delivered(self) -> bool:
        """Everything has been sent, our end included, and the peer has acknowledged all but that."""
        connection = self.connection
        return connection.output_ended and not connection.writable_length and not connection.out_error and not self._undelivered

    def waits_for_acknowledgement(self) -> bool:
        """Both directions have ended; whether the peer has yet to acknowledge data. Then look soon: that takes a round trip."""
        if not self._undelivered:
            return False
        self._pace = min(_FIRST_LOOK, self._pace)
        self._look_later(self._pace)
        return True

    @property
    def _undelivered(self) -> int:
        return 0 if self.is_local else self.wire.count_undelivered()

    def _look_later(self, seconds: float) -> None:
        self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._look)

    def _look(self) -> None:
        now = self.loop.time()
        if not self._is_delivered:
            self._look_at_output(now)
        left = self._moved + self.timeout - now
        if left > _EARLY and not (self._is_delivered and self.connection.input_ended):
            self._pace = min(self._pace * 2, self._longest_pace)
            self._look_later(min(left, _LONGEST_PACE if self._is_delivered else self._pace))
        else:
            self.ended(self._is_delivered)

    def _look_at_output(self, now: float) -> None:
        acknowledged = self.wire.acknowledged
        if self.has_delivered():
            self._is_delivered = True
            self._moved = self._looked  # the peer's time to end begins when the last byte may have been acknowledged
        elif acknowledged != self._acknowledged or self.handshake.is_asking:
            self._acknowledged, self._moved = acknowledged, now
        else:
            self.wire.look_for_reset()
        self._looked = now
