"""`tlsio serve`: an application or a folder over HTTPS."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlsio.cli.help import Command
from tlsio.cli.output import is_json, json_option
from tlsio.cli.parameters import FILE

if TYPE_CHECKING:
    from tlsio.https.settings import Settings

_MAX_PORT = 65535


@click.command(
    cls=Command,
    examples="""
    tlsio serve ./public                                      a folder, at https://localhost:8443
    tlsio serve main:app                                      an ASGI or WSGI application
    tlsio serve main:app --host :: --port 443 --cert site.pem --key site.key
    tlsio serve main:app --cert site.pem --key site.key --ca clients.pem      mutual TLS
    tlsio serve --config serve.toml --check                   look for mistakes, and do not serve
    """,
)
@click.argument("app", metavar="APP|FOLDER", required=False)
@click.option("--config", type=FILE, metavar="FILE", help="Settings as TOML; options on the command line go before them.")
@click.option("--check", "only_checks", is_flag=True, help="Check settings, certificates and application, and end.")
@click.option("--host", metavar="ADDRESS", help="The address to listen on; :: is every one.  [default: localhost]")
@click.option("--port", type=click.IntRange(0, _MAX_PORT), help="0 is any free port.  [default: 8443]")
@click.option("--fd", "fds", type=click.IntRange(0), multiple=True, help="A listening socket that the parent process has opened.")
@click.option(
    "--cert", "certs", type=FILE, metavar="FILE", multiple=True, help="A certificate with its intermediates. Several: chosen by name."
)
@click.option("--key", "keys", type=FILE, metavar="FILE", multiple=True, help="The key of each --cert, in the same order.")
@click.option("--passphrase-file", type=FILE, metavar="FILE", help="The passphrase of the keys, in its first line.")
@click.option(
    "--ca", type=FILE, metavar="FILE", multiple=True, help="Mutual TLS: accept only clients with a certificate of these authorities."
)
@click.option("--crl", type=FILE, metavar="FILE", multiple=True, help="Revocation lists of client certificates.")
@click.option("--client-cert", type=click.Choice(["none", "optional", "required"]), help="Whether clients must have a certificate.")
@click.option("--min-version", type=click.Choice(["TLSv1.2", "TLSv1.3"]), help="The oldest version of TLS.")
@click.option("--interface", type=click.Choice(["auto", "asgi3", "wsgi"]), help="What the application is.")
@click.option("--lifespan", type=click.Choice(["auto", "on", "off"]), help="Whether it is told of start and end.")
@click.option("--root-path", metavar="PATH", help="The path at which a proxy has mounted this server.")
@click.option("--loop", type=click.Choice(["auto", "asyncio", "uvloop"]), help="The event loop.")
@click.option("--workers", type=click.IntRange(1, 1024), help="Processes.  [default: 1]")
@click.option("--graceful-timeout", type=float, metavar="SECONDS", help="How long requests may go on when the server stops.")
@click.option("--max-connections", type=click.IntRange(1), metavar="N", help="At a time, in all workers.")
@click.option("--max-connections-per-address", type=click.IntRange(1), metavar="N", help="Of one address, in each worker.")
@click.option("--user", metavar="NAME", help="Become this user when ports are bound and keys are read.")
@click.option("--group", metavar="NAME", help="And this group.")
@json_option
def serve(app: str | None, *, config: str | None, only_checks: bool, **options: Any) -> int:
    """Serve an application (MODULE:NAME) or a folder over HTTPS, with HTTP/2. Ctrl-C ends it.

    Without --cert, a certificate of the development authority is used, for localhost.

    Certificates are read again when their files change, and on SIGHUP. The first SIGINT or SIGTERM lets
    requests finish, a second one does not.
    """
    from tlsio.https import run as https_run  # noqa: PLC0415 - the extra may be missing

    settings = _settings(app, config, {name: value for name, value in options.items() if value not in (None, ())})
    if only_checks:
        asyncio.run(https_run.check(settings))
        click.echo(json.dumps({"ok": True}) if is_json() else "All is well.")
        return 0
    return https_run.run(settings, _announce)


def _settings(app: str | None, config: str | None, options: dict[str, Any]) -> Settings:
    from tlsio.https import settings as https_settings  # noqa: PLC0415 - as above

    given: dict[str, Any] = {}
    folder = Path()
    if config is not None:
        given = https_settings.read(Path(config))
        folder = Path(config).parent
    given |= _sites(options)
    given |= options
    if app is not None:
        given["app"] = app
    if "app" not in given:
        raise click.UsageError("Missing argument 'APP|FOLDER', and no app in --config.")
    return https_settings.parse(given, folder, config or "the command line")


def _sites(options: dict[str, Any]) -> dict[str, Any]:
    """Return the sites of --cert, --key and what holds for all of them, which are taken out of the options."""
    certs, keys = options.pop("certs", ()), options.pop("keys", ())
    shared = {name: options.pop(name) for name in ("passphrase_file", "ca", "crl", "client_cert") if name in options}
    if not certs:
        if keys or shared:
            raise click.UsageError(f"--{next(iter(shared or {'key': 0})).replace('_', '-')} needs --cert.")
        return {}
    if keys and len(keys) != len(certs):
        raise click.UsageError(f"There are {len(certs)} --cert and {len(keys)} --key: give each certificate its key.")
    paths = {name: _absolute(value) for name, value in shared.items() if name != "client_cert"}
    paired = [{"cert": _absolute(cert), **({"key": _absolute(keys[index])} if keys else {})} for index, cert in enumerate(certs)]
    return {"site": [{**one, **paths, **({"client_cert": shared["client_cert"]} if "client_cert" in shared else {})} for one in paired]}


def _absolute(value: Any) -> Any:
    """Return paths that do not depend on the folder of --config."""
    return [str(Path(one).absolute()) for one in value] if isinstance(value, tuple) else str(Path(value).absolute())


def _announce(host: str, port: int | None) -> None:
    if is_json():
        click.echo(json.dumps({"serving": host, "port": port}))
        return
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"Serving https://{shown}:{port} (Ctrl-C ends it)" if port else "Serving on the sockets that were passed", err=True)
