"""Sessions in a real Redis, and in one that is down, slow, full, restarted, or somebody else."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio

from ports import own_port
from redis_server import SECRET, RedisServer, pretender
from tlsio.model.errors import ConfigError, StoreError, UsageTypeError, UsageValueError
from tlsio.session.redis_store import RedisSessionStore
from tlsio.session.store import SessionStore

if TYPE_CHECKING:
    from conftest import Clock

ID, OTHER = b"the session id, which is a secret", b"another id"
DATA = b"the session data, which is a secret"
SHORT = 0.05  # for those who will not answer


def store_at(url: str, **options: Any) -> RedisSessionStore:
    """Make a store; what is well may take its time on a busy machine."""
    return RedisSessionStore(url, **{"secret": SECRET, "timeout": 5.0} | options)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log was warned of."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


class TestWorking:
    """Redis is well."""

    async def test_nodes_share_sessions(self, redis_server: RedisServer) -> None:
        """What one puts, the other gets, until one deletes it."""
        async with store_at(redis_server.url) as one, store_at(redis_server.url) as other:
            await one.put(ID, DATA, 60.0)
            assert await other.get(ID) == DATA
            assert await other.get(OTHER) is None
            await other.delete(ID)
            await other.delete(ID)
            assert await one.get(ID) is None
            assert isinstance(one, SessionStore)

    async def test_redis_forgets_in_time(self, redis_server: RedisServer) -> None:
        """It is told how long to keep each; what has no time left is not sent."""
        async with store_at(redis_server.url) as store:
            await store.put(ID, DATA, 30.5)
            await store.put(OTHER, DATA, 0.0)
            (name,) = redis_server.contents()
            assert 20_000 < redis_server.run("PTTL", name) <= 30_500
            assert store.stats().dropped == 1

    @pytest.mark.parametrize(("size", "kept"), [(1000, True), (1001, False)])
    async def test_large_entries_are_dropped(self, redis_server: RedisServer, size: int, kept: bool) -> None:  # noqa: FBT001
        """To the byte."""
        async with store_at(redis_server.url, max_entry_bytes=1000) as store:
            await store.put(ID, bytes(size), 60.0)
            assert (await store.get(ID) is not None) is kept
            assert store.stats().dropped == (not kept)

    async def test_calls_of_one_moment_share_a_round_trip(self, redis_server: RedisServer) -> None:
        """A hundred of them take one connection and a few answers."""
        async with store_at(redis_server.url) as store:
            before = redis_server.run("INFO", "stats")["total_connections_received"]
            await asyncio.gather(*(store.put(bytes([number]), bytes([number]), 60.0) for number in range(100)))
            assert redis_server.run("INFO", "stats")["total_connections_received"] - before == 2  # the store's, and that of the question
            assert await asyncio.gather(*(store.get(bytes([number])) for number in range(100))) == [bytes([n]) for n in range(100)]

    async def test_counts(self, redis_server: RedisServer) -> None:
        """What it did, and how long it took."""
        async with store_at(redis_server.url) as store:
            await store.put(ID, DATA, 60.0)
            await store.get(ID)
            await store.get(OTHER)
            stats = store.stats()
        assert (stats.hits, stats.misses, stats.puts, stats.errors, stats.calls) == (1, 1, 1, 0, 3)
        assert 0 < stats.seconds < 10

    async def test_client_that_was_given_stays_open(self, redis_server: RedisServer) -> None:
        """It is its maker's to close."""
        async with redis.asyncio.Redis.from_url(redis_server.url) as client:
            async with RedisSessionStore(client, secret=SECRET) as store:
                await store.put(ID, DATA, 60.0)
            assert await client.dbsize() == 1

    async def test_busy_loop_is_not_held_against_redis(self, redis_server: RedisServer) -> None:
        """Its turns are so long that the time is over after two, when the answer has long been there."""
        async with redis.asyncio.Redis.from_url(redis_server.url) as client:
            await client.ping()  # connects, with all the time that it needs
            async with store_at(redis_server.url) as patient, RedisSessionStore(client, secret=SECRET, timeout=0.02) as store:
                await patient.put(ID, DATA, 60.0)
                task = asyncio.create_task(store.get(ID))
                while not task.done():
                    time.sleep(0.01)  # noqa: ASYNC251 - work that others do in this loop
                    redis_server.run("PING")  # Redis answers in order: it has answered the store as well
                    await asyncio.sleep(0)
                assert await task == DATA

    async def test_cancelled_caller_disturbs_nobody(self, redis_server: RedisServer) -> None:
        """It shares its pipeline with others, who get their answers."""
        async with store_at(redis_server.url) as store:
            await store.put(ID, DATA, 60.0)
            tasks = [asyncio.create_task(store.get(ID)) for _ in range(10)]
            await asyncio.sleep(0)
            tasks[0].cancel()
            assert await asyncio.gather(*tasks[1:]) == [DATA] * 9
            assert await store.get(ID) == DATA


