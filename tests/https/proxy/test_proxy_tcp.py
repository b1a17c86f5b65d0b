"""`tlsio proxy` in front of any TCP server: real ones, and ones that misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import re
import socket
import ssl
import struct
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import redis

import pki
import tlsio
from redis_server import RedisServer
from served import PATIENCE, Served, client_context, load_identity, run_tlsio, write_files
from tlsio.https.proxy.protocol import count_wanted, parse_header
from tlsio.https.proxy.tcp import TCPProxy, TCPTarget

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def proxying(handler: Handler, *, target: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[TCPProxy]:
    """Run a backend and a proxy in front of it."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(ConnectionError):
            await handler(reader, writer)
        writer.close()

    who = pki.localhost()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as backend:
        port = backend.sockets[0].getsockname()[1]
        proxy = TCPProxy(TCPTarget(**{"host": "127.0.0.1", "port": port, **(target or {})}), cert=who.chain_pem, key=who.key_pem, **options)
        await proxy.start("127.0.0.1", 0)
        try:
            yield proxy
        finally:
            await proxy.stop()
            await asyncio.gather(*tasks, return_exceptions=True)


async def connect(proxy: TCPProxy, context: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect as a client."""
    return await asyncio.open_connection("127.0.0.1", proxy.port, ssl=context or client_context(), server_hostname="localhost")


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes, up to its end."""
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()


async def test_both_directions() -> None:
    """Megabytes, at once."""
    data = os.urandom(4 << 20)
    async with proxying(echo) as proxy:
        reader, writer = await connect(proxy)

        async def send() -> None:
            for at in range(0, len(data), 65536):
                writer.write(data[at : at + 65536])
                await writer.drain()

        sending = asyncio.create_task(send())
        received = await reader.readexactly(len(data))
        await sending
        writer.close()
    assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()


async def test_the_end_of_one_direction_is_not_that_of_the_other() -> None:
    """A backend that answers only when its client has ended; the client's close_notify reaches it."""
    import tlsio  # noqa: PLC0415 - a client that can end one direction

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(str(len(await reader.read())).encode())

    async with proxying(count) as proxy, await tlsio.connect(proxy.port or 0, "localhost", ca=pki.ca1().cert_pem) as client:
        await client.send(b"x" * 100_000)
        client.end()
        assert await client.read() == b"100000"
        assert await client.read() == b""


async def test_the_end_of_the_backend() -> None:
    """Is the end for the client, which may still send."""
    heard = bytearray()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.write_eof()
        heard.extend(await reader.read())

    import tlsio  # noqa: PLC0415 - as above

    options: dict[str, Any] = {"ca": pki.ca1().cert_pem, "allow_half_open": True}
    async with proxying(greet) as proxy, await tlsio.connect(proxy.port or 0, "localhost", **options) as client:
        assert await client.read() == b"hello"
        assert await client.read() == b""
        await client.send(b"and you")
        client.end()
        await client.wait_closed()
    assert heard == b"and you"


@pytest.mark.parametrize("from_client", [True, False])
async def test_a_slow_side_holds_the_other_back(from_client: bool) -> None:  # noqa: FBT001
    """What the proxy keeps is bounded by the buffers of the kernel, whichever side does not read."""
    released, sent = asyncio.Event(), 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while True:
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        await (released.wait() if from_client else flood(writer))

    async with proxying(backend, graceful_timeout=0.01) as proxy:
        _, writer = await connect(proxy)
        client_flood = asyncio.create_task(flood(writer)) if from_client else None
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.2)  # a flood that is held back moves nothing meanwhile
        released.set()
        if client_flood is not None:
            client_flood.cancel()
        writer.transport.abort()
    assert sent < 64 << 20


async def test_a_backend_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    """The client's connection is cut, with one line in the log."""
    who = pki.localhost()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        proxy = TCPProxy(TCPTarget(host="127.0.0.1", port=nobody.getsockname()[1]), cert=who.chain_pem, key=who.key_pem)
        await proxy.start("127.0.0.1", 0)
        reader, writer = await connect(proxy)
        with suppress(ConnectionError, ssl.SSLError):
            writer.write(b"x")
            assert await reader.read() == b""
        writer.close()
        await proxy.stop()
    assert len(caplog.records) == 1
    assert "cannot be reached" in caplog.text


