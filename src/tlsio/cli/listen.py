"""`tlsio listen`: the other end of a connection."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlsio.cli.help import Command
from tlsio.cli.output import for_people, is_json, json_option
from tlsio.cli.parameters import INPUT, refuse_standard_input
from tlsio.cli.passphrase import passphrase_option, with_passphrase
from tlsio.cli.streams import has_input_end, read_input, write_output
from tlsio.cli.wording import translate_json
from tlsio.probe.listen import listen as serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tlsio import Server, TLSSocket
    from tlsio.probe.listen import Arrival

__all__ = ["listen"]

_MAX_PORT = 65535
_REMEMBERED_HINTS = 16  # clients choose part of the text, so they could fill an endless memory


class _Port(click.IntRange):
    """A port, without an address."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse the text."""
        host, colon, port = str(value).rpartition(":")
        if colon and port.isdecimal():
            self.fail(f"must be the port alone; the address is --host: {port} --host {host.strip('[]') or '::'}", param, ctx)
        if not str(value).isdecimal():
            self.fail(f"{value!r} is not a port: give a number, such as 8443", param, ctx)
        return int(super().convert(value, param, ctx))


@click.command(
    cls=Command,
    examples="""
    tlsio listen 8443                                         an echo server for localhost, by tlsio dev
    tlsio listen 8443 --cert server.pem --key server.key
    tlsio listen 8443 --cert server.pem --key server.key --ca clients.pem       mutual TLS
    tlsio listen 9000 --pipe < backup.tar                     send a file to the first client
    """,
)
@click.argument("port", type=_Port(0, _MAX_PORT))
@click.option("--host", default="localhost", show_default=True, help="The address to listen on; :: is every one.")
@click.option(
    "--cert", type=INPUT, metavar="FILE", help="The server's certificate, and its intermediates. Default: one for localhost by tlsio dev."
)
@click.option("--key", type=INPUT, metavar="FILE", help="Its private key.")
@click.option("--pfx", type=INPUT, metavar="FILE", help="Certificate and key as PKCS#12.")
@passphrase_option
@click.option(
    "--ca", type=INPUT, metavar="FILE", multiple=True, help="Mutual TLS: accept only clients with a certificate of these authorities."
)
@click.option("--alpn", metavar="NAME,…", help="Protocols to accept, the preferred first.")
@click.option("--dhparam", type=INPUT, metavar="FILE", help="Diffie-Hellman parameters, or auto.")
@click.option("--pipe", "pipes", is_flag=True, help="Connect the first client to standard input and output, and end with it.")
@click.option("-q", "--quiet", is_flag=True, help="Do not report connections.")
@json_option
def listen(port: int, *, host: str, pipes: bool, quiet: bool, passphrase: Any, **options: Any) -> None:
    """Listen on PORT and send back what clients send; 0 is any free port. Ctrl-C ends it.

    Connections and refusals are reported on standard error. With --json, the first line on standard
    output is {"listening": HOST, "port": PORT}, and each connection is one more object on a line;
    with --pipe they are on standard error, because the data goes to standard output.
    """
    if pipes:
        refuse_standard_input("is sent to the first client")
    given = _for_server(options)
    print_json = partial(_print_json, err=pipes)
    say = _ignore if quiet else (lambda arrival: print_json(arrival.as_json())) if is_json() else _Printer()
    announce = print_json if is_json() else _announce
    report: dict[str, Any] = {"on_arrival": say}
    failures: list[Exception] = []
    if pipes:
        report |= {"pipe": (read_input, write_output), "finish": has_input_end(), "on_failure": failures.append}
    with_passphrase(
        passphrase,
        lambda secret: asyncio.run(_serve(serve(port, host, passphrase=secret, **given, **report), host, announce, only_one=pipes)),
    )
    if failures:
        raise failures[0]


def _for_server(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of `tlsio.serve` that the user gave."""
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if "alpn" in given:
        given["alpn_protocols"] = given.pop("alpn").split(",")
    if "ca" in given:
        given["request_cert"] = True
    if given.get("dhparam") == Path("auto"):
        given["dhparam"] = "auto"
    return given if {"cert", "pfx"} & given.keys() else given | _issue()


def _issue() -> dict[str, Any]:
    """Return a certificate for this machine, issued in memory by the development authority."""
    from tlsio.certs import dev  # noqa: PLC0415 - only without --cert

    leaf = dev.load().server("localhost", "127.0.0.1", "::1")
    return {"cert": leaf.chain_pem, "key": leaf.key_pem}


async def _serve(
    serving: AbstractAsyncContextManager[Server], host: str, announce: Callable[[dict[str, Any]], None], *, only_one: bool
) -> None:
    async with serving as server:
        announce({"listening": host, "port": server.port})
        if only_one:
            await _first_conversation(server)
        else:
            await server.serve_forever()


async def _first_conversation(server: Server) -> None:
    """Wait until the first client that is accepted has gone."""
    first: asyncio.Future[TLSSocket] = asyncio.get_running_loop().create_future()

    @server.on("secure_connection")
    def keep(socket: TLSSocket) -> None:
        if not first.done():
            first.set_result(socket)

    await (await first).wait_closed()


def _announce(place: dict[str, Any]) -> None:
    click.echo(f"Listening on {place['listening']} port {place['port']}.", err=True)


class _Printer:
    """Prints arrivals, each hint once in a while: scanners, and `tlsio doctor`, hang up often."""

    def __init__(self) -> None:
        self._hints: deque[str] = deque(maxlen=_REMEMBERED_HINTS)

    def __call__(self, arrival: Arrival) -> None:
        """Print one."""
        if arrival.error is None:
            _print_accepted(arrival)
            return
        click.echo(f"{_address(arrival)}: {click.style('refused', fg='red')}: {for_people(arrival.error)}", err=True)
        if arrival.hint and (hint := for_people(arrival.hint, is_hint=True)) and hint not in self._hints:
            self._hints.append(hint)
            click.echo(f"  {hint}", err=True)


def _address(arrival: Arrival) -> str:
    return arrival.address or "a client"


def _print_accepted(arrival: Arrival) -> None:
    facts = [arrival.version, arrival.suite, arrival.group, arrival.alpn, arrival.server_name, "resumed" if arrival.resumed else None]
    who = [f"client {arrival.chain[0].title}"] if arrival.chain else []
    click.echo(for_people(f"{_address(arrival)}: {', '.join([one for one in facts if one] + who)}"), err=True)


def _print_json(value: dict[str, Any], *, err: bool) -> None:
    click.echo(json.dumps(translate_json(value)), err=err)


def _ignore(_arrival: Arrival) -> None:
    pass
