"""The graceful end of a server: idle connections at once, the others in time, and all of them by close_notify."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from net import until

if TYPE_CHECKING:
    from pathlib import Path


def identity() -> dict[str, Any]:
    """Return the options of the usual server."""
    who = pki.localhost()
    return {"cert": who.cert_pem, "key": who.key_pem}


def foreign(port: int) -> ssl.SSLSocket:
    """Connect by the standard library, to which an end without close_notify is an error."""
    context = ssl.create_default_context(cadata=pki.ca1().cert_pem.decode())
    below = socket.create_connection(("127.0.0.1", port), 10)
    return context.wrap_socket(below, server_hostname="localhost", suppress_ragged_eofs=False)


async def echo(sock: tlsio.TLSSocket) -> None:
    """Send back what comes."""
    async for chunk in sock:
        await sock.send(chunk)


async def test_idle_connections_end_at_once() -> None:
    """A reader that waits with nothing buffered or unsent: the client gets our end, and the server does not wait."""
    start = time.monotonic()
    async with tlsio.serve(echo, 0, "127.0.0.1", shutdown_timeout=20, **identity()) as server:
        client = await asyncio.to_thread(foreign, server.port)
        await asyncio.to_thread(client.sendall, b"x")
        assert await asyncio.to_thread(client.recv, 10) == b"x"
        ending = asyncio.ensure_future(asyncio.to_thread(client.recv, 10))
        ending.add_done_callback(lambda _: client.close())
    assert await ending == b""
    assert time.monotonic() - start < 10


async def test_connection_that_becomes_idle_ends_then() -> None:
    """What was being answered is answered first."""
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(sock: tlsio.TLSSocket) -> None:
        while request := await sock.read():
            asked.set()
            await answer.wait()
            await sock.send(request.upper())

    async with tlsio.serve(slow, 0, "127.0.0.1", shutdown_timeout=20, **identity()) as server:
        client = await tlsio.connect(server.port, "localhost", ca=pki.ca1().cert_pem)
        await client.send(b"question")
        await asked.wait()
        asyncio.get_running_loop().call_later(0.05, answer.set)
        reading = asyncio.ensure_future(client.read_all())
        reading.add_done_callback(lambda _: client.close())
    assert await reading == b"QUESTION"
    await client.wait_closed()


async def test_partial_request_is_not_idle() -> None:
    """A line has begun: the connection is waited for."""
    async with tlsio.serve(lambda sock: sock.readline(), 0, "127.0.0.1", shutdown_timeout=0.1, **identity()) as server:
        client = await tlsio.connect(server.port, "localhost", ca=pki.ca1().cert_pem)
        await client.send(b"half a li")
        while server.stats().bytes_read < 9:  # noqa: ASYNC110 - no event tells what a reader holds
            await asyncio.sleep(0.001)
        start = time.monotonic()
    assert time.monotonic() - start >= 0.09
    await client.aclose()


async def test_log_says_what_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """One line, when the wait begins."""
    caplog.set_level(logging.INFO, "tlsio")
    async with tlsio.serve(lambda _: asyncio.Event().wait(), 0, "127.0.0.1", shutdown_timeout=0.05, **identity()) as server:
        client = await tlsio.connect(server.port, "localhost", ca=pki.ca1().cert_pem)
        await until(server.open_sockets)
    (line,) = [one.getMessage() for one in caplog.records if one.levelno == logging.INFO]
    assert "waits up to 0.05 seconds for 1 connections (0 of them idle, which are told to end) and 1 listeners" in line
    assert await client.read() == b""
    await client.aclose()


@pytest.mark.parametrize("seconds", [0, 0.05])
async def test_connections_that_are_left_get_close_notify(seconds: float) -> None:
    """A foreign client sees an end, not a truncation."""
    server = tlsio.create_server(lambda _: asyncio.Event().wait(), **identity())
    await server.listen(0, "127.0.0.1")
    client = await asyncio.to_thread(foreign, server.port)
    while not server.stats().handshakes_full:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    server.close(seconds)
    await server.wait_closed()
    assert await asyncio.to_thread(client.recv, 10) == b""
    client.close()


async def test_unread_data_is_lost_in_the_open() -> None:
    """Data that could not be sent is not followed by close_notify, which would call it complete."""
    server = tlsio.create_server(lambda sock: sock.send(bytes(20_000_000)), **identity())
    await server.listen(0, "127.0.0.1")
    client = await tlsio.connect(server.port, "localhost", ca=pki.ca1().cert_pem)
    while not server.stats().bytes_written:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    server.close(0)
    await server.wait_closed()
    with pytest.raises((tlsio.TruncatedError, tlsio.ConnectionLostError)):
        await client.read_all(limit=20_000_000)
    await client.aclose()


PROGRAM = """
import asyncio, logging, signal, sys
from pathlib import Path
import tlsio

