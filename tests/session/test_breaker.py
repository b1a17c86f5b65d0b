"""The circuit breaker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsio.session.breaker import Breaker

if TYPE_CHECKING:
    from conftest import Clock


def fail(breaker: Breaker, times: int = 1) -> None:
    """Let calls fail."""
    for _ in range(times):
        assert breaker.admit()
        breaker.failed()


def test_two_failures_are_nothing(clock: Clock) -> None:
    """A success makes them forgotten."""
    breaker = Breaker(clock)
    fail(breaker, 2)
    assert breaker.admit()
    breaker.succeeded()
    fail(breaker, 2)
    assert breaker.admit()


def test_three_failures_open_it(clock: Clock) -> None:
    """For two seconds, to the moment."""
    breaker = Breaker(clock)
    fail(breaker, 3)
    clock.now += 1.999
    assert not breaker.admit()
    clock.now += 0.001
    assert breaker.admit()


def test_one_at_a_time_tries_again(clock: Clock) -> None:
    """Its failure opens it anew, its success closes it."""
    breaker = Breaker(clock)
    fail(breaker, 3)
    clock.now += 2.0
    assert breaker.admit()
    assert not breaker.admit()
    breaker.failed()
    assert not breaker.admit()
    clock.now += 2.0
    assert breaker.admit()
    breaker.succeeded()
    assert breaker.admit()
    assert breaker.admit()


def test_abandoned_try_lets_another_one(clock: Clock) -> None:
    """A client that left says nothing about Redis."""
    breaker = Breaker(clock)
    fail(breaker, 3)
    clock.now += 2.0
    assert breaker.admit()
    breaker.abandoned()
    assert breaker.admit()
