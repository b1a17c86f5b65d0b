"""Writing: what is taken, what is copied, back-pressure, and what a write tells after the end."""

from __future__ import annotations

import array
import asyncio
import ctypes
from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from net import fill, once

if TYPE_CHECKING:
    from net import Net, Pair

MARK = 16_384


@pytest.mark.parametrize(
    "data",
    [
        b"bytes",
        bytearray(b"bytes"),
        memoryview(b"bytes"),
        memoryview(b"b_y_t_e_s")[::2],
        array.array("B", b"bytes"),
        (ctypes.c_char * 5)(*b"bytes"),
    ],
    ids=lambda data: type(data).__name__,
)
async def test_bytes_like_data_is_taken(pair: Pair, data: Any) -> None:
    """Whatever has the buffer protocol can be written, strided or typed."""
    async with pair() as (client, peer, _server):
        client.write(data)
        assert await peer.readexactly(5) == b"bytes"


@pytest.mark.parametrize("data", ["text", None, 5, ["list"]])
async def test_other_data_is_refused(pair: Pair, data: Any) -> None:
    """Text and the like raise, and the connection is as good as before."""
    async with pair() as (client, peer, _server):
        with pytest.raises(TypeError) as caught:
            client.write(data)
        assert isinstance(caught.value, tlsio.UsageError)
        assert caught.value.code == "ERR_INVALID_ARG_TYPE"
        client.write(b"ok")
        assert await peer.read() == b"ok"


async def test_text_is_refused_with_the_way_out(pair: Pair) -> None:
    """The usual mistake names its remedy."""
    async with pair() as (client, _peer, _server):
        with pytest.raises(tlsio.UsageError) as caught:
            client.write("text")  # type: ignore[arg-type]
        assert "encode" in (caught.value.hint or "")


async def test_data_is_copied_before_write_returns(pair: Pair) -> None:
    """A buffer may be used for something else at once, also when much is queued before it."""
    async with pair(client={"high_water_mark": MARK}) as (client, peer, _server):
        buffer = bytearray(b"a" * 500_000)
        client.write(buffer)
        buffer[:] = b"b" * 500_000
        client.write(buffer)
        buffer[:] = b"c" * 500_000
        assert await peer.readexactly(1_000_000) == b"a" * 500_000 + b"b" * 500_000


@pytest.mark.node("tls-zero-clear-in")
async def test_nothing_can_be_written(pair: Pair) -> None:
    """An empty write is no mistake and sends no record."""
    async with pair() as (client, peer, _server):
        assert client.write(b"") is True
        client.end(b"")
        assert await peer.read() == b""


@pytest.mark.node("tls-buffersize", "tls-fast-writing")
async def test_write_tells_when_it_is_enough(pair: Pair) -> None:
    """Above the high-water mark `write` returns False; when the peer has read, `drain` is told and `write` is content again."""
    async with pair(client={"high_water_mark": MARK}) as (client, peer, _server):
        drained = once(client, "drain")
        written = 0
        while client.write(b"x" * 10_000):
            written += 10_000
        written += 10_000
        assert client.writable_length > MARK
        reading = asyncio.ensure_future(peer.readexactly(written))
        await drained
        assert client.writable_length <= MARK
        assert await reading == b"x" * written


async def test_drain_returns_at_once_below_the_mark(pair: Pair) -> None:
    """What is below the mark needs no waiting: `drain` does not give the turn away."""
    async with pair() as (client, _peer, _server):
        client.write(b"x")
        draining = client.drain()
        with pytest.raises(StopIteration):
            draining.send(None)


