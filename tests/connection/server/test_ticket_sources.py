"""Servers whose ticket keys come from a source: installed before the first client, changed in time, let go with the server."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from net import let_go
from sessions import greet, visit
from tlsio.session.ticket_keys import Snapshot

if TYPE_CHECKING:
    from net import Net


class Source:
    """Keys as the test says, on a clock of its own."""

    def __init__(self, *keys: bytes) -> None:
        self.keys = keys
        self.now = 0.0
        self.refreshed = 0
        self.failing = False

    def clock(self) -> float:
        """Seconds since the source was made."""
        return self.now

    def snapshot(self, now: float) -> Snapshot:
        """Return the keys, to be asked for again after a moment of the real clock."""
        return Snapshot(self.keys, now + 0.001)

    async def refresh(self) -> None:
        """Count, and fail when told to."""
        self.refreshed += 1
        if self.failing:
            raise RuntimeError("no keys today")


async def installed(server: tlsio.Server, key: bytes) -> None:
    """Wait until `key` is the first."""
    while server.get_ticket_keys() != key:  # noqa: ASYNC110  (nobody tells)
        await asyncio.sleep(0)


OLD, NEW = bytes(48), b"n" * 48


async def test_keys_are_there_before_the_first_client(net: Net) -> None:
    """Two servers with one source resume each other's tickets, and follow it when it changes."""
    source = Source(OLD)
    async with net.serve(greet, ticket_keys=source) as one, net.serve(greet, ticket_keys=source) as two:
        first = await visit(net, one)
        assert one.get_ticket_keys() == OLD
        assert (await visit(net, two, session=first.session)).reused
        source.keys = (NEW, OLD)
        await installed(one, NEW)
        await installed(two, NEW)
        second = await visit(net, two, session=first.session)
        assert second.reused
        assert (await visit(net, one, session=second.session)).reused


async def test_source_that_fails_leaves_the_keys(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    """Service goes on with what there is; one warning."""
    source = Source(OLD)
    source.failing = True
    async with net.serve(greet, ticket_keys=source) as server:
        first = await visit(net, server)
        assert (await visit(net, server, session=first.session)).reused
        assert source.refreshed >= 1
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


async def test_closed_server_lets_the_source_go(net: Net) -> None:
    """No task is left; listening again asks it again."""
    source = Source(OLD)
    async with net.serve(greet, ticket_keys=source) as server:
        await visit(net, server)
    await let_go()
    await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "tlsio ticket keys"]
    before = source.refreshed
    if net.is_native:
        await server.listen(0, "127.0.0.1")
        assert source.refreshed > before
        server.close(0)
        await server.wait_closed()


def test_source_is_not_pushed_aside() -> None:
    """Keys by hand would be gone with the next turn of it: both ways to set them raise."""
    server = tlsio.create_server(ticket_keys=Source(OLD))
    with pytest.raises(tlsio.UsageError) as caught:
        server.set_ticket_keys(NEW)
    assert isinstance(caught.value, RuntimeError)
    with pytest.raises(tlsio.UsageError):
        server.set_secure_context(ticket_keys=NEW)


@pytest.mark.parametrize("value", [{}, object(), 7, "x" * 48, b"x" * 47, [b"x"]])
def test_what_is_neither_raises(value: Any) -> None:
    """At the call."""
    with pytest.raises(tlsio.UsageError):
        tlsio.create_server(ticket_keys=value)


async def test_ring_of_the_library_serves(net: Net) -> None:
    """The usual one, with an hour to go."""
    async with net.serve(greet, ticket_keys=tlsio.TicketKeyRing()) as server:
        first = await visit(net, server)
        assert (await visit(net, server, session=first.session)).reused


async def test_lone_socket_takes_no_source() -> None:
    """There is nobody who would ask it again."""
    near, far = socket.socketpair()
    with near, far, pytest.raises(tlsio.UsageError):
        tlsio.TLSSocket(near, is_server=True, ticket_keys=Source(OLD))
