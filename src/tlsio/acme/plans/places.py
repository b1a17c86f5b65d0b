"""Authorities by name, and storages by place: what stands on a command line and in settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tlsio.acme.manager.names import is_private
from tlsio.acme.storage.file_storage import FileStorage
from tlsio.acme.storage.redis_storage import RedisStorage
from tlsio.certs.dev import authority as development
from tlsio.interop.http_request import parse_url
from tlsio.model.checks import check_filled_text, wrong_value
from tlsio.model.environment import read_variable
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tlsio.acme.storage.storage import Storage

__all__ = ["SERVERS", "STAGING", "default_folder", "directory_of", "find_uncertified", "open_storage"]

# As their documentation has them, November 2026.
SERVERS = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
    "zerossl": "https://acme.zerossl.com/v2/DV90",
    "google": "https://dv.acme-v02.api.pki.goog/directory",
    "google-staging": "https://dv.acme-v02.test-api.pki.goog/directory",
}
# Where something is tried out without counting in the limits of the first.
STAGING = {SERVERS["letsencrypt"]: SERVERS["letsencrypt-staging"], SERVERS["google"]: SERVERS["google-staging"]}
_REDIS = ("redis://", "rediss://", "unix://")


def directory_of(server: str) -> str:
    """Return the directory of an authority that is given by its name or by its URL.

    Raises:
        UsageError: it is neither.
    """
    if check_filled_text("server", server) in SERVERS:
        return SERVERS[server]
    if "://" not in server:
        raise wrong_value("server", f"must be one of {', '.join(SERVERS)}, or the URL of a directory (https://…), got {server!r:.80}")
    return parse_url("server", server).text


def find_uncertified(server: str, names: Iterable[str]) -> str | None:
    """Return a name that an authority of `SERVERS` certainly does not certify; None: there is none.

    Raises:
        UsageError: as `directory_of`.
    """
    return next(filter(is_private, names), None) if directory_of(server) in SERVERS.values() else None


def default_folder() -> Path:
    """Return the folder of the storage if none is given.

    `acme` in the state directory that systemd gives a service (`StateDirectory=`), or `tlsio/acme`
    where the system keeps the data of programs: `~/.local/share` on Linux.
    """
    state = read_variable("STATE_DIRECTORY")
    if state:
        return Path(state.partition(":")[0]) / "acme"  # systemd separates several by colons
    return development.where().parent / "acme"


def open_storage(place: str | Path | None = None, secret_file: str | Path | None = None) -> Storage:
    """Return the storage at a place.

    Args:
        place: A folder, or the URL of Redis; None: `default_folder()`.
        secret_file: The secret that encrypts what is in Redis, in the first line of a file.

    Raises:
        UsageError: another URL, a folder with a secret, or a secret that is too short.
        ConfigError: the file is empty, or the package `redis` is missing.
        OSError: the file cannot be read.
    """
    if isinstance(place, str) and place.startswith(_REDIS):
        return RedisStorage(place, secret=None if secret_file is None else _read_secret(Path(secret_file)))
    if isinstance(place, str) and "://" in place:
        raise wrong_value("storage", f"must be a folder, or a URL that begins with {', '.join(_REDIS)}")
    if secret_file is not None:
        raise wrong_value("storage_secret_file", "is for Redis: files are protected by their permissions")
    return FileStorage(place or default_folder())


def _read_secret(path: Path) -> str:
    try:
        secret = path.read_text(encoding="utf-8").partition("\n")[0].strip()
    except UnicodeDecodeError:  # Python's error would show a part of it
        raise ConfigError(f"{path}: the secret is not a text in UTF-8", code="ERR_TLS_CONFIG") from None
    if not secret:
        raise ConfigError(f"The first line of {path} is empty", code="ERR_TLS_CONFIG", hint="Write the secret into it.")
    return secret
