"""Every command, as a user sees it: the transcripts of the folder beside this file."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

import transcripts
from ports import own_port

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


def make_programs(folder: Path) -> Path:
    """Make `tlsio` for the lines that a shell runs, such as those with a pipe."""
    folder.mkdir()
    program = folder / "tlsio"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tlsio "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_commands_do_what_the_transcript_says(path: Path, tmp_path: Path) -> None:
    """Their output, line by line, and their exit codes."""
    folder = tmp_path / "work"
    folder.mkdir()
    programs = make_programs(tmp_path / "programs")
    with own_port() as port:
        environment = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(tmp_path / "home"), "LANG": "C.UTF-8", "PORT": str(port)}
        environment |= {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        transcripts.play(path.read_text(encoding="utf-8"), folder, environment)
