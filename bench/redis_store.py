"""The CPU time of RedisSessionStore in the server's process, and its latency, with a Redis on the same machine.

    python bench/redis_store.py

Concurrent callers store sessions and get them again, as the clients of a server would.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from command_line import count, finish, need

import tlsio
from redis_server import SECRET, RedisServer

SESSION = bytes(200)
CALLERS = (1, 10, 100, 1000)


async def measure(url: str, callers: int, calls: int) -> str:
    """Return the row for a number of concurrent callers."""
    async with tlsio.RedisSessionStore(url, secret=SECRET, timeout=5.0) as store:

        async def call(number: int) -> None:
            for turn in range(calls // callers // 2):
                name = b"%d %d" % (number, turn)
                await store.put(name, SESSION, 60.0)
                await store.get(name)

        start, wall = time.process_time(), time.perf_counter()
        await asyncio.gather(*map(call, range(callers)))
        cost, wall = time.process_time() - start, time.perf_counter() - wall
        stats = store.stats()
    assert stats.errors == stats.misses == 0  # noqa: S101 - a figure of failures would be worthless
    return f"{callers:5} {cost / stats.calls * 1e6:8.0f} µs {stats.seconds / stats.calls * 1e3:8.2f} ms {stats.calls / wall:8.0f} /s"


def main() -> None:
    """Read the command line, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=partial(count, least=2 * CALLERS[-1]), default=20_000, help="of all callers of a row (20000)")
    given = parser.parse_args()
    need("redis-server")
    asyncio.run(print_table(given.calls))


async def print_table(calls: int) -> None:
    """Print the row of each number of callers."""
    print("callers   CPU each   answer in    calls")
    with RedisServer() as redis:
        for callers in CALLERS:
            print(await measure(redis.url, callers, calls))


if __name__ == "__main__":
    finish(main)
