"""`tlsio verify`: whether a chain would be accepted, and every reason why not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from tlsio.certs.verify import verify as judge
from tlsio.cli.failures import FINDING
from tlsio.cli.help import Command
from tlsio.cli.output import for_people, is_json, json_option, print_json
from tlsio.cli.parameters import INPUT, INSTANT
from tlsio.cli.passphrase import passphrase_option, with_passphrase

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

__all__ = ["verify"]


@click.command(
    cls=Command,
    examples="""
    tlsio verify server.pem --name gateway.plant.example --ca plant-ca.pem
    tlsio verify fullchain.pem --name example.org --policy strict
    tlsio verify ada.pem --usage client --ca clients.pem --crl revoked.pem
    tlsio verify server.pem --name example.org --at 2027-01-01         still valid then?
    """,
)
@click.argument("files", nargs=-1, required=True, type=INPUT, metavar="FILE...")
@click.option("--name", help="The host name or address that the certificate must be for.")
@click.option("--identity", metavar="URI", help="A URI that the certificate must have, such as spiffe://plant.example/press.")
@click.option("--ca", type=INPUT, metavar="FILE", multiple=True, help="Trust these authorities, instead of the default roots.")
@click.option("--extra-ca", type=INPUT, metavar="FILE", multiple=True, help="Trust these authorities too.")
@click.option("--crl", type=INPUT, metavar="FILE", multiple=True, help="Certificate revocation lists, one of each authority of the chain.")
@click.option("--usage", type=click.Choice(["server", "client"]), default="server", show_default=True, help="Whose certificate it is.")
@click.option(
    "--policy", type=click.Choice(["openssl", "strict"]), default="openssl", show_default=True, help="strict: RFC 5280's profile."
)
@click.option("--pin", "--pins", "pins", metavar="PIN", multiple=True, help="Accept only a chain with this key: sha256/…")
@click.option("--at", type=INSTANT, help="Judge for this instant, UTC. Default: now.")
@passphrase_option
@json_option
def verify(files: tuple[Path | bytes, ...], *, at: datetime | None, passphrase: Any, **options: Any) -> int:
    """Verify a chain, the leaf first, as a connection would, and give every cause to refuse it.

    The exit code is 1 if it is refused.
    """
    given = {name: value for name, value in options.items() if value not in (None, ())}
    verdict = with_passphrase(passphrase, lambda secret: judge(list(files), at=at, passphrase=secret, **given))
    causes = [replace(one, text=for_people(one.text), hint=for_people(one.hint, is_hint=True)) for one in verdict.causes]
    verdict = replace(verdict, causes=tuple(causes))
    if is_json():
        print_json(verdict.as_json())
    else:
        first, *others = verdict.lines()
        click.secho(first, fg="green" if verdict.accepted else "red")
        for line in others:
            click.echo(line)
        if options["usage"] == "server" and not (options["name"] or options["identity"]):
            click.echo("No name was checked (--name).")
    return 0 if verdict.accepted else FINDING
