"""What a server tells, who owns a socket, and where errors go."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import logging
import os
import resource
import socket
from typing import TYPE_CHECKING, Any

import pytest

import pki
import stdlib_peer
import tlsio
from explanations import check_words
from net import once, until

if TYPE_CHECKING:
    from net import Net

CLIENT: dict[str, Any] = {"ca": pki.ca1().cert_pem}
LoopErrors = list[dict[str, Any]]


def options(**more: Any) -> dict[str, Any]:
    """Return the options of the usual server."""
    return {"cert": pki.localhost().cert_pem, "key": pki.localhost().key_pem, **more}


def taken(errors: LoopErrors) -> list[BaseException]:
    """Return what reached the loop's handler, and take it away."""
    found = [context["exception"] for context in errors]
    errors.clear()
    return found


async def test_async_listener_owns_its_socket(net: Net) -> None:
    """Its return closes it, in order."""

    async def greet(sock: tlsio.TLSSocket) -> None:
        sock.write(b"hello")

    async with net.serve(greet) as server:
        sock = await net.connect(server)
        assert await sock.read() == b"hello"
        assert await sock.read() == b""
        assert not sock.truncated
        await sock.aclose()


async def test_async_listener_that_leaves_a_data_listener_keeps_the_socket(net: Net) -> None:
    """It set it up, and is done."""

    async def set_up(sock: tlsio.TLSSocket) -> None:
        sock.on("data", sock.write)

    async with net.serve(set_up) as server:
        sock = await net.connect(server)
        for word in (b"one", b"two"):
            await sock.send(word)
            assert await sock.read() == word
        sock.destroy()
        await sock.wait_closed()


async def test_sync_listener_leaves_the_socket_open(net: Net) -> None:
    """Nobody has to hold it."""
    async with net.serve(lambda sock: sock.on("data", sock.write) and None) as server:
        sock = await net.connect(server)
        await sock.send(b"still there")
        assert await sock.read() == b"still there"
        sock.destroy()
        await sock.wait_closed()


@pytest.mark.node("tls-server-capture-rejection")
@pytest.mark.parametrize("how", ["sync", "async"])
async def test_exception_of_a_listener_destroys_that_socket_only(net: Net, how: str, loop_errors: LoopErrors) -> None:
    """And is told to the loop's handler, unless the socket has an `error` listener."""
    mistake = LookupError("in the listener")
    heard: list[BaseException] = []

    def listen(sock: tlsio.TLSSocket) -> None:
        if sock.servername == "localhost":
            sock.on("data", sock.write)
            return
        if sock.servername == "heard.example":
            sock.on("error", heard.append)
        raise mistake

    async def listen_async(sock: tlsio.TLSSocket) -> None:
        await asyncio.sleep(0)
        listen(sock)

    async with net.serve(listen if how == "sync" else listen_async) as server:
        good = await net.connect(server)
        for name in ("unheard.example", "heard.example"):
            bad = await net.connect(server, servername=name, reject_unauthorized=False)
            with pytest.raises(tlsio.TLSError):
                await bad.read()
            bad.destroy()
            await bad.wait_closed()
        await good.send(b"undisturbed")
        assert await good.read() == b"undisturbed"
        good.destroy()
        await good.wait_closed()
    # Who awaits `upgrade` gets what a sync listener raised.
    assert (taken(loop_errors), heard) == ([mistake] if net.is_native or how == "async" else [], [mistake])


