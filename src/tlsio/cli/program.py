"""The group of commands, each imported when it is used, and what happens to its errors."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import click

from tlsio import __version__
from tlsio.cli.failures import INTERRUPTED, report, report_usage
from tlsio.cli.help import Group
from tlsio.cli.output import flush, use_colors
from tlsio.model.errors import TLSError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMMANDS", "program", "run"]

# Name: the module of `tlsio.cli` that has it, and its one line for `tlsio --help`. So the help and
# the completion of a shell import no command.
COMMANDS = {
    "key": ("make", "Make a private key."),
    "csr": ("make", "Make a certificate request, to be signed by an authority."),
    "self-sign": ("make", "Make a certificate that is signed by its own key."),
    "sign": ("make", "Sign a certificate request."),
    "dhparam": ("make", "Write Diffie-Hellman parameters."),
    "pem": ("convert", "Put certificates and keys in order, as PEM, PKCS#7 or DER."),
    "pfx": ("convert", "Write a key and its chain as PKCS#12."),
    "dev": ("dev", "Make certificates for development, trusted on this machine alone."),
    "inspect": ("inspect", "Describe certificates and keys, and what is wrong with them."),
    "verify": ("verify", "Say whether a chain would be accepted, and every reason why not."),
    "pin": ("inspect", "Print the pin of a key."),
    "connect": ("connect", "Connect, and show what was negotiated and what the chain is worth."),
    "listen": ("listen", "Be the other end: an echo or pipe server."),
    "doctor": ("doctor", "Say what is wrong with a server, and what to do."),
    "bench": ("bench", "Measure handshakes and echoes per second."),
    "acme": ("acme", "Obtain and renew certificates of Let's Encrypt and other authorities."),
    "serve": ("serve", "Serve an application or a folder over HTTPS."),
    "proxy": ("proxy", "Put TLS in front of another server."),
}


class _CarriedError(Exception):
    """Carries an error past click, which ends the process without a word if its errno is EPIPE."""

    def __init__(self, error: TLSError) -> None:
        super().__init__(error)
        self.error = error


class _Program(Group):
    """Finds a command in the table above."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except TLSError as error:
            raise _CarriedError(error) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"tlsio.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def line_about(self, name: str) -> str:
        """Return the line about a command."""
        return COMMANDS[name][1]


@click.group(
    cls=_Program,
    examples="""
    tlsio dev init && tlsio dev cert localhost     certificates for development
    tlsio connect example.org:443                  what a server negotiates
    tlsio doctor example.org                       what is wrong with it, and what to do
    tlsio inspect server.pem                       what is in a file
    tlsio serve ./public                           a folder over HTTPS
    """,
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def program() -> None:
    """Make, look at and check TLS: keys, certificates, servers and clients.

    A file that is read can be -, which is standard input.

    The exit code is 0 if all is well, 1 if there is a finding or a refusal, 2 if the command was
    used wrongly or a file cannot be used.
    """


def run(arguments: Sequence[str]) -> int:
    """Run the command with arguments, and return its exit code."""
    try:
        returned: Any = program.main(list(arguments), prog_name="tlsio", standalone_mode=False, color=use_colors())
        flush()
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        return report_usage(error, as_json="--json" in arguments)
    except _CarriedError as failure:
        return report(failure.error, as_json="--json" in arguments)
    except Exception as error:  # noqa: BLE001 - the top of the process; what is not known is raised again
        return report(error, as_json="--json" in arguments)
    return returned if isinstance(returned, int) else 0
