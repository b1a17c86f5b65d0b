"""Fixtures: one Redis for a session of tests, empty for each of them. A conftest imports both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["one_redis", "redis_server"]


@pytest.fixture(scope="session")
def one_redis() -> Iterator[RedisServer]:
    """The server, with what the last test left."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_server(one_redis: RedisServer) -> RedisServer:
    """A running Redis, empty; tests that stop it start one of their own."""
    one_redis.run("FLUSHALL")
    return one_redis
