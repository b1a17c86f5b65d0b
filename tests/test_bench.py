"""The benchmark itself: its programs build and talk to each other, its limits are drawn where the table says, its counts add up."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

BENCH = Path(__file__).parent.parent / "bench"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Return a function that imports a script of bench/ by its name."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.mark.parametrize(("ours", "over"), [(125.4, False), (125.6, True)])
def test_limit_is_judged_by_the_digits_that_are_shown(load: Callable[[str], ModuleType], ours: float, over: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """1.254 is shown as 1.25 and is within a limit of 1.25."""
    run = load("run")
    row = run.Row(name="echo", title="echo", load="echo", limit=1.25)
    assert run.Result(row, [run.Cost(100, 0)], [run.Cost(ours, 0)]).is_over == over


def test_ratio_compares_servers_of_the_same_round(load: Callable[[str], ModuleType]) -> None:
    """A slow round of both servers leaves the ratio as it was."""
    run = load("run")
    row = run.Row(name="echo", title="echo", load="echo")
    result = run.Result(row, [run.Cost(10, 0), run.Cost(30, 0), run.Cost(10, 0)], [run.Cost(11, 0), run.Cost(33, 0), run.Cost(12, 0)])
    assert result.ratio == pytest.approx(1.1)


def test_instructions_inside_a_call_are_counted_once(load: Callable[[str], ModuleType]) -> None:
    """Callgrind repeats the cost of a called function in the caller's lines."""
    program = load("instructions").PROGRAM
    profile = f"ob=(1) {program}\nfn=(1) a\n10 5\ncob=(2) /lib/libssl.so.3\ncalls=1 20\n12 700\n+1 6\n\nob=(2)\nfn=(2) b\n20 700\n"
    assert load("instructions").by_place(profile) == {"engine": 11, "libssl": 700}


@pytest.mark.slow
@pytest.mark.parametrize("row", ["mutual-1.3", "resume-1.2", "stored-1.2", "redis-1.3", "echo-64-over-64-await", "download-16m-over-64"])
def test_a_row_is_measured(row: str, tmp_path: Path) -> None:
    """Both servers are built, started and loaded, and a ratio comes out."""
    cpu = max(os.sched_getaffinity(0))
    short = ["--rounds", "1", "--seconds", "0.1", "--warm-up", "0.1", "--cpus", f"{cpu},{cpu}", "--json", tmp_path / "out.json"]
    run = subprocess.run([sys.executable, BENCH / "run.py", "--row", row, *short], check=True, capture_output=True, text=True)
    assert run.stdout.splitlines()[-1].startswith(row)
    assert run.stderr == ""
