"""A storage over a Redis that is a cluster itself: what one script touches lies on one of its nodes."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio

from ports import own_port
from redis_server import SECRET, RedisServer
from tlsio.acme import RedisStorage


@pytest.mark.slow
async def test_works() -> None:
    """Values, lists and locks."""
    with own_port() as bus, RedisServer("--cluster-enabled", "yes", "--cluster-port", str(bus)) as server:
        server.run("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while b"cluster_state:ok" not in server.run("CLUSTER", "INFO"):  # noqa: ASYNC110 - it tells nobody; this takes it 2 s
            await asyncio.sleep(0.05)
        async with redis.asyncio.RedisCluster.from_url(server.url) as client, RedisStorage(client, secret=SECRET, timeout=5.0) as storage:
            await storage.check()
            async with storage.lock("name") as lock:
                for key in ("certificates/a", "challenges/http-01/b"):
                    await storage.store(key, b"value", lock=lock)
            assert await storage.list("") == ["certificates/a", "challenges/http-01/b"]
            assert await storage.load("certificates/a") == b"value"
            await storage.delete("certificates/a")
            assert await storage.list("certificates") == []
