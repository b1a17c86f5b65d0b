"""Reading by pulling: what each call gives, when it waits, who may read, and what a cancellation leaves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import tlsio

if TYPE_CHECKING:
    from net import Pair


async def test_words_arrive_both_ways(pair: Pair) -> None:
    """What one side writes the other reads."""
    async with pair() as (client, peer, _server):
        client.write(b"hello")
        assert await peer.read() == b"hello"
        peer.write(b"you too")
        assert await client.read() == b"you too"


async def test_read_gives_at_most_what_was_asked_for(pair: Pair) -> None:
    """`read(n)` leaves the rest to the next read."""
    async with pair() as (client, peer, _server):
        await client.send(b"abcdef")
        assert await peer.read(4) == b"abcd"
        assert await peer.read(4) == b"ef"


async def test_read_of_nothing_gives_nothing(pair: Pair) -> None:
    """`read(0)` and `readexactly(0)` do not wait."""
    async with pair() as (client, _peer, _server):
        assert await client.read(0) == b""
        assert await client.readexactly(0) == b""


@pytest.mark.parametrize("method", ["read", "readexactly"])
async def test_negative_sizes_are_refused(pair: Pair, method: str) -> None:
    """A size below what has a meaning is a mistake of the caller."""
    async with pair() as (client, _peer, _server):
        with pytest.raises(tlsio.UsageError) as caught:
            await getattr(client, method)(-2)
        assert caught.value.code == "ERR_OUT_OF_RANGE"


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("read", "5"),
        ("read", True),
        ("read", 2**80),
        ("readexactly", None),
        ("readexactly", float("nan")),
        ("readuntil", "\n"),
        ("readuntil", [b"\n"]),
        ("read_all", "5"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value.strip(),
)
async def test_arguments_of_other_types_are_refused_at_once(pair: Pair, method: str, value: Any) -> None:
    """Not when data arrives, which can be never."""
    arguments = {"limit": value} if method == "read_all" else {}
    async with pair() as (client, peer, _server):
        with pytest.raises(tlsio.UsageError) as caught:
            await getattr(client, method)(*(() if arguments else (value,)), **arguments)
        assert caught.value.code in {"ERR_INVALID_ARG_TYPE", "ERR_OUT_OF_RANGE"}
        await peer.send(b"x")
        assert await client.read() == b"x"


@pytest.mark.parametrize("error", ["reason", ConnectionError, 5], ids=["text", "class", "int"])
async def test_destroy_takes_exceptions_only(pair: Pair, error: Any) -> None:
    """Calls would have to raise anything else; the socket stays as it is."""
    async with pair() as (client, peer, _server):
        with pytest.raises(tlsio.UsageError, match="error must be an exception or None") as caught:
            client.destroy(error)
        assert caught.value.code == "ERR_INVALID_ARG_TYPE"
        await peer.send(b"x")
        assert await client.read() == b"x"


async def test_end_is_told_every_time(pair: Pair) -> None:
    """At the end `read` and `readline` give b"" again and again, `readexactly` and `readuntil` an error."""
    async with pair() as (client, peer, _server):
        client.end()
        for _ in range(2):
            assert await peer.read() == b""
            assert await peer.readline() == b""
            with pytest.raises(tlsio.IncompleteReadError) as caught:
                await peer.readexactly(1)
            assert (caught.value.partial, caught.value.expected) == (b"", 1)
            with pytest.raises(asyncio.IncompleteReadError):
                await peer.readuntil(b";")


async def test_readexactly_collects(pair: Pair) -> None:
    """`readexactly` waits until all has come, over as many records as it takes."""
    async with pair() as (client, peer, _server):
        reading = asyncio.ensure_future(peer.readexactly(100_000))
        for _ in range(10):
            await client.send(b"x" * 10_000)
        assert await reading == b"x" * 100_000
        await client.send(b"rest")
        assert await peer.read() == b"rest"


async def test_readexactly_tells_what_there_was(pair: Pair) -> None:
    """An end that comes too early gives what came, and it is gone then."""
    async with pair() as (client, peer, _server):
        client.end(b"abc")
        with pytest.raises(tlsio.IncompleteReadError) as caught:
            await peer.readexactly(10)
        assert (caught.value.partial, caught.value.expected, caught.value.code) == (b"abc", 10, "ERR_TLS_INCOMPLETE_READ")
        assert await peer.read() == b""


async def test_lines(pair: Pair) -> None:
    """`readline` cuts at line ends wherever records begin; the last line may lack its end."""
    async with pair() as (client, peer, _server):
        for part in (b"one\ntw", b"o\nthree\n", b"\nlast"):
            await client.send(part)
        client.end()
        assert [await peer.readline() for _ in range(6)] == [b"one\n", b"two\n", b"three\n", b"\n", b"last", b""]


async def test_separator_across_records(pair: Pair) -> None:
    """`readuntil` finds a separator whose bytes come in different records."""
    async with pair() as (client, peer, _server):
        reading = asyncio.ensure_future(peer.readuntil(b"\r\n\r\n"))
        for part in (b"a\r", b"\n", b"\r", b"\nb"):
            await client.send(part)
            await asyncio.sleep(0)
        assert await reading == b"a\r\n\r\n"
        assert await peer.read() == b"b"


async def test_empty_separator_is_refused(pair: Pair) -> None:
    """`readuntil(b"")` means nothing."""
    async with pair() as (client, _peer, _server):
        with pytest.raises(tlsio.UsageError) as caught:
            await client.readuntil(b"")
        assert caught.value.code == "ERR_INVALID_ARG_VALUE"


LIMIT = {"read_limit": 100}


async def test_line_of_the_limit_is_read(pair: Pair) -> None:
    """A line may be as long as `read_limit`, its end included."""
    async with pair(server=LIMIT) as (client, peer, _server):
        line = b"x" * 99 + b"\n"
        await client.send(line)
        assert await peer.readline() == line


async def test_line_beyond_the_limit_is_refused_and_kept(pair: Pair) -> None:
    """One byte more raises, names how far one may read, and loses nothing."""
    async with pair(server=LIMIT) as (client, peer, _server):
        line = b"x" * 100 + b"\n"
        await client.send(line)
        with pytest.raises(tlsio.LimitOverrunError) as caught:
            await peer.readline()
        assert isinstance(caught.value, asyncio.LimitOverrunError)
        assert caught.value.code == "ERR_TLS_LIMIT_OVERRUN"
        assert caught.value.consumed == 100
        assert await peer.readexactly(101) == line


async def test_line_without_end_is_refused_at_the_limit(pair: Pair) -> None:
    """A separator that may have begun is not counted as consumed."""
    async with pair(client=LIMIT) as (client, peer, _server):
        await peer.send(b"x" * 100)
        with pytest.raises(tlsio.LimitOverrunError) as caught:
            await client.readuntil(b"\r\n")
        assert caught.value.consumed == 99
        await peer.send(b"\n")
        assert await client.readexactly(101) == b"x" * 100 + b"\n"


async def test_limit_binds_lines_only(pair: Pair) -> None:
    """`readexactly` takes more than `read_limit`: its size was chosen by the caller."""
    async with pair(server=LIMIT) as (client, peer, _server):
        client.write(b"x" * 50_000)
        assert len(await peer.readexactly(50_000)) == 50_000


async def test_iteration_gives_all_and_ends(pair: Pair) -> None:
    """`async for` gives chunks until the end."""
    async with pair() as (client, peer, _server):
        client.end(b"x" * 100_000)
        assert b"".join([chunk async for chunk in peer]) == b"x" * 100_000
        assert [chunk async for chunk in peer] == []


async def test_iteration_is_taken_up_again(pair: Pair) -> None:
    """A loop may be left, a line read, and the loop entered again."""
    async with pair() as (client, peer, _server):
        await client.send(b"first")
        async for chunk in peer:
            assert chunk == b"first"
            break
        client.end(b"line\nrest")
        assert await peer.readline() == b"line\n"
        assert [chunk async for chunk in peer] == [b"rest"]


@pytest.mark.parametrize("second", ["read", "readline", "__anext__"])
async def test_one_reader_at_a_time(pair: Pair, second: str) -> None:
    """Who reads beside a reader is told so; the reader does not notice."""
    async with pair() as (client, peer, _server):
        first = asyncio.ensure_future(peer.read())
        await asyncio.sleep(0)
        with pytest.raises(tlsio.UsageError) as caught:
            await getattr(peer, second)()
        assert isinstance(caught.value, RuntimeError)
        client.write(b"mine")
        assert await first == b"mine"


async def test_reads_and_data_listeners_exclude_each_other(pair: Pair) -> None:
    """A read beside a `data` listener is refused, and a `data` listener beside a read; each works when the other has gone."""
    async with pair() as (client, peer, _server):
        heard: list[bytes] = []
        reading = asyncio.ensure_future(peer.read())
        await asyncio.sleep(0)
        with pytest.raises(tlsio.UsageError):
            peer.on("data", heard.append)
        client.write(b"read")
        assert await reading == b"read"
        peer.on("data", heard.append)
        with pytest.raises(RuntimeError, match="data listener"):
            await peer.read()
        peer.off("data", heard.append)
        client.write(b"read again")
        assert await peer.read() == b"read again"
        assert heard == []


@pytest.mark.parametrize(("method", "argument"), [("read", 100), ("readexactly", 6), ("readuntil", b";"), ("readline", None)])
async def test_cancelled_read_loses_nothing(pair: Pair, method: str, argument: Any) -> None:
    """What came before or after the cancellation is there for the next read."""
    async with pair() as (client, peer, _server):
        await client.send(b"abc")
        arguments = () if argument is None else (argument,)
        if method != "read":  # it would be content with what there is
            reading = asyncio.ensure_future(getattr(peer, method)(*arguments))
            while peer.bytes_read < 3:  # noqa: ASYNC110 - no event tells of bytes that a reader still waits with
                await asyncio.sleep(0)
        else:
            assert await peer.read(3) == b"abc"
            reading = asyncio.ensure_future(peer.read())
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await client.send(b"def")
        assert await peer.readexactly(3 if method == "read" else 6) == (b"def" if method == "read" else b"abcdef")


async def test_timeout_in_a_race_with_data_loses_nothing(pair: Pair) -> None:
    """Reads that are given up in every turn of the loop lose no byte of a stream."""
    async with pair() as (client, peer, _server):
        sent, got = b"".join(number.to_bytes(2, "big") for number in range(2000)), bytearray()

        async def write() -> None:
            for start in range(0, len(sent), 50):
                await client.send(sent[start : start + 50])
                await asyncio.sleep(0)

        writing = asyncio.ensure_future(write())
        while len(got) < len(sent):
            reading = asyncio.ensure_future(peer.read(30))
            await asyncio.sleep(0)
            if not reading.done():
                await asyncio.sleep(0)
                reading.cancel()
            for result in await asyncio.gather(reading, return_exceptions=True):
                if isinstance(result, bytes):
                    got += result
        await writing
        assert bytes(got) == sent


async def test_pipe_moves_all_and_ends(pair: Pair) -> None:
    """`pipe` writes everything to another socket, ends it, and tells how much it was."""
    async with pair() as (source, into, _), pair() as (outof, sink, _):
        piping = asyncio.ensure_future(into.pipe(outof))
        source.end(b"x" * 300_000)
        assert await sink.readexactly(300_000) == b"x" * 300_000
        assert await sink.read() == b""
        assert await piping == 300_000


async def test_pipe_may_leave_the_other_end_open(pair: Pair) -> None:
    """With `end=False` the destination can be written to afterwards."""
    async with pair() as (source, into, _), pair() as (outof, sink, _):
        source.end(b"a")
        assert await into.pipe(outof, end=False) == 1
        outof.end(b"b")
        assert await sink.readexactly(2) == b"ab"


async def test_pipe_into_a_stream_writer(pair: Pair) -> None:
    """An asyncio StreamWriter is a destination too."""
    received = asyncio.get_running_loop().create_future()

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.set_result(await reader.read())
        writer.close()

    listening = await asyncio.start_server(collect, "127.0.0.1", 0)
    async with pair() as (client, peer, _server):
        _reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname()[:2])
        client.end(b"through")
        assert await peer.pipe(writer) == 7
        assert await received == b"through"
        writer.close()
        await writer.wait_closed()
    listening.close()


class Ends:
    """A destination that cannot end one direction, as asyncio's TLS."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.calls.append(data)

    async def drain(self) -> None:
        """Do not wait."""

    def can_write_eof(self) -> bool:
        """Return asyncio's answer for TLS."""
        return False

    def write_eof(self) -> None:
        """Raise as asyncio does."""
        raise NotImplementedError

    def close(self) -> None:
        """Note it."""
        self.calls.append("close")


