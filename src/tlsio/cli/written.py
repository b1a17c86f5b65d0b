"""What a command makes: written to files or to standard output, and reported."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from tlsio.certs.files import PRIVATE, PUBLIC, NewFile, write_files
from tlsio.certs.inspect import inspect
from tlsio.cli.output import flush, for_people, is_json, print_json
from tlsio.cli.parameters import NEW_FILE, STREAM

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["New", "deliver", "force_option", "out_option"]

force_option = click.option("-f", "--force", is_flag=True, help="Replace files that exist.")
out_option = click.option(
    "-o", "--out", type=NEW_FILE, metavar="FILE", default=STREAM, show_default="standard output", help="Where to write it."
)


@dataclass(frozen=True, slots=True)
class New:
    """One new file.

    Attributes:
        path: `-` for standard output.
        content: Its bytes.
        is_private: It has a key: only its owner can read the file.
        title: What it is; None: what `inspect` says.
    """

    path: str
    content: bytes
    is_private: bool = False
    title: str | None = None


def deliver(*made: New, force: bool, passphrase: str | None = None, notes: Sequence[str] = ()) -> None:
    """Write everything, or nothing; then report it.

    Args:
        made: At most one for standard output.
        force: Replace files that exist.
        passphrase: Decrypts what was made, for the report.
        notes: Sentences for the user.

    Raises:
        OSError: a file exists, or cannot be written.
    """
    files = [one for one in made if one.path != STREAM]
    write_files(*(NewFile(one.path, one.content, PRIVATE if one.is_private else PUBLIC) for one in files), overwrite=force)
    if is_json():
        print_json({"files": [_as_json(one, passphrase) for one in made], "notes": list(notes)})
        return
    for one in made:
        if one.path == STREAM:
            sys.stdout.buffer.write(one.content)
            flush()
    is_output_free = len(files) == len(made)
    for one in files:
        click.echo(f"{one.path}: {_describe(one, passphrase)}", err=not is_output_free)
    for note in notes:
        click.echo(for_people(note), err=True)


def _describe(one: New, passphrase: str | None) -> str:
    return one.title or ", ".join(f"{item.kind} {item.title}" for item in inspect(one.content, passphrase=passphrase))


def _as_json(one: New, passphrase: str | None) -> dict[str, object]:
    facts = {"title": one.title} if one.title else {"items": [item.as_json() for item in inspect(one.content, passphrase=passphrase)]}
    if one.path != STREAM:
        return {"path": one.path, **facts}
    return {"content": one.content.decode("ascii", "backslashreplace"), **facts}
