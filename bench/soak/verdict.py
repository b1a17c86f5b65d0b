"""The rules by which a soak is judged. They depend on what is left after each cycle, never on speed.

Memory is judged per 1,000 connections served. A leak grows as long as there is load; a cache that fills, or a heap that reaches
its size, stops growing. So the time after the warm-up is split into three parts, and memory fails if it grew in each of them. The slope
of a part is the Theil-Sen estimator, the median of the slopes between all pairs of samples, which a few outliers do not affect.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_UP = 1 / 5  # of the samples
PARTS = 3
# Fewer samples in a part have no slope to speak of: two odd ones would make the median.
LEAST_OF_PART = 4
# Thousands. Caches and heaps have not found their size before: after 5,000 connections all memory still grows.
LEAST_SERVED = 10.0
# What must be the same after every cycle, and what must be none.
CONSTANT = {"descriptors": "descriptors"}
NONE_LEFT = {
    "connections": "open connections",
    "tasks": "tasks",
    "sockets": "TLSSocket objects",
    "natives": "Connection objects of the engine",
}
# For each 1,000 connections. Resident memory goes up and down by 2 MiB, which makes some 35 KiB of slope in a part of an hour; it is there
# for what the other two do not see, mappings and holes. What malloc has given out moves by 10 KiB: an object of 32 bytes that every
# tenth connection leaks is 3.1 KiB.
GROWTH = {
    "resident": ("resident memory", "KiB", 64.0),
    "heap": ("memory from malloc", "KiB", 2.0),
    "blocks": ("Python's small objects", "objects", 50.0),
}
# The largest step that memory may make in all, as a factor: what grows once may do so, but not without limit.
MOST_GROWTH = 1.5
# Of one core, in each quiet time. The timers of ticket keys and of Redis cost a twentieth of it; a loop that spins costs all of one.
MOST_IDLE_CPU = 0.02


@dataclass(frozen=True)
class Sample:
    """What a process held when its peers had left.

    Attributes:
        process: Its name.
        minutes: Since the beginning.
        served: Thousands of connections so far.
        resident: KiB in RAM, after garbage collection and `malloc_trim`.
        heap: KiB that malloc has given out.
        blocks: Small objects of Python.
        descriptors: Without those that lead to Redis, of which its client keeps as many as it likes.
        idle_cpu: Share of a core that was used without any connection.
        held_cpu: Share of a core that was used with `held` silent ones.
        running: What the tasks are and where they wait.
        states: Sockets by the kernel's state.
    """

    process: str
    cycle: int
    minutes: float
    served: float
    resident: float
    heap: float
    blocks: int
    descriptors: int
    redis_sockets: int
    tasks: int
    connections: int
    sockets: int
    natives: int
    contexts: int
    held: int
    held_cpu: float
    idle_cpu: float
    running: str
    states: str


def judge(samples: Sequence[Sample]) -> list[str]:
    """Say what is wrong with the samples of one process, in the order they were taken; nothing when it passes."""
    return [*_judge_leftovers(samples), *_judge_cpu(samples), *_judge_memory(samples)]


def can_judge_memory(samples: Sequence[Sample]) -> bool:
    """Whether there are enough samples, of enough connections, for slopes."""
    warm = samples[int(len(samples) * WARM_UP) :]
    return len(warm) >= PARTS * LEAST_OF_PART and warm[-1].served >= LEAST_SERVED


def growth(samples: Sequence[Sample], quantity: str) -> list[float]:
    """Return how much it grew per 1,000 connections in each part after the warm-up."""
    warm = samples[int(len(samples) * WARM_UP) :]
    edges = [len(warm) * part // PARTS for part in range(PARTS + 1)]
    return [slope([(one.served, getattr(one, quantity)) for one in warm[start:end]]) for start, end in pairwise(edges)]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return Theil and Sen's slope."""
    return median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1)


def _judge_leftovers(samples: Sequence[Sample]) -> list[str]:
    wrong = []
    for one in samples:
        wrong += [
            f"{one.process}, cycle {one.cycle}: {getattr(one, quantity)} {title} were left{_running(one, quantity)}"
            for quantity, title in NONE_LEFT.items()
            if getattr(one, quantity)
        ]
        wrong += [
            f"{one.process}, cycle {one.cycle}: {getattr(one, quantity)} {title}, after the first cycle there were {getattr(samples[0], quantity)}"
            for quantity, title in CONSTANT.items()
            if getattr(one, quantity) != getattr(samples[0], quantity)
        ]
    return wrong


def _running(one: Sample, quantity: str) -> str:
    return f": {one.running}" if quantity == "tasks" else ""


def _judge_cpu(samples: Sequence[Sample]) -> list[str]:
    wrong = []
    for one in samples:
        for used, when in ((one.idle_cpu, "without connections"), (one.held_cpu, f"with {one.held} silent connections")):
            if used > MOST_IDLE_CPU:
                wrong.append(f"{one.process}, cycle {one.cycle}: {used:.1%} of a core was used {when}, {MOST_IDLE_CPU:.0%} is the limit")
    return wrong


def _judge_memory(samples: Sequence[Sample]) -> list[str]:
    if not can_judge_memory(samples):
        return []
    wrong = []
    warm = samples[int(len(samples) * WARM_UP) :]
    third = len(warm) // PARTS
    for quantity, (title, unit, limit) in GROWTH.items():
        slopes = growth(samples, quantity)
        if min(slopes) > limit:
            shown = ", ".join(f"{one:.1f}" for one in slopes)
            wrong.append(
                f"{samples[0].process}: {title} kept growing by {shown} {unit} for each 1,000 connections in three parts; {limit:g} is the limit"
            )
        before, after = (median(getattr(one, quantity) for one in part) for part in (warm[:third], warm[-third:]))
        if after > before * MOST_GROWTH:
            wrong.append(
                f"{samples[0].process}: {title} went from {before:,.0f} to {after:,.0f} {unit}, {MOST_GROWTH:g} times is the limit"
            )
    return wrong
