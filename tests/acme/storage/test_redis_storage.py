"""What is particular to Redis: secrets, leases, failures, and a cluster."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

import pytest

from redis_server import SECRET, RedisServer, pretender
from tlsio.acme import RedisStorage
from tlsio.model.errors import StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "accounts/a/key.pem"


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """One that the test may stop."""
    with RedisServer() as server:
        yield server


async def test_with_a_secret_redis_sees_no_value(redis_server: RedisServer) -> None:
    """Neither stored nor on its way; names are readable."""
    async with RedisStorage(redis_server.url, secret=SECRET) as storage:
        with redis_server.overheard() as heard:
            await storage.store(KEY, b"the private key")
            assert await storage.load(KEY) == b"the private key"
        assert KEY.encode() in b"".join(heard)
        assert b"the private key" not in b"".join(heard)
        assert set(redis_server.run("KEYS", "*")) == {b"tlsio:{acme}:" + KEY.encode(), b"tlsio:{acme}-keys"}


async def test_without_a_secret_values_are_stored_as_they_are(redis_server: RedisServer) -> None:
    """The repr says so."""
    async with RedisStorage(redis_server.url) as storage:
        await storage.store(KEY, b"the private key")
        assert redis_server.run("GET", f"tlsio:{{acme}}:{KEY}") == b"the private key"
        assert "not encrypted" in repr(storage)


@pytest.mark.parametrize("secret", ["another secret of 32 bytes or more", None])
async def test_another_secret_reads_nothing(redis_server: RedisServer, secret: str | None) -> None:
    """The error names the key and neither secret."""
    async with RedisStorage(redis_server.url, secret=secret) as other, RedisStorage(redis_server.url, secret=SECRET) as storage:
        await other.store(KEY, b"the private key")
        with pytest.raises(StoreError) as caught:
            await storage.load(KEY)
        assert KEY in str(caught.value)
        assert "secret=" in str(caught.value.hint)
        assert SECRET not in f"{caught.value}{caught.value.hint}{storage!r}"


async def test_a_value_moved_to_another_key_is_refused(redis_server: RedisServer) -> None:
    """It is sealed for its place."""
    async with RedisStorage(redis_server.url, secret=SECRET) as storage:
        await storage.store("certificates/a/one", b"1")
        redis_server.run("RENAME", "tlsio:{acme}:certificates/a/one", "tlsio:{acme}:certificates/a/other")
        with pytest.raises(StoreError):
            await storage.load("certificates/a/other")


async def test_prefixes_are_separate(redis_server: RedisServer) -> None:
    """Values and locks."""
    async with RedisStorage(redis_server.url) as one, RedisStorage(redis_server.url, prefix="b:") as other:
        await one.store("a", b"1")
        assert await other.load("a") is None
        assert await other.list("") == []
        async with one.lock("a"), asyncio.timeout(5), other.lock("a"):
            pass


async def test_challenges_that_a_crash_left_expire(redis_server: RedisServer) -> None:
    """After a day, and leave the list; other values stay."""
    async with RedisStorage(redis_server.url) as storage:
        await storage.store("challenges/http-01/token", b"1")
        await storage.store("certificates/a", b"1")
        assert 86_300 < redis_server.run("TTL", "tlsio:{acme}:challenges/http-01/token") <= 86_400
        assert redis_server.run("TTL", "tlsio:{acme}:certificates/a") == -1
        redis_server.run("DEL", "tlsio:{acme}:challenges/http-01/token")  # as at the end of its life
        assert await storage.list("challenges") == []
        assert redis_server.run("ZRANGE", "tlsio:{acme}-keys", 0, -1) == [b"certificates/a"]


async def test_a_lock_has_a_lease_and_is_removed_when_it_is_released(redis_server: RedisServer) -> None:
    """A dead holder's lock lasts for no longer."""
    async with RedisStorage(redis_server.url, lease=20.0) as storage:
        async with storage.lock("a"):
            assert 15_000 < redis_server.run("PTTL", "tlsio:{acme}-lock:a") <= 20_000
        assert redis_server.run("EXISTS", "tlsio:{acme}-lock:a") == 0


async def test_a_lock_that_another_took_over_is_left_to_it(redis_server: RedisServer) -> None:
    """Neither written under, nor renewed, nor released."""
    async with RedisStorage(redis_server.url) as storage:
        async with storage.lock("a") as lock:
            redis_server.run("SET", "tlsio:{acme}-lock:a", "another")
            with pytest.raises(StoreError) as caught:
                await storage.store("a", b"1", lock=lock)
            assert caught.value.code == "ERR_ACME_LOCK_LOST"
            assert not lock.is_held
            assert "another" not in repr(lock)
        assert redis_server.run("GET", "tlsio:{acme}-lock:a") == b"another"


async def test_a_holder_notices_at_the_next_renewal_that_its_lock_is_lost(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """And says so once."""
    renewals: list[asyncio.Future[None]] = []

    async def sleep(seconds: float) -> None:
        assert seconds == 10.0
        renewals.append(asyncio.get_running_loop().create_future())
        await renewals[-1]

    async with RedisStorage(redis_server.url, sleep=sleep) as storage, storage.lock("a") as lock:
        await _turns_until(lambda: len(renewals) == 1)
        renewals[0].set_result(None)
        await _turns_until(lambda: len(renewals) == 2)
        assert lock.is_held
        redis_server.run("DEL", "tlsio:{acme}-lock:a")
        renewals[1].set_result(None)
        await _turns_until(lambda: not lock.is_held)
        await asyncio.sleep(0)
    assert [record.getMessage() for record in caplog.records if "was lost" in record.getMessage()] == [
        "The lock 'a' was lost: its lease of 30 s ended before it was renewed"
    ]


async def _turns_until(is_so: Any) -> None:
    while not is_so():  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0.001)


