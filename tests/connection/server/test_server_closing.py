"""How a server ends: what goes on, what is waited for, what is cancelled."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

import pki
import stdlib_peer
import tlsio
import watchdog
from loops import LOOPS, open_descriptors, warm_up
from net import once
from ports import own_port

if TYPE_CHECKING:
    from pathlib import Path

    from net import Net

CLIENT: dict[str, Any] = {"ca": pki.ca1().cert_pem}

# A server that closes at once truncates its clients.
TAKES_ERRORS = {"error": lambda _error: None}


def options(**more: Any) -> dict[str, Any]:
    """Return the options of the usual server."""
    return {"cert": pki.localhost().cert_pem, "key": pki.localhost().key_pem, **more}


async def echo(sock: tlsio.TLSSocket) -> None:
    """Give back what comes, to the end."""
    async for chunk in sock:
        await sock.send(chunk)


async def test_close_lets_open_connections_go_on(net: Net) -> None:
    """It stops listening; whoever is in stays, and is waited for."""
    async with net.serve(echo) as server:
        sock = await net.connect(server)
        server.close()
        assert not server.listening
        waiting = asyncio.create_task(server.wait_closed())
        await sock.send(b"still here")
        assert await sock.read() == b"still here"
        assert not waiting.done()
        await sock.aclose()
        await waiting
        assert server.connections == 0


async def test_close_cancels_what_is_left_after_its_timeout(net: Net) -> None:
    """The listener is cancelled, its socket closed, and the peer gets close_notify."""
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(_sock: tlsio.TLSSocket) -> None:
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    async with net.serve(wait) as server:
        sock = await net.connect(server)
        await begun.wait()  # in TLS 1.3 a client is done before the server
        server.close(0.02)
        assert not cancelled.is_set()
        await server.wait_closed()
        assert cancelled.is_set()
        assert await sock.read() == b""
        sock.destroy()
        await sock.wait_closed()


async def test_close_at_once(net: Net) -> None:
    """0 waits for nobody, and may follow a close that does."""
    async with net.serve(lambda _sock: None) as server:
        sock = await net.connect(server, on=TAKES_ERRORS)
        server.close()
        server.close(0)
        await server.wait_closed()
        sock.destroy()
        await sock.wait_closed()


async def test_wait_closed_waits_for_a_handshake() -> None:
    """Whoever is about to get in gets in; a silent stranger is waited for, until the timeout."""
    async with tlsio.serve(lambda sock: sock.close(), 0, "127.0.0.1", **options()) as server:
        accepted = once(server, "connection")
        with stdlib_peer.dial(server):
            await accepted
            server.close()
            waiting = asyncio.create_task(server.wait_closed())
            await asyncio.sleep(0)
            assert not waiting.done()
            server.close(0)
            await waiting


async def test_wait_closed_ends_when_the_last_handshake_fails() -> None:
    """Without a listener for failures, too, when no socket is ever made."""
    async with tlsio.serve(lambda sock: sock.close(), 0, "127.0.0.1", **options()) as server:
        accepted = once(server, "connection")
        with stdlib_peer.dial(server) as sock:
            await accepted
            server.close()
            waiting = asyncio.create_task(server.wait_closed())
            sock.sendall(b"hello?\r\n\r\n")
            await waiting


async def test_wait_closed_waits_for_listeners_and_not_for_their_errors(loop_errors: list[dict[str, Any]]) -> None:
    """The error goes where errors go."""

    async def fail(sock: tlsio.TLSSocket) -> None:
        with pytest.raises(tlsio.TruncatedError):
            await sock.read()
        raise LookupError("after the end")

    async with tlsio.serve(fail, 0, "127.0.0.1", **options()) as server:
        sock = await tlsio.connect(server.port, "127.0.0.1", **CLIENT)
        sock.destroy()
    assert [str(context["exception"]) for context in loop_errors] == ["after the end"]
    loop_errors.clear()


@pytest.mark.parametrize("timeout", ["1", -1, float("nan"), True])
def test_close_checks_its_timeout(timeout: Any) -> None:
    """It is seconds, None or 0."""
    with pytest.raises(tlsio.UsageError):
        tlsio.create_server().close(timeout)


async def test_leaving_the_block_closes_in_shutdown_timeout() -> None:
    """What is still open then is cancelled."""
    async with tlsio.serve(echo, 0, "127.0.0.1", **options(shutdown_timeout=0.02)) as server:
        sock = await tlsio.connect(server.port, "127.0.0.1", on=TAKES_ERRORS, **CLIENT)
    assert (server.listening, server.connections) == (False, 0)
    sock.destroy()


async def test_leaving_the_block_by_cancellation_closes_at_once() -> None:
    """And leaves nothing behind, though the timeout is long."""
    ready = asyncio.Event()

    async def run() -> None:
        async with tlsio.serve(echo, 0, "127.0.0.1", **options()) as server:
            sock = await tlsio.connect(server.port, "127.0.0.1", **CLIENT)
            ready.set()
            try:
                await server.serve_forever()
            finally:
                sock.destroy()

    task = asyncio.create_task(run())
    await ready.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancellation_while_leaving_closes_at_once() -> None:
    """Patience ends with the second sign."""
    leaving = asyncio.Event()

    async def run() -> None:
        async with tlsio.serve(echo, 0, "127.0.0.1", **options()) as server:
            sock = await tlsio.connect(server.port, "127.0.0.1", **CLIENT)
            sock.on("error", lambda _error: None)  # the server's end, if it arrives before the client is destroyed
            asyncio.get_running_loop().call_soon(leaving.set)
            asyncio.get_running_loop().call_later(0.05, sock.destroy)

    task = asyncio.create_task(run())
    await leaving.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_serve_forever_returns_after_close() -> None:
    """At once, when it is closed already; a server that never listened is a mistake."""
    async with tlsio.serve(echo, 0, "127.0.0.1", **options()) as server:
        asyncio.get_running_loop().call_soon(server.close)
        await server.serve_forever()
        await server.serve_forever()
    with pytest.raises(RuntimeError) as caught:
        await tlsio.create_server().serve_forever()
    assert caught.value.code == "ERR_SERVER_NOT_RUNNING"  # type: ignore[attr-defined]


async def test_serve_forever_closes_when_cancelled() -> None:
    """For those who do without `async with`."""
    server = tlsio.create_server(echo, **options())
    await server.listen(0, "127.0.0.1")
    task = asyncio.create_task(server.serve_forever())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not server.listening
    await server.wait_closed()


async def test_listener_may_close_the_server(net: Net) -> None:
    """Its own connection is not spared by 0."""

    async def stop(_sock: tlsio.TLSSocket) -> None:
        server.close(0)

    async with net.serve(stop) as server:
        sock = await net.connect(server, on=TAKES_ERRORS)
        await server.wait_closed()
        sock.destroy()
        await sock.wait_closed()


@pytest.mark.parametrize("event", ["connection", "tls_client_error", "secure_connection", "drop"])
async def test_any_listener_may_close_the_server(event: str) -> None:
    """Also in the middle of the news of many connections."""
    async with tlsio.serve(lambda sock: sock.close(), 0, "127.0.0.1", **options(max_connections=4)) as server:
        server.on(event, lambda *_args: server.close(0))
        clients = [asyncio.create_task(stdlib_peer.visit(server, stdlib_peer.client())) for _ in range(4)]
        clients += [asyncio.create_task(stdlib_peer.send_raw(server, b"no TLS at all\r\n")) for _ in range(4)]  # type: ignore[misc]
        await asyncio.gather(*clients, return_exceptions=True)
        server.close(0)
        await server.wait_closed()


@pytest.mark.only_loop("asyncio")
async def test_server_of_the_parent_raises_in_a_child(unix_path: Path) -> None:
    """The parent goes on undisturbed, and its socket stays where it is."""

    def greet(sock: tlsio.TLSSocket) -> None:
        sock.write(b"hello")
        sock.close()

    async with tlsio.serve(greet, path=unix_path, **options()) as server:
        child = watchdog.fork()
        if child == 0:
            os._exit(try_in_child(server))
        assert os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, child, 0))[1]) == 0
        async with tlsio.connect(path=unix_path, servername="localhost", **CLIENT) as sock:
            assert await sock.read() == b"hello"


def try_in_child(server: tlsio.Server) -> int:
    """Return 0 when everything raised as it should."""
    calls = [
        lambda: server.listen().send(None),
        lambda: server.wait_closed().send(None),
        lambda: server.serve_forever().send(None),
        server.close,
    ]
    try:
        for call in calls:
            with pytest.raises(RuntimeError) as caught:
                call()
            assert caught.value.code == "ERR_TLS_FORKED"  # type: ignore[attr-defined]
    except BaseException:  # noqa: BLE001 - a child of a test must not go on as another pytest
        return 1
    return 0


@pytest.mark.parametrize("loop_factory", list(LOOPS.values()), ids=list(LOOPS))
def test_loop_that_is_closed_takes_everything_along(loop_factory: Any) -> None:
    """A server and a connection that nobody closed: their descriptors are gone with the loop, later calls are no harm."""

    async def run(port: int) -> tuple[tlsio.Server, tlsio.TLSSocket]:
        server = tlsio.create_server(lambda _sock: None, **options())
        await server.listen(port, "127.0.0.1")
        return server, await tlsio.connect(port, "127.0.0.1", **CLIENT)

    warm_up(next(name for name, factory in LOOPS.items() if factory is loop_factory))
    with own_port() as port:
        before = open_descriptors()
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            server, sock = runner.run(run(port))
        assert open_descriptors() - before == set()
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 1):
            pass
    with pytest.raises(RuntimeError):
        sock.write(b"too late")
    sock.destroy()
    server.close(0)


@pytest.mark.only_loop("asyncio")
async def test_socket_of_the_parent_raises_in_a_child() -> None:
    """And does the connection no harm."""
    async with tlsio.serve(echo, 0, "127.0.0.1", **options()) as server:
        sock = await tlsio.connect(server.port, "127.0.0.1", **CLIENT)
        child = watchdog.fork()
        if child == 0:
            os._exit(write_in_child(sock))
        assert os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, child, 0))[1]) == 0
        await sock.send(b"undisturbed")
        assert await sock.read() == b"undisturbed"
        await sock.aclose()


def write_in_child(sock: tlsio.TLSSocket) -> int:
    """Return 0 when it raised as it should."""
    try:
        with pytest.raises(RuntimeError):
            sock.write(b"from the child")
        sock.destroy()
    except BaseException:  # noqa: BLE001 - a child of a test must not go on as another pytest
        return 1
    return 0


async def test_close_ends_a_listen_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here for its host to be looked up: nothing listens afterwards, and the next listen works."""
    loop, found = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
    server = tlsio.create_server(echo, **options())
    with monkeypatch.context() as patched:
        patched.setattr(type(loop), "getaddrinfo", lambda *_args, **_options: found)
        listening = asyncio.ensure_future(server.listen(0, "localhost"))
        await asyncio.sleep(0)
        server.close(0)
        await server.wait_closed()
        found.set_result([(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))])
        with pytest.raises(tlsio.UsageError, match=r"close\(\) was called") as caught:
            await listening
    assert isinstance(caught.value, RuntimeError)
    assert not server.listening
    await server.listen(0, "127.0.0.1")
    server.close(0)
    await server.wait_closed()


