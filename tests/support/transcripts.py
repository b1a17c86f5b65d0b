"""Runs transcripts: text files with command lines, what they print, and how they end.

    # A comment: what the next lines show.
    $ tlsio key server.key                    a command line; a last `&` runs it in the background
    > text                                    a line of its standard input
    server.key: private key EC P-256          a line of its standard output
    ! Error: ...                              a line of its standard error
    [2]                                       its exit code, if that is not 0

In a line, `[..]` stands for any text; a line `...` (or `! ...`) stands for any number of lines. `$ stop` interrupts the last background
command as Ctrl-C does, and shows the rest of what it printed; `$ wait` waits for its end. `$NAME` and `${NAME}` are variables of the environment: PORT is a free port.

`tlsio` is a process of its own, forked from one that has imported everything; other commands are run by sh.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from multiprocessing.context import ForkServerProcess
    from typing import Self

__all__ = ["Shell", "Step", "environment", "parse", "play"]

_PATIENCE = 60.0
_MODULES = ("acme", "bench", "connect", "convert", "dev", "doctor", "inspect", "listen", "make", "proxy", "serve", "verify")


@dataclass
class Step:
    """A command line, and what is expected of it."""

    line: int
    command: str
    stdin: list[str] = field(default_factory=list)
    stdout: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)
    code: int = 0


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of a user whose home is in a folder, with `tlsio` for the lines that a shell runs."""
    programs = folder / "programs"
    programs.mkdir()
    program = programs / "tlsio"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tlsio "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    kept = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    return {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder / "home"),
        "LANG": "C.UTF-8",
        **kept,
    }


def parse(text: str) -> Iterator[Step]:
    """Yield the steps of a transcript."""
    step: Step | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("$ "):
            if step is not None:
                yield step
            step = Step(number, line[2:])
        elif line.startswith("#") or (step is None and not line):
            continue
        elif step is not None:
            _add(step, line)
    if step is not None:
        yield step


def _add(step: Step, line: str) -> None:
    if found := re.fullmatch(r"\[(\d+)\]", line):
        step.code = int(found[1])
    elif line.startswith("> "):
        step.stdin.append(line[2:])
    elif line == "!" or line.startswith("! "):
        step.stderr.append(line[2:])
    elif line:
        step.stdout.append(line)


