"""What a command prints: text for people, JSON for programs, colours on a terminal only."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import click

from tlsio.cli.wording import for_people, translate, translate_json
from tlsio.model.environment import read_variable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

__all__ = ["COLORS", "console", "flush", "for_people", "is_json", "json_option", "print_json", "print_lines", "translate", "use_colors"]

# How the words for severities look.
COLORS = {"error": "red", "warning": "yellow", "notice": "cyan", "note": "cyan"}
_JSON = "tlsio.json"
_ENDLESS = 100_000  # columns


def _keep_json(ctx: click.Context, _option: click.Parameter, value: bool) -> bool:  # noqa: FBT001 - click calls it
    ctx.meta[_JSON] = value
    return value


json_option = click.option("--json", is_flag=True, expose_value=False, is_eager=True, callback=_keep_json, help="Print JSON for programs.")


def is_json() -> bool:
    """Tell whether the current command was asked for JSON."""
    ctx = click.get_current_context(silent=True)
    return ctx is not None and ctx.meta.get(_JSON, False)


def print_json(value: object) -> None:
    """Print a value as indented JSON, its messages in the words of the command."""
    text = json.dumps(translate_json(value), indent=2, ensure_ascii=False)
    # A lone surrogate, as a damaged file may have, cannot be printed; so escaped, it is JSON too.
    click.echo(text.encode("utf-8", "backslashreplace").decode())


def print_lines(lines: Iterable[str], *, err: bool = False) -> None:
    """Print lines of text."""
    for line in lines:
        click.echo(line, err=err)


def use_colors() -> bool | None:
    """Return False if the user wants no colours (no-color.org); None: on a terminal only."""
    return False if read_variable("NO_COLOR") else None


def flush() -> None:
    """Write what is buffered, so that a full disk is an error of the command.

    Raises:
        OSError: it cannot be written; what is left is dropped.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        # The interpreter would try once more at its end, and report the error in its own way.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            error.filename = "standard output"
        raise


def console() -> Console:
    """Return a console on standard error; where that is no terminal, lines are never wrapped."""
    from rich.console import Console  # noqa: PLC0415 - most commands need none

    is_terminal = sys.stderr.isatty()
    return Console(stderr=True, markup=False, highlight=False, emoji=False, width=None if is_terminal else _ENDLESS)
