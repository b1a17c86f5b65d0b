"""A certificate authority for development, in the user's data folder, and what it issues."""

from __future__ import annotations

import getpass
import os
import platform
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlsio.certs.authority import Authority
from tlsio.certs.dev.machine import this_machine
from tlsio.certs.dev.store import Root
from tlsio.certs.dev.trust import STORE_KINDS, add_root, find_removals, remove_root
from tlsio.model.checks import wrong_value
from tlsio.model.errors import ConfigError, add_hint

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tlsio.certs.dev.machine import Machine
    from tlsio.certs.dev.trust import Outcome
    from tlsio.certs.leaf import Leaf

__all__ = ["Issued", "cert", "init", "load", "trust", "untrust", "where"]

_CERT, _KEY = "root.pem", "root.key"
_FOLDER_MODE = 0o700
_MAX_COMMON_NAME = 64  # RFC 5280 appendix A, ub-common-name


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its files.

    Attributes:
        leaf: The certificate and its key.
        cert: The file of the certificate, for `cert=`.
        key: The file of the key, for `key=`.
    """

    leaf: Leaf
    cert: Path
    key: Path


def where(*, machine: Machine | None = None) -> Path:
    """Return the folder of the development authority, whether it exists or not.

    Linux: `tlsio/dev` in `$XDG_DATA_HOME`, or `~/.local/share`. macOS: in
    `~/Library/Application Support`. Windows: in `%LOCALAPPDATA%`.
    """
    there = machine or this_machine()
    if there.system == "macos":
        data = there.home / "Library" / "Application Support"
    elif there.system == "windows":
        data = Path(there.read_variable("LOCALAPPDATA") or there.home / "AppData" / "Local")
    else:
        data = there.folder("XDG_DATA_HOME", ".local/share")
    return data / "tlsio" / "dev"


def init(
    *,
    folder: str | os.PathLike[str] | None = None,
    name: str | None = None,
    permitted: Sequence[str] = (),
    excluded: Sequence[str] = (),
    days: float | None = None,
) -> Authority:
    """Make the development authority: EC P-256, its key readable by this user alone.

    Nothing trusts it until `trust` is called.

    Args:
        folder: Where it is kept. Default: `where()`.
        name: Its common name. Default: one with the user and the machine, and the given folder.
        permitted: The only names that it can certify (name constraints), such as `["test",
            "localhost", "127.0.0.0/8"]`: whoever steals the key can then imitate no other site.
        excluded: Names that it cannot certify.
        days: The length of its life. Default: ten years.

    Raises:
        FileExistsError: there is one already.
        OSError: the folder or a file cannot be written.
        ConfigError: other users own the folder, or can write to it (`ERR_TLS_KEY_EXPOSED`).
        UsageError: a name or a constraint is wrong.
    """
    place = _folder(folder)
    authority = Authority.create(
        name or _default_name(None if folder is None else place),
        path_length=0,
        permitted=tuple(permitted),
        excluded=tuple(excluded),
        days=days,
    )
    place.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
    _check_access(place, 0o022, "replace the authority", place)
    try:
        authority.write(cert=place / _CERT, key=place / _KEY)
    except FileExistsError as error:
        add_hint(error, f"{place} has an authority already. Undo its trust first (untrust), then delete the folder, to make another.")
        raise
    return authority


def load(folder: str | os.PathLike[str] | None = None) -> Authority:
    """Read the development authority, to issue in memory.

    Args:
        folder: Where it is kept. Default: `where()`.

    Raises:
        FileNotFoundError: there is none.
        OSError: a file cannot be read.
        ConfigError: its files are damaged, or others own them, may read its key or replace it
            (`ERR_TLS_KEY_EXPOSED`).
    """
    place = _folder(folder)
    _check_private(place)
    return Authority.load(cert=place / _CERT, key=place / _KEY)


def cert(
    *names: str,
    client: bool = False,
    folder: str | os.PathLike[str] | None = None,
    into: str | os.PathLike[str] = ".",
    days: float | None = None,
    overwrite: bool = False,
) -> Issued:
    """Issue a certificate, and write it and its key.

    The files are named after the first name: `localhost+1.pem` and `localhost+1-key.pem` for two
    names, `ada-client.pem` for a client.

    Args:
        names: What clients connect to: DNS names, wildcards, IP addresses. For a client: its name,
            then any alternative names, such as `ada@example.com`.
        client: For a client, which servers do not accept from each other.
        folder: Where the authority is kept. Default: `where()`.
        into: The folder of the new files; it is made if it is missing.
        days: The length of its life, at most 398. Default: 365.
        overwrite: Replace files that exist.

    Raises:
        FileExistsError: a file exists, and `overwrite` is False.
        FileNotFoundError: there is no authority.
        OSError: a file cannot be read or written.
        ConfigError: as `load`; or the authority has expired.
        UsageError: there is no name, a name is wrong, or outside the name constraints.
    """
    if not names:
        raise wrong_value("names", "is empty", hint="Give what clients connect to, such as localhost and 127.0.0.1.")
    authority = load(folder)
    issue = authority.client if client else authority.server
    leaf = issue(*names, days=days)
    stem = _stem(names, client=client)
    Path(into).mkdir(parents=True, exist_ok=True)
    issued = Issued(leaf, Path(into, f"{stem}.pem"), Path(into, f"{stem}-key.pem"))
    leaf.write(cert=issued.cert, key=issued.key, overwrite=overwrite)
    return issued


def trust(
    *, folder: str | os.PathLike[str] | None = None, only: Collection[str] = STORE_KINDS, dry_run: bool = False
) -> tuple[Outcome, ...]:
    """Make this user's machine trust the development authority. `untrust` undoes it.

    Whoever has the authority's key can then imitate every site to this machine: use `dry_run`
    first, and name constraints (`init`).

    Args:
        folder: Where the authority is kept. Default: `where()`.
        only: Kinds of stores: `"system"`, `"nss"` (Firefox; Chromium on Linux), `"java"`.
        dry_run: Change nothing, and return what would be done.

    Returns:
        What happened to each store; one that failed is as it was before.

    Raises:
        FileNotFoundError: there is no authority.
        ConfigError: as `load`.
    """
    place = _folder(folder)
    _check_private(place)
    return add_root(Root.read(place / _CERT), this_machine(), only=only, dry_run=dry_run)


def untrust(
    *, folder: str | os.PathLike[str] | None = None, only: Collection[str] = STORE_KINDS, dry_run: bool = False
) -> tuple[Outcome, ...]:
    """Remove the development authority from the stores of this machine; only this one.

    Needs the authority's certificate, not its key: call it before the folder is deleted. After
    that, the error has the commands that remove what stores still have.

    Args:
        folder: Where the authority is kept. Default: `where()`.
        only: See `trust`.
        dry_run: See `trust`.

    Raises:
        FileNotFoundError: there is no authority.
        ConfigError: its certificate is damaged.
    """
    place = _folder(folder)
    if not (place / _CERT).exists():
        raise _missing(place, _describe_removals(find_removals(this_machine(), only=only)))
    return remove_root(Root.read(place / _CERT), this_machine(), only=only, dry_run=dry_run)


def _folder(given: str | os.PathLike[str] | None) -> Path:
    return where() if given is None else Path(given)


def _check_exists(place: Path) -> None:
    if not (place / _CERT).exists():
        raise _missing(place, "Make one: tlsio.certs.dev.init().")


def _missing(place: Path, hint: str) -> FileNotFoundError:
    error = FileNotFoundError(2, "There is no development authority", str(place / _CERT))
    add_hint(error, hint)
    return error


def _describe_removals(lines: Sequence[str]) -> str:
    """Return the hint for an authority whose certificate, by which it is removed, is missing."""
    if not lines:
        return "No store that can be searched has the root of one."
    return f"Stores have the root of one. If its folder was deleted, remove it: {'; '.join(f'`{line}`' for line in lines)}."


def _check_private(place: Path) -> None:
    """Refuse a key that others can read, and files and a folder that they can replace."""
    _check_exists(place)
    _check_access(place, 0o022, "replace the authority", place)
    _check_access(place / _CERT, 0o022, "replace the authority", place)
    _check_access(place / _KEY, 0o077, "read the key", place)


def _check_access(path: Path, forbidden: int, what: str, place: Path) -> None:
    status = path.stat()
    if status.st_mode & forbidden:
        raise ConfigError(
            f"Other users can {what}: {path} has the mode {status.st_mode & 0o777:o}",
            code="ERR_TLS_KEY_EXPOSED",
            hint=f"If none of them did: chmod 700 {place}; chmod 600 {place / _KEY}. Otherwise undo its trust, and make another.",
        )
    # An owner can always change the mode, and has read a key that they gave away. Windows has no
    # such numbers.
    if hasattr(os, "geteuid") and status.st_uid not in {0, os.geteuid()}:
        raise ConfigError(
            f"Another user can {what}: {path} belongs to the user {status.st_uid}",
            code="ERR_TLS_KEY_EXPOSED",
            hint="Use this authority as its owner, or make one of your own in another folder.",
        )


def _default_name(place: Path | None) -> str:
    """Return a name with the user and the machine, and with the folder if it is not the usual one.

    Two authorities of one name could not be told apart in a store, nor by a verifier.
    """
    user = "user"
    with suppress(OSError, KeyError, ImportError):  # a user id without a name, as in containers
        user = getpass.getuser()
    text = f"tlsio dev {user}@{platform.node() or 'machine'}"
    end = "" if place is None else f" in {place.resolve().name[: _MAX_COMMON_NAME // 2]}"
    return "".join(one if one.isprintable() else "_" for one in text[: _MAX_COMMON_NAME - len(end)] + end)


def _stem(names: Sequence[str], *, client: bool) -> str:
    """Return the name of the files without their ends, which is a name in every file system."""
    first = re.sub(r"[^A-Za-z0-9._@-]", "_", names[0].replace("*", "_wildcard")).lstrip(".") or "certificate"
    return f"{first[:100]}{f'+{len(names) - 1}' if len(names) > 1 else ''}{'-client' if client else ''}"
