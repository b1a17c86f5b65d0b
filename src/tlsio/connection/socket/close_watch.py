"""Measures progress while a socket closes, and ends the wait; `closing` defines progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from tlsio.connection.handshake.handshake import Handshake
    from tlsio.native._core import Connection

__all__ = ["CloseWatch", "Wire"]

_CHECKS_PER_TIMEOUT = 4  # how often a close checks for progress within close_timeout
_MAX_INTERVAL = 2.0  # seconds
# Seconds, if only acknowledgements are missing, which take a round trip.
_FIRST_INTERVAL = 0.01
_CLOCK_RESOLUTION = 0.001  # seconds; a loop's timer may fire early by that much


class Wire(Protocol):
    """The source of delivery information: the engine's connection, or the driver of a stream."""

    @property
    def acknowledged(self) -> object:
        """A value that changes when the peer acknowledges data."""

    def count_undelivered(self) -> int:
        """Return the bytes of ciphertext that TCP has not delivered to the peer's kernel."""

    def look_for_reset(self) -> None:
        """Report a reset that lost data and that no read will find."""


@dataclass(slots=True, eq=False)
class CloseWatch:
    """Starts when it is made, and calls `ended` once, unless it is stopped before.

    Attributes:
        loop: The loop for the timers.
        connection: The connection that is closing.
        wire: The source of delivery information.
        handshake: Holds back output while one of our hooks runs, which is not the peer's fault.
        is_local: Whether it is a Unix socket, which delivers at once.
        timeout: Seconds; see `closing`.
        ended: Called with True if the peer has received all data and has ended or used up its time;
            with False if it stopped receiving.
    """

    loop: asyncio.AbstractEventLoop
    connection: Connection
    wire: Wire
    handshake: Handshake
    is_local: bool
    timeout: float
    ended: Callable[[bool], object]
    _interval: float = field(init=False)
    _max_interval: float = field(init=False)
    _acknowledged: object = field(init=False)
    _last_progress: float = field(init=False)
    _last_check: float = field(init=False)
    _is_delivered: bool = field(init=False, default=False)  # the peer has acknowledged everything
    _is_stopped: bool = field(init=False, default=False)
    _timer: asyncio.TimerHandle = field(init=False)

    def __post_init__(self) -> None:
        self._interval = self._max_interval = min(self.timeout / _CHECKS_PER_TIMEOUT, _MAX_INTERVAL)
        self._acknowledged = self.wire.acknowledged
        self._last_progress = self._last_check = self.loop.time()
        self._timer = self.loop.call_later(self._interval, self._check)

    def stop(self) -> None:
        """Stop the timer, for good."""
        self._is_stopped = True
        self._timer.cancel()

    def has_delivered(self) -> bool:
        """Tell whether all is sent, including our end, and all data is acknowledged."""
        connection = self.connection
        return connection.output_ended and not connection.writable_length and not connection.out_error and not self._undelivered

    def waits_for_acknowledgement(self) -> bool:
        """Tell, after both directions have ended, whether data is not acknowledged yet.

        The next check is then soon, since an acknowledgement takes a round trip.
        """
        if not self._undelivered:
            return False
        self._interval = min(_FIRST_INTERVAL, self._interval)
        self._schedule(self._interval)
        return True

    @property
    def _undelivered(self) -> int:
        return 0 if self.is_local else self.wire.count_undelivered()

    def _schedule(self, seconds: float) -> None:
        self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._check)

    def _check(self) -> None:
        now = self.loop.time()
        if not self._is_delivered:
            self._check_output(now)
        if self._is_stopped:  # a reset was found, which has closed the socket
            return
        left = self._last_progress + self.timeout - now
        if left > _CLOCK_RESOLUTION and not (self._is_delivered and self.connection.input_ended):
            self._interval = min(self._interval * 2, self._max_interval)
            self._schedule(min(left, _MAX_INTERVAL if self._is_delivered else self._interval))
        else:
            self.ended(self._is_delivered)

    def _check_output(self, now: float) -> None:
        acknowledged = self.wire.acknowledged
        if self.has_delivered():
            self._is_delivered = True
            self._last_progress = self._last_check  # the peer's time starts when the last byte may have been acknowledged
        elif acknowledged != self._acknowledged or self.handshake.is_asking:
            self._acknowledged, self._last_progress = acknowledged, now
        else:
            self.wire.look_for_reset()
        self._last_check = now
