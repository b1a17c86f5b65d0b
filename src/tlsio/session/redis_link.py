"""Commands to Redis or Valkey: pipelined, bounded in time and number, and paused during an outage.

Theory of operation. The commands of one turn of the loop are queued. A worker task takes all of
them, sends them as one pipeline over one connection and distributes the answers. Up to four workers
run concurrently, so one slow answer does not delay the rest. A worker does not belong to a caller:
if a caller is cancelled or times out, the others still get their answers. If the application
cancels a worker, even before its first step, the commands that no other worker would send fail; the
next call starts a new worker.

Every failure is a `StoreError` for the caller. A missing answer counts as a failure for the
breaker; an error answer ("OOM", "READONLY") does not, since it costs no time. An outage is logged
once when it begins and once when it has ended.
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

# A healthy Redis answers in a millisecond. A lookup saves a handshake's CPU time and one round trip
# of the client; a wait longer than a round trip around the world would cost more than it saves.
REDIS_TIMEOUT = 0.25
_MAX_WORKERS = 4
_PIPELINE_COMMANDS = 128  # about 100 KiB: sent and answered well within the timeout
_MAX_QUEUED = 4096  # far more than are answered within the timeout; each holds a session of a few kilobytes
_GRACE_TURNS = 16  # turns of the loop after the timeout; a call needs about ten
_CLOSED = "the connection to Redis was closed by aclose()"
_CANCELLED = "the task that sends commands to Redis was cancelled"
_LOG_INTERVAL = 60.0  # a recurring outage is logged at most once a minute

_log = logging.getLogger("tlsio")
_Answer: TypeAlias = Any  # bytes, str, int, None, or an exception in place of the answer
_T = TypeVar("_T")


class RedisLink:
    """One Redis client, for a store or a source of ticket keys.

    Args:
        url_or_client: `redis://`, `rediss://` or `unix://`, or a client of `redis.asyncio`, which
            the caller has to close.
        timeout: Seconds until a command fails.
        clock: Monotonic seconds.

    Raises:
        ConfigError: the package `redis` is missing.
        UsageError: neither a URL nor a client.
    """

    def __init__(self, url_or_client: object, *, timeout: float = REDIS_TIMEOUT, clock: Callable[[], float] = time.monotonic) -> None:
        seconds = check_seconds("timeout", timeout)
        if seconds is None:
            raise wrong_type("timeout", "a number of seconds", timeout)
        self._timeout = seconds
        self._client = _make_client(url_or_client, seconds)
        self._owns_client = isinstance(url_or_client, str)
        self._clock = clock
        self._breaker = Breaker(clock)
        self._queue: deque[tuple[tuple[Any, ...], asyncio.Future[_Answer]]] = deque()
        self._working: set[asyncio.Task[None]] = set()  # the tasks that will check the queue again
        self._closed = False
        self._outages: dict[str, float] = {}  # by operation: when it began to fail
        self._logged: dict[str, float] = {}  # by operation: when its last outage was logged
        self.calls = 0
        self.seconds = 0.0

    async def call(self, operation: str, *command: Any, read: Callable[[Any], _T]) -> _T:
        """Send a command and return its answer. A cancelled command may have been executed.

        Args:
            operation: What the command is for, as the subject of the log line and of the error.
            command: Its name and arguments.
            read: Converts the answer, or raises ValueError if it is invalid.

        Raises:
            StoreError: no answer in time, an error as the answer, or an invalid one.
        """
        start = self._clock()
        self.calls += 1
        try:
            result = read(await self._execute(command))
        except Exception as error:
            self._log_failure(operation, error)
            raise StoreError(f"{operation} failed: {_describe(error)}") from error
        finally:
            self.seconds += self._clock() - start
        self._log_recovery(operation)
        return result

    async def _execute(self, command: tuple[Any, ...]) -> Any:
        if self._closed:
            raise ConnectionError(_CLOSED)
        if len(self._queue) >= _MAX_QUEUED:
            raise ConnectionError(f"{_MAX_QUEUED} commands are already waiting for Redis, which answers too slowly")
        if not self._breaker.admit():
            raise ConnectionError("Redis has not answered recently, so no command is sent to it for two seconds")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Answer] = loop.create_future()
        self._queue.append((command, future))
        # If commands are already queued, either a worker is about to take this one too, or all four
        # are busy.
        if not self._working or (len(self._queue) == 1 and len(self._working) < _MAX_WORKERS):
            # Its context is empty, since the worker serves all callers and must not keep the
            # variables of the first one.
            task = loop.create_task(self._work(), name="tlsio redis", context=contextvars.Context())
            self._working.add(task)
            task.add_done_callback(self._worker_ended)
        # Like _loop_aware_timeout, but without its scope and generator, which cost as much as the
        # rest of a lookup.
        timer = loop.call_later(self._timeout, _time_out, future, f"no answer within {self._timeout:g} s (timeout=)", _GRACE_TURNS)
        try:
            answer = await future
        finally:
            timer.cancel()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _work(self) -> None:
        try:
            while self._queue:
                await self._send_batch()
        finally:
            # The worker removes itself here, since its done callback runs later: a call in between
            # must start a new worker.
            self._working.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    def _worker_ended(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)  # a task cancelled before its first step has not removed itself
        if not self._working and self._queue:
            self._fail_queued(_CANCELLED)

    def _fail_queued(self, why: str) -> None:
        for _, future in self._queue:
            if not future.done():
                future.set_result(ConnectionError(why))
        self._queue.clear()
        self._breaker.abandoned()

    async def _send_batch(self) -> None:
        batch = [self._queue.popleft() for _ in range(min(len(self._queue), _PIPELINE_COMMANDS))]
        batch = [(command, future) for command, future in batch if not future.done()]
        if not batch:
            self._breaker.abandoned()
            return
        answers: Sequence[_Answer] = [ConnectionError(_CLOSED if self._closed else _CANCELLED)] * len(batch)
        try:
            answers = await self._send([command for command, _ in batch])
        except BaseException:  # the task was cancelled: it is unknown whether Redis answers
            self._breaker.abandoned()
            raise
        finally:
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)  # exceptions too: asyncio logs an exception that is never retrieved

    async def _send(self, commands: Sequence[tuple[Any, ...]]) -> Sequence[_Answer]:
        try:
            async with _loop_aware_timeout(self._timeout):
                pipeline = self._client.pipeline(transaction=False)
                for command in commands:
                    pipeline.execute_command(*command)
                answers = await pipeline.execute(raise_on_error=False)
            paired = list(zip(commands, answers, strict=True))  # a missing answer would shift the others to wrong callers
        except Exception as error:  # noqa: BLE001  (the top of a task; invalid answers can make the client raise anything)
            self._breaker.failed()
            return [error] * len(commands)
        self._breaker.succeeded()
        return [answer for _, answer in paired]

    def _log_failure(self, operation: str, error: Exception) -> None:
        if operation in self._outages:
            return
        now = self._outages[operation] = self._clock()
        if now - self._logged.get(operation, now - _LOG_INTERVAL) >= _LOG_INTERVAL:
            self._logged[operation] = now
            _log.warning("%s failed; further failures are not logged until it works again: %s", operation, _describe(error))

    def _log_recovery(self, operation: str) -> None:
        since = self._outages.pop(operation, None)
        if since is not None and self._logged[operation] == since:
            _log.info("%s works again after %.1f s", operation, self._clock() - since)

    async def aclose(self) -> None:
        """Fail pending and later calls, and close the client if it was created here."""
        self._closed = True
        tasks = tuple(self._working)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._fail_queued(_CLOSED)
        if self._owns_client:
            await self._client.aclose()


class RedisBacked:
    """Base class of objects that own a `RedisLink`."""

    _link: RedisLink

    async def aclose(self) -> None:
        """Close the connections to Redis. A client that was passed in stays open."""
        await self._link.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        await self.aclose()


@asynccontextmanager
async def _loop_aware_timeout(seconds: float) -> AsyncIterator[None]:
    """Raise TimeoutError if Redis takes longer than `seconds`, but not if only this loop does.

    A call takes about ten turns of the loop. On a server that is busy with handshakes these may
    take longer than the timeout although the answer has arrived: every client would then get a full
    handshake, which increases the load. So after the timeout some more turns follow, in which
    answers that have arrived are processed. On an idle loop they take no time.
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
        handle = loop.call_later(seconds, end, _GRACE_TURNS)
        try:
            yield
        finally:
            handle.cancel()


