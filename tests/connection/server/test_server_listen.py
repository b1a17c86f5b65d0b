"""Where a server listens, and what it tells of it."""

# ruff: noqa: ASYNC240 - a look at a path blocks nobody here

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

import pki
import stdlib_peer
import tlsio
from net import once
from ports import own_port

if TYPE_CHECKING:
    from pathlib import Path

CLIENT: dict[str, Any] = {"ca": pki.ca1().cert_pem}


def greet(sock: tlsio.TLSSocket) -> None:
    """Say hello and close."""
    sock.write(b"hello")
    sock.close()


def make(**options: Any) -> tlsio.Server:
    """Make the usual server."""
    who = pki.localhost()
    return tlsio.create_server(greet, cert=who.cert_pem, key=who.key_pem, **options)


async def call(**target: Any) -> bytes:
    """Connect and return what the server says."""
    async with tlsio.connect(**target, **CLIENT) as sock:
        return await sock.read()


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", "IPv4"), ("::1", "IPv6")])
async def test_listens_on_an_address(host: str, family: str) -> None:
    """IPv4 or IPv6 alone."""
    other = "::1" if host == "127.0.0.1" else "127.0.0.1"
    with own_port() as port:  # on the other address, too
        async with make() as server:
            assert await server.listen(port, host) is server
            assert server.address() == {"address": host, "family": family, "port": port}
            assert await call(port=port, host=host) == b"hello"
            with pytest.raises(ConnectionRefusedError) as caught:
                await call(port=port, host=other)
            assert any("nothing listens there" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("host", [None, "::", "localhost"])
async def test_listens_on_both_families(host: str | None) -> None:
    """Without a host and for :: by one socket, as in Node; for a name on all its addresses, under one port."""
    async with make() as server:
        await server.listen(0, host)
        assert await call(port=server.port, host="127.0.0.1") == b"hello"
        assert await call(port=server.port, host="::1" if host != "localhost" or _has_v6("localhost") else "127.0.0.1") == b"hello"


def _has_v6(name: str) -> bool:
    return any(found[0] == socket.AF_INET6 for found in socket.getaddrinfo(name, 0))


async def test_listens_on_a_unix_socket(unix_path: Path) -> None:
    """Whose path is its address, and is gone after the close."""
    async with make() as server:
        await server.listen(path=unix_path)
        assert (server.address(), server.port, server.listening) == (str(unix_path), None, True)
        assert await call(path=unix_path, servername="localhost") == b"hello"
    assert not unix_path.exists()
    with pytest.raises(FileNotFoundError) as caught:
        await call(path=unix_path, servername="localhost")
    assert any("does not exist" in note for note in caught.value.__notes__)


async def test_path_of_somebody_else_is_left_alone(unix_path: Path) -> None:
    """A server that starts in our place before we have ended keeps its socket."""
    async with make() as server:
        await server.listen(path=unix_path)
        unix_path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(unix_path))
            server.close()
            assert unix_path.exists()


async def test_taken_path_is_refused(unix_path: Path) -> None:
    """With a note that says what to do."""
    async with make() as server:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(unix_path))
        with pytest.raises(OSError, match="in use") as caught:
            await server.listen(path=unix_path)
        assert any("remove the file first" in note for note in caught.value.__notes__)
        assert not server.listening
        unix_path.unlink()
        await server.listen(path=unix_path)


async def test_listens_on_an_abstract_name() -> None:
    """Linux's Unix sockets without a file."""
    name = f"\0tlsio-{os.getpid()}"
    async with make() as server:
        await server.listen(path=name)
        assert await call(path=name, servername="localhost") == b"hello"


@pytest.mark.parametrize("count", [1, 2])
async def test_listens_on_given_sockets(count: int) -> None:
    """One or a list; they are the server's, and closed with it."""
    given = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in given]
    async with make() as server:
        await server.listen(sock=given[0] if count == 1 else given)
        assert server.port == ports[0]
        for port in ports:
            assert await call(port=port, host="127.0.0.1") == b"hello"
    assert [one.fileno() for one in given] == [-1] * len(given)


async def test_given_socket_of_a_failed_listen_stays_its_owners() -> None:
    """It may be used again."""
    with socket.socket() as datagram, socket.socket() as unbound, socket.socket(type=socket.SOCK_DGRAM) as wrong:
        for bad in ([], "socket", [unbound, "socket"], wrong):
            server = make()
            with pytest.raises(tlsio.UsageError):
                await server.listen(sock=bad)  # type: ignore[arg-type]
            assert not server.listening
        assert unbound.fileno() >= 0
        assert datagram.fileno() >= 0


