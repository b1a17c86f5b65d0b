"""An hour of mixed load on tlsio, then a report of leaks and idle CPU use.

    python bench/soak                       an hour
    python bench/soak --minutes 0.3         a short one: memory is not judged
    python bench/soak --seed 7              the choices of that run again

Each cycle has a time of load, a short time in which many connections are idle, and one without connections. The objects and memory
of the processes then, and the CPU time they use, are sampled and judged by the rules of verdict.py. Samples and plot are written
after each cycle. Exit status 1: the soak failed, and stderr says why.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from picture import draw
from verdict import GROWTH, MOST_IDLE_CPU, Sample, can_judge_memory, growth, judge

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "bench")]
from command_line import above_zero, count, need, need_loop  # noqa: E402 - of the folder above

import pki  # noqa: E402 - of the tests
from redis_server import RedisServer  # noqa: E402

LONGEST_CYCLE, SHORTEST_CYCLE = 60.0, 4.0  # seconds; between them a twentieth of the run
# Of a cycle: silent connections, then none. A second at least, because CPU time is read in ticks on some machines.
QUIET, LEAST_QUIET = 1 / 12, 1.0
WINDOWS = 6  # a process that uses CPU time in each of them is not idle
RELOADS = 8  # of certificates, names and keys in a cycle
# Seconds after which a connection that is still open will not end: twice the close_timeout of the servers.
PATIENCE = 120.0
SILENCE = 600.0  # seconds that an answer may take beyond what was ordered: longer than an action that hangs, on any machine
LONGEST_LINE = 1 << 20  # of an answer
CPUCLOCK_SCHED = 2  # of Linux's posix-timers.h: the clock of a process is ~pid << 3 with this


class ChildError(Exception):
    """A process has ended, or does not answer."""


class Child:
    """A process that executes orders."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    @classmethod
    async def start(cls, name: str, *arguments: Any) -> Child:
        """Start a script of this folder."""
        command = [sys.executable, Path(__file__).parent / f"{name}.py", *map(str, arguments)]
        pipe = asyncio.subprocess.PIPE
        # In a group of its own, it is not interrupted when the terminal interrupts us.
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=LONGEST_LINE, process_group=0)
        return cls(name, process)

    async def hear(self) -> str:
        """Return its next line."""
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        if not (line := await self._process.stdout.readline()):
            raise ChildError(f"{self.name} ended with exit status {await self._process.wait()}")
        return line.decode()

    async def ask(self, order: str, **given: Any) -> Any:
        """Give an order and return its answer."""
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        self._process.stdin.write(json.dumps({"do": order, **given}).encode() + b"\n")
        try:
            async with asyncio.timeout(given.get("seconds", 0.0) + SILENCE):
                return json.loads(await self.hear())
        except TimeoutError:
            raise ChildError(f"{self.name} did not answer to {order}") from None

    def cpu(self) -> float:
        """Return the seconds of CPU time it has used."""
        return time.clock_gettime(~self._process.pid << 3 | CPUCLOCK_SCHED)

    async def stop(self) -> None:
        """End it."""
        if self._process.returncode is None:
            self._process.kill()  # a busy loop would not react to a softer signal
            await self._process.wait()


