"""What every storage does: one suite for those in files, in Redis and in memory."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from seeds import new_seed
from storages import count
from tlsio.acme import MemoryStorage
from tlsio.acme.storage.storage import MAX_VALUE_BYTES
from tlsio.model.errors import StoreError, UsageError, UsageTypeError

if TYPE_CHECKING:
    from storages import Storages
    from tlsio.acme import Storage

WRONG_KEYS = {
    "empty": "",
    "absolute": "/a",
    "folder": "a/",
    "nothing between": "a//b",
    "parent": "../a",
    "parent inside": "a/../b",
    "hidden": "a/.b",
    "space": "a b",
    "wildcard": "*.example.com",
    "colon": "::1",
    "null": "a\0b",
    "line": "a\nb",
    "line at the end": "a\n",
    "other letters": "ä",
    "long segment": "a" * 256,
    "long": "/".join(["a" * 205] * 5),
    "not text": 7,
}


async def test_a_value_that_was_never_stored_is_none(storages: Storages) -> None:
    """Also in a place that does not exist yet."""
    async with storages.open() as storage:
        assert await storage.load("accounts/a/key.pem") is None
        assert await storage.list("") == []


@pytest.mark.parametrize("value", [b"", b"text", bytes(range(256)), b"\r\n\0"], ids=["empty", "text", "every byte", "line ends"])
async def test_a_stored_value_is_read_by_others_as_it_was(storages: Storages, value: bytes) -> None:
    """Byte by byte."""
    async with storages.open() as one, storages.open() as other:
        await one.store("certificates/a/b/certificate.pem", value)
        assert await other.load("certificates/a/b/certificate.pem") == value


async def test_a_value_replaces_the_one_before(storages: Storages) -> None:
    """A shorter one too."""
    async with storages.open() as storage:
        await storage.store("a", b"a long value")
        await storage.store("a", b"short")
        assert await storage.load("a") == b"short"


async def test_a_value_of_a_megabyte_is_kept(storages: Storages) -> None:
    """The limit."""
    async with storages.open() as storage:
        await storage.store("a", b"x" * MAX_VALUE_BYTES)
        assert await storage.load("a") == b"x" * MAX_VALUE_BYTES


async def test_a_longer_value_is_refused(storages: Storages) -> None:
    """One byte more than the limit."""
    async with storages.open() as storage:
        with pytest.raises(UsageError) as caught:
            await storage.store("a", b"x" * (MAX_VALUE_BYTES + 1))
        assert caught.value.code == "ERR_OUT_OF_RANGE"
        assert await storage.load("a") is None


async def test_a_deleted_value_is_gone(storages: Storages) -> None:
    """For all."""
    async with storages.open() as one, storages.open() as other:
        await one.store("a/b/c", b"1")
        await other.delete("a/b/c")
        assert await one.load("a/b/c") is None
        assert await one.list("") == []


async def test_deleting_nothing_is_fine(storages: Storages) -> None:
    """Two that tidy up do not disturb each other."""
    async with storages.open() as storage:
        await storage.delete("a/b/c")


async def test_a_list_has_the_keys_below_a_folder_sorted(storages: Storages) -> None:
    """Whole segments count: `ab` is not below `a`, nor is `a` itself."""
    async with storages.open() as storage:
        for key in ("a/2", "ab/1", "a/1/x", "a-b", "a/10", "b"):
            await storage.store(key, b"")
        assert await storage.list("a") == ["a/1/x", "a/10", "a/2"]
        assert await storage.list("a/1") == ["a/1/x"]
        assert await storage.list("c") == []
        assert await storage.list("") == ["a-b", "a/1/x", "a/10", "a/2", "ab/1", "b"]


@pytest.mark.slow
async def test_a_list_has_thousands_of_keys(storages: Storages) -> None:
    """More than one page of Redis."""
    async with storages.open() as storage:
        keys = sorted(f"status/{number}.example.json" for number in range(1300))
        for start in range(0, len(keys), 100):
            await asyncio.gather(*(storage.store(key, b"{}") for key in keys[start : start + 100]))
        assert await storage.list("status") == keys


@pytest.mark.parametrize("key", WRONG_KEYS.values(), ids=WRONG_KEYS)
async def test_what_is_not_a_key_is_refused_by_each_call(storages: Storages, key: str) -> None:
    """Before anything is touched."""
    async with storages.open() as storage:
        calls = [storage.load(key), storage.store(key, b""), storage.delete(key), storage.lock(key).__aenter__()]
        if key:
            calls.append(storage.list(key))
        for call in calls:
            with pytest.raises(UsageError):
                await call


async def test_a_value_that_is_not_bytes_is_refused(storages: Storages) -> None:
    """Text has no encoding of its own."""
    async with storages.open() as storage:
        with pytest.raises(UsageTypeError):
            await storage.store("a", "text")  # type: ignore[arg-type]


async def test_a_check_leaves_nothing(storages: Storages) -> None:
    """It can be done before each order."""
    async with storages.open() as storage:
        await storage.check()
        assert await storage.list("") == []


async def test_a_lock_has_one_holder(storages: Storages) -> None:
    """Others wait, also those of other nodes."""
    async with storages.open() as one, storages.open() as other:
        async with one.lock("a") as lock:
            assert lock.name == "a"
            assert lock.is_held
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1), other.lock("a"):
                    pass
        assert not lock.is_held
        async with asyncio.timeout(5), other.lock("a"):
            pass


async def test_locks_of_different_names_are_independent(storages: Storages) -> None:
    """Also where one name is the folder of another, or has the characters that stand for a slash."""
    async with storages.open() as storage, AsyncExitStack() as held, asyncio.timeout(5):
        for name in ("a", "a/b", "a-b", "a_b", "a" * 255, "b" * 255, "/".join(["a" * 200] * 5)):
            await held.enter_async_context(storage.lock(name))


async def test_an_error_releases_the_lock(storages: Storages) -> None:
    """And is not changed by it."""
    async with storages.open() as storage:
        with pytest.raises(ZeroDivisionError):
            async with storage.lock("a"):
                raise ZeroDivisionError
        async with asyncio.timeout(5), storage.lock("a"):
            pass


async def test_a_cancellation_releases_the_lock(storages: Storages) -> None:
    """At once, without the end of a lease."""
    async with storages.open() as storage:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), storage.lock("a"):
                await asyncio.sleep(60)
        async with asyncio.timeout(5), storage.lock("a"):
            pass


async def test_a_write_under_a_lock_is_done_while_it_is_held(storages: Storages) -> None:
    """And a deletion."""
    async with storages.open() as storage, storage.lock("a") as lock:
        await storage.store("a", b"1", lock=lock)
        assert await storage.load("a") == b"1"
        await storage.delete("a", lock=lock)
        assert await storage.load("a") is None


async def test_a_write_under_a_released_lock_is_refused(storages: Storages) -> None:
    """Even if no other process holds it."""
    async with storages.open() as storage:
        async with storage.lock("a") as lock:
            await storage.store("a", b"1", lock=lock)
        for call in (storage.store("a", b"2", lock=lock), storage.delete("a", lock=lock)):
            with pytest.raises(StoreError) as caught:
                await call
            assert caught.value.code == "ERR_ACME_LOCK_LOST"
        assert await storage.load("a") == b"1"


async def test_a_lock_of_another_kind_of_storage_is_refused(storages: Storages) -> None:
    """It proves nothing here."""

    class Other:
        name = "a"
        is_held = True

    async with storages.open() as storage:
        with pytest.raises(UsageTypeError):
            await storage.store("a", b"", lock=Other())
        with pytest.raises(UsageTypeError):
            await storage.delete("a", lock=Other())


@pytest.mark.slow
async def test_neighbours_that_come_and_go_do_not_disturb_each_other(storages: Storages) -> None:
    """Each value is the only one of its folder at times, so the folder comes and goes too."""

    async def come_and_go(storage: Storage, name: str) -> None:
        for _ in range(40):
            await storage.store(f"challenges/http-01/{name}", name.encode())
            assert await storage.load(f"challenges/http-01/{name}") == name.encode()
            await storage.delete(f"challenges/http-01/{name}")

    async with storages.open() as one, storages.open() as other:
        await asyncio.gather(*(come_and_go(node, f"{number}{name}") for name, node in (("a", one), ("b", other)) for number in range(3)))
        assert await one.list("") == []


@pytest.mark.slow
async def test_tasks_of_several_nodes_lose_no_count(storages: Storages) -> None:
    """Each adds to a number under a lock."""
    async with storages.open() as one, storages.open() as other:
        await asyncio.gather(*(count(node, 5) for node in (one, other) for _ in range(4)))
        assert await one.load("number") == b"40"


@pytest.mark.slow
async def test_waits_that_are_cancelled_at_any_time_leave_no_lock(storages: Storages) -> None:
    """Twenty tasks that want one lock, each ended at some time."""
    chance = random.Random(new_seed())  # noqa: S311 - for tests

    async def want() -> None:
        async with storage.lock("a"):
            await asyncio.sleep(0.001)

    async with storages.open() as storage:
        tasks = [asyncio.create_task(want()) for _ in range(20)]
        while tasks:
            await asyncio.sleep(chance.choice([0, 0.0002, 0.002]))
            tasks.pop(chance.randrange(len(tasks))).cancel()
        async with asyncio.timeout(5), storage.lock("a"):
            pass
        await asyncio.sleep(0.05)


def test_memory_is_not_shared() -> None:
    """Each object has its own."""

    async def look() -> None:
        one, other = MemoryStorage(), MemoryStorage()
        await one.store("a", b"secret")
        assert await other.load("a") is None
        assert "secret" not in repr(one)

    asyncio.run(look())
