"""Seeds of tests with random data: new ones in each run, `FIRST=` makes them the same every time, `SEED=` repeats one."""

from __future__ import annotations

import os
import random


def new_seed() -> int:
    """Return a seed, and print it: pytest shows that beside a failure."""
    seed = int(os.environ.get("SEED") or os.environ.get("FIRST") or random.SystemRandom().randrange(2**32))
    print(f"SEED={seed}")  # noqa: T201
    return seed
