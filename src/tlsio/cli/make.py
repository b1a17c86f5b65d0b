"""`tlsio key`, `csr`, `self-sign`, `sign` and `dhparam`: making keys and certificates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from cryptography.hazmat.primitives.serialization import Encoding

from tlsio.certs.key_match import match_key
from tlsio.certs.keys import KEY_KINDS, generate_key, key_pem, load_key
from tlsio.certs.leaf import self_signed
from tlsio.certs.request import USAGES, create_request, load_request, request_facts
from tlsio.cli.help import Command
from tlsio.cli.output import json_option
from tlsio.cli.parameters import INPUT, NEW_FILE
from tlsio.cli.passphrase import PASSPHRASE, new_passphrase_option, passphrase_option, with_passphrase
from tlsio.cli.progress import progress
from tlsio.cli.written import New, deliver, force_option, out_option
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsio.certs.authority import Authority
    from tlsio.certs.keys import PrivateKey

__all__ = ["csr", "dhparam", "key", "self_sign", "sign"]

_Options = dict[str, Any]

kind_option = click.option("--kind", metavar="KIND", default="P-256", show_default=True, help=f"Of the new key: {', '.join(KEY_KINDS)}.")


def _with_key(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which key is used: one that exists, or a new one."""
    for option in (
        new_passphrase_option,
        passphrase_option,
        kind_option,
        click.option("--new-key", type=NEW_FILE, metavar="FILE", help="Make a new key, and write it there."),
        click.option("--key", "key_file", type=INPUT, metavar="FILE", help="Use the key in this file."),
    ):
        command = option(command)
    return command


