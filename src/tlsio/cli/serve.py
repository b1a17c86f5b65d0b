"""`tlsio serve`: an application or a folder over HTTPS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlsio.cli.automatic import acme_table, settings_of
from tlsio.cli.help import Command
from tlsio.cli.parameters import FOLDER, NEW_FILE
from tlsio.cli.serving import MAX_PORT, absolute, http_options, run_settings, server_options, site_options
from tlsio.cli.wording import OBTAINS

if TYPE_CHECKING:
    from tlsio.https.process.settings import Settings

__all__ = ["serve"]


@click.command(
    cls=Command,
    logs_itself=True,
    examples="""
    tlsio serve ./public                                      a folder, at https://localhost:8443
    tlsio serve main:app --domain example.com --agree-tos     with a certificate of Let's Encrypt, on ports 443 and 80
    tlsio serve main:app --reload                             an ASGI or WSGI application, while it is written
    tlsio serve main:app --host :: --port 443 --cert site.pem --key site.key
    tlsio serve main:app --cert site.pem --key site.key --ca clients.pem      mutual TLS
    tlsio serve --config serve.toml --check                   look for mistakes, and do not serve
    """,
)
@click.argument("app", metavar="APP|FOLDER", required=False)
@click.option("--config", type=NEW_FILE, metavar="FILE", help="Settings as TOML; options on the command line go before them.")
@click.option("--port", type=click.IntRange(0, MAX_PORT), help="0 is any free port.  [default: 8443]")
@server_options
@http_options
@click.option("--interface", type=click.Choice(["auto", "asgi3", "wsgi"]), help="What the application is.")
@click.option("--lifespan", type=click.Choice(["auto", "on", "off"]), help="Whether it is told of start and end.")
@click.option("--root-path", metavar="PATH", help="The path at which a proxy has mounted this server.")
@click.option(
    "--wsgi-threads", type=click.IntRange(1), metavar="N", help="Requests at a time of a WSGI application, in each worker.  [default: 10]"
)
@click.option("--reload", is_flag=True, help="Start again when code changes; for development.")
@click.option("--reload-dir", "reload_dirs", type=FOLDER, metavar="FOLDER", multiple=True, help="Where. Default: the current folder.")
def serve(app: str | None, *, config: str | None, only_checks: bool, **options: Any) -> int:
    """Serve an application (MODULE:NAME) or a folder over HTTPS, with HTTP/2. Ctrl-C ends it.

    Without --cert, a certificate of the development authority is used, for localhost.

    Certificates are read again when their files change, and on SIGHUP. The first SIGINT or SIGTERM
    lets requests finish, a second one does not. SIGUSR2 starts a new process with the same command
    line, which takes over without dropping a connection.
    """
    return run_settings(_settings(app, config, _given(options)), only_checks=only_checks)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value not in (None, ()) and value is not False}


def _settings(app: str | None, config: str | None, options: dict[str, Any]) -> Settings:
    from tlsio.https.process import settings as https_settings  # noqa: PLC0415 - the extra may be missing

    given: dict[str, Any] = {}
    folder, chosen = Path(), settings_of(options)
    if config is not None:
        given = https_settings.read(Path(config))
        folder = Path(config).parent.absolute()  # as messages show paths: those of a file do not start at the current folder
        if "acme" in given:
            click.get_current_context().meta[OBTAINS] = True
    given |= site_options(options)
    given |= acme_table(options, given.get("acme"))
    if isinstance(given.get("hsts"), dict):
        options.pop("hsts", None)  # --hsts asks for it, and the file says how
    if "reload_dirs" in options:
        options["reload_dirs"] = absolute(options["reload_dirs"])
    given |= options
    if app is not None:
        given["app"] = app if ":" in app else absolute(app)
    if "app" not in given:
        raise click.UsageError("Missing argument 'APP|FOLDER', and no app in --config.")
    settings = https_settings.parse(given, folder, config or "", options=chosen)
    return settings if config is None else replace(settings, file=Path(config))