def play(text: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Run a transcript in a folder; fail at the first line that differs."""
    running: list[_Running] = []
    try:
        for step in parse(text):
            _play_one(step, folder, dict(environment), running)
    finally:
        for one in running:
            one.end()


class Shell:
    """Runs the command lines of a document; a context manager, which ends what runs in the background."""

    def __init__(self, port: int, folder: Path, environment: Mapping[str, str]) -> None:
        self._port = port
        self._folder = folder
        self._environment = dict(environment)
        self._running: list[_Running] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._running:
            one.end()

    def run(self, lines: list[str]) -> str:
        """Run command lines, each of which must succeed, and return their output.

        A line that ends with `&` runs in the background; the next one waits until it listens on the port.
        """
        shown: list[str] = []
        for line in lines:
            started = _Running(line.removesuffix(" &"), "", self._folder, self._environment)
            self._running.append(started)
            if line.endswith(" &"):
                _wait_for_port(self._port)
            else:
                shown += started.finish(line)
        return "\n".join(shown)


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on port {port}")


def _play_one(step: Step, folder: Path, environment: dict[str, str], running: list[_Running]) -> None:
    if step.command in {"stop", "wait"}:
        one = running.pop()
        if step.command == "stop":
            one.interrupt()
        one.expect(step, is_whole=True)
        return
    words = Template(step.command).safe_substitute(environment)
    is_background = words.endswith(" &")
    started = _Running(words.removesuffix(" &"), "".join(f"{line}\n" for line in step.stdin), folder, environment)
    if is_background:
        running.append(started)
    started.expect(step, is_whole=not is_background)


class _Running:
    """A command that was started; its output goes to files."""

    _count = 0

    def __init__(self, command: str, stdin: str, folder: Path, environment: dict[str, str]) -> None:
        _Running._count += 1
        self._files = [folder.parent / f"{folder.name}-{_Running._count}-{name}" for name in ("in", "out", "err")]
        for one, content in zip(self._files, (stdin, "", ""), strict=True):
            one.write_text(content)
        words = shlex.split(command)
        self._shell: subprocess.Popen[bytes] | None = None
        self._tlsio: ForkServerProcess | None = None
        if words[0] == "tlsio" and not {"|", "<", ">", ">>", "&&", ";"} & set(words) and "$(" not in command:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([f"tlsio.cli.{name}" for name in _MODULES])
            self._tlsio = context.Process(target=_run_tlsio, args=(words[1:], str(folder), environment, [str(one) for one in self._files]))
            self._tlsio.start()
        else:
            streams = [one.open(mode) for one, mode in zip(self._files, ("rb", "wb", "wb"), strict=True)]
            self._shell = subprocess.Popen(["sh", "-c", command], cwd=folder, env=environment, **dict(zip(("stdin", "stdout", "stderr"), streams, strict=True)))  # fmt: skip
            for stream in streams:
                stream.close()
        self._shown = [0, 0]

    def expect(self, step: Step, *, is_whole: bool) -> None:
        """Compare the output since the last comparison, and, of a whole command, the exit code."""
        expected = step.stdout, step.stderr
        code = self._wait() if is_whole else None
        deadline = time.monotonic() + _PATIENCE
        while True:
            found = self._read()
            fits = all(_fits(lines, pattern) for lines, pattern in zip(found, expected, strict=True))
            if fits or is_whole or time.monotonic() > deadline or not self._is_alive():
                break
            time.sleep(0.01)
        self._shown = [shown + len(lines) for shown, lines in zip(self._shown, found, strict=True)]
        is_good = fits and code in {None, step.code}
        assert is_good, f"line {step.line}: $ {step.command}\n{_print(*found, code)}"

    def finish(self, line: str) -> list[str]:
        """Wait for the end, which must be a success, and return the output."""
        code = self._wait()
        stdout, stderr = self._read()
        assert code == 0, f"$ {line}\n{_print(stdout, stderr, code)}"
        return [*stdout, *stderr]

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        os.kill((self._tlsio or self._shell).pid or 0, signal.SIGINT)  # type: ignore[union-attr]

    def end(self) -> None:
        """End the command in any case."""
        for one in (self._tlsio, self._shell):
            if one is not None:
                one.kill()
        self._wait()

    def _is_alive(self) -> bool:
        return self._tlsio.is_alive() if self._tlsio is not None else self._shell is not None and self._shell.poll() is None

    def _wait(self) -> int:
        if self._tlsio is not None:
            self._tlsio.join(_PATIENCE)
            assert self._tlsio.exitcode is not None, "the command does not end"
            return self._tlsio.exitcode
        assert self._shell is not None
        return self._shell.wait(_PATIENCE)

    def _read(self) -> list[list[str]]:
        texts = [one.read_text().splitlines() for one in self._files[1:]]
        return [lines[shown:] for lines, shown in zip(texts, self._shown, strict=True)]


def _run_tlsio(words: list[str], folder: str, environment: dict[str, str], files: list[str]) -> None:
    """Be the command `tlsio` with these arguments; runs in the new process."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, (path, mode) in enumerate(zip(files, (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY), strict=True)):
        os.dup2(os.open(path, mode), number)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["tlsio", *words]
    from tlsio.cli import main  # noqa: PLC0415 - in that process

    main()


def _fits(lines: list[str], pattern: list[str]) -> bool:
    parts = ["(?:.*\n)*?" if one == "..." else ".*?".join(map(re.escape, one.split("[..]"))) + "\n" for one in pattern]
    return re.fullmatch("".join(parts), "".join(f"{line}\n" for line in lines)) is not None


def _print(stdout: list[str], stderr: list[str], code: int | None) -> str:
    """Return what happened, as a transcript has it."""
    return "\n".join([*stdout, *(f"! {line}".rstrip() for line in stderr), *([f"[{code}]"] if code else [])])