async def test_a_lock_is_not_believed_after_its_lease(redis_server: RedisServer) -> None:
    """Even if no renewal has run since, as after a suspension."""
    now = 100.0
    async with RedisStorage(redis_server.url, lease=5.0, clock=lambda: now) as storage, storage.lock("a") as lock:
        now = 104.9
        assert lock.is_held
        now = 105.0
        assert not lock.is_held


async def test_a_lock_command_that_is_sent_twice_takes_the_lock_once(redis_server: RedisServer) -> None:
    """As when the first answer was lost with its connection."""
    async with RedisStorage(redis_server.url, random=lambda size: b"7" * size) as storage:
        redis_server.run("SET", "tlsio:{acme}-lock:a", (b"7" * 16).hex())
        async with asyncio.timeout(5), storage.lock("a") as lock:
            await storage.store("a", b"1", lock=lock)


async def test_a_redis_that_is_gone_is_a_store_error(own_redis: RedisServer) -> None:
    """For each call, with what to do; the lock that was held is released in silence."""
    async with RedisStorage(own_redis.url, secret=SECRET) as storage, storage.lock("b") as lock:
        own_redis.stop()
        calls = [storage.load("a"), storage.store("a", b"", lock=lock), storage.delete("a"), storage.list(""), storage.check()]
        for call in (*calls, storage.lock("a").__aenter__()):
            with pytest.raises(StoreError) as caught:
                await call
            assert caught.value.hint == "Check that Redis runs and can be reached from here."


async def test_a_redis_that_hangs_is_given_up_in_time(own_redis: RedisServer) -> None:
    """Within the timeout."""
    async with RedisStorage(own_redis.url, timeout=0.1) as storage:
        own_redis.freeze()
        async with asyncio.timeout(2):
            with pytest.raises(StoreError, match="no answer within"):
                await storage.load("a")


async def test_a_redis_that_lost_everything_refuses_the_write_of_an_old_lock() -> None:
    """It was restarted without its data."""
    with RedisServer() as server:
        async with RedisStorage(server.url, timeout=5.0) as storage, storage.lock("a") as lock:
            server.restart()
            with pytest.raises(StoreError) as caught:
                await storage.store("a", b"1", lock=lock)
            assert caught.value.code == "ERR_ACME_LOCK_LOST"


@pytest.mark.parametrize(
    ("setting", "hint"),
    [(("maxmemory", "1mb"), "maxmemory"), (("min-replicas-to-write", "1"), "Check that Redis runs")],
    ids=["full", "without replicas"],
)
async def test_a_redis_that_takes_no_writes_is_found_by_a_check(own_redis: RedisServer, setting: tuple[str, str], hint: str) -> None:
    """Before an order."""
    own_redis.run("SET", "much", os.urandom(2**20))
    own_redis.run("CONFIG", "SET", *setting)
    async with RedisStorage(own_redis.url) as storage:
        for call in (storage.check(), storage.store("a", b"1")):
            with pytest.raises(StoreError) as caught:
                await call
            assert hint in str(caught.value.hint)


async def test_a_replica_is_named(own_redis: RedisServer) -> None:
    """It takes no writes."""
    own_redis.run("REPLICAOF", "127.0.0.1", "1")
    async with RedisStorage(own_redis.url) as storage:
        with pytest.raises(StoreError) as caught:
            await storage.check()
        assert "replica" in str(caught.value.hint)


async def test_a_missing_password_is_named(own_redis: RedisServer) -> None:
    """The one that Redis asks for."""
    own_redis.run("CONFIG", "SET", "requirepass", "secret")
    async with RedisStorage(own_redis.url) as storage:
        with pytest.raises(StoreError) as caught:
            await storage.check()
        assert "password" in str(caught.value.hint)


@pytest.mark.parametrize("said", [b":7\r\n", b"*1\r\n:7\r\n", b"$3\r\n../\r\n", b"+OK\r\n", b"*1\r\n$3\r\n../\r\n"], ids=repr)
async def test_answers_that_make_no_sense_are_store_errors(said: bytes) -> None:
    """Of something that only pretends to be Redis."""
    async with pretender(lambda _heard: (said, True)) as url, RedisStorage(url, secret=SECRET) as storage:
        for call in (storage.load("a"), storage.list("")):
            with pytest.raises(StoreError):
                await call


async def test_a_cancelled_wait_sends_a_release(redis_server: RedisServer) -> None:
    """Its last command may have taken the lock."""
    async with RedisStorage(redis_server.url) as storage:
        task = asyncio.create_task(storage.lock("a").__aenter__())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert redis_server.run("EXISTS", "tlsio:{acme}-lock:a") == 0


async def test_outages_are_logged_without_values(own_redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """Nor secrets."""
    caplog.set_level(logging.DEBUG)
    async with RedisStorage(own_redis.url, secret=SECRET) as storage:
        own_redis.stop()
        with pytest.raises(StoreError):
            await storage.store(KEY, b"the private key")
    assert "the private key" not in caplog.text
    assert SECRET not in caplog.text


def test_wrong_arguments_are_refused() -> None:
    """Before anything connects."""
    for options in ({"lease": 0.5}, {"lease": None}, {"secret": "short"}, {"prefix": 7}, {"timeout": None}):
        with pytest.raises(UsageError):
            RedisStorage("redis://127.0.0.1:1/0", **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        RedisStorage("nonsense")
