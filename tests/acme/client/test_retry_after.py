"""Retry-After as seconds and as dates, by the authority's clock."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tlsio.acme.client.retry_after import read_retry_after

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
WEEK = 7 * 86400.0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("604800", WEEK),
        ("604801", WEEK),
        ("9" * 60, WEEK),
        ("9" * 65, None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("", None),
        ("Mon, 30 Nov 2026 12:01:00 GMT", 60.0),
        ("Mon, 30 Nov 2026 11:00:00 GMT", 0.0),
        ("Mon, 30 Nov 2099 12:00:00 GMT", WEEK),
        ("Mon, 30 Feb 2026 12:00:00 GMT", None),
        ("Mon, 30 Nov 2026 12:01:00 -0000", 60.0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
    ],
)
def test_seconds_and_dates_are_read(value: str | None, expected: float | None) -> None:
    """What cannot be read counts as nothing; nothing is longer than a week."""
    assert read_retry_after(value, None, NOW) == expected


def test_a_date_is_meant_by_the_clock_that_the_authority_shows() -> None:
    """Ours is two hours fast here."""
    value, date = "Mon, 30 Nov 2026 10:05:00 GMT", "Mon, 30 Nov 2026 10:00:00 GMT"
    assert read_retry_after(value, date, NOW) == 300.0
    assert read_retry_after(value, "nonsense", NOW) == 0.0
