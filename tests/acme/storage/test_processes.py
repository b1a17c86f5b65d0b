"""Locks between real processes: those that compete, one that is killed, and one that is suspended."""

from __future__ import annotations

import asyncio
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from storages import LEASE

if TYPE_CHECKING:
    from storages import Storages


@pytest.mark.slow
async def test_processes_that_compete_lose_no_count(shared: Storages) -> None:
    """Four of them add to one number, 25 times each."""
    with ExitStack() as stack:
        processes = [stack.enter_context(shared.process("count", "25")) for _ in range(4)]
        for process in processes:
            assert await process.line() == "None"
    async with shared.open() as storage:
        assert await storage.load("number") == b"100"


@pytest.mark.slow
async def test_the_lock_of_a_killed_process_becomes_free(shared: Storages) -> None:
    """SIGKILL leaves it no time to release anything."""
    async with shared.open() as storage:
        with shared.process("hold") as holder:
            assert await holder.line() == "held"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2), storage.lock("name"):
                    pass
            holder.process.kill()
            async with asyncio.timeout(10), storage.lock("name") as lock:
                await storage.store("value", b"by the next", lock=lock)


@pytest.mark.slow
async def test_a_suspended_holder_does_not_overwrite_what_the_next_has_written(shared: Storages) -> None:
    """In files it still holds the lock when it goes on; in Redis its lease has ended, and its write is refused."""
    async with shared.open(LEASE) as storage:
        with shared.process("hold") as holder:
            assert await holder.line() == "held"
            holder.process.send_signal(signal.SIGSTOP)
            try:
                async with asyncio.timeout(LEASE if shared.kind == "file" else 20 * LEASE), storage.lock("name") as lock:
                    await storage.store("value", b"by the next", lock=lock)
            except TimeoutError:
                assert shared.kind == "file"
            holder.go().process.send_signal(signal.SIGCONT)
            assert await holder.line() == ("stored" if shared.kind == "file" else "ERR_ACME_LOCK_LOST")
        assert await storage.load("value") == (b"by the holder" if shared.kind == "file" else b"by the next")


@pytest.mark.slow
async def test_a_lease_is_renewed_while_the_lock_is_held(shared: Storages) -> None:
    """For longer than it lasts. A longer one than elsewhere: a busy machine may be late."""
    async with shared.open(2 * LEASE) as one, shared.open(2 * LEASE) as other, one.lock("name") as lock:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5 * LEASE), other.lock("name"):
                pass
        await one.store("value", b"1", lock=lock)


@pytest.mark.slow
async def test_a_process_killed_while_it_writes_leaves_a_whole_value(shared: Storages) -> None:
    """At whatever moment; the next write removes what is left when it is old."""
    async with shared.open() as storage:
        for milliseconds in (1, 3, 7, 15, 30):
            with shared.process("write") as writer:
                assert await writer.line() == "writing"
                await asyncio.sleep(milliseconds / 1000)
                writer.process.kill()
            value = await storage.load("value") or b"a"
            assert value == value[:1] * ((value[0] - ord("a")) * 10_000 + 1)
        await storage.store("value", b"a")
        assert await storage.list("") == ["value"]
