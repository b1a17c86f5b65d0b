"""A peer that sends without pause does not keep the event loop for its connection."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import stdlib_peer
from net import once

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    import tlsio
    from net import Net, Pair

MIB = 1024 * 1024
# Of small chunks, each counts as 4 KiB: so many in a turn, and those in what the turn has received.
CHUNKS = MIB // 4096 + 16


class Passes:
    """Counts, for each pass of the loop, what is passed to `add`."""

    def __init__(self) -> None:
        self.total = self.most = self._now = 0

    def add(self, count: int) -> None:
        """Count in the present pass."""
        self._now += count
        self.total += count

    @contextmanager
    def counting(self) -> Iterator[None]:
        """See each pass begin."""
        loop = asyncio.get_running_loop()

        def begin() -> None:
            nonlocal handle
            self.most, self._now = max(self.most, self._now), 0
            handle = loop.call_soon(begin)

        handle = loop.call_soon(begin)
        try:
            yield
        finally:
            handle.cancel()
            self.most = max(self.most, self._now)


async def until_kernel_is_full(sock: tlsio.TLSSocket) -> None:
    """Return when the kernel takes no more of what was written."""
    before = None
    while sock.writable_length != before:
        before = sock.writable_length
        await asyncio.sleep(0.05)


async def receive(sock: tlsio.TLSSocket, way: str, count: Any) -> None:
    """Pass each chunk to `count`, up to the end."""
    if way == "reader":
        async for chunk in sock:
            count(chunk)
        return
    ended = once(sock, "end")
    sock.on("data", count)
    await ended


@pytest.mark.parametrize("way", ["reader", "listener"])
async def test_large_records(pair: Pair, way: str) -> None:
    """A turn gives a connection 1 MiB, and what was received with it. A pass of the loop has two turns at most."""
    async with pair() as (client, server, _):
        client.write(bytes(4_000_000))
        await until_kernel_is_full(client)
        client.end()
        passes = Passes()
        with passes.counting():
            await receive(server, way, lambda chunk: passes.add(len(chunk)))
        assert passes.total == 4_000_000
        assert passes.most <= 2 * (MIB + 65536)


def small_records(raw: socket.socket, hello: bytes, count: int) -> None:
    """Do the handshake, and send records of one byte, then the end."""
    client, _, out = stdlib_peer.shake_hands(raw)
    client.write(hello)
    raw.sendall(out.read())
    for _ in range(count):
        client.write(b"x")
    with pytest.raises(ssl.SSLWantReadError):
        client.unwrap()
    raw.sendall(out.read())


@pytest.mark.parametrize("way", ["reader", "listener"])
async def test_small_records(net: Net, way: str) -> None:
    """Each costs as much time as 4 KiB, so it is counted as that; and turns do not multiply while there is always more."""
    count, passes = 20_000, Passes()
    async with net.serve() as server:
        opened = once(server, "secure_connection")
        with await net.dial(server) as raw:
            raw.settimeout(20)
            sending = asyncio.create_task(asyncio.to_thread(small_records, raw, b"!", count))
            sock = await opened
            sock.pause()
            assert await sock.readexactly(1) == b"!"
            await asyncio.wait([sending], timeout=1)
            with passes.counting():
                sock.resume()
                await receive(sock, way, lambda _chunk: passes.add(1))
            await sending
    assert passes.total == count
    assert passes.most <= 2 * CHUNKS