async def test_faults_of_peers_are_no_mistakes_of_listeners(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    """A listener that lets its socket's error pass is not reported: peers leave all day."""

    async def read(sock: tlsio.TLSSocket) -> None:
        started.set()
        await sock.readexactly(5)

    started = asyncio.Event()
    caplog.set_level(logging.DEBUG, logger="tlsio")
    async with net.serve(read) as server:
        for leave in ("truncated", "ended"):
            started.clear()
            sock = await net.connect(server)
            await started.wait()
            if leave == "ended":
                await sock.aclose()
            else:
                sock.destroy()
                await sock.wait_closed()
        server.close()
        await server.wait_closed()
    assert [record.levelname for record in caplog.records if "ERR_TLS" in record.getMessage()] == ["DEBUG"] * 2


async def test_failed_handshakes_that_nobody_hears_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """And no Python object is made for a flood of them."""
    async with tlsio.serve(lambda sock: sock.close(), 0, "127.0.0.1", **options()) as server:
        for _ in range(3):
            await stdlib_peer.send_raw(server, b"GET / HTTP/1.1\r\n\r\n")
        await until(lambda: not server.connections)
        assert dict(server.stats().handshakes_failed) == {"ERR_SSL_HTTP_REQUEST": 3}
    assert caplog.records == []


async def test_client_error_is_the_old_name(net: Net) -> None:
    """Node v4's, beside the new one; each hears it once, with the socket."""
    heard: list[Any] = []
    async with net.serve() as server:
        server.on("client_error", lambda error, sock: heard.append((error, sock)))
        server.on("tls_client_error", lambda error, sock: heard.append((error, sock)))
        await net.refused(server, servername="elsewhere.org")
    assert len(heard) == 2
    assert heard[0] == heard[1]
    assert heard[0][1].servername == "elsewhere.org"
    assert heard[0][1].remote_address == "127.0.0.1"


@pytest.mark.node("internet/https-issue-43963")
async def test_failed_connection_tells_its_addresses(net: Net) -> None:
    """Both ends of it, after it is gone."""
    async with net.serve() as server:
        told = once(server, "tls_client_error")
        sock = await net.dial(server)
        port = sock.getsockname()[1]
        sock.sendall(b"no TLS\n")
        _, failed = await told
        sock.close()
        assert failed.address() == {"address": "127.0.0.1", "family": "IPv4", "port": net.port(server)}
        assert (failed.local_address, failed.local_port, failed.local_family) == ("127.0.0.1", net.port(server), "IPv4")
        assert (failed.remote_address, failed.remote_port, failed.remote_family) == ("127.0.0.1", port, "IPv4")


@pytest.mark.node("tls-handshake-exception")
@pytest.mark.parametrize("how", ["sync", "async"])
async def test_exception_of_a_server_listener_is_an_error_event(how: str, loop_errors: LoopErrors) -> None:
    """Unheard it goes to the loop's handler; one that an `error` listener raises goes there too, once."""
    first, second = LookupError("first"), LookupError("second")
    heard: list[BaseException] = []

    def fail(*_args: Any) -> None:
        raise first

    async def fail_later(*_args: Any) -> None:
        raise first

    async def hear(error: BaseException) -> None:
        heard.append(error)
        raise second

    async with tlsio.serve(lambda sock: sock.close(), 0, "127.0.0.1", **options()) as server:
        server.on("connection", fail if how == "sync" else fail_later)
        await stdlib_peer.visit(server, stdlib_peer.client())
        assert taken(loop_errors) == [first]
        server.on("error", hear)
        await stdlib_peer.visit(server, stdlib_peer.client())
        server.off("error", hear)
    assert (heard, taken(loop_errors)) == ([first], [second])


async def test_each_connection_has_a_context_of_its_own(net: Net) -> None:
    """What a listener sets in a context variable no other connection sees."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    seen: list[int] = []

    def listen(sock: tlsio.TLSSocket) -> None:
        seen.append(variable.get())
        variable.set(len(seen))
        sock.on("data", lambda _data: sock.write(str(variable.get()).encode()))

    async with net.serve(listen) as server:
        for number in (1, 2):
            sock = await net.connect(server)
            await sock.send(b"?")
            assert await sock.read() == str(number).encode()
            sock.destroy()
            await sock.wait_closed()
    assert seen == [0, 0]


def test_unknown_events_are_refused() -> None:
    """With the names there are; as a decorator too."""
    server = tlsio.create_server()
    for add in (server.on, server.once):
        with pytest.raises(tlsio.UsageError) as caught:
            add("secureConnection", print)  # type: ignore[operator]
        assert caught.value.hint == "It is spelled 'secure_connection'."
    server.off("close", print)


async def test_reload_is_for_new_connections_and_keeps_what_is_not_given(net: Net) -> None:
    """Node resets what is not given."""
    renewed = pki.leaf("localhost", issuer=pki.ca1(), names=["localhost"])
    async with net.serve(
        lambda sock: sock.on("data", sock.write) and None, alpn_protocols=["a"], ca=pki.ca1().cert_pem, request_cert=True
    ) as server:
        who = {"cert": pki.client().cert_pem, "key": pki.client().key_pem, "alpn_protocols": ["a"]}
        old = await net.connect(server, **who)
        server.set_secure_context(cert=renewed.cert_pem, key=renewed.key_pem)
        new = await net.connect(server, **who)
        assert new.get_peer_certificate()["raw"] == renewed.cert_der  # type: ignore[index]
        assert new.alpn_protocol == "a"
        await old.send(b"as before")
        assert await old.read() == b"as before"
        for sock in (old, new):
            sock.destroy()
            await sock.wait_closed()


@pytest.mark.parametrize(
    ("arguments", "given", "code"),
    [
        ((), {"requestCert": True}, "ERR_TLS_UNKNOWN_OPTION"),
        (({"min_version": "TLSv1.2"},), {"max_version": "TLSv1.3"}, "ERR_INCOMPATIBLE_OPTION_PAIR"),
        (("context",), {}, "ERR_TLS_INVALID_CONTEXT"),
    ],
)
def test_reload_checks_its_arguments(arguments: Any, given: Any, code: str) -> None:
    """And changes nothing."""
    server = tlsio.create_server()
    with pytest.raises(tlsio.UsageError) as caught:
        server.set_secure_context(*arguments, **given)
    assert caught.value.code == code


@pytest.mark.only_loop("asyncio")
async def test_accept_failures_are_told_and_survived() -> None:
    """Out of descriptors: the server waits a moment, and goes on when there are some."""
    async with tlsio.serve(lambda sock: sock.close(), 0, "127.0.0.1", **options()) as server:
        told = once(server, "error")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as stranger:
            os.close(lowest := os.dup(0))
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
            try:
                stranger.connect(("127.0.0.1", server.port))
                error = await told
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert error.errno == errno.EMFILE
            check_words(error, ("waits in the kernel's queue", "Raise the limit of open files (ulimit -n)"))
        found = await stdlib_peer.visit(server, stdlib_peer.client())
        assert found.error is None
