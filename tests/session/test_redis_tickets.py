"""Ticket keys of a cluster: nodes with clocks that differ, a Redis that comes and goes."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any, Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ports import own_port
from redis_server import SECRET, RedisServer, pretender
from tlsio.model.errors import UsageTypeError, UsageValueError
from tlsio.session.redis_ticket_keys import RedisTicketKeys

if TYPE_CHECKING:
    from collections.abc import Sequence

BEGIN = 1_790_000_000.0  # an instant, in seconds since 1970
INTERVAL, OVERLAP = 600.0, 300.0
NONCE = 12  # random bytes that sealing takes


class Node:
    """One of a cluster; it does what a server does, at the times its keys ask for.

    Attributes:
        keys: Those it has installed.
        due: When it does its next turn, in true time.
        deaf_until: Until when it does not reach Redis.
    """

    def __init__(self, cluster: Cluster, skew: float) -> None:
        self._skew = skew
        self.source = RedisTicketKeys(cluster.url, clock=lambda: cluster.now + skew, timeout=cluster.timeout, **cluster.options)
        self.keys: tuple[bytes, ...] = ()
        self.due = self.deaf_until = 0.0
        self._cluster = cluster

    async def turn(self) -> None:
        """Refresh and install."""
        if self._cluster.now >= self.deaf_until:
            await self.source.refresh()
        snapshot = self.source.snapshot(self.source.clock())
        assert snapshot.until > self.source.clock()
        assert len(snapshot.keys) <= 16
        self.keys, self.due = snapshot.keys, snapshot.until - self._skew


class Cluster:
    """Nodes, and the true time."""

    def __init__(
        self, url: str, skews: Sequence[float], *, interval: float = INTERVAL, overlap: float = OVERLAP, timeout: float = 1.0
    ) -> None:
        self.url, self.timeout, self.now = url, timeout, BEGIN
        self.options: dict[str, Any] = {"secret": SECRET, "interval": interval, "overlap": overlap}
        self._overlap = overlap
        self.nodes = [Node(self, skew) for skew in skews]
        self._used: dict[bytes, float] = {}  # until when each key has encrypted

    async def __aenter__(self) -> Self:
        for node in self.nodes:
            await node.turn()
        return self

    async def __aexit__(self, *_: object) -> None:
        for node in self.nodes:
            await node.source.aclose()

    async def run(self, seconds: float) -> None:
        """Let time pass; at each moment every ticket decrypts everywhere."""
        end = self.now + seconds
        while (node := min(self.nodes, key=lambda node: node.due)).due <= end:
            self.now = max(self.now, node.due)
            self.check()
            await node.turn()
            self.check()
        self.now = end

    def check(self) -> None:
        """What any node encrypts with, and what any has encrypted with in the overlap, every node has."""
        for node in self.nodes:
            self._used[node.keys[0]] = self.now
        for key, last in self._used.items():
            assert self.now >= last + self._overlap or all(key in node.keys for node in self.nodes)

    @property
    def agrees(self) -> bool:
        """Whether all encrypt with the same key."""
        return len({node.keys[0] for node in self.nodes}) == 1


async def test_nodes_switch_together(redis_server: RedisServer) -> None:
    """To a key that all have known for long; one that is over is gone everywhere."""
    async with Cluster(redis_server.url, (0.0, 0.0, 0.0)) as cluster:
        first = cluster.nodes[0].keys[0]
        await cluster.run(INTERVAL - 1.0)
        coming = {node.keys[1] for node in cluster.nodes}
        assert cluster.agrees
        assert len(coming) == 1
        await cluster.run(2.0)
        assert {node.keys[0] for node in cluster.nodes} == coming
        await cluster.run(OVERLAP + 10.0)
        assert all(first not in node.keys for node in cluster.nodes)


async def test_clocks_may_differ_by_seconds(redis_server: RedisServer) -> None:
    """Who switches first is understood by the others, and who switches last, too."""
    async with Cluster(redis_server.url, (-5.0, 0.0, 5.0)) as cluster:
        await cluster.run(INTERVAL - 1.0)
        assert not cluster.agrees
        await cluster.run(2 * INTERVAL)


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    skews=st.lists(st.floats(-5.0, 5.0), min_size=2, max_size=4),
    interval=st.floats(60.0, 1200.0),
    intervals=st.floats(0.1, 4.0),
    steps=st.lists(st.tuples(st.floats(0.0, 1.5), st.floats(0.0, 0.4), st.booleans()), max_size=4),
)
def test_every_ticket_decrypts_everywhere(
    redis_server: RedisServer, skews: list[float], interval: float, intervals: float, steps: list[tuple[float, float, bool]]
) -> None:
    """Through rotations, with clocks that differ, nodes that are cut off for a while, and a Redis that loses everything now and then."""

    async def live() -> None:
        redis_server.run("FLUSHALL")
        async with Cluster(redis_server.url, skews, interval=interval, overlap=interval * intervals) as cluster:
            for turn, (share, deaf, forgets) in enumerate(steps):
                await cluster.run(share * interval)
                cluster.nodes[turn % len(skews)].deaf_until = cluster.now + deaf * interval
                if forgets:
                    redis_server.run("FLUSHALL")
            await cluster.run(2 * interval)

    asyncio.run(live())


async def test_all_nodes_may_start_at_once(redis_server: RedisServer) -> None:
    """One makes the first keys, the others wait for them."""
    cluster = Cluster(redis_server.url, (0.0, 1.0, -1.0, 0.5))
    await asyncio.gather(*(node.turn() for node in cluster.nodes))
    assert cluster.agrees
    await cluster.__aexit__()


async def test_redis_that_lost_the_keys_gets_them_back() -> None:
    """Restarted in the middle of an interval, empty."""
    with RedisServer() as server:
        async with Cluster(server.url, (0.0, 2.0)) as cluster:
            await cluster.run(INTERVAL / 2)
            before = cluster.nodes[0].keys
            server.restart()
            await cluster.run(INTERVAL / 4)
            assert len(server.contents()) == 1
            newcomer = Node(cluster, -2.0)
            cluster.nodes.append(newcomer)
            await newcomer.turn()
            assert set(before) <= set(newcomer.keys)
            await cluster.run(2 * INTERVAL)


@pytest.mark.slow
async def test_node_that_lost_redis_goes_on_with_what_it_knows(caplog: pytest.LogCaptureFixture) -> None:
    """Through the next key to its end; then with a key of its own, and back when Redis is there again."""
    with RedisServer() as server:
        async with Cluster(server.url, (0.0, 0.0), timeout=2.0) as cluster:
            first, second = cluster.nodes[0].keys
            server.stop()
            await cluster.run(INTERVAL + 1.0)
            assert {node.keys for node in cluster.nodes} == {(second, first)}
            await cluster.run(INTERVAL + OVERLAP)
            assert {node.keys for node in cluster.nodes} == {(second,)}
            caplog.clear()
            node, other = cluster.nodes
            cluster.now += 20.0
            for _ in range(3):
                await node.turn()
            assert second not in node.keys
            assert [record.getMessage()[:25] for record in caplog.records] == ["No ticket keys from Redis"]
            own = node.keys[0]
            server.start()
            await asyncio.sleep(0)
            await rejoin(node, other)
            assert node.keys[0] == other.keys[0] != own
            assert own in node.keys


async def rejoin(*nodes: Node) -> None:
    """Let nodes turn until they are in step; the breaker keeps them from Redis for a while."""
    async with asyncio.timeout(10):
        while len({node.keys[0] for node in nodes}) > 1:
            for node in nodes:
                await node.turn()
            await asyncio.sleep(0.02)


async def test_node_without_redis_starts_on_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """And asks again every second."""
    with own_port() as port:
        async with Cluster(f"redis://127.0.0.1:{port}", (0.0,)) as cluster:
            (node,) = cluster.nodes
            assert [len(key) for key in node.keys] == [48]
            assert node.due == cluster.now + 1.0
    assert len(caplog.records) == 2  # that Redis does not answer, and what that means


async def test_one_writes_at_a_time(redis_server: RedisServer) -> None:
    """Who finds the lock taken asks again."""
    async with Cluster(redis_server.url, (0.0, 0.0)) as cluster:
        (name,) = redis_server.contents()
        before = redis_server.run("GET", name)
        redis_server.run("SET", name + b":lock", "somebody else")
        cluster.now += INTERVAL
        node = cluster.nodes[0]
        await node.turn()
        assert redis_server.run("GET", name) == before
        assert node.due == cluster.now + 1.0
        redis_server.run("DEL", name + b":lock")
        await node.turn()
        assert redis_server.run("GET", name) != before
        assert redis_server.run("EXISTS", name + b":lock") == 0


async def test_writer_that_stalled_writes_nothing(redis_server: RedisServer) -> None:
    """Its lock is over, and another may have written."""

    def random(size: int) -> bytes:
        if size == NONCE:  # the plan is made, and about to be sent
            (lock,) = redis_server.run("KEYS", "*:lock")
            redis_server.run("SET", lock, "somebody else")
        return bytes(size)

    async with RedisTicketKeys(redis_server.url, secret=SECRET, timeout=5.0, random=random) as source:
        await source.refresh()
    assert list(redis_server.contents().values()) == [b"somebody else"]


async def test_lock_and_keys_do_not_stay_for_ever(redis_server: RedisServer) -> None:
    """When all nodes are gone, or the one that held the lock."""
    async with Cluster(redis_server.url, (0.0,)):
        (name,) = redis_server.contents()
        assert 0 < redis_server.run("PTTL", name) <= 1000 * (3 * INTERVAL + OVERLAP)


async def test_redis_sees_no_key(redis_server: RedisServer) -> None:
    """Neither what it holds nor what it is told shows one, nor the secret; nor do the objects here when they are shown."""

    def random(size: int) -> bytes:
        return bytes(byte | 0x80 for byte in os.urandom(size))  # all of them are written `\\x..` by MONITOR

    with redis_server.overheard() as heard:
        cluster = Cluster(redis_server.url, ())
        cluster.options["random"] = random
        cluster.nodes.append(Node(cluster, 0.0))
        async with cluster:
            await cluster.run(INTERVAL)
            (node,) = cluster.nodes
            shown = repr(node.source) + repr(vars(node.source)["_plan"]) + repr(node.source.snapshot(cluster.now))
    held = redis_server.contents()
    seen = b"".join(heard)
    assert b"ticket-keys" in seen
    assert SECRET.encode() not in seen
    for key in node.keys:
        for piece in (key[at : at + 4] for at in range(0, 48, 4)):
            written = "".join(f"\\x{byte:02x}" for byte in piece)
            assert written not in shown
            assert written.encode() not in seen
            assert not any(piece in value for value in held.values())


@pytest.mark.parametrize("value", [b"", b"noise", bytes(200)])
async def test_forged_plan_is_replaced(redis_server: RedisServer, caplog: pytest.LogCaptureFixture, value: bytes) -> None:
    """It is nobody's; the log hears of it."""
    async with Cluster(redis_server.url, (0.0,)) as cluster:
        (name,) = redis_server.contents()
        before = cluster.nodes[0].keys
        redis_server.run("SET", name, value)
        await cluster.nodes[0].turn()
        assert cluster.nodes[0].keys == before
        newcomer = Node(cluster, 0.0)
        cluster.nodes.append(newcomer)
        await newcomer.turn()
        assert newcomer.keys == before
    assert "were not written with this secret" in caplog.text


