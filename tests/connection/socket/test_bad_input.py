"""What bad input gets: that connection ends, with the fitting alert and one `tls_client_error`; nobody else notices."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pki
import stdlib_peer
import tlsio
from net import until
from tlsio.native._core import openssl_version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from net import Version

MIB = 1024 * 1024


def hello() -> bytes:
    """Return a real ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = stdlib_peer.client().wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def options(**more: Any) -> dict[str, Any]:
    """Return the options of the usual server."""
    return {"cert": pki.localhost().cert_pem, "key": pki.localhost().key_pem, **more}


async def echo(sock: tlsio.TLSSocket) -> None:
    """Give back what comes."""
    async for chunk in sock:
        await sock.send(chunk)


INPUTS: dict[str, tuple[Any, int | None, str]] = {
    # what is sent, the alert, the code
    "garbage": (lambda: b"\xde\xad\xbe\xef" * 8, 10, "ERR_SSL_WRONG_VERSION_NUMBER"),
    "zeros": (lambda: bytes(64), 10, "ERR_SSL_WRONG_VERSION_NUMBER"),
    "plain HTTP": (lambda: b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 10, "ERR_SSL_HTTP_REQUEST"),
    "plain text": (lambda: b"EHLO example.com\r\n", 10, "ERR_SSL_WRONG_VERSION_NUMBER"),
    "SSL 2.0": (lambda: bytes.fromhex("802e0100020015000000100100800200800300800400800500800600400700c0") + bytes(16), None, ""),
    "over-long record": (lambda: bytes.fromhex("160301ffff") + bytes(1000), 22, "ERR_SSL_PACKET_LENGTH_TOO_LONG"),
    "empty handshake record": (lambda: bytes.fromhex("1603010000") * 40, 10, ""),
    "application data first": (lambda: bytes.fromhex("1703030005") + b"hello", 10, ""),
    "alert first": (lambda: bytes.fromhex("15030100020228"), None, ""),
    "change cipher spec first": (lambda: bytes.fromhex("140301000101"), 10, ""),
    "server hello": (lambda: bytes.fromhex("16030100040200000000"), 10, ""),
    "hello of nothing": (lambda: bytes.fromhex("160301000401000000"), 50, ""),
    "hello with a broken length": (lambda: hello()[:43] + b"\xff" + hello()[44:], 50, ""),
    "hello of 16 MiB": (lambda: bytes.fromhex("160301000401ffffff"), 47, ""),
}


@pytest.mark.node("tls-junk-closes-server")
@pytest.mark.parametrize("kind", list(INPUTS))
async def test_bytes_that_are_no_handshake(kind: str) -> None:
    """Each gets its alert before the connection ends, each is told once, and others do not notice."""
    data, alert, code = INPUTS[kind]
    errors: list[Any] = []
    async with tlsio.serve(echo, 0, "127.0.0.1", **options()) as server:
        server.on("tls_client_error", lambda error, _sock: errors.append(error))
        other = await tlsio.connect(server.port, "127.0.0.1", ca=pki.ca1().cert_pem)
        answer = await stdlib_peer.send_raw(server, data(), end=True)
        if alert is not None:
            assert stdlib_peer.alert_in(answer) == alert
        await until(lambda: errors)
        assert [isinstance(error, tlsio.TLSError) for error in errors] == [True]
        if code:
            assert errors[0].code.replace("DATA_LENGTH", "PACKET_LENGTH") == code  # the name since OpenSSL 3.2
        await other.send(b"undisturbed")
        assert await other.read() == b"undisturbed"
        await other.aclose()
        assert sum(server.stats().handshakes_failed.values()) == 1


@pytest.mark.node("tls-no-sslv3", "tls-alert")
@pytest.mark.parametrize(
    ("version", "alert", "code"),
    [
        (b"\3\0", 40 if openssl_version < "OpenSSL 4" else 70, "ERR_SSL_VERSION_TOO_LOW"),  # which knows no SSL 3.0 any more
        (b"\3\1", 70, "ERR_SSL_UNSUPPORTED_PROTOCOL"),
        (b"\3\2", 70, "ERR_SSL_UNSUPPORTED_PROTOCOL"),
    ],
    ids=["SSL 3.0", "TLS 1.0", "TLS 1.1"],
)
async def test_client_of_the_past(version: bytes, alert: int, code: str) -> None:
    """It gets the alert, and the server is told why."""
    body = version + bytes(32) + b"\0" + b"\0\2\0\x2f" + b"\1\0"  # RFC 6101 §5.6.1.2: random, no session, one suite, no compression
    message = b"\1" + len(body).to_bytes(3, "big") + body
    errors: list[Any] = []
    async with tlsio.serve(echo, 0, "127.0.0.1", **options(max_version="TLSv1.2")) as server:
        server.on("tls_client_error", lambda error, _sock: errors.append(error))
        answer = await stdlib_peer.send_raw(server, b"\x16" + version + len(message).to_bytes(2, "big") + message)
    assert stdlib_peer.alert_in(answer) == alert
    assert [error.code for error in errors] == [code]


