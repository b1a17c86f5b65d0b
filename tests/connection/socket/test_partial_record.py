"""`partial_record_timeout`: what becomes of a connection whose peer stops in the middle of a record."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import tlsio

if TYPE_CHECKING:
    from net import Net


@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize("size", [1, 3, 5, 7, 100])
@pytest.mark.parametrize("reads", ["before", "after"])
async def test_record_that_does_not_go_on_ends_the_connection(net: Net, role: str, size: int, reads: str) -> None:
    """Whether its header is whole or not, on either side, with a reader that waits already or comes later; the other side has its own limit."""
    accepted: asyncio.Future[tlsio.TLSSocket] = asyncio.get_running_loop().create_future()
    short, long = {"partial_record_timeout": 0.02}, {"partial_record_timeout": None}
    ours, theirs = (short, long) if role == "server" else (long, short)
    async with net.serve(accepted.set_result, **ours) as server, net.relay(server) as relay:
        client = await net.connect(server, **theirs)
        peer = await accepted
        await peer.send(b"ready")
        assert await client.read() == b"ready"
        reader = peer if role == "server" else client
        reading = asyncio.create_task(reader.read()) if reads == "before" else None
        await asyncio.sleep(0)
        to_client, to_server = relay._writers
        (to_server if role == "server" else to_client).write((b"\x17\x03\x03\x10\x00" + bytes(100))[:size])
        with pytest.raises(tlsio.PeerError) as caught:
            await (reading or reader.read())
        assert caught.value.code == "ERR_TLS_PARTIAL_RECORD_TIMEOUT"
        assert "partial_record_timeout" in (caught.value.hint or "")
        client.destroy()
        peer.destroy()


@pytest.mark.parametrize("reader", ["waiting", "none"])
async def test_more_of_the_record_does_not_set_the_clock_back(net: Net, reader: str) -> None:
    """Otherwise a byte a minute would keep a record's memory for days."""
    accepted: asyncio.Future[tlsio.TLSSocket] = asyncio.get_running_loop().create_future()
    async with net.serve(accepted.set_result, partial_record_timeout=0.1) as server, net.relay(server) as relay:
        client = await net.connect(server, partial_record_timeout=None)
        peer = await accepted
        await peer.send(b"ready")
        assert await client.read() == b"ready"
        to_server = relay._writers[1]
        to_server.write(b"\x17\x03\x03\x40\x00")
        failing = asyncio.create_task(peer.read()) if reader == "waiting" else asyncio.create_task(ended(peer))
        for _ in range(4000):  # 20 s, far below one byte in each period
            if failing.done():
                break
            to_server.write(b"\0")
            await asyncio.sleep(0.005)
        with pytest.raises(tlsio.PeerError) as caught:
            await failing
        assert caught.value.code == "ERR_TLS_PARTIAL_RECORD_TIMEOUT"
        client.destroy()
        peer.destroy()


async def ended(sock: tlsio.TLSSocket) -> None:
    """Raise what ends it, without a read."""
    failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    sock.on("error", failed.set_result)
    raise await failed


@pytest.mark.slow  # its time is longer than a busy machine needs for the rest of a record
async def test_record_that_became_whole_is_forgotten(net: Net) -> None:
    """Each record has a clock of its own: a connection that rests after a slow one lives."""
    accepted: asyncio.Future[tlsio.TLSSocket] = asyncio.get_running_loop().create_future()
    async with net.serve(accepted.set_result, partial_record_timeout=0.5) as server, net.relay(server) as relay:
        client = await net.connect(server, partial_record_timeout=None)
        peer = await accepted
        await client.send(b"first")
        assert await peer.read() == b"first"
        to_server = relay._writers[1]
        write = to_server.write

        def write_slowly(data: bytes) -> None:
            write(data[:-1])
            asyncio.get_running_loop().call_later(0.02, write, data[-1:])

        to_server.write = write_slowly  # type: ignore[assignment]
        for text in (b"second", b"third"):
            reading = asyncio.create_task(peer.read())
            await client.send(text)
            assert await reading == text
            await asyncio.sleep(0.7)
        await client.send(b"last")
        assert await peer.read() == b"last"
        client.destroy()
        peer.destroy()


@pytest.mark.parametrize("seconds", [0, -1, "60", 1e10])
def test_wrong_seconds_are_refused(seconds: object) -> None:
    """When the server is made."""
    with pytest.raises(tlsio.UsageError, match="partial_record_timeout"):
        tlsio.create_server(partial_record_timeout=seconds)  # type: ignore[arg-type]
