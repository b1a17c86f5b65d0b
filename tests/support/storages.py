"""Storages of each kind for one contract: over a folder, a real Redis, or in memory; also in processes of their own.

`python support/storages.py KIND PLACE COMMAND` is such a process: `count TIMES` adds to a number under a lock, `hold` takes a lock, waits for
a line, and then writes; `write` replaces a long value without end.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from redis_server import SECRET
from tlsio.acme import FileStorage, RedisStorage
from tlsio.model.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tlsio.acme import MemoryStorage, Storage

LEASE = 1.0  # the shortest


@asynccontextmanager
async def opened(kind: str, place: str, lease: float = 30.0) -> AsyncIterator[Storage]:
    """Give a storage of this kind; several over one place share its values."""
    if kind == "file":
        yield FileStorage(place)
    else:
        async with RedisStorage(place, secret=SECRET, lease=lease, timeout=5.0) as storage:
            yield storage


@dataclass
class Storages:
    """Gives storages over one place."""

    kind: str
    place: str
    memory: MemoryStorage | None = None

    @asynccontextmanager
    async def open(self, lease: float = 30.0) -> AsyncIterator[Storage]:
        """Give one more, as another node has it; of those in memory there is only one."""
        if self.memory is not None:
            yield self.memory
        else:
            async with opened(self.kind, self.place, lease) as storage:
                yield storage

    @contextmanager
    def process(self, *command: str) -> Iterator[StorageProcess]:
        """Run a process with one."""
        arguments = [sys.executable, __file__, self.kind, self.place, *command]
        with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield StorageProcess(process)
            finally:
                process.kill()


@dataclass
class StorageProcess:
    """A running process."""

    process: subprocess.Popen[str]

    async def line(self) -> str:
        """Return the next line that it prints."""
        assert self.process.stdout is not None
        return (await asyncio.to_thread(self.process.stdout.readline)).strip()

    def go(self) -> Self:
        """Let it write."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self


async def count(storage: Storage, times: int) -> None:
    """Add one to a number, in a way that loses some without a lock."""
    for _ in range(times):
        async with storage.lock("number") as lock:
            number = int(await storage.load("number") or 0)
            await asyncio.sleep(0)
            await storage.store("number", b"%d" % (number + 1), lock=lock)


async def hold(storage: Storage) -> str:
    """Write under a lock when a line has come; without a turn of the loop in between, so that no renewal notices anything."""
    async with storage.lock("name") as lock:
        print("held", flush=True)  # noqa: T201
        sys.stdin.readline()
        try:
            await storage.store("value", b"by the holder", lock=lock)
        except StoreError as error:
            return error.code
    return "stored"


async def write(storage: Storage) -> None:
    """Replace a value by longer and shorter ones, each of one letter, until killed."""
    print("writing", flush=True)  # noqa: T201
    while True:
        for number in range(26):
            await storage.store("value", bytes([ord("a") + number]) * (number * 10_000 + 1))


async def main(kind: str, place: str, command: str, times: str = "1") -> None:
    """Do one thing, and say what came of it."""
    async with opened(kind, place, LEASE) as storage:
        steps = {"hold": hold, "write": write, "count": lambda storage: count(storage, int(times))}
        print(await steps[command](storage), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
