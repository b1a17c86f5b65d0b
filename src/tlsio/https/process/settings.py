"""What the command line and a TOML file can say about a server."""

from __future__ import annotations

import re
import reprlib
import tomllib
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from tlsio.connection.context.file_source import FileSource
from tlsio.connection.server.threads import count_threads
from tlsio.https.applications.wsgi import DEFAULT_THREADS, MOST_THREADS
from tlsio.https.layers.hsts import HSTS
from tlsio.https.limits import Limits
from tlsio.https.plain_http.redirect import check_status
from tlsio.https.process.logs import LogLevel
from tlsio.https.server import INTERMEDIATE_CIPHERS, PROTOCOLS
from tlsio.https.tls.certificates import NamedFiles
from tlsio.model.checks import MAX_PORT, check_host, check_int, check_limit, check_port, check_seconds, out_of_range, wrong_value
from tlsio.model.errors import ConfigError, UsageError
from tlsio.model.options.server import MAX_THREADS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tlsio.https.proxy.http import HTTPProxy
    from tlsio.https.proxy.tcp import TCPTarget
    from tlsio.https.tls.acme import ACME

__all__ = ["Address", "Settings", "Site", "parse", "read"]

_MAX_FILE = 1024 * 1024  # bytes
_MAX_WORKERS = 1024
_MAX_FD = 2**31 - 1
_SPLIT = ("max_connections", "max_handshakes")  # limits of the whole server, of which each worker gets a part
_CLIENT_CERT = {"none": {}, "optional": {"request_cert": True, "reject_unauthorized": False}, "required": {"request_cert": True}}


