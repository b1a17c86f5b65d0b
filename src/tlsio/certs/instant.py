"""The instant for which something is judged: an argument, or now."""

from __future__ import annotations

from datetime import UTC, datetime

from tlsio.model.checks import wrong_type

__all__ = ["check_instant"]


def check_instant(label: str, value: object) -> datetime:
    """Accept an aware datetime; None is now. A naive one could mean any time zone."""
    if value is None:
        return datetime.now(UTC)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise wrong_type(label, "an aware datetime", value, hint="Give it a time zone, such as datetime.UTC.")
    return value
