"""The question before what cannot be undone, and --yes, which answers it."""

from __future__ import annotations

import sys

import click

__all__ = ["confirm", "yes_option"]

yes_option = click.option("-y", "--yes", "is_confirmed", is_flag=True, help="Do not ask. Needed where there is no terminal to ask on.")


def confirm(question: str, *, is_confirmed: bool) -> None:
    """Ask, unless --yes is given.

    Raises:
        UsageError: there is no terminal to ask on.
        Abort: the answer is no.
    """
    if is_confirmed:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on: confirm it by --yes.")
    click.confirm(question, abort=True, err=True)
