"""`tlsio key` and `self-sign`: making keys and certificates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlsio.certs.keys import KEY_KINDS, generate_key, key_pem, load_key
from tlsio.certs.leaf import self_signed
from tlsio.cli.help import Command
from tlsio.cli.output import json_option
from tlsio.cli.passphrase import new_passphrase_option, passphrase_option, with_passphrase
from tlsio.cli.written import New, deliver, force_option, out_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsio.certs.keys import PrivateKey

__all__ = ["key", "self_sign"]

_Options = dict[str, Any]

kind_option = click.option("--kind", metavar="KIND", default="P-256", show_default=True, help=f"Of the new key: {', '.join(KEY_KINDS)}.")


def _with_key(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which key is used: one that exists, or a new one."""
    for option in (
        new_passphrase_option,
        passphrase_option,
        kind_option,
        click.option("--new-key", metavar="FILE", help="Make a new key, and write it there."),
        click.option("--key", "key_file", metavar="FILE", help="Use the key in this file."),
    ):
        command = option(command)
    return command


class _Key:
    """The key of a request or certificate, from the options above."""

    def __init__(self, options: _Options) -> None:
        key_file, self.path = options.pop("key_file"), options.pop("new_key")
        kind, source, self._new_source = options.pop("kind"), options.pop("passphrase"), options.pop("new_passphrase")
        if (key_file is None) == (self.path is None):
            raise click.UsageError("Give the key with --key FILE, or have one made with --new-key FILE.")
        self.key: PrivateKey = (
            generate_key(kind) if key_file is None else with_passphrase(source, lambda secret: load_key(Path(key_file), secret))
        )

    def files(self) -> tuple[New, ...]:
        """Return the file of a new key."""
        if self.path is None:
            return ()
        secret = self._new_source(twice=True) if self._new_source else None
        return (New(self.path, key_pem(self.key, secret), is_private=True),)


@click.command(
    cls=Command,
    examples="""
    tlsio key server.key                                    EC P-256, not encrypted, mode 0600
    tlsio key --kind RSA-3072 old-device.key
    tlsio key --new-passphrase prompt authority.key         encrypted with AES-256
    tlsio key --new-passphrase file:secret.txt server.key
    """,
)
@click.argument("file")
@kind_option
@new_passphrase_option
@force_option
@json_option
def key(file: str, *, kind: str, new_passphrase: Callable[..., str] | None, force: bool) -> None:
    """Make a private key, and write it to FILE as PKCS#8 in PEM; - is standard output.

    Only you can read the file. Existing files are not replaced.
    """
    secret = new_passphrase(twice=True) if new_passphrase else None
    deliver(New(file, key_pem(generate_key(kind), secret), is_private=True), force=force, passphrase=secret)


@click.command(
    cls=Command,
    examples="""
    tlsio self-sign localhost 127.0.0.1 --new-key server.key -o server.pem
    tlsio self-sign gateway.plant.example --key gateway.key -o gateway.pem --days 90
    """,
)
@click.argument("names", nargs=-1, required=True)
@_with_key
@click.option("--subject", help="Such as CN=gateway,O=Plant. Default: the first name.")
@click.option("--days", type=float, help="The length of its life, at most 398. Default: 365.")
@click.option("--must-staple", is_flag=True, help="Clients accept it only with an OCSP response.")
@out_option
@force_option
@json_option
def self_sign(names: tuple[str, ...], *, out: str, force: bool, **options: Any) -> None:
    """Make a certificate for NAMES that is signed by its own key.

    NAMES are what clients connect to: DNS names, wildcards, IP addresses; e-mail addresses and URIs
    too. A peer trusts the certificate by having it in --ca.
    """
    chosen = _Key(options)
    leaf = self_signed(names, key=chosen.key, **options)
    deliver(*chosen.files(), New(out, leaf.cert_pem), force=force)