@pytest.mark.node("tls-econnreset")
@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("size", [0, 1, 5, 60, None], ids=["nothing", "one byte", "header", "half a hello", "hello"])
async def test_client_that_leaves(size: int | None, how: str) -> None:
    """By FIN or reset, at any point: one error, a connection that was lost."""
    errors: list[Any] = []
    told = asyncio.Event()
    async with tlsio.serve(echo, 0, "127.0.0.1", **options()) as server:
        server.on("tls_client_error", lambda error, _sock: (errors.append(error), told.set()))
        with stdlib_peer.dial(server) as sock:
            sock.sendall(hello()[:size])
            if how == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                sock.shutdown(socket.SHUT_WR)
                await told.wait()  # a closed socket would answer the server's flight with a reset
        await told.wait()
    assert [(type(error), error.code) for error in errors] == [(tlsio.ConnectionLostError, "ECONNRESET")]
    if how == "fin":
        assert errors[0].message == "socket hang up"


async def test_hello_in_single_bytes_is_fine(version: Version) -> None:
    """Slow is not wrong, as long as it is done in time."""

    def drip(port: int) -> bytes:
        client = stdlib_peer.client(version=version)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client.wrap_bio(incoming, outgoing)
        with socket.create_connection(("127.0.0.1", port), stdlib_peer.TIMEOUT) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    for byte in outgoing.read():
                        sock.sendall(bytes([byte]))
                    incoming.write(sock.recv(65536))
            tls.write(b"made it")
            for byte in outgoing.read():
                sock.sendall(bytes([byte]))
            while True:
                try:
                    return tls.read(64)
                except ssl.SSLWantReadError:
                    incoming.write(sock.recv(65536))

    async with tlsio.serve(echo, 0, "127.0.0.1", **options()) as server:
        assert await asyncio.to_thread(drip, server.port) == b"made it"


@pytest.mark.slow  # its time is long enough for a busy machine to shake hands with the other client
async def test_slow_loris_is_ended_in_time() -> None:
    """A byte now and then does not hold a connection beyond `handshake_timeout`, nor anybody else up."""

    def drip(port: int) -> int:
        with socket.create_connection(("127.0.0.1", port), stdlib_peer.TIMEOUT) as sock:
            sock.settimeout(0.1)
            for sent, byte in enumerate(hello()):
                try:
                    sock.sendall(bytes([byte]))
                    if sock.recv(64):
                        return sent
                except TimeoutError:
                    continue
                except OSError:
                    return sent
        return -1

    errors: list[Any] = []
    async with tlsio.serve(echo, 0, "127.0.0.1", **options(handshake_timeout=1.0)) as server:
        server.on("tls_client_error", lambda error, _sock: errors.append(error))
        slow = asyncio.create_task(asyncio.to_thread(drip, server.port or 0))
        async with tlsio.connect(server.port, "127.0.0.1", ca=pki.ca1().cert_pem) as sock:
            await sock.send(b"quick")
            assert await sock.read() == b"quick"
        assert 0 < await slow < 60
    assert [error.code for error in errors] == ["ERR_TLS_HANDSHAKE_TIMEOUT"]


async def test_flood_of_key_updates_is_ended() -> None:
    """OpenSSL has no limit for them; each costs a key derivation and may cost an answer."""
    ended = asyncio.get_running_loop().create_future()

    async def read(sock: tlsio.TLSSocket) -> None:
        try:
            await sock.read()
        except tlsio.TLSError as error:
            ended.set_result(error)

    async with tlsio.serve(read, 0, "127.0.0.1", **options(min_version="TLSv1.3")) as server:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_3"]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        assert process.stdin is not None
        while not ended.done():
            process.stdin.write(b"k\n")
            await stdlib_peer.pause(0.003)  # s_client takes one command from each read
        error = ended.result()
        assert isinstance(error, tlsio.PeerError)
        assert (error.code, error.alert) == ("ERR_TLS_TOO_MANY_KEY_UPDATES", "unexpected_message")
        output, _ = await process.communicate()
        assert b"unexpected message" in output


@pytest.mark.node("tls-alert-handling")
async def test_broken_record_ends_its_connection_alone(version: Version) -> None:
    """In mid-stream: an error of that socket, its client gets the alert, no `tls_client_error`; another one goes on."""
    broken = asyncio.get_running_loop().create_future()
    failed: list[Any] = []

    async def listen(sock: tlsio.TLSSocket) -> None:
        try:
            await echo(sock)
        except tlsio.TLSError as error:
            broken.set_result(error)

    def attack(port: int) -> str:
        with socket.create_connection(("127.0.0.1", port), stdlib_peer.TIMEOUT) as below:
            raw = socket.socket(fileno=os.dup(below.fileno()))
            with raw, stdlib_peer.client(version=version).wrap_socket(below) as sock:
                sock.sendall(b"ok")
                assert sock.recv(2) == b"ok"
                raw.sendall(bytes.fromhex("1703030020") + bytes(32))
                try:
                    sock.recv(1)
                except ssl.SSLError as error:
                    return str(error.reason)
        return "nothing"

    async with tlsio.serve(listen, 0, "127.0.0.1", **options()) as server:
        server.on("tls_client_error", lambda error, _sock: failed.append(error))
        async with tlsio.connect(server.port, "127.0.0.1", ca=pki.ca1().cert_pem) as other:
            assert await asyncio.to_thread(attack, server.port) == "SSLV3_ALERT_BAD_RECORD_MAC"
            error = await broken
            assert isinstance(error, tlsio.PeerError)
            assert (error.alert, failed) == ("bad_record_mac", [])
            for _ in range(20):
                await other.send(b"undisturbed")
                assert await other.read() == b"undisturbed"


