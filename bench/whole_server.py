"""Count what a whole server executes for one operation, ours and the C server's: instructions outside the kernel, and system calls.

    python bench/whole_server.py                        the rows of run.py that are handshakes or echoes, twenty minutes (Valgrind)
    python bench/whole_server.py --row echo --keep DIR  these, with Callgrind's profiles in DIR, for callgrind_annotate
    python bench/whole_server.py --calls                the system calls instead (strace)

After a warm-up, two runs of load.c with different numbers of operations are counted, and the difference is divided. Other than times, the
counts do not depend on what else the machine does: two results differ by less than 0.5 %. Under Callgrind a server is slower than its
clients, so more events come at a time than usual.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from command_line import choose_rows, finish, need, need_loop
from run import PATIENCE, ROWS, build, commands, load_command, make_certificates, ready_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from run import Row

HANDSHAKES, ECHOES = (32, 96), (1000, 3000)  # operations of the two runs
SELDOM = 0.005  # calls for each operation that are not printed


def main() -> None:
    """Print one line for each row."""
    options = read_options()
    build("reference", "load")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_certificates(folder)
        if not options.calls:
            print(f"{'instructions for one':24}{'C':>12}{'tlsio':>12}{'difference':>12}{'ratio':>8}")
        for row in options.rows:
            reference, ours = commands(row, folder, options.loop)
            if options.calls:
                print(f"{row.name}, C: {calls_each(row, reference, folder)}")
                print(f"{row.name}, tlsio: {calls_each(row, ours, folder)}", flush=True)
            else:
                lower, cost = (instructions_each(row, server, folder, options.keep or folder) for server in (reference, ours))
                print(f"{row.name:24}{lower:12,.0f}{cost:12,.0f}{cost - lower:12,.0f}{cost / lower:8.2f}", flush=True)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", action="append", default=[], metavar="NAME", help="only this row, or those whose names begin so")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop", help="our server's event loop (uvloop)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write the profiles there")
    parser.add_argument("--calls", action="store_true", help="count system calls")
    options = parser.parse_args()
    countable = [row for row in ROWS if row.load.split()[0] in {"handshake", "resume", "echo"} and not row.against]
    options.rows = choose_rows(parser, countable, options.row)
    need(*(["strace"] if options.calls else ["valgrind", "callgrind_control"]))
    need_loop(options.loop)
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    return options


def instructions_each(row: Row, server: list[str], folder: Path, keep: Path) -> float:
    """Return the instructions for one operation."""
    profile = keep / f"{row.name}-{Path(server[0]).name}.callgrind"
    few, many = times_of(row)
    with started(
        row, ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={profile}", *server], folder
    ) as one:
        one.run(few)
        control("--instr=on", one.process)
        one.run(few)
        control("--dump", one.process)
        one.run(many)
        control("--dump", one.process)
    counts = [total(profile.with_name(f"{profile.name}.{part}")) for part in (1, 2)]
    return (counts[1] - counts[0]) / (many - few)


def control(command: str, process: subprocess.Popen[str]) -> None:
    """Send a command to Callgrind; a dump sets the counts to zero."""
    subprocess.run(["callgrind_control", command, str(process.pid)], check=True, capture_output=True)


def total(profile: Path) -> int:
    """Return the instructions of a dump."""
    return int(re.findall(r"^(?:summary|totals): (\d+)", profile.read_text(encoding="utf-8"), re.MULTILINE)[-1])


def calls_each(row: Row, server: list[str], folder: Path) -> str:
    """Return the system calls for one operation, as text."""
    few, many = times_of(row)
    counts = {}
    for times in (few, many):
        with started(row, server, folder) as one:
            one.run(few)
            with traced(one.process, folder / "calls"):
                one.run(times)
                one.process.terminate()
        # % time, seconds, microseconds for each, calls, errors if any, name
        lines = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) .*?(\w+)$", (folder / "calls").read_text(encoding="utf-8"), re.MULTILINE)
        counts[times] = Counter({name: int(calls) for calls, name in lines if name != "total"})
    each = {name: (counts[many][name] - counts[few][name]) / (many - few) for name in counts[many]}
    return ", ".join(f"{name} {count:.2f}" for name, count in sorted(each.items(), key=lambda call: -call[1]) if count >= SELDOM)


def times_of(row: Row) -> tuple[int, int]:
    """Return the numbers of operations."""
    return ECHOES if row.load.startswith("echo") else HANDSHAKES


@contextmanager
def traced(process: subprocess.Popen[str], table: Path) -> Iterator[None]:
    """Count the calls of a process, which ends in the block."""
    strace = ["strace", "-c", "-f", "-o", str(table), "-p", str(process.pid)]
    with subprocess.Popen(strace, stderr=subprocess.PIPE, text=True) as tracing:
        if tracing.stderr is None or "attached" not in tracing.stderr.readline():
            raise SystemExit("strace could not be attached to the server")
        yield


@dataclass(frozen=True)
class Started:
    """A server, and the load for it."""

    process: subprocess.Popen[str]
    load: list[str]

    def run(self, times: int) -> None:
        """Make it do that many operations."""
        counted = ["--operations", str(times), "--seconds", str(PATIENCE), "--warm-up", "0"]
        subprocess.run([*self.load, *counted], check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE)


@contextmanager
def started(row: Row, server: list[str], folder: Path) -> Iterator[Started]:
    """Start a server, and end it after the block."""
    # The order of sets, and with it some work at random, depends on the hashes of strings.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    with subprocess.Popen(server, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True) as process:
        load = [*load_command(row, folder), "--server", str(process.pid), "--port", ready_port(process)]
        try:
            yield Started(process, load)
        finally:
            process.terminate()


if __name__ == "__main__":
    finish(main)
