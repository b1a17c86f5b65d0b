"""When a certificate is renewed: the rules, as pure functions of times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import random
    from datetime import datetime

__all__ = ["CHECK_INTERVAL", "Life", "Reason", "Renewal", "choose_in_window", "choose_time", "find_renewal"]

Reason = Literal["missing", "revoked", "suggested", "time", "emergency", "expired", "not_yet_valid", "names", "asked"]

# Seconds after which the manager looks at everything again, whatever its timers say: the clock of
# the machine may have been set, or the machine may have slept. As in certmagic.
CHECK_INTERVAL = 600.0
# Let's Encrypt's advice: at a third of the life left, at half of it if the life is shorter than ten
# days.
_SHARE, _SHORT_SHARE, _SHORT_LIFE = 1 / 3, 1 / 2, timedelta(days=10)
# The random part: names that were obtained together are not renewed together.
_SPREAD = 0.05
# certmagic's emergency: less than a twentieth of the life, or five intervals, are left. Lives of
# hours and less would be nothing but emergency, and get a sixth of the life instead of the
# intervals.
_EMERGENCY_SHARE, _EMERGENCY_INTERVALS, _SHORTEST_SHARE = 1 / 20, 5, 1 / 6
# After a renewal, a suggestion of the authority is not followed before this part of the life, or
# this time, has passed: an authority that suggests the past for ever would get order after order,
# which its own limits do not count.
_REST_SHARE, _LONGEST_REST = 1 / 20, timedelta(hours=12)
# The same for a CRL: a wrong one must not be an endless loop.
_REVOKED_REST = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Life:
    """The life of a certificate.

    Attributes:
        begin: When it was obtained, or its notBefore if that is not known. Authorities date back,
            by an hour mostly, which would be all of the life of short ones.
        end: Its notAfter.
    """

    begin: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        """Its length; not negative."""
        return max(self.end - self.begin, timedelta())

    @property
    def emergency(self) -> datetime:
        """From when on nothing but a new certificate matters."""
        length = self.length
        intervals = timedelta(seconds=CHECK_INTERVAL * _EMERGENCY_INTERVALS)
        return self.end - max(length * _EMERGENCY_SHARE, min(intervals, length * _SHORTEST_SHARE))


class Renewal(NamedTuple):
    """When a certificate has to be replaced, and why."""

    at: datetime
    reason: Reason


def choose_time(life: Life, chance: random.Random) -> datetime:
    """Choose the time to renew without a suggestion of the authority: once for each certificate."""
    share = _SHORT_SHARE if life.length < _SHORT_LIFE else _SHARE
    return life.end - life.length * share - life.length * (_SPREAD * chance.random())


def choose_in_window(start: datetime, end: datetime, chance: random.Random) -> datetime:
    """Choose the time to renew in a suggested window: once for each window.

    RFC 9773 §4.2: "Select a uniform random time within the suggested window."
    """
    return start + (end - start) * chance.random()


def find_renewal(life: Life, *, chosen: datetime, is_suggested: bool, is_revoked: bool) -> Renewal:
    """Return when a certificate has to be replaced.

    Args:
        life: Its life.
        chosen: What `choose_in_window` or `choose_time` has returned for it.
        is_suggested: The first of these.
        is_revoked: Its authority has revoked it.
    """
    if is_revoked:
        return Renewal(min(life.begin + min(_REVOKED_REST, life.length * _REST_SHARE), life.emergency), "revoked")
    if is_suggested:
        chosen = max(chosen, life.begin + min(life.length * _REST_SHARE, _LONGEST_REST))
    if chosen >= life.emergency:
        return Renewal(life.emergency, "emergency")
    return Renewal(chosen, "suggested" if is_suggested else "time")
