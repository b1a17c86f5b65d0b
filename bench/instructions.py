"""Count the instructions of a server's engine for one handshake and one echo. The load of the machine does not affect them.

    make instructions
    python bench/instructions.py        the same, in an environment that is set up

Callgrind runs bench/engine_count.c, the engine over memory, once with one operation and once with some more. The difference divided by
their number is the count for one operation, without one-time work. The counts of the engine and of libssl are exact. libcrypto's
depend slightly on random numbers, and on the processor that Valgrind emulates, which lacks newer vector instructions.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from command_line import finish, need
from run import BUILT, build

PROGRAM = BUILT.resolve() / "engine_count"
CASES = {
    "handshake, TLS 1.3": ["handshake", "1.3"],
    "handshake, TLS 1.2": ["handshake", "1.2"],
    "by ticket, TLS 1.3": ["resume", "1.3"],
    "by ticket, TLS 1.2": ["resume", "1.2"],
    "echo of 64 B": ["echo", "64"],
    "echo of 16 KiB": ["echo", "16384"],
}
MORE = 20
LIBRARIES = ("libssl", "libcrypto")


def main() -> None:
    """Print one line for each case."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    need("valgrind")
    build(PROGRAM.name)
    print(f"{'instructions for one':22}{'engine':>12}{'libssl':>12}{'libcrypto':>12}{'libc':>12}{'all':>12}")
    for title, case in CASES.items():
        more, one = count(case, MORE + 1), count(case, 1)
        each = {place: (more[place] - one[place]) / MORE for place in more}
        figures = [*(each.get(place, 0) for place in ("engine", *LIBRARIES, "libc")), sum(each.values())]
        print(f"{title:22}" + "".join(f"{figure:12,.0f}" for figure in figures), flush=True)


def count(case: list[str], times: int) -> Counter[str]:
    """Run the program under Callgrind and return its instructions by place, those below its counted_...() functions only."""
    with tempfile.NamedTemporaryFile() as output:
        valgrind = ["valgrind", "-q", "--tool=callgrind", "--toggle-collect=counted_*", f"--callgrind-out-file={output.name}"]
        subprocess.run([*valgrind, PROGRAM, *case, str(times)], check=True)
        return by_place(Path(output.name).read_text(encoding="utf-8"))


def by_place(profile: str) -> Counter[str]:
    """Add up the self costs of Callgrind's format: object names are given once and numbered; the line of a call repeats the costs inside it."""
    names: dict[str, str] = {}
    found: Counter[str] = Counter()
    place, is_call = "", False
    for line in profile.splitlines():
        if named := re.match(r"ob=(\(\d+\))(?: (.+))?", line):
            number, name = named.groups()
            place = names.setdefault(number, place_of(name or ""))
        elif named := re.match(r"cob=(\(\d+\)) (.+)", line):
            names.setdefault(named[1], place_of(named[2]))
        elif line.startswith("calls="):
            is_call = True
        elif cost := re.match(r"[+\-*\d]\S* (\d+)$", line):
            found[place] += 0 if is_call else int(cost[1])
            is_call = False
    return found


def place_of(path: str) -> str:
    """Return the column of an object file."""
    if Path(path) == PROGRAM:
        return "engine"
    return next((library for library in LIBRARIES if library in path), "libc")


if __name__ == "__main__":
    finish(main)
