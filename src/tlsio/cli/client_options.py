"""The options of every command that connects."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tlsio.cli.parameters import INPUT
from tlsio.cli.passphrase import passphrase_option, with_passphrase

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["client_options", "run_client"]

_T = TypeVar("_T")

_STARTTLS = ("smtp", "imap", "pop3", "ldap", "postgres", "mysql", "ftp", "xmpp")
_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")

_OPTIONS = (
    click.option("--starttls", type=click.Choice(_STARTTLS), help="The plaintext protocol that begins the connection."),
    click.option("--ca", type=INPUT, metavar="FILE", multiple=True, help="Trust these authorities, instead of the default roots."),
    click.option("--extra-ca", type=INPUT, metavar="FILE", multiple=True, help="Trust these authorities too."),
    click.option("--cert", type=INPUT, metavar="FILE", help="The client's certificate, and its intermediates."),
    click.option("--key", type=INPUT, metavar="FILE", help="Its private key."),
    passphrase_option,
    click.option("--servername", metavar="NAME", help="The name to ask for and to verify, if it is not HOST."),
    click.option("--alpn", metavar="NAME,…", help="Protocols to offer, the preferred first: h2,http/1.1."),
    click.option("--pin", "--pins", "pins", metavar="PIN", multiple=True, help="Accept only a chain with this key: sha256/…"),
    click.option("--identity", metavar="URI", help="A URI that the certificate must have, such as spiffe://plant.example/press."),
    click.option(
        "--policy", "chain_policy", type=click.Choice(["openssl", "strict"]), help="strict: judge the chain by RFC 5280's profile."
    ),
    click.option("--min-version", type=click.Choice(_VERSIONS), help="The oldest version of TLS to accept."),
    click.option("--max-version", type=click.Choice(_VERSIONS), help="The newest version of TLS to accept."),
    click.option("--ciphers", metavar="LIST", help="Cipher suites, in OpenSSL's notation."),
    click.option("--groups", "ecdh_curve", metavar="LIST", help="Groups for the key exchange: X25519:P-256."),
    click.option("-4", "family", flag_value=4, type=int, help="Connect by IPv4 only."),
    click.option("-6", "family", flag_value=6, type=int, help="Connect by IPv6 only."),
    click.option(
        "--timeout",
        type=click.FloatRange(0, min_open=True),
        default=10.0,
        show_default=True,
        metavar="SECONDS",
        help="For each connection.",
    ),
)


def client_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which passes them to `for_connect`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def run_client(options: dict[str, Any], action: Callable[[dict[str, Any]], Coroutine[Any, Any, _T]]) -> _T:
    """Run a coroutine with the options of `tlsio.probe` that the user gave.

    On a terminal, it asks for the passphrase of the client's key if that turns out to be encrypted,
    which is before any connection.
    """
    others = {name: value for name, value in options.items() if name != "passphrase"}
    return with_passphrase(options["passphrase"], lambda secret: asyncio.run(action(_for_probe({**others, "passphrase": secret}))))


def _for_probe(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of `tlsio.probe` that the user gave."""
    given: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in options.items() if value not in (None, ())
    }
    if "alpn" in given:
        given["alpn_protocols"] = given.pop("alpn").split(",")
    return given
