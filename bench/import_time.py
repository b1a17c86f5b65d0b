"""The CPU time of importing tlsio, over that of importing asyncio and ssl, without the interpreter's own start.

    python bench/import_time.py

Minimum of 15 interpreters for each line, run in turn, one core of a shared 2-core x86-64 virtual machine, Python 3.11:

    import asyncio, ssl                                         117.0 ms   1.00
    import tlsio                                                 71.5 ms   0.61
    import tlsio; tlsio.connect, tlsio.create_secure_context    289.3 ms   2.47
    from tlsio import *                                         376.0 ms   3.21

`import tlsio` loads the defaults only; the rest comes when its names are first used.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile

from command_line import finish

ROUNDS = 15
REFERENCE = "import asyncio, ssl"
CLIENT = "import tlsio; tlsio.connect, tlsio.create_secure_context"
STATEMENTS = ("import tlsio", CLIENT, "from tlsio import *")


def cpu_time(statement: str, cache: str) -> float:
    """Return the CPU seconds of an interpreter that runs the statement, with its bytecode in `cache`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment, start_new_session=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    statements = ("pass", REFERENCE, *STATEMENTS)
    with tempfile.TemporaryDirectory() as cache:
        rounds = [{one: cpu_time(one, cache) for one in statements} for _ in range(ROUNDS)]
    start, *times = (min(one[statement] for one in rounds) for statement in statements)
    for statement, seconds in zip(statements[1:], times, strict=True):
        print(f"{statement:58} {(seconds - start) * 1000:6.1f} ms {(seconds - start) / (times[0] - start):6.2f}")


if __name__ == "__main__":
    finish(main)
