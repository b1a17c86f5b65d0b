"""What stands on a command line, parsed: HOST:PORT, files, instants."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["ENDPOINT", "FILE", "FILE_OR_ENDPOINT", "FOLDER", "INSTANT", "Endpoint", "as_paths"]

_HTTPS = 443
_MAX_PORT = 65535
_FORM = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[^\[\]:/\s]+))(?::(?P<port>\d{1,5}))?")


class Endpoint(NamedTuple):
    """A host and its port."""

    host: str
    port: int


class _Endpoint(click.ParamType):  # type: ignore[type-arg]  # older click has no arguments
    """`example.org:8443`, `[2001:db8::1]:8443`, or without a port, which is 443."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Endpoint:
        """Parse the text."""
        found = _FORM.fullmatch(value)
        port = int(found["port"] or _HTTPS) if found else 0
        if not found or not 0 < port <= _MAX_PORT:
            self.fail(f"{value!r} is not HOST:PORT, such as example.org:443 or [2001:db8::1]:443", param, ctx)
        return Endpoint(found["v6"] or found["host"], port)


class _FileOrEndpoint(_Endpoint):
    """A file, or HOST:PORT with its port. A file of that name goes first."""

    name = "file|host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a path or an endpoint."""
        found = _FORM.fullmatch(value)
        if found and found["port"] and not Path(value).exists():
            return super().convert(value, param, ctx)
        return Path(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete the names of files."""
        return FILE.shell_complete(ctx, param, incomplete)


class _Instant(click.ParamType):  # type: ignore[type-arg]
    """A day or an instant of ISO 8601, in UTC unless it says otherwise."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse the text."""
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            return self.fail(f"{value!r} is not an instant, such as 2027-01-31 or 2027-01-31T12:00:00Z", param, ctx)
        return found if found.tzinfo else found.replace(tzinfo=UTC)


# For the completion of names; the library opens files, and its errors say more.
FILE = click.Path(readable=False)
FOLDER = click.Path(file_okay=False, readable=False)
ENDPOINT = _Endpoint()
FILE_OR_ENDPOINT = _FileOrEndpoint()
INSTANT = _Instant()


def as_paths(options: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return options with the files of some of them as paths: a str would be the content itself."""
    return {name: _as_path(value) if name in names else value for name, value in options.items()}


def _as_path(value: Any) -> Any:
    return [Path(one) for one in value] if isinstance(value, tuple) else Path(value)
