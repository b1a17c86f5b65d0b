"""Plain data for JSON."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from tlsio import probe


@dataclass
class Thing:
    """One of each kind."""

    when: dt.datetime
    raw: bytes
    parts: tuple[int, ...]
    by_name: dict[int, float | None]
    hidden: object = field(default=None, metadata={"plain": False})


def test_each_kind_has_one_form() -> None:
    """Also inside of others; what is no data is left out."""
    one = Thing(dt.datetime(2026, 1, 2, tzinfo=dt.UTC), b"\x01\xff", (1, 2), {50: 1.5, 99: None}, hidden=object())
    expected = {"when": "2026-01-02T00:00:00+00:00", "raw": "01ff", "parts": [1, 2], "by_name": {"50": 1.5, "99": None}}
    assert probe.as_json(one) == expected
    assert probe.as_json([one, Thing]) == [expected, Thing]
