"""The options of servers that obtain their certificates: --domain, and what belongs to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlsio.acme.plans.dns_kinds import DNS_KINDS
from tlsio.cli.parameters import NEW_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["acme_table", "automatic_options", "settings_of"]

_OPTIONS = (
    click.option(
        "--domain",
        "domains",
        metavar="NAME[,NAME…]",
        multiple=True,
        help="Obtain a certificate for it and renew it (ACME); names with commas share one. Then the ports are 443 and 80, on all addresses.",
    ),
    click.option("--agree-tos", is_flag=True, help="Agree to the authority's terms of service, for a new account."),
    click.option("--email", metavar="ADDRESS", multiple=True, help="Your e-mail address, for the authority; optional."),
    click.option(
        "--acme-server",
        metavar="NAME|URL",
        help="The authority: as --server of `tlsio acme obtain`, or internal: the development authority.  [default: letsencrypt]",
    ),
    click.option(
        "--acme-server-ca", type=NEW_FILE, metavar="FILE", help="Roots of the authority's own server, in place of the default ones."
    ),
    click.option("--acme-storage", metavar="FOLDER|URL", help="Accounts, keys and certificates: as --storage of `tlsio acme obtain`."),
    click.option(
        "--acme-storage-secret-file", type=NEW_FILE, metavar="FILE", help="Encrypts what is in Redis, with the secret in its first line."
    ),
    click.option("--dns", type=click.Choice(DNS_KINDS), help="Answer the authority by DNS too, which wildcards need."),
    click.option("--dns-settings", type=NEW_FILE, metavar="FILE", help="Its settings, TOML: as of `tlsio acme obtain`."),
    click.option("--acme-profile", metavar="NAME", help="The kind of certificate, such as shortlived."),
    click.option(
        "--no-redirect", is_flag=True, help="With --domain: without the port of plain HTTP, which redirects, and answers the authority."
    ),
    click.option("--eab-kid", metavar="ID", help="A new account is bound to one that the authority has given you: its key identifier,"),
    click.option("--eab-hmac-file", type=NEW_FILE, metavar="FILE", help="and its HMAC key, in the first line of a file."),
)
# Of each option, the field of `tlsio.https.ACME`.
_FIELDS = {
    "domains": "domains",
    "agree_tos": "agree_tos",
    "email": "email",
    "acme_server": "server",
    "acme_server_ca": "server_ca",
    "acme_storage": "storage",
    "acme_storage_secret_file": "storage_secret_file",
    "dns": "dns",
    "dns_settings": "dns_settings",
    "acme_profile": "profile",
    "eab_kid": "eab_kid",
    "eab_hmac_file": "eab_hmac_file",
}
_FILES = ("server_ca", "storage_secret_file", "dns_settings", "eab_hmac_file")


def automatic_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options."""
    for one in reversed(_OPTIONS):
        command = one(command)
    return command


def settings_of(options: Iterable[str]) -> frozenset[str]:
    """Return what the settings of these options are called in a file."""
    return frozenset(_FIELDS.get(one, one) for one in options)


def acme_table(options: dict[str, Any], table: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the settings of these options; takes them out of `options`.

    Args:
        options: Those that were given.
        table: The table `acme` of the file, which they are added to.

    Raises:
        UsageError: one needs --domain.
    """
    without_redirect = {"redirect": False} if options.pop("no_redirect", False) else {}
    if without_redirect and options.get("redirect") is not None:
        raise click.UsageError("--redirect and --no-redirect cannot be combined.")
    given = [option for option in _FIELDS if option in options]
    if given and table is None and "domains" not in given:
        raise click.UsageError(f"--{given[0].replace('_', '-')} needs --domain.")
    found = {_FIELDS[option]: options.pop(option) for option in given}
    # Paths on a command line do not depend on the folder of --config.
    for name in _FILES:
        if name in found:
            found[name] = str(Path(found[name]).absolute())
    if "://" not in found.get("storage", "://"):
        found["storage"] = str(Path(found["storage"]).absolute())
    return ({"acme": (table or {}) | found} if found else {}) | without_redirect
