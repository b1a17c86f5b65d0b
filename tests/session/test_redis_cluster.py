"""Stores and ticket keys over a Redis that is a cluster itself: each command has to reach the right one of its nodes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import redis.asyncio

from ports import own_port
from redis_server import SECRET, RedisServer
from tlsio.session.redis_store import RedisSessionStore
from tlsio.session.redis_ticket_keys import RedisTicketKeys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def cluster() -> AsyncIterator[redis.asyncio.RedisCluster]:
    """Make a cluster of one, with all of the slots, and a client of it."""
    with own_port() as bus, RedisServer("--cluster-enabled", "yes", "--cluster-port", str(bus)) as server:
        server.run("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while b"cluster_state:ok" not in server.run("CLUSTER", "INFO"):  # noqa: ASYNC110 - it tells nobody; this takes it 2 s
            await asyncio.sleep(0.05)
        async with redis.asyncio.RedisCluster.from_url(server.url) as client:
            yield client


@pytest.mark.slow
async def test_works() -> None:
    """Sessions lie anywhere; the plan of the keys beside its lock."""
    async with cluster() as client:
        async with RedisSessionStore(client, secret=SECRET, timeout=5.0) as store:
            names = [bytes([number]) for number in range(50)]
            await asyncio.gather(*(store.put(name, b"data " + name, 60.0) for name in names))
            assert await asyncio.gather(*map(store.get, names)) == [b"data " + name for name in names]
            await store.delete(names[0])
            assert await store.get(names[0]) is None
        one, other = (RedisTicketKeys(client, secret=SECRET, timeout=5.0) for _ in range(2))
        async with one, other:
            await one.refresh()
            await other.refresh()
            now = one.clock()
            assert one.snapshot(now).keys == other.snapshot(now).keys
            assert len(one.snapshot(now).keys) == 2
