"""Listeners that turn the loop: code that waits for a result where it cannot await, as `nest_asyncio` lets it."""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import tlsio
    from net import Net

QUIET = 200  # turns of the loop that waiting for a few events may take


def turn_until(done: Callable[[], bool]) -> int:
    """Run the loop from inside one of its callbacks, as `nest_asyncio` does; return the number of turns."""
    loop: Any = asyncio.get_running_loop()
    outer = asyncio.current_task()
    if outer is not None:
        asyncio.tasks._leave_task(loop, outer)
    turns = 0
    while not done():
        turns += 1
        assert turns < 100 * QUIET, "the loop spins"
        loop._process_events(loop._selector.select(0 if loop._ready else 0.01))
        while loop._scheduled and loop._scheduled[0]._when <= loop.time():
            handle = heapq.heappop(loop._scheduled)
            handle._scheduled = False
            loop._ready.append(handle)
        for _ in range(len(loop._ready)):
            handle = loop._ready.popleft()
            if not handle._cancelled:
                handle._run()
    for _ in range(QUIET):  # the outer turn counts on as many as there were
        loop.call_soon(lambda: None)
    if outer is not None:
        asyncio.tasks._enter_task(loop, outer)
    return turns


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("event", ["data", "drain", "end", "close"])
async def test_listener_may_turn_the_loop(net: Net, event: str) -> None:
    """The other connections go on meanwhile, the loop does not spin, and the rest of the listener's own data comes after it."""
    received: list[bytes] = []
    turns: list[int] = []
    asking: list[asyncio.Future[None]] = []
    async with net.pair() as (client, peer, _server), net.pair() as (asker, answerer, _other):
        answerer.on("data", answerer.write)

        async def ask() -> None:
            for _ in range(5):
                await asker.send(b"question")
                assert await asker.read() == b"question"

        def listen(*args: object) -> None:
            received.extend(chunk for chunk in args if isinstance(chunk, bytes))
            if not asking:
                asking.append(asyncio.ensure_future(ask()))
                turns.append(turn_until(asking[0].done))
                asking[0].result()

        peer.on(event, listen)
        if event in {"end", "close"}:
            peer.on("data", received.append)
        reading = asyncio.ensure_future(take_all(client))
        sent = bytes(range(256)) * 2000
        client.end(sent)
        while event == "drain" and peer.write(sent):
            pass
        while not turns or (event == "data" and len(b"".join(received)) < len(sent)):  # noqa: ASYNC110 - what arrives is no event
            await asyncio.sleep(0.001)
        peer.end()
        await reading
    assert event == "drain" or b"".join(received) == sent
    assert turns[0] < QUIET


async def take_all(sock: tlsio.TLSSocket) -> None:
    """Read to the end."""
    while await sock.read():
        pass
