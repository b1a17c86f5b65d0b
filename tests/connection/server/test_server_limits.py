"""Limits: connections, handshakes, time and bytes; counted, and told."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import pki
import stdlib_peer
import tlsio
from net import once, until

CLIENT: dict[str, Any] = {"ca": pki.ca1().cert_pem}
HELLO_START = bytes.fromhex("16030102000100")  # a record of 512 bytes, and the first of a ClientHello


def options(**more: Any) -> dict[str, Any]:
    """Return the options of the usual server."""
    return {"cert": pki.localhost().cert_pem, "key": pki.localhost().key_pem, **more}


async def stay(sock: tlsio.TLSSocket) -> None:
    """Say hello, and keep the connection until the client ends."""
    sock.write(b"hello")
    while await sock.read():
        pass


async def test_connections_beyond_the_limit_are_dropped() -> None:
    """Closed before TLS, with `drop`; the others do not notice, and room that is made is used."""
    async with tlsio.serve(stay, 0, "127.0.0.1", **options(max_connections=2)) as server:
        dropped = once(server, "drop")
        first = await tlsio.connect(server.port, "127.0.0.1", **CLIENT)
        second = await tlsio.connect(server.port, "127.0.0.1", **CLIENT)
        with pytest.raises(tlsio.ConnectionLostError):
            await tlsio.connect(server.port, "127.0.0.1", **CLIENT)
        address = await dropped
        assert address[0] == "127.0.0.1"
        assert (server.connections, server.stats().dropped, server.stats().accepted) == (2, 1, 2)
        server.max_connections = 3
        third = await tlsio.connect(server.port, "127.0.0.1", **CLIENT)
        for sock in (first, second, third):
            assert await sock.read() == b"hello"
            await sock.aclose()


async def test_connections_beyond_the_limit_may_wait() -> None:
    """In the kernel's queue, for another process that shares the socket, or until there is room."""
    async with tlsio.serve(stay, 0, "127.0.0.1", **options(max_connections=1)) as server:
        assert server.drop_max_connection
        server.drop_max_connection = False
        first = await tlsio.connect(server.port, "127.0.0.1", **CLIENT)
        waiting = asyncio.create_task(_connect(server))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.shield(waiting)
        await first.aclose()
        second = await waiting
        assert server.stats().dropped == 0
        await second.aclose()


async def _connect(server: tlsio.Server) -> tlsio.TLSSocket:
    return await tlsio.connect(server.port, "127.0.0.1", **CLIENT)


@pytest.mark.parametrize("value", [0, -1, True, "2", 1.5])
def test_max_connections_is_checked(value: Any) -> None:
    """As an option and as an attribute."""
    with pytest.raises(tlsio.UsageError):
        tlsio.create_server(max_connections=value)
    server = tlsio.create_server()
    with pytest.raises(tlsio.UsageError):
        server.max_connections = value
    assert server.max_connections is None


async def test_upgrade_keeps_the_limit() -> None:
    """STARTTLS connections count too."""
    async with tlsio.create_server(stay, **options(max_connections=1)) as server:
        dropped = once(server, "drop")
        below: list[Any] = []

        async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                below.append(await server.upgrade((reader, writer)))
            except tlsio.ConnectionLostError as error:
                below.append(error.code)

        async with await asyncio.start_server(upgrade, "127.0.0.1", 0) as plain:
            port = plain.sockets[0].getsockname()[1]
            sock = await tlsio.connect(port, "127.0.0.1", **CLIENT)
            with pytest.raises(tlsio.ConnectionLostError):
                await tlsio.connect(port, "127.0.0.1", **CLIENT)
            await dropped
            assert server.connections == 1
            await sock.aclose()
        assert below[1:] == ["ERR_TLS_MAX_CONNECTIONS"]


async def test_handshakes_beyond_the_limit_wait() -> None:
    """Three silent strangers fill it; when one leaves, the next one is served."""
    async with tlsio.serve(stay, 0, "127.0.0.1", **options(max_handshakes=3)) as server:
        strangers = [stdlib_peer.dial(server) for _ in range(3)]
        sockets = [stranger.__enter__() for stranger in strangers]
        waiting = asyncio.create_task(_connect(server))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.shield(waiting)
        sockets[0].close()
        sock = await waiting
        await sock.aclose()
        for stranger in strangers:
            stranger.__exit__(None, None, None)


