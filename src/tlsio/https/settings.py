"""What the command line and a TOML file can say about a server."""

from __future__ import annotations

import re
import tomllib
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tlsio.connection.context.file_source import FileSource
from tlsio.https.certificates import NamedFiles
from tlsio.https.limits import Limits
from tlsio.https.server import INTERMEDIATE_CIPHERS, PROTOCOLS
from tlsio.model.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Settings", "Site", "parse", "read"]

_MAX_FILE = 1024 * 1024
_CLIENT_CERT = {"none": {}, "optional": {"request_cert": True, "reject_unauthorized": False}, "required": {"request_cert": True}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One certificate, and whether its names ask for client certificates.

    Attributes:
        cert: The chain, PEM.
        key: The private key, if it is not in `cert`.
        passphrase_file: Holds the key's passphrase in its first line.
        ca: Authorities of client certificates.
        crl: Revocation lists for them.
        client_cert: "none"; "optional": the application sees whether one was accepted; "required".
    """

    cert: Path
    key: Path | None = None
    passphrase_file: Path | None = None
    ca: tuple[Path, ...] = ()
    crl: tuple[Path, ...] = ()
    client_cert: Literal["none", "optional", "required"] | None = None

    def options(self) -> dict[str, Any]:
        """Return the options of its context.

        Raises:
            OSError: the file with the passphrase cannot be read.
        """
        wants = self.client_cert or ("required" if self.ca else "none")
        given: dict[str, Any] = {"cert": self.cert, "key": self.key or self.cert, **_CLIENT_CERT[wants]}
        given |= {name: list(value) for name, value in (("ca", self.ca), ("crl", self.crl)) if value}
        if self.passphrase_file is not None:
            given["passphrase"] = self.passphrase_file.read_text(encoding="utf-8").partition("\n")[0]
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A server. Each field is an option of `tlsio serve` and a key of its file.

    Attributes:
        app: "module:name", or a folder.
        sites: The certificates, the default first; () is one of the development authority.
        workers: Processes; 1: this one alone.
        redirect: The port of plain HTTP that redirects here; None: none.
        fds: Descriptors of listening sockets that the parent process has opened.
    """

    app: str
    host: str | None = "localhost"
    port: int = 8443
    fds: tuple[int, ...] = ()
    sites: tuple[Site, ...] = ()
    min_version: str = "TLSv1.2"
    interface: str = "auto"
    lifespan: str = "auto"
    root_path: str = ""
    loop: Literal["auto", "asyncio", "uvloop"] = "auto"
    workers: int = 1
    graceful_timeout: float | None = 30.0
    max_connections: int | None = None
    max_connections_per_address: int | None = None
    max_handshakes: int | None = None
    limits: Limits = field(default_factory=Limits)
    user: str | None = None
    group: str | None = None

    def server_options(self, ticket_keys: object = None) -> dict[str, Any]:
        """Return the options of `tlsio.https.Server`, without the application.

        Args:
            ticket_keys: A source of session ticket keys for this process; None: it makes its own.

        Raises:
            UsageError: an option is wrong.
            OSError: a file with a passphrase cannot be read.
        """
        names = ("interface", "lifespan", "root_path", "graceful_timeout", "limits", "max_connections_per_address")
        options: dict[str, Any] = {name: getattr(self, name) for name in names}
        # Limits of the whole server: each worker gets its part.
        for name in ("max_connections", "max_handshakes"):
            if (whole := getattr(self, name)) is not None:
                options[name] = -(-whole // self.workers)
        if self.sites:
            shared = {"alpn_protocols": list(PROTOCOLS), "ciphers": INTERMEDIATE_CIPHERS, "min_version": self.min_version}
            default, *others = [{**shared, **site.options()} for site in self.sites]
            default["ticket_keys"] = ticket_keys  # one set for all names
            options["secure_context"] = NamedFiles([FileSource(**one) for one in (default, *others)])
        else:
            options |= {"min_version": self.min_version, "ticket_keys": ticket_keys}
        return options


def read(path: Path) -> dict[str, Any]:
    """Read a file of settings, for `parse`. Paths in it are relative to its folder.

    Raises:
        ConfigError: it is not TOML.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(_MAX_FILE + 1)
    if len(data) > _MAX_FILE:
        raise ConfigError(f"{path}: the file is larger than {_MAX_FILE} bytes", code="ERR_HTTPS_SETTINGS")
    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file: {error}", code="ERR_HTTPS_SETTINGS") from None


def parse(given: Mapping[str, Any], folder: Path, label: str) -> Settings:
    """Return the settings of a mapping such as `read` returns.

    Args:
        given: Keys as the fields of Settings, with `site` for a list of tables of Site, and
            `limits` for a table of Limits.
        folder: What paths are relative to.
        label: What messages call it: the file's name.

    Raises:
        ConfigError: a key or a value is wrong.
    """
    found = dict(given)
    sites = found.pop("site", [])
    limits = found.pop("limits", {})
    if not isinstance(sites, list) or not isinstance(limits, dict):
        raise ConfigError(f"{label}: write [[site]] and [limits] as tables", code="ERR_HTTPS_SETTINGS")
    try:
        return Settings(
            **_checked(found, Settings, folder, label),
            sites=tuple(Site(**_checked(site, Site, folder, f"{label}: [[site]]")) for site in sites),
            limits=Limits(**_checked(limits, Limits, folder, f"{label}: [limits]")),
        )
    except UsageError as error:
        raise ConfigError(f"{label}: {error.message}", code="ERR_HTTPS_SETTINGS", hint=error.hint) from None


def _checked(given: object, kind: type, folder: Path, label: str) -> dict[str, Any]:
    """Return the fields of a table, each in its type.

    Raises:
        ConfigError: a key is not known or missing, or a value has another type.
    """
    if not isinstance(given, dict):
        raise ConfigError(f"{label} must be a table", code="ERR_HTTPS_SETTINGS")
    known = {item.name: item for item in fields(kind) if item.name not in _TABLES}
    for name in given:
        if name not in known:
            near = get_close_matches(str(name), known, 1)
            raise ConfigError(
                f"{label}: there is no setting {name!r}",
                code="ERR_HTTPS_SETTINGS",
                hint=f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}.",
            )
    for name, item in known.items():
        if item.default is MISSING and item.default_factory is MISSING and name not in given:
            raise ConfigError(f"{label}: {name} is missing", code="ERR_HTTPS_SETTINGS")
    return {name: _convert(f"{label}: {name}", str(known[name].type), value, folder) for name, value in given.items()}


def _convert(label: str, kind: str, value: object, folder: Path) -> Any:
    """Return a value of TOML in the type that a field is annotated with."""
    if kind.startswith("tuple"):
        values = value if isinstance(value, list | tuple) else [value]
        return tuple(_convert(label, kind.removeprefix("tuple[").partition(",")[0], one, folder) for one in values)
    if kind.startswith("Path"):
        if not isinstance(value, str | Path):
            raise ConfigError(f"{label} must be a path, got {value!r}", code="ERR_HTTPS_SETTINGS")
        return folder / value
    if kind.startswith("Literal"):
        choices = re.findall(r'"([^"]+)"', kind)
        if value not in choices:
            raise ConfigError(f"{label} must be one of {', '.join(choices)}, got {value!r}", code="ERR_HTTPS_SETTINGS")
        return value
    types = {"int": int, "float": (int, float), "str": str, "bool": bool}[kind.partition(" ")[0]]
    if not isinstance(value, types) or (isinstance(value, bool) and types is not bool):
        raise ConfigError(f"{label} must be of the type {kind}, got {value!r}", code="ERR_HTTPS_SETTINGS")
    return value


_TABLES = frozenset({"sites", "limits"})
