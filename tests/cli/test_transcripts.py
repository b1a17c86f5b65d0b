"""Every command, as a user sees it: the transcripts of the folder beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import transcripts
from ports import own_port

# Those without connections and without lines of a shell that start an interpreter.
QUICK = {"csr", "dhparam", "key", "self-sign", "sign", "unknown-words"}
TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


def marked(path: Path) -> Any:
    """Return a transcript as a test's parameter."""
    return pytest.param(path, id=path.stem, marks=[] if path.stem in QUICK else pytest.mark.slow)


@pytest.mark.parametrize("path", [marked(path) for path in TRANSCRIPTS])
def test_commands_do_what_the_transcript_says(path: Path, tmp_path: Path) -> None:
    """Their output, line by line, and their exit codes."""
    folder = tmp_path / "work"
    folder.mkdir()
    with own_port() as port:
        environment = {**transcripts.environment(tmp_path), "PORT": str(port)}
        transcripts.play(path.read_text(encoding="utf-8"), folder, environment)
