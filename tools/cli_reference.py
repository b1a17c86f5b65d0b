"""Write docs/reference/cli.md: what each command of `tlsio` says with --help."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlsio.cli.program import program

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "cli.md"
WIDTH = 80

HEAD = """# The command `tlsio`

What `--help` says. `make cli-reference` writes this page. How to install it, and what to do with it: [The command line](../how-to/command-line.md).

| exit code | meaning |
|---|---|
| 0 | all is well |
| 1 | a finding, or a refusal: of the server, of the chain, of the request; the network |
| 2 | wrong use; a file that cannot be read, decrypted or written; an existing file without `--force` |
| 130 | Ctrl-C |

Results go to standard output, everything else to standard error. With `--json` the result is JSON, also the error: `{"error": {"message", "code", "hint"}}` (and `"notes"`, if there are any),
with [the codes of the library](errors.md). Colours and progress are for terminals, and not with `NO_COLOR` in the environment.

A passphrase comes from a prompt (`prompt`), from the first line of a file (`file:PATH`) or from the environment (`env:NAME`), never from the command line
itself, which others can read. For a key that turns out to be encrypted, the command asks if it has a terminal;
`inspect` does not, and says what can be seen without a passphrase.

For the completion of names and options in bash: `eval "$(_TLSIO_COMPLETE=bash_source tlsio)"` in `~/.bashrc`; `zsh_source` and `fish_source` are for zsh
and fish.
"""


def commands(group: click.Group, ctx: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Yield every command with its full name, and those of groups after the group."""
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None, name  # noqa: S101 - the table has it
        inner = click.Context(command, info_name=name, parent=ctx, terminal_width=WIDTH, **command.context_settings)
        yield inner.command_path, command, inner
        if isinstance(command, click.Group):
            yield from commands(command, inner)


def page() -> str:
    """Return the page."""
    root = click.Context(program, info_name="tlsio", terminal_width=WIDTH)
    parts = [HEAD]
    for path, command, ctx in commands(program, root):
        parts.append(f"\n## `{path}`\n\n```text\n{_strip(command.get_help(ctx))}\n```\n")
    return "".join(parts)


def _strip(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
