"""Sessions of clients: whose, how often, how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tlsio.model.errors import UsageTypeError, UsageValueError
from tlsio.session.client_cache import ClientSessionCache

if TYPE_CHECKING:
    from conftest import Clock

KEY, OTHER = ("localhost", b"trust"), ("localhost", b"other trust")


def put(cache: ClientSessionCache, *tickets: bytes, key: object = KEY, single_use: bool = True, expires: float = 2000.0) -> None:
    """Keep some sessions."""
    for ticket in tickets:
        cache.put(key, ticket, single_use=single_use, expires=expires)


def test_session_of_tls_13_is_given_once(clock: Clock) -> None:
    """The newest first."""
    cache = ClientSessionCache(clock=clock)
    put(cache, b"1", b"2")
    assert [cache.take(KEY) for _ in range(3)] == [b"2", b"1", None]


def test_session_of_tls_12_is_given_again_and_again(clock: Clock) -> None:
    """Only the newest counts."""
    cache = ClientSessionCache(clock=clock)
    put(cache, b"1", b"2", single_use=False)
    assert [cache.take(KEY) for _ in range(2)] == [b"2", b"2"]


def test_sessions_never_come_under_another_key(clock: Clock) -> None:
    """The key is all that decides trust."""
    cache = ClientSessionCache(clock=clock)
    put(cache, b"1")
    assert cache.take(OTHER) is None
    assert cache.take(KEY) == b"1"


def test_four_tickets_are_kept(clock: Clock) -> None:
    """The fifth drives out the oldest."""
    cache = ClientSessionCache(clock=clock)
    put(cache, b"1", b"2", b"3", b"4", b"5")
    assert [cache.take(KEY) for _ in range(5)] == [b"5", b"4", b"3", b"2", None]


@pytest.mark.parametrize(("now", "expected"), [(1999.0, b"1"), (2000.0, None)])
def test_session_ends_with_its_time(clock: Clock, now: float, expected: bytes | None) -> None:
    """To the moment."""
    cache = ClientSessionCache(clock=clock)
    put(cache, b"1")
    clock.now = now
    assert cache.take(KEY) == expected
    assert len(cache) == 0


def test_expired_ticket_does_not_hide_an_older_one(clock: Clock) -> None:
    """A server may give a shorter life to its next."""
    cache = ClientSessionCache(clock=clock)
    put(cache, b"1", expires=2000.0)
    put(cache, b"2", expires=1500.0)
    clock.now = 1600.0
    assert cache.take(KEY) == b"1"


@pytest.mark.parametrize("single_use", [True, False])
def test_other_version_drives_out_the_sessions_of_the_one_before(clock: Clock, single_use: bool) -> None:  # noqa: FBT001
    """The server was upgraded, or downgraded."""
    cache = ClientSessionCache(clock=clock)
    put(cache, b"old", single_use=not single_use)
    put(cache, b"new", single_use=single_use)
    assert cache.take(KEY) == b"new"
    assert cache.take(KEY) == (None if single_use else b"new")


def test_least_recently_used_server_leaves_first(clock: Clock) -> None:
    """As many as allowed stay."""
    cache = ClientSessionCache(max_entries=2, clock=clock)
    put(cache, b"a", key="a", single_use=False)
    put(cache, b"b", key="b", single_use=False)
    cache.take("a")
    assert len(cache) == 2
    put(cache, b"c", key="c", single_use=False)
    assert [cache.take(key) for key in "abc"] == [b"a", None, b"c"]


@pytest.mark.parametrize(("limit", "error"), [(0, UsageValueError), (None, UsageTypeError)])
def test_limit_is_needed(limit: object, error: type[Exception]) -> None:
    """Nothing else would ever forget the servers."""
    with pytest.raises(error):
        ClientSessionCache(max_entries=limit)  # type: ignore[arg-type]


def test_shows_no_secret(clock: Clock) -> None:
    """Nor do the parts it is made of."""
    cache = ClientSessionCache(clock=clock)
    put(cache, b"the ticket")
    assert repr(cache) == "<ClientSessionCache entries=1>"
    assert "the ticket" not in repr(vars(cache))


def test_forgotten_server_has_no_session() -> None:
    """Nor has one that was never there."""
    cache = ClientSessionCache()
    cache.put("a", b"session", single_use=False, expires=1e12)
    cache.forget("a")
    cache.forget("b")
    assert cache.take("a") is None
    assert len(cache) == 0
