"""A line on the terminal about work that takes longer than a second."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from tlsio.cli.output import console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["progress"]

_QUIET_SECONDS = 1.0


@contextmanager
def progress(title: str, *, after: float = _QUIET_SECONDS, is_long: bool = False) -> Iterator[Callable[..., None]]:
    """Give a function to call with a text, and with the part that is done if it is known.

    Nothing is shown in the first seconds (`after`). In a coroutine, the title is shown then without
    a call too, such as while a server is silent. If standard error is not a terminal, nothing is
    shown, except for the title of work that `is_long`, in one line, at the first call.
    """
    if not sys.stderr.isatty():
        yield _title_once(title) if is_long else _ignore
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - its import takes time

    shown = Progress(
        TextColumn(title), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console(), transient=True
    )
    task = shown.add_task("", total=None)
    begin, is_shown = time.monotonic() + after, False

    def show() -> None:
        nonlocal is_shown
        if not is_shown:
            shown.start()
            is_shown = True

    def report(text: str, done: float | None = None) -> None:
        if time.monotonic() >= begin:
            show()
        shown.update(task, description=text, total=None if done is None else 1.0, completed=done or 0.0)

    timer = _call_later(after, show)
    try:
        yield report
    finally:
        if timer is not None:
            timer.cancel()
        if is_shown:
            shown.stop()


def _call_later(seconds: float, action: Callable[[], None]) -> asyncio.TimerHandle | None:
    """Call a function after a time; None outside of a coroutine."""
    try:
        return asyncio.get_running_loop().call_later(seconds, action)
    except RuntimeError:
        return None


def _title_once(title: str) -> Callable[..., None]:
    is_printed = False

    def report(_text: str, _done: float | None = None) -> None:
        nonlocal is_printed
        if not is_printed:
            click.echo(title, err=True)
            is_printed = True

    return report


def _ignore(_text: str, _done: float | None = None) -> None:
    pass