class TestSecrecy:
    """What those see who can read Redis, the log or an error."""

    async def test_redis_sees_nothing(self, redis_server: RedisServer) -> None:
        """Neither in its names and values nor on the wire."""
        with redis_server.overheard() as heard:
            async with store_at(redis_server.url) as store:
                await store.put(ID, DATA, 60.0)
                assert await store.get(ID) == DATA
        seen = b"".join(heard) + repr(redis_server.contents()).encode()
        assert b"tlsio:" in seen
        for secret in (ID, DATA, SECRET.encode(), b"secret"):
            assert secret not in seen

    async def test_value_answers_to_no_other_id(self, redis_server: RedisServer) -> None:
        """Who moves it in Redis gains nothing."""
        async with store_at(redis_server.url) as store:
            await store.put(ID, DATA, 60.0)
            (name,) = redis_server.contents()
            await store.put(OTHER, b"other", 60.0)
            (other,) = redis_server.contents().keys() - {name}
            redis_server.run("COPY", name, other, "REPLACE")
            assert await store.get(OTHER) is None
            assert store.stats().errors == 1
            assert await store.get(ID) == DATA

    @pytest.mark.parametrize("value", [b"", b"x", bytes(100), bytes(100_000)])
    async def test_forged_value_is_a_miss(self, redis_server: RedisServer, caplog: pytest.LogCaptureFixture, value: bytes) -> None:
        """It is counted, and the log hears of it once."""
        async with store_at(redis_server.url) as store:
            await store.put(ID, DATA, 60.0)
            (name,) = redis_server.contents()
            redis_server.run("SET", name, value)
            assert [await store.get(ID) for _ in range(3)] == [None] * 3
        assert store.stats().errors == 3
        assert len(warnings(caplog)) == 1

    async def test_other_secret_finds_nothing(self, redis_server: RedisServer) -> None:
        """Not even a value that it could not read: secrets can be changed node by node."""
        async with store_at(redis_server.url) as one, store_at(redis_server.url, secret=SECRET + "!") as other:
            await one.put(ID, DATA, 60.0)
            assert await other.get(ID) is None
            assert other.stats().errors == 0

    async def test_errors_and_log_tell_no_secret(self, caplog: pytest.LogCaptureFixture) -> None:
        """Nor the representations, nor a traceback."""
        caplog.set_level(logging.DEBUG)
        with own_port() as port:
            async with store_at(f"redis://user:password@127.0.0.1:{port}") as store:
                await store.put(ID, DATA, 60.0)
                await store.get(ID)
                with pytest.raises(StoreError) as caught:
                    await store.delete(ID)
        told = caplog.text + repr(store) + str(caught.value) + "".join(traceback.format_exception(caught.value))
        for secret in (ID.decode(), DATA.decode(), SECRET, "password"):
            assert secret not in told


async def check_failing_redis(store: RedisSessionStore, caplog: pytest.LogCaptureFixture) -> None:
    """No call raises but `delete`; all are counted; each kind is told once."""
    for _ in range(3):
        assert await store.get(ID) is None
        await store.put(ID, DATA, 60.0)
    with pytest.raises(StoreError) as caught:
        await store.delete(ID)
    assert caught.value.code == "ERR_TLS_STORE"
    stats = store.stats()
    assert (stats.errors, stats.misses, stats.dropped, stats.puts) == (7, 3, 3, 0)
    assert len(warnings(caplog)) == 3


