"""The rules about when: pure functions, each limit on each side."""

from __future__ import annotations

import random
from contextlib import ExitStack
from datetime import timedelta

import pytest

import tlsio
from tlsio.acme.manager.authority_health import AuthorityHealth, is_of_authority, retry_after_of
from tlsio.acme.manager.backoff import MAX_RETRY_AFTER, find_pause, find_wait
from tlsio.acme.manager.renewal import Life, choose_in_window, choose_time, find_renewal
from tlsio.acme.manager.trouble import NO_TROUBLE, Trouble
from virtual_time import BEGIN

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


class Fixed(random.Random):
    """Chance that always has one value."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def random(self) -> float:
        """Return it."""
        return self.value


def life_of(length: timedelta) -> Life:
    """Return a life that begins now."""
    return Life(BEGIN, BEGIN + length)


@pytest.mark.parametrize(
    ("length", "left"),
    [
        (90 * DAY, 30 * DAY),
        (45 * DAY, 15 * DAY),
        (10 * DAY, 10 * DAY / 3),
        (10 * DAY - MINUTE, 5 * DAY - MINUTE / 2),
        (160 * HOUR, 80 * HOUR),
    ],
    ids=str,
)
def test_a_third_of_a_life_is_left_and_half_of_a_short_one(length: timedelta, left: timedelta) -> None:
    """At the latest; the random part is a twentieth of the life, and comes before."""
    life = life_of(length)
    assert life.end - choose_time(life, Fixed(0.0)) == left
    assert life.end - choose_time(life, Fixed(1.0)) == left + length / 20


@pytest.mark.parametrize(
    ("length", "left"),
    [(90 * DAY, 4.5 * DAY), (160 * HOUR, 8 * HOUR), (16 * HOUR, 50 * MINUTE), (5 * HOUR, 50 * MINUTE), (MINUTE, MINUTE / 6)],
    ids=str,
)
def test_emergency_is_a_twentieth_of_the_life_or_five_intervals(length: timedelta, left: timedelta) -> None:
    """Of lives of hours the intervals would be all: a sixth of the life instead."""
    assert life_of(length).end - life_of(length).emergency == left


def test_emergency_beats_a_late_suggestion() -> None:
    """Whatever the authority says, and also if it says nothing usable."""
    life = life_of(90 * DAY)
    late = find_renewal(life, chosen=life.end + DAY, is_suggested=True, is_revoked=False)
    assert late == (life.emergency, "emergency")
    early = find_renewal(life, chosen=life.emergency - MINUTE, is_suggested=True, is_revoked=False)
    assert early == (life.emergency - MINUTE, "suggested")


def test_suggestion_of_the_past_is_followed_after_a_rest() -> None:
    """An authority that always suggests the past does not get one order after the other."""
    life = life_of(90 * DAY)
    assert find_renewal(life, chosen=BEGIN - DAY, is_suggested=True, is_revoked=False) == (BEGIN + 12 * HOUR, "suggested")
    short = life_of(160 * HOUR)
    assert find_renewal(short, chosen=BEGIN - DAY, is_suggested=True, is_revoked=False).at == BEGIN + 8 * HOUR


def test_revoked_is_replaced_within_an_hour_of_its_begin() -> None:
    """At once, unless it has only just been obtained: a list may be wrong about all of them."""
    life = life_of(90 * DAY)
    assert find_renewal(life, chosen=life.end, is_suggested=False, is_revoked=True) == (BEGIN + HOUR, "revoked")


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_time_is_chosen_uniformly_within_the_window(value: float) -> None:
    """RFC 9773 §4.2."""
    assert choose_in_window(BEGIN, BEGIN + DAY, Fixed(value)) == BEGIN + DAY * value


def test_waits_grow_over_days_and_stay_at_six_hours() -> None:
    """As certmagic's; the random part adds a fifth at most."""
    waits = [find_wait(failures, None, Fixed(0.0)) / MINUTE for failures in range(1, 20)]
    assert waits[:6] == [1, 2, 2, 5, 10, 20]
    assert waits == sorted(waits)
    assert waits[13:] == [360] * 6
    assert find_wait(100, None, Fixed(1.0)) == 6 * HOUR * 1.2


@pytest.mark.parametrize(("left", "wait"), [(48 * HOUR, 6 * HOUR), (8 * HOUR, HOUR), (HOUR, 10 * MINUTE), (-DAY, 10 * MINUTE)], ids=str)
def test_waits_are_shorter_near_the_end(left: timedelta, wait: timedelta) -> None:
    """An eighth of what is left, ten minutes at least."""
    assert find_wait(100, left, Fixed(0.0)) == wait


def test_failures_of_an_hour_are_bounded() -> None:
    """The sixth order waits until the first failure is an hour ago."""
    trouble, now = NO_TROUBLE, BEGIN
    for count in range(1, 6):
        trouble = trouble.add(now, MINUTE, 5, "ERR", "no")
        assert trouble.failures == count
        assert trouble.next_try == (now + MINUTE if count < 5 else BEGIN + HOUR)
        now += MINUTE


