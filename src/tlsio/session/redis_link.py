"""Commands to Redis or Valkey: bounded in time and number, many in one round trip, given up on while nobody answers.

Theory of operation. Commands of one turn of the loop wait in a queue; a task takes all of them, sends them as one pipeline over one
connection and hands out the answers. Up to four such tasks run side by side, so one slow answer does not hold up the rest. The task
does not belong to a caller: a caller that is cancelled or out of time leaves, the others get their answers. A task that is cancelled by
the application, even before its first step, fails the commands that no other task would send; the next call starts a new task.

Whatever fails is a `StoreError` for the caller. A failure to answer opens the breaker; an answer that is an error ("OOM", "READONLY")
does not, for it costs no time. The log hears of an outage once, when it begins, and once more when it has ended.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar, cast

from tlsio.model.checks import check_seconds, wrong_type, wrong_value
from tlsio.model.errors import StoreError, missing_extra

from .breaker import Breaker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from types import TracebackType

__all__ = ["REDIS_TIMEOUT", "RedisBacked", "RedisLink", "expect_ok"]

# A healthy Redis answers in a millisecond. A lookup saves a handshake's CPU time and one round trip of the client: to wait longer than
# such a trip takes around the world would cost more than it saves.
REDIS_TIMEOUT = 0.25
_PIPELINES = 4
_PIPELINE_COMMANDS = 128  # some 100 KiB: sent and answered well within the timeout
_WAITING_COMMANDS = 4096  # far more than are answered within the timeout; each holds a session of some kilobytes
_TURNS = 16  # of the loop; a call takes ten
_CLOSED = "it is closed"
_CANCELLED = "the task that asks Redis was cancelled"
_QUIET = 60.0  # an outage that comes and goes is told once a minute

_log = logging.getLogger("tlsio")
_Answer: TypeAlias = Any  # bytes, str, int, None, or the exception that came instead
_T = TypeVar("_T")


class RedisLink:
    """One client of Redis, for a store or a source of ticket keys.

    Args:
        url_or_client: `redis://`, `rediss://` or `unix://`, or a client of `redis.asyncio`, which stays the caller's to close.
        timeout: Seconds until a command is given up.
        clock: Seconds that never go back.

    Raises:
        ConfigError: the package `redis` is missing. UsageError: no URL and no client.
    """

    def __init__(self, url_or_client: object, *, timeout: float = REDIS_TIMEOUT, clock: Callable[[], float] = time.monotonic) -> None:
        seconds = check_seconds("timeout", timeout)
        if seconds is None:
            raise wrong_type("timeout", "a number of seconds", timeout)
        self._timeout = seconds
        self._client = _make_client(url_or_client, seconds)
        self._is_ours = isinstance(url_or_client, str)
        self._clock = clock
        self._breaker = Breaker(clock)
        self._queue: deque[tuple[tuple[Any, ...], asyncio.Future[_Answer]]] = deque()
        self._working: set[asyncio.Task[None]] = set()  # that will look at the queue again
        self._closed = False
        self._outages: dict[str, float] = {}  # what fails, and since when
        self._told: dict[str, float] = {}  # what has failed, and when the log heard of it
        self.calls = 0
        self.seconds = 0.0

    async def call(self, what: str, *command: Any, read: Callable[[Any], _T]) -> _T:
        """Send a command and return its answer.

        Args:
            what: What is lost while it fails, for the log.
            command: Its name and arguments.
            read: Takes the answer and returns what is wanted of it, or raises ValueError when it makes no sense.

        Raises:
            StoreError: no answer in time, or one that is an error or makes no sense. Cancelled: it may have been carried out.
        """
        start = self._clock()
        self.calls += 1
        try:
            result = read(await self._ask(command))
        except Exception as error:
            self._tell_failure(what, error)
            raise StoreError(f"{what} failed: {_describe(error)}") from error
        finally:
            self.seconds += self._clock() - start
        self._tell_success(what)
        return result

    async def _ask(self, command: tuple[Any, ...]) -> Any:
        if self._closed:
            raise ConnectionError(_CLOSED)
        if len(self._queue) >= _WAITING_COMMANDS:
            raise ConnectionError("too many commands are waiting for Redis")
        if not self._breaker.lets_pass():
            raise ConnectionError("Redis has not answered of late")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Answer] = loop.create_future()
        self._queue.append((command, future))
        # Where others wait already, a task is about to take this one too, or four of them are at work.
        if not self._working or (len(self._queue) == 1 and len(self._working) < _PIPELINES):
            # In a context of its own: the task works for all callers, and must not keep the variables of the first one.
            task = loop.create_task(self._work(), name="tlsio redis", context=contextvars.Context())
            self._working.add(task)
            task.add_done_callback(self._worker_ended)
        # As _loop_aware_timeout has it; without its scope and its generator, which cost a lookup as much as its way to Redis.
        clock = loop.call_later(self._timeout, _give_up, future, f"no answer within {self._timeout:g} s", _TURNS)
        try:
            answer = await future
        finally:
            clock.cancel()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _work(self) -> None:
        try:
            while self._queue:
                await self._send_some()
        finally:
            # Now and not in the callback, which comes a moment later: a call in between must start a new task.
            self._working.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    def _worker_ended(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)  # a task that was cancelled before its first step is still there
        if not self._working and self._queue:
            self._fail_waiting(_CANCELLED)

    def _fail_waiting(self, why: str) -> None:
        for _, future in self._queue:
            if not future.done():
                future.set_result(ConnectionError(why))
        self._queue.clear()
        self._breaker.abandoned()

    async def _send_some(self) -> None:
        batch = [self._queue.popleft() for _ in range(min(len(self._queue), _PIPELINE_COMMANDS))]
        batch = [(command, future) for command, future in batch if not future.done()]
        if not batch:
            self._breaker.abandoned()
            return
        answers: Sequence[_Answer] = [ConnectionError(_CLOSED if self._closed else _CANCELLED)] * len(batch)
        try:
            answers = await self._send([command for command, _ in batch])
        except BaseException:  # cancelled: neither an answer nor a failure to answer
            self._breaker.abandoned()
            raise
        finally:
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)  # an exception too: nobody complains about a result that is not looked at

    async def _send(self, commands: Sequence[tuple[Any, ...]]) -> Sequence[_Answer]:
        try:
            async with _loop_aware_timeout(self._timeout):
                pipeline = self._client.pipeline(transaction=False)
                for command in commands:
                    pipeline.execute_command(*command)
                answers = await pipeline.execute(raise_on_error=False)
            paired = list(zip(commands, answers, strict=True))  # one too few, and somebody would be given another's
        except Exception as error:  # noqa: BLE001  (the top of a task: who answers nonsense can make the client raise anything)
            self._breaker.failed()
            return [error] * len(commands)
        self._breaker.succeeded()
        return [answer for _, answer in paired]

    def _tell_failure(self, what: str, error: Exception) -> None:
        if what in self._outages:
            return
        now = self._outages[what] = self._clock()
        if now - self._told.get(what, now - _QUIET) >= _QUIET:
            self._told[what] = now
            _log.warning("%s failed, and goes on failing quietly: %s", what, _describe(error))

    def _tell_success(self, what: str) -> None:
        since = self._outages.pop(what, None)
        if since is not None and self._told[what] == since:
            _log.info("%s works again, after %.1f s", what, self._clock() - since)

    async def aclose(self) -> None:
        """Let go of what is under way, and of the client if it was made here; later calls fail."""
        self._closed = True
        tasks = tuple(self._working)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._fail_waiting(_CLOSED)
        if self._is_ours:
            await self._client.aclose()


class RedisBacked:
    """What has a link, and is closed with it."""

    _link: RedisLink

    async def aclose(self) -> None:
        """Close the connections to Redis; a client that was given stays open."""
        await self._link.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        await self.aclose()


@asynccontextmanager
async def _loop_aware_timeout(seconds: float) -> AsyncIterator[None]:
    """Raise TimeoutError when Redis takes longer than `seconds`, but not when this loop does.

    A call takes about ten turns of the loop. On a server that shakes hands as fast as it can these may be longer than the timeout, with the
    answer here all the time: every client would be given a full handshake, and the server more to do. So some turns come after the
    time, in which what has arrived is taken; they take no time where the loop has nothing else to do.
    """
    loop = asyncio.get_running_loop()
    handle: asyncio.Handle

    def end(turns: int) -> None:
        nonlocal handle
        if turns:
            handle = loop.call_soon(end, turns - 1)
        else:
            scope.reschedule(loop.time())

    async with asyncio.timeout(None) as scope:
        handle = loop.call_later(seconds, end, _TURNS)
        try:
            yield
        finally:
            handle.cancel()


def _give_up(future: asyncio.Future[_Answer], why: str, turns: int) -> None:
    if future.done():
        return
    if turns:
        future.get_loop().call_soon(_give_up, future, why, turns - 1)
    else:
        future.set_result(TimeoutError(why))


def _make_client(given: object, timeout: float) -> Any:
    try:
        from redis import asyncio as redis  # noqa: PLC0415  (an extra, loaded where it is used)
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise missing_extra("redis", "redis") from error
    client = given
    if isinstance(given, str):
        # Once more at once, for a connection that died unseen; beyond that the breaker decides.
        retry = Retry(NoBackoff(), 1)
        try:
            # RESP2: nothing of RESP3 is used here, and redis-py reads it faster.
            client = redis.Redis.from_url(given, protocol=2, socket_timeout=timeout, socket_connect_timeout=timeout, retry=retry)
        except ValueError:  # its words may hold the password
            raise wrong_value("url_or_client", "is no URL of Redis", hint="redis://host:6379/0, rediss:// or unix://") from None
    if not isinstance(client, redis.Redis | redis.RedisCluster):
        raise wrong_type("url_or_client", "a URL or a client of redis.asyncio", given)
    if client.get_encoder().decode_responses:
        raise wrong_value("url_or_client", "must be made with decode_responses=False: values are bytes")
    return client


def expect_ok(answer: object) -> None:
    """Read the answer of a SET.

    Raises:
        ValueError: it was not done.
    """
    if answer not in {True, b"OK", "OK"}:
        raise ValueError("the answer is not OK")


def _describe(error: Exception) -> str:
    """Say what went wrong, in one printable line: these may be words of whoever answers in Redis' place."""
    words = ascii(str(error))[1:-1]
    return f"{type(error).__name__}: {words:.200}" if words else type(error).__name__
