"""Random calls on storages, compared with a dictionary; a failure prints the seed, and `SEED=` runs it again."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from redis_server import RedisServer
from seeds import new_seed
from tlsio.acme import RedisStorage
from tlsio.model.errors import StoreError

if TYPE_CHECKING:
    from storages import Storages
    from tlsio.acme import Storage

FOLDERS = ["certificates/a", "certificates/b", "challenges/http-01", "status"]
KEYS = [f"{folder}/{name}" for folder in FOLDERS for name in ("one", "two", "three")]


@dataclass
class Model:
    """What each key may have: several values after a call that was cancelled, until the next one has ended."""

    values: dict[str, set[bytes | None]] = field(default_factory=lambda: {key: {None} for key in KEYS})

    def may_be(self, keys: list[str], folder: str) -> bool:
        """Tell whether a listing is right."""
        inside = {key for key in KEYS if key.startswith(f"{folder}/")}
        certain = {key for key in inside if None not in self.values[key]}
        possible = {key for key in inside if self.values[key] != {None}}
        return certain <= set(keys) <= possible and keys == sorted(keys)


async def act(chance: random.Random, storage: Storage, model: Model) -> str:
    """Do one thing, maybe under a lock or with a cancellation at some moment; returns what it was."""
    key, value, what = (
        chance.choice(KEYS),
        chance.randbytes(chance.choice([0, 3, 4000])),
        chance.choice(["store", "store", "delete", "load", "list"]),
    )
    if what == "load":
        assert await storage.load(key) in model.values[key]
        return f"load {key}"
    if what == "list":
        folder = chance.choice(FOLDERS)
        assert model.may_be(await storage.list(folder), folder)
        return f"list {folder}"
    after = value if what == "store" else None

    async def change() -> None:
        async with AsyncExitStack() as stack:
            lock = await stack.enter_async_context(storage.lock("a")) if chance.random() < 0.3 else None
            await (storage.store(key, value, lock=lock) if what == "store" else storage.delete(key, lock=lock))

    task = asyncio.create_task(change())
    for _ in range(chance.choice([0, 1, 2, 3, 5, 8, 1000])):
        if task.done():
            break
        await asyncio.sleep(0.0002 * chance.random())
    if not task.done() and chance.random() < 0.5:
        task.cancel()
    try:
        await task
        model.values[key] = {after}
    except asyncio.CancelledError:
        model.values[key].add(after)
        found = await storage.load(key)
        assert found in model.values[key]
        model.values[key] = {found}  # a call that was cancelled does nothing later
        return f"cancelled {what} {key}"
    return f"{what} {key}"


@pytest.mark.slow
async def test_random_calls_agree_with_a_dictionary(storages: Storages) -> None:
    """Over two nodes in turn, some under locks, some cancelled at any moment."""
    chance, model, done = random.Random(new_seed()), Model(), list[str]()  # noqa: S311 - for tests
    try:
        async with storages.open() as one, storages.open() as other:
            for _ in range(300):
                done.append(await act(chance, chance.choice([one, other]), model))
            async with asyncio.timeout(5), one.lock("a"):
                pass
            for key in KEYS:
                assert await other.load(key) in model.values[key]
    except BaseException:
        print(f"after {len(done)} calls: {done[-10:]}")  # noqa: T201
        raise


@pytest.mark.slow
async def test_a_count_under_a_lock_survives_a_redis_that_hangs_at_random() -> None:
    """Each step that succeeded counts once; one that failed once or not at all, however late Redis carries it out."""
    chance, tally = random.Random(new_seed()), {"done": 0, "unknown": 0}  # noqa: S311 - for tests

    async def add(storage: Storage) -> None:
        while not stopped.is_set():
            try:
                async with storage.lock("number") as lock:
                    number = int(await storage.load("number") or 0)
                    await storage.store("number", b"%d" % (number + 1), lock=lock)
                tally["done"] += 1
            except StoreError:
                tally["unknown"] += 1
                await asyncio.sleep(0.02)

    stopped = asyncio.Event()
    with RedisServer() as server:
        nodes = [RedisStorage(server.url, lease=1.0, timeout=0.15) for _ in range(3)]
        tasks = [asyncio.create_task(add(node)) for node in nodes]
        for _ in range(8):
            await asyncio.sleep(chance.random() * 0.4)
            server.freeze()
            await asyncio.sleep(chance.choice([0.05, 0.2, 0.5, 1.3]))
            server.thaw()
        stopped.set()
        await asyncio.gather(*tasks, *(node.aclose() for node in nodes))
        async with RedisStorage(server.url, timeout=5.0) as storage:
            number = int(await storage.load("number") or 0)
    assert tally["done"] > 0
    assert tally["done"] <= number <= tally["done"] + tally["unknown"], f"{number} of {tally}"
