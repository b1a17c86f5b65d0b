"""Sessions in memory: what is kept, for how long, and who leaves."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsio.model.errors import UsageValueError
from tlsio.session.memory_store import MemorySessionStore
from tlsio.session.store import SessionStore

if TYPE_CHECKING:
    from conftest import Clock

ID, OTHER = b"i" * 32, b"o" * 32


def test_gives_what_was_put(clock: Clock) -> None:
    """And a second time the newer."""
    store: SessionStore = MemorySessionStore(clock=clock)
    store.put(ID, b"first", 10.0)
    store.put(ID, b"second", 10.0)
    assert store.get(ID) == b"second"
    assert store.get(OTHER) is None
    assert isinstance(store, SessionStore)


def test_forgets_what_is_deleted(clock: Clock) -> None:
    """One that is not there is fine."""
    store = MemorySessionStore(clock=clock)
    store.put(ID, b"data", 10.0)
    store.delete(ID)
    store.delete(ID)
    assert store.get(ID) is None
    assert store.stats().bytes == 0


@pytest.mark.parametrize(("passed", "expected"), [(9.999, b"data"), (10.0, None)])
def test_entry_ends_with_its_time(clock: Clock, passed: float, expected: bytes | None) -> None:
    """To the moment."""
    store = MemorySessionStore(clock=clock)
    store.put(ID, b"data", 10.0)
    clock.now += passed
    assert store.get(ID) == expected
    assert store.stats().entries == (expected is not None)


@pytest.mark.parametrize("ttl", [0.0, -1.0])
def test_entry_without_time_is_dropped(clock: Clock, ttl: float) -> None:
    """And what was there before is gone too."""
    store = MemorySessionStore(clock=clock)
    store.put(ID, b"data", 10.0)
    store.put(ID, b"data", ttl)
    assert store.get(ID) is None
    assert store.stats().dropped == 1


def test_least_recently_used_leaves_first(clock: Clock) -> None:
    """Being looked up is being used; as many as allowed stay."""
    store = MemorySessionStore(max_entries=2, clock=clock)
    for name in (b"a", b"b"):
        store.put(name, name, 10.0)
    assert (store.get(b"b"), store.get(b"a")) == (b"b", b"a")
    store.put(b"c", b"c", 10.0)
    assert [store.get(name) for name in (b"a", b"b", b"c")] == [b"a", None, b"c"]
    assert store.stats().evicted == 1


@pytest.mark.parametrize(("spare", "stays"), [(0, True), (-1, False)])
def test_memory_is_bounded(clock: Clock, spare: int, stays: bool) -> None:  # noqa: FBT001
    """Two entries fit to the byte; a byte less and the older leaves."""
    one = MemorySessionStore(clock=clock)
    one.put(ID, bytes(100), 10.0)
    store = MemorySessionStore(max_bytes=2 * one.stats().bytes + spare, clock=clock)
    store.put(ID, bytes(100), 10.0)
    store.put(OTHER, bytes(100), 10.0)
    assert (store.get(ID) is not None) is stays
    assert store.get(OTHER) is not None


def test_entry_larger_than_all_memory_is_dropped(clock: Clock) -> None:
    """It does not drive out the others."""
    store = MemorySessionStore(max_bytes=1000, clock=clock)
    store.put(ID, b"data", 10.0)
    store.put(OTHER, bytes(1000), 10.0)
    assert (store.get(ID), store.get(OTHER)) == (b"data", None)
    assert store.stats().dropped == 1


def test_expired_entries_make_room(clock: Clock) -> None:
    """Without anybody asking for them."""
    store = MemorySessionStore(clock=clock)
    for number in range(10):
        store.put(bytes([number]), b"data", 1.0)
    clock.now += 1.0
    for number in range(5):
        store.put(bytes([100 + number]), b"data", 1.0)
    assert store.stats().entries == 5
    assert store.stats().evicted == 0


def test_counts(clock: Clock) -> None:
    """What it did."""
    store = MemorySessionStore(clock=clock)
    store.put(ID, b"data", 10.0)
    store.get(ID)
    store.get(OTHER)
    stats = store.stats()
    assert (stats.hits, stats.misses, stats.puts, stats.entries, stats.errors) == (1, 1, 1, 1, 0)


@pytest.mark.parametrize("limit", ["max_entries", "max_bytes"])
def test_limit_of_zero_raises(limit: str) -> None:
    """None is no limit; 0 might be meant as either extreme."""
    with pytest.raises(UsageValueError) as caught:
        MemorySessionStore(**{limit: 0})
    assert caught.value.code == "ERR_OUT_OF_RANGE"
    MemorySessionStore(**{limit: None})


def test_shows_no_secret() -> None:
    """Neither id nor data."""
    store = MemorySessionStore()
    store.put(b"the id", b"the data", 10.0)
    assert repr(store) == "<MemorySessionStore entries=1>"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(b"abcdef"), st.binary(max_size=40), st.sampled_from([1.0, 5.0])),
        st.tuples(st.sampled_from(["get", "delete"]), st.sampled_from(b"abcdef")),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 2.0])),
    ),
    max_size=60,
)


@settings(max_examples=25)
@given(STEPS)
def test_behaves_as_its_description(steps: list[tuple]) -> None:
    """Three at most, the least recently used leaves; never anything expired or foreign; bytes are counted right."""
    now = 0.0
    store, model = MemorySessionStore(max_entries=3, clock=lambda: now), OrderedDict[int, tuple[bytes, float]]()
    for what, *rest in steps:
        if what == "wait":
            now += rest[0]
            continue
        name = rest[0]
        if what == "put":
            model.pop(name, None)
            store.put(bytes([name]), rest[1], rest[2])
            while model and next(iter(model.values()))[1] <= now:
                model.popitem(last=False)
            if len(model) == 3:
                model.popitem(last=False)
            model[name] = (rest[1], now + rest[2])
        elif what == "delete":
            model.pop(name, None)
            store.delete(bytes([name]))
        else:
            data, end = model.get(name, (None, 0.0))
            assert store.get(bytes([name])) == (data if end > now else None)
            if end > now:
                model.move_to_end(name)
            else:
                model.pop(name, None)
    assert store.stats().entries <= 3
    for name in b"abcdef":
        store.delete(bytes([name]))
    assert (store.stats().entries, store.stats().bytes) == (0, 0)
