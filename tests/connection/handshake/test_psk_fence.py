"""What a `psk_callback` may do while OpenSSL waits for it: anything. What it does to connections happens behind it."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from net import once

if TYPE_CHECKING:
    from collections.abc import Callable

    from net import Net

KEY = bytes(range(32))


def by_key(net: Net, **options: Any) -> dict[str, Any]:
    """Options of either side."""
    return ({} if net.version == "TLSv1.3" else {"ciphers": "PSK"}) | options


def serving(net: Net, do: Callable[[tlsio.TLSSocket], object] = lambda _socket: None, **options: Any) -> dict[str, Any]:
    """A server's, that does something before it tells the key."""
    return by_key(net, cert=None, key=None, psk_callback=lambda socket, _identity: (do(socket), KEY)[1], **options)


def coming(net: Net, do: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """A client's."""
    return by_key(net, psk_callback=lambda _hint: (do(), ("alice", KEY))[1])


async def end(sock: tlsio.TLSSocket) -> None:
    """Be done with it."""
    sock.destroy()
    await sock.wait_closed()


@pytest.mark.parametrize("how", ["destroy", "close"])
async def test_server_may_end_the_connection_that_asks(net: Net, how: str) -> None:
    """It is closed at once for whoever looks, and never opens, whatever the function returns."""
    seen: list[Any] = []
    async with net.serve(**serving(net, lambda sock: (getattr(sock, how)(), seen.append(sock)))) as server:
        server.on("secure_connection", lambda _socket: seen.append("opened"))
        with pytest.raises(tlsio.TLSError):
            await net.connect(server, **coming(net))
        [sock] = seen
        assert sock.closed
        await sock.wait_closed()


async def test_client_may_end_the_connection_that_asks(net: Net) -> None:
    """`TLSSocket` has a name before it shakes hands."""
    async with net.serve(**serving(net)) as server:
        made: list[tlsio.TLSSocket] = []

        def leave() -> None:
            made[0].destroy()

        options = coming(net, leave)
        made.append(tlsio.TLSSocket(await net.dial(server), servername="localhost", max_version=net.version, **options))
        with pytest.raises(tlsio.ConnectionLostError) as caught:
            await made[0].handshake()
        assert caught.value.code == "ERR_SOCKET_CLOSED"
        await made[0].wait_closed()


async def test_other_connections_may_be_written_to_and_ended(net: Net) -> None:
    """What was written is sent in its order, then the end; what was destroyed is gone."""
    others: list[tlsio.TLSSocket] = []

    def meddle(_socket: tlsio.TLSSocket) -> None:
        if len(others) == 2:
            others[0].write(b"second ")
            others[0].end(b"third")
            others[1].destroy()

    async with net.serve(others.append, **serving(net, meddle)) as server:
        first, second = [await net.connect(server, **coming(net)) for _ in range(2)]
        others[0].write(b"first ")
        third = await net.connect(server, **coming(net))
        assert await first.readexactly(18) == b"first second third"
        assert await first.read() == b""
        with pytest.raises(tlsio.TLSError):
            await second.read()
        for sock in (first, second, third):
            await end(sock)


async def test_big_writes_in_the_callback_are_kept(net: Net) -> None:
    """More than is sent at once elsewhere."""
    others: list[tlsio.TLSSocket] = []
    big = bytes(1_000_000)
    async with net.serve(others.append, **serving(net, lambda _socket: others and others[0].write(big))) as server:
        first = await net.connect(server, **coming(net))
        second = await net.connect(server, **coming(net))
        assert await first.readexactly(len(big)) == big
        for sock in (first, second):
            await end(sock)


async def test_reading_gives_nothing_inside_and_loses_nothing(net: Net) -> None:
    """A read that was begun there is answered later."""
    others: list[tlsio.TLSSocket] = []
    reads: list[asyncio.Task[bytes]] = []

    def meddle(_socket: tlsio.TLSSocket) -> None:
        if others:
            reads.append(asyncio.ensure_future(others[0].read()))

    async with net.serve(others.append, **serving(net, meddle)) as server:
        first = await net.connect(server, **coming(net))
        await first.send(b"for whoever reads")
        second = await net.connect(server, **coming(net))
        assert await reads[0] == b"for whoever reads"
        for sock in (first, second):
            await end(sock)


async def test_server_may_be_closed(net: Net) -> None:
    """With all it has, the connection that asks too; `wait_closed` comes to an end."""
    servers: list[tlsio.Server] = []

    def close(_socket: tlsio.TLSSocket) -> None:
        if servers[0].stats().handshakes_full == 2:
            servers[0].close(0)

    async with net.serve(**serving(net, close)) as server:
        servers.append(server)
        opened = [await net.connect(server, **coming(net)) for _ in range(2)]
        with pytest.raises((tlsio.TLSError, OSError)):
            await net.connect(server, **coming(net))
        await server.wait_closed()
        assert server.connections == 0
        for sock in opened:
            with pytest.raises(tlsio.TLSError):
                await sock.read()
            await end(sock)


async def test_server_may_be_given_other_contexts(net: Net) -> None:
    """For those who come later."""
    servers: list[tlsio.Server] = []
    contexts = {"ciphers": "PSK:HIGH"} if net.version == "TLSv1.2" else {}

    def change(_socket: tlsio.TLSSocket) -> None:
        servers[0].set_secure_context(session_timeout=60, **contexts)
        servers[0].add_context("other.test", contexts)
        servers[0].set_ticket_keys(bytes(48))

    async with net.serve(**serving(net, change)) as server:
        servers.append(server)
        for name in ("localhost", "other.test"):
            await end(await net.connect(server, servername=name, **coming(net)))


async def test_garbage_may_be_collected(net: Net) -> None:
    """Sockets and servers among it."""

    def litter(_socket: tlsio.TLSSocket) -> None:
        for _ in range(3):
            one: Any = tlsio.create_server(psk_callback=lambda *_: None)
            one.itself = [one] if hasattr(one, "__dict__") else None
        gc.collect()

    async with net.serve(**serving(net, litter)) as server:
        await end(await net.connect(server, **coming(net, gc.collect)))


async def test_many_at_once_are_told_apart(net: Net) -> None:
    """Each by its own key."""
    asked: list[str] = []

    def find(_socket: tlsio.TLSSocket, identity: str) -> bytes:
        asked.append(identity)
        return identity.encode() * 8

    async with net.serve(**serving(net) | {"psk_callback": find}) as server:

        async def visit(name: str) -> None:
            await end(await net.connect(server, **by_key(net, psk_callback=lambda _hint: (name, name.encode() * 8))))

        names = [f"client {n}" for n in range(20)]
        await asyncio.gather(*map(visit, names))
        assert sorted(asked) == sorted(names)


async def test_context_variables_of_the_connection_are_kept(net: Net) -> None:
    """What the callback sets, listeners of that connection see; those of others do not."""
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")

    def remember(_socket: tlsio.TLSSocket, identity: str) -> bytes:
        assert who.get() == "nobody"
        who.set(identity)
        return KEY

    told: list[str] = []
    async with net.serve(lambda _socket: told.append(who.get()), **serving(net) | {"psk_callback": remember}) as server:
        for name in ("alice", "bob"):
            opened = once(server, "secure_connection")
            sock = await net.connect(server, **by_key(net, psk_callback=lambda _hint, name=name: (name, KEY)))
            await opened
            await end(sock)
        assert told == ["alice", "bob"]
        assert who.get() == "nobody"


@pytest.mark.parametrize("version", ["TLSv1.2"], indirect=True)
async def test_renegotiation_asks_again(net: Net) -> None:
    """In the middle of reading; what is written there comes after it."""
    asked: list[tlsio.TLSSocket] = []

    def count(socket: tlsio.TLSSocket) -> None:
        asked.append(socket)
        if len(asked) == 2:
            socket.write(b"asked again")

    async with net.serve(**serving(net, count, allow_renegotiation=True)) as server:
        server.on("secure_connection", lambda sock: sock.on("data", lambda _data: None))
        sock = await net.connect(server, **coming(net))
        reading = asyncio.ensure_future(sock.read())
        await sock.renegotiate()
        assert await reading == b"asked again"
        assert asked[0] is asked[1]
        await end(sock)


@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_ends_it(net: Net, role: str, error: type[BaseException]) -> None:
    """But not by a way through OpenSSL; the handshake fails besides."""

    def stop(*_args: Any) -> Any:
        raise error

    async def run() -> None:
        async with net.serve(**serving(net) | ({"psk_callback": stop} if role == "server" else {})) as server:
            connecting = asyncio.create_task(net.connect(server, **coming(net) | ({"psk_callback": stop} if role == "client" else {})))
            await over.wait()
            with pytest.raises(tlsio.TLSError):
                await connecting

    over = asyncio.Event()
    loop = asyncio.new_event_loop()
    try:
        task = loop.create_task(run())
        with pytest.raises(error):
            loop.run_until_complete(task)
        over.set()
        loop.run_until_complete(task)
    finally:
        loop.close()


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_pair_uses_a_key_and_stands_still_while_it_is_asked(version: str) -> None:
    """Its ends take what they are given meanwhile, and move it behind the call."""
    options: dict[str, Any] = {"min_version": version, "max_version": version, "ciphers": "PSK:TLS_AES_128_GCM_SHA256"}

    def find(_socket: object, identity: str) -> bytes:
        server.cleartext.write(b"hello " + identity.encode())
        assert server.cleartext.read() == server.encrypted.read() == b""
        return KEY

    client = tlsio.create_secure_pair(psk_callback=lambda _hint: ("alice", KEY), servername="localhost", **options)
    server = tlsio.create_secure_pair(is_server=True, psk_callback=find, **options)
    received = b""
    for _ in range(8):
        server.encrypted.write(client.encrypted.read())
        client.encrypted.write(server.encrypted.read())
        received += client.cleartext.read()
    assert received == b"hello alice"
    assert client.cleartext.authorized