async def test_many_may_drain(pair: Pair) -> None:
    """All who wait for the same socket go on together."""
    async with pair(client={"high_water_mark": MARK}) as (client, peer, _server):
        written = await fill(client, MARK)
        draining = [asyncio.ensure_future(client.drain()) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(one.done() for one in draining)
        draining[0].cancel()
        await peer.readexactly(written)
        assert await asyncio.gather(*draining[1:]) == [None, None]


async def test_cancelled_send_stays_queued(pair: Pair) -> None:
    """Who gives up waiting in `send` has written all the same."""
    async with pair(client={"high_water_mark": MARK}) as (client, peer, _server):
        written = await fill(client, MARK)
        sending = asyncio.ensure_future(client.send(b"the end"))
        await asyncio.sleep(0)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert (await peer.readexactly(written + 7))[-7:] == b"the end"


async def test_peer_that_never_reads_costs_bounded_memory(pair: Pair) -> None:
    """`send` stops, whatever the peer's kernel took, when the mark is passed; and so does the reading side's engine."""
    async with pair(client={"high_water_mark": MARK}) as (client, peer, _server):
        sent = 0

        async def send() -> None:
            nonlocal sent
            while True:
                await client.send(b"x" * 10_000)
                sent += 10_000

        sending = asyncio.ensure_future(send())
        before, quiet = -1, 0
        while quiet < 20:
            await asyncio.sleep(0)
            quiet = quiet + 1 if sent == before else 0
            before = sent
        assert client.writable_length <= MARK + 10_000 + 300  # one write beyond the mark, and the headers of its records
        assert peer._connection.held_input <= 2 * 65536 + 1000
        assert peer.bytes_read == 0
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


@pytest.mark.node("tls-interleave")
async def test_writes_interleave_in_order(pair: Pair) -> None:
    """Both sides write at once, small and large; each side's bytes keep their order."""
    async with pair() as (client, peer, _server):
        parts = [bytes([number % 256]) * (1 + number * 37 % 5000) for number in range(200)]

        async def send(socket: tlsio.TLSSocket) -> None:
            for part in parts:
                await socket.send(part)
            socket.end()

        async def receive(socket: tlsio.TLSSocket) -> bytes:
            return b"".join([chunk async for chunk in socket])

        _, _, at_client, at_peer = await asyncio.gather(send(client), send(peer), receive(client), receive(peer))
        assert at_client == at_peer == b"".join(parts)


@pytest.mark.node("tls-fast-writing", "tls-invoke-queued")
async def test_writes_from_drain_listeners(pair: Pair) -> None:
    """Writing more whenever `drain` is told moves everything."""
    async with pair(client={"high_water_mark": MARK}) as (client, peer, _server):
        left = 100

        def more() -> None:
            nonlocal left
            while left:
                left -= 1
                if not client.write(b"x" * 10_000):
                    return
            client.end()

        client.on("drain", more)
        more()
        assert sum([len(chunk) async for chunk in peer]) == 1_000_000


@pytest.mark.parametrize("ending", ["end", "close", "destroy"])
async def test_write_after_our_own_end_raises(pair: Pair, ending: str) -> None:
    """After our end, close or destroy a write is a mistake; an end again is none."""
    async with pair() as (client, _peer, _server):
        getattr(client, ending)()
        with pytest.raises(tlsio.UsageError) as caught:
            client.write(b"x")
        assert caught.value.code == "ERR_STREAM_WRITE_AFTER_END"
        assert isinstance(caught.value, RuntimeError)
        with pytest.raises(tlsio.UsageError):
            await client.send(b"x")
        with pytest.raises(tlsio.UsageError):
            client.end(b"x")
        client.end()


async def test_write_after_the_peer_failed_is_dropped(pair: Pair) -> None:
    """The peer's failure is no mistake of who writes: False, and the calls that wait tell the error."""
    async with pair() as (client, peer, _server):
        failed = once(client, "error")
        client.on("data", lambda chunk: None)
        peer.destroy()
        error = await failed
        assert isinstance(error, tlsio.TLSError)
        assert client.write(b"x") is False
        for call in (client.drain(), client.send(b"x"), client.handshake()):
            with pytest.raises(type(error)) as caught:
                await call
            assert caught.value is error
        client.end()


@pytest.mark.node("tls-buffersize")
async def test_bytes_are_counted(pair: Pair) -> None:
    """Plaintext and wire bytes are counted on both sides, and agree."""
    async with pair() as (client, peer, _server):
        await client.send(b"x" * 50_000)
        await peer.readexactly(50_000)
        await peer.send(b"y" * 10)
        await client.readexactly(10)
        assert (client.bytes_written, peer.bytes_read, peer.bytes_written, client.bytes_read) == (50_000, 50_000, 10, 10)
        assert client.wire_bytes_written == peer.wire_bytes_read > 50_000
        assert peer.wire_bytes_written == client.wire_bytes_read > 10
        assert client.writable_length == 0


@pytest.mark.parametrize("version", ["TLSv1.3"], indirect=True)
@pytest.mark.parametrize(("sizes", "records"), [((100, 200, 1), 1), ((4000, 96), 1), ((4000, 97), 2), ((1, 5000, 1), 3), ((4097,), 1)])
async def test_small_writes_of_one_turn_are_one_record(net: Net, sizes: tuple[int, ...], records: int) -> None:
    """Up to 4 KiB, on descriptors of our own; every byte arrives in order, and counts as written when it is encrypted."""
    async with net.pair() as (client, peer, _server):
        before = client.wire_bytes_written
        pieces = [bytes([number]) * size for number, size in enumerate(sizes)]
        for piece in pieces:
            client.write(piece)
        assert client.writable_length >= sum(sizes)
        assert await peer.readexactly(sum(sizes)) == b"".join(pieces)
        assert (client.bytes_written, client.writable_length) == (sum(sizes), 0)
        overhead = 22 * (records if net.is_native else len(sizes))  # RFC 8446 5.2: header, type and tag
        assert client.wire_bytes_written - before == sum(sizes) + overhead


async def test_much_that_was_written_before_the_handshake_is_sent_whole(pair: Pair) -> None:
    """More than leaves at once, to a peer that takes it at once."""
    much = bytes(1_000_000)

    def write(_certificate: object, socket: tlsio.TLSSocket) -> None:
        socket.write(much)

    async with pair(server={"check_client": write}) as (client, _peer, _server):
        assert await client.readexactly(len(much)) == much
