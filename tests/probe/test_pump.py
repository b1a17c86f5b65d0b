"""Bytes between a socket and the caller."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

import pki
import tlsio
from faulty_servers import good
from tlsio import probe


@pytest.mark.parametrize(("linger", "patience", "answer"), [(0, 20.0, b"ended"), (20.0, 0.05, b"open"), (0.01, 20.0, b"ended")])
async def test_end_of_the_input_is_sent_after_the_peers_silence(linger: float, patience: float, answer: bytes) -> None:
    """The server says whether it has seen the end of the client's direction when it answers."""
    got: list[bytes] = []
    inputs = [b"question\n", b""]

    async def reply(socket: tlsio.TLSSocket) -> None:
        await socket.readline()
        seen = b"open"
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                assert await socket.read() == b""
                seen = b"ended"
        await socket.send(seen)

    async def read() -> bytes:
        return inputs.pop(0)

    async def write(data: bytes) -> None:
        got.append(data)

    options = {"cert": good().chain_pem, "key": good().key_pem, "allow_half_open": True}
    async with (
        tlsio.serve(reply, 0, "127.0.0.1", **options) as server,
        tlsio.connect(server.port, "localhost", ca=pki.ca1().cert_pem) as socket,
    ):
        await probe.pump(socket, read, write, linger=linger)
    assert got == [answer]


async def test_peers_end_ends_only_its_direction_if_asked() -> None:
    """What is left of the input is still sent."""
    got = bytearray()
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    inputs = [*[bytes(65536)] * 20, b""]

    async def receive(socket: tlsio.TLSSocket) -> None:
        socket.end()
        async for chunk in socket:
            got.extend(chunk)
        done.set_result(None)

    async def read() -> bytes:
        await asyncio.sleep(0)  # as from a pipe, so that the peer's end comes first
        return inputs.pop(0)

    async def write(_: bytes) -> None: ...

    options = {"cert": good().chain_pem, "key": good().key_pem, "allow_half_open": True}
    async with (
        tlsio.serve(receive, 0, "127.0.0.1", **options) as server,
        tlsio.connect(server.port, "localhost", ca=pki.ca1().cert_pem) as socket,
    ):
        await probe.pump(socket, read, write, finish=True)
        await socket.aclose()
        await done
    assert len(got) == 20 * 65536


async def test_peer_that_closes_before_the_input_is_sent_is_an_error() -> None:
    """The sender must not believe that all was accepted."""

    async def close(socket: tlsio.TLSSocket) -> None:
        await socket.aclose()

    async def read() -> bytes:
        await asyncio.sleep(0)
        return bytes(65536)

    async def write(_: bytes) -> None: ...

    options = {"cert": good().chain_pem, "key": good().key_pem}
    async with (
        tlsio.serve(close, 0, "127.0.0.1", **options) as server,
        tlsio.connect(server.port, "localhost", ca=pki.ca1().cert_pem) as socket,
    ):
        with pytest.raises(tlsio.TLSError):
            await probe.pump(socket, read, write, finish=True)