@dataclass
class Soak:
    """A run: its processes and results."""

    given: argparse.Namespace
    redis: RedisServer
    server: Child
    clients: Child
    strangers: Child
    start: float = field(default_factory=time.monotonic)
    cycle: int = 0
    samples: list[Sample] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    actions: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")  # action of this cycle
    settled: float = 0.0  # seconds until the last connection of this cycle had gone
    windows: int = 0  # in which CPU time was measured until both processes were at rest, twice in this cycle
    dialled: int = 0  # connections of `clients`

    @property
    def seconds(self) -> float:
        """The length of the run."""
        return float(self.given.minutes) * 60

    @property
    def left(self) -> float:
        """The seconds that remain."""
        return self.start + self.seconds - time.monotonic()

    async def run(self) -> None:
        """Run cycles until the time is over."""
        length = max(SHORTEST_CYCLE, min(LONGEST_CYCLE, self.seconds / 20))
        quiet = max(LEAST_QUIET, length * QUIET)
        while self.left > 0:
            self.cycle += 1
            self.slowest, self.windows = (0.0, ""), 0
            held = await self._load(length - 2 * quiet)
            held_cpu = await self._watch_cpu(quiet)
            await self._leave()
            await self._settle()
            idle_cpu = await self._watch_cpu(quiet)
            for child in (self.server, self.clients):
                await self._sample(child, held[child.name], held_cpu[child.name], idle_cpu[child.name])
            self._report()
            self.write()

    async def _load(self, seconds: float) -> dict[str, int]:
        seed = self.given.seed * 10_000 + self.cycle
        orders = {"seconds": seconds, "workers": self.given.workers, "hold": self.given.hold, "seed": seed}
        mine, theirs, *_ = await asyncio.gather(
            self.clients.ask("work", **orders), self.strangers.ask("work", **orders), self._reload(seconds), self._disturb_redis(seconds)
        )
        return {"clients": mine["held"], "server": mine["held"] + theirs["held"]}

    async def _reload(self, seconds: float) -> None:
        for _ in range(RELOADS):
            await asyncio.sleep(seconds / (RELOADS + 1))
            await self.server.ask("reload")

    async def _disturb_redis(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 3)
        if self.cycle % 3 == 1:
            await asyncio.to_thread(self.redis.restart)
        elif self.cycle % 3 == 2:  # noqa: PLR2004 - the other of three
            self.redis.freeze()
            await asyncio.sleep(min(2.0, seconds / 3))
            self.redis.thaw()

    async def _leave(self) -> None:
        for child in (self.clients, self.strangers):
            told = await child.ask("leave")
            self.actions.update(told["counts"])
            self.failures += [f"cycle {self.cycle}, {child.name}: {one}" for one in told["failures"]]
            self.slowest = max(self.slowest, tuple(told["slowest"]))
            if child is self.clients:
                self.dialled += sum(told["counts"].values())
        await self.server.ask("leave")

    async def _settle(self) -> None:
        """Wait for connections that end by themselves; the sample then shows those that did not."""
        start = time.monotonic()
        while (waited := time.monotonic() - start) < PATIENCE:
            state = await self.server.ask("state")
            if not state["connections"] and not state["tasks"]:
                break
            await asyncio.sleep(0.1)
        self.settled = waited

    async def _watch_cpu(self, seconds: float) -> dict[str, float]:
        """Return the share of a core that each process uses: the lowest of several windows, since work left by the load takes a while."""
        least: dict[str, float] = {}
        for _ in range(WINDOWS):
            self.windows += 1
            before = {child: child.cpu() for child in (self.server, self.clients)}
            start = time.monotonic()
            await asyncio.sleep(seconds)
            took = time.monotonic() - start
            used = {child.name: (child.cpu() - cpu) / took for child, cpu in before.items()}
            least = {name: min(share, least.get(name, share)) for name, share in used.items()}
            if max(least.values()) <= MOST_IDLE_CPU:
                break
        return least

    async def _sample(self, child: Child, held: int, held_cpu: float, idle_cpu: float) -> None:
        seen = await child.ask("sample")
        self.failures += [f"cycle {self.cycle}, {child.name}: {one}" for one in seen.pop("complaints", [])]
        served = seen.pop("served", self.dialled)
        for quantity in ("resident", "heap"):
            seen[quantity] = round(seen[quantity] / 1024, 1)
        minutes = (time.monotonic() - self.start) / 60
        cpu = {"held_cpu": round(held_cpu, 5), "idle_cpu": round(idle_cpu, 5)}
        self.samples.append(
            Sample(process=child.name, cycle=self.cycle, minutes=round(minutes, 3), served=served / 1000, held=held, **cpu, **seen)
        )

    def _report(self) -> None:
        server, clients = self.samples[-2:]
        print(
            f"cycle {self.cycle}: {server.served * 1000:,.0f} connections so far, {server.held} silent at {server.held_cpu:.2%} CPU; "
            f"left {server.connections} connections, {server.tasks} tasks, {server.descriptors} descriptors, "
            f"{server.resident:,.0f} KiB (clients {clients.resident:,.0f}), {server.idle_cpu:.2%} CPU; "
            f"slowest {self.slowest[1]} {self.slowest[0]:.1f} s, settled in {self.settled:.1f} s, at rest in {self.windows} windows; "
            f"{len(self.failures)} failures so far; {max(0.0, self.left) / 60:.1f} minutes to go",
            flush=True,
        )
        for one in self.failures:
            if one.startswith(f"cycle {self.cycle},"):
                print(f"    {one}", flush=True)

    def write(self) -> None:
        """Write the samples and the picture."""
        folder = self.given.out
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "samples.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, list(asdict(self.samples[0])))
            table.writeheader()
            table.writerows(map(asdict, self.samples))
        served = self.samples[-2].served * 1000
        title = f"tlsio under soak: {self.samples[-1].minutes:.0f} minutes, {served:,.0f} connections, {len(self.failures)} failures"
        (folder / "soak.svg").write_text(draw(self.samples, title), encoding="utf-8")

    def conclude(self) -> list[str]:
        """Print the results, and return what is wrong."""
        wrong = self.failures if self.samples else [*self.failures, "no cycle came to its end"]
        print("done:", ", ".join(f"{count:,} {name}" for name, count in self.actions.most_common()))
        for name in ("server", "clients"):
            samples = [one for one in self.samples if one.process == name]
            wrong = [*wrong, *judge(samples)]
            if can_judge_memory(samples):
                for quantity, (title, unit, _limit) in GROWTH.items():
                    shown = ", ".join(f"{one:+.1f}" for one in growth(samples, quantity))
                    print(f"{name}, {title}: {shown} {unit} for each 1,000 connections in three parts after the warm-up")
            else:
                print(f"{name}: too few cycles or connections to judge memory")
        return wrong


