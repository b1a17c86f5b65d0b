"""What is left of a link to Redis when the application cancels its tasks."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio

from tlsio.model.errors import StoreError
from tlsio.session.redis_link import RedisLink

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Clock

_VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("_VARIABLE", default="none")


class Client(redis.asyncio.Redis):
    """Answers each command with its last word, once `gate` is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.seen: list[str] = []
        self.fails = False

    def pipeline(self, transaction: bool = False) -> Any:  # noqa: FBT001, FBT002  (redis-py's)
        """Make a pipeline."""
        return Pipeline(self)


class Pipeline:
    """Commands of one round trip."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._words: list[Any] = []

    def execute_command(self, *words: Any) -> None:
        """Add one."""
        self._words.append(words[-1])

    async def execute(self, raise_on_error: bool) -> list[Any]:  # noqa: FBT001
        """Answer all."""
        self._client.seen.append(_VARIABLE.get())
        await self._client.gate.wait()
        if self._client.fails:
            raise ConnectionError("refused")
        return self._words


def ask(link: RedisLink, word: str) -> asyncio.Task[str]:
    """Ask for a word in a task of its own."""
    read: Callable[[Any], str] = str
    return asyncio.ensure_future(link.call("asking", "GET", word, read=read))


async def failures(*calls: asyncio.Task[str]) -> list[str]:
    """Wait for calls that fail, and return why."""
    return [str(error) for error in await asyncio.gather(*calls, return_exceptions=True) if isinstance(error, StoreError)]


def cancel_workers() -> int:
    """Cancel the tasks of the link, and return how many there were."""
    workers = [task for task in asyncio.all_tasks() if task.get_name() == "tlsio redis"]
    return sum(task.cancel() for task in workers)


@pytest.mark.parametrize("turns", [0, 4])
async def test_link_works_after_its_tasks_were_cancelled(turns: int) -> None:
    """Before their first step or at work: the calls of that moment fail at once, the next ones are answered."""
    client = Client()
    link = RedisLink(client, timeout=20.0)
    calls = []
    for number in range(7):
        calls.append(ask(link, str(number)))
        for _ in range(turns):
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert cancel_workers() == (4 if turns else 1)
    assert all("was cancelled" in why for why in await failures(*calls))
    client.gate.set()
    assert await asyncio.gather(*(ask(link, str(number)) for number in range(7))) == [str(number) for number in range(7)]
    await link.aclose()


async def test_cancelled_probe_lets_another_call_try(clock: Clock) -> None:
    """A breaker whose one probe is cancelled must not stay open."""
    client = Client()
    client.gate.set()
    client.fails = True
    link = RedisLink(client, timeout=20.0, clock=clock)
    for _ in range(3):
        await failures(ask(link, "x"))
    clock.now += 10.0
    client.gate.clear()
    probe = ask(link, "x")
    while len(client.seen) < 4:  # noqa: ASYNC110  (nothing else tells)
        await asyncio.sleep(0)
    cancel_workers()
    await failures(probe)
    client.fails = False
    client.gate.set()
    assert await ask(link, "x") == "x"
    await link.aclose()


async def test_task_keeps_no_variables_of_its_first_caller() -> None:
    """It works for all callers."""
    client = Client()
    client.gate.set()
    link = RedisLink(client, timeout=20.0)
    _VARIABLE.set("of the first caller")
    await ask(link, "x")
    assert client.seen == ["none"]
    await link.aclose()
