"""`tlsio dev`: certificates for development."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tlsio.certs.dev import authority as development
from tlsio.cli.failures import FINDING
from tlsio.cli.help import Group
from tlsio.cli.output import is_json, json_option, print_json
from tlsio.cli.parameters import FOLDER
from tlsio.cli.written import force_option
from tlsio.model.instants import print_instant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tlsio.certs.dev.trust import Outcome

__all__ = ["dev"]

_STORES = ("system", "nss", "java")

folder_option = click.option(
    "--folder", type=FOLDER, metavar="FOLDER", help="Where the authority is kept. Default: what `tlsio dev where` says."
)


@click.group(
    cls=Group,
    examples="""
    tlsio dev init                         an authority of your own
    tlsio dev cert localhost 127.0.0.1     localhost+1.pem and localhost+1-key.pem
    tlsio dev trust --dry-run              what it would do to this machine
    tlsio dev trust                        browsers accept the certificates
    tlsio dev untrust                      and no longer do
    """,
)
def dev() -> None:
    """Make certificates for development, and trust in them on this machine alone."""


@dev.command(
    examples="""
    tlsio dev init
    tlsio dev init --permit localhost --permit test --permit 127.0.0.0/8     it can imitate no other site
    tlsio dev init --folder plant --name "Plant CA" --days 1825               an authority for other purposes
    """,
)
@folder_option
@click.option("--name", help="The name of the authority. Default: one with the user and the machine.")
@click.option("--permit", "permitted", metavar="NAME", multiple=True, help="The only names that it can certify.")
@click.option("--exclude", "excluded", metavar="NAME", multiple=True, help="Names that it cannot certify.")
@click.option("--days", type=float, help="The length of its life. Default: ten years.")
@json_option
def init(folder: str | None, **options: Any) -> None:
    """Make the authority: root.pem and root.key, which you alone can read.

    They are written to FOLDER or, without --folder, to the folder tlsio/dev where your system keeps
    the data of programs: in ~/.local/share ($XDG_DATA_HOME) on Linux, in ~/Library/Application
    Support on macOS, in %LOCALAPPDATA% on Windows. A folder that is missing is made. Nothing trusts
    the authority until `tlsio dev trust`. It issues certificates of servers and clients, and can
    have no authority below it.
    """
    made = development.init(folder=folder, **options)
    place = folder or development.where()
    name = made.certificate.subject.rfc4514_string()
    if is_json():
        print_json({"folder": str(place), "subject": name, "not_after": made.certificate.not_valid_after_utc.isoformat()})
    else:
        click.echo(f"{place}: root.pem and root.key of {name}, until {print_instant(made.certificate.not_valid_after_utc)}")


@dev.command(
    examples="""
    tlsio dev cert localhost 127.0.0.1 ::1
    tlsio dev cert '*.shop.test' shop.test --into certificates
    tlsio dev cert --client ada
    """,
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--client", is_flag=True, help="For a client, which servers do not accept from each other.")
@click.option(
    "--into",
    type=FOLDER,
    metavar="FOLDER",
    default=".",
    show_default=True,
    help="Where the files are written; it is made if it is missing.",
)
@click.option("--days", type=float, help="The length of its life, at most 398. Default: 365.")
@folder_option
@force_option
@json_option
def cert(names: tuple[str, ...], *, force: bool, **options: Any) -> None:
    """Make a certificate and its key; the files are named after the first name.

    NAME is what clients connect to: DNS names, wildcards, IP addresses. For a client: its name,
    then others, such as an e-mail address.
    """
    issued = development.cert(*names, overwrite=force, **options)
    if is_json():
        end = issued.leaf.certificate.not_valid_after_utc.isoformat()
        print_json({"cert": str(issued.cert), "key": str(issued.key), "names": list(names), "not_after": end})
    else:
        click.echo(f"{issued.cert}: the certificate, until {print_instant(issued.leaf.certificate.not_valid_after_utc)}")
        click.echo(f"{issued.key}: its private key")


def _with_stores(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options of commands that change stores."""
    for option in (
        json_option,
        folder_option,
        click.option("-n", "--dry-run", is_flag=True, help="Change nothing; show what would be done."),
        click.option("--only", type=click.Choice(_STORES), multiple=True, help="These stores: the system's, browsers', Java's."),
    ):
        command = option(command)
    return command


@dev.command(
    examples="""
    tlsio dev trust --dry-run
    tlsio dev trust --only nss             browsers: Firefox, and Chromium on Linux
    """,
)
@_with_stores
def trust(only: tuple[str, ...], **options: Any) -> int:
    """Make this machine trust the authority; `tlsio dev untrust` undoes it.

    Whoever has the authority's key can then imitate every site to this machine that it may certify.
    The exit code is 1 if a store could not be changed, or there is none.
    """
    outcomes = development.trust(only=only or _STORES, **options)
    code = _report(outcomes)
    return code if outcomes else FINDING


@dev.command(
    examples="""
    tlsio dev untrust --dry-run
    tlsio dev untrust
    """,
)
@_with_stores
def untrust(only: tuple[str, ...], **options: Any) -> int:
    """Remove the authority from the stores of this machine, and nothing else.

    The exit code is 1 if a store could not be changed.
    """
    return _report(development.untrust(only=only or _STORES, **options))


@dev.command(
    examples="""
    tlsio dev where
    tlsio connect localhost:8443 --ca "$(tlsio dev where)/root.pem"   to a server with such a certificate
    """,
)
@json_option
def where() -> None:
    """Print the folder of the authority, whether it exists or not."""
    folder = str(development.where())
    if is_json():
        print_json({"folder": folder})
    else:
        click.echo(folder)


def _report(outcomes: Sequence[Outcome]) -> int:
    if is_json():
        fields = ("state", "problem")
        print_json(
            [
                {"kind": one.store.kind, "place": one.store.place, "commands": list(one.commands)}
                | {name: getattr(one, name) for name in fields}
                for one in outcomes
            ]
        )
    else:
        for one in outcomes:
            click.echo(f"{click.style(one.state, fg='red' if one.state == 'failed' else 'green')}: {one.store.place}")
            for line in one.commands:
                click.echo(f"  {line}")
            if one.problem:
                click.echo(f"  {one.problem}")
        if not outcomes:
            click.echo("This machine has none of these stores.")
    return FINDING if any(one.state == "failed" for one in outcomes) else 0
