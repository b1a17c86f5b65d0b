"""A Redis for the tests of this folder, and a clock that a test moves."""

from __future__ import annotations

import pytest

from running_redis import one_redis, redis_server

__all__ = ["clock", "one_redis", "redis_server"]


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()
