"""Measure the server of bench/server.py against the C server of bench/reference.c on the same OpenSSL.

    python bench/run.py                          all rows of the table
    python bench/run.py --row echo-64 --rounds 1 the rows whose names begin with "echo-64", once
    python bench/run.py --check                  exit status 1 when a row misses its goal

bench/README.md describes the method and has the results.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from command_line import above_zero, choose_rows, cores, count, finish, from_zero, need, need_loop

if TYPE_CHECKING:
    from collections.abc import Iterator

BENCH = Path(__file__).parent
ROOT = BENCH.parent
BUILT = ROOT / "build" / "bench"
MIB = 1 << 20
PATIENCE = 300  # seconds: the longest run, a warm-up and 1 GiB, takes about ten
FAVOURED = -15  # nice: other programs then still evict caches, but seldom preempt
CROWDED = 0.10  # of a core used by others: figures then move by more than the limits leave room for


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: what is done, how often, and what it may cost.

    Attributes:
        against: Options of our own server, where that is what `server` is compared with.
    """

    name: str
    title: str
    load: str
    limit: float | None = None
    unit: str = "handshake"
    operations_each: float = 1  # units in one operation of the load generator
    certificate: str = "ecdsa"
    mutual: bool = False
    reference: str = ""
    server: str = ""
    against: str = ""


def transfer(size: int) -> dict[str, float | str]:
    """Return what a row has that moves `size` bytes in one operation."""
    return {"unit": "MiB", "operations_each": size / MIB}


# fmt: off
ROWS = [
    Row(name="full-1.3-ecdsa", title='full handshake, TLS 1.3, ECDSA, `on("data")`', load="handshake", limit=1.10),
    Row(name="full-1.3-ecdsa-await", title="full handshake, TLS 1.3, ECDSA, `await read`", load="handshake", server="--style await"),
    Row(name="full-1.3-rsa", title="full handshake, TLS 1.3, RSA", load="handshake", limit=1.10, certificate="rsa"),
    Row(name="full-1.2", title='full handshake, TLS 1.2, `on("data")`', load="handshake --tls 1.2", limit=1.10),
    Row(name="full-1.2-await", title="full handshake, TLS 1.2, `await read`", load="handshake --tls 1.2", server="--style await"),
    Row(name="mutual-1.3", title="mutual TLS 1.3", load="handshake", limit=1.10, mutual=True),
    Row(name="resume-1.3", title='resumption by ticket, TLS 1.3, `on("data")`', load="resume", limit=1.15),
    Row(name="resume-1.3-await", title="resumption by ticket, TLS 1.3, `await read`", load="resume", server="--style await"),
    Row(name="resume-1.2", title="resumption by ticket, TLS 1.2", load="resume --tls 1.2", limit=1.15),
    Row(name="stored-1.3", title="resumption from a store in memory, TLS 1.3", load="resume", limit=1.25,
        reference="--store", server="--store memory"),
    Row(name="stored-1.2", title="resumption by id from a store in memory, TLS 1.2", load="resume --tls 1.2", limit=1.35,
        reference="--store", server="--store memory"),
    Row(name="redis-1.3", title="resumption from Redis, TLS 1.3, 64 at a time, against the store in memory", limit=2.0,
        load="resume --connections 64", against="--store memory", server="--store redis"),
    Row(name="redis-1.2", title="resumption by id from Redis, TLS 1.2, 64 at a time, against the store in memory", limit=2.0,
        load="resume --tls 1.2 --connections 64", against="--store memory", server="--store redis"),
    Row(name="echo-64-over-64", title='echo 64 B over 64 connections, `on("data")`', unit="message", limit=1.15,
        load="echo --connections 64"),
    Row(name="echo-64-over-64-await", title="echo 64 B over 64 connections, `await read`", unit="message",
        load="echo --connections 64", server="--style await"),
    Row(name="echo-64-over-1", title='echo 64 B over 1 connection, `on("data")`', unit="message", limit=1.25,
        load="echo --connections 1"),
    Row(name="echo-64-over-1-await", title="echo 64 B over 1 connection, `await read`", unit="message",
        load="echo --connections 1", server="--style await"),
    Row(name="echo-64-over-1000", title='echo 64 B over 1,000 connections, `on("data")`', unit="message", limit=1.15,
        load="echo --connections 1000"),
    Row(name="echo-64-over-1000-await", title="echo 64 B over 1,000 connections, `await read`", unit="message",
        load="echo --connections 1000", server="--style await"),
    Row(name="echo-16k-over-16", title="echo 16 KiB over 16 connections", unit="message", limit=1.10,
        load="echo --connections 16 --bytes 16384"),
    Row(name="download-1g", title="download 1 GiB, against gathered sends", limit=1.15, reference="--gather",
        load=f"download --connections 1 --bytes {1024 * MIB}", **transfer(1024 * MIB)),
    Row(name="download-16m-over-64", title="download 16 MiB over 64, against gathered sends", limit=1.15, reference="--gather",
        load=f"download --connections 64 --bytes {16 * MIB}", **transfer(16 * MIB)),
    Row(name="upload-1g", title="upload 1 GiB", limit=1.25,
        load=f"upload --connections 1 --bytes {1024 * MIB}", **transfer(1024 * MIB)),
    Row(name="idle", title='resident memory per idle connection, `on("data")`', unit="KiB", limit=1.18, load="idle --connections 5000"),
    Row(name="idle-await", title="resident memory per idle connection, with a task that reads", unit="KiB", limit=1.18,
        load="idle --connections 5000", server="--style await"),
]
# fmt: on


