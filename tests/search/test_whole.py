"""Random plays of a peer, a network and an application; see `plays`.

`SEED=17 pytest tests/search/test_whole.py -k test_plays` plays one again, `KEEP=0,3,4` besides leaves out all acts but these.
`FIRST=1` makes the many plays those from that seed on, the same in every run; without it each run plays new ones.
`MANY=4000` is their number, 20,000 without it.
"""

from __future__ import annotations

import ctypes
import os
import random
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plays import Fault, Theatre, compose, live_connections, shrink

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PLAYS = 500
MANY_PLAYS = int(os.environ.get("MANY", "20000"))
ONE = os.environ.get("SEED")  # to be played alone
FIRST = os.environ.get("FIRST")  # of the many
SIZE = 50 if ONE is None else 1
PARTS = range(0, PLAYS, SIZE) if ONE is None else [int(ONE)]
REMAINS = 4 * 1024 * 1024  # bytes that the process may have grown by over 500 plays: fragments of the heap


@pytest.fixture(scope="module")
def theatre() -> Iterator[Theatre]:
    """One loop for all plays of this process."""
    made = Theatre()
    yield made
    made.close()


@pytest.mark.parametrize("first", PARTS)
def test_plays(theatre: Theatre, first: int) -> None:
    """Plays that are the same in every run."""
    look_at(theatre, range(first, first + SIZE), tries=15 if ONE is None else 100)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_many_plays(theatre: Theatre, part: int) -> None:
    """Plays that nobody has seen before, unless `FIRST` names them."""
    size = MANY_PLAYS // 20
    first = random.SystemRandom().randrange(1 << 40) if FIRST is None else int(FIRST) + part * size
    look_at(theatre, range(first, first + size), tries=100)


@pytest.mark.slow
def test_plays_return_their_memory(theatre: Theatre) -> None:
    """The process does not grow with the number of plays."""
    sizes = []
    before = live_connections()
    for _ in range(3):
        for seed in range(250):
            with suppress(Fault):
                theatre.play(*compose(seed))
        assert live_connections() <= before
        trim()
        sizes.append(resident())
    assert sizes[2] - sizes[1] < REMAINS, sizes


def look_at(theatre: Theatre, seeds: Iterable[int], tries: int) -> None:
    """Play all; fail with the smallest play of each kind of fault."""
    found: dict[str, str] = {}
    before = live_connections()  # what other tests of this process have kept alive
    for seed in seeds:
        setting, acts = compose(seed)
        if "KEEP" in os.environ:
            acts = [acts[int(index)] for index in re.findall(r"\d+", os.environ["KEEP"])]
        try:
            theatre.play(setting, acts)
        except Fault as fault:
            if fault.kind not in found:
                small, kept = shrink(theatre, setting, acts, fault, tries)
                replay = f"SEED={seed} KEEP={','.join(map(str, kept))}"
                found[fault.kind] = f"{replay}\n  {str(fault)[:600]}\n  {setting}\n  {small}"
    assert not found, "\n".join(f"{len(found)} kinds of faults" if not at else text for at, text in enumerate(["", *found.values()]))
    assert live_connections() <= before


def trim() -> None:
    """Give free memory back to the system, so that `resident` does not count it."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def resident() -> int:
    """Return the bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE")