@pytest.mark.node("tls-write-error")
async def test_illegal_message_while_the_server_writes(version: Version) -> None:
    """A handshake in the clear, in the middle of what the server sends: that connection ends, and what it had to write with it."""
    ended: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def pour(sock: tlsio.TLSSocket) -> None:
        try:
            while True:
                await sock.send(b"x" * 100_000)
        except tlsio.TLSError as error:
            ended.set_result(error)

    def attack(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), stdlib_peer.TIMEOUT) as below:
            raw = socket.socket(fileno=os.dup(below.fileno()))
            with raw, stdlib_peer.client(version=version).wrap_socket(below) as sock:
                assert sock.recv(1) == b"x"
                raw.sendall(bytes.fromhex("1603030004" + "00000000"))
                raw.settimeout(stdlib_peer.TIMEOUT)
                while raw.recv(65536):
                    pass

    async with tlsio.serve(pour, 0, "127.0.0.1", **options()) as server:
        await asyncio.to_thread(attack, server.port)
        assert isinstance(await ended, tlsio.PeerError)
        found = await stdlib_peer.send_raw(server, b"GET / HTTP/1.1\r\n\r\n")
        assert stdlib_peer.alert_in(found) == 10


# --- what it costs ---


def resident() -> int:
    """Return the memory this process occupies, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    """Return how many descriptors are open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def attacks(port: int, count: int) -> None:
    """Come with bad input `count` times, in all ways in turn."""
    sent = [b"GET / HTTP/1.1\r\n\r\n", hello()[:60], b"", bytes.fromhex("160301ffff") + bytes(100), b"\xde\xad\xbe\xef" * 8, hello()]
    for number in range(count):
        with socket.socket() as sock:
            sock.settimeout(stdlib_peer.TIMEOUT)
            sock.connect(("127.0.0.1", port))
            if number % 3 == 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.sendall(sent[number % len(sent)])


@pytest.mark.slow
@pytest.mark.parametrize("heard", ["counted only", "with a listener"])
async def test_ten_thousand_bad_connections_leave_nothing(heard: str) -> None:
    """Memory and descriptors are where they were."""
    async with tlsio.serve(echo, 0, "127.0.0.1", **options()) as server:
        if heard == "with a listener":
            server.on("tls_client_error", lambda _error, _sock: None)
        rounds, growth = 0, 2 * MIB
        await asyncio.to_thread(attacks, server.port, 2000)
        while growth >= 2 * MIB and rounds < 3:  # a leak shows in each round, what malloc keeps does not
            await settled(server)
            gc.collect()
            before = resident(), descriptors()
            await asyncio.to_thread(attacks, server.port, 10_000)
            await settled(server)
            gc.collect()
            rounds += 1
            growth = resident() - before[0]
            assert descriptors() <= before[1]
    assert growth < 2 * MIB
    assert sum(server.stats().handshakes_failed.values()) == 2000 + rounds * 10_000


async def settled(server: tlsio.Server) -> None:
    """Wait until no connection is open any more, and what drained is gone."""
    while server.connections or sum(server.stats().handshakes_failed.values()) < server.stats().accepted:
        await stdlib_peer.pause(0.05)
    await stdlib_peer.pause(2.5)


@pytest.mark.slow
async def test_clients_that_never_read_hold_little() -> None:
    """20 that ask for 8 MiB each: what the application hands over in one write is its own, the rest waits for `drain`."""

    async def download(sock: tlsio.TLSSocket) -> None:
        await sock.readexactly(5)
        for _ in range(8 * MIB // 65536):
            await sock.send(chunk)

    chunk = bytes(65536)
    context = stdlib_peer.client()

    def ask(port: int) -> Iterator[ssl.SSLSocket]:
        for _ in range(20):
            sock = context.wrap_socket(socket.create_connection(("127.0.0.1", port), stdlib_peer.TIMEOUT))
            sock.sendall(b"hello")
            yield sock

    async with tlsio.serve(download, 0, "127.0.0.1", **options(shutdown_timeout=0.01)) as server:
        before = resident()
        sockets = await asyncio.to_thread(lambda: list(ask(server.port or 0)))
        await stdlib_peer.pause(0.5)
        held = resident() - before
        for sock in sockets:
            sock.close()
    assert held < 32 * MIB
