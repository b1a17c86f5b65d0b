"""What the command lines of these scripts share: checked values, programs and packages that must be there, and an end by Ctrl-C."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from run import Row

MAX_THREADS = 256
PACKAGES = {
    "callgrind_control": "valgrind",
    "h2load": "nghttp2-client",
    "perf": "linux-perf",
    "taskset": "util-linux",
}  # of Debian; other programs are in the package of their name


def count(text: str, *, least: int = 1) -> int:
    """Parse a whole number."""
    if not text.isascii() or not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least}, got {text!r}")
    return int(text)


def above_zero(text: str) -> float:
    """Parse a number above zero."""
    if not re.fullmatch(r"\d+\.?\d*|\.\d+", text, re.ASCII) or float(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return float(text)


def from_zero(text: str) -> float:
    """Parse a number that may be zero."""
    return 0.0 if re.fullmatch(r"0+\.?0*", text, re.ASCII) else above_zero(text)


def threads(text: str) -> str:
    """Check a number of handshake threads, or `auto`."""
    if text != "auto" and count(text, least=0) > MAX_THREADS:
        raise argparse.ArgumentTypeError(f"must be from 0 to {MAX_THREADS}, or auto, got {text!r}")
    return text


def cores(text: str) -> list[str]:
    """Parse the cores of the server and of the load, such as `0,1` or `0-1,1`, which this process must have."""
    found = text.split(",")
    if len(found) != 2 or not all(re.fullmatch(r"\d+(-\d+)?", one, re.ASCII) for one in found):  # noqa: PLR2004 - server and load
        raise argparse.ArgumentTypeError(f"must be SERVER,LOAD, such as 0,1 or 0-1,1, got {text!r}")
    here = os.sched_getaffinity(0)
    for one in found:
        first, _, last = one.partition("-")
        if not set(range(int(first), int(last or first) + 1)) <= here:
            raise argparse.ArgumentTypeError(
                f"there is no core {one} here, but {' '.join(map(str, sorted(here)))}; server and load may share one"
            )
    return found


def choose_rows(parser: argparse.ArgumentParser, rows: Iterable[Row], names: list[str]) -> list[Row]:
    """Return the rows that are called so, or else whose names begin so; all without names. Another name ends the script."""
    known = list(rows)
    chosen = [] if names else known
    for name in names:
        found = [row for row in known if row.name == name] or [row for row in known if row.name.startswith(name)]
        if not found:
            parser.error(f"no such row: {name}; there are {' '.join(row.name for row in known)}")
        chosen += found
    return [row for row in known if row in chosen]


def need(*programs: str) -> None:
    """End the script if a program is missing, and say how to get it. `redis-server` may be Valkey's."""
    for program in programs:
        if shutil.which(program) is None and not (program == "redis-server" and shutil.which("valkey-server")):
            raise SystemExit(f"{program} is missing: apt install {PACKAGES.get(program, program)}")


def need_loop(loop: str) -> None:
    """End the script if the event loop is missing."""
    if loop == "uvloop" and importlib.util.find_spec("uvloop") is None:
        raise SystemExit("uvloop is missing: pip install uvloop, or give --loop asyncio")


def finish(main: Callable[[], int | None]) -> None:
    """Run a script to its end; Ctrl-C ends it, with its servers, in one line."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
