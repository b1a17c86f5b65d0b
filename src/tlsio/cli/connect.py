"""`tlsio connect`: a connection, what was negotiated on it, and its data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tlsio.cli.client_options import client_options, run_client
from tlsio.cli.failures import FINDING
from tlsio.cli.help import Command
from tlsio.cli.look import print_look, print_refusal
from tlsio.cli.output import is_json, json_option, print_json
from tlsio.cli.parameters import ENDPOINT, refuse_standard_input
from tlsio.cli.progress import progress
from tlsio.cli.streams import has_input_end, read_input, write_output
from tlsio.probe.connect import connect as look_at
from tlsio.probe.pump import pump

if TYPE_CHECKING:
    from tlsio.cli.parameters import Endpoint

__all__ = ["connect"]


@click.command(
    cls=Command,
    examples="""
    tlsio connect example.org                                   what was negotiated, then your terminal
    printf 'GET / HTTP/1.0\\r\\n\\r\\n' | tlsio connect example.org -q
    tlsio connect mail.example.org:587 --starttls smtp
    tlsio connect gateway:8883 --ca plant.pem --cert ada.pem --key ada.key
    tlsio connect example.org --resumption --json               for programs; sends and reads no data
    """,
)
@click.argument("target", type=ENDPOINT, metavar="HOST[:PORT]")
@client_options
@click.option("--resumption", is_flag=True, help="Also try whether sessions are resumed, on more connections.")
@click.option("--insecure", is_flag=True, help="Go on although the server was refused: anyone may read and change the data.")
@click.option(
    "--linger",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="After the end of standard input, wait until the server has sent nothing for so long. Many drop their answer when they see that end.",
)
@click.option("-q", "--quiet", is_flag=True, help="Show only errors, not what was negotiated.")
@json_option
def connect(target: Endpoint, *, quiet: bool, insecure: bool, linger: float, **options: Any) -> int:
    """Connect to HOST, and show what was negotiated and what the chain is worth.

    The port is 443 unless it is given. What was negotiated goes to standard error. Then standard
    input is sent, and what the server sends goes to standard output, until the server ends the
    connection. The exit code is 1 if the server is refused, also with --insecure.
    """
    if not is_json():
        refuse_standard_input("is sent to the server")
    if insecure:
        options["reject_unauthorized"] = False
    return run_client(options, lambda given: _connect(target, quiet=quiet, linger=linger, options=given))


async def _connect(target: Endpoint, *, quiet: bool, linger: float, options: dict[str, Any]) -> int:
    with progress(f"Connecting to {target.host} port {target.port}"):
        connected = await look_at(target.host, target.port, **options)
    async with connected as look:
        if is_json():
            print_json(look.as_json())
        else:
            if quiet:
                print_refusal(look)
            else:
                print_look(look, alpn=",".join(options.get("alpn_protocols", ())))
            if look.socket is not None:
                await pump(look.socket, read_input, write_output, linger=linger, finish=has_input_end())
        return 0 if look.verdict.authorized and look.refusal is None else FINDING
