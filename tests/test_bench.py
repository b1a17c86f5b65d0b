"""The benchmark and the soak themselves: their programs talk to each other, their limits are drawn where they say, their counts add up."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from served import eventually, is_alive

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

BENCH = Path(__file__).parent.parent / "bench"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Return a function that imports a script of bench/ by its name, with its neighbours."""
    monkeypatch.syspath_prepend(str(BENCH))

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


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("count", "0", "must be a whole number from 1, got '0'"),
        ("count", "2.5", "must be a whole number from 1, got '2.5'"),
        ("above_zero", "0.0", "must be a number above 0, got '0.0'"),
        ("above_zero", "nan", "must be a number above 0, got 'nan'"),
        ("from_zero", "-1", "must be a number above 0, got '-1'"),
        ("threads", "257", "must be from 0 to 256, or auto, got '257'"),
        ("cores", "0", "must be SERVER,LOAD, such as 0,1 or 0-1,1, got '0'"),
        ("cores", "99999,99999", "there is no core 99999 here"),
    ],
)
def test_wrong_values_of_options(load: Callable[[str], ModuleType], kind: str, text: str, message: str) -> None:
    """They are refused before anything is built or started."""
    with pytest.raises(argparse.ArgumentTypeError, match=re.escape(message)):
        getattr(load("command_line"), kind)(text)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [("count", "1", 1), ("above_zero", ".3", 0.3), ("from_zero", "0", 0.0), ("threads", "auto", "auto"), ("threads", "256", "256")],
)
def test_values_of_options(load: Callable[[str], ModuleType], kind: str, text: str, value: object) -> None:
    """The least, and words."""
    assert getattr(load("command_line"), kind)(text) == value