@pytest.mark.parametrize("begin", [b"", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n\x16\x03\x01"], ids=["header", "handshake"])
@pytest.mark.parametrize("is_aborted", [False, True])
async def test_a_stop_does_not_wait_for_clients_that_stall(begin: bytes, is_aborted: bool) -> None:  # noqa: FBT001
    """Before their connection is one of TLS: the end of graceful_timeout, or a second signal, closes them."""
    async with proxying(echo, proxy_protocol=["127.0.0.1"], graceful_timeout=None if is_aborted else 0.1) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(begin)
        assert proxy._proxied is not None
        while not proxy._proxied._tasks or (begin and not proxy.tls_server._open_sockets):  # noqa: ASYNC110 - nothing reports either
            await asyncio.sleep(0)
        stopping = asyncio.create_task(proxy.stop())
        if is_aborted:
            await asyncio.sleep(0)
            proxy.abort()
        async with asyncio.timeout(3.0):  # less than the limits of a header and of a handshake
            await stopping
            with suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()


async def test_a_backend_that_dies_is_no_clean_end() -> None:
    """The client sees a truncation, not the end of the data."""
    import tlsio  # noqa: PLC0415 - a client that tells them apart

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with proxying(die) as proxy:
        client = await tlsio.connect(proxy.port or 0, "localhost", ca=pki.ca1().cert_pem)
        await client.send(b"x")
        with pytest.raises(tlsio.TLSError):
            await client.read()
        await client.wait_closed()


@pytest.mark.slow  # a busy machine must not make the bytes later than the timeout
async def test_an_idle_connection() -> None:
    """Is closed after idle_timeout; each byte begins it anew."""

    async def tick(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(4):
            await asyncio.sleep(0.6)
            writer.write(b".")
        await reader.read()

    async with proxying(tick, target={"idle_timeout": 2.0}) as proxy:
        reader, writer = await connect(proxy)
        assert await reader.readexactly(4) == b"...."
        with pytest.raises((ConnectionError, ssl.SSLError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()


@pytest.mark.parametrize("has_certificate", [False, True])
async def test_the_backend_learns_who_the_client_is(has_certificate: bool) -> None:  # noqa: FBT001
    """By a PROXY protocol header of version 2, before the client's bytes."""
    seen: asyncio.Future[tuple[bytes, bytes]] = asyncio.get_running_loop().create_future()

    async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del writer
        data = b""
        while wanted := count_wanted(data):
            data += await reader.readexactly(wanted)
        seen.set_result((data, await reader.readexactly(5)))

    context = client_context()
    context.set_alpn_protocols(["redis"])
    if has_certificate:
        load_identity(context, pki.client())
    trust: dict[str, Any] = {"ca": pki.ca1().cert_pem, "request_cert": True, "reject_unauthorized": False}
    async with proxying(look, target={"send_proxy": True}, alpn_protocols=["redis"], **trust) as proxy:
        _, writer = await connect(proxy, context)
        writer.write(b"hello")
        header, rest = await seen
        own = writer.get_extra_info("sockname")
        writer.close()
    assert rest == b"hello"
    assert parse_header(header).source == own
    assert parse_header(header).destination == ("127.0.0.1", proxy.port) or proxy.port is None
    for fact in (b"TLSv1.3", b"redis", b"localhost", b"TLS_AES_256_GCM_SHA384"):
        assert fact in header
    verify = struct.unpack("!I", header[header.index(b"\x20", 28 + 3 + 5) + 4 :][:4])[0]
    assert (verify == 0) is has_certificate


@pytest.mark.parametrize("form", ["text", "json"])
async def test_each_connection_is_a_line_of_the_access_log(form: Any, caplog: pytest.LogCaptureFixture) -> None:
    """At its end, with the bytes of both directions."""
    caplog.set_level(logging.INFO, "tlsio.access")
    async with proxying(echo, access_log=form) as proxy:
        reader, writer = await connect(proxy)
        client = "{}:{}".format(*writer.get_extra_info("sockname"))
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        assert not caplog.records
        writer.close()
        await writer.wait_closed()
    [line] = [record.getMessage() for record in caplog.records if record.name == "tlsio.access"]
    if form == "text":
        assert re.fullmatch(rf'{client} - "TCP 127\.0\.0\.1:\d+" closed received=5 sent=5 seconds=\d+\.\d\d\d', line)
    else:
        found = json.loads(line)
        assert (found["client"], found["result"], found["received"], found["sent"]) == (client, "closed", 5, 5)
        assert found["tls"]["version"] == "TLSv1.3"


@pytest.mark.parametrize(
    ("target", "result"), [({"idle_timeout": 0.05}, "idle"), ({"port": 1}, "unreachable")], ids=["idle", "unreachable"]
)
async def test_the_access_log_says_how_a_connection_ended(target: dict[str, Any], result: str, caplog: pytest.LogCaptureFixture) -> None:
    """Not each one is closed by both sides."""
    caplog.set_level(logging.INFO, "tlsio.access")
    async with proxying(echo, target=target, access_log="text") as proxy:
        reader, writer = await connect(proxy)
        with suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
    [line] = [record.getMessage() for record in caplog.records if record.name == "tlsio.access"]
    assert f" {result} received=0 sent=0 " in line


async def test_the_access_log_has_two_forms() -> None:
    """Others are refused."""
    with pytest.raises(tlsio.UsageError, match="access_log") as caught:
        TCPProxy(TCPTarget(host="127.0.0.1", port=1), access_log="xml")  # type: ignore[arg-type]
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"


@pytest.mark.slow
def test_redis_behind_tls(tmp_path: Path) -> None:
    """A real client with TLS, a real server without."""
    write_files(tmp_path)
    with RedisServer() as server:
        words = ("proxy", "PORT", "--to", server.url.removeprefix("redis://").removesuffix("/0"))
        with Served(tmp_path, *words) as served, redis.Redis(port=served.port, ssl=True, ssl_ca_certs=str(tmp_path / "ca.pem")) as client:
            value = os.urandom(1 << 20)
            assert client.set("name", value)
            assert client.get("name") == value
            with client.pipeline() as many:
                for number in range(1000):
                    many.incr(f"n{number % 7}")
                assert len(many.execute()) == 1000
        assert server.run("GET", "n0") == b"143"


@pytest.mark.slow
def test_a_proxy_behind_a_proxy(tmp_path: Path) -> None:
    """What one sends, the other takes off, over TLS within TLS: the address is the first client's."""
    write_files(tmp_path)
    with (
        Served(tmp_path, "serve", "main:app", "--proxy-protocol", "127.0.0.0/8") as behind,
        Served(tmp_path, "proxy", "PORT", "--to", f"127.0.0.1:{behind.port}", "--send-proxy", "--workers", "2") as front,
        socket.create_connection(("127.0.0.1", front.port), timeout=PATIENCE) as plain,
    ):
        outer = client_context().wrap_socket(plain, server_hostname="localhost")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        inner = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        own = outer.getsockname()

        def step(call: Callable[[], Any]) -> Any:
            while True:
                try:
                    return call()
                except ssl.SSLWantReadError:
                    outer.sendall(outgoing.read())
                    incoming.write(outer.recv(65536))

        step(inner.do_handshake)
        inner.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        outer.sendall(outgoing.read())
        answer = step(lambda: inner.read(65536))
        assert f'"client": ["127.0.0.1", {own[1]}]'.encode() in answer + step(lambda: inner.read(65536) if b"client" not in answer else b"")
        outer.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "Missing option '--to'"),
        (("--to", "nothing"), "is not HOST:PORT"),
        (("--to", "127.0.0.1:1"), None),
        (("--to", "a:b:c"), "is not HOST:PORT"),
        (("--to", "127.0.0.1:1", "--http", "--send-proxy"), "--send-proxy cannot be combined with --http"),
        (("--to", "127.0.0.1:1", "--http", "--alpn", "x"), "--alpn cannot be combined with --http"),
        (("--to", "127.0.0.1:1", "--connect-timeout", "0"), "--connect-timeout"),
        (("--to", "127.0.0.1:1", "--cert", "missing"), "missing"),
        (("--to", "127.0.0.1:1", "--alpn", ""), "--alpn"),
    ],
)
def test_mistakes_of_the_command_line(tmp_path: Path, words: tuple[str, ...], problem: str | None) -> None:
    """Each is a sentence."""
    write_files(tmp_path)
    done = run_tlsio(tmp_path, "proxy", "0", *words, "--check")
    assert done.returncode == (2 if problem else 0)
    assert problem is None or problem in done.stderr
    assert "Traceback" not in done.stderr
