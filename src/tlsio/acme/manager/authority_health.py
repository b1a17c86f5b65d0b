"""Whether an authority can be asked: one that is down is left alone, and tried by one name."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from tlsio.acme.manager.backoff import MAX_RETRY_AFTER, find_pause
from tlsio.acme.manager.mistakes import OF_ACCOUNT
from tlsio.model.errors import ACMEError, ConfigError, FetchError, TLSError

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from datetime import datetime

__all__ = ["AuthorityHealth", "is_of_authority", "retry_after_of", "was_issued"]

# One failure may be about a single order; the second in a row is about the authority.
_BEFORE_PAUSE = 2
_SERVER_ERROR = 500
_REST = timedelta(hours=1)  # after a failure that only other settings of the account end
_WAIT_FOR_TRIAL = timedelta(seconds=30)
# It has issued something else than was ordered. Such an order counts in its limits, so the name
# waits longer each time as well.
_WRONG = frozenset({"ERR_ACME_INVALID_CERTIFICATE", "ERR_ACME_WRONG_CERTIFICATE"})
# The authority's refusals that say nothing about the name. RFC 8555 §6.7.
_GENERAL_PROBLEMS = frozenset(
    {"serverInternal", "rateLimited", "badNonce", "accountDoesNotExist", "externalAccountRequired", "userActionRequired", "unauthorized"}
)
_UNUSABLE = frozenset({"ERR_ACME_INVALID_RESPONSE", "ERR_ACME_LOCK_TIMEOUT", "ERR_ACME_REDIRECT", "ERR_ACME_STATUS", "ERR_ACME_TIMEOUT"})


class AuthorityHealth:
    """The failures of one authority.

    Attributes:
        paused_until: No order before, of any name; None: orders are welcome.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._failures = 0
        self.paused_until: datetime | None = None
        self._is_tried = False

    def find_pause(self, now: datetime) -> datetime | None:
        """Return until when to leave it alone; None: an order may try."""
        return self.paused_until if self.paused_until is not None and now < self.paused_until else None

    @contextmanager
    def attempt(self, now: datetime) -> Iterator[datetime | None]:
        """Admit an order for a block: yields until when to leave it alone; None: one may be made.

        When a pause is over, one order tries, and the others wait for its result. Orders that began
        before the pause may end meanwhile; the trial goes on.
        """
        wait = self.find_wait(now)
        is_trial = wait is None and self.paused_until is not None
        self._is_tried |= is_trial
        try:
            yield wait
        finally:
            if is_trial:
                self._is_tried = False

    def find_wait(self, now: datetime) -> datetime | None:
        """Return until when `attempt` would not admit an order."""
        if self.paused_until is None:
            return None
        return self.find_pause(now) or (now + _WAIT_FOR_TRIAL if self._is_tried else None)

    def succeed(self) -> None:
        """Note that it has answered as it should, which ends a pause."""
        self._failures, self.paused_until = 0, None

    def fail(self, error: BaseException, now: datetime) -> None:
        """Note a failure. The refusal of a name is an answer, and ends a pause too."""
        if not was_issued(error) and not is_of_authority(error):
            if isinstance(error, ACMEError):
                self.succeed()
            return
        if self.find_pause(now) is not None:
            return  # an order that began before the pause
        self._failures += 1
        if self._failures >= _BEFORE_PAUSE:
            self.paused_until = now + find_pause(self._failures - 1, self._chance)
        if isinstance(error, TLSError) and error.code in OF_ACCOUNT:
            self.paused_until = now + _REST
        if (wait := retry_after_of(error)) is not None and not _is_limit(error):
            self.paused_until = max(self.paused_until or now, now + wait)


def is_of_authority(error: BaseException) -> bool:
    """Tell whether a failure would meet any name as well."""
    if isinstance(error, ACMEError):
        if error.code in OF_ACCOUNT:
            return True
        if error.status is not None and error.status >= _SERVER_ERROR:
            return True
        # "unauthorized" with subproblems, or about an identifier, is a failed validation.
        return error.code in _UNUSABLE or (error.problem in _GENERAL_PROBLEMS and error.identifier is None and not error.subproblems)
    return isinstance(error, ConfigError | FetchError | OSError)


def was_issued(error: BaseException) -> bool:
    """Tell whether there is a certificate, which counts in limits, although it cannot be used."""
    return isinstance(error, ACMEError) and error.code in _WRONG


def retry_after_of(error: BaseException) -> timedelta | None:
    """Return for how long the authority wants to be left alone."""
    seconds = error.retry_after if isinstance(error, ACMEError) else None
    return None if seconds is None or seconds <= 0 else min(timedelta(seconds=min(seconds, 1e9)), MAX_RETRY_AFTER)


def _is_limit(error: BaseException) -> bool:
    """Tell whether a limit was met, which may be one of this name: the name waits, not all."""
    return isinstance(error, ACMEError) and error.problem == "rateLimited"
