"""What both kinds of clients share: expectations, tallies, and how they are started."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

# Seconds after which an action hangs: much longer than any of them takes on a busy machine.
PATIENCE = 180.0
GOOD = ("store", "tickets", "plain", "upgrade")  # the servers that are patient


class Unexpected(Exception):  # noqa: N818 - a finding
    """The server did what it should not."""


class Tally:
    """What was done, and what failed, since the last time."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._failures: list[str] = []
        self._slowest = (0.0, "")

    def add(self, name: str, start: float, error: Exception | None = None) -> None:
        """Note the end of an action that began at `start` of the monotonic clock."""
        self._slowest = max(self._slowest, (time.monotonic() - start, name))
        if error is None:
            self._counts[name] += 1
        else:
            hint = getattr(error, "hint", None)
            self._failures.append(f"{name}: {error!r}{f' ({hint})' if hint else ''}")

    def take(self) -> dict[str, Any]:
        """Return the tally, and reset it."""
        taken = {"counts": dict(self._counts), "failures": self._failures, "slowest": self._slowest}
        self._counts, self._failures, self._slowest = Counter(), [], (0.0, "")
        return taken


def happens(rng: random.Random, share: float) -> bool:
    """Say yes in that share of cases."""
    return rng.random() < share


def parse_arguments(description: str | None) -> tuple[Path, dict[str, int]]:
    """Return the folder of the certificates and the port of each server."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the certificates are")
    parser.add_argument("ports", nargs="+", help="name=port of each server")
    given = parser.parse_args()
    pairs = (one.split("=") for one in given.ports)
    return given.folder, {name: int(port) for name, port in pairs}
