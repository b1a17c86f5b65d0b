"""A client that sends its request and its end together with the last flight of the handshake."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import pytest

import pki
import stdlib_peer
import tlsio

SERVER: dict[str, Any] = {"cert": pki.localhost().chain_pem, "key": pki.localhost().key_pem}


def ask(port: int, request: bytes) -> bytes:
    """Send the request and close_notify in the segment of the client's Finished; return the response."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        client, into, out = stdlib_peer.shake_hands(raw)
        if request:
            client.write(request)
        with pytest.raises(ssl.SSLWantReadError):
            client.unwrap()
        raw.sendall(out.read())
        while data := raw.recv(65536):
            into.write(data)
    response = b""
    try:
        while True:
            response += client.read(65536)
    except ssl.SSLZeroReturnError:
        return response


@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize("request_", [b"", b"request\n"], ids=["nothing", "a request"])
async def test_handler_answers_a_client_that_has_ended(request_: bytes, threads: int) -> None:
    """The connection is closed after what the handler has written at once."""
    read: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        read.append(await reader.readline() if request_ else b"")
        writer.write(b"response")
        await writer.drain()
        read.append(await reader.read())

    async with await tlsio.start_server(handle, "127.0.0.1", 0, handshake_threads=threads, **SERVER) as server:
        port = server.sockets[0].getsockname()[1]
        assert await asyncio.to_thread(ask, port, request_) == b"response"
    assert read == [request_, b""]


async def test_failure_of_the_late_end_closes(loop_errors: list[Any]) -> None:
    """As at any other time, and it is reported."""
    failure, lost = ValueError("on purpose"), asyncio.get_running_loop().create_future()

    class Failing(asyncio.Protocol):
        def eof_received(self) -> None:
            raise failure

        def connection_lost(self, error: Exception | None) -> None:
            lost.set_result(error)

    async with await tlsio.create_tls_server(Failing, "127.0.0.1", 0, **SERVER) as server:
        port = server.sockets[0].getsockname()[1]
        asking = asyncio.create_task(asyncio.to_thread(ask, port, b""))
        assert await lost is failure
        await asyncio.wait((asking,))
        assert asking.exception() is None or isinstance(asking.exception(), OSError | ssl.SSLError)
    assert [one["exception"] for one in loop_errors] == [failure]
    loop_errors.clear()