class _Key:
    """The key of a request or certificate, from the options above."""

    def __init__(self, options: _Options, *, is_for_nothing: bool) -> None:
        key_file, self.path = options.pop("key_file"), options.pop("new_key")
        kind, source, self._new_source = options.pop("kind"), options.pop("passphrase"), options.pop("new_passphrase")
        if key_file is not None and self.path is not None:
            raise click.UsageError("--key and --new-key exclude each other: leave out --new-key to use the key in the file of --key.")
        if key_file is None and self.path is None:
            names = "NAME, which clients connect to, and " if is_for_nothing else ""
            raise click.UsageError(f"Give {names}the key with --key FILE, or have one made with --new-key FILE.")
        self.key: PrivateKey = (
            generate_key(kind) if key_file is None else with_passphrase(source, lambda secret: load_key(key_file, secret))
        )

    def deliver(self, made: New, *, force: bool) -> None:
        """Write what was made, and before it a new key.

        Raises:
            OSError: a file exists, or cannot be written.
        """
        try:
            deliver(*self._files(), made, force=force)
        except FileExistsError as error:
            if self.path is not None and Path(error.filename) == Path(self.path):
                error.add_note(f"To use the key in it, give --key {self.path} instead of --new-key.")
            raise

    def _files(self) -> tuple[New, ...]:
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
@click.argument("file", type=NEW_FILE)
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
    tlsio csr example.org www.example.org --new-key server.key -o server.csr
    tlsio csr spiffe://plant.example/press --key press.key -o press.csr   a workload of SPIFFE
    """,
)
@click.argument("names", nargs=-1, metavar="[NAME...]")
@_with_key
@click.option("--subject", help="Such as CN=gateway,O=Plant. Public authorities ignore it.")
@click.option("--usage", "usages", type=click.Choice(list(USAGES)), multiple=True, help="Ask for it. Public authorities decide alone.")
@click.option("--must-staple", is_flag=True, help="Ask that clients accept the certificate only with an OCSP response.")
@click.option("--challenge", type=PASSPHRASE, help="A challenge password, which all who see the request can read.")
@out_option
@force_option
@json_option
def csr(names: tuple[str, ...], *, out: str, force: bool, challenge: Callable[..., str] | None, **options: Any) -> None:
    """Make a certificate request, to be signed by an authority.

    NAME is what clients connect to: DNS names, wildcards, IP addresses; e-mail addresses and URIs
    too.
    """
    chosen = _Key(options, is_for_nothing=not names and not options["subject"])
    secret = challenge(twice=True) if challenge else None
    request = create_request(names, key=chosen.key, challenge_password=secret, **options)
    chosen.deliver(New(out, request.public_bytes(Encoding.PEM)), force=force)


@click.command(
    cls=Command,
    examples="""
    tlsio self-sign localhost 127.0.0.1 --new-key server.key -o server.pem
    tlsio self-sign gateway.plant.example --key gateway.key -o gateway.pem --days 90
    tlsio self-sign --csr server.csr --key server.key -o server.pem
    """,
)
@click.argument("names", nargs=-1, metavar="[NAME...]")
@_with_key
@click.option(
    "--csr", "request", type=INPUT, metavar="FILE", help="Take names, in addition to NAME, and the subject from a certificate request."
)
@click.option("--subject", help="Such as CN=gateway,O=Plant. Default: the first name.")
@click.option("--days", type=float, help="The length of its life, at most 398. Default: 365.")
@click.option("--must-staple", is_flag=True, help="Clients accept it only with an OCSP response.")
@out_option
@force_option
@json_option
def self_sign(names: tuple[str, ...], *, request: Path | bytes | None, out: str, force: bool, **options: Any) -> None:
    """Make a certificate that is signed by its own key.

    NAME is what clients connect to: DNS names, wildcards, IP addresses; e-mail addresses and URIs
    too. A peer trusts the certificate by having it in --ca.
    """
    chosen = _Key(options, is_for_nothing=not names and request is None)
    given: tuple[Any, ...] = names
    if request is not None:
        asked = load_request(request)
        if not (match := match_key(chosen.key, asked.public_bytes(Encoding.PEM))):
            raise ConfigError(match.explanation, code="ERR_OSSL_X509_KEY_VALUES_MISMATCH", hint="Give the key of the request as --key.")
        facts = request_facts(asked)
        given = (*names, *facts.names)
        if not given:
            raise click.UsageError("The request has no alternative name, and clients read no other: give NAME too.")
        options |= {"subject": options["subject"] or facts.subject, "must_staple": options["must_staple"] or facts.must_staple}
    leaf = self_signed(given, key=chosen.key, **options)
    chosen.deliver(New(out, leaf.cert_pem), force=force)


@click.command(
    cls=Command,
    examples="""
    tlsio sign server.csr -o server.pem                               by the authority of tlsio dev
    tlsio sign ada.csr --usage client -o ada.pem
    tlsio sign server.csr --ca ca.pem --ca-key ca.key --days 90 -o server.pem
    """,
)
@click.argument("request", type=INPUT, metavar="CSR")
@click.option(
    "--ca", "cert", type=INPUT, metavar="FILE", help="The authority's certificate, and those above it. Default: that of tlsio dev."
)
@click.option("--ca-key", "key", type=INPUT, metavar="FILE", help="The authority's private key.")
@passphrase_option
@click.option("--usage", type=click.Choice(list(USAGES)), default="server", show_default=True, help="What the certificate is for.")
@click.option("--name", "names", metavar="NAME", multiple=True, help="Certify these names, instead of those of the request.")
@click.option("--days", type=float, help="The length of its life, at most 398. Default: 365.")
@out_option
@force_option
@json_option
def sign(request: Path | bytes, *, names: tuple[str, ...], out: str, force: bool, usage: Any, days: float | None, **options: Any) -> None:
    """Sign the certificate request in the file CSR.

    Look at it before (tlsio inspect): a request says what its sender wants to be. The result has
    the certificate, and after it the authority's, unless that is a root. The exit code is 1 if the
    request is refused.
    """
    is_development = options["cert"] is None
    authority = _load_authority(options)
    leaf = authority.sign(request, usage=usage, names=names or None, days=days)
    notes = [f"Signed by {authority.certificate.subject.rfc4514_string()}, the authority of tlsio dev."] if is_development else []
    deliver(New(out, leaf.chain_pem), force=force, notes=notes)


def _load_authority(options: _Options) -> Authority:
    from tlsio.certs.authority import Authority  # noqa: PLC0415 - only this command needs it

    ca, ca_key, source = (options.pop(name) for name in ("cert", "key", "passphrase"))
    if (ca is None) != (ca_key is None):
        raise click.UsageError("--ca and --ca-key belong together.")
    if ca is None:
        from tlsio.certs import dev  # noqa: PLC0415

        return dev.load()
    return with_passphrase(source, lambda secret: Authority.load(cert=ca, key=ca_key, passphrase=secret))


@click.command(
    cls=Command,
    examples="""
    tlsio dhparam -o dh.pem                    the group ffdhe2048 of RFC 7919
    tlsio dhparam ffdhe3072 -o dh.pem
    tlsio dhparam 2048 -o dh.pem               new ones, which takes seconds to minutes
    """,
)
@click.argument("bits", metavar="[GROUP|BITS]", default="ffdhe2048")
@out_option
@force_option
@json_option
def dhparam(bits: str, *, out: str, force: bool) -> None:
    """Write Diffie-Hellman parameters: a GROUP of RFC 7919, or new ones of BITS bits.

    They matter only to peers of TLS 1.2 without elliptic curves. The groups are known to be good.
    """
    from tlsio.certs.diffie_hellman import dhparams  # noqa: PLC0415 - only this command needs it

    with progress(f"Searching for a safe prime of {bits} bits, which takes seconds to minutes", is_long=True) as report:
        # 20 digits are too many already, and Python refuses to read more than 4300.
        made = dhparams(int(bits[:20]) if bits.isdecimal() else bits, progress=lambda steps: report(f"{steps} candidates"))
    deliver(New(out, made, title=f"Diffie-Hellman parameters {bits}"), force=force)
