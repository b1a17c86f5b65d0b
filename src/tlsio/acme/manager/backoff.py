"""How long to wait after failures: one name, and one authority."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

__all__ = ["MAX_RETRY_AFTER", "find_pause", "find_wait"]

# Minutes after the first, second ... failure of one name; the last one is repeated for ever. They
# grow as certmagic's do, from a minute to six hours.
_MINUTES = (1, 2, 2, 5, 10, 20, 20, 30, 30, 60, 60, 120, 180, 360)
# The nearer the end of the certificate in use, the more is at stake: at most an eighth of what is
# left, but not less than ten minutes.
_SHARE_OF_LEFT, _LEAST = 8, timedelta(minutes=10)
_JITTER = 0.2  # of the wait, added: names that failed together do not come back together
# Minutes for which an authority is left alone when it fails for whatever is asked.
_PAUSES = (1, 2, 2, 5, 10)
# An authority is believed for so long. Let's Encrypt's longest limits count seven days.
MAX_RETRY_AFTER = timedelta(days=7)


def find_wait(failures: int, left: timedelta | None, chance: random.Random) -> timedelta:
    """Return how long a name waits.

    Args:
        failures: Failures without a success in between, at least 1.
        left: What is left of the life of its certificate; None: it has none.
        chance: The source of the random part.
    """
    wait = timedelta(minutes=_MINUTES[min(failures, len(_MINUTES)) - 1])
    if left is not None:
        wait = min(wait, max(left / _SHARE_OF_LEFT, _LEAST))
    return wait * (1 + _JITTER * chance.random())


def find_pause(failures: int, chance: random.Random) -> timedelta:
    """Return how long an authority is left alone after that many failures in a row."""
    pause = timedelta(minutes=_PAUSES[min(failures, len(_PAUSES)) - 1])
    return pause * (1 + _JITTER * chance.random())
