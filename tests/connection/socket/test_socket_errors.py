"""Errors of a connection: who gets them, and that none is lost."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import ssl
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from net import fill, once, until

if TYPE_CHECKING:
    from net import Net, Pair

Contexts = list[dict[str, Any]]


async def turns(count: int = 10) -> None:
    """Let the loop run."""
    for _ in range(count):
        await asyncio.sleep(0)


def ignore(_: Any) -> None:
    """Take anything."""


# ---- faults of the peer


async def test_all_who_wait_get_the_error(pair: Pair) -> None:
    """Reader, later callers and listeners are given the same error; the loop's handler is left alone."""
    async with pair() as (client, _peer, _server):
        heard, closed = once(client, "error"), once(client, "close")
        reading = asyncio.ensure_future(client.read())
        await turns(1)
        client.destroy(error := ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            await reading
        assert await heard is error
        assert await closed is True
        for call in (client.read(), client.drain(), client.handshake()):
            with pytest.raises(ZeroDivisionError):
                await call


async def test_unheard_error_of_a_flowing_client_is_reported(pair: Pair, loop_errors: Contexts) -> None:
    """Nobody listens to `error`: the loop's exception handler is told, once."""
    async with pair() as (client, peer, _server):
        client.on("data", ignore)
        closed = once(client, "close")
        peer.destroy()
        assert await closed is True
        [context] = loop_errors
        assert isinstance(context["exception"], tlsio.TruncatedError)
        assert "client" in context["message"]
        loop_errors.clear()


async def test_unheard_error_of_a_pulling_client_is_reported_when_it_is_gone(net: Net, loop_errors: Contexts) -> None:
    """Who pulls may still ask; when the socket is thrown away instead, the error is reported."""
    async with net.serve() as server:
        client: tlsio.TLSSocket | None = await net.connect(server)
        assert client is not None
        client.destroy(ZeroDivisionError("unasked"))
        await turns()
        assert not loop_errors
        client = None
        gc.collect()
        [context] = loop_errors
        assert isinstance(context["exception"], ZeroDivisionError)
        loop_errors.clear()


async def test_error_that_was_raised_is_not_reported(net: Net) -> None:
    """A read took it: nothing is left to report."""
    async with net.serve() as server:
        client: tlsio.TLSSocket | None = await net.connect(server)
        assert client is not None
        client.destroy(ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            await client.read()
        client = None
        gc.collect()


async def test_unheard_fault_of_a_servers_peer_is_logged_only(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """Peers come and go: DEBUG, never the loop's handler."""
    with caplog.at_level(logging.DEBUG, "tlsio"):
        async with pair() as (client, peer, _server):
            peer.on("data", ignore)
            closed = once(peer, "close")
            client.destroy()
            assert await closed is True
    # Sockets of earlier tests are collected at any time, and may have something to report too.
    mine = [record for record in caplog.records if isinstance(record.args, tuple) and record.args[0] is peer]
    assert [record.levelname for record in mine] == ["DEBUG"]
    assert "ERR_TLS_TRUNCATED" in mine[0].getMessage()


@pytest.mark.parametrize("grouped", [False, True])
async def test_fault_passed_on_by_an_async_listener_is_the_peers(net: Net, caplog: pytest.LogCaptureFixture, *, grouped: bool) -> None:
    """An async listener that does not catch what its socket raises has done nothing wrong, nor has its TaskGroup."""
    with caplog.at_level(logging.DEBUG, "tlsio"):
        closed = asyncio.get_running_loop().create_future()

        async def listener(sock: tlsio.TLSSocket) -> None:
            sock.on("close", closed.set_result)
            if not grouped:
                await sock.read_all()
            async with asyncio.TaskGroup() as group:
                group.create_task(sock.read_all())

        async with net.serve(listener) as server:
            client = await net.connect(server)
            client.destroy()
            await closed
            await turns()
    assert "ERR_TLS_TRUNCATED" in caplog.text


@pytest.mark.parametrize("flowing", [False, True], ids=["pull", "flow"])
@pytest.mark.parametrize(("end", "code"), [("reset", "ECONNRESET"), ("truncation", "ERR_TLS_TRUNCATED"), ("close", None), ("ours", None)])
async def test_servers_count_what_broke_open_connections(net: Net, end: str, code: str | None, *, flowing: bool) -> None:
    """Once each, heard or not; what the application does itself, and an end in order, are no faults."""
    accepted: asyncio.Future[tlsio.TLSSocket] = asyncio.get_running_loop().create_future()

    def accept(sock: tlsio.TLSSocket) -> None:
        if flowing:
            sock.on("data", lambda _chunk: None)
        sock.on("error", lambda _error: None)
        accepted.set_result(sock)

    async with net.serve(accept) as server, net.relay(server) as relay:
        client = await net.connect(server)
        client.on("error", lambda _error: None)
        peer = await accepted
        reading = None if flowing else asyncio.ensure_future(peer.read())
        closed = asyncio.ensure_future(peer.wait_closed())
        await asyncio.sleep(0)
        if end == "reset":
            relay.reset()
        elif end == "truncation":
            client.destroy()
        elif end == "close":
            client.close()
        else:
            peer.destroy(LookupError())
        if reading is not None:
            await asyncio.wait([reading])
            assert (reading.exception() is None) is (end == "close")
            peer.close()
        await closed
        assert dict(server.stats().connections_failed) == ({code: 1} if code else {})
        assert dict(server.stats().handshakes_failed) == {}
        client.destroy()


async def test_server_that_is_closed_disturbs_no_listener(net: Net) -> None:
    """Listeners whose sockets are destroyed by `server.close(0)` are cancelled without noise."""

    async def listener(sock: tlsio.TLSSocket) -> None:
        await sock.read()

    async with net.serve(listener) as server:
        client = await net.connect(server)
        await until(server.open_sockets)
        await turns()
        server.close(0)
        await server.wait_closed()
        assert await client.read() == b""
        client.destroy()


# ---- faults of the user's code


@pytest.mark.parametrize("event", ["data", "end", "secure_connection"])
async def test_exception_of_a_servers_listener_ends_that_socket_only(net: Net, event: str, loop_errors: Contexts) -> None:
    """It is reported as what it is, with the socket; other connections do not notice."""

    def fail(*_: Any) -> None:
        raise ZeroDivisionError(event)

    def listener(sock: tlsio.TLSSocket) -> None:
        accepted.append(sock)
        if len(accepted) > 1:
            sock.on("data", sock.write)
        elif event == "secure_connection":
            fail()
        else:
            sock.on(event, fail)  # type: ignore[call-overload]

    accepted: list[tlsio.TLSSocket] = []
    async with net.serve(listener) as server:
        bad = await net.connect(server)
        await until(lambda: accepted)
        good = await net.connect(server)
        bad.end(b"x" if event == "data" else None)
        with pytest.raises(tlsio.TLSError):
            await bad.readexactly(100)
        good.write(b"echo")
        assert await good.readexactly(4) == b"echo"
        if net.is_native or event != "secure_connection":  # else the caller of `upgrade` was given it
            [context] = loop_errors
            assert isinstance(context["exception"], ZeroDivisionError)
            assert "TLSSocket server" in context["message"]
        loop_errors.clear()
        bad.destroy()
        good.destroy()


@pytest.mark.parametrize("is_async", [False, True])
async def test_exception_of_a_listener_goes_to_error_listeners(pair: Pair, *, is_async: bool) -> None:
    """Who listens to `error` gets it instead of the loop's handler, and the socket is closed by it."""
    async with pair() as (client, peer, _server):
        heard, closed = once(peer, "error"), once(peer, "close")

        def fail(chunk: bytes) -> None:
            raise ZeroDivisionError

        async def fail_later(chunk: bytes) -> None:
            await asyncio.sleep(0)
            raise ZeroDivisionError

        client.on("error", ignore)  # it is cut off
        peer.on("data", fail_later if is_async else fail)
        client.write(b"x")
        assert isinstance(await heard, ZeroDivisionError)
        assert await closed is True


async def test_exception_of_an_async_server_listener(net: Net, loop_errors: Contexts) -> None:
    """An async `secure_connection` listener owns its socket: its exception destroys that one and is reported."""

    async def listener(sock: tlsio.TLSSocket) -> None:
        await sock.read()
        raise ZeroDivisionError

    async with net.serve(listener) as server:
        client = await net.connect(server)
        client.write(b"x")
        with pytest.raises(tlsio.TruncatedError):
            await client.read()
        [context] = loop_errors
        assert isinstance(context["exception"], ZeroDivisionError)
        loop_errors.clear()
        client.destroy()


@pytest.mark.parametrize("event", ["error", "close"])
async def test_exception_of_a_last_listener_is_reported(pair: Pair, event: str, loop_errors: Contexts) -> None:
    """Even when the socket is ending already, a listener's exception is not lost."""
    async with pair() as (client, _peer, _server):

        def fail(_: object) -> None:
            raise LookupError

        client.on("error", ignore)
        client.on(event, fail)  # type: ignore[call-overload]
        client.destroy(ZeroDivisionError())
        [context] = loop_errors
        assert isinstance(context["exception"], LookupError)
        loop_errors.clear()


async def test_cancellation_raised_by_a_listener_is_an_exception(pair: Pair) -> None:
    """A listener that raises CancelledError stops nothing but its own socket."""
    async with pair() as (client, peer, _server):
        heard = once(peer, "error")

        def fail() -> None:
            raise asyncio.CancelledError

        peer.on("end", fail)
        client.end()
        assert isinstance(await heard, asyncio.CancelledError)


# ---- what the peer said before it left


@pytest.mark.parametrize("call", ["read", "send"])
async def test_refused_client_is_told_the_alert(net: Net, call: str) -> None:
    """A server that wants a certificate refuses in TLS 1.3 after `connect` has returned: the alert is told, not the reset."""

    async def use() -> None:
        client = await net.connect(server)
        while True:
            if call == "read":
                await client.read()
            else:
                await client.send(b"x" * 100_000)

    async with net.serve(request_cert=True, ca=pki.ca1().cert_pem) as server:
        refused = once(server, "tls_client_error")
        with pytest.raises(tlsio.AlertReceived) as caught:
            await use()
        await refused
        assert caught.value.alert == ("certificate_required" if net.version == "TLSv1.3" else "handshake_failure")


@pytest.mark.parametrize("reads", ["", "read", "data"], ids=["nothing reads", "a read waits", "a data listener"])
async def test_alert_explains_a_failed_send(reads: str) -> None:
    """The alert arrived before the send that failed, which the loop could not notice."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(pki.localhost().cert_pem + pki.localhost().key_pem)
        file.flush()
        context.load_cert_chain(file.name)
    context.load_verify_locations(cadata=pki.ca1().cert_pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    tls = context.wrap_bio(into, out, server_side=True)
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        connecting = asyncio.ensure_future(
            tlsio.connect(listener.getsockname()[1], "127.0.0.1", servername="localhost", ca=pki.ca1().cert_pem, min_version="TLSv1.3")
        )
        peer, _ = await loop.sock_accept(listener)
        into.write(await loop.sock_recv(peer, 65536))
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        await loop.sock_sendall(peer, out.read())
        client = await connecting
    waiting = asyncio.ensure_future(client.read()) if reads == "read" else None
    if reads == "data":
        client.on("data", ignore)
    await turns()
    into.write(await loop.sock_recv(peer, 65536))
    with pytest.raises(ssl.SSLError):
        tls.do_handshake()  # the client has no certificate
    peer.setblocking(True)  # noqa: FBT003
    peer.sendall(out.read())
    peer.close()
    client.write(b"x" * 300_000)  # the peer's kernel answers with a reset
    with pytest.raises(tlsio.AlertReceived) as caught:
        await client.send(b"x" * 300_000)
    assert caught.value.alert == "certificate_required"
    if waiting is not None:
        with pytest.raises(tlsio.AlertReceived):
            await waiting
    with pytest.raises(tlsio.AlertReceived):
        await client.drain()


@pytest.mark.node("tls-writewrap-leak")
@pytest.mark.parametrize("call", ["drain", "read", "wait_closed"])
async def test_lost_connection_is_told_as_such(net: Net, call: str) -> None:
    """A reset from below is a ConnectionError with the system's code, for whoever waits or comes later."""
    async with net.serve() as server, net.relay(server) as relay:
        client = await net.connect(server, high_water_mark=1000)
        await fill(client, 1000)
        waiting = asyncio.ensure_future(getattr(client, call)())
        await turns()
        relay.reset()
        if call == "read":
            with pytest.raises(ConnectionError):
                await waiting
        else:
            with suppress(ConnectionError):  # of drain, unless the kernels have taken all at the last moment
                await waiting
        with pytest.raises(ConnectionError) as caught:
            await client.read()
        assert isinstance(caught.value, tlsio.ConnectionLostError)
        assert caught.value.code in {"ECONNRESET", "EPIPE"}
        assert client.closed
        assert client.write(b"x") is False
