"""The cost of a session in MemorySessionStore: memory in addition to id and data, time to put and to get.

    python bench/store_memory.py
    python bench/store_memory.py --entries 100000 --data 1200

A million sessions take about ten seconds, and 415 MB.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import time
from pathlib import Path

from command_line import count, finish

from tlsio import MemorySessionStore

ID_BYTES = 32


def main() -> None:
    """Fill a store, look all sessions up in random order, and print the cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=count, default=1_000_000, help="sessions (1000000)")
    parser.add_argument("--data", type=count, default=180, help="bytes of a session; one of TLS 1.3 without certificates has 180 (180)")
    given = parser.parse_args()
    store = MemorySessionStore(max_entries=None, max_bytes=None)
    # Made in the loop, as in a server: each id and each session is a separate object.
    before, start = resident_bytes(), time.process_time()
    for _ in range(given.entries):
        store.put(os.urandom(ID_BYTES), os.urandom(given.data), 300.0)
    put, after = time.process_time() - start, resident_bytes()
    start = time.perf_counter()
    gc.collect()
    collect = time.perf_counter() - start
    ids = list(store._entries)  # noqa: SLF001 - the benchmark does not keep a million ids itself
    random.shuffle(ids)
    start = time.process_time()
    for one in ids:
        store.get(one)
    get = time.process_time() - start
    one = (after - before) / given.entries
    print(f"{given.entries:,} sessions of {given.data} bytes: {one:.0f} bytes each, {one - given.data - ID_BYTES:.0f} without id and data")
    print(f"put {put / given.entries * 1e6:.2f} µs with making id and data, get {get / given.entries * 1e6:.2f} µs")
    print(f"a full garbage collection {collect * 1e3:.0f} ms")


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE")


if __name__ == "__main__":
    finish(main)
