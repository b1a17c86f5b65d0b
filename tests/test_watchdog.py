"""A test that hangs ends its process, with its stacks, whatever holds it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import watchdog

SUPPORT = Path(__file__).parent / "support"
CONFTEST = """
from watchdog import Watchdog

def pytest_configure(config):
    config.addinivalue_line("markers", "slow: has a longer limit")
    config.pluginmanager.register(Watchdog({limit}, {slow_limit}))
"""
# What no signal handler and no other thread of Python can end: the first holds the interpreter's lock.
HELD = "ctypes.PyDLL(None).pause()"
LOST = "threading.Event().wait()"


def run_pytest(folder: Path, text: str, *arguments: str, limit: float = 1, slow_limit: float = 60) -> subprocess.CompletedProcess[str]:
    """Run pytest with the watchdog on tests of this text, in a process of its own."""
    folder.joinpath("conftest.py").write_text(CONFTEST.format(limit=limit, slow_limit=slow_limit))
    folder.joinpath("test_it.py").write_text(f"import ctypes, threading, time, pytest\n{text}")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", f"pythonpath={SUPPORT}", *arguments, str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("hang", [HELD, LOST])
@pytest.mark.parametrize(
    "text",
    [
        "def test_it(): {hang}",
        "@pytest.fixture\ndef start(): {hang}\ndef test_it(start): pass",
        "@pytest.fixture\ndef end():\n    yield\n    {hang}\ndef test_it(end): pass",
        "@pytest.fixture\ndef end():\n    yield\n    {hang}\ndef test_it(end): assert False",
    ],
)
def test_hang_ends_the_process_and_shows_where(tmp_path: Path, text: str, hang: str) -> None:
    """In a test, its set-up or its tear-down, also behind a failure."""
    ended = run_pytest(tmp_path, text.format(hang=hang))
    assert ended.returncode == 1
    assert "Timeout (0:00:01" in ended.stderr
    assert 'test_it.py", line' in ended.stderr


@pytest.mark.slow
def test_thread_that_never_ends_does_not_keep_the_process(tmp_path: Path) -> None:
    """The interpreter joins it at its end, behind the last test."""
    ended = run_pytest(tmp_path, f"def test_it(): threading.Thread(target=lambda: {LOST}).start()")
    assert "1 passed" in ended.stdout
    assert ended.returncode == 1
    assert 'test_it.py", line' in ended.stderr


@pytest.mark.slow
def test_other_tests_go_on_behind_one_that_hangs(tmp_path: Path) -> None:
    """Under xdist, which tells the one that hung."""
    ended = run_pytest(tmp_path, f"def test_hangs(): {HELD}\ndef test_goes_on(): pass", "-n", "1")
    assert "1 failed, 1 passed" in ended.stdout
    assert "crashed while running 'test_it.py::test_hangs'" in ended.stdout


@pytest.mark.slow
def test_worker_waits_for_the_others_as_long_as_they_take(tmp_path: Path) -> None:
    """It has nothing more to do, and no limit."""
    ended = run_pytest(tmp_path, "def test_quick(): pass\n@pytest.mark.slow\ndef test_slow(): time.sleep(8)", "-n", "2", limit=4)
    assert "2 passed" in ended.stdout
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.slow
def test_slow_tests_have_a_longer_limit(tmp_path: Path) -> None:
    """They are marked."""
    ended = run_pytest(tmp_path, "@pytest.mark.slow\ndef test_slow(): time.sleep(3)", limit=2)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.slow
def test_child_that_hangs_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nobody waits for it for ever."""
    monkeypatch.setattr(watchdog, "CHILD_LIFE", 1)
    child = watchdog.fork()
    if child == 0:
        ctypes.PyDLL(None).pause()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGALRM
