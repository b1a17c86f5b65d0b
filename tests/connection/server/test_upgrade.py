"""`server.upgrade`: whatever happens to it, no stream is left behind, and no limit is passed."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import time
from typing import Any

import pytest

import pki
import tlsio
from net import let_go
from tlsio.session.ticket_keys import Snapshot

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="none")


class Source:
    """Ticket keys that come when the test wants them to."""

    clock = staticmethod(time.monotonic)

    def __init__(self, size: int = 48) -> None:
        self.gate = asyncio.Event()
        self.asked = asyncio.Event()
        self.size = size

    async def refresh(self) -> None:
        """Wait."""
        self.asked.set()
        await self.gate.wait()

    def snapshot(self, now: float) -> Snapshot:
        """Give one key."""
        return Snapshot((bytes(self.size),), now + 3600.0)


def make(**options: Any) -> tlsio.Server:
    """Make the usual server."""
    who = pki.localhost()
    return tlsio.create_server(cert=who.cert_pem, key=who.key_pem, **options)


async def is_closed(stream: socket.socket) -> bool:
    """Whether the stream is closed once its driver has let it go."""
    await let_go()
    return stream.fileno() < 0


@pytest.mark.parametrize("waiting", [False, True], ids=["before its first step", "for the keys"])
async def test_cancelled_upgrade_closes_its_stream(waiting: bool) -> None:  # noqa: FBT001
    """A task that never began has not been given the stream: that one is its owner's."""
    source = Source()
    server = make(ticket_keys=source)
    near, far = socket.socketpair()
    with far, near:
        upgrading = asyncio.ensure_future(server.upgrade(near))
        if waiting:
            await source.asked.wait()
        upgrading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upgrading
        assert await is_closed(near) is waiting
        assert server.connections == 0
    server.close(0)
    await server.wait_closed()


async def test_upgrade_that_fails_closes_its_stream() -> None:
    """Here for keys of a wrong size."""
    source = Source(size=32)
    source.gate.set()
    server = make(ticket_keys=source)
    near, far = socket.socketpair()
    with far, near:
        with pytest.raises(tlsio.UsageError, match="got 32"):
            await server.upgrade(near)
        assert await is_closed(near)


async def test_server_that_is_closed_meanwhile_takes_no_stream() -> None:
    """The stream is closed, and nothing of the server goes on."""
    source = Source()
    server = make(ticket_keys=source)
    near, far = socket.socketpair()
    with far, near:
        upgrading = asyncio.ensure_future(server.upgrade(near))
        await source.asked.wait()
        server.close(0)
        await server.wait_closed()
        source.gate.set()
        with pytest.raises(tlsio.ConnectionLostError) as caught:
            await upgrading
        assert caught.value.code == "ERR_SERVER_NOT_RUNNING"
        assert await is_closed(near)
        assert server.connections == 0


@pytest.mark.parametrize("limit", [1, 3])
async def test_first_upgrades_keep_the_limit_together(limit: int) -> None:
    """All of them wait for the keys: who is let in is decided after that."""
    source = Source()
    server = make(ticket_keys=source, max_connections=limit)
    dropped: list[object] = []
    server.on("drop", dropped.append)
    pairs = [socket.socketpair() for _ in range(5)]
    upgrades = [asyncio.ensure_future(server.upgrade(near)) for near, _ in pairs]
    await source.asked.wait()
    source.gate.set()
    clients = [asyncio.ensure_future(tlsio.connect(socket=far, servername="localhost", ca=pki.ca1().cert_pem)) for _, far in pairs]
    results = await asyncio.gather(*upgrades, return_exceptions=True)
    opened = [result for result in results if isinstance(result, tlsio.TLSSocket)]
    refused = [result for result in results if isinstance(result, tlsio.ConnectionLostError)]
    assert (len(opened), len(refused), len(dropped)) == (limit, 5 - limit, 5 - limit)
    assert {error.code for error in refused} == {"ERR_TLS_MAX_CONNECTIONS"}
    assert server.connections == limit
    for client in await asyncio.gather(*clients, return_exceptions=True):
        if isinstance(client, tlsio.TLSSocket):
            client.destroy()
    server.close(0)
    await server.wait_closed()
    await let_go()


@pytest.mark.parametrize("how", ["listen", "made"])
async def test_connections_have_the_variables_of_listen(how: str) -> None:
    """Not those of the client that happened to wake the reactor first."""
    seen: list[str] = []
    VARIABLE.set("of the program")
    server = make()

    def accept(sock: tlsio.TLSSocket) -> None:
        seen.append(VARIABLE.get())
        sock.end()

    server.on("secure_connection", accept)
    server.on("connection", lambda _address: seen.append(VARIABLE.get()))
    other = make()
    other.on("secure_connection", lambda sock: sock.end() and None)
    await other.listen(0, "127.0.0.1")

    async def first_request() -> None:
        VARIABLE.set("of a request")
        async with tlsio.connect(other.port, "127.0.0.1", ca=pki.ca1().cert_pem) as sock:
            await sock.read()

    await asyncio.ensure_future(first_request())
    if how == "listen":
        VARIABLE.set("of listen")
    await server.listen(0, "127.0.0.1")
    async with tlsio.connect(server.port, "127.0.0.1", ca=pki.ca1().cert_pem) as sock:
        await sock.read()
    assert seen == ["of listen" if how == "listen" else "of the program"] * 2
    for one in (server, other):
        one.close(0)
        await one.wait_closed()
