"""Fleets of real processes: one that is suspended in an order, a Redis that restarts under them, two that share one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from redis_server import SECRET, RedisServer
from tlsio import certs
from tlsio.acme import FileStorage, RedisStorage
from tlsio.acme.manager.certificate import Certificate
from tlsio.acme.manager.facts import parse_json

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

    from tlsio.acme import Storage

pytestmark = [pytest.mark.slow, pytest.mark.only_loop("asyncio")]  # it is the nodes that are tested
NODE = Path(__file__).parents[2] / "support" / "manager_node.py"
PLACE = "certificates/local/n0.example/certificate"
LEASE = "1"
PATIENCE = 40.0  # seconds; a storage that failed is tried again after a minute at the latest


class Fleet:
    """Nodes that share an authority."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        certs.Authority.create("fleet").write(cert=folder / "root.pem", key=folder / "root.key")

    @asynccontextmanager
    async def node(self, place: str, *, seconds: str, prefix: str = "tlsio:", orders: str = "orders") -> AsyncIterator[Process]:
        """Run a node."""
        words = [str(NODE), place, str(self._folder), str(self._folder / orders), "1", seconds, LEASE, prefix]
        process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=-1, stderr=-1)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def wait_for_order(self, orders: str = "orders") -> None:
        """Wait until one was begun."""
        while not self.count(orders):  # noqa: ASYNC110 - written by another process
            await asyncio.sleep(0.02)

    def count(self, orders: str = "orders") -> int:
        """Return how many orders were begun."""
        path = self._folder / orders
        return path.read_text().count("\n") if path.exists() else 0


async def fingerprint_of(process: Process) -> str:
    """Return the certificate that a node has when it has stored one."""
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode().strip()


async def stored(storage: Storage) -> str:
    """Return the certificate that the storage has; its facts are about the same one."""
    value, facts = await storage.load(f"{PLACE}.pem"), parse_json(await storage.load(f"{PLACE}.json"))
    found = Certificate.read(value or b"", "local").fingerprint
    assert facts["fingerprint"] == found
    return found


async def test_a_node_that_is_suspended_in_its_order_loses_the_lock_of_redis(tmp_path: Path) -> None:
    """The next one orders and stores; when the first goes on, it may not write under its old lock."""
    fleet = Fleet(tmp_path)
    with RedisServer() as redis:
        async with fleet.node(redis.url, seconds="3") as first:
            await fleet.wait_for_order()
            os.kill(first.pid, signal.SIGSTOP)
            redis.run("DEL", "tlsio:{acme}:status/n0.example.json")  # else the next one waits for a minute, as after a failure
            async with fleet.node(redis.url, seconds="0.1") as second:
                theirs = await fingerprint_of(second)
            async with RedisStorage(redis.url, secret=SECRET) as storage:
                assert await stored(storage) == theirs
                os.kill(first.pid, signal.SIGCONT)
                kept = await fingerprint_of(first)
                assert await stored(storage) == kept
        assert fleet.count() == 2


async def test_a_node_that_is_suspended_in_its_order_keeps_the_lock_of_files(tmp_path: Path) -> None:
    """The kernel keeps it, so the next one waits, finds what the first has stored, and orders nothing."""
    fleet, place = Fleet(tmp_path), str(tmp_path / "storage")
    async with fleet.node(place, seconds="3") as first:
        await fleet.wait_for_order()
        os.kill(first.pid, signal.SIGSTOP)
        async with fleet.node(place, seconds="0.1") as second:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(second.wait(), 3)
            os.kill(first.pid, signal.SIGCONT)
            assert await fingerprint_of(first) == await fingerprint_of(second) == await stored(FileStorage(place))
    assert fleet.count() == 1


async def test_a_redis_that_restarts_during_an_order_loses_no_certificate(tmp_path: Path) -> None:
    """It has forgotten the lock and all values: the node takes the lock again, and stores what it has obtained."""
    fleet = Fleet(tmp_path)
    with RedisServer() as redis:
        async with fleet.node(redis.url, seconds="2") as node:
            await fleet.wait_for_order()
            await asyncio.to_thread(redis.restart)
            obtained = await asyncio.wait_for(fingerprint_of(node), 120)
            async with RedisStorage(redis.url, secret=SECRET) as storage:
                assert await stored(storage) == obtained
        assert fleet.count() == 1


async def test_two_fleets_share_one_redis_by_their_prefixes(tmp_path: Path) -> None:
    """Neither sees the values or waits for the locks of the other, also if one prefix begins with the other."""
    fleet = Fleet(tmp_path)
    with RedisServer() as redis:
        async with fleet.node(redis.url, seconds="3", prefix="a:", orders="of a") as slow:
            await fleet.wait_for_order("of a")
            async with fleet.node(redis.url, seconds="0.1", prefix="a:b:", orders="of b") as quick:
                other = await fingerprint_of(quick)
            own = await fingerprint_of(slow)
        for prefix, found in (("a:", own), ("a:b:", other)):
            async with RedisStorage(redis.url, secret=SECRET, prefix=prefix) as storage:
                assert await stored(storage) == found
                assert all(key.split("/")[0] in {"certificates", "status", "accounts"} for key in await storage.list(""))
        assert own != other
        assert (fleet.count("of a"), fleet.count("of b")) == (1, 1)