@dataclass(frozen=True)
class Cost:
    """What one operation cost the server: microseconds of CPU, or KiB for the rows of idle connections."""

    amount: float
    others: float  # cores that other programs used during the run


@dataclass(frozen=True)
class Result:
    """The rounds of one row, in pairs: reference and ours."""

    row: Row
    reference: list[Cost]
    ours: list[Cost]

    @property
    def ratios(self) -> list[float]:
        """Ours by the reference of the same round."""
        return [ours.amount / reference.amount for ours, reference in zip(self.ours, self.reference, strict=True)]

    @property
    def ratio(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.ratios)

    @property
    def is_over(self) -> bool:
        """Whether the table's figure, with two decimals, misses the goal."""
        return self.row.limit is not None and round(self.ratio, 2) > self.row.limit

    @property
    def others(self) -> float:
        """The load by other programs in the worst round."""
        return max(cost.others for cost in self.ours + self.reference)


def main() -> int:
    """Run the rows that were asked for, print each as it is done, and the table when it was asked for."""
    options = parse_options()
    build("reference", "load")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        make_certificates(Path(folder))
        print(f"{'row':24}{'C':>10}{'tlsio':>10}  {'ratio':>5} {'from-to':>11}  goal", flush=True)
        for row in options.rows:
            result = measure(row, options, Path(folder))
            print(line_of(result), flush=True)
            results.append(result)
    if options.markdown:
        print("\n" + markdown(results))
    if options.json:
        options.json.write_text(json.dumps([asdict(result) | {"ratio": result.ratio} for result in results], indent=1) + "\n")
    return 1 if options.check and any(result.is_over for result in results) else 0


