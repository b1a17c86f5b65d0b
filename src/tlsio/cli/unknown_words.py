"""Options and commands that `tlsio` does not have, and what it has instead.

They are misspelled, or those of openssl and curl.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import click

from tlsio.cli.parameters import metavar_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["check_options", "describe_extra", "describe_unknown_command"]

_CLOSE = 0.75  # of difflib: --jsno is close to --json, --text is not close to --at
# The word of another program: options or arguments of ours, of which a command may have one.
_OPTIONS = {
    "CA": ("--ca",),
    "CAfile": ("--ca",),
    "CAkey": ("--ca-key",),
    "CApath": ("--ca",),
    "CRLfile": ("--crl",),
    "E": ("--cert",),
    "accept": ("PORT",),
    "addext": ("NAME", "--name"),
    "cacert": ("--ca",),
    "certfile": ("FILE",),
    "cipher": ("--ciphers",),
    "connect": ("HOST[:PORT]", "TARGET"),
    "curves": ("--groups",),
    "in": ("FILE", "CSR", "--csr", "TARGET"),
    "inkey": ("--key", "FILE"),
    "k": ("--insecure",),
    "keyout": ("--new-key", "--key-out"),
    "newkey": ("--new-key",),
    "nodes": ("--unencrypted",),
    "noenc": ("--unencrypted",),
    "o": ("--out", "--into", "FILE"),
    "out": ("--out", "--into", "FILE"),
    "output": ("--out", "--into", "FILE"),
    "passin": ("--passphrase",),
    "passout": ("--new-passphrase",),
    "subj": ("--subject",),
    "tls1_2": ("--max-version", "--min-version"),
    "tls1_3": ("--min-version",),
    "untrusted": ("FILE",),
    "verify_hostname": ("--name", "--servername"),
}
_NEEDLESS = {"export", "new", "noout", "showcerts", "text", "verify", "verify_return_error", "x509"}
_COMMANDS = {
    "asn1parse": "inspect",
    "ca": "sign",
    "cert": "dev cert or self-sign",
    "crl": "inspect",
    "crl2pkcs7": "pem",
    "ec": "key or inspect",
    "ecparam": "key",
    "genpkey": "key",
    "genrsa": "key",
    "help": "--help",
    "mkcert": "dev",
    "pkcs12": "pfx or pem",
    "pkcs7": "pem",
    "pkcs8": "pem",
    "pkey": "key or inspect",
    "req": "csr or self-sign",
    "rsa": "key or inspect",
    "s_client": "connect",
    "s_server": "listen",
    "s_time": "bench",
    "speed": "bench",
    "version": "--version",
    "x509": "inspect, verify, pem or self-sign",
}


def check_options(ctx: click.Context, words: Sequence[str]) -> None:
    """Refuse options that a command does not have.

    click would read `-out` as `-o ut`, and so write to another file than the one that was meant.
    Here a word with one dash is an option, or several flags, and never an option with its value.

    Raises:
        NoSuchOption: there is one.
    """
    options = [one for one in ctx.command.get_params(ctx) if isinstance(one, click.Option)]
    known = {name for one in options for name in (*one.opts, *one.secondary_opts)}
    with_value = {name for one in options if not one.is_flag and not one.count for name in one.opts}
    rest = iter(words)
    for word in rest:
        if word == "--" or (isinstance(ctx.command, click.Group) and not word.startswith("-")):
            return
        name = word.partition("=")[0] if word.startswith("--") else word
        flags = set() if word.startswith("--") else {f"-{letter}" for letter in word[1:]}
        if word in with_value:
            next(rest, None)
        elif word.startswith("-") and word != "-" and name not in known and (not flags or not flags <= known - with_value):
            raise click.NoSuchOption(name, f"No such option '{name}'.{_hint_for_option(ctx, name, known)}", ctx=ctx)


def describe_unknown_command(ctx: click.Context, name: str, known: Iterable[str]) -> str:
    """Return the message for a command that does not exist."""
    instead = (_COMMANDS.get(name) if ctx.parent is None else None) or " or ".join(get_close_matches(name, known, cutoff=_CLOSE))
    return f"No such command '{name}'.{f' Try {ctx.command_path} {instead}.' if instead else ''}"


def describe_extra(ctx: click.Context, extra: Sequence[str]) -> str:
    """Return the message for arguments after the last one that a command takes."""
    text = f"Got unexpected extra argument{'s' if len(extra) > 1 else ''} ({' '.join(extra)})."
    arguments = [one for one in ctx.command.params if isinstance(one, click.Argument)]
    if not arguments:
        return text
    last = arguments[-1]
    metavar, value = metavar_of(last), ctx.params.get(last.name or "")
    if extra[0].isdecimal() and "PORT" in last.type.name.upper():
        return f"{text} Write the host and the port as HOST:PORT."
    if metavar == "TARGET":
        return f"{text} {ctx.command_path} takes one TARGET: run it once for each. For files: cat FILE... | {ctx.command_path} -"
    return f"{text} {ctx.command_path} takes one {metavar}, which is {value}." if value is not None else text


def _hint_for_option(ctx: click.Context, name: str, known: set[str]) -> str:
    if isinstance(ctx.command, click.Group) and name.startswith("--"):
        return f" Options stand after the command: {ctx.command_path} COMMAND {name}." if name == "--json" else ""
    word = name.lstrip("-")
    for own in (f"--{word}", *_OPTIONS.get(word, ())):
        for one in ctx.command.params:
            if isinstance(one, click.Argument) and own == metavar_of(one):
                return f" Write {own} without an option."
            if isinstance(one, click.Option) and own in one.opts:
                value = "" if one.is_flag else f" {one.metavar or 'VALUE'}"
                return f" Write {' or '.join(f'{form}{value}' for form in one.opts)}."
    if word in _NEEDLESS:
        return " It is not needed here: leave it out."
    close = get_close_matches(name, known, cutoff=_CLOSE)
    return f" Did you mean {' or '.join(close)}?" if close else ""
