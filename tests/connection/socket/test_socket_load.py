"""Many connections, many messages: everything arrives, in order, and nothing is left behind.

Sizes, pauses and half-closes come from a seed that a failing test prints; `TLSIO_SEED` repeats it.
"""

from __future__ import annotations

import asyncio
import random
import resource
from typing import TYPE_CHECKING

import pytest

from seeds import new_seed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tlsio
    from net import Net

SIZES = (1, 1, 2, 2, 10, 10, 64, 64, 64, 64, 64, 500, 500, 500, 2048, 2048, 16_383, 16_384, 16_385, 40_000)


@pytest.fixture
def seed() -> int:
    """Return the seed of this run."""
    return new_seed()


@pytest.mark.parametrize(("connections", "messages"), [pytest.param(8, 50), pytest.param(50, 4000, marks=pytest.mark.slow)])
async def test_echo_of_random_messages(net: Net, seed: int, connections: int, messages: int) -> None:
    """Each connection echoes its messages whatever the sizes and pauses, and ends in one of the ways there are."""
    async with net.serve(serve_one, allow_half_open=True) as server:

        async def talk(number: int) -> int:
            rng = random.Random(f"{seed} {number}")  # noqa: S311 - to be repeated, not to be secret
            client = await net.connect(server)
            return await converse(client, rng, messages)

        counts = await asyncio.gather(*(talk(number) for number in range(connections)))
        assert sum(counts) == connections * messages


def serve_one(socket: tlsio.TLSSocket) -> None:
    """Echo in one of the three habits, in turns."""
    habit = socket.remote_port % 3 if socket.remote_port is not None else 0
    if habit == 0:
        socket.on("data", socket.write)
        socket.on("end", socket.end)
    elif habit == 1:

        async def answer(chunk: bytes) -> None:
            await socket.send(chunk)

        socket.on("data", answer)
        socket.on("end", socket.end)
    else:
        tasks.add(task := asyncio.ensure_future(pull(socket)))
        task.add_done_callback(tasks.discard)


tasks: set[asyncio.Task[None]] = set()


async def pull(socket: tlsio.TLSSocket) -> None:
    """Echo by iteration."""
    async for chunk in socket:
        await socket.send(chunk)
    socket.end()


async def converse(client: tlsio.TLSSocket, rng: random.Random, messages: int) -> int:
    """Send messages and read their echoes, then end; return how many came back whole."""
    sent = [rng.randbytes(rng.choice(SIZES)) for _ in range(min(messages, 40))]
    reading = asyncio.ensure_future(expect(client, sent, messages))
    for number in range(messages):
        await client.send(sent[number % len(sent)])
        if rng.random() < 0.1:
            await asyncio.sleep(rng.choice((0, 0, 0.001)))
        if rng.random() < 0.05:
            await client.drain()
    if rng.random() < 0.5:
        client.end()  # half-closed: the echoes still come
        count = await reading
    else:
        count = await reading
        client.end()
    assert await client.read() == b""
    await client.wait_closed()
    assert not client.truncated
    return count


async def expect(client: tlsio.TLSSocket, sent: list[bytes], messages: int) -> int:
    """Read so many echoes."""
    for number in range(messages):
        message = sent[number % len(sent)]
        assert await client.readexactly(len(message)) == message, f"message {number}"
    return messages


@pytest.fixture
def many_descriptors() -> Iterator[int]:
    """Let the process open as many descriptors as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
async def test_two_thousand_connections_at_once(net: Net, many_descriptors: int) -> None:
    """All are open at the same time, each echoes, and all are closed in order."""
    count = 2000
    if many_descriptors < 2 * count + 200:
        pytest.skip(f"{many_descriptors} descriptors are too few")
    async with net.serve(lambda sock: sock.on("data", sock.write)) as server:
        limit = asyncio.Semaphore(100)

        async def open_one() -> tlsio.TLSSocket:
            async with limit:
                return await net.connect(server)

        clients = await asyncio.gather(*(open_one() for _ in range(count)))
        assert server.connections == count
        for client in clients:
            client.write(b"hello")
        echoes = await asyncio.gather(*(client.readexactly(5) for client in clients))
        assert echoes == [b"hello"] * count
        await asyncio.gather(*(client.aclose() for client in clients))
        assert not any(client.truncated for client in clients)


@pytest.mark.slow
async def test_connections_come_and_go(net: Net) -> None:
    """A thousand short connections, a few at a time: nothing grows."""
    async with net.serve(lambda sock: sock.on("data", sock.end)) as server:

        async def visit() -> None:
            for _ in range(50):
                client = await net.connect(server)
                client.write(b"x")
                assert await client.read() == b"x"
                await client.aclose()

        await asyncio.gather(*(visit() for _ in range(20)))
        while server.connections:  # noqa: ASYNC110 - the last close_notify is on its way
            await asyncio.sleep(0)
        assert server.stats().handshakes_full + server.stats().handshakes_resumed == 1000