def parse_options() -> argparse.Namespace:
    """Read the command line; `rows` and `cpus` of the answer are resolved."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", action="append", default=[], metavar="NAME", help="only this row, or those whose names begin so")
    parser.add_argument("--rounds", type=count, default=5, help="rounds of each row; a round restarts both servers (5)")
    parser.add_argument("--seconds", type=above_zero, default=2, help="measured part of a round, of each server (2)")
    parser.add_argument("--warm-up", type=from_zero, default=1, help="seconds before it (1)")
    parser.add_argument("--slices", type=count, default=5, help="parts of a round; the two servers take turns (5)")
    parser.add_argument("--cpus", type=cores, default="0,1", metavar="SERVER,LOAD", help="where each is pinned (0,1)")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop", help="our server's event loop (uvloop)")
    parser.add_argument("--check", action="store_true", help="exit status 1 when a row misses its goal")
    parser.add_argument("--markdown", action="store_true", help="print the results as a table of Markdown at the end")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round there")
    options = parser.parse_args()
    options.rows = choose_rows(parser, ROWS, options.row)
    need("taskset", *(["redis-server"] if any("redis" in row.server for row in options.rows) else []))
    need_loop(options.loop)
    return options


def build(*names: str) -> None:
    """Build C programs; the Makefile knows the OpenSSL that the extension is built with."""
    programs = [str((BUILT / name).relative_to(ROOT)) for name in names]
    subprocess.run(["make", "-s", "-C", str(ROOT), *programs], check=True)


def make_certificates(folder: Path) -> None:
    """Write certificates and keys with the names that the commands below use."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    import pki  # noqa: PLC0415 - takes `cryptography`, which --help can do without

    for name, who in {"ecdsa": pki.localhost(), "rsa": pki.localhost_rsa(), "client": pki.client()}.items():
        (folder / f"{name}.pem").write_bytes(who.chain_pem)
        (folder / f"{name}.key").write_bytes(who.key_pem)
    (folder / "ca.pem").write_bytes(pki.ca1().cert_pem)


def commands(row: Row, folder: Path, loop: str = "uvloop") -> tuple[list[str], list[str]]:
    """Return the commands of what a row is compared with, usually the C server, and of our server."""
    identity = ["--cert", str(folder / f"{row.certificate}.pem"), "--key", str(folder / f"{row.certificate}.key")]
    identity += ["--ca", str(folder / "ca.pem")] if row.mutual else []
    ours = [sys.executable, str(BENCH / "server.py"), "--port", "0", "--loop", loop]
    reference = [*ours, *row.against.split()] if row.against else [str(BUILT / "reference"), *row.reference.split()]
    return [*reference, *identity], [*ours, *row.server.split(), *identity]


def load_command(row: Row, folder: Path) -> list[str]:
    """Return the command of the load generator, to which the server is still to be added."""
    client = ["--cert", str(folder / "client.pem"), "--key", str(folder / "client.key")] if row.mutual else []
    return [str(BUILT / "load"), *shlex.split(row.load), *client]


def measure(row: Row, options: argparse.Namespace, folder: Path) -> Result:
    """Run the rounds of one row."""
    times = ["--seconds", str(options.seconds / options.slices), "--warm-up", str(options.warm_up / options.slices)]
    pinned_server, pinned_load = (["taskset", "--cpu-list", cpu] for cpu in options.cpus)
    servers = [[*pinned_server, *command] for command in commands(row, folder, options.loop)]
    load = [*pinned_load, *load_command(row, folder), *times]
    result = Result(row, [], [])
    for _ in range(options.rounds):
        for costs, cost in zip((result.reference, result.ours), run_round(row, servers, load, options.slices), strict=True):
            costs.append(cost)
    return result


def run_round(row: Row, servers: list[list[str]], load: list[str], slices: int) -> list[Cost]:
    """Start both servers and load them in turns; return what one operation cost each."""
    slices = 1 if row.unit == "KiB" else slices  # a second load would find the memory of the first
    costs: list[list[Cost]] = [[], []]
    with ExitStack() as stack:
        serving = [stack.enter_context(started(server)) for server in servers]
        ports = [ready_port(process) for process in serving]
        for turn in range(slices):
            for which in (0, 1) if turn % 2 else (1, 0):
                told = run_load([*load, "--server", str(serving[which].pid), "--port", ports[which]])
                costs[which].append(cost_of(row, told))
    return [Cost(statistics.median(cost.amount for cost in each), max(cost.others for cost in each)) for each in costs]


