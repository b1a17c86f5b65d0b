"""A Redis for the tests of this folder, and a clock that a test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@pytest.fixture(scope="session")
def _running_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_server(_running_redis: RedisServer) -> RedisServer:
    """A running Redis, empty; tests that stop it start one of their own."""
    _running_redis.run("FLUSHALL")
    return _running_redis
