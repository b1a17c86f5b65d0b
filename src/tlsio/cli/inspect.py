"""`tlsio inspect` and `pin`: what is in a file, or what a server presents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from tlsio.certs.inspect import inspect as describe
from tlsio.cli.client_options import client_options, run_client
from tlsio.cli.failures import FINDING
from tlsio.cli.help import Command
from tlsio.cli.output import COLORS, is_json, json_option, print_json, print_lines, translate
from tlsio.cli.parameters import INPUT_OR_ENDPOINT, INSTANT, Endpoint
from tlsio.cli.passphrase import with_passphrase
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from tlsio.certs.item import Item
    from tlsio.probe.connect import Look

__all__ = ["inspect", "pin"]


@click.command(
    cls=Command,
    examples="""
    tlsio inspect server.pem                      certificates, requests, keys, PKCS#12, CRLs, sessions, DH parameters
    cat *.pem | tlsio inspect -                   what standard input has
    tlsio inspect --usage client ada.pem          judged as the certificate of a client
    tlsio inspect example.org:443 --json          the certificates that a server sends
    """,
)
@click.argument("target", type=INPUT_OR_ENDPOINT)
@click.option("--usage", type=click.Choice(["server", "client"]), help="What the certificates are wanted for.")
@click.option("--at", type=INSTANT, help="Judge for this instant, UTC. Default: now.")
@client_options
@json_option
def inspect(target: Path | bytes | Endpoint, *, usage: Any, at: datetime | None, **options: Any) -> int:
    """Describe everything in TARGET, a file or HOST:PORT, and what is wrong with it.

    Of a server, it also says whether the chain is trusted, and for the name. The exit code is 1 if
    there is an error or a warning among the findings; a server that is not trusted is none of them:
    for that, there is tlsio connect.
    """
    look = None
    if isinstance(target, Endpoint):
        look = _connect(target, options)
        items = _describe_sent(look, usage=usage, at=at)
    else:
        items = with_passphrase(options["passphrase"], lambda secret: _describe_file(target, options, secret, usage=usage, at=at))
    if is_json():
        found = [item.as_json() for item in items]
        print_json([{**one, "verdict": look.as_json()["verdict"]} if look and one is found[0] else one for one in found])
    else:
        for item in items:
            _print(item)
        if look:
            from tlsio.cli.look import describe_verdict  # noqa: PLC0415 - files need none of what it imports

            print_lines(describe_verdict(look.verdict, options["servername"] or look.host))
    return FINDING if any(finding.level in {"error", "warning"} for item in _flatten(items) for finding in item.findings) else 0


@click.command(
    cls=Command,
    examples="""
    tlsio pin server.pem                     sha256/… of its key, for --pin and pins=
    tlsio pin next.key                       the pin of a key that is not in use yet
    tlsio pin gateway.plant.example:8883
    """,
)
@click.argument("target", type=INPUT_OR_ENDPOINT)
@click.option("--all", "shows_all", is_flag=True, help="Of every certificate in the file, or that the server sends.")
@client_options
@json_option
def pin(target: Path | bytes | Endpoint, *, shows_all: bool, **options: Any) -> None:
    """Print the pin of the key of TARGET: a certificate, key or request, or HOST:PORT.

    A server is not verified for that: compare what it shows with what its owner says.
    """
    if isinstance(target, Endpoint):
        found = _find_pins(_describe_sent(_connect(target, options)), target)
    else:
        found = with_passphrase(options["passphrase"], lambda secret: _find_pins(_describe_file(target, options, secret), target))
    chosen = found if shows_all else found[:1]
    if is_json():
        print_json([{"kind": item.kind, "title": item.title, "pin": value} for item, value in chosen])
    else:
        for item, value in chosen:
            click.echo(f"{value}  {item.title}" if shows_all else value)


def _find_pins(items: tuple[Item, ...], target: Path | bytes | Endpoint) -> list[tuple[Item, Any]]:
    """Return the items that have a key, each with its pin.

    Raises:
        ConfigError: there is none; with the code of a missing passphrase if one may be encrypted.
    """
    all_items = list(_flatten(items))
    found = [(item, key["pin"]) for item in all_items if isinstance(key := item.facts.get("public_key"), Mapping)]
    place = "standard input" if isinstance(target, bytes) else target
    if not found and any(finding.code == "encrypted" for item in all_items for finding in item.findings):
        raise ConfigError(f"There is no readable key in {place}", code="ERR_OSSL_BAD_DECRYPT", hint="It is encrypted: give passphrase=.")
    if not found:
        raise ConfigError(f"There is no key in {place}", code="ERR_TLS_NO_KEY", hint="Give a certificate, a key or a request.")
    return found


def _refuse_unused(options: dict[str, Any]) -> None:
    """Refuse options of connections for a file, which is not judged by them."""
    given = {name for name, value in options.items() if name not in {"passphrase", "timeout"} and value not in (None, ())}
    unused = [one.opts[0] for one in click.get_current_context().command.params if one.name in given]
    if unused:
        raise click.UsageError(f"{', '.join(unused)}: only for HOST:PORT. Whether a file's chain is trusted: tlsio verify.")


def _describe_file(target: Path | bytes, options: dict[str, Any], secret: str | None, **how: Any) -> tuple[Item, ...]:
    _refuse_unused(options)
    try:
        return describe(target, passphrase=secret, **how)
    except FileNotFoundError as error:
        error.add_note("If it is a server, give its port too: HOST:PORT.")
        raise


def _describe_sent(look: Look, *, usage: Any = None, at: datetime | None = None) -> tuple[Item, ...]:
    """Describe the certificates that a server sent."""
    sent = [one.der for one in (*look.chain, *look.unused) if one.sent]
    return tuple(item for der in sent for item in describe(der, usage=usage, at=at))


def _connect(target: Endpoint, options: dict[str, Any]) -> Look:
    """Return what one connection shows, which is closed then."""
    from tlsio.cli.progress import progress  # noqa: PLC0415 - files need no network
    from tlsio.probe.connect import connect  # noqa: PLC0415

    async def look(given: dict[str, Any]) -> Look:
        with progress(f"Connecting to {target.host} port {target.port}"):
            async with connect(target.host, target.port, **given) as found:
                return found

    return run_client(options, look)


def _flatten(items: tuple[Item, ...]) -> Iterator[Item]:
    for item in items:
        yield item
        yield from _flatten(item.items)


def _print(item: Item) -> None:
    for line in map(translate, item.lines()):
        word, colon, rest = line.partition(":")
        color = COLORS.get(word.strip())
        click.echo(click.style(word, fg=color, bold=color is not None) + colon + rest)
