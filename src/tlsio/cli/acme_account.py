"""`tlsio acme account`: the account at an authority."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlsio.cli.acme_options import chosen_server, run_with_storage, server_option, storage_options
from tlsio.cli.confirmation import confirm, yes_option
from tlsio.cli.help import Group
from tlsio.cli.output import is_json, print_json
from tlsio.cli.parameters import NEW_FILE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsio.acme.client.account import Account
    from tlsio.acme.issuers.acme_issuer import ACMEIssuer
    from tlsio.acme.storage.storage import Storage

__all__ = ["account"]


@click.group(
    examples="""
    tlsio acme account show
    tlsio acme account change-key                     after someone may have read the old one
    tlsio acme account deactivate --server zerossl    for ever
    """,
    cls=Group,
)
def account() -> None:
    """Look at the account at an authority, change its key, or give it up."""


def _account_options(command: Callable[..., Any]) -> Callable[..., Any]:
    ca = click.option(
        "--server-ca", type=NEW_FILE, metavar="FILE", help="Roots of the authority's own server, in place of the default ones."
    )
    return server_option(ca(storage_options(command)))


@account.command(examples="tlsio acme account show --server letsencrypt-staging")
@_account_options
def show(**options: Any) -> None:
    """Ask the authority for the account whose key is in the storage, and show it."""
    _print(_run(options, lambda issuer: issuer.account()))


@account.command("change-key", examples="tlsio acme account change-key")
@_account_options
def change_key(**options: Any) -> None:
    """Give the account a new key, for all who use the storage."""
    _print(_run(options, lambda issuer: issuer.change_account_key()))


@account.command(examples="tlsio acme account deactivate --server letsencrypt-staging")
@yes_option
@_account_options
def deactivate(*, is_confirmed: bool, **options: Any) -> None:
    """Give the account up for ever, and remove it from the storage.

    Certificates stay valid. The next `tlsio acme obtain` makes a new account.
    """
    confirm(f"Deactivate the account at {options['server']} for ever?", is_confirmed=is_confirmed)
    _print(_run(options, lambda issuer: issuer.deactivate_account()))


def _run(options: dict[str, Any], action: Callable[[ACMEIssuer], Any]) -> Account:
    from tlsio.acme.issuers.acme_issuer import ACMEIssuer  # noqa: PLC0415 - the extra may be missing

    server = chosen_server(options["server"])
    trust: dict[str, Any] = {} if options["server_ca"] is None else {"ca": Path(options["server_ca"])}

    async def run(storage: Storage) -> Account:
        issuer = ACMEIssuer(server, storage, (), **trust)
        if await storage.load(f"accounts/{issuer.name}/key.pem") is None:
            others = sorted({key.split("/")[1] for key in await storage.list("accounts") if key.endswith("/key.pem")})
            there = f"It has accounts at {', '.join(others)}: give --server." if others else "`tlsio acme obtain` makes one."
            raise click.UsageError(f"The storage has no account at {server}. {there}")
        found: Account = await action(issuer)
        return found

    return run_with_storage(options["storage"], options["storage_secret_file"], run)


def _print(found: Account) -> None:
    facts = {
        "url": found.url,
        "status": found.status,
        "contact": list(found.contact),
        "key": found.key.algorithm,
        "thumbprint": found.key.thumbprint,
    }
    if is_json():
        print_json(facts)
        return
    for name, value in facts.items():
        click.echo(f"{name}: {', '.join(value) or 'none' if isinstance(value, list) else value}")
