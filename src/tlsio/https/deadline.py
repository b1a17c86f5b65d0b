"""Limits in time: one that is moved for each request and seldom expires, one of a peer's pace."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from tlsio.https.limits import Limits

__all__ = ["AHEAD", "ON_ITS_WAY", "Deadline", "Pace"]

# Seconds after a response, or the handshake, in which a client's next request may be on its way
# when a graceful stop begins: a round trip between continents.
ON_ITS_WAY = 0.25
# Bytes that a client has received and may read later: the initial window of HTTP/2 (RFC 9113,
# section 6.9.2), and half of what Linux keeps for a new connection (net.ipv4.tcp_rmem).
AHEAD = 65536
_RESOLUTION = 0.001  # seconds; less than a loop's timer can tell apart


class Deadline:
    """One limit of one connection or stream.

    To move it later costs no timer: the timer that runs finds the new time when it fires.

    Attributes:
        due: When it expires, in the loop's time; None: no limit is set. To clear it, set None.
    """

    __slots__ = ("_expired", "_fires", "_loop", "_timer", "due")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], object]) -> None:
        """Set nothing yet; `expired` is called when a limit that was set passes."""
        self._loop = loop
        self._expired = expired
        self.due: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._fires = 0.0  # the time of the timer

    @property
    def is_set(self) -> bool:
        """Whether a limit is set."""
        return self.due is not None

    @property
    def left(self) -> float | None:
        """The seconds until it expires; None: no limit is set."""
        return None if self.due is None else self.due - self._loop.time()

    def set(self, seconds: float | None) -> None:
        """Expire in this many seconds; None: never."""
        if seconds is None:
            self.due = None
            return
        due = self.due = self._loop.time() + seconds
        if self._timer is not None and self._fires > due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._start(due)

    def clear(self) -> None:
        """Expire no more. The timer is left to fire once."""
        self.due = None

    def end(self) -> None:
        """Clear, and cancel the timer, which would keep the connection's objects until it fires."""
        self.due = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self, due: float) -> None:
        self._fires = due
        self._timer = self._loop.call_at(due, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self.due is None:
            return
        if self.due > self._loop.time():
            self._start(self.due)
        else:
            self.due = None
            self._expired()


class Pace:
    """Judges how fast a client moves data, over the time in which the server waits for it.

    It may take `rate_grace` seconds, and one more for each `min_rate` bytes. Time in which the
    application is the slower one does not count.

    What was fast before buys no silence later, but for `ahead` bytes. A client that reads has them
    in its kernel and its window, and says nothing until it has read half of them.
    """

    __slots__ = ("_ahead", "_count", "_deadline", "_expired", "_grace", "_loop", "_rate", "_seen", "_since", "_waited")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        expired: Callable[[], object],
        *,
        ahead: int = 0,
        acknowledged: Callable[[], int] | None = None,
    ) -> None:
        """Wait for nothing yet.

        Args:
            loop: The loop.
            limits: Those of the server.
            expired: Called when the client is too slow.
            ahead: Bytes that may be paid for ahead.
            acknowledged: Returns the bytes that the client's kernel has received so far. They count
                while the server waits. A transport is ready again only when a large part of the
                kernel's send buffer has left it, which takes a slow client minutes. None: only
                `move` counts.
        """
        self._loop = loop
        self._deadline = Deadline(loop, self._look)
        self._expired = expired
        self._rate = limits.min_rate
        self._grace = None if limits.min_rate is None else limits.rate_grace
        self._ahead = 0.0 if limits.min_rate is None else ahead / limits.min_rate
        self._count = acknowledged
        self._seen = 0  # of what was acknowledged
        self._waited = 0.0  # what the bytes that moved have paid for is taken off
        self._since: float | None = None

    def wait(self) -> None:
        """Begin to wait for the client, or go on with it."""
        if self._since is None and self._grace is not None:
            self._since = self._loop.time()
            if self._count is not None:
                self._seen = self._count()
            self._deadline.set(max(0.0, self._grace - self._waited))

    def stop(self) -> None:
        """Wait no more, for now."""
        if self._since is None:
            return
        self._waited += self._loop.time() - self._since
        self._since = None
        self._deadline.clear()
        if self._count is not None:
            self._pay(self._count() - self._seen)

    def move(self, count: int) -> None:
        """Count bytes that the client has sent or read."""
        was_waiting = self._since is not None
        self.stop()
        self._pay(count)
        if was_waiting:
            self.wait()

    def end(self) -> None:
        """Release the timer."""
        self._deadline.end()

    def _pay(self, count: int) -> None:
        if self._rate is not None:
            self._waited = max(-self._ahead, self._waited - count / self._rate)

    def _look(self) -> None:
        """Expire, unless the client has received something since the wait began."""
        self.stop()
        if self._grace is not None and self._grace - self._waited > _RESOLUTION:
            self.wait()
        else:
            self._expired()
