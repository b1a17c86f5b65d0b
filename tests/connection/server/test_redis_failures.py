"""Servers of a cluster over a real Redis, and what becomes of their clients when it fails: nothing."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from ports import own_port
from redis_server import SECRET, RedisServer, pretender
from sessions import greet, visit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from net import Net
    from sessions import Visit


@pytest.mark.slow
async def test_nodes_resume_each_others_sessions(net: Net) -> None:
    """By a store, and by tickets."""
    with RedisServer() as redis:
        for option, make in (("session_store", tlsio.RedisSessionStore), ("ticket_keys", tlsio.RedisTicketKeys)):
            one, two = (make(redis.url, secret=SECRET, timeout=5.0) for _ in range(2))
            async with one, two, net.serve(greet, **{option: one}) as here, net.serve(greet, **{option: two}) as there:
                first = await visit(net, here)
                second = await visit(net, there, session=first.session)
                assert (first.reused, second.reused) == (False, True)


@pytest.mark.slow
async def test_store_of_another_trust_finds_nothing(net: Net) -> None:
    """Two servers share the store, and one trusts others: its clients are verified anew, as strangers."""
    with RedisServer() as redis:
        async with tlsio.RedisSessionStore(redis.url, secret=SECRET, timeout=5.0) as store:
            strict = {"request_cert": True, "reject_unauthorized": False}
            async with net.serve(greet, session_store=store) as here, net.serve(greet, session_store=store, **strict) as there:
                first = await visit(net, here)
                assert not (await visit(net, there, session=first.session)).reused
                assert there.stats().session_misses == 1
                assert (await visit(net, here, session=first.session)).reused


class Weather:
    """A place where a Redis is, or something else, and what befalls it.

    Attributes:
        url: Where servers look for it.
        strike: Lets it happen.
    """

    def __init__(self, url: str, strike: Callable[[], Any] = lambda: None) -> None:
        self.url = url
        self.strike = strike


@asynccontextmanager
async def failing_redis(kind: str) -> AsyncIterator[Weather]:
    """Make one of its kinds."""
    if kind == "never there":
        with own_port() as port:
            yield Weather(f"redis://127.0.0.1:{port}")
    elif kind == "nonsense":
        async with pretender(lambda _: (b"HTTP/1.1 400 Bad Request\r\n\r\n", True)) as url:
            yield Weather(url)
    elif kind == "cut in the middle":
        async with pretender(_cut) as url:
            yield Weather(url)
    else:
        with RedisServer() as redis:
            strikes = {
                "down": redis.stop,
                "slow": redis.freeze,
                "full": lambda: redis.run("CONFIG", "SET", "maxmemory", "1"),
                "restarted": redis.restart,
            }
            yield Weather(redis.url, strikes[kind])


def _cut(heard: bytes) -> tuple[bytes, bool]:
    """Shake hands, then say half of what was to be said."""
    if b"CLIENT" in heard:
        return b"+OK\r\n" * heard.count(b"CLIENT"), True
    return b"$200\r\nhalf of it", False


KINDS = ["never there", "nonsense", "cut in the middle", "down", "slow", "full", "restarted"]


async def visit_often(net: Net, server: tlsio.Server, times: int, session: bytes | None = None) -> list[Visit]:
    """Come so often, with the newest session each time."""
    visits = []
    for _ in range(times):
        visits.append(await visit(net, server, session=session))
        session = visits[-1].session if visits[-1].sessions else session
    return visits


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
async def test_no_client_is_refused(net: Net, kind: str) -> None:
    """Eight clients come and come again while it happens; each is served each time."""
    async with failing_redis(kind) as place, tlsio.RedisSessionStore(place.url, secret=SECRET, timeout=0.1) as store:
        async with net.serve(greet, session_store=store) as server:
            await asyncio.gather(*(visit_often(net, server, 2) for _ in range(4)))
            clients = [asyncio.create_task(visit_often(net, server, 6)) for _ in range(8)]
            await visit(net, server)
            place.strike()
            await asyncio.gather(*clients)
            await visit_often(net, server, 2)
            stats = server.stats()
        assert stats.handshakes_failed == {}
        assert stats.handshakes_full + stats.handshakes_resumed == 4 * 2 + 8 * 6 + 1 + 2
        assert stats.store is not None
        assert stats.store.errors > 0 or kind == "restarted"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
async def test_no_ticket_is_lost_on_its_own_node(net: Net, kind: str) -> None:
    """Each client resumes where it was before, while it happens; a server starts beside it all the same."""
    async with failing_redis(kind) as place, tlsio.RedisTicketKeys(place.url, secret=SECRET, timeout=0.1) as keys:
        async with net.serve(greet, ticket_keys=keys) as server:
            first = await visit(net, server)
            place.strike()
            await keys.refresh()
            assert all(back.reused for back in await visit_often(net, server, 3, first.session))
            async with tlsio.RedisTicketKeys(place.url, secret=SECRET, timeout=0.1) as others, net.serve(greet, ticket_keys=others) as late:
                assert [back.reused for back in await visit_often(net, late, 2)] == [False, True]
        assert server.stats().handshakes_failed == {}