async def test_pipe_closes_what_has_no_half_end(pair: Pair) -> None:
    """`write_eof` of asyncio's TLS raises NotImplementedError."""
    destination = Ends()
    async with pair() as (client, peer, _server):
        client.end(b"through")
        assert await peer.pipe(destination) == 7
    assert (destination.calls[0], destination.calls[-1]) == (b"through", "close")


class Drains:
    """A destination without an end."""

    async def drain(self) -> None:
        """Do not wait."""

    def write(self, data: bytes) -> None:
        """Take it."""


@pytest.mark.parametrize(("destination", "end"), [(5, True), (b"", False), (Drains(), True)], ids=["int", "bytes", "no end"])
async def test_pipe_reads_nothing_for_what_cannot_take_it(pair: Pair, destination: Any, end: bool) -> None:  # noqa: FBT001
    """The data stays for the next read."""
    async with pair() as (client, peer, _server):
        await client.send(b"kept")
        with pytest.raises(tlsio.UsageError, match="destination must be an object with write") as caught:
            await peer.pipe(destination, end=end)
        assert caught.value.code == "ERR_INVALID_ARG_TYPE"
        assert await peer.read() == b"kept"


async def test_bytes_come_before_the_error(pair: Pair) -> None:
    """What the peer sent before it broke off is read first, then the error, every time."""
    async with pair() as (client, peer, _server):
        await client.send(b"last words")
        client.destroy()
        assert await peer.read() == b"last words"
        for _ in range(2):
            with pytest.raises(tlsio.TruncatedError):
                await peer.read()


async def test_nobody_reads_and_nothing_is_lost(pair: Pair) -> None:
    """Data that waited for a reader comes whole, and then the end."""
    async with pair() as (client, peer, _server):
        for number in range(20):
            await client.send(bytes([number]) * 1000)
        client.end()
        for _ in range(20):
            await asyncio.sleep(0)
        assert await peer.readexactly(20_000) == b"".join(bytes([number]) * 1000 for number in range(20))
        assert await peer.read() == b""