class Address(NamedTuple):
    """A host and a port; written HOST:PORT, with brackets around an IPv6 address."""

    host: str
    port: int


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
            ConfigError: it is not text.
        """
        wants = self.client_cert or ("required" if self.ca else "none")
        given: dict[str, Any] = {"cert": self.cert, "key": self.key or self.cert, **_CLIENT_CERT[wants]}
        given |= {name: list(value) for name, value in (("ca", self.ca), ("crl", self.crl)) if value}
        if self.passphrase_file is not None:
            given["passphrase"] = _read_passphrase(self.passphrase_file)
        return given

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that it names."""
        alone = (self.cert, self.key, self.passphrase_file)
        return (*(one for one in alone if one is not None), *self.ca, *self.crl)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A server. Each field is an option of `tlsio serve` and a key of its file.

    Attributes:
        app: "module:name", or a folder; or what `tlsio proxy` serves.
        sites: The certificates, the default first; () is one of the development authority.
        acme: Certificates that are obtained and renewed, in place of `sites`; None: none. Then
            `host`, `port` and `redirect` are those of a public server unless they are given: all
            addresses, 443 and 80.
        wsgi_threads: The number of requests at a time that a WSGI application handles, in each
            worker.
        workers: Processes; 1: this one alone.
        fds: Descriptors of listening sockets that the parent process has opened.
        graceful_timeout: Seconds for requests when the server stops; None: no limit.
        max_connections: Of all workers together, each of which gets the same part, rounded down;
            as `max_handshakes`.
        max_connections_per_address: Of one client's address, in each worker.
        handshake_threads: In each worker, as of `tlsio.create_server`; "auto" divides the cores
            among the workers.
        proxy_protocol: Addresses and networks of TCP proxies that send a PROXY protocol header.
        strict_host: As of `tlsio.https.Server`.
        hsts: Send Strict-Transport-Security; None: no.
        redirect: The port of plain HTTP that redirects, at the address of `host`; None: there is
            none.
        redirect_status: 308, or 301, which old clients know.
        metrics: Where metrics and a health answer are served by plain HTTP; None: nowhere.
        access_log: The form of the line for each request.
        forwarded_allow_ips: Of HTTP proxies whose `X-Forwarded-*` headers are believed.
        reload: Start again when files of the application change; for development.
        reload_dirs: The folders that are watched; () is the current one.
        file: What these settings were read from, and are read from again after a restart; None:
            from no file.
    """

    app: str | HTTPProxy | TCPTarget
    host: str | None = "localhost"
    port: int = 8443
    fds: tuple[int, ...] = ()
    sites: tuple[Site, ...] = ()
    acme: ACME | None = None
    min_version: str = "TLSv1.2"
    interface: Literal["auto", "asgi3", "wsgi"] = "auto"
    lifespan: str = "auto"
    root_path: str = ""
    wsgi_threads: int = DEFAULT_THREADS
    loop: Literal["auto", "asyncio", "uvloop"] = "auto"
    workers: int = 1
    graceful_timeout: float | None = 30.0
    max_connections: int | None = None
    max_connections_per_address: int | None = None
    max_handshakes: int | None = None
    handshake_threads: int | Literal["auto"] = 0
    limits: Limits = field(default_factory=Limits)
    proxy_protocol: tuple[str, ...] = ()
    forwarded_allow_ips: tuple[str, ...] = ()
    strict_host: bool = False
    hsts: HSTS | None = None
    redirect: int | None = None
    redirect_status: int = 308
    metrics: Address | None = None
    access_log: Literal["text", "json", "off"] = "text"
    user: str | None = None
    group: str | None = None
    log_level: LogLevel = "info"
    reload: bool = False
    reload_dirs: tuple[Path, ...] = ()
    file: Path | None = None

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            UsageError: one is out of its range.
        """
        _check_host(self.host)
        check_port("port", self.port)
        if len(set(self.fds)) < len(self.fds):
            raise wrong_value("fds", f"names a descriptor twice: {', '.join(map(str, self.fds))}")
        for one in self.fds:
            check_int("fds", one, 0, _MAX_FD)
        check_int("workers", self.workers, 1, _MAX_WORKERS)
        check_int("wsgi_threads", self.wsgi_threads, 1, MOST_THREADS)
        if self.handshake_threads != "auto":
            check_int("handshake_threads", self.handshake_threads, 0, MAX_THREADS)
        check_status(self.redirect_status)
        if self.redirect is not None:
            check_port("redirect", self.redirect)
        check_seconds("graceful_timeout", self.graceful_timeout)
        if self.sites and self.acme is not None:
            raise wrong_value("domains", "cannot be combined with certificates of your own (cert=)", hint="Leave one of them out.")
        for name in ("max_connections", "max_connections_per_address", "max_handshakes"):
            check_limit(name, getattr(self, name))
        for name in _SPLIT:
            if (whole := getattr(self, name)) is not None and whole < self.workers:
                raise out_of_range(name, f"{self.workers} or more: one for each of {self.workers} workers", whole)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are read again: of certificates, and of the settings."""
        of_acme = () if self.acme is None else self.acme.files
        return (*(path for site in self.sites for path in site.files), *of_acme, *(() if self.file is None else (self.file,)))

    def server_options(self, ticket_keys: object = None) -> dict[str, Any]:
        """Return the options of `tlsio.https.Server`, without the application.

        Args:
            ticket_keys: A source of session ticket keys for this process; None: it makes its own.

        Raises:
            UsageError: an option is wrong.
            OSError: a file with a passphrase cannot be read.
        """
        names = (
            "interface", "lifespan", "root_path", "wsgi_threads", "limits", "forwarded_allow_ips", "strict_host", "hsts",
        )  # fmt: skip
        # Metrics are counted here and served by the process that all workers belong to.
        more = {"metrics": None if self.metrics is None else True, "acme": self.chosen_acme, **self.connection_options()}
        return {name: getattr(self, name) for name in names} | more | self.tls_options(PROTOCOLS, ticket_keys)

    @property
    def chosen_acme(self) -> ACME | None:
        """`acme` with the challenges that the ports allow."""
        return None if self.acme is None else self.acme.choose_challenges(has_http=self.redirect is not None)

    def connection_options(self) -> dict[str, Any]:
        """Return the options besides TLS that a TCP proxy has too."""
        access_log = None if self.access_log == "off" else self.access_log
        return {"graceful_timeout": self.graceful_timeout, "proxy_protocol": self.proxy_protocol, "access_log": access_log}

    def tls_options(self, protocols: Sequence[str], ticket_keys: object = None) -> dict[str, Any]:
        """Return the options of `tlsio.create_server`. Raises as `server_options`."""
        options: dict[str, Any] = {
            "max_connections_per_address": self.max_connections_per_address,
            "handshake_threads": count_threads(self.handshake_threads, processes=self.workers),
        }
        # Rounded down: all parts together must not exceed the limit of the whole server.
        for name in _SPLIT:
            if (whole := getattr(self, name)) is not None:
                options[name] = whole // self.workers
        shared: dict[str, Any] = {"ciphers": INTERMEDIATE_CIPHERS, "min_version": self.min_version}
        if protocols:
            shared["alpn_protocols"] = list(protocols)
        if not self.sites:
            return options | shared | {"ticket_keys": ticket_keys}
        default, *others = [{**shared, **site.options()} for site in self.sites]
        default["ticket_keys"] = ticket_keys  # one set for all names
        return options | {"secure_context": NamedFiles([FileSource(**one) for one in (default, *others)])}


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
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, a number of thousands of digits, or nested deeply
        hint = 'Strings need quotation marks, as in app = "main:app".'
        raise ConfigError(f"{path}: not a TOML file: {error}", code="ERR_HTTPS_SETTINGS", hint=hint) from None


def _read_passphrase(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").partition("\n")[0]
    except UnicodeDecodeError:  # Python's error would show a part of it
        raise ConfigError(f"{path}: the passphrase is not UTF-8", code="ERR_HTTPS_SETTINGS") from None


def _check_host(value: str | None) -> None:
    if value == "":  # the kernel would take it for every address
        raise wrong_value("host", "is empty", hint='"::" is every address.')
    if value is not None:
        check_host("host", value)


def parse(given: Mapping[str, Any], folder: Path, label: str, *, options: Collection[str] = ()) -> Settings:
    """Return the settings of a mapping such as `read` returns.

    Args:
        given: Keys as the fields of Settings, with `site` for a list of tables of Site, and
            `limits`, `hsts` and `acme` for tables of Limits, HSTS and ACME; `hsts` may be True or
            False too.
        folder: What paths are relative to.
        label: What messages call it: the file's name; "" for a command line.
        options: The keys whose values are of the command line: messages about them have no label.

    Raises:
        ConfigError: a key or a value is wrong.
    """
    start = f"{label}: " if label else ""
    found = dict(given)
    app = found.pop("app", None)
    if not app:  # an empty path would be the file's folder, which may hold private keys
        raise ConfigError(f"{start}app is missing", code="ERR_HTTPS_SETTINGS", hint='Such as app = "main:app", or a folder.')
    if isinstance(app, str) and ":" not in app:
        app = str(folder / app)
    sites = found.pop("site", [])
    limits = found.pop("limits", {})
    acme = found.pop("acme", None)
    hsts = found.pop("hsts", False)
    if not isinstance(sites, list):
        raise ConfigError(f"{start}site must be written [[site]], in double brackets, once for each site", code="ERR_HTTPS_SETTINGS")
    if not isinstance(hsts, dict | bool):
        raise ConfigError(f"{start}hsts must be true, false or a table [hsts], got {_show(hsts)}", code="ERR_HTTPS_SETTINGS")
    try:
        return Settings(
            app=app,
            **({} if acme is None else _PUBLIC) | _checked(found, Settings, folder, start, options),
            acme=None if acme is None else _parse_acme(acme, folder, f"{start}[acme]: ", options),
            sites=tuple(
                Site(**_checked(site, Site, folder, f"{start}{_name_site(index, sites)}: ")) for index, site in enumerate(sites, 1)
            ),
            limits=Limits(**_checked(limits, Limits, folder, f"{start}[limits]: ")),
            hsts=HSTS(**_checked({} if hsts is True else hsts, HSTS, folder, f"{start}[hsts]: ")) if hsts is not False else None,
        )
    except UsageError as error:
        named = error.message.partition(" ")[0]
        is_option = not label or {"names": "domains"}.get(named, named) in options  # the manager's word for them
        hint = error.hint
        if hint is not None and "None" in hint:
            hint = None if is_option else hint.replace("None", "false")  # TOML has no null, and options have no word for it
        raise ConfigError(f"{'' if is_option else start}{error.message}", code="ERR_HTTPS_SETTINGS", hint=hint) from None


def _name_site(index: int, sites: list[Any]) -> str:
    return "[[site]]" if len(sites) == 1 else f"[[site]] {index} of {len(sites)}"


def _parse_acme(given: object, folder: Path, start: str, options: Collection[str]) -> ACME:
    from tlsio.https.tls.acme import ACME  # noqa: PLC0415 - many servers have certificates

    values = _checked(given, ACME, folder, start, options)
    storage = values.get("storage")
    if storage is not None and "://" not in storage:
        values["storage"] = str(folder / storage)
    return ACME(**values)


def _checked(given: object, kind: type, folder: Path, start: str, options: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields of a table, each in its type; messages about the file begin with `start`.

    Raises:
        ConfigError: a key is not known or missing, or a value has another type.
    """
    if not isinstance(given, dict):
        raise ConfigError(f"{start.removesuffix(': ')} must be a table, in single brackets", code="ERR_HTTPS_SETTINGS")
    known = {item.name: item for item in fields(kind) if item.name not in _TABLES}
    for name in given:
        if name not in known:
            near = get_close_matches(str(name), [*known, *(_IN_FILES if kind is Settings else ())], 1)
            raise ConfigError(
                f"{start}there is no setting {name!r}",
                code="ERR_HTTPS_SETTINGS",
                hint=f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(sorted(known))}.",
            )
    for name, item in known.items():
        if item.default is MISSING and item.default_factory is MISSING and name not in given:
            raise ConfigError(f"{start}{name} is missing", code="ERR_HTTPS_SETTINGS", hint=_MISSING.get(name))
    return {
        name: _convert(name if name in options else f"{start}{name}", str(known[name].type), value, folder) for name, value in given.items()
    }


