"""What a command prints: text for people, JSON for programs, colours on a terminal only."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING

import click

from tlsio.model.environment import read_variable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

__all__ = ["COLORS", "console", "flush", "for_people", "is_json", "json_option", "print_json", "print_lines", "translate", "use_colors"]

# How the words for severities look.
COLORS = {"error": "red", "warning": "yellow", "notice": "cyan", "note": "cyan"}
_JSON = "tlsio.json"
# What the library calls otherwise.
_SPECIAL = {
    "overwrite=True": "--force",
    "reject_unauthorized=False": "--insecure",
    "tlsio.certs.dev.init()": "tlsio dev init",
    "(untrust)": "(tlsio dev untrust)",
    "tlsio.certs.read(...).to_pfx(...)": "tlsio pfx",
    "to_pfx()": "tlsio pfx",
    "options.host": "HOST",
}
_NAMES = {"alpn_protocols": "alpn", "chain_policy": "policy", "ecdh_curve": "groups"}
_OPTION = re.compile(r"\b(?:([a-z][a-z0-9_]*)=(?![\w\"'/*]|\.[.\w])|options\.([a-z][a-z0-9_]*)(?:\[\d+\])?)")
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
    """Print a value as indented JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_lines(lines: Iterable[str], *, err: bool = False) -> None:
    """Print lines of text."""
    for line in lines:
        click.echo(line, err=err)


def for_people(text: str) -> str:
    """Return a sentence of the library for a terminal: options as they are called here.

    Control characters, which a peer's names may have, are replaced.
    """
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in translate(text))


def translate(text: str) -> str:
    """Return a message with the names of options as the command line has them.

    The library writes `cert=`, which is --cert here.
    """
    for word, option in _SPECIAL.items():
        text = text.replace(word, option)
    return _OPTION.sub(_name_option, text)


def _name_option(found: re.Match[str]) -> str:
    name = found[1] or found[2]
    return f"--{_NAMES.get(name, name).replace('_', '-')}"


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