def ready_port(serving: subprocess.Popen[str]) -> str:
    """Return the port of a server that has started."""
    ready = serving.stdout.readline().split()
    if ready[:1] != ["READY"]:
        raise SystemExit(f"The server did not start: {shlex.join(serving.args)}")
    return ready[1]


def run_load(command: list[str]) -> dict[str, float]:
    """Run the load generator and return what it measured."""
    with started(command) as loading:
        answer, _ = loading.communicate(timeout=PATIENCE)
    if loading.returncode:
        raise SystemExit(f"The load generator failed: {shlex.join(command)}")
    return json.loads(answer)


def cost_of(row: Row, told: dict[str, float]) -> Cost:
    """Return the cost of one operation of a row."""
    others = told["others_cpu"] / told["seconds"]
    if row.unit == "KiB":
        return Cost(told["resident_kib"] / told["connections"], others)
    return Cost(told["server_cpu"] * 1e6 / (told["operations"] * row.operations_each), others)


@contextmanager
def started(command: list[str], nice: int = FAVOURED) -> Iterator[subprocess.Popen[str]]:
    """Run a command until the end of the block, with all that it starts; `taskset` becomes what it starts, so the process id is that one's."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            if os.geteuid() == 0:
                prioritise(process.pid, nice)
            yield process
        finally:
            with suppress(ProcessLookupError):  # it has already ended
                os.killpg(process.pid, signal.SIGKILL)  # the whole group, which includes the Redis of the server


def prioritise(pid: int, nice: int) -> None:
    """Set the priority of a process and, where the kernel schedules sessions as groups (autogroup), of its session."""
    os.setpriority(os.PRIO_PROCESS, pid, nice)
    group = Path(f"/proc/{pid}/autogroup")
    if group.exists():
        group.write_text(str(nice))


def line_of(result: Result) -> str:
    """Return one line for the terminal."""
    row, ratios = result.row, result.ratios
    spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
    limit = "" if row.limit is None else f"{row.limit:.2f}{' OVER' if result.is_over else ''}"
    crowd = f"  (others used up to {result.others:.0%} of a core)" if result.others > CROWDED else ""
    return f"{row.name:24}{median(result.reference):10.2f}{median(result.ours):10.2f}  {result.ratio:5.2f} {spread:>11}  {limit}{crowd}"


def median(costs: list[Cost]) -> float:
    """Return the middle amount."""
    return statistics.median(cost.amount for cost in costs)


def markdown(results: list[Result]) -> str:
    """Return a table with the command, the date and the machine above it."""
    command = shlex.join(["python", "bench/run.py", *sys.argv[1:]])
    lines = [
        f"`{command}`, {dt.datetime.now(tz=dt.UTC).date()}: {system()}",
        "",
        "| operation | C | tlsio | ratio | of all rounds | goal |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for result in results:
        row, ratios = result.row, result.ratios
        unit = "KiB" if row.unit == "KiB" else f"µs per {row.unit}"
        limit = "" if row.limit is None else f"{row.limit:.2f}{' **over**' if result.is_over else ''}"
        cells = [row.title, f"{median(result.reference):.2f} {unit}", f"{median(result.ours):.2f}", f"**{result.ratio:.2f}**"]
        lines.append(f"| {' | '.join([*cells, f'{min(ratios):.2f}-{max(ratios):.2f}', limit])} |")
    crowd = max(result.others for result in results)
    if crowd > CROWDED:
        lines += ["", f"The machine was not quiet: other programs used up to {crowd:.0%} of a core."]
    return "\n".join(lines)


def system() -> str:
    """Return distribution, OpenSSL, Python and processor in one line."""
    openssl = subprocess.run([BUILT / "reference", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in cpus if line.startswith("model name")]
    cpu = f"{os.cpu_count()} x {models[0] if models else platform.machine()}"
    return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {openssl}, Python {platform.python_version()}, {cpu}"


if __name__ == "__main__":
    finish(main)
