"""Every command, as a user sees it: the transcripts of the folder beside this file."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import transcripts
from pebble import Pebble
from ports import own_port

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    with own_port() as port, authority(tmp_path) if path.stem == "acme" else nullcontext({}) as more:
        environment = {**transcripts.environment(tmp_path), "PORT": str(port), **more}
        transcripts.play(path.read_text(encoding="utf-8"), folder, environment)


@contextmanager
def authority(folder: Path) -> Iterator[dict[str, str]]:
    """Run an ACME authority; give the variables that say where it is, and where it looks at names."""
    with Pebble(profiles={"default": 90 * 86400}) as running:
        (folder / "authority.pem").write_bytes(running.ca)
        ports = {"HTTP_PORT": str(running.http_port), "TLS_PORT": str(running.tls_port)}
        yield {"DIRECTORY": running.directory_url, "AUTHORITY": str(folder / "authority.pem"), **ports}
