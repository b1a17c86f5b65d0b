"""Turns: callers that wait for the same thing get its result or its failure, once."""

from __future__ import annotations

import asyncio

import pytest

import tlsio
from tlsio.acme.client.turns import Turns


class Work:
    """Counts, fails as long as it should, and takes a pass of the loop."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.count = 0

    async def __call__(self) -> int:
        """Work."""
        self.count += 1
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        return self.count


async def test_those_who_waited_fail_together() -> None:
    """Each with an error of its own, whose cause is the first one."""
    turns, work = Turns(), Work(tlsio.ACMEError("down", problem="serverInternal", retry_after=5.0))
    errors = await asyncio.gather(*(turns.take(work) for _ in range(5)), return_exceptions=True)
    assert work.count == 1
    assert len({id(error) for error in errors}) == 5
    for error in errors:
        assert isinstance(error, tlsio.ACMEError)
        assert (error.message, error.retry_after) == ("down", 5.0)
    assert errors[1].__cause__ is errors[0]  # type: ignore[union-attr]


async def test_those_who_come_later_try_again() -> None:
    """A failure is not remembered."""
    turns, work = Turns(), Work(tlsio.FetchError("down"))
    with pytest.raises(tlsio.FetchError):
        await turns.take(work)
    assert await turns.take(work) == 2


async def test_a_cancelled_call_leaves_the_work_to_the_next() -> None:
    """Its cancellation is no failure of the others."""
    turns, work = Turns(), Work()
    first, second = asyncio.create_task(turns.take(work)), asyncio.create_task(turns.take(work))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second == 2


async def test_an_error_that_is_not_ours_is_not_shared() -> None:
    """A fault of the code; each caller sees it for itself."""
    turns, work = Turns(), Work(RuntimeError("bug"))
    first, second = await asyncio.gather(turns.take(work), turns.take(work), return_exceptions=True)
    assert isinstance(first, RuntimeError)
    assert second == 2


def test_turns_outlive_their_loop() -> None:
    """A lock of asyncio's belongs to the first loop in which a task had to wait for it."""
    turns, work = Turns(), Work()

    async def contend() -> list[int]:
        return await asyncio.gather(turns.take(work), turns.take(work))

    assert [asyncio.run(contend()) for _ in range(2)] == [[1, 2], [3, 4]]
