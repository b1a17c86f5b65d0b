"""What stands on a command line, parsed: HOST:PORT, files, standard input, instants."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from tlsio.model.options.server import MAX_THREADS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # older click has no arguments

__all__ = [
    "BACKEND",
    "ENDPOINT",
    "FOLDER",
    "INPUT",
    "INPUT_OR_ENDPOINT",
    "INSTANT",
    "NEW_FILE",
    "STANDARD_INPUT",
    "STREAM",
    "THREADS",
    "Endpoint",
    "ParamType",
    "metavar_of",
    "refuse_standard_input",
]

STREAM = "-"  # standard input or output, in place of a file
STANDARD_INPUT = "tlsio.standard_input"  # in the meta of a context: which parameter was read from it

_HTTPS = 443
_MAX_PORT = 65535
_FORM = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[^\[\]:/\s]+))(?::(?P<port>\d{1,5}))?")


_URL = re.compile(r"\w+://(?:[^/?#]*@)?(?P<authority>[^/?#]*)")  # its password is not repeated


class Endpoint(NamedTuple):
    """A host and its port."""

    host: str
    port: int


class _Endpoint(ParamType):
    """`example.org:8443`, `[2001:db8::1]:8443`, or without a port, which is the default."""

    name = "host:port"

    def __init__(self, default: int = _HTTPS) -> None:
        """Take the default port; 0: a port is required."""
        self._default = default

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Endpoint:
        """Parse the text."""
        if url := _URL.match(value):
            self.fail(f"must be the host and the port alone, as in {self._place_of(url['authority'])}, not a URL", param, ctx)
        found = _FORM.fullmatch(value)
        port = int(found["port"] or self._default) if found else 0
        if not found or not 0 < port <= _MAX_PORT:
            self.fail(f"{value!r} is not HOST:PORT, such as example.org:443 or [2001:db8::1]:443", param, ctx)
        return Endpoint(found["v6"] or found["host"], port)

    @staticmethod
    def _place_of(authority: str) -> str:
        """Return the host and the port of a URL, or an example."""
        found = _FORM.fullmatch(authority)
        return "example.org:443" if found is None else authority if found["port"] else f"{authority}:{_HTTPS}"


class _Input(ParamType):
    """A file to be read: its path, or for `-` the content of standard input.

    The library opens files, and its errors say more than those of click.
    """

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a path or content."""
        if value != STREAM or ctx is None or ctx.resilient_parsing:
            return Path(value)
        if STANDARD_INPUT in ctx.meta:
            self.fail(f"standard input was already read for {ctx.meta[STANDARD_INPUT]}: only one input can be -", param, ctx)
        ctx.meta[STANDARD_INPUT] = param.get_error_hint(ctx) if param else STREAM
        return _read_standard_input()

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete the names of files."""
        return NEW_FILE.shell_complete(ctx, param, incomplete)


class _InputOrEndpoint(_Endpoint):
    """A file, or HOST:PORT with its port. A file of that name goes first."""

    name = "file|host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a path or an endpoint."""
        found = _FORM.fullmatch(value)
        if (found and found["port"] and not Path(value).exists()) or _URL.match(value):
            return super().convert(value, param, ctx)
        return INPUT.convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete the names of files."""
        return INPUT.shell_complete(ctx, param, incomplete)


class _Instant(ParamType):
    """A day or an instant of ISO 8601, in UTC unless it says otherwise."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse the text."""
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            return self.fail(f"{value!r} is not an instant, such as 2027-01-31 or 2027-01-31T12:00:00Z", param, ctx)
        return found if found.tzinfo else found.replace(tzinfo=UTC)


class _Threads(ParamType):
    """A number of handshake threads, or `auto`."""

    name = "n|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or `auto`."""
        return value if value == "auto" else click.IntRange(0, MAX_THREADS).convert(value, param, ctx)


def metavar_of(argument: click.Argument) -> str:
    """Return what the help calls one value of an argument: FILE for `FILE...`."""
    text = argument.metavar or (argument.name or "").upper()
    return re.sub(r"^\[(.*)\]$", r"\1", text).removesuffix("...")


def refuse_standard_input(use: str) -> None:
    """Refuse a file that was given as `-` to a command which uses standard input for its data.

    Raises:
        UsageError: a file was given so.
    """
    given = click.get_current_context().meta.get(STANDARD_INPUT)
    if given is not None:
        raise click.UsageError(f"{given} cannot be -: standard input {use}.")


def _read_standard_input() -> bytes:
    """Return all that standard input has.

    Raises:
        OSError: it cannot be read, or has more than a file may have.
        ConfigError: it is empty.
    """
    from tlsio.connection.context.files import read_stream  # noqa: PLC0415 - only for `-`
    from tlsio.model.errors import ConfigError  # noqa: PLC0415

    try:
        content = read_stream(sys.stdin.buffer)
    except OSError as error:
        error.filename = "standard input"
        raise
    if not content:
        hint = "Give a file, or end the command before the pipe with its output."
        raise ConfigError("Standard input is empty", code="ERR_TLS_UNREADABLE_FILE", hint=hint)
    return content


INPUT = _Input()
INPUT_OR_ENDPOINT = _InputOrEndpoint()
# For the completion of names; the library opens files, and its errors say more.
NEW_FILE = click.Path(readable=False)
FOLDER = click.Path(file_okay=False, readable=False)
ENDPOINT = _Endpoint()
BACKEND = _Endpoint(0)
INSTANT = _Instant()
THREADS = _Threads()
