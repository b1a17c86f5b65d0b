"""How many threads do a server's handshakes."""

from __future__ import annotations

import os
import sys
from typing import Literal

__all__ = ["count_threads"]


def count_threads(given: int | Literal["auto"], *, processes: int = 1) -> int:
    """Return the number of handshake threads that `handshake_threads=` asks for.

    "auto": one for each core that this process may use but one, which the loop keeps busy, and at
    least one. The cores are divided among so many `processes`.
    """
    if given != "auto":
        return given
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
    return max(1, cores // processes - 1)
