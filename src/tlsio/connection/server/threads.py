"""How many threads do a server's handshakes."""

from __future__ import annotations

import os
from typing import Literal

__all__ = ["count_threads"]


def count_threads(given: int | Literal["auto"]) -> int:
    """Return the number of handshake threads that `handshake_threads=` asks for.

    "auto": one for each core that this process may use but one, which the loop keeps busy, and at
    least one.
    """
    return max(1, len(os.sched_getaffinity(0)) - 1) if given == "auto" else given
