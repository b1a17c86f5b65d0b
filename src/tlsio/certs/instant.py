"""The instant for which something is judged: an argument, or now."""

from __future__ import annotations

from datetime import UTC, datetime

from tlsio.model.checks import out_of_range, wrong_type

__all__ = ["check_instant"]


def check_instant(label: str, value: object) -> datetime:
    """Return an aware datetime in UTC; None is now. A naive one could mean any time zone."""
    if value is None:
        return datetime.now(UTC)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise wrong_type(label, "an aware datetime", value, hint="Give it a time zone, such as datetime.UTC.")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise out_of_range(label, "from year 1 to 9999 in UTC", value) from None
