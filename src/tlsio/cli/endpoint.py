"""HOST:PORT on the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import click

__all__ = ["ENDPOINT", "FILE_OR_ENDPOINT", "Endpoint"]

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


ENDPOINT = _Endpoint()
FILE_OR_ENDPOINT = _FileOrEndpoint()
