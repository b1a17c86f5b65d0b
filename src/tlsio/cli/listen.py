"""`tlsio listen`: the other end of a connection."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import tlsio
from tlsio.cli.failures import FINDING
from tlsio.cli.help import Command
from tlsio.cli.passphrase import passphrase_option, with_passphrase
from tlsio.cli.streams import read_input, write_output
from tlsio.probe.pump import pump
from tlsio.trust.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["listen"]

_MAX_PORT = 65535


@click.command(
    cls=Command,
    examples="""
    tlsio listen 8443                                         an echo server for localhost, by tlsio dev
    tlsio listen 8443 --cert server.pem --key server.key
    tlsio listen 8443 --cert server.pem --key server.key --ca clients.pem       mutual TLS
    tlsio listen 9000 --pipe < backup.tar                     send a file to the first client
    """,
)
@click.argument("port", type=click.IntRange(0, _MAX_PORT))
@click.option("--host", default="localhost", show_default=True, help="The address to listen on; :: is every one.")
@click.option("--cert", metavar="FILE", help="The server's certificate, and its intermediates. Default: one for localhost by tlsio dev.")
@click.option("--key", metavar="FILE", help="Its private key. Default: the file of --cert has it.")
@passphrase_option
@click.option("--ca", metavar="FILE", multiple=True, help="Mutual TLS: accept only clients with a certificate of these authorities.")
@click.option("--alpn", metavar="NAME,…", help="Protocols to accept, the preferred first.")
@click.option("--pipe", is_flag=True, help="Connect the first client to standard input and output, and end with it.")
@click.option("-q", "--quiet", is_flag=True, help="Do not report connections.")
def listen(port: int, *, host: str, pipe: bool, quiet: bool, **options: Any) -> int:
    """Listen on PORT and send back what clients send; 0 is any free port. Ctrl-C ends it.

    Connections and refusals are reported on standard error.
    """
    server = with_passphrase(options.pop("passphrase"), lambda secret: _make_server(secret, **options))
    return asyncio.run(_serve(server, host, port, pipe=pipe, say=_ignore if quiet else _say))


def _make_server(passphrase: str | None, *, cert: str | None, key: str | None, ca: tuple[str, ...], alpn: str | None) -> tlsio.Server:
    given: dict[str, Any] = {"cert": Path(cert), "key": Path(key or cert), "passphrase": passphrase} if cert else _issue()
    if ca:
        given |= {"ca": [Path(one) for one in ca], "request_cert": True, "reject_unauthorized": True}
    if alpn:
        given["alpn_protocols"] = alpn.split(",")
    return tlsio.create_server(**given)


def _issue() -> dict[str, Any]:
    """Return a certificate for this machine, issued in memory by the development authority."""
    from tlsio.certs import dev  # noqa: PLC0415 - its imports take time

    leaf = dev.load().server("localhost", "127.0.0.1", "::1")
    return {"cert": leaf.chain_pem, "key": leaf.key_pem}


async def _serve(server: tlsio.Server, host: str, port: int, *, pipe: bool, say: Callable[[str], object]) -> int:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[int] = loop.create_future()

    @server.on("secure_connection")
    async def converse(socket: tlsio.TLSSocket) -> None:
        say(f"{_address(socket)}: {socket.get_protocol()}{_client(socket)}")
        if pipe:
            await _pipe_one(socket, done)
        else:
            await _echo(socket)
        say(f"{_address(socket)}: closed")

    @server.on("tls_client_error")
    def report(error: Exception, _socket: tlsio.TLSSocket) -> None:
        say(f"refused: {error}")

    await server.listen(port, host)
    say(f"listening on {host} port {server.port}")
    try:
        return await done
    finally:
        server.close(timeout=0)
        await server.wait_closed()


async def _pipe_one(socket: tlsio.TLSSocket, done: asyncio.Future[int]) -> None:
    try:
        await pump(socket, read_input, write_output)
        code = 0
    except tlsio.TLSError as error:
        _say(f"{_address(socket)}: {error}")
        code = FINDING
    if not done.done():
        done.set_result(code)


async def _echo(socket: tlsio.TLSSocket) -> None:
    async for chunk in socket:
        await socket.send(chunk)


def _address(socket: tlsio.TLSSocket) -> str:
    return f"{socket.remote_address} port {socket.remote_port}"


def _client(socket: tlsio.TLSSocket) -> str:
    certificate = socket.get_peer_certificate()
    return f", {printable(str(certificate['subject']))}" if certificate else ""


def _say(text: str) -> None:
    click.echo(text, err=True)


def _ignore(_text: str) -> None:
    pass
