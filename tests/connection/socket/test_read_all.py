"""`read_all`: everything up to the end, within a limit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import tlsio
from net import once

if TYPE_CHECKING:
    from net import Pair


async def test_everything_up_to_the_end(pair: Pair) -> None:
    """Several records, then the end; then nothing."""
    async with pair() as (client, server, _):
        server.write(bytes(300_000))
        server.end(b"last")
        assert await client.read_all() == bytes(300_000) + b"last"
        assert await client.read_all() == await client.read() == b""


@pytest.mark.parametrize("limit", [0, 4, 99_999])
async def test_limit_leaves_the_data_to_other_reads(pair: Pair, limit: int) -> None:
    """Nothing is lost: the rest is still read, by any method."""
    async with pair() as (client, server, _):
        server.end(bytes(100_000))
        with pytest.raises(tlsio.LimitOverrunError) as caught:
            await client.read_all(limit=limit)
        assert (caught.value.consumed, caught.value.code) == (limit, "ERR_TLS_LIMIT_OVERRUN")
        assert "limit=" in (caught.value.hint or "")
        assert len(await client.readexactly(10)) == 10
        assert len(await client.read_all(limit=99_990)) == 99_990


async def test_exactly_the_limit_is_allowed(pair: Pair) -> None:
    """The limit itself is within it."""
    async with pair() as (client, server, _):
        server.end(bytes(1000))
        assert await client.read_all(limit=1000) == bytes(1000)


async def test_truncation_is_an_error_after_which_the_data_can_be_read(pair: Pair) -> None:
    """A part must not look like the whole."""
    async with pair() as (client, server, _):
        await server.send(b"part")
        reading = asyncio.ensure_future(client.read_all())
        await asyncio.sleep(0.02)
        server.destroy()
        with pytest.raises(tlsio.TruncatedError):
            await reading
        assert await client.read() == b"part"
        with pytest.raises(tlsio.TruncatedError):
            await client.read()


async def test_cancellation_loses_nothing(pair: Pair) -> None:
    """What arrived is there for the next read."""
    async with pair() as (client, server, _):
        await server.send(b"first")
        reading = asyncio.ensure_future(client.read_all())
        await asyncio.sleep(0.02)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        server.end(b" second")
        assert await client.read_all() == b"first second"


async def test_misuse(pair: Pair) -> None:
    """A negative limit, and a data listener."""
    async with pair() as (client, _server, _):
        with pytest.raises(tlsio.UsageError):
            await client.read_all(limit=-1)
        client.on("data", lambda _: None)
        with pytest.raises(tlsio.UsageError):
            await client.read_all()


async def test_end_is_emitted_afterwards(pair: Pair) -> None:
    """The end is emitted after everything was read."""
    async with pair() as (client, server, _):
        server.end(b"all")
        ended = once(client, "end")
        assert await client.read_all() == b"all"
        await ended