async def test_port_may_be_reused() -> None:
    """By several processes, here by two servers of one."""
    async with make() as one, make() as other:
        await one.listen(0, "127.0.0.1", reuse_port=True)
        await other.listen(one.port, "127.0.0.1", reuse_port=True)
        assert one.port == other.port
        assert await call(port=one.port, host="127.0.0.1") == b"hello"


async def test_taken_port_is_refused() -> None:
    """The error is Python's, and nothing is left open."""
    async with make() as one, make() as other:
        await one.listen(0, "127.0.0.1")
        with pytest.raises(OSError, match="in use") as caught:
            await other.listen(one.port, "127.0.0.1")
        assert caught.value.errno == errno.EADDRINUSE
        assert any(f"127.0.0.1 port {one.port}" in note for note in caught.value.__notes__)


async def test_unknown_host_is_refused() -> None:
    """Lookup fails as Python's does."""
    with pytest.raises(socket.gaierror):
        await make().listen(0, "no-such-host.invalid")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"port": "443"}, "ERR_INVALID_ARG_TYPE"),
        ({"port": 65536}, "ERR_OUT_OF_RANGE"),
        ({"port": True}, "ERR_INVALID_ARG_TYPE"),
        ({"host": 1}, "ERR_INVALID_ARG_TYPE"),
        ({"path": 1}, "ERR_INVALID_ARG_TYPE"),
        ({"backlog": 0}, "ERR_OUT_OF_RANGE"),
        ({"reuse_port": 1}, "ERR_INVALID_ARG_TYPE"),
        ({"port": 4433, "path": "/tmp/x"}, "ERR_INCOMPATIBLE_OPTION_PAIR"),  # noqa: S108
        ({"host": "::", "sock": []}, "ERR_INCOMPATIBLE_OPTION_PAIR"),
    ],
)
async def test_arguments_are_checked(arguments: dict[str, Any], code: str) -> None:
    """Before anything is opened."""
    with pytest.raises(tlsio.UsageError) as caught:
        await make().listen(**arguments)
    assert caught.value.code == code


async def test_listening_twice_raises_and_again_after_close_is_allowed() -> None:
    """Also when the second call comes while the first one still looks up the name."""
    async with make() as server:
        results = await asyncio.gather(server.listen(0, "localhost"), server.listen(0, "localhost"), return_exceptions=True)
        [error] = [one for one in results if one is not server]  # whichever lookup took longer
        assert isinstance(error, RuntimeError)
        assert error.code == "ERR_SERVER_ALREADY_LISTEN"  # type: ignore[attr-defined]
        assert await call(port=server.port) == b"hello"
        server.close()
        assert (server.address(), server.port, server.listening) == (None, None, False)
        await server.wait_closed()
        await server.listen(0, "127.0.0.1")
        assert await call(port=server.port, host="127.0.0.1") == b"hello"


def test_server_needs_no_loop_to_be_made() -> None:
    """Contexts, keys and limits neither; and closing one that never listened is fine."""
    server = make(max_connections=3)
    server.add_context("a.example.com", {"max_version": "TLSv1.2"})
    server.set_secure_context(min_version="TLSv1.2")
    server.set_ticket_keys(bytes(48))
    server.max_connections = None
    assert (server.connections, server.listening, server.address()) == (0, False, None)
    assert repr(server) == "<Server closed connections=0>"
    server.close()
    server.close(0)


@pytest.mark.node("tls-connect-simple")
async def test_listening_and_close_are_told() -> None:
    """`close` when all is over, once."""
    told: list[str] = []
    server = make()
    for event in ("listening", "close"):
        server.on(event, lambda name=event: told.append(name))
    await server.listen(0, "127.0.0.1")
    assert told == ["listening"]
    opened = once(server, "secure_connection")
    connecting = asyncio.create_task(call(port=server.port, host="127.0.0.1"))
    await opened
    server.close()
    assert told == ["listening"]
    await connecting
    await server.wait_closed()
    server.close()
    assert told == ["listening", "close"]


@pytest.mark.node("tls-server-connection-server")
async def test_connections_are_told_before_tls() -> None:
    """With the client's address."""
    async with make() as server:
        await server.listen(0, "127.0.0.1")
        heard = once(server, "connection")
        with stdlib_peer.dial(server) as sock:
            assert await heard == sock.getsockname()
            assert server.connections == 1


async def test_listening_server_is_kept_alive() -> None:
    """Nobody has to hold it."""
    port = (await make().listen(0, "127.0.0.1")).port
    gc.collect()
    assert await call(port=port, host="127.0.0.1") == b"hello"
    [server] = [one for one in gc.get_objects() if type(one) is tlsio.Server and one.port == port]
    server.close()
    await server.wait_closed()
