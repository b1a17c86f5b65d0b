"""How long an authority is asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import pytest

import tlsio
from tlsio.acme.client.polling import poll
from virtual_time import VirtualTime


@dataclass
class Undecided:
    """What an authority answers."""

    status: str = "pending"
    retry_after: float | None = None


@pytest.mark.parametrize(("latency", "asked"), [(0.0, 63), (20.0, 13)], ids=["quick", "slow"])
def test_slow_answers_count(latency: float, asked: int) -> None:
    """An authority that takes its time with each answer makes the whole no longer than it may be, by one answer."""
    time, count = VirtualTime(), 0

    async def main() -> None:
        nonlocal count
        begin = time.clock()

        async def ask() -> Undecided:
            nonlocal count
            count += 1
            await asyncio.sleep(latency)
            return Undecided()

        with pytest.raises(tlsio.ACMEError) as caught:
            await poll("https://ca.example/1", ask, lambda _found: False, sleep=asyncio.sleep, longest=300.0)
        assert caught.value.code == "ERR_ACME_TIMEOUT"
        assert time.clock() - begin <= timedelta(seconds=300 + latency)

    time.run(main)
    assert count == asked
