"""Answers from the storage: always fresh, and at most one listing a second, whoever asks."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from tlsio.acme import MemoryStorage
from tlsio.acme.solvers.shared_answers import SharedAnswers
from tlsio.model.errors import StoreError

if TYPE_CHECKING:
    import builtins


class CountingStorage(MemoryStorage):
    """Counts what is read, and can fail or wait."""

    def __init__(self) -> None:
        super().__init__()
        self.lists = 0
        self.loads: builtins.list[str] = []
        self.fails = False
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def list(self, prefix: str) -> list[str]:
        """Count, wait, and fail if told."""
        self.lists += 1
        found = await super().list(prefix)
        await self.goes_on.wait()
        if self.fails:
            raise StoreError("The disk is gone")
        return found

    async def load(self, key: str) -> bytes | None:
        """Note the key."""
        self.loads.append(key)
        return await super().load(key)


class World:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def clock(self) -> float:
        """Return the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.slept.append(seconds)
        await asyncio.sleep(0)
        self.now += seconds


async def test_an_answer_of_another_process_is_found() -> None:
    """The value that it has stored."""
    storage, world = CountingStorage(), World()
    await storage.store("folder/a", b"1")
    answers = SharedAnswers(storage, "folder", clock=world.clock, sleep=world.sleep)
    assert await answers.find("a") == b"1"
    assert await answers.find("b") is None


async def test_many_who_ask_at_once_cause_one_listing() -> None:
    """And a read only of what exists."""
    storage, world = CountingStorage(), World()
    await storage.store("folder/a", b"1")
    answers = SharedAnswers(storage, "folder", clock=world.clock, sleep=world.sleep)
    found = await asyncio.gather(*(answers.find(name) for name in ["a", "b", *map(str, range(100)), "a"]))
    assert found == [b"1", *[None] * 101, b"1"]
    assert storage.lists == 1
    assert storage.loads == ["folder/a"]


async def test_the_next_listing_is_a_second_later() -> None:
    """Those who ask in between wait for it."""
    storage, world = CountingStorage(), World()
    answers = SharedAnswers(storage, "folder", clock=world.clock, sleep=world.sleep)
    await answers.find("a")
    world.now += 0.25
    await storage.store("folder/a", b"1")
    assert await answers.find("a") == b"1"
    assert world.slept == [0.75]
    world.now += 1.0
    await answers.find("a")
    assert world.slept == [0.75]


async def test_an_answer_that_was_stored_during_a_listing_is_found() -> None:
    """By the next one: this one may have looked too early."""
    storage, world = CountingStorage(), World()
    answers = SharedAnswers(storage, "folder", clock=world.clock, sleep=world.sleep)
    storage.goes_on.clear()
    early = asyncio.create_task(answers.find("a"))
    while not storage.lists:  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0)
    await storage.store("folder/a", b"1")
    late = asyncio.create_task(answers.find("a"))
    await asyncio.sleep(0)
    storage.goes_on.set()
    assert await early is None
    assert await late == b"1"


async def test_a_value_that_was_replaced_is_not_remembered() -> None:
    """A second challenge for one name has another answer."""
    storage, world = CountingStorage(), World()
    answers = SharedAnswers(storage, "folder", clock=world.clock, sleep=world.sleep)
    for value in (b"1", b"2"):
        await storage.store("folder/a", value)
        assert await answers.find("a") == value
    await storage.delete("folder/a")
    assert await answers.find("a") is None


async def test_a_failing_storage_is_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the next listing may succeed."""
    storage, world = CountingStorage(), World()
    await storage.store("folder/a", b"1")
    answers = SharedAnswers(storage, "folder", clock=world.clock, sleep=world.sleep)
    storage.fails = True
    with caplog.at_level(logging.WARNING):
        assert await answers.find("a") is None
    assert "could not be read: The disk is gone" in caplog.text
    storage.fails = False
    assert await answers.find("a") == b"1"


async def test_one_who_gives_up_does_not_disturb_the_others() -> None:
    """The listing goes on for those who still wait, and ends with the last one."""
    storage, world = CountingStorage(), World()
    await storage.store("folder/a", b"1")
    answers = SharedAnswers(storage, "folder", clock=world.clock, sleep=world.sleep)
    storage.goes_on.clear()
    one, other = asyncio.create_task(answers.find("a")), asyncio.create_task(answers.find("a"))
    while not storage.lists:  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0)
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    storage.goes_on.set()
    assert await other == b"1"


@pytest.mark.parametrize("turns", range(4))
async def test_the_last_one_who_gives_up_ends_the_listing(turns: int) -> None:
    """Also before it has begun; the next one begins another."""
    storage, world = CountingStorage(), World()
    await storage.store("folder/a", b"1")
    answers = SharedAnswers(storage, "folder", clock=world.clock, sleep=world.sleep)
    storage.goes_on.clear()
    task = asyncio.create_task(answers.find("a"))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    storage.goes_on.set()
    assert await answers.find("a") == b"1"


class SlowStorage(MemoryStorage):
    """Takes some passes of the loop."""

    async def list(self, prefix: str) -> list[str]:
        """Wait first."""
        for _ in range(20):
            await asyncio.sleep(0)
        return await super().list(prefix)


def test_answers_outlive_their_loop() -> None:
    """One round waits for the other, in each of two loops."""
    world = World()
    answers = SharedAnswers(SlowStorage(), "folder", clock=world.clock, sleep=world.sleep)

    async def contend() -> list[bytes | None]:
        first = asyncio.create_task(answers.find("a"))
        for _ in range(5):  # the first round reads the storage, and the next one waits for it
            await asyncio.sleep(0)
        return await asyncio.gather(first, *(answers.find(name) for name in "bc"))

    assert [asyncio.run(contend()) for _ in range(3)] == [[None] * 3] * 3
