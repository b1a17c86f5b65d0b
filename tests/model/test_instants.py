"""Dates in messages."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import tlsio
from tlsio.model.instants import print_instant

SOURCES = sorted(Path(tlsio.__file__).parent.rglob("*.py"))


def test_instants_are_in_utc() -> None:
    """Whatever zone they come in."""
    assert print_instant(datetime(2026, 11, 29, 22, 0, 5, tzinfo=timezone(timedelta(hours=1)))) == "2026-11-29 21:00 UTC"
    assert print_instant(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02 00:00 UTC"
    assert print_instant(None) == "an unreadable time"


def test_messages_have_no_other_form() -> None:
    """Facts of `certs.inspect` have seconds; the others call the function."""
    found = [path.name for path in SOURCES for _ in re.findall(r":%Y-%m-%d", path.read_text(encoding="utf-8"))]
    assert sorted(found) == ["instants.py", "item.py"]