def _convert(label: str, kind: str, value: object, folder: Path) -> Any:
    """Return a value of TOML in the type that a field is annotated with."""
    if value is False and kind.endswith("| None"):
        return None  # TOML has no null: `header_timeout = false` is no limit
    if several := _SEVERAL.match(kind):
        values = value if isinstance(value, list | tuple) else [value]
        if nested := next((one for one in values if isinstance(one, list)), None):
            hint = _NESTED.get(label.rpartition(" ")[2])
            raise ConfigError(f"{label} must be a list of texts, got {_show(nested)} in it", code="ERR_HTTPS_SETTINGS", hint=hint)
        return tuple(_convert(label, several[1], one, folder) for one in values)
    if kind.startswith("Path"):
        if not isinstance(value, str | Path) or "\0" in str(value):
            raise ConfigError(f"{label} must be a path, got {_show(value)}", code="ERR_HTTPS_SETTINGS")
        return folder / value
    if kind.startswith("Address"):
        return _parse_address(label, value)
    choices, name = _choices(kind), kind.partition(" ")[0]
    if value in choices:
        return value
    types, words = _TYPES.get(name, ((), f"one of {', '.join(choices)}"))
    if types and choices:
        words += f" or {', '.join(choices)}"
    if not isinstance(value, types) or (isinstance(value, bool) and name != "bool"):
        raise ConfigError(f"{label} must be {words}, got {_show(value)}", code="ERR_HTTPS_SETTINGS")
    return value


