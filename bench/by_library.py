"""Say where the CPU time of a row of run.py goes: microseconds for one operation, by library, in the C server and in ours (needs perf).

    python bench/by_library.py --row full-1.2 --row echo-64-over-1000

The rows are those of run.py that compare with the C server, except for memory. Server and load run on the cores 0 and 1. perf samples the CPU clock of each server 5,000 times a second while it is loaded, which adds some percent to both. OpenSSL is a part of
`reference` and of `_core` if it is linked statically, as with tools/openssl.sh, and otherwise two libraries of their own.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from command_line import above_zero, choose_rows, finish, need
from run import ROWS, build, commands, load_command, make_certificates, ready_port, run_load, started

if TYPE_CHECKING:
    from run import Row

SAMPLES = 5000  # a second
SETTLES = 1  # second, in which perf has started
LEAST = 0.1  # microseconds of a library that is printed


def main() -> None:
    """Print a table for each row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", action="append", required=True, metavar="NAME", help="this row, or those whose names begin so")
    parser.add_argument("--seconds", type=above_zero, default=4.0, help="measured part (4)")
    options = parser.parse_args()
    rows = choose_rows(parser, (row for row in ROWS if row.unit != "KiB" and not row.against), options.row)
    need("perf", "taskset")
    build("reference", "load")
    with tempfile.TemporaryDirectory() as folder:
        make_certificates(Path(folder))
        for row in rows:
            reference, ours = (sample(row, command, options.seconds, Path(folder)) for command in commands(row, Path(folder)))
            print(f"\n{row.name:40}{'C':>10}{'tlsio':>10}{'difference':>12}")
            for library in sorted(reference | ours, key=lambda name: reference[name] - ours[name]):
                if max(reference[library], ours[library]) >= LEAST:
                    print(f"{library:40}{reference[library]:10.1f}{ours[library]:10.1f}{ours[library] - reference[library]:+12.1f}")
            print(f"{'all':40}{reference.total():10.1f}{ours.total():10.1f}{ours.total() - reference.total():+12.1f}", flush=True)


def sample(row: Row, server: list[str], measured: float, folder: Path) -> Counter[str]:
    """Return microseconds for one unit of the row, by library."""
    samples = str(folder / "samples")
    with started(["taskset", "--cpu-list", "0", *server]) as serving:
        load = ["taskset", "--cpu-list", "1", *load_command(row, folder), "--seconds", str(measured)]
        load += ["--server", str(serving.pid), "--port", ready_port(serving)]
        record = ["perf", "record", "--quiet", "-F", str(SAMPLES), "-e", "cpu-clock", "-o", samples, "-p", str(serving.pid)]
        with subprocess.Popen(record, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as recording:
            time.sleep(SETTLES)
            told = run_load(load)
            recording.send_signal(signal.SIGINT)
    if not Path(samples).exists():
        raise SystemExit("perf may not sample: run it as root, or set kernel.perf_event_paranoid to 1 (sysctl)")
    report = ["perf", "report", "-i", samples, "--stdio", "--quiet", "--no-children", "--sort", "dso"]
    shares = re.findall(r"^ *([\d.]+)% +(\S+)", subprocess.run(report, check=True, capture_output=True, text=True).stdout, re.MULTILINE)
    cost = told["server_cpu"] * 1e6 / (told["operations"] * row.operations_each)
    return Counter({library: float(share) / 100 * cost for share, library in shares})


if __name__ == "__main__":
    finish(main)
