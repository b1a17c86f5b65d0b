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
