"""Starting: what is imported, and what happens if the extra is not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = {"asyncio", "cryptography", "rich.console", "tlsio.certs", "tlsio.connection", "tlsio.interop", "tlsio.probe"}


def modules_after(*words: str) -> set[str]:
    """Return the modules that a command has loaded at its end."""
    program = f"import json, sys\nfrom tlsio.cli.program import run\nrun({list(words)!r})\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
def test_help_imports_no_command() -> None:
    """It is shown at once, and so is the completion."""
    assert HEAVY.isdisjoint(modules_after("--help"))


@pytest.mark.slow
def test_files_need_no_network(tmp_path: Path) -> None:
    """Neither the probe nor HTTP, and nothing that draws."""
    loaded = modules_after("key", str(tmp_path / "server.key"))
    assert (tmp_path / "server.key").exists()
    assert loaded.isdisjoint({"h11", "rich.console", "tlsio.interop", "tlsio.probe", "tlsio.connection.client"})


@pytest.mark.slow
@pytest.mark.parametrize("package", ["click", "rich"])
def test_missing_extra_is_named_in_one_line(package: str) -> None:
    """The command is installed with the library, also without the extra."""
    program = f"import sys; sys.modules[{package!r}] = None; sys.argv = ['tlsio', 'key', 'x']; from tlsio.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"tlsio: the package {package} is not installed: pip install 'tlsio[cli]'\n"


@pytest.mark.slow
def test_text_that_is_not_unicode_is_printed_as_json(tmp_path: Path) -> None:
    """A damaged file may have it; a lone surrogate cannot be encoded, but has an escape in JSON."""
    (tmp_path / "status").mkdir()
    (tmp_path / "status" / "a.example.json").write_text('{"names": ["a.example"], "code": "ERR", "message": "bad \\ud800"}')
    command = [sys.executable, "-m", "tlsio", "acme", "status", "--json", "--storage", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert json.loads(done.stdout)[0]["error"]["message"] == "bad \ud800"
    assert done.returncode == 1  # no certificate yet