async def stay(sock):
    await asyncio.Event().wait()

async def main():
    async with tlsio.serve(stay, 0, "127.0.0.1", cert=Path(sys.argv[1]), key=Path(sys.argv[2]), shutdown_timeout=60) as server:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.close)
        print(server.port, flush=True)
        await server.serve_forever()

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.slow
def test_ctrl_c_ends_a_shutdown(tmp_path: Path) -> None:
    """The server was told to end and waits for a client: Ctrl-C ends it at once, and the client sees an end."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(pki.localhost().cert_pem)
    key.write_bytes(pki.localhost().key_pem)
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(cert), str(key)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            with foreign(int(process.stdout.readline())) as client:
                time.sleep(0.1)  # the server's listener runs
                process.send_signal(signal.SIGTERM)
                assert "is shutting down" in process.stdout.readline()
                process.send_signal(signal.SIGINT)
                assert client.recv(10) == b""
            assert process.communicate(timeout=10)[0] == "interrupted\n"
        finally:
            process.kill()


async def test_close_from_another_thread_is_refused() -> None:
    """And the message says how to call it."""
    async with tlsio.serve(echo, 0, "127.0.0.1", **identity()) as server:
        with pytest.raises(tlsio.UsageError) as caught:
            await asyncio.to_thread(server.close)
        assert "call_soon_threadsafe" in (caught.value.hint or "")
        assert server.listening


async def test_repr_shows_the_addresses(unix_path: Path) -> None:
    """All of them, with their ports."""
    async with tlsio.serve(echo, 0, "127.0.0.1", **identity()) as server:
        assert repr(server) == f"<Server listening on 127.0.0.1:{server.port} connections=0>"
    assert repr(server) == "<Server closed connections=0>"
    async with tlsio.serve(echo, None, path=unix_path, **identity()) as server:
        assert repr(server) == f"<Server listening on {unix_path} connections=0>"


@pytest.mark.parametrize("how", ["end", "close"])
async def test_socket_that_is_ended_in_the_same_pass_gets_close_notify(how: str) -> None:
    """What `end` or `close` has queued is sent before the server closes the connection."""
    made: asyncio.Queue[tlsio.TLSSocket] = asyncio.Queue()
    server = tlsio.create_server(made.put_nowait, **identity())
    await server.listen(0, "127.0.0.1")
    client = await asyncio.to_thread(foreign, server.port or 0)
    peer = await made.get()
    peer.write(b"bye")
    getattr(peer, how)()
    server.close(0)
    await server.wait_closed()
    assert await asyncio.to_thread(client.recv, 10) == b"bye"
    assert await asyncio.to_thread(client.recv, 10) == b""
    client.close()


async def test_handlers_of_streams_have_ended_when_a_cancelled_server_is_left() -> None:
    """`asyncio.run` cancels what is left, which asyncio of Python 3.11 reports for each handler."""
    ended, reading = [], asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reading.set()
        ended.append(await reader.read())
        writer.close()
        await writer.wait_closed()
        ended.append(b"end")

    async def serve(server: tlsio.AsyncioServer) -> None:
        async with server:
            await server.serve_forever()

    server = await tlsio.start_server(handler, "127.0.0.1", 0, **identity())
    serving = asyncio.ensure_future(serve(server))
    client = await asyncio.to_thread(foreign, server.sockets[0].getsockname()[1])
    await reading.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert ended == [b"", b"end"]
    assert await asyncio.to_thread(client.recv, 10) == b""
    client.close()


async def test_upload_in_progress_is_not_idle() -> None:
    """Between two chunks a reader waits with nothing buffered, as if the client were idle."""
    received = bytearray()

    async def upload(sock: tlsio.TLSSocket) -> None:
        async for chunk in sock:
            received.extend(chunk)
        await sock.send(b"stored %d" % len(received))

    async with tlsio.serve(upload, 0, "127.0.0.1", shutdown_timeout=10, **identity()) as server:
        client = await tlsio.connect(server.port, "localhost", ca=pki.ca1().cert_pem)
        await client.send(bytes(1000))

        async def send_the_rest() -> bytes:
            for _ in range(8):
                await asyncio.sleep(0.05)
                await client.send(bytes(1000))
            client.end()
            return await client.read_all()

        sending = asyncio.ensure_future(send_the_rest())
        while not received:  # noqa: ASYNC110 - no event tells that a reader waits again
            await asyncio.sleep(0.001)
    assert await sending == b"stored 9000"
    await client.aclose()