def test_trouble_is_read_as_it_was_written() -> None:
    """Of other processes, and after a restart."""
    trouble = NO_TROUBLE.add(BEGIN, HOUR, 5, "ERR_X", "it failed").add(BEGIN + HOUR, HOUR, 5, "ERR_Y", "again")
    assert Trouble.read(trouble.write(["a.example"]), BEGIN + HOUR) == trouble


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"failures": "3", "failed_at": 7, "next_try": 5, "code": []}',
        b"[" * 100_000,
        b'{"failed_at": [1, {}]}',
    ],
    ids=lambda data: repr(data)[:30],
)
def test_broken_trouble_is_none(data: bytes | None) -> None:
    """A broken file never keeps a name from getting a certificate."""
    assert Trouble.read(data, BEGIN) == NO_TROUBLE


def test_time_of_a_clock_that_was_wrong_is_dropped() -> None:
    """Nothing waits for years."""
    then = BEGIN + DAY
    found = Trouble.read(NO_TROUBLE.add(then, HOUR, 5, "ERR", "no").write(["a.example"]), BEGIN)
    assert (found.failures, found.next_try, found.failed_at) == (1, None, ())


DOWN = tlsio.FetchError("no answer", code="ECONNREFUSED")


def test_authority_is_left_alone_after_two_failures_in_a_row() -> None:
    """One may be about a single order. The pauses grow to ten minutes."""
    health, now = AuthorityHealth(Fixed(0.0)), BEGIN
    health.fail(DOWN, now)
    assert health.find_pause(now) is None
    for minutes in (1, 2, 2, 5, 10, 10):
        health.fail(DOWN, now)
        assert health.find_pause(now) == now + minutes * MINUTE
        now += minutes * MINUTE
        assert health.find_pause(now) is None
    health.succeed()
    health.fail(DOWN, now)
    assert health.find_pause(now) is None


def test_one_order_tries_after_a_pause() -> None:
    """The others wait for its result."""
    health = AuthorityHealth(Fixed(0.0))
    health.fail(DOWN, BEGIN)
    health.fail(DOWN, BEGIN)
    now = BEGIN + MINUTE
    with health.attempt(BEGIN) as early:
        assert early == now
    with health.attempt(now) as first, health.attempt(now) as second:
        assert (first, second) == (None, now + MINUTE / 2)
    with health.attempt(now) as again:
        assert again is None
    health.succeed()
    with health.attempt(now) as first, health.attempt(now) as second:
        assert (first, second) == (None, None)


def test_order_that_ends_during_the_trial_admits_no_other() -> None:
    """It began before the pause."""
    health, now = AuthorityHealth(Fixed(0.0)), BEGIN + MINUTE
    with ExitStack() as old:
        assert old.enter_context(health.attempt(BEGIN)) is None
        health.fail(DOWN, BEGIN)
        health.fail(DOWN, BEGIN)
        with health.attempt(now) as trial:
            assert trial is None
            old.close()
            assert health.find_wait(now) == now + MINUTE / 2


def test_refusal_of_a_name_is_an_answer() -> None:
    """It says nothing about others, and ends a pause."""
    health = AuthorityHealth(Fixed(0.0))
    health.fail(DOWN, BEGIN)
    health.fail(DOWN, BEGIN)
    health.fail(tlsio.ACMEError(problem="dns", status=400, identifier="a.example"), BEGIN + MINUTE)
    assert health.find_pause(BEGIN + MINUTE) is None


def test_retry_after_of_a_server_error_is_obeyed_by_all() -> None:
    """Also with the first failure; that of a limit is about one name."""
    health = AuthorityHealth(Fixed(0.0))
    health.fail(tlsio.ACMEError(status=503, retry_after=7200.0), BEGIN)
    assert health.find_pause(BEGIN) == BEGIN + 2 * HOUR
    other = AuthorityHealth(Fixed(0.0))
    other.fail(tlsio.ACMEError(problem="rateLimited", status=429, retry_after=7200.0), BEGIN)
    assert other.find_pause(BEGIN) is None


@pytest.mark.parametrize(("seconds", "wait"), [(None, None), (0.0, None), (-5.0, None), (60.0, MINUTE), (1e300, MAX_RETRY_AFTER)], ids=str)
def test_retry_after_is_bounded(seconds: float | None, wait: timedelta | None) -> None:
    """A week at most."""
    assert retry_after_of(tlsio.ACMEError(retry_after=seconds)) == wait


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DOWN, True),
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (tlsio.ConfigError("no terms"), True),
        (tlsio.ACMEError(status=500), True),
        (tlsio.ACMEError(problem="rateLimited", status=429), True),
        (tlsio.ACMEError(code="ERR_ACME_INVALID_RESPONSE"), True),
        (tlsio.ACMEError(problem="unauthorized", status=403), True),
        (tlsio.ACMEError(problem="unauthorized", status=403, identifier="a.example"), False),
        (tlsio.ACMEError(problem="rejectedIdentifier", status=400), False),
        (tlsio.ACMEError(code="ERR_ACME_CHALLENGE_FAILED", problem="connection"), False),
        (ZeroDivisionError(), False),
    ],
    ids=repr,
)
def test_whose_failure_it_is(error: BaseException, expected: bool) -> None:  # noqa: FBT001
    """The authority's, which meets all names; or that of one name."""
    assert is_of_authority(error) is expected


@pytest.mark.parametrize("failures", range(1, 8))
def test_pause_has_a_random_part(failures: int) -> None:
    """A fifth at most, so that a fleet does not come back in one second."""
    assert find_pause(failures, Fixed(1.0)) == find_pause(failures, Fixed(0.0)) * 1.2