def _show(value: object) -> str:
    """Return a value for a message: Python cannot print each number and each nested table."""
    try:
        return reprlib.repr(value)
    except ValueError:
        return "a very large number"


def _parse_address(label: str, value: object) -> Address:
    found = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found["port"]) > MAX_PORT:
        raise ConfigError(f"{label} must be an address and a port, such as 127.0.0.1:9100, got {_show(value)}", code="ERR_HTTPS_SETTINGS")
    return Address(found["v6"] or found["host"], int(found["port"]))


def _choices(kind: str) -> tuple[str, ...]:
    return get_args(LogLevel) if kind == "LogLevel" else tuple(re.findall(r"'([^']+)'", kind))


_TYPES: dict[str, tuple[Any, str]] = {
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "str": (str, "a text"),
    "bool": (bool, "true or false"),
}
_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})")
_SEVERAL = re.compile(r"(?:tuple|Sequence)\[(\w+)")
_MISSING = {"domains": 'Such as domains = ["example.com"].', "cert": 'Such as cert = "site.pem".'}
_NESTED = {"domains": 'Names that share a certificate are one text: domains = ["example.com, www.example.com"].'}
_IN_FILES = ("app", "site", "limits", "hsts", "acme")
_TABLES = frozenset({"app", "sites", "limits", "hsts", "acme", "file"})  # and what no file can set
_PUBLIC: dict[str, Any] = {"host": None, "port": 443, "redirect": 80}
