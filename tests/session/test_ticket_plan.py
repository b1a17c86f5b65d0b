"""The plan of a cluster's ticket keys."""

from __future__ import annotations

import pytest

from tlsio.session.ticket_plan import CLOCK_DIFFERENCE, PlannedKey, TicketPlan

EMPTY = TicketPlan(interval=100.0, overlap=50.0)
GRACE = 2 * CLOCK_DIFFERENCE


def key(number: int) -> bytes:
    """Return a key that can be recognised."""
    return bytes([number]) * 48


def plan(**starts: float) -> TicketPlan:
    """Return a plan; `k1=0.0`: key 1 encrypts from 0."""
    return TicketPlan(100.0, 50.0, tuple(PlannedKey(start, key(int(name[1:]))) for name, start in starts.items()))


def usable(of: TicketPlan, now: float) -> list[int]:
    """Return the keys that hold, by number."""
    return [one[0] for one in of.usable(now)]


def test_first_key_holds_at_once_and_the_next_is_known() -> None:
    """An interval ahead."""
    numbers = iter((1, 2))
    made = EMPTY.completed(1000.0, lambda _: key(next(numbers)))
    assert made == plan(k1=1000.0, k2=1100.0)
    assert made.is_complete(1000.0)
    assert not EMPTY.is_complete(1000.0)


def test_next_key_is_planned_when_the_current_one_begins() -> None:
    """Neither sooner nor twice."""
    before = plan(k1=0.0, k2=100.0)
    assert before.completed(99.0, lambda _: key(3)) == before
    assert before.completed(100.0, lambda _: key(3)) == plan(k1=0.0, k2=100.0, k3=200.0)


def test_cluster_that_slept_waits_until_all_know_the_key() -> None:
    """Half an interval."""
    assert plan(k1=0.0).completed(130.0, lambda _: key(2)) == plan(k1=0.0, k2=180.0)


def test_key_encrypts_from_its_start_and_is_read_before() -> None:
    """And for the overlap after, by clocks that differ."""
    keys = plan(k1=0.0, k2=100.0)
    assert usable(keys, 0.0) == [1, 2]
    assert usable(keys, 99.9) == [1, 2]
    assert usable(keys, 100.0) == [2, 1]
    assert usable(keys, 100.0 + 50.0 + GRACE - 0.1) == [2, 1]
    assert usable(keys, 100.0 + 50.0 + GRACE) == [2]


def test_clock_behind_uses_the_first_key_before_it_begins() -> None:
    """There is no other."""
    assert usable(plan(k1=3.0, k2=103.0), 0.0) == [1, 2]


def test_last_key_is_used_until_its_end() -> None:
    """A node that lost the others makes none of its own in the cluster's name."""
    keys = plan(k1=0.0)
    assert usable(keys, 100.0 + 50.0 + GRACE - 0.1) == [1]
    assert usable(keys, 100.0 + 50.0 + GRACE) == []


def test_joining_keeps_all_that_is_in_use() -> None:
    """In whatever order; the result is the same for both."""
    one, other = plan(k1=0.0, k2=100.0), plan(k3=50.0, k4=150.0)
    joined = one.joined(other.keys, 60.0)
    assert joined == other.joined(one.keys, 60.0) == plan(k1=0.0, k3=50.0, k2=100.0, k4=150.0)


def test_joining_forgets_what_is_over() -> None:
    """To the moment."""
    keys = plan(k1=0.0, k2=100.0)
    assert keys.joined((), 149.9 + GRACE) == keys
    assert keys.joined((), 150.0 + GRACE) == plan(k2=100.0)


def test_joining_drops_what_only_a_wrong_clock_can_have_planned() -> None:
    """Nobody would plan the next key until then."""
    keys = plan(k1=0.0, k2=100.0)
    at_most = 2 * 100.0 + CLOCK_DIFFERENCE
    assert keys.joined(plan(k3=at_most).keys, 0.0) == plan(k1=0.0, k2=100.0, k3=at_most)
    assert keys.joined(plan(k3=at_most + 0.1).keys, 0.0) == keys


@pytest.mark.parametrize(("now", "expected"), [(0.0, 100.0), (100.0, 150.0 + GRACE), (150.0 + GRACE, 250.0 + GRACE), (999.0, 1099.0)])
def test_tells_the_next_change(now: float, expected: float) -> None:
    """A start, an end, or an interval later."""
    assert plan(k1=0.0, k2=100.0).next_change(now) == expected


def test_is_read_as_it_was_written() -> None:
    """To the last bit of the instants."""
    keys = plan(k1=1790000000.123456, k2=1790003600.123456)
    assert TicketPlan.unpack(keys.pack()) == keys.keys


@pytest.mark.parametrize("data", [b"x", bytes(55), bytes(57)])
def test_something_else_is_no_plan(data: bytes) -> None:
    """By its length."""
    with pytest.raises(ValueError, match="not a plan"):
        TicketPlan.unpack(data)


def test_shows_no_key() -> None:
    """Only when each begins."""
    assert "\\x01" not in repr(plan(k1=0.0))