async def test_other_secret_means_another_cluster(redis_server: RedisServer) -> None:
    """Neither disturbs the other: secrets can be changed node by node."""
    async with Cluster(redis_server.url, (0.0,)) as one:
        other = Cluster(redis_server.url, ())
        other.options["secret"] = SECRET + "!"
        other.nodes.append(Node(other, 0.0))
        async with other:
            await one.nodes[0].turn()
            assert not set(one.nodes[0].keys) & set(other.nodes[0].keys)
        assert len(redis_server.contents()) == 2


@pytest.mark.parametrize("said", [b"+OK\r\n" * 9, b"$5\r\nhello\r\n" * 9, b":7\r\n" * 9, b"noise", b"*1\r\n"])
async def test_nonsense_is_no_plan(caplog: pytest.LogCaptureFixture, said: bytes) -> None:
    """The node goes on alone, whoever answers."""
    caplog.set_level(logging.ERROR)
    async with pretender(lambda _: (said, True)) as url, Cluster(url, (0.0,), timeout=0.05) as cluster:
        await cluster.nodes[0].turn()
        assert [len(key) for key in cluster.nodes[0].keys][:1] == [48]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"interval": 59.9}, UsageValueError),
        ({"interval": None}, UsageTypeError),
        ({"overlap": 0.0}, UsageValueError),
        ({"interval": 60.0, "overlap": 720.1}, UsageValueError),
        ({"secret": "short"}, UsageValueError),
        ({"prefix": None}, UsageTypeError),
    ],
)
def test_wrong_option_raises(options: dict[str, Any], error: type[Exception]) -> None:
    """A key has to be known by all before it is used: that takes its time."""
    RedisTicketKeys("redis://localhost", secret=SECRET, interval=60.0, overlap=720.0)
    with pytest.raises(error):
        RedisTicketKeys("redis://localhost", **{"secret": SECRET} | options)


async def test_node_that_was_alone_has_no_more_keys_than_a_server_holds(redis_server: RedisServer) -> None:
    """With the longest overlap: its own keys still decrypt as far as there is room, and it encrypts with the shared one."""
    async with Cluster(redis_server.url, (0.0, 0.0), interval=60.0, overlap=720.0) as cluster:
        alone = cluster.nodes[0]
        alone.deaf_until = cluster.now + 3600.0
        while cluster.now < alone.deaf_until:
            cluster.now = min(node.due for node in cluster.nodes)
            await min(cluster.nodes, key=lambda node: node.due).turn()
        for node in cluster.nodes:
            await node.turn()
        assert cluster.agrees
        assert len(alone.keys) == 16
        assert set(alone.keys) - set(cluster.nodes[1].keys)


async def test_plan_of_a_size_that_none_has_is_not_opened(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """It is replaced, as everything that another program has written in its place."""
    source = RedisTicketKeys(redis_server.url, secret=SECRET)
    redis_server.run("SET", source._name, b"x" * 100_000)
    await source.refresh()
    assert len(source.snapshot(source.clock()).keys) == 2
    assert len(redis_server.run("GET", source._name)) < 1000
    assert "were not written with this secret" in caplog.text
    await source.aclose()
