"""The end of a process whose application has threads that block."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from served import PATIENCE, environment

if TYPE_CHECKING:
    from pathlib import Path

# Leaves a thread behind, and reports when the process begins to wait for it.
SCRIPT = """
import asyncio, signal, sys, threading, time
import uvloop
from tlsio.https.process import ending

seconds, kind, loop, limit = float(sys.argv[1]), *sys.argv[2:]

class Loop(uvloop.Loop if loop == "uvloop" else asyncio.SelectorEventLoop):
    async def shutdown_default_executor(self, *limits):
        closing.set()
        print("closing", flush=True)
        await super().shutdown_default_executor(*limits)

def block():
    if seconds < 0:  # a signal that this thread receives, when the main one waits
        closing.wait()
        time.sleep(0.3)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    time.sleep(abs(seconds))

closing = threading.Event()

async def main():
    if kind == "executor":
        asyncio.get_running_loop().run_in_executor(None, block)
    else:
        threading.Thread(target=block).start()
    return 7

ending._LINGER = float(limit)
code = ending.run_to_end(main(), Loop, None if float(limit) == 0 else 0.1)
print("returned", flush=True)
sys.exit(code)
"""
KINDS = [pytest.mark.parametrize("kind", ["executor", "thread"]), pytest.mark.parametrize("loop", ["asyncio", "uvloop"])]
pytestmark = [pytest.mark.slow, *KINDS]


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start the script, and wait until it waits."""
    command = [sys.executable, "-c", SCRIPT, *words]
    process = subprocess.Popen(command, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "closing\n"
    return process


def test_a_thread_that_ends(tmp_path: Path, kind: str, loop: str) -> None:
    """It is waited for, whether there is a limit or not."""
    for limit in ("0", "100"):
        with start(tmp_path, "0.2", kind, loop, limit) as process:
            assert process.communicate(timeout=PATIENCE) == ("returned\n", "")
            assert process.returncode == 7


def test_a_thread_that_blocks(tmp_path: Path, kind: str, loop: str) -> None:
    """The process ends without it, with its code."""
    with start(tmp_path, "1000", kind, loop, "0.1") as process:
        assert process.communicate(timeout=PATIENCE) == ("", "The process ends, although threads of the application still run\n")
        assert process.returncode == 7


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("limit", ["0", "100"])
def test_a_signal_while_it_blocks(tmp_path: Path, kind: str, loop: str, number: int, limit: str) -> None:
    """The process ends at once, and its code says that something was cut off."""
    with start(tmp_path, "1000", kind, loop, limit) as process:
        process.send_signal(number)
        assert process.communicate(timeout=PATIENCE)[0] == ""
        assert process.returncode == 1


def test_a_signal_that_another_thread_receives(tmp_path: Path, kind: str, loop: str) -> None:
    """The main thread, which would handle it, is not woken."""
    with start(tmp_path, "-1000", kind, loop, "100") as process:
        assert process.communicate(timeout=PATIENCE)[0] == ""
        assert process.returncode == 1
