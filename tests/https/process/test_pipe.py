"""Messages between processes: of any size, and without waiting for the other side."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tlsio.https.process.pipe import Pipe

if TYPE_CHECKING:
    from collections.abc import Iterator

MEGABYTE = 1 << 20


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return the two sockets of a pipe."""
    pair = socket.socketpair()
    with pair[0], pair[1]:
        yield pair


class Inbox:
    """Receives what comes through a pipe."""

    def __init__(self, end: socket.socket) -> None:
        """Start."""
        self.pipe = Pipe(end)
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        self.has_ended = asyncio.Event()
        self.pipe.start(received=self.messages.put_nowait, ended=self.has_ended.set)


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 4 * MEGABYTE])
async def test_a_message_of_any_size(ends: tuple[socket.socket, socket.socket], size: int) -> None:
    """Metrics of a worker have hundreds of kilobytes, which the kernel does not take at once."""
    sender, receiver = Inbox(ends[0]), Inbox(ends[1])
    for number in range(3):
        sender.pipe.send((number, b"x" * size))
    assert [await receiver.messages.get() for _ in range(3)] == [(number, b"x" * size) for number in range(3)]
    sender.pipe.close()
    await receiver.has_ended.wait()


async def test_a_message_in_single_bytes(ends: tuple[socket.socket, socket.socket]) -> None:
    """It is complete when its last byte is here."""
    source, wire = socket.socketpair()
    with source, wire:
        Pipe(source).send(("keys", "value"))
        data = wire.recv(MEGABYTE)
    receiver = Inbox(ends[1])
    for byte in data * 2:
        assert receiver.messages.qsize() <= 1
        ends[0].send(bytes([byte]))
        await asyncio.sleep(0)
    assert [await receiver.messages.get() for _ in range(2)] == [("keys", "value")] * 2
    receiver.pipe.close()


async def test_a_side_that_does_not_read(ends: tuple[socket.socket, socket.socket]) -> None:
    """Nothing waits for it, and it gets everything when it reads."""
    sender = Inbox(ends[0])
    for number in range(10_000):  # `multiprocessing.Pipe` holds 278 of them
        sender.pipe.send(("metrics", number))
    receiver = Inbox(ends[1])
    assert [await receiver.messages.get() for _ in range(10_000)] == [("metrics", number) for number in range(10_000)]
    sender.pipe.close()
    receiver.pipe.close()


async def test_a_side_that_has_gone(ends: tuple[socket.socket, socket.socket]) -> None:
    """What was sent before is received; what is sent afterwards is dropped."""
    sender, receiver = Inbox(ends[0]), Inbox(ends[1])
    sender.pipe.send("last")
    sender.pipe.close()
    await receiver.has_ended.wait()
    assert receiver.messages.get_nowait() == "last"
    receiver.pipe.send("nobody")
    receiver.pipe.close()


def test_the_last_message_needs_no_loop(ends: tuple[socket.socket, socket.socket]) -> None:
    """A worker that cannot start says why after its loop has ended."""
    Pipe(ends[0]).send_last(("failed", "why"))
    ends[0].close()

    async def receive() -> Any:
        receiver = Inbox(ends[1])
        await receiver.has_ended.wait()
        return receiver.messages.get_nowait()

    assert asyncio.run(receive()) == ("failed", "why")


def test_the_last_message_to_a_side_that_has_gone(ends: tuple[socket.socket, socket.socket]) -> None:
    """It is dropped."""
    ends[1].close()
    Pipe(ends[0]).send_last("nobody")