def make_certificates(folder: Path) -> None:
    """Write the certificates of all processes."""
    client_only = [pki.ExtendedKeyUsageOID.CLIENT_AUTH]
    identities = {
        "ecdsa": pki.leaf("localhost", issuer=pki.ca1(), names=["localhost"]),
        "rsa": pki.leaf("localhost", issuer=pki.ca1(), names=["localhost"], key=pki.rsa_key()),
        "wildcard": pki.wildcard(),
        "client": pki.client(),
        "unwanted": pki.leaf("unwanted", issuer=pki.ca1(), usages=client_only),
    }
    for name, who in identities.items():
        (folder / f"{name}.pem").write_bytes(who.chain_pem)
        (folder / f"{name}.key").write_bytes(who.key_pem)
    (folder / "ca.pem").write_bytes(pki.ca1().cert_pem)


async def main(given: argparse.Namespace) -> int:
    """Run it; returns the exit status."""
    children: list[Child] = []
    threads = () if given.threads is None else ("--threads", given.threads)
    with RedisServer() as redis, tempfile.TemporaryDirectory(prefix="tlsio-soak-") as name:
        folder = Path(name)
        make_certificates(folder)
        try:
            children.append(await Child.start("server", folder, redis.url, "--loop", given.loop, *threads))
            ports = (await children[0].hear()).split()
            children += [await Child.start(one, folder, *ports) for one in ("clients", "strangers")]
            soak = Soak(given, redis, *children)
            run = asyncio.create_task(soak.run())
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, run.cancel)
            try:
                await run
            except asyncio.CancelledError:  # judge the results so far
                print("interrupted")
            except ChildError as error:
                soak.failures.append(f"cycle {soak.cycle}: {error}")
        finally:
            for child in children:
                await child.stop()
    wrong = soak.conclude()
    print(f"seed {given.seed}; samples and picture are in {given.out}")
    for one in wrong:
        print(f"FAILED: {one}", file=sys.stderr)
    print("failed" if wrong else "passed")
    return 1 if wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=above_zero, default=60.0, help="how long (60)")
    parser.add_argument("--workers", type=count, default=24, help="at a time, of each of the two kinds of clients (24)")
    parser.add_argument("--hold", type=count, default=300, help="idle connections of each of the two kinds of clients (300)")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio", help="of the server (asyncio)")
    parser.add_argument(
        "--threads", type=partial(count, least=0), metavar="N", help="handshake_threads of each server that listens; by default from 0 to 2"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="of all choices; by default another each time")  # noqa: S311 - a seeded choice
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "soak", metavar="DIR", help="for samples and picture (build/soak)")
    arguments = parser.parse_args()
    need("redis-server", "openssl")
    need_loop(arguments.loop)
    sys.exit(asyncio.run(main(arguments)))
