"""The keys of a source reach the engine at their moment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tlsio.connection.ticket_rotation import TicketRotation
from tlsio.session.ticket_keys import Snapshot, TicketKeyRing

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


class Source:
    """Keys that are called 1, 2, 3, each for a hundredth of a second; what it is asked is written down."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.asked: list[str] = []
        self.fails = False

    async def refresh(self) -> None:
        """Write it down."""
        self.asked.append("refresh")

    def snapshot(self, now: float) -> Snapshot:
        """Give the next key."""
        if self.fails:
            raise RuntimeError("no keys today")
        self.asked.append("snapshot")
        return Snapshot((bytes([self.asked.count("snapshot")]) * 48,), now + 0.01)


class Installed(asyncio.Queue[list[int]]):
    """What was installed, key by key."""

    def take(self, keys: list[bytes]) -> None:
        """Install."""
        self.put_nowait([key[0] for key in keys])


async def test_keys_are_there_when_it_has_started() -> None:
    """So the first client meets them, too."""
    installed, source = Installed(), Source(asyncio.get_running_loop().time)
    rotation = TicketRotation(source, installed.take)
    await rotation.start()
    assert installed.get_nowait() == [1]
    assert source.asked == ["refresh", "snapshot"]
    rotation.stop()


async def test_keys_change_at_their_moment() -> None:
    """Not before."""
    loop, installed = asyncio.get_running_loop(), Installed()
    rotation = TicketRotation(Source(loop.time), installed.take)
    start = loop.time()
    await rotation.start()
    assert [await installed.get() for _ in range(3)] == [[1], [2], [3]]
    assert loop.time() - start >= 0.018  # uvloop counts whole milliseconds
    rotation.stop()


async def test_a_ring_rotates() -> None:
    """The old key still decrypts."""
    installed: asyncio.Queue[list[bytes]] = asyncio.Queue()
    rotation = TicketRotation(TicketKeyRing(interval=0.05, overlap=0.6), installed.put_nowait)
    await rotation.start()
    first, second = await installed.get(), await installed.get()
    assert second[1:] == first
    rotation.stop()


async def test_stopped_it_leaves_the_keys_alone() -> None:
    """Stopping twice is fine, so is starting again."""
    installed = Installed()
    rotation = TicketRotation(Source(asyncio.get_running_loop().time), installed.take)
    await rotation.start()
    rotation.stop()
    rotation.stop()
    await asyncio.sleep(0.02)
    assert installed.qsize() == 1
    await rotation.start()
    assert installed.qsize() == 2
    rotation.stop()


async def test_source_that_fails_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    """The keys stay; the log hears of it once."""
    installed, source = Installed(), Source(asyncio.get_running_loop().time)
    source.fails = True
    rotation = TicketRotation(source, installed.take)
    for _ in range(2):
        await rotation.start()
        rotation.stop()
    assert installed.empty()
    assert [record.exc_info is not None for record in caplog.records] == [True]
    source.fails = False
    await rotation.start()
    assert installed.get_nowait() == [1]
    rotation.stop()
