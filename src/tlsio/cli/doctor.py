"""`tlsio doctor`: what is wrong with a server, and what to do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tlsio.cli.client_options import client_options, run_client
from tlsio.cli.failures import FINDING
from tlsio.cli.help import Command
from tlsio.cli.output import COLORS, for_people, is_json, json_option, print_json
from tlsio.cli.parameters import ENDPOINT, INPUT, INSTANT
from tlsio.cli.progress import progress
from tlsio.model.errors import ConfigError
from tlsio.probe.examine import examine
from tlsio.probe.plain import as_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tlsio.cli.parameters import Endpoint
    from tlsio.probe.examine import Examination
    from tlsio.probe.findings import Finding

__all__ = ["doctor"]

_LEVELS = ("error", "warning", "notice")
_FOR_FILES = {"ca", "extra_ca", "passphrase", "at"}  # what applies to --server-cert


@click.command(
    cls=Command,
    examples="""
    tlsio doctor example.org                               errors, warnings and notices
    tlsio doctor mail.example.org:587 --starttls smtp
    tlsio doctor example.org --level error --json          for scripts
    tlsio doctor example.org --fetch                       look into revocation lists too
    tlsio doctor example.org --server-cert new.pem --server-key new.key     files, before a server has them
    """,
)
@click.argument("target", type=ENDPOINT, metavar="HOST[:PORT]")
@client_options
@click.option("--http/--no-http", default=None, help="Ask for a page and judge its headers. Default: on 443, 8443 and by ALPN.")
@click.option("--fetch", "fetches", is_flag=True, help="Fetch the revocation lists that the certificates name.")
@click.option("--server-cert", type=INPUT, metavar="FILE", help="Examine this certificate instead of a server.")
@click.option("--server-key", type=INPUT, metavar="FILE", help="Its private key.")
@click.option("--at", type=INSTANT, help="Judge certificates for this instant, UTC. Default: now.")
@click.option(
    "--level",
    type=click.Choice(_LEVELS),
    default="notice",
    show_default=True,
    help="The least severity that is reported.",
)
@json_option
def doctor(target: Endpoint, *, level: str, server_cert: Path | bytes | None, server_key: Path | bytes | None, **options: Any) -> int:
    """Connect to HOST in many ways, and say what is wrong and what to do about it.

    The port is 443 unless it is given. The exit code is 1 if there is a finding. Of a good server,
    it says nothing, but on a terminal that it found nothing.
    """
    if (server_cert is None) != (server_key is None):
        raise click.UsageError("--server-cert and --server-key belong together.")
    if server_cert is not None and server_key is not None:
        _refuse_unused(options)
        files = {"cert": server_cert, "key": server_key}
        found = run_client(options, lambda given: _examine_files(target, files, given))
        return _report(found, {"host": target.host}, level)
    examination = run_client(options, lambda given: _examine(target, given))
    return _report(examination.findings, as_json(examination), level)


def _refuse_unused(options: dict[str, Any]) -> None:
    """Refuse options for connections, which have no effect on files."""
    context = click.get_current_context()
    for one in context.command.params:
        if one.name in options.keys() - _FOR_FILES and context.get_parameter_source(one.name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{one.opts[0]} has no effect with --server-cert.")


async def _examine(target: Endpoint, options: dict[str, Any]) -> Examination:
    fetch = None
    if options.pop("fetches"):
        from tlsio.interop.fetch import Fetcher  # noqa: PLC0415 - only on demand

        fetch = Fetcher().get
    with progress(f"Examining {target.host}") as report:
        return await examine(target.host, target.port, fetch=fetch, on_progress=report, **options)


async def _examine_files(target: Endpoint, files: dict[str, Any], options: dict[str, Any]) -> tuple[Finding, ...]:
    """Examine a certificate and its key by a handshake in memory."""
    from tlsio.certs.keys import load_key  # noqa: PLC0415 - only on demand
    from tlsio.probe.files import examine_files  # noqa: PLC0415

    if sys.stdin.isatty() and "passphrase" not in options:
        # Asks for a missing passphrase; all else about the key is a finding.
        try:
            load_key(files["key"])
        except ConfigError as error:
            if error.code == "ERR_OSSL_BAD_DECRYPT":
                raise
    chosen = {name: value for name, value in options.items() if name in _FOR_FILES}
    return await examine_files(target.host, **files, **chosen)


def _report(findings: Sequence[Finding], facts: Any, level: str) -> int:
    """Print the findings that are severe enough, and return the exit code."""
    chosen = [one for one in findings if _LEVELS.index(one.severity) <= _LEVELS.index(level)]
    if is_json():
        print_json({**facts, "findings": as_json(tuple(chosen))})
        return FINDING if chosen else 0
    for one in chosen:
        click.echo(f"{click.style(one.severity, fg=COLORS[one.severity], bold=True)}: {for_people(one.reason)} ({one.id})")
        click.echo(f"  {for_people(one.remedy, is_hint=True)}")
    if not chosen and sys.stdout.isatty():  # in scripts, no output says it
        click.echo("Nothing found.")
    return FINDING if chosen else 0
