"""`tlsio proxy`: TLS in front of another server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlsio.cli.automatic import acme_table
from tlsio.cli.help import Command
from tlsio.cli.parameters import BACKEND
from tlsio.cli.serving import HTTP_NAMES, MAX_PORT, http_options, run_settings, server_options, site_options

if TYPE_CHECKING:
    from tlsio.cli.parameters import Endpoint

__all__ = ["proxy"]

_OF_TCP = {"send_proxy": "--send-proxy", "alpn": "--alpn", "idle_timeout": "--idle-timeout"}


@click.command(
    cls=Command,
    logs_itself=True,
    examples="""
    tlsio proxy 6380 --to 127.0.0.1:6379 --cert redis.pem --key redis.key     any protocol over TCP
    tlsio proxy 8443 --to 127.0.0.1:3000 --http                               HTTP/2 for a server of HTTP/1.1
    tlsio proxy 443 --to 127.0.0.1:3000 --http --domain example.com --agree-tos
    tlsio proxy 993 --to 127.0.0.1:143 --domain mail.example.com --agree-tos      the authority is answered on port 80
    """,
)
@click.argument("port", type=click.IntRange(0, MAX_PORT))
@click.option("--to", "target", type=BACKEND, metavar="HOST:PORT", required=True, help="The server behind, without TLS.")
@click.option("--http", "is_http", is_flag=True, help="Forward requests, with headers about the client, instead of bytes.")
@click.option("--send-proxy", is_flag=True, help="Begin with a PROXY protocol header (version 2), with facts about TLS. Not with --http.")
@click.option("--alpn", metavar="NAME,…", help="Protocols that clients may negotiate. Not with --http.")
@click.option("--connect-timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="For connecting.  [default: 10]")
@click.option(
    "--idle-timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Without a byte in either direction. Default: no limit. Not with --http.",
)
@http_options
@server_options
def proxy(port: int, *, target: Endpoint, is_http: bool, only_checks: bool, **options: Any) -> int:
    """Listen on PORT with TLS, and forward to a server without it. Ctrl-C ends it.

    With --http, requests are forwarded with X-Forwarded-For, -Proto and -Host, and with mutual TLS
    with X-Client-Cert-* headers; those that a client sends itself are removed.

    Certificates, signals and workers are as with `tlsio serve`. Without --http, the port of plain
    HTTP, 80 or --redirect, only answers the authority.
    """
    from tlsio.https.process import settings as https_settings  # noqa: PLC0415 - the extra may be missing

    given = {name: value for name, value in options.items() if value not in (None, ()) and value is not False}
    own = {name: given.pop(name) for name in ("connect_timeout", *_OF_TCP) if name in given}
    app: Any
    if is_http:
        if wrong := own.keys() & _OF_TCP.keys():
            raise click.UsageError(f"{_OF_TCP[min(wrong)]} cannot be combined with --http.")
        from tlsio.https.proxy.http import HTTPProxy  # noqa: PLC0415 - needs another extra

        app = HTTPProxy(*target, **own)
    else:
        of_http = set(HTTP_NAMES) - ({"redirect"} if "domains" in given else set())  # where http-01 is answered
        if needless := [name for name in HTTP_NAMES if name in given.keys() & of_http]:
            raise click.UsageError(f"--{needless[0].replace('_', '-')} needs --http.")
        from tlsio.https.proxy.tcp import TCPTarget  # noqa: PLC0415 - the extra may be missing

        if "alpn" in own:
            own["alpn"] = tuple(own["alpn"].split(","))
        app = TCPTarget(host=target.host, port=target.port, **own)
    found = site_options(given) | acme_table(given)
    settings = https_settings.parse({**given, **found, "app": app, "port": port}, Path(), "")
    return run_settings(settings, only_checks=only_checks)
