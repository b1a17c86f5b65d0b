"""The ring that makes its own ticket keys."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsio.model.errors import UsageTypeError, UsageValueError
from tlsio.session.ticket_keys import TicketKeyRing

if TYPE_CHECKING:
    from collections.abc import Callable


def numbered() -> Callable[[int], bytes]:
    """Random bytes that count: 1, 2, 3."""
    numbers = count(1)
    return lambda size: bytes([next(numbers)]) * size


def numbers(ring: TicketKeyRing, now: float) -> list[int]:
    """Return the keys that hold."""
    return [key[0] for key in ring.snapshot(now).keys]


def test_key_encrypts_for_an_interval_and_decrypts_for_the_overlap() -> None:
    """Then it is gone."""
    ring = TicketKeyRing(interval=100.0, overlap=30.0, random=numbered())
    assert numbers(ring, 0.0) == [1]
    assert numbers(ring, 99.9) == [1]
    assert numbers(ring, 100.0) == [2, 1]
    assert numbers(ring, 129.9) == [2, 1]
    assert numbers(ring, 130.0) == [2]


def test_tells_when_its_keys_change() -> None:
    """The next key, or the end of one before."""
    ring = TicketKeyRing(interval=100.0, overlap=30.0, random=numbered())
    assert [ring.snapshot(now).until for now in (0.0, 100.0, 130.0)] == [100.0, 130.0, 200.0]


def test_overlap_longer_than_the_interval_keeps_several() -> None:
    """Each for its own time."""
    ring = TicketKeyRing(interval=10.0, overlap=25.0, random=numbered())
    assert [numbers(ring, now) for now in (0.0, 10.0, 20.0, 30.0, 35.0)] == [[1], [2, 1], [3, 2, 1], [4, 3, 2, 1], [4, 3, 2]]


def test_machine_that_slept_gets_one_new_key() -> None:
    """What was encrypted just before still decrypts: until now the old key was in use."""
    ring = TicketKeyRing(interval=10.0, overlap=25.0, random=numbered())
    assert numbers(ring, 0.0) == [1]
    assert numbers(ring, 1000.0) == [2, 1]
    assert numbers(ring, 1025.0) == [3, 2]


def test_keys_are_random_and_48_bytes() -> None:
    """Two rings have nothing in common."""
    one, other = TicketKeyRing().snapshot(0.0), TicketKeyRing().snapshot(0.0)
    assert len(one.keys[0]) == len(other.keys[0]) == 48
    assert one.keys != other.keys


@settings(max_examples=25)
@given(st.floats(1.0, 100.0), st.floats(0.1, 12.0), st.lists(st.floats(0.0, 200.0), max_size=40))
def test_ticket_decrypts_for_the_whole_overlap(interval: float, intervals: float, steps: list[float]) -> None:
    """However irregularly it is asked; and `until` is always ahead, and a server's 16 places suffice."""
    ring, now = TicketKeyRing(interval=interval, overlap=interval * intervals), 0.0
    used: list[tuple[float, bytes]] = []
    for step in steps:
        snapshot = ring.snapshot(now)
        assert snapshot.until > now
        assert len(snapshot.keys) <= 16
        for last, key in used:
            assert key in snapshot.keys or now >= last + interval * intervals
        until = min(now + step, snapshot.until)
        used.append((until, snapshot.keys[0]))
        now = until


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"interval": 0.0}, UsageValueError),
        ({"interval": None}, UsageTypeError),
        ({"overlap": 0.0}, UsageValueError),
        ({"overlap": None}, UsageTypeError),
        ({"interval": 10.0, "overlap": 120.1}, UsageValueError),
    ],
)
def test_wrong_times_raise(options: dict[str, float], error: type[Exception]) -> None:
    """A server has room for 16 keys."""
    with pytest.raises(error):
        TicketKeyRing(**options)


def test_longest_overlap_is_taken() -> None:
    """Twelve intervals."""
    TicketKeyRing(interval=10.0, overlap=120.0)


def test_shows_no_key() -> None:
    """Neither ring nor snapshot."""
    ring = TicketKeyRing(random=lambda size: b"K" * size)
    snapshot = ring.snapshot(0.0)
    assert "KKKK" not in repr(ring) + repr(snapshot)


async def test_refresh_has_nothing_to_do() -> None:
    """It is there for sources that ask others."""
    await TicketKeyRing().refresh()
