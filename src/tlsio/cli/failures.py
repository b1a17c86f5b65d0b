"""Errors as sentences and exit codes: 1: a finding or a refusal, 2: wrong use or bad input."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Any

import click

from tlsio.cli.output import flush, for_people, print_json, use_colors
from tlsio.model.errors import ConfigError, TLSError, UsageError

__all__ = ["FINDING", "INTERRUPTED", "WRONG_USE", "report", "report_usage"]

FINDING = 1
WRONG_USE = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it

_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}
# For errors of files that come without a hint.
_REMEDIES = {
    errno.ENOENT: "Check the path.",
    errno.EACCES: "Check its permissions, or run the command as its owner.",
    errno.EISDIR: "Give a file in that folder.",
    errno.ENOSPC: "The disk is full: make room, and try again.",
}
_REFUSED = {"ERR_TLS_REQUEST_REFUSED", "ERR_TLS_ISSUER_UNAVAILABLE"}


def report(error: Exception, *, as_json: bool) -> int:
    """Print an error that is not the program's own, and return the exit code; raise any other.

    Args:
        error: What ended the command.
        as_json: Print it as JSON, to standard output.

    Raises:
        Exception: `error`, if it is a mistake in this program.
    """
    if isinstance(error, BrokenPipeError) and error.filename is None:
        return FINDING  # the reader of our output has gone, as with `| head`
    if not isinstance(error, TLSError | OSError):
        raise error
    message = error.message if isinstance(error, TLSError) else _describe(error)
    hint = getattr(error, "hint", None) or (_REMEDIES.get(error.errno or 0) if isinstance(error, OSError) else None)
    code = getattr(error, "code", None) if isinstance(error, TLSError) else _name_of(error)
    _print(message, hint, code, [note for note in getattr(error, "__notes__", ()) if note != hint], as_json=as_json)
    return _exit_code(error)


def report_usage(error: click.ClickException, *, as_json: bool) -> int:
    """Print an error of the command line, and return the exit code."""
    if not as_json or not _say({"message": error.format_message(), "code": None, "hint": None}):
        error.show()
    return WRONG_USE


def _print(message: str, hint: str | None, code: str | None, notes: list[str], *, as_json: bool) -> None:
    message, hint = for_people(message), for_people(hint, is_hint=True) if hint else None
    lines = [line for note in notes if (line := for_people(note, is_hint=True))]
    if as_json and _say({"message": message, "code": code, "hint": hint or None, **({"notes": lines} if lines else {})}):
        return
    lines += [hint] if hint else []
    click.secho("Error: ", fg="red", nl=False, err=True, color=use_colors())  # its context has ended
    click.echo(f"{message}{'' if message[-1:] in '.?!' else '.'}", err=True)
    for line in lines:
        click.echo(f"  {line}", err=True)


def _say(error: dict[str, Any]) -> bool:
    """Print an error as JSON; return False if standard output, perhaps the cause, is unusable."""
    try:
        print_json({"error": error})
    except OSError:
        with suppress(OSError):
            flush()  # drops what is left
        return False
    return True


def _describe(error: OSError) -> str:
    text = error.strerror or str(error) or type(error).__name__
    if text.startswith("Connect call failed"):  # asyncio's words; the note has the host and the port
        text = os.strerror(error.errno or 0)
    return f"{error.filename}: {text}" if error.filename is not None else text


def _name_of(error: OSError) -> str | None:
    return errno.errorcode.get(error.errno or 0)


def _exit_code(error: TLSError | OSError) -> int:
    """Of the local side: 2. Of the peer or the network: 1."""
    if isinstance(error, ConfigError | UsageError):
        return FINDING if error.code in _REFUSED else WRONG_USE
    if isinstance(error, TLSError):
        return FINDING
    return FINDING if error.filename is None and _is_of_network(error) else WRONG_USE


def _is_of_network(error: OSError) -> bool:
    """Tell a connection that failed from a file that cannot be used."""
    from socket import gaierror  # noqa: PLC0415 - only after an error

    return isinstance(error, ConnectionError | TimeoutError | gaierror) or error.errno in _UNREACHABLE
