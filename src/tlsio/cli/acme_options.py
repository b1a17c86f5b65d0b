"""The options that the commands of `tlsio acme` share, and what they mean."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tlsio.cli.output import json_option
from tlsio.cli.parameters import NEW_FILE
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from tlsio.acme.client.account_key import ExternalAccount
    from tlsio.acme.storage.storage import Storage

__all__ = ["account_options", "chosen_server", "external_account", "run_with_storage", "server_option", "shown_storage", "storage_options"]

_T = TypeVar("_T")
_ENDING = (signal.SIGTERM, signal.SIGHUP)

server_option = click.option(
    "--server",
    metavar="NAME|URL",
    default="letsencrypt",
    show_default=True,
    help="The authority: letsencrypt, letsencrypt-staging, zerossl, google, google-staging, or the URL of a directory.",
)

_STORAGE = (
    click.option("--storage", metavar="FOLDER|URL", help="Accounts, keys and certificates: a folder, or redis://HOST. Default: ~/.local/share/tlsio/acme on Linux."),
    click.option("--storage-secret-file", type=NEW_FILE, metavar="FILE", help="Encrypts what is in Redis, with the secret in its first line."),
    json_option,
)  # fmt: skip
_ACCOUNT = (
    click.option("--agree-tos", is_flag=True, help="Agree to the authority's terms of service, for a new account."),
    click.option("--email", metavar="ADDRESS", multiple=True, help="Where the authority can reach you."),
    click.option("--eab-kid", metavar="ID", help="A new account is bound to one that the authority has given you: its key identifier,"),
    click.option("--eab-hmac-file", type=NEW_FILE, metavar="FILE", help="and its HMAC key, in the first line of a file."),
    click.option("--server-ca", type=NEW_FILE, metavar="FILE", help="Roots of the authority's own server, in place of the default ones."),
)


def storage_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --storage, --storage-secret-file and --json."""
    for option in reversed(_STORAGE):
        command = option(command)
    return command


def account_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what a new account is made of."""
    for option in reversed(_ACCOUNT):
        command = option(command)
    return command


def chosen_server(text: str) -> str:
    """Return the directory of --server.

    Raises:
        UsageError: it is neither a name nor a URL.
    """
    from tlsio.acme.plans.places import directory_of  # noqa: PLC0415 - the extra may be missing

    return directory_of(text)


def external_account(kid: str | None, hmac_file: str | None) -> ExternalAccount | None:
    """Return the account that --eab-kid and --eab-hmac-file name.

    Raises:
        UsageError: one of both is missing, or the key is not base64.
        ConfigError: the file has no key.
        OSError: the file cannot be read.
    """
    from tlsio.acme.client.account_key import ExternalAccount  # noqa: PLC0415 - the extra may be missing

    if (kid is None) != (hmac_file is None):
        raise click.UsageError("--eab-kid and --eab-hmac-file belong together: the authority gives you both.")
    if kid is None or hmac_file is None:
        return None
    key = Path(hmac_file).read_text(encoding="ascii", errors="replace").partition("\n")[0].strip()
    if not key:
        raise ConfigError(f"The first line of {hmac_file} is empty", code="ERR_TLS_CONFIG", hint="Write the HMAC key into it.")
    return ExternalAccount(kid, key)


def shown_storage(place: str | None) -> str:
    """Return where the storage is; the URL of Redis may have a password, and is not shown."""
    from tlsio.acme.plans.places import default_folder  # noqa: PLC0415 - the extra may be missing

    return "Redis" if place is not None and "://" in place else str(place or default_folder())


@contextmanager
def _ending_on_signals() -> Iterator[None]:
    """End by SIGTERM and SIGHUP as by Ctrl-C: post-hooks run, and answers are removed."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - for the type checker
    received: list[int] = []

    def end(number: int) -> None:
        received.append(number)
        task.cancel()

    for number in _ENDING:
        loop.add_signal_handler(number, end, number)
    try:
        yield
    except asyncio.CancelledError:
        if received:
            raise SystemExit(128 + received[0]) from None  # as shells report it
        raise
    finally:
        for number in _ENDING:
            loop.remove_signal_handler(number)


def run_with_storage(place: str | None, secret_file: str | None, action: Callable[[Storage], Coroutine[Any, Any, _T]]) -> _T:
    """Run a coroutine with the storage, and close it.

    Raises:
        Exception: as `open_storage`, and as the coroutine.
    """
    from tlsio.acme.plans.places import open_storage  # noqa: PLC0415 - the extra may be missing

    async def run() -> _T:
        async with AsyncExitStack() as stack:
            storage = open_storage(place, secret_file)
            if (close := getattr(storage, "aclose", None)) is not None:
                stack.push_async_callback(close)
            with _ending_on_signals():
                return await action(storage)

    return asyncio.run(run())
