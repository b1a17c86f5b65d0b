"""`tlsio acme`: certificates of Let's Encrypt and other authorities, obtained and renewed."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlsio.acme.plans.dns_kinds import DNS_KINDS
from tlsio.cli.acme_account import account
from tlsio.cli.acme_options import (
    account_options,
    chosen_server,
    external_account,
    run_with_storage,
    server_option,
    shown_storage,
    storage_options,
)
from tlsio.cli.acme_print import print_dropped, print_outcomes, print_standings
from tlsio.cli.confirmation import confirm, yes_option
from tlsio.cli.failures import FINDING, report
from tlsio.cli.help import Group
from tlsio.cli.output import is_json, print_json
from tlsio.cli.parameters import FOLDER, NEW_FILE
from tlsio.cli.progress import progress
from tlsio.model.checks import wrong_value
from tlsio.model.errors import StoreError, TLSError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsio.acme.plans.keeper import Keeper, Outcome
    from tlsio.acme.plans.plan import Plan
    from tlsio.acme.plans.survey import Standing
    from tlsio.acme.storage.storage import Storage

__all__ = ["acme"]

_HTTP, _HTTPS = 80, 443  # RFC 8555 §8.3, RFC 8737 §3
_PORT = click.IntRange(0, 65535)
_KEY_TYPES = ("p256", "p384", "rsa2048", "rsa3072", "rsa4096")
_REASONS = ("unspecified", "keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation")


@click.group(
    cls=Group,
    examples="""
    tlsio acme obtain example.com www.example.com --agree-tos       this machine answers on port 80 or 443 itself
    tlsio acme obtain example.com --webroot /var/www --cert site.pem --key site.key
    tlsio acme renew                                                what is due, once or twice a day
    tlsio acme status                                               what there is, and what is wrong
    tlsio acme import /etc/letsencrypt                              take over from certbot
    """,
)
def acme() -> None:
    """Obtain certificates of Let's Encrypt and other authorities (ACME), and renew them.

    A server that tlsio runs does this by itself: `tlsio serve --domain`. These commands are for
    other servers, such as nginx. Both can share one storage.
    """


@acme.command(
    examples="""
    tlsio acme obtain example.com www.example.com --agree-tos
    tlsio acme obtain example.com --webroot /var/www --cert site.pem --key site.key
    tlsio acme obtain example.com --deploy-hook 'systemctl reload postfix'
    tlsio acme obtain '*.example.com' --dns rfc2136 --dns-settings dns.toml
    tlsio acme obtain example.com --server letsencrypt-staging --agree-tos      try it out
    """,
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@server_option
@account_options
@click.option(
    "--webroot",
    "webroots",
    metavar="[NAME=]FOLDER",
    multiple=True,
    help="Where the web server on port 80 finds files, of all names or of one.",
)
@click.option("--http-port", type=_PORT, help="Answer http-01 on this port, which the authority must reach as 80.")
@click.option("--tls-port", type=_PORT, help="Answer tls-alpn-01 on this port, which the authority must reach as 443.")
@click.option("--address", metavar="ADDRESS", help="Listen on this address for that. Default: on all.")
@click.option("--dns", type=click.Choice(DNS_KINDS), help="Answer dns-01, which wildcards need: by dynamic update, a program, or lexicon.")
@click.option("--dns-settings", type=NEW_FILE, metavar="FILE", help="Its settings, TOML: keys of the providers are not for a command line.")
@click.option("--profile", metavar="NAME", help="A kind of certificate that the authority offers, such as shortlived.")
@click.option("--key-type", type=click.Choice(_KEY_TYPES), default="p256", show_default=True, help="The key of each new certificate.")
@click.option("--preferred-chain", metavar="NAME", help="The common name of the root, if the authority has several chains.")
@click.option("--cert", type=NEW_FILE, metavar="FILE", help="Also write the chain here, now and after each renewal;")
@click.option("--key", type=NEW_FILE, metavar="FILE", help="and its key here. Without it, the key goes to --cert too.")
@click.option(
    "--deploy-hook",
    "deploy_hooks",
    metavar="COMMAND",
    multiple=True,
    help="Run after each new certificate, by the shell; a new hook at once.",
)
@click.option("--pre-hook", "pre_hooks", metavar="COMMAND", multiple=True, help="Run before each order.")
@click.option("--post-hook", "post_hooks", metavar="COMMAND", multiple=True, help="Run after each order, also if it failed.")
@click.option("-f", "--force", is_flag=True, help="Obtain one although there is one that is not due.")
@storage_options
def obtain(names: tuple[str, ...], *, storage: str | None, storage_secret_file: str | None, force: bool, **options: Any) -> None:
    """Obtain a certificate for NAMEs, and keep it: `tlsio acme renew` renews it in the same way.

    Without --webroot, --dns and ports, this machine answers the authority on port 80, or else 443.
    One certificate is for all names, which may have commas between them. It is in the storage, and
    in --cert and --key if you give them. Hooks get RENEWED_DOMAINS and RENEWED_LINEAGE, as from
    certbot.
    """
    terms_agreed, bound = options.pop("agree_tos"), external_account(options.pop("eab_kid"), options.pop("eab_hmac_file"))
    plan = _plan(names, options)

    async def run(opened: Storage) -> tuple[Plan | None, Outcome]:
        old = await _plan_called(opened, plan.name)
        keeper = _keeper(opened, terms_agreed=terms_agreed, external_account=bound)
        with progress(f"Obtaining a certificate for {', '.join(plan.names)}"):
            return old, await keeper.obtain(plan, is_forced=force)

    old, outcome = run_with_storage(storage, storage_secret_file, run)
    print_outcomes([outcome], note=", and kept: --force obtains another")
    if old is not None:
        print_dropped(old, plan)


@acme.command(
    examples="""
    tlsio acme renew                              for a timer: what is due, and quickly done if nothing is
    tlsio acme renew --dry-run                    what would be renewed, and whether that would work
    tlsio acme renew --dry-run --force            the same of what is not due
    tlsio acme renew example.com --force
    """,
)
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("-f", "--force", is_flag=True, help="Renew, or try out, although it is not due, or the last try failed just now.")
@click.option("-n", "--dry-run", is_flag=True, help="Change nothing. With Let's Encrypt, try all of it out with its staging server.")
@storage_options
def renew(names: tuple[str, ...], *, storage: str | None, storage_secret_file: str | None, force: bool, dry_run: bool) -> int:
    """Renew the certificates that are due, or those called NAME.

    When it is due says the authority (ARI); otherwise it is a third of its life before its end.
    After a failure, the next tries wait longer and longer, whatever the timer. The exit code is 1
    if a certificate is due and was not renewed.
    """

    async def run(opened: Storage) -> int:
        code = 0
        outcomes: list[Outcome] = []
        keeper, damaged = _keeper(opened), list[StoreError]()
        plans = await _plans(opened, names, damaged.append)
        for failure in damaged:
            report(failure, as_json=False)
            code = FINDING
        for plan in plans:
            try:
                with progress(f"Renewing {plan.name}"):
                    outcomes.append(await (keeper.rehearse(plan, is_forced=force) if dry_run else keeper.renew(plan, is_forced=force)))
            except (TLSError, OSError) as error:  # the others are renewed all the same
                click.echo(f"{plan.name}: ", err=True, nl=False)
                report(error, as_json=False)
                code = FINDING
        print_outcomes(outcomes, place=shown_storage(storage))
        return FINDING if any(one.state == "waiting" for one in outcomes) else code

    return run_with_storage(storage, storage_secret_file, run)


@acme.command(
    examples="""
    tlsio acme status
    tlsio acme status --json                      for programs
    tlsio acme status --storage redis://cache     of a fleet
    """,
)
@storage_options
def status(*, storage: str | None, storage_secret_file: str | None) -> int:
    """Show each certificate, its authority, its end, its next renewal, and the last failure.

    Those of servers that use the storage are shown too. The exit code is 1 if one is not in date,
    or the last try to renew it or to put it in place has failed.
    """
    from tlsio.acme.plans.survey import survey  # noqa: PLC0415 - the extra may be missing

    now = datetime.now(UTC)
    found = run_with_storage(storage, storage_secret_file, lambda opened: survey(opened, now))
    if is_json():
        print_json([one.as_json() for one in found])
    elif found:
        print_standings(found, now)
    else:
        click.echo(f"There are no certificates in {shown_storage(storage)}.")
    return FINDING if any(map(_is_wrong, found)) else 0


@acme.command(
    examples="""
    tlsio acme revoke example.com                                    it is not renewed any more
    tlsio acme revoke example.com --reason keyCompromise --renew     and a new one, with a new key, at once
    """,
)
@click.argument("name", metavar="NAME")
@click.option(
    "--reason", type=click.Choice(_REASONS), metavar="REASON", help=f"What the authority publishes about it: {', '.join(_REASONS)}."
)
@click.option("--renew", "is_renewed", is_flag=True, help="Obtain a new certificate first, with a new key.")
@server_option
@click.option("--server-ca", type=NEW_FILE, metavar="FILE", help="Roots of the authority's own server, in place of the default ones.")
@storage_options
def revoke(  # noqa: PLR0913 - one for each option
    name: str,
    *,
    storage: str | None,
    storage_secret_file: str | None,
    reason: str | None,
    is_renewed: bool,
    server: str,
    server_ca: str | None,
) -> None:
    """Revoke the certificate called NAME, for instance because others have its key.

    One that a server has obtained needs --server, unless it is of Let's Encrypt; the server
    replaces it by itself. If --renew cannot revoke the old one, `tlsio acme renew` tries again.
    """

    async def run(opened: Storage) -> tuple[Plan, bool]:
        of_server = await _plan_of_server(opened, name, server, server_ca)
        [plan] = await _plans(opened, (name,)) if of_server is None or is_renewed else [of_server]
        await _keeper(opened).revoke(plan, reason, is_renewed=is_renewed)
        return plan, plan is of_server

    plan, is_of_server = run_with_storage(storage, storage_secret_file, run)
    if is_json():
        print_json({"names": list(plan.names), "revoked": True, "renewed": is_renewed})
    else:
        after = "; the server replaces it" if is_of_server else "; it is not renewed any more"
        click.echo(f"{plan.name}: revoked{', and replaced by a new certificate' if is_renewed else after}")


@acme.command(
    examples="""
    tlsio acme delete example.com
    tlsio acme delete example.com --yes           without a question, for scripts
    """,
)
@click.argument("name", metavar="NAME")
@yes_option
@storage_options
def delete(name: str, *, storage: str | None, storage_secret_file: str | None, is_confirmed: bool) -> None:
    """Delete the certificate called NAME from the storage, with its plan and its failures.

    It is not revoked: if others may have its key, revoke it first. Files of --cert and --key stay,
    since a server may use them. A server that obtains it by itself obtains it again: end that
    first.
    """
    from tlsio.acme.plans.plan import load_plan, normalize  # noqa: PLC0415 - the extra may be missing
    from tlsio.acme.plans.removal import remove  # noqa: PLC0415

    [wanted] = normalize([name])

    async def run(opened: Storage) -> tuple[Plan | None, list[str]]:
        return await load_plan(opened, wanted), await remove(opened, wanted)

    confirm(f"Delete the certificate for {wanted}, and its private key?", is_confirmed=is_confirmed)
    plan, removed = run_with_storage(storage, storage_secret_file, run)
    if not removed:
        raise click.UsageError(f"The storage has no certificate called {wanted}. `tlsio acme status` shows those there are.")
    files = [] if plan is None else list(dict.fromkeys(path for path in (plan.cert, plan.key) if path))
    if is_json():
        print_json({"name": wanted, "deleted": removed, "kept": files})
        return
    click.echo(f"{wanted}: deleted")
    if files:
        click.echo(f"  still there: {' and '.join(files)}")


@acme.command(
    "import",
    examples="""
    tlsio acme import /etc/letsencrypt
    tlsio acme import /etc/letsencrypt --files /etc/tlsio/live       and point nginx to the files there
    """,
)
@click.argument("folder", type=FOLDER, metavar="FOLDER")
@click.option(
    "--files", type=FOLDER, metavar="FOLDER", help="Also write NAME/fullchain.pem and NAME/privkey.pem there, now and after each renewal."
)
@click.option("--server-ca", type=NEW_FILE, metavar="FILE", help="Roots of an authority of your own, for the renewals.")
@storage_options
def import_(folder: str, *, storage: str | None, storage_secret_file: str | None, files: str | None, server_ca: str | None) -> int:
    """Take over accounts, certificates and renewals from certbot, which keeps them in FOLDER.

    Nothing in FOLDER changes. What tlsio does in another way is said. The exit code is 1 if
    something could not be taken over.
    """
    from tlsio.acme.certbot import import_tree  # noqa: PLC0415 - the extra may be missing

    places = {name: None if path is None else Path(path).absolute() for name, path in (("files", files), ("server_ca", server_ca))}
    taken, notes = run_with_storage(storage, storage_secret_file, lambda opened: import_tree(Path(folder), opened, **places))
    if is_json():
        fields = ("kind", "name", "is_taken", "is_renewed")
        print_json(
            {"taken": [{name: getattr(one, name) for name in fields} | {"notes": list(one.notes)} for one in taken], "notes": list(notes)}
        )
    else:
        for one in taken:
            words = (
                "left out" if not one.is_taken else "taken over" if one.is_renewed or one.kind == "account" else "taken over, not renewed"
            )
            click.echo(f"{one.kind} {one.name}: {words}")
            for note in one.notes:
                click.echo(f"  {note}")
        for note in notes:
            click.echo(note, err=True)
    return FINDING if notes or not all(one.is_taken for one in taken) else 0


acme.add_command(account)


def _is_wrong(one: Standing) -> bool:
    return bool(one.trouble.message or one.trouble.failures or one.deployment.failures or one.unrevoked) or one.reason in {
        "expired",
        "not_yet_valid",
    }


def _plan(names: tuple[str, ...], options: dict[str, Any]) -> Plan:
    """Return the plan of `tlsio acme obtain`: paths do not depend on the current folder."""
    from tlsio.acme.plans.places import find_uncertified  # noqa: PLC0415 - the extra may be missing
    from tlsio.acme.plans.plan import Plan, normalize  # noqa: PLC0415

    given = {name: value for name, value in options.items() if value not in (None, ())}
    given["server"] = chosen_server(given.pop("server"))
    given["contact"] = tuple(one if ":" in one else f"mailto:{one}" for one in given.pop("email", ()))
    for name in ("server_ca", "dns_settings", "cert", "key"):
        if name in given:
            given[name] = str(Path(given[name]).absolute())
    found = normalize([name for one in names for name in one.split(",") if name])
    if (private := find_uncertified(given["server"], found)) is not None:
        raise wrong_value("names", f"has {private!r}, which no public authority certifies", hint="Use an authority of your own.")
    if "dns" not in given and (wildcards := [name for name in found if name.startswith("*.")]):
        raise wrong_value("dns", f"must be given for {wildcards[0]}", hint="Authorities validate wildcards by DNS alone.")
    given["webroots"] = _webroots(given.pop("webroots", ()), found)
    if absent := [one for one in given["webroots"].values() if not Path(one).is_dir()]:
        raise click.UsageError(f"--webroot: there is no folder {absent[0]}.")
    if not {"dns", "http_port", "tls_port"} & set(given) and not given["webroots"]:
        given |= {"http_port": _HTTP, "tls_port": _HTTPS}
    return Plan(names=found, **given)


def _webroots(texts: tuple[str, ...], names: tuple[str, ...]) -> dict[str, str]:
    from tlsio.acme.plans.plan import normalize  # noqa: PLC0415 - the extra may be missing

    found: dict[str, str] = {}
    for text in texts:
        written, sign, folder = text.rpartition("=")
        if not sign:
            found = {one: str(Path(text).absolute()) for one in names} | found
            continue
        [name] = normalize([written])
        if name not in names:
            raise click.UsageError(f"--webroot {text}: {written!r} is not one of the names.")
        found[name] = str(Path(folder).absolute())
    if found and (missing := [one for one in names if one not in found]):
        raise click.UsageError(f"--webroot: there is no folder for {', '.join(missing)}.")
    return found


def _keeper(storage: Storage, **options: Any) -> Keeper:
    from tlsio.acme.plans.keeper import Keeper  # noqa: PLC0415 - the extra may be missing

    return Keeper(storage, **options)


async def _plan_called(storage: Storage, name: str) -> Plan | None:
    """Return the plan that a new one would replace; None: there is none, or it cannot be read."""
    from tlsio.acme.plans.plan import load_plan  # noqa: PLC0415 - the extra may be missing

    with suppress(StoreError):
        return await load_plan(storage, name)
    return None


async def _plan_of_server(storage: Storage, name: str, server: str, server_ca: str | None) -> Plan | None:
    """Return what a server's certificate is revoked by; None: there is none, or it has a plan."""
    from tlsio.acme.issuers.acme_issuer import issuer_name  # noqa: PLC0415 - the extra may be missing
    from tlsio.acme.plans.plan import Plan, normalize  # noqa: PLC0415
    from tlsio.acme.plans.survey import survey  # noqa: PLC0415

    directory, [wanted] = chosen_server(server), normalize([name])
    for one in await survey(storage, datetime.now(UTC)):
        if one.plan is None and one.names[0] == wanted and one.issuer == issuer_name(directory):
            return Plan(names=one.names, server=directory, server_ca=server_ca, is_renewed=False)
    return None


async def _plans(storage: Storage, names: tuple[str, ...], damaged: Callable[[StoreError], object] | None = None) -> list[Plan]:
    """Return the plans that are called so; without names, all that are renewed; see `load_plans`.

    Raises:
        UsageError: there is none.
    """
    from tlsio.acme.plans.plan import load_plan, load_plans, normalize  # noqa: PLC0415 - the extra may be missing

    if not names:
        return [plan for plan in await load_plans(storage, damaged) if plan.is_renewed]
    found = {name: await load_plan(storage, name) for name in normalize(names)}
    if missing := [name for name, plan in found.items() if plan is None]:
        raise click.UsageError(
            f"`tlsio acme obtain` has obtained no certificate called {missing[0]} in this storage. `tlsio acme status` shows what there is."
        )
    return [plan for plan in found.values() if plan is not None]
