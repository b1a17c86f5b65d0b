"""Every command, as a user sees it: the transcripts of the folder beside this file."""

from __future__ import annotations

from pathlib import Path

import pytest

import transcripts
from ports import own_port

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_commands_do_what_the_transcript_says(path: Path, tmp_path: Path) -> None:
    """Their output, line by line, and their exit codes."""
    folder = tmp_path / "work"
    folder.mkdir()
    with own_port() as port:
        environment = {**transcripts.environment(tmp_path), "PORT": str(port)}
        transcripts.play(path.read_text(encoding="utf-8"), folder, environment)