class TestBadWeather:
    """Whatever befalls Redis, a session is not found; nothing is raised but by `delete`."""

    async def test_down(self, caplog: pytest.LogCaptureFixture) -> None:
        """Nobody listens."""
        with own_port() as port:
            async with store_at(f"redis://127.0.0.1:{port}") as store:
                await check_failing_redis(store, caplog)

    async def test_slow(self, redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
        """It takes the connection and says nothing. Three calls wait, then the breaker spares the others."""
        redis_server.run("CONFIG", "RESETSTAT")
        async with redis.asyncio.Redis.from_url(redis_server.url) as client:
            await client.ping()  # connects, with all the time that it needs
            async with RedisSessionStore(client, secret=SECRET, timeout=SHORT) as store:
                redis_server.freeze()
                try:
                    for _ in range(21):
                        assert await store.get(ID) is None
                finally:
                    redis_server.thaw()
        assert store.stats().errors == 21
        assert redis_server.run("INFO", "commandstats").get("cmdstat_get", {"calls": 0})["calls"] <= 3
        assert len(warnings(caplog)) == 1

    async def test_full(self, caplog: pytest.LogCaptureFixture) -> None:
        """It takes nothing more; what it has is still found."""
        with RedisServer() as full:
            async with store_at(full.url) as store:
                await store.put(OTHER, DATA, 60.0)
                full.run("CONFIG", "SET", "maxmemory", "1")
                for _ in range(5):
                    await store.put(ID, DATA, 60.0)
                    assert await store.get(OTHER) == DATA
                stats = store.stats()
        assert (stats.dropped, stats.errors, stats.hits) == (5, 5, 5)
        (warning,) = warnings(caplog)
        assert "maxmemory" in warning

    async def test_restarted(self) -> None:
        """Connections that died unseen cost nothing: the next call finds it again."""
        with RedisServer() as server:
            async with store_at(server.url) as store:
                await store.put(ID, DATA, 60.0)
                server.restart()
                assert await store.get(ID) is None
                await store.put(ID, DATA, 60.0)
                assert await store.get(ID) == DATA
                assert store.stats().errors == 0

    async def test_comes_back(self, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
        """After two seconds one call tries again, and all pass; the log hears of the end, too."""
        caplog.set_level(logging.INFO)
        with RedisServer() as server:
            async with store_at(server.url, clock=clock) as store:
                server.stop()
                for _ in range(4):
                    await store.put(ID, DATA, 60.0)
                server.start()
                await store.put(ID, DATA, 60.0)
                assert store.stats().dropped == 5
                clock.now += 2.0
                await store.put(ID, DATA, 60.0)
                assert await store.get(ID) == DATA
        failed, works = [record.getMessage() for record in caplog.records if record.name == "tlsio"]
        assert failed.startswith("Storing a session in Redis failed")
        assert works == "Storing a session in Redis works again after 2.0 s"

    async def test_one_that_comes_and_goes_is_told_once_a_minute(self, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
        """Each outage by itself would be news."""
        told = []
        with RedisServer() as full:
            async with store_at(full.url, clock=clock) as store:
                for seconds in (0.0, 59.0, 1.0):
                    clock.now += seconds
                    full.run("CONFIG", "SET", "maxmemory", "1")
                    await store.put(ID, DATA, 60.0)
                    told.append(len(warnings(caplog)))
                    full.run("CONFIG", "SET", "maxmemory", "0")
                    await store.put(ID, DATA, 60.0)
        assert told == [1, 1, 2]

    @pytest.mark.parametrize(
        "said",
        [
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"\x15\x03\x01\x00\x02\x02\x46",
            b"$-5\r\n",
            b":abc\r\n",
            b":7\r\n",
            b"*1\r\n" * 5000,
            b"+OK\r\n" * 50,
            b"\0\n\r",
        ],
        ids=["http", "tls", "length", "number", "other", "depth", "more", "noise"],
    )
    async def test_nonsense(self, caplog: pytest.LogCaptureFixture, said: bytes) -> None:
        """Somebody else listens there."""
        async with pretender(lambda _: (said, True)) as url, store_at(url, timeout=SHORT) as store:
            for _ in range(5):
                assert await store.get(ID) is None
                await store.put(ID, DATA, 60.0)
            assert store.stats().errors >= 5
            assert store.stats().hits == 0
        assert all("\n" not in warning for warning in warnings(caplog))

    async def test_cut_in_the_middle(self, caplog: pytest.LogCaptureFixture) -> None:
        """Half an answer, then the end."""

        def answer(heard: bytes) -> tuple[bytes, bool]:
            greets = b"\r\nGET\r\n" not in heard and b"\r\nSET\r\n" not in heard and b"\r\nDEL\r\n" not in heard
            return (b"+OK\r\n" * heard.count(b"CLIENT"), True) if greets else (b"$100\r\nhalf an answer", False)

        async with pretender(answer) as url, store_at(url) as store:
            await check_failing_redis(store, caplog)

    async def test_hangs_up(self, caplog: pytest.LogCaptureFixture) -> None:
        """At the first word."""
        async with pretender(lambda _: (b"", False)) as url, store_at(url) as store:
            await check_failing_redis(store, caplog)

    @pytest.mark.slow
    async def test_too_many_wait(self, redis_server: RedisServer) -> None:
        """4,096 do; what comes then is not made to wait, so that a Redis that stalls takes no memory."""
        async with store_at(redis_server.url, timeout=SHORT) as store:
            redis_server.freeze()
            try:
                tasks = [asyncio.create_task(store.get(ID)) for _ in range(4096 + 100)]
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                assert [task.done() for task in tasks] == [False] * 4096 + [True] * 100
                await asyncio.wait(tasks)
            finally:
                redis_server.thaw()

    async def test_closing_lets_go_of_what_waits(self, redis_server: RedisServer) -> None:
        """And what comes later is not sent."""
        store = store_at(redis_server.url)
        await store.get(ID)
        redis_server.freeze()
        try:
            tasks = [asyncio.create_task(store.get(ID))]
            for _ in range(10):  # until the first is on its way
                await asyncio.sleep(0)
            tasks += [asyncio.create_task(store.get(ID)) for _ in range(10)]
            await asyncio.sleep(0)
            async with asyncio.timeout(1.0):
                await store.aclose()
                assert await asyncio.gather(*tasks) == [None] * 11
                assert await store.get(ID) is None
        finally:
            redis_server.thaw()


class TestMaking:
    """Wrong arguments raise at once."""

    def test_missing_package_names_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without it everything else works."""
        monkeypatch.setitem(sys.modules, "redis", None)
        with pytest.raises(ConfigError) as caught:
            store_at("redis://localhost")
        assert (caught.value.code, caught.value.hint) == ("ERR_TLS_MISSING_EXTRA", "pip install 'tlsio[redis]'")

    @pytest.mark.parametrize(
        "url", ["http://localhost", "localhost:6379", "redis://user:password@host:port", "", "redis://h?decode_responses=1"]
    )
    def test_wrong_url_raises(self, url: str) -> None:
        """And is not shown, for it may hold a password."""
        with pytest.raises(UsageValueError) as caught:
            store_at(url)
        assert "password" not in "".join(traceback.format_exception(caught.value))

    def test_wrong_client_raises(self) -> None:
        """One that blocks, one that decodes, none."""
        for client in (redis.Redis(), None, 7):
            with pytest.raises(UsageTypeError):
                RedisSessionStore(client, secret=SECRET)
        with pytest.raises(UsageValueError):
            RedisSessionStore(redis.asyncio.Redis(decode_responses=True), secret=SECRET)

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"secret": "short"}, UsageValueError),
            ({"prefix": "\udcff"}, UsageValueError),
            ({"timeout": None}, UsageTypeError),
            ({"timeout": 0.0}, UsageValueError),
            ({"max_entry_bytes": 0}, UsageValueError),
            ({"prefix": b"bytes"}, UsageTypeError),
        ],
    )
    def test_wrong_option_raises(self, options: dict[str, Any], error: type[Exception]) -> None:
        """By its type or value."""
        with pytest.raises(error):
            store_at("redis://localhost", **options)

    def test_prefix_keeps_programs_apart(self) -> None:
        """It is shown; nothing else is."""
        assert repr(store_at("redis://:password@localhost", prefix="shop:")) == "<RedisSessionStore prefix='shop:'>"
