"""`tlsio inspect`: what is in a file, or what a server presents."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlsio.certs.inspect import inspect as describe
from tlsio.cli.client_options import client_options, for_connect
from tlsio.cli.endpoint import FILE_OR_ENDPOINT
from tlsio.cli.failures import FINDING
from tlsio.cli.help import Command
from tlsio.cli.output import COLORS, is_json, json_option, print_json
from tlsio.cli.passphrase import with_passphrase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tlsio.certs.item import Item
    from tlsio.cli.endpoint import Endpoint

__all__ = ["inspect"]


@click.command(
    cls=Command,
    examples="""
    tlsio inspect server.pem                      certificates, requests, keys, PKCS#12, CRLs, sessions
    tlsio inspect --usage client ada.pem          judged as the certificate of a client
    tlsio inspect example.org:443 --json          the certificates that a server sends
    """,
)
@click.argument("target", type=FILE_OR_ENDPOINT)
@click.option("--usage", type=click.Choice(["server", "client"]), help="What the certificates are wanted for.")
@click.option("--at", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]), help="Judge for this instant, UTC. Default: now.")
@client_options
@json_option
def inspect(target: Path | Endpoint, *, usage: Any, at: datetime | None, **options: Any) -> int:
    """Describe everything in TARGET, a file or HOST:PORT, and what is wrong with it.

    The exit code is 1 if there is an error or a warning among the findings.
    """
    from datetime import UTC  # noqa: PLC0415

    instant = at.replace(tzinfo=UTC) if at else None
    if isinstance(target, Path):
        items = with_passphrase(options["passphrase"], lambda secret: describe(target, passphrase=secret, usage=usage, at=instant))
    else:
        certificates = asyncio.run(_fetch(target, options))
        items = tuple(item for der in certificates for item in describe(der, usage=usage, at=instant))
    if is_json():
        print_json([item.as_json() for item in items])
    else:
        for item in items:
            _print(item)
    return FINDING if any(finding.level in {"error", "warning"} for finding in _findings(items)) else 0


async def _fetch(target: Endpoint, options: dict[str, Any]) -> list[bytes]:
    """Return the certificates that a server sends."""
    from tlsio.probe.connect import connect  # noqa: PLC0415 - files need no network

    look = await connect(target.host, target.port, **for_connect(options))
    async with look:
        return [one.der for one in (*look.chain, *look.unused) if one.sent]


def _findings(items: tuple[Item, ...]) -> Iterator[Any]:
    for item in items:
        yield from item.findings
        yield from _findings(item.items)


def _print(item: Item) -> None:
    for line in item.lines():
        word, colon, rest = line.partition(":")
        color = COLORS.get(word.strip())
        click.echo(click.style(word, fg=color, bold=color is not None) + colon + rest)
