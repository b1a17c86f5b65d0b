"""`tlsio pem` and `pfx`: keys and chains in other forms."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from tlsio.certs.bundle import complete, read
from tlsio.certs.keys import key_pem
from tlsio.cli.help import Command
from tlsio.cli.output import json_option
from tlsio.cli.parameters import INPUT, NEW_FILE
from tlsio.cli.passphrase import ask_or_refuse, new_passphrase_option, passphrase_option, with_passphrase
from tlsio.cli.progress import progress
from tlsio.cli.written import New, deliver, force_option, out_option
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tlsio.certs.bundle import Bundle

__all__ = ["pem", "pfx"]


def _reading(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of commands that read a bundle."""
    for option in (
        json_option,
        force_option,
        click.option("--root", is_flag=True, help="Write the root too, if it is among the files."),
        click.option("--complete", "completes", is_flag=True, help="Fetch missing intermediates from the addresses in the certificates."),
        new_passphrase_option,
        passphrase_option,
        click.argument("files", nargs=-1, required=True, type=INPUT, metavar="FILE..."),
    ):
        command = option(command)
    return command


@click.command(
    cls=Command,
    examples="""
    tlsio pem server.crt intermediates.p7b -o fullchain.pem          in order, the leaf first
    tlsio pem server.pfx --passphrase prompt -o server.pem --key-out server.key
    tlsio pem server.pem --complete -o fullchain.pem                 with the missing intermediates
    tlsio pem server.pem --form der -o server.crt
    """,
)
@_reading
@out_option
@click.option("--key-out", type=NEW_FILE, metavar="FILE", help="Write the private key to this file.")
@click.option("--form", type=click.Choice(["pem", "p7b", "der"]), default="pem", show_default=True, help="PEM, PKCS#7, or the leaf in DER.")
def pem(files: tuple[Path | bytes, ...], *, out: str, key_out: str | None, form: str, force: bool, root: bool, **options: Any) -> None:
    """Read certificates and keys in any form and order, and write the chain in order.

    FILE is PEM, DER, PKCS#7 or PKCS#12; its content decides. What was put right or is missing is
    reported on standard error.
    """
    bundle, secret = _read(files, options)
    forms = {"pem": lambda: bundle.to_pem(root=root), "p7b": lambda: bundle.to_pkcs7(root=root), "der": bundle.to_der}
    made = [New(out, forms[form]())]
    if key_out is not None:
        if bundle.key is None:
            raise ConfigError("There is no private key among the files", code="ERR_TLS_NO_KEY", hint="Give the file of the key too.")
        made.insert(0, New(key_out, key_pem(bundle.key, secret), is_private=True))
    is_key_left = key_out is None and bundle.key is not None
    notes = _notes(bundle, root=root or form == "der")
    deliver(
        *made, force=force, passphrase=secret, notes=[*notes, "The private key is not written: give --key-out."] if is_key_left else notes
    )


@click.command(
    cls=Command,
    examples="""
    tlsio pfx server.pem server.key -o server.pfx                          asks for a passphrase
    tlsio pfx server.pem server.key --new-passphrase file:secret.txt -o server.pfx
    tlsio pfx roots.pem --new-passphrase env:STOREPASS -o truststore.p12   for Java
    """,
)
@_reading
@click.option("-o", "--out", type=NEW_FILE, metavar="FILE", required=True, help="Where to write it; - is standard output.")
@click.option("--name", "friendly_name", help="The name that programs show, Java's alias.")
@click.option("--unencrypted", is_flag=True, help="Encrypt nothing.")
def pfx(
    files: tuple[Path | bytes, ...], *, out: str, force: bool, root: bool, friendly_name: str | None, unencrypted: bool, **options: Any
) -> None:
    """Write a key and its chain as PKCS#12 (.pfx, .p12), encrypted with AES-256.

    FILE is PEM, DER, PKCS#7 or PKCS#12; its content decides. Old PKCS#12 with RC2 or 3DES are read,
    and so made new. Without a key, the certificates are marked as trusted, as Java wants them.
    """
    if unencrypted and options["new_passphrase"]:
        raise click.UsageError("--unencrypted and --new-passphrase exclude each other.")
    if not unencrypted and not options["new_passphrase"]:
        options["new_passphrase"] = ask_or_refuse("Give --new-passphrase, or --unencrypted.")
    bundle, secret = _read(files, options)
    made = bundle.to_pfx(secret, friendly_name=friendly_name, root=root)
    notes = _notes(bundle, root=root)
    if bundle.key is None:
        notes.append("There is no private key among the files: this is a store of trusted certificates.")
    deliver(New(out, made, is_private=bundle.key is not None), force=force, passphrase=secret, notes=notes)


def _read(files: tuple[Path | bytes, ...], options: dict[str, Any]) -> tuple[Bundle, str | None]:
    """Return what the files hold, and the passphrase for what will be written."""
    bundle = with_passphrase(options["passphrase"], lambda secret: read(*files, passphrase=secret))
    if options["completes"]:
        bundle = asyncio.run(_complete(bundle))
    source = options["new_passphrase"]
    return bundle, source(twice=True) if source else None


def _notes(bundle: Bundle, *, root: bool) -> list[str]:
    """Return what the user should know about the result."""
    if root or bundle.root is None:
        return list(bundle.notes)
    return [*bundle.notes, f"The root {bundle.root.subject.rfc4514_string()} is not written: give --root."]


async def _complete(bundle: Bundle) -> Bundle:
    from tlsio.interop.fetch import Fetcher  # noqa: PLC0415 - only for the network

    fetcher = Fetcher()
    with progress("Fetching", after=0) as report:

        def fetch(url: str) -> Awaitable[bytes]:
            report(url)
            return fetcher.get(url)

        return await complete(bundle, fetch=fetch)
