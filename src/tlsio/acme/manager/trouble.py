"""The failures of one name, as all processes see them: `status/<name>.json`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from tlsio.acme.manager.backoff import MAX_RETRY_AFTER
from tlsio.acme.manager.facts import parse_json, print_json, read_instant, read_number, write_instant
from tlsio.acme.manager.mistakes import MISTAKES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = ["NO_TROUBLE", "Trouble"]

_HOUR = timedelta(hours=1)
_KEPT = 10  # times of failures; more than any authority allows in an hour
_MAX_FAILURES = 1_000_000
_MAX_TEXT = 2000  # characters of a message
# A little more than what is ever written: a later time comes from a clock that was wrong. So does
# a note of the future, but for what the clocks of nodes differ.
_LATEST, _SKEW = MAX_RETRY_AFTER + timedelta(days=1), timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Failures without a success in between.

    It is written before each order, as if the order had failed: so a process that dies in an order,
    again and again, waits as long as one whose orders fail.

    Attributes:
        failures: Their number.
        failed_at: The times of the last ones.
        next_try: No order before.
        code: The code of the last error.
        message: Its message.
        hint: What to do about it; None: nothing is known.
        noted_at: When this was found.
    """

    failures: int = 0
    failed_at: tuple[datetime, ...] = ()
    next_try: datetime | None = None
    code: str | None = None
    message: str | None = None
    hint: str | None = None
    noted_at: datetime | None = None

    @classmethod
    def read(cls, data: bytes | None, now: datetime) -> Trouble:
        """Read what `write` has written; what cannot be read is no trouble."""
        found = parse_json(data)
        times = found.get("failed_at")
        next_try, noted_at = read_instant(found.get("next_try")), read_instant(found.get("noted_at"))
        if noted_at is None or noted_at > now + _SKEW or (next_try is not None and next_try > now + _LATEST):
            next_try = None
        code = found.get("code")
        return cls(
            read_number(found.get("failures"), _MAX_FAILURES),
            tuple(
                time for one in (times if isinstance(times, list) else ())[-_KEPT:] if (time := read_instant(one)) and time <= now + _SKEW
            ),
            next_try,
            code if isinstance(code, str) else None,
            _read_text(found.get("message")),
            _read_text(found.get("hint")),
            noted_at,
        )

    def write(self, names: Sequence[str]) -> bytes:
        """Return it as a person can read it."""
        return print_json(
            {
                "names": list(names),
                "noted_at": write_instant(self.noted_at),
                "failures": self.failures,
                "failed_at": [write_instant(time) for time in self.failed_at],
                "next_try": write_instant(self.next_try),
                "code": self.code,
                "message": self.message,
                "hint": self.hint,
            }
        )

    def add(self, now: datetime, wait: timedelta, most_in_an_hour: int, code: str, message: str, hint: str | None = None) -> Trouble:
        """Return the trouble after one more failure.

        Args:
            now: When it failed.
            wait: How long to wait.
            most_in_an_hour: How many orders of a name may fail in an hour: the next one waits until
                it is the first of the next hour.
            code: Of the error.
            message: Of the error.
            hint: Of the error.
        """
        times = (*self.failed_at, now)[-_KEPT:]
        next_try = now + wait
        if len(times) >= most_in_an_hour:
            next_try = max(next_try, times[-most_in_an_hour] + _HOUR)
        return Trouble(min(self.failures + 1, _MAX_FAILURES), times, next_try, code, _read_text(message), _read_text(hint), now)

    @property
    def needs_action(self) -> bool:
        """Whether trying again does not end it: settings must change, or a person must act."""
        return self.code in MISTAKES

    def count_recent(self, now: datetime) -> int:
        """Return how many orders have failed within the last hour."""
        return sum(now - _HOUR < time for time in self.failed_at)


def _read_text(value: object) -> str | None:
    return value[:_MAX_TEXT] if isinstance(value, str) else None


NO_TROUBLE = Trouble()