def _time_out(future: asyncio.Future[_Answer], why: str, turns: int) -> None:
    if future.done():
        return
    if turns:
        future.get_loop().call_soon(_time_out, future, why, turns - 1)
    else:
        future.set_result(TimeoutError(why))


def _make_client(given: object, timeout: float) -> Any:
    try:
        from redis import asyncio as redis  # noqa: PLC0415  (an extra, imported only when used)
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise missing_extra("redis", "redis") from error
    client = given
    if isinstance(given, str):
        # One immediate retry is for a connection that was lost unnoticed. The breaker handles
        # further failures.
        retry = Retry(NoBackoff(), 1)
        try:
            # RESP2, since nothing of RESP3 is used here, and redis-py parses RESP2 faster.
            client = redis.Redis.from_url(given, protocol=2, socket_timeout=timeout, socket_connect_timeout=timeout, retry=retry)
        except ValueError:  # its text may contain the password
            hint = "Use redis://host:6379/0, rediss:// or unix://."
            raise wrong_value("url_or_client", "is not a Redis URL", hint=hint) from None
    if not isinstance(client, redis.Redis | redis.RedisCluster):
        raise wrong_type("url_or_client", "a URL or a client of redis.asyncio", given)
    if client.get_encoder().decode_responses:
        raise wrong_value("url_or_client", "must be a client with decode_responses=False, because values are bytes")
    return client


def expect_ok(answer: object) -> None:
    """Read the answer of a SET.

    Raises:
        ValueError: the value was not set.
    """
    if answer not in {True, b"OK", "OK"}:
        raise ValueError("Redis did not answer OK to SET")


def _describe(error: Exception) -> str:
    """Return the error as one printable line: its text may come from another program than Redis."""
    text = ascii(str(error))[1:-1]
    return f"{type(error).__name__}: {text:.200}" if text else type(error).__name__
