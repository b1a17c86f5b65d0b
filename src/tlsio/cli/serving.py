"""What `tlsio serve` and `tlsio proxy` share: the options of a server, and its announcement."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlsio.cli.automatic import automatic_options
from tlsio.cli.output import is_json, json_option
from tlsio.cli.parameters import NEW_FILE, THREADS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsio.https.process.settings import Settings

__all__ = ["HTTP_NAMES", "MAX_PORT", "http_options", "run_settings", "server_options", "site_options"]

MAX_PORT = 65535
_LEVELS = ("debug", "info", "warning", "error")
_MAX_WORKERS = 1024
_EVERY = {"::": "all addresses", "*": "all addresses", "0.0.0.0": "all IPv4 addresses"}  # noqa: S104 - words for them

_OPTIONS = (
    click.option("--check", "only_checks", is_flag=True, help="Check settings, certificates and application, and end."),
    click.option("--host", metavar="ADDRESS", help="The address to listen on; :: is every one.  [default: localhost]"),
    click.option("--fd", "fds", type=click.IntRange(0), multiple=True, help="A listening socket that the parent process has opened."),
    click.option(
        "--cert",
        "certs",
        type=NEW_FILE,
        metavar="FILE",
        multiple=True,
        help="A certificate with its intermediates. Several: chosen by name.",
    ),
    click.option("--key", "keys", type=NEW_FILE, metavar="FILE", multiple=True, help="The key of each --cert, in the same order."),
    click.option("--passphrase-file", type=NEW_FILE, metavar="FILE", help="The passphrase of the keys, in its first line."),
    click.option(
        "--ca",
        type=NEW_FILE,
        metavar="FILE",
        multiple=True,
        help="Mutual TLS: accept only clients with a certificate of these authorities.",
    ),
    click.option("--crl", type=NEW_FILE, metavar="FILE", multiple=True, help="Revocation lists of client certificates."),
    click.option("--client-cert", type=click.Choice(["none", "optional", "required"]), help="Whether clients must have a certificate."),
    click.option("--min-version", type=click.Choice(["TLSv1.2", "TLSv1.3"]), help="The oldest version of TLS."),
    click.option("--loop", type=click.Choice(["auto", "asyncio", "uvloop"]), help="The event loop."),
    click.option("--workers", type=click.IntRange(1, _MAX_WORKERS), help="Processes.  [default: 1]"),
    click.option(
        "--graceful-timeout", type=float, metavar="SECONDS", help="How long requests may go on when the server stops.  [default: 30]"
    ),
    click.option("--max-connections", type=click.IntRange(1), metavar="N", help="At a time, in all workers."),
    click.option("--max-connections-per-address", type=click.IntRange(1), metavar="N", help="Of one address, in each worker."),
    click.option(
        "--handshake-threads",
        type=THREADS,
        metavar="N|auto",
        help="In each worker, so that handshakes do not make open connections wait.  [default: 0]",
    ),
    click.option(
        "--proxy-protocol",
        metavar="NETWORK",
        multiple=True,
        help="A TCP proxy in front, such as 10.0.0.0/8: its connections begin with a PROXY protocol header, others are refused.",
    ),
    click.option("--user", metavar="NAME", help="Become this user when ports are bound."),
    click.option("--group", metavar="NAME", help="And this group."),
    click.option(
        "--access-log",
        type=click.Choice(["text", "json", "off"]),
        help="A line for each request, or TCP connection, on standard output.  [default: text]",
    ),
    click.option("--log-level", type=click.Choice(_LEVELS), help="The least important messages to print.  [default: info]"),
    json_option,
)

_HTTP_OPTIONS = (
    click.option(
        "--forwarded-allow-ips", metavar="NETWORK", multiple=True, help="An HTTP proxy in front, whose X-Forwarded-* headers are believed."
    ),
    click.option("--strict-host", is_flag=True, help="Answer 421 to hosts that are not the name of the connection (SNI)."),
    click.option("--hsts", is_flag=True, help="Let browsers use HTTPS alone, for a year; without subdomains."),
    click.option(
        "--redirect", type=click.IntRange(0, MAX_PORT), metavar="PORT", help="A port of plain HTTP, such as 80, that redirects to HTTPS."
    ),
    click.option(
        "--redirect-status",
        type=click.Choice(["301", "308"]),
        callback=lambda _context, _parameter, value: None if value is None else int(value),
        help="301 is for clients that do not know 308.  [default: 308]",
    ),
    click.option(
        "--metrics", metavar="HOST:PORT", help="Serve /metrics for Prometheus, /health, and with --domain /acme, by plain HTTP there."
    ),
)
HTTP_NAMES = ("forwarded_allow_ips", "strict_host", "hsts", "redirect", "redirect_status", "metrics")


def http_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options of every server of HTTP: those in `HTTP_NAMES`."""
    for one in reversed(_HTTP_OPTIONS):
        command = one(command)
    return automatic_options(command)


def server_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options of every server."""
    for one in reversed(_OPTIONS):
        command = one(command)
    return command


def site_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the sites of --cert, --key and what holds for all; takes them out of the options."""
    certs, keys = options.pop("certs", ()), options.pop("keys", ())
    shared = {name: options.pop(name) for name in ("passphrase_file", "ca", "crl", "client_cert") if name in options}
    if not certs:
        if keys or shared:
            raise click.UsageError(f"--{next(iter((*shared, 'key'))).replace('_', '-')} needs --cert.")
        return {}
    if keys and len(keys) != len(certs):
        raise click.UsageError(f"There are {len(certs)} --cert and {len(keys)} --key: give each certificate its key.")
    shared = {name: value if name == "client_cert" else absolute(value) for name, value in shared.items()}
    paired = zip(certs, keys or [None] * len(certs), strict=True)
    return {"site": [{"cert": absolute(cert), **({} if key is None else {"key": absolute(key)}), **shared} for cert, key in paired]}


def absolute(value: Any) -> Any:
    """Return paths that do not depend on the folder of --config."""
    return [absolute(one) for one in value] if isinstance(value, tuple) else str(Path(value).absolute())


def run_settings(settings: Settings, *, only_checks: bool) -> int:
    """Serve, or check; return the exit code."""
    from tlsio.https.process import run as https_run  # noqa: PLC0415 - the extra may be missing

    if only_checks:
        asyncio.run(https_run.check(settings))
        click.echo(json.dumps({"ok": True}) if is_json() else "All is well.")
        return 0
    domain = "" if settings.acme is None else settings.acme.groups[0][0]
    return https_run.run(settings, partial(_announce, "" if domain.startswith("*") else domain))


def _announce(domain: str, host: str, port: int | None) -> None:
    """Print where it serves; by a domain, if it has a certificate for one."""
    if is_json():
        click.echo(json.dumps({"serving": host, "port": port}))
        return
    if host in _EVERY:
        shown, where = domain or "localhost", f", on {_EVERY[host]}"
    else:
        shown, where = f"[{host}]" if ":" in host else host, ""
    click.echo(f"Serving https://{shown}:{port}{where} (Ctrl-C ends it)" if port else "Serving on a Unix socket", err=True)
