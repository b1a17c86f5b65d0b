"""Limits in time, with a loop whose clock the test moves."""

from __future__ import annotations

from typing import Any

import pytest

from tlsio.https.deadline import Deadline, Pace
from tlsio.https.limits import Limits


class Timer:
    """A timer of the loop below."""

    def __init__(self, when: float, function: Any) -> None:
        self._when = when
        self.function = function
        self.is_cancelled = False

    def when(self) -> float:
        """Return its time."""
        return self._when

    def cancel(self) -> None:
        """Never fire."""
        self.is_cancelled = True


class Loop:
    """The part of a loop that deadlines use."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        """Return the present time."""
        return self.now

    def call_at(self, when: float, function: Any) -> Timer:
        """Add a timer."""
        timer = Timer(when, function)
        self.timers.append(timer)
        return timer

    @property
    def pending(self) -> list[Timer]:
        """The timers that would fire."""
        return [timer for timer in self.timers if not timer.is_cancelled]

    def advance(self, seconds: float) -> None:
        """Let time pass, in the order of the timers."""
        end = self.now + seconds
        while due := sorted((timer for timer in self.pending if timer.when() <= end), key=Timer.when):
            self.now = max(self.now, due[0].when())
            self.timers.remove(due[0])
            due[0].function()
        self.now = end


@pytest.fixture
def loop() -> Any:
    """Return a loop at the time 100."""
    return Loop()


class TestDeadline:
    """One limit."""

    def test_expires_once_and_not_before(self, loop: Any) -> None:
        """On each side of its time."""
        calls: list[float] = []
        deadline = Deadline(loop, lambda: calls.append(loop.now))
        deadline.set(5.0)
        loop.advance(4.9)
        assert calls == []
        loop.advance(10.0)
        assert calls == [105.0]
        assert not deadline.is_set
        assert loop.pending == []

    def test_is_moved_without_a_timer(self, loop: Any) -> None:
        """A thousand requests set no thousand timers."""
        calls: list[float] = []
        deadline = Deadline(loop, lambda: calls.append(loop.now))
        for _ in range(1000):
            deadline.set(5.0)
            loop.advance(0.001)
        assert len(loop.timers) == 1
        loop.advance(10.0)
        assert calls == [pytest.approx(105.999)]

    def test_is_moved_forward(self, loop: Any) -> None:
        """A shorter limit does not wait for the timer of a longer one."""
        calls: list[float] = []
        deadline = Deadline(loop, lambda: calls.append(loop.now))
        deadline.set(60.0)
        deadline.set(1.0)
        loop.advance(2.0)
        assert calls == [101.0]

    @pytest.mark.parametrize("how", ["clear", "none", "end"])
    def test_does_not_expire_after_it_was_cleared(self, loop: Any, how: str) -> None:
        """And `end` leaves no timer."""
        calls: list[float] = []
        deadline = Deadline(loop, lambda: calls.append(loop.now))
        deadline.set(5.0)
        if how == "none":
            deadline.set(None)
        else:
            getattr(deadline, how)()
        assert (how == "end") == (loop.pending == [])
        loop.advance(10.0)
        assert (calls, loop.pending) == ([], [])


class TestPace:
    """How fast a client must be."""

    LIMITS = Limits(min_rate=100, rate_grace=10.0)

    def make(self, loop: Any) -> tuple[Pace, list[float]]:
        """Return a pace, and the times at which it expired."""
        calls: list[float] = []
        return Pace(loop, self.LIMITS, lambda: calls.append(loop.now)), calls

    def test_a_silent_client_has_the_grace(self, loop: Any) -> None:
        """And not more."""
        pace, calls = self.make(loop)
        pace.wait()
        loop.advance(9.9)
        assert calls == []
        loop.advance(0.2)
        assert calls == [110.0]

    @pytest.mark.parametrize(("rate", "lives"), [(101, True), (90, False)])
    def test_a_steady_client(self, loop: Any, rate: int, lives: bool) -> None:  # noqa: FBT001
        """On each side of the rate, over ten minutes."""
        pace, calls = self.make(loop)
        pace.wait()
        for _ in range(600):
            loop.advance(1.0)
            if calls:
                break
            pace.move(rate)
        assert (calls == []) == lives

    def test_bytes_pay_for_a_pause_up_to_the_grace_alone(self, loop: Any) -> None:
        """A client that was fast at first cannot be silent for hours afterwards."""
        pace, calls = self.make(loop)
        pace.wait()
        pace.move(10_000_000)
        loop.advance(9.9)
        assert calls == []
        loop.advance(0.2)
        assert calls == [110.0]

    def test_time_of_the_application_does_not_count(self, loop: Any) -> None:
        """Only the time between `wait` and `stop`."""
        pace, calls = self.make(loop)
        for _ in range(9):
            pace.wait()
            loop.advance(1.0)
            pace.stop()
            loop.advance(1000.0)
        pace.wait()
        loop.advance(0.9)
        assert calls == []
        loop.advance(0.2)
        assert len(calls) == 1

    @pytest.mark.parametrize(("seconds", "lives"), [(29, True), (31, False)])
    def test_a_client_may_read_what_it_has_later(self, loop: Any, seconds: float, lives: bool) -> None:  # noqa: FBT001
        """2000 bytes ahead are 20 seconds, however much it has got before."""
        calls: list[float] = []
        pace = Pace(loop, self.LIMITS, lambda: calls.append(loop.now), ahead=2000)
        pace.move(10_000_000)
        pace.wait()
        loop.advance(seconds)
        assert (calls == []) == lives

    @pytest.mark.parametrize(("rate", "lives"), [(101, True), (90, False)])
    def test_a_client_that_reads_while_the_transport_waits(self, loop: Any, rate: int, lives: bool) -> None:  # noqa: FBT001
        """On each side of the rate, without a call when it has read something."""
        calls: list[float] = []
        pace = Pace(loop, self.LIMITS, lambda: calls.append(loop.now), acknowledged=lambda: 5000 + int(loop.now - 100) * rate)
        pace.wait()
        loop.advance(600.5)
        assert (calls == []) == lives

    def test_what_was_acknowledged_before_the_wait_does_not_count(self, loop: Any) -> None:
        """Nor what is acknowledged while the application is the slower one."""
        calls: list[float] = []
        acknowledged = 10_000_000
        pace = Pace(loop, self.LIMITS, lambda: calls.append(loop.now), acknowledged=lambda: acknowledged)
        pace.wait()
        loop.advance(9.0)
        pace.stop()
        acknowledged += 10_000_000
        pace.wait()
        loop.advance(0.9)
        assert calls == []
        loop.advance(0.2)
        assert len(calls) == 1

    def test_no_rate_is_no_limit(self, loop: Any) -> None:
        """With None."""
        calls: list[float] = []
        pace = Pace(loop, Limits(min_rate=None), lambda: calls.append(loop.now))
        pace.wait()
        pace.move(1)
        loop.advance(1e6)
        assert (calls, loop.pending) == ([], [])