async def test_close_ends_a_listen_that_waits_for_ticket_keys() -> None:
    """The source is not asked again, and given sockets are as they were."""
    asked, gate = asyncio.Event(), asyncio.Event()

    class Source(tlsio.TicketKeyRing):
        async def refresh(self) -> None:
            asked.set()
            await gate.wait()

    server = tlsio.create_server(echo, **options(ticket_keys=Source(interval=0.001, overlap=0.001)))
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        listening = asyncio.ensure_future(server.listen(sock=given))
        await asked.wait()
        server.close()
        gate.set()
        with pytest.raises(tlsio.UsageError, match=r"close\(\) was called"):
            await listening
        assert given.getblocking()
        assert not given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    asked.clear()
    await asyncio.sleep(0.005)
    assert not asked.is_set()
    await server.wait_closed()


@pytest.mark.parametrize("event", ["data", "end", "secure"])
async def test_close_ends_listeners_of_sockets(net: Net, event: str) -> None:
    """They are cancelled, and what they do about it is waited for."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def hear(*_news: object) -> None:
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            ended.set()

    def accept(sock: tlsio.TLSSocket) -> None:
        sock.on(event, hear)  # type: ignore[call-overload]
        if event == "end":
            sock.on("data", lambda _data: None)

    async with net.serve(accept, allow_half_open=True) as server:
        sock = await net.connect(server, on=TAKES_ERRORS)
        await sock.send(b"x")
        sock.end()
        await begun.wait()
        server.close(0)
        await server.wait_closed()
        assert ended.is_set()
        sock.destroy()
        await sock.wait_closed()


async def test_listener_of_a_closed_socket_is_waited_for(net: Net) -> None:
    """Closing in peace cancels nothing: the listener ends by itself."""
    begun, gate, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hear(_had_error: bool) -> None:  # noqa: FBT001
        begun.set()
        await gate.wait()
        ended.set()

    def accept(sock: tlsio.TLSSocket) -> None:
        sock.on("data", lambda _data: None)
        sock.on("close", hear)

    async with net.serve(accept) as server:
        sock = await net.connect(server)
        await sock.aclose()
        await begun.wait()
        server.close()
        waiting = asyncio.create_task(server.wait_closed())
        await asyncio.sleep(0)
        assert not waiting.done()
        gate.set()
        await waiting
        assert ended.is_set()


async def test_listener_that_is_added_to_a_closed_socket_holds_up_nothing(net: Net) -> None:
    """One that a listener adds which the server waits for already, and that ends after it."""
    gate, ended = asyncio.Event(), asyncio.Event()

    async def hear_close(_had_error: bool) -> None:  # noqa: FBT001
        gate.set()
        await asyncio.sleep(0.01)
        ended.set()

    def accept(sock: tlsio.TLSSocket) -> None:
        async def hear() -> None:
            await sock.wait_closed()
            await asyncio.sleep(0)
            sock.on("close", hear_close)
            await gate.wait()

        sock.on("data", lambda _data: None)
        sock.on("secure", hear)

    async with net.serve(accept) as server, asyncio.timeout(5):
        sock = await net.connect(server)
        await sock.aclose()
        await ended.wait()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("where", ["secure_connection", "data", "check_client", "connection", "block"])
async def test_listener_that_waits_for_its_own_end_is_refused(net: Net, where: str) -> None:
    """With an error that says so; the server ends all the same."""
    told: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    async def wait(*_news: object) -> None:
        try:
            server.close()
            if where == "block":
                async with server:
                    pass
            else:
                await server.wait_closed()
        except tlsio.UsageError as error:
            told.set_result(error)
        else:
            told.set_result(None)

    extra: dict[str, Any] = {"check_client": wait, "request_cert": True, "reject_unauthorized": False} if where == "check_client" else {}
    async with net.serve(None, **extra) as server:
        if where == "connection" and not net.is_native:
            return
        if where in ("secure_connection", "connection", "block"):
            server.on("secure_connection" if where == "block" else where, wait)
        elif where == "data":
            server.on("secure_connection", lambda sock: sock.on("data", wait) and None)
        sock = await net.connect(server)
        if where == "data":
            await sock.send(b"x")
        error = await told
        assert isinstance(error, tlsio.UsageError)
        assert isinstance(error, RuntimeError)
        assert error.code == "ERR_TLS_SELF_WAIT"
        sock.destroy()
        await sock.wait_closed()
        server.close(0)
        await server.wait_closed()
