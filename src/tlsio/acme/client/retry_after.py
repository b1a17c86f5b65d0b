"""How long an authority wants the client to wait (Retry-After, RFC 9110 §10.2.3)."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["read_retry_after"]

# Let's Encrypt's longest limits are of seven days. A number far above is a mistake.
_LONGEST = 7 * 86400.0
_MAX_TEXT = 64  # characters; a date has 29


def read_retry_after(value: str | None, date: str | None, now: datetime) -> float | None:
    """Return the seconds to wait, 0 to seven days; None if nothing readable is said.

    Args:
        value: Of Retry-After: seconds, or a date.
        date: Of Date: the authority's clock, by which its dates are meant; ours may be wrong.
        now: Our clock, used if the authority does not show its own.
    """
    if value is None or len(value) > _MAX_TEXT:
        return None
    if re.fullmatch(r"[0-9]+", text := value.strip()):
        return min(float(text), _LONGEST)
    moment = _read_date(text)
    if moment is None:
        return None
    return min(max((moment - (_read_date(date) or now)).total_seconds(), 0.0), _LONGEST)


def _read_date(value: str | None) -> datetime | None:
    if value is None or len(value) > _MAX_TEXT:
        return None
    try:
        moment = parsedate_to_datetime(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None
