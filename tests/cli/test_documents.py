"""What the documents say of the command: its help, and the command lines, each of which runs."""

from __future__ import annotations

import re
import socket
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

import cli_reference
import transcripts
from browser import browse
from foreign_peers import find
from pages import blocks
from ports import own_port
from tlsio.certs.dev import STORE_KINDS
from tlsio.cli import client_options, dev
from tlsio.cli.program import COMMANDS, program
from tlsio.probe import PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = ROOT / "docs" / "how-to" / "command-line.md"
ALL = list(cli_reference.commands(program, click.Context(program, info_name="tlsio")))


def test_reference_is_the_help() -> None:
    """`make cli-reference` writes it."""
    assert cli_reference.PAGE.read_text(encoding="utf-8") == cli_reference.page()


@pytest.mark.parametrize("command", [command for _, command, _ in ALL], ids=[path for path, _, _ in ALL])
def test_every_command_has_examples_and_json(command: click.Command) -> None:
    """Examples that parse, and `--json` unless it only holds other commands."""
    lines = [part for line, *_ in command.examples for part in re.split(r"&&|[&|]", line)]  # type: ignore[attr-defined]
    assert lines
    for line in lines:
        words = line.split()
        if words and words[0] == "tlsio":
            assert words[1] in COMMANDS
    if not isinstance(command, click.Group):
        assert "--json" in {name for parameter in command.params for name in parameter.opts}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_introduced_by_its_own_words(name: str) -> None:
    """The table says without an import what the command's help begins with."""
    command = program.get_command(click.Context(program), name)
    assert command is not None
    assert COMMANDS[name][1].endswith(".")


def test_choices_are_those_of_the_library() -> None:
    """They are written down again where the import of the library would take time."""
    assert client_options._STARTTLS == PROTOCOLS
    assert dev._STORES == STORE_KINDS


def sections(text: str) -> Iterator[tuple[str, str]]:
    """Yield the title and the text of each section."""
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        yield title, body


def lines_of(block: str) -> list[str]:
    """Return the command lines of a block: those that end with a backslash or a pipe go on."""
    joined = re.sub(r"\\\n\s*|(?<=\|)\n\s*", " ", block)
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.startswith("#")]


@pytest.mark.slow
@pytest.mark.parametrize("text", [pytest.param(text, id=title) for title, text in sections(PAGE.read_text(encoding="utf-8"))])
def test_commands_of_the_page_run(text: str, tmp_path: Path) -> None:
    """Those of `tlsio`, and those of `openssl` that do the same."""
    for number, block in enumerate(blocks(text, "sh")):
        folder = tmp_path / str(number)
        (folder / "work").mkdir(parents=True)
        with own_port() as port:
            listens = f"until (exec 3<>/dev/tcp/localhost/{port}) 2>/dev/null; do sleep 0.05; done"
            script = block.replace("8443", str(port)).replace("sleep 1\n", f"{listens}\n")
            environment = transcripts.environment(folder)
            command = ["bash", "-e", "-c", script]
            done = subprocess.run(command, cwd=folder / "work", env=environment, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("localhost", port))
        if "hello" in block:
            assert "hello" in done.stdout or "olleh" in done.stdout  # `openssl s_server -rev` reverses


@pytest.mark.slow
def test_first_quarter_of_an_hour(tmp_path: Path) -> None:
    """README's, with a browser before, during and after the trust; it is installed already."""
    find("certutil", "libnss3-tools")
    [text] = [text for title, text in sections(README) if title == "A quarter of an hour"]
    [program] = blocks(text, "py")
    making, serving, asking, trusting, untrusting = map(lines_of, blocks(text, "sh"))
    assert making.pop(0) == "pip install '.[cli]'"
    assert "cli" in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    with own_port() as port, transcripts.Shell(port, tmp_path, transcripts.environment(tmp_path)) as shell:
        (tmp_path / "hello.py").write_text(program.replace("8443", str(port)), encoding="utf-8")
        shown = shell.run([line.replace("8443", str(port)) for line in [*making, *(f"{line} &" for line in serving), *asking]])
        assert "verdict: accepted" in shown
        assert "HTTP/1.1 200 OK" in shown
        before = browse(f"https://localhost:{port}/", tmp_path / "home", "hello")
        shell.run(trusting)
        during = browse(f"https://localhost:{port}/", tmp_path / "home", "hello")
        shell.run(untrusting)
        after = browse(f"https://localhost:{port}/", tmp_path / "home", "hello")
    assert "ERR_CERT_AUTHORITY_INVALID" in before
    assert "hello" in during
    assert "ERR_CERT_AUTHORITY_INVALID" in after


@pytest.mark.slow
def test_first_website(tmp_path: Path) -> None:
    """The tutorial's: a folder, an application, and clients with certificates."""
    text = (ROOT / "docs" / "tutorial" / "first-website.md").read_text(encoding="utf-8")
    [program] = blocks(text, "py")
    installing, folder, ask, application, mutual, asking = map(lines_of, blocks(text, "sh"))
    assert installing == ["pip install '.[cli,https]' fastapi"]
    (tmp_path / "main.py").write_text(program, encoding="utf-8")
    variables = transcripts.environment(tmp_path)
    for serving, asked, expected in (
        (folder, ask, ["<h1>Hello</h1>"]),
        (application, ask, ['"Hello, stranger"']),
        (mutual, asking, ['"Hello, stranger"', '"Hello, CN=ada"']),
    ):
        with own_port() as port, transcripts.Shell(port, tmp_path, variables) as shell:
            *before, command = serving
            shell.run([*before, f"exec {command} --port {port} &"])
            found = [
                shell.run([line.replace("8443", str(port)).replace("curl ", "curl -sS --retry 30 --retry-all-errors ")]) for line in asked
            ]
            assert found == expected