def test_a_row_is_chosen_by_its_name_or_its_beginning(load: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    """A name that another one begins with is that row alone."""
    run, choose = load("run"), load("command_line").choose_rows

    def names(*given: str) -> list[str]:
        return [row.name for row in choose(argparse.ArgumentParser(), run.ROWS, list(given))]

    assert names("echo-64-over-1") == ["echo-64-over-1"]
    assert names("upload", "idle") == ["upload-1g", "idle"]
    assert names("redis") == ["redis-1.3", "redis-1.2"]
    assert len(names()) == len(run.ROWS)
    with pytest.raises(SystemExit):
        names("idle", "idel")
    assert "no such row: idel; there are full-1.3-ecdsa" in capsys.readouterr().err


def test_a_missing_program_is_named(load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the package that has it; either of two servers will do as Redis."""
    need = load("command_line").need
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"^h2load is missing: apt install nghttp2-client$"):
        need("h2load")
    with pytest.raises(SystemExit, match=r"^redis-server is missing: apt install redis-server$"):
        need("redis-server")
    (tmp_path / "valkey-server").touch(0o755)
    need("redis-server")


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    ["run", "storm", "whole_server", "by_library", "https", "acme", "instructions", "redis_store", "store_memory", "context_cost", "import_time",
     "http2_alone", "asyncio_transport", "soak"],
)  # fmt: skip
def test_help_shows_how_to_call_it(script: str) -> None:
    """And measures nothing."""
    path = BENCH / script
    run = subprocess.run([sys.executable, path if path.is_dir() else f"{path}.py", "--help"], check=True, capture_output=True, text=True)
    assert f"    python bench/{script}" in run.stdout
    assert run.stderr == ""


@pytest.mark.slow
def test_interrupted_run_leaves_nothing() -> None:
    """One line, the exit status of shells, and no server."""
    command = [sys.executable, BENCH / "storm.py", "--only", "C", "--seconds", "60"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as running:
        while not find_children(running.pid, "load"):  # the one after the server, which the script surely knows by now
            time.sleep(0.05)
        servers = find_children(running.pid, "reference")
        running.send_signal(signal.SIGINT)
        assert running.stderr is not None
        assert running.stderr.read().endswith("Interrupted\n")
    assert running.returncode == 130
    assert servers
    eventually(lambda: not any(map(is_alive, servers)), "the end of the servers")


def find_children(process: int, program: str) -> list[int]:
    """Return the children of a process that run a program of bench/."""
    found = []
    for one in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError):  # it has ended
            if program in [Path(word).name for word in Path(f"/proc/{one}/cmdline").read_text().split("\0")]:
                found.append(int(one))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("row", ["mutual-1.3", "resume-1.2", "stored-1.2", "redis-1.3", "echo-64-over-64-await", "download-16m-over-64"])
def test_a_row_is_measured(row: str, tmp_path: Path) -> None:
    """Both servers are built, started and loaded, and a ratio comes out."""
    cpu = max(os.sched_getaffinity(0))
    short = ["--rounds", "1", "--seconds", "0.1", "--warm-up", "0.1", "--cpus", f"{cpu},{cpu}", "--json", tmp_path / "out.json"]
    run = subprocess.run([sys.executable, BENCH / "run.py", "--row", row, *short], check=True, capture_output=True, text=True)
    assert run.stdout.splitlines()[-1].startswith(row)
    assert run.stderr == ""


class TestStorm:
    """Echoes while strangers handshake: the goal, and a short run."""

    @pytest.fixture
    def storm(self, load: Callable[[str], ModuleType]) -> ModuleType:
        """Return the script."""
        return load("storm")

    @pytest.mark.parametrize(
        ("calm", "in_storm", "reached"),
        [(0.4, 3.004, True), (0.4, 3.006, False), (4.0, 6.0, True), (4.0, 6.01, False)],
        ids=["3 ms", "more than 3 ms", "half more than calm", "more than half more"],
    )
    def test_goal_is_the_larger_of_two(self, storm: ModuleType, calm: float, in_storm: float, reached: bool) -> None:  # noqa: FBT001
        """3 ms, or 1.5 times the calm of the same server, by the digits that are shown."""
        found = storm.Round(calm_p50=0.1, calm_p99=calm, storm_p50=0.2, storm_p99=in_storm, rate=1000, cost=500, others=0)
        assert storm.reaches_goal([found]) == reached

    def test_ratio_compares_servers_of_the_same_round(self, storm: ModuleType) -> None:
        """Without the C server there is none."""
        fast, slow = (storm.Round(0.1, 0.4, 0.2, p99, 1000, 500, 0) for p99 in (2.0, 8.0))
        found = {"C": [fast, slow], "tlsio": [fast, slow]}
        assert storm.ratio(found, "tlsio", lambda one: one.storm_p99) == "1.00"
        assert storm.ratio({"tlsio": [fast]}, "tlsio", lambda one: one.storm_p99) == ""

    @pytest.mark.slow
    def test_quick_run_ends(self) -> None:
        """Every server is started, probed and stormed."""
        cpu = max(os.sched_getaffinity(0))
        command = [sys.executable, BENCH / "storm.py", "--quick", "--cpus", f"{cpu},{cpu}"]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        rows = [line.split(" | ")[0] for line in run.stdout.splitlines() if line.startswith("| ")]
        assert {"| C", "| uvloop, Python's ssl", "| asyncio, Python's ssl"} < set(rows)
        assert any(row.startswith("| Node v24") for row in rows)
        assert sum(row.startswith("| tlsio, ") for row in rows) >= 2


def by_state(sample: dict[str, Any]) -> Counter[str]:
    """Return the numbers of sockets in a sample of the soak."""
    return Counter({state: int(count) for state, count in (one.split("=") for one in sample["states"].split())})


class TestSoak:
    """The verdict on an hour of load, and a short run."""

    @pytest.fixture
    def verdict(self, load: Callable[[str], ModuleType]) -> ModuleType:
        """Return the module with the rules."""
        return load("soak/verdict")

    def hour(self, verdict: ModuleType, cycles: int = 60, served: float = 3.0, **quantities: Callable[[float], Any]) -> list[Any]:
        """Make the samples of a run, quiet but for what is given as functions of the thousands of connections served."""
        none = dict.fromkeys(("connections", "tasks", "sockets", "natives", "held", "redis_sockets"), 0)
        flat = {"resident": 60_000.0, "heap": 20_000.0, "blocks": 150_000, "descriptors": 13, "contexts": 19}
        rest = {"held_cpu": 0.001, "idle_cpu": 0.001, "running": "", "states": "", "process": "server"}
        return [
            verdict.Sample(
                **{**none, **flat, **rest, **{name: of(cycle * served) for name, of in quantities.items()}},
                cycle=cycle,
                minutes=float(cycle),
                served=cycle * served,
            )
            for cycle in range(1, cycles + 1)
        ]

    @pytest.mark.parametrize("served", [0.2, 3.0, 50.0], ids=["slow", "usual", "quick"])
    @pytest.mark.parametrize(("slope", "passes"), [(0.0, True), (1.9, True), (2.1, False)])
    def test_memory_is_judged_by_connections(self, verdict: ModuleType, served: float, slope: float, passes: bool) -> None:  # noqa: FBT001
        """Whatever the machine's speed, 2 KiB from malloc for each 1,000 is the limit."""
        samples = self.hour(verdict, served=served, heap=lambda thousands: 20_000 + slope * thousands)
        growth = [one for one in verdict.judge(samples) if "kept growing" in one]
        assert bool(growth) != passes

    @pytest.mark.parametrize(("quantity", "noise"), [("heap", 10), ("resident", 2_000), ("blocks", 100)])
    @pytest.mark.parametrize(("leak", "passes"), [(0.0, True), (0.2, False)])
    def test_leak_shows_in_noise(self, verdict: ModuleType, quantity: str, noise: float, leak: float, passes: bool) -> None:  # noqa: FBT001
        """From malloc 32 bytes on every tenth connection, a resident KiB or an object on every fifth."""
        leaks = {"heap": leak * 16, "resident": leak * 1_000, "blocks": leak * 1_000}
        for seed in range(20):
            rng = random.Random(seed)  # noqa: S311 - test data
            grows = {quantity: lambda n, rng=rng: 60_000 + leaks[quantity] * n + rng.uniform(-noise, noise)}
            assert (verdict.judge(self.hour(verdict, **grows)) == []) == passes, f"seed {seed}"

    @pytest.mark.parametrize("at", [3, 30, 60, 90, 120, 150, 177])
    def test_one_jump_passes(self, verdict: ModuleType, at: int) -> None:
        """A cache that was filled, a buffer that has grown: it does not go on."""
        assert verdict.judge(self.hour(verdict, resident=lambda thousands: 60_000 + 5_000 * (thousands >= at))) == []

    def test_growth_that_levels_off_passes(self, verdict: ModuleType) -> None:
        """Memory that finds its size in the first half."""
        assert verdict.judge(self.hour(verdict, resident=lambda thousands: 60_000 + 50 * min(thousands, 90))) == []

    def test_jump_has_a_limit(self, verdict: ModuleType) -> None:
        """What grows by more than a half is no cache."""
        [wrong] = verdict.judge(self.hour(verdict, heap=lambda thousands: 20_000 + 11_000 * (thousands > 90)))
        assert "memory from malloc went from 20,000 to 31,000 KiB" in wrong

    @pytest.mark.parametrize("quantity", ["connections", "sockets", "natives", "descriptors", "tasks"])
    def test_leftovers_fail(self, verdict: ModuleType, quantity: str) -> None:
        """One more, once."""
        usual = getattr(self.hour(verdict, cycles=1)[0], quantity)
        [wrong] = verdict.judge(self.hour(verdict, **{quantity: lambda thousands: usual + (thousands == 60)}))
        assert wrong.startswith(f"server, cycle 20: {usual + 1} ")

    def test_task_that_is_left_is_described(self, verdict: ModuleType) -> None:
        """Its number alone does not lead to it."""
        tasks = {"tasks": lambda _thousands: 1, "running": lambda _thousands: "Task-1, serve at server.py:7 in echo"}
        [wrong] = verdict.judge(self.hour(verdict, cycles=1, **tasks))
        assert wrong == "server, cycle 1: 1 tasks were left: Task-1, serve at server.py:7 in echo"

    async def test_sample_counts_the_sockets_of_its_process(self, load: Callable[[str], ModuleType]) -> None:
        """A duplicate is the same socket; those that lead to Redis are not among the descriptors."""
        probe = load("soak/probe")
        before = await probe.take_sample()
        with socket.create_server(("127.0.0.1", 0)) as listening, contextlib.ExitStack() as kept:
            kept.enter_context(listening.dup())
            port = listening.getsockname()[1]
            clients = [kept.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(3)]
            accepted = [kept.enter_context(listening.accept()[0]) for _ in clients]
            accepted[0].shutdown(socket.SHUT_WR)
            seen = await probe.take_sample(redis_port=port)
        assert by_state(seen) - by_state(before) == {"listen": 1, "established": 2, "fin-wait-2": 1}
        assert seen["redis_sockets"] == 3
        assert seen["descriptors"] - before["descriptors"] == 5  # the listener, its duplicate, and what it accepted

    async def test_sample_waits_for_a_task_that_ends(self, load: Callable[[str], ModuleType]) -> None:
        """So a refresh of ticket keys does not fail a soak."""
        task = asyncio.create_task(asyncio.sleep(0.05))
        seen = await load("soak/probe").take_sample()
        assert (seen["tasks"], seen["running"]) == (0, "")
        assert task.done()

    async def test_sample_shows_where_a_task_waits(self, load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
        """Line by line, after a while in which it has not ended."""
        probe = load("soak/probe")
        monkeypatch.setattr(probe, "_PASSING", 0.05)

        async def inner() -> None:
            await asyncio.Event().wait()

        async def outer() -> None:
            await inner()

        task = asyncio.create_task(outer(), name="a task")
        seen = await probe.take_sample()
        task.cancel()
        assert seen["tasks"] == 1
        places = re.sub(r":\d+", "", seen["running"])
        assert places == f"a task ({outer.__qualname__}, test_bench.py > {inner.__qualname__}, test_bench.py > Event.wait, locks.py)"

    @pytest.mark.parametrize("quantity", ["idle_cpu", "held_cpu"])
    @pytest.mark.parametrize(("used", "passes"), [(0.02, True), (0.021, False)])
    def test_cpu_time_of_a_quiet_process_has_a_limit(self, verdict: ModuleType, quantity: str, used: float, passes: bool) -> None:  # noqa: FBT001
        """In each cycle, with silent connections and without."""
        samples = self.hour(verdict, **{quantity: lambda thousands: used if thousands == 60 else 0.0})
        assert (verdict.judge(samples) == []) == passes

    def test_short_run_does_not_judge_memory(self, verdict: ModuleType) -> None:
        """It has to say so; all else is judged."""
        short = self.hour(verdict, cycles=13, resident=lambda thousands: 60_000 + 1_000 * thousands)
        assert not verdict.can_judge_memory(short)
        assert verdict.judge(short) == []
        assert verdict.can_judge_memory(self.hour(verdict, cycles=14))
        assert not verdict.can_judge_memory(self.hour(verdict, served=0.16))

    def test_picture_has_a_line_for_each_process(self, verdict: ModuleType, load: Callable[[str], ModuleType]) -> None:
        """In every panel, whatever the title says."""
        samples = [*self.hour(verdict), *self.hour(verdict, process=lambda _thousands: "clients")]
        picture = load("soak/picture")
        drawn = ET.fromstring(picture.draw(samples, "5 < 6 & 7"))  # noqa: S314 - our own
        lines = Counter(one.get("stroke") for one in drawn.iter("{http://www.w3.org/2000/svg}polyline"))
        assert lines == dict.fromkeys(picture.COLOURS[:2], len(picture.PANELS))

    @pytest.mark.parametrize(("value", "end"), [(13, 16), (68.4, 80), (100, 100), (1.1, 1.2), (0, 0.004)])
    def test_axis_ends_at_a_round_number(self, load: Callable[[str], ModuleType], value: float, end: float) -> None:
        """So do its quarters."""
        assert load("soak/picture").round_up(value) == pytest.approx(end)

    @pytest.mark.slow
    def test_short_run_passes(self, tmp_path: Path) -> None:
        """A server with its clients, a Redis that is restarted, samples, picture and verdict."""
        short = ["--minutes", "0.1", "--workers", "4", "--hold", "8", "--out", tmp_path]
        run = subprocess.run([sys.executable, BENCH / "soak", *short], capture_output=True, text=True, check=False)
        assert (run.returncode, run.stderr) == (0, ""), run.stdout
        assert run.stdout.endswith("passed\n")
        assert {one.name for one in tmp_path.iterdir()} == {"samples.csv", "soak.svg"}
