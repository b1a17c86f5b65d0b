"""Passphrases: from a prompt, a file or the environment, never from the command line itself.

Other users of the machine can read a command line, and shells keep it in their history.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tlsio.cli.parameters import ParamType
from tlsio.model.environment import read_variable
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PASSPHRASE", "ask_or_refuse", "new_passphrase_option", "passphrase_option", "with_passphrase"]

_T = TypeVar("_T")
# Of a key, and of a PKCS#12, also if there is no passphrase at all.
_ENCRYPTED = {"ERR_OSSL_BAD_DECRYPT", "ERR_OSSL_PKCS12_MAC_VERIFY_FAILURE"}
# The file in the message of such an error; the first that matches.
_FILES = tuple(map(re.compile, (r"^The file '(.+?)' ", r"\((.+?)\): ", r" (?:of|in) (\S+?)(?::|$)")))
_FORMS = "prompt, file:PATH or env:NAME"


class _Passphrase(ParamType):
    """Where a passphrase is; becomes a function that reads it, with an argument: ask twice."""

    name = "source"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Callable[..., str]:
        """Return the function. What is not a form might be the passphrase, and is not repeated."""
        kind, _, place = str(value).partition(":")
        if value == "prompt":
            return _ask
        if kind == "file" and place:
            return lambda **_: _read_file(Path(place))
        if kind == "env" and place:
            return lambda **_: _read_environment(place)
        return self.fail(
            f"must be {_FORMS}: a passphrase on the command line can be read by others, and stays in the shell's history", param, ctx
        )


PASSPHRASE = _Passphrase()

passphrase_option = click.option("--passphrase", type=PASSPHRASE, help=f"Decrypts what is read: {_FORMS}.")
new_passphrase_option = click.option("--new-passphrase", type=PASSPHRASE, help=f"Encrypts what is written: {_FORMS}.")


def with_passphrase(source: Callable[..., str] | None, action: Callable[[str | None], _T]) -> _T:
    """Do something that may need a passphrase; on a terminal, ask for it when it turns out to."""
    if source is not None:
        return action(source())
    try:
        return action(None)
    except ConfigError as error:
        if error.code not in _ENCRYPTED or not sys.stdin.isatty():
            raise
        file = next((found[1] for one in _FILES if (found := one.search(error.message))), None)
    try:
        return action(_ask(file=file))
    except ConfigError as error:
        if error.code not in _ENCRYPTED:
            raise
        raise ConfigError(error.message, code=error.code, hint="Run the command again to type another one.") from None


def ask_or_refuse(remedy: str) -> Callable[..., str]:
    """Return the prompt on a terminal.

    Raises:
        UsageError: there is no terminal to ask on.
    """
    if not sys.stdin.isatty():
        raise click.UsageError(f"A passphrase is needed. {remedy}")
    return _ask


def _ask(*, twice: bool = False, file: str | None = None) -> str:
    """Ask on the terminal, without showing what is typed.

    Args:
        twice: For a new one.
        file: What it decrypts, if that is known.

    Raises:
        UsageError: there is no terminal.
    """
    if not _has_terminal():
        raise click.UsageError("There is no terminal to ask for a passphrase on: use file:PATH or env:NAME.")
    secret = _prompt("New passphrase" if twice else f"Passphrase of {file}" if file else "Passphrase")
    while twice and _prompt("Repeat for confirmation") != secret:
        click.echo("The two are different: type the new passphrase again.", err=True)
        secret = _prompt("New passphrase")
    return secret


def _prompt(text: str) -> str:
    while not (found := str(click.prompt(text, default="", show_default=False, hide_input=True, err=True))):
        click.echo("A passphrase is not empty. Ctrl-C ends the command.", err=True)
    return found


def _has_terminal() -> bool:
    """Tell whether the user can be asked; standard input may be a file or a pipe all the same."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return sys.stdin.isatty()
    return True


def _read_file(path: Path) -> str:
    """Return the first line of a file."""
    try:
        text = path.read_text(encoding="utf-8").split("\n", 1)[0].removesuffix("\r")
    except UnicodeDecodeError:
        hint = "Write the passphrase into its first line, in UTF-8."
        raise ConfigError(f"{path} is not a text file with a passphrase", code="ERR_TLS_CONFIG", hint=hint) from None
    if not text:
        raise ConfigError(f"The first line of {path} is empty", code="ERR_TLS_CONFIG", hint="Write the passphrase into it.")
    return text


def _read_environment(name: str) -> str:
    text = read_variable(name)
    if not text:
        problem = f"The environment has no variable {name}" if text is None else f"The variable {name} of the environment is empty"
        raise ConfigError(problem, code="ERR_TLS_CONFIG", hint=f"Set it: read -rs {name}; export {name}")
    return text
