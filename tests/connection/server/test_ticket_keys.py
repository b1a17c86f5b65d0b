"""The keys of a source reach the engine at their moment."""

from __future__ import annotations

import asyncio
import contextvars
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from tlsio.connection.server.ticket_keys import TicketRotation
from tlsio.native._core import Ring
from tlsio.session.ticket_keys import Snapshot, TicketKeyRing

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="none")


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
    rotation = TicketRotation(TicketKeyRing(interval=0.2, overlap=2.4), installed.put_nowait)
    await rotation.start()
    first, second = await installed.get(), await installed.get()
    assert second[0] not in first  # a busy machine may be some keys further
    assert second[-1:] == first
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


async def test_source_that_fails_by_a_cancellation_of_its_own_is_asked_again() -> None:
    """It was not the caller who was cancelled."""
    installed, source = Installed(), Source(asyncio.get_running_loop().time)
    rotation = TicketRotation(source, installed.take)
    source.refresh = raise_cancelled  # type: ignore[method-assign]  # a source of another kind
    await rotation.start()
    rotation.stop()
    assert installed.empty()


async def raise_cancelled() -> None:
    """Fail as something that was cancelled elsewhere."""
    raise asyncio.CancelledError


class Odd:
    """A source that gives whatever it was made with."""

    clock = staticmethod(lambda: 5.0)

    def __init__(self, *, size: int = 48, until: float = 6.0) -> None:
        self.size, self.until = size, until
        self.asked = 0
        self.variable = ""

    async def refresh(self) -> None:
        """Count, and look at the variables of the context."""
        self.asked += 1
        self.variable = VARIABLE.get()

    def snapshot(self, _now: float) -> Snapshot:
        """Give one key."""
        return Snapshot((b"k" * self.size,), self.until)


@pytest.mark.parametrize("size", [0, 5, 16, 32, 47, 49, 96])
async def test_keys_of_a_wrong_size_stop_the_start(size: int) -> None:
    """The size is named; the keys stay."""
    ring = Ring()
    before = ring.first()
    rotation = TicketRotation(Odd(size=size), ring.set)
    with pytest.raises(tlsio.UsageError, match=f"exactly 48 bytes, got {size}"):
        await rotation.start()
    assert ring.first() == before
    rotation.stop()


async def test_keys_of_a_wrong_size_leave_those_of_the_last_rotation(caplog: pytest.LogCaptureFixture) -> None:
    """The log is told the size, and never the key."""
    ring, source = Ring(), Odd(until=5.001)
    rotation = TicketRotation(source, ring.set)
    await rotation.start()
    source.size = 32
    while not caplog.records:  # noqa: ASYNC110  (nothing else tells)
        await asyncio.sleep(0)
    assert ring.first() == b"k" * 48
    assert "got 32" in caplog.text
    assert "kkkk" not in caplog.text
    rotation.stop()


@pytest.mark.parametrize("until", [5.0, 4.0, float("nan"), float("-inf")])
async def test_source_without_a_next_moment_is_refused(until: float) -> None:
    """Otherwise it would be asked in every turn of the loop."""
    rotation = TicketRotation(Odd(until=until), Ring().set)
    with pytest.raises(tlsio.UsageError, match="in the future"):
        await rotation.start()
    rotation.stop()


@pytest.mark.parametrize(
    "snapshot", [None, {"keys": [], "until": 1}, SimpleNamespace(keys=[bytes(48)], until=None), SimpleNamespace(keys=1, until=9)]
)
async def test_source_whose_snapshot_is_none_is_refused(snapshot: Any) -> None:
    """A mistake that no later call mends is told at the start."""

    class Wrong(Odd):
        def snapshot(self, now: float) -> Any:
            return snapshot

    ring = Ring()
    rotation = TicketRotation(Wrong(), ring.set)
    with pytest.raises(tlsio.UsageError, match="`keys` and `until`"):
        await rotation.start()
    rotation.stop()


async def test_source_may_be_done_for_ever() -> None:
    """Infinity is later than now."""
    source = Odd(until=float("inf"))
    rotation = TicketRotation(source, Ring().set)
    await rotation.start()
    await asyncio.sleep(0.002)
    assert source.asked == 1
    rotation.stop()


async def test_cancelled_turn_does_not_end_the_rotation(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application may cancel all tasks of its loop; before the first step of a turn or later."""
    monkeypatch.setattr("tlsio.connection.server.ticket_keys._RETRY", 0.001)
    source = Source(asyncio.get_running_loop().time)
    installed = Installed()
    rotation = TicketRotation(source, installed.take)
    await rotation.start()
    cancelled = 0
    while cancelled < 2:
        for task in asyncio.all_tasks():
            cancelled += task.get_name() == "tlsio ticket keys" and task.cancel()
        await asyncio.sleep(0)
    first = installed.qsize()
    while installed.qsize() == first:  # noqa: ASYNC110  (nothing else tells)
        await asyncio.sleep(0)
    rotation.stop()


async def test_rotation_keeps_no_variables_of_its_first_caller() -> None:
    """It goes on long after the request that happened to start it."""
    source = Odd(until=5.001)
    rotation = TicketRotation(source, Ring().set)
    VARIABLE.set("of a request")
    await rotation.start()
    assert source.variable == "of a request"
    while source.asked < 2:  # noqa: ASYNC110  (nothing else tells)
        await asyncio.sleep(0)
    assert source.variable == "none"
    rotation.stop()