@pytest.mark.node("tls-timeout-server")
async def test_handshake_timeout_closes() -> None:
    """Node only tells it; the peer is told, and the listener hears one error."""
    errors: list[Any] = []
    async with tlsio.serve(stay, 0, "127.0.0.1", **options(handshake_timeout=0.05)) as server:
        server.on("tls_client_error", lambda error, sock: errors.append((error, sock.remote_port)))
        answers = await asyncio.gather(stdlib_peer.send_raw(server, b""), stdlib_peer.send_raw(server, HELLO_START))
    assert all(answer.startswith(b"\x15\x03") and answer.endswith(b"\1\0") for answer in answers)  # ends with close_notify
    assert [type(error) for error, _port in errors] == [tlsio.HandshakeTimeoutError] * 2
    assert all(isinstance(error, TimeoutError) and error.code == "ERR_TLS_HANDSHAKE_TIMEOUT" and port for error, port in errors)


async def test_slow_handshake_of_an_upgrade_is_timed_out() -> None:
    """The deadline is the server's there too."""
    async with tlsio.create_server(stay, **options(handshake_timeout=0.05)) as server:
        told = once(server, "tls_client_error")

        async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with pytest.raises(tlsio.HandshakeTimeoutError):
                await server.upgrade((reader, writer))

        async with await asyncio.start_server(upgrade, "127.0.0.1", 0) as plain:
            _reader, writer = await asyncio.open_connection(*plain.sockets[0].getsockname())
            error, _sock = await told
            assert isinstance(error, tlsio.HandshakeTimeoutError)
            writer.close()
            await writer.wait_closed()


async def test_handshake_bytes_are_limited() -> None:
    """A client that is not done after so many bytes is told handshake_failure; one that is done does not notice."""
    async with tlsio.serve(stay, 0, "127.0.0.1", **options(max_handshake_bytes=2000)) as server:
        told = once(server, "tls_client_error")
        sock = await _connect(server)
        await sock.aclose()
        flood = bytes.fromhex("1603014000") + bytes.fromhex("01010000") + bytes(16380)
        answer = await stdlib_peer.send_raw(server, flood[:5000])
        assert stdlib_peer.alert_in(answer) == 40
        error, _sock = await told
        assert error.alert == "handshake_failure"
        assert "max_handshake_bytes" in (error.hint or "") + error.message


async def test_statistics() -> None:
    """Handshakes by kind and code, connections, bytes each way."""

    async def echo(sock: tlsio.TLSSocket) -> None:
        await sock.send(await sock.readexactly(5))

    async with tlsio.serve(echo, 0, "127.0.0.1", **options()) as server:
        client = stdlib_peer.client()
        first = await stdlib_peer.visit(server, client)
        await stdlib_peer.visit(server, client, session=first.session)
        await stdlib_peer.send_raw(server, b"GET / HTTP/1.1\r\n\r\n")
        await stdlib_peer.send_raw(server, b"", end=True)
        sock = await _connect(server)
        await until(lambda: server.stats().handshakes_full == 2)
        stats = server.stats()
        assert (stats.handshakes_full, stats.handshakes_resumed, stats.open_connections) == (2, 1, 1)
        assert (stats.accepted, stats.dropped) == (5, 0)
        assert dict(stats.handshakes_failed) == {"ERR_SSL_HTTP_REQUEST": 1, "ECONNRESET": 1}
        assert (stats.bytes_read, stats.bytes_written) == (10, 10)
        sock.destroy()
    with pytest.raises(AttributeError):
        stats.accepted = 3  # type: ignore[misc]


@pytest.mark.slow
async def test_other_threads_may_exchange_contexts_and_keys_and_read_numbers() -> None:
    """While strangers come and go."""
    stop, errors = threading.Event(), []

    def disturb(server: tlsio.Server) -> None:
        who = pki.wildcard()
        try:
            while not stop.is_set():
                server.set_secure_context(cert=who.cert_pem, key=who.key_pem)
                server.add_context("*.a.example.com", {"min_version": "TLSv1.2"})
                server.set_ticket_keys(bytes(48))
                server.remove_context("*.a.example.com")
                server.stats()
        except Exception as error:  # noqa: BLE001 - told by the test
            errors.append(error)

    async with tlsio.serve(stay, 0, "127.0.0.1", **options()) as server:
        threads = [threading.Thread(target=disturb, args=(server,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for number in range(100):
                name = f"x{number}.a.example.com"
                async with tlsio.connect(server.port, "127.0.0.1", servername=name, reject_unauthorized=False) as sock:
                    assert await sock.read() == b"hello"
        finally:
            stop.set()
            for thread in threads:
                await asyncio.to_thread(thread.join)
    assert errors == []
