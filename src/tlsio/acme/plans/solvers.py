"""The solvers of a plan: folders of web servers, ports that are listened on, and DNS."""

from __future__ import annotations

import errno
import inspect
import os
import tomllib
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlsio.acme.solvers.dns01 import Dns01
from tlsio.acme.solvers.hook_program import HookProgram
from tlsio.acme.solvers.http01 import Http01
from tlsio.acme.solvers.lexicon import Lexicon
from tlsio.acme.solvers.rfc2136 import Rfc2136
from tlsio.acme.solvers.tls_alpn01 import TlsAlpn01
from tlsio.acme.solvers.webroot import Webroot
from tlsio.model.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tlsio.acme.plans.plan import Plan
    from tlsio.acme.solvers.solver import Solver
    from tlsio.acme.storage.storage import Storage

__all__ = ["make_dns01", "solving"]

_MAX_SETTINGS = 65536  # bytes
_PORT_HINTS = {
    errno.EACCES: "Ports below 1024 need root or CAP_NET_BIND_SERVICE. Without them, use webroot= or dns=.",
    errno.EADDRINUSE: "If a web server listens there, give the folder of its files as webroot=, or stop it meanwhile by a pre-hook and a "
    "post-hook.",
    errno.EADDRNOTAVAIL: "This machine does not have the address: give one of its own as address=, or leave it out.",
}
_FOR_TESTS = frozenset({"provider", "clock", "sleep"})
_PROVIDERS: dict[str, Any] = {"rfc2136": Rfc2136, "hook": HookProgram, "lexicon": Lexicon}


@asynccontextmanager
async def solving(plan: Plan, storage: Storage) -> AsyncIterator[list[Solver]]:
    """Give the solvers of a plan, which listen until the end of the block.

    Answers are in the storage too, so that a server which uses it can give them.

    Raises:
        ConfigError: no port can be listened on (`ERR_ACME_PORT`), or the settings of DNS cannot be
            used.
        OSError: the file with these settings cannot be read.
    """
    solvers: list[Solver] = [Webroot(plan.webroots)] if plan.webroots else []
    if plan.dns is not None:
        solvers.append(make_dns01(plan.dns, plan.dns_settings))
    ports: list[tuple[Any, int]] = []
    if plan.http_port is not None:
        ports.append((Http01(storage), plan.http_port))
    if plan.tls_port is not None:
        ports.append((TlsAlpn01(storage), plan.tls_port))
    async with AsyncExitStack() as stack:
        failures: list[OSError] = []
        for solver, port in ports:
            try:
                await stack.enter_async_context(await solver.listen(plan.address, port))
                solvers.append(solver)
            except OSError as error:
                failures.append(error)
        if failures and not solvers:
            raise _no_port([port for _, port in ports], failures)
        yield solvers


def _no_port(ports: list[int], failures: list[OSError]) -> ConfigError:
    shown = " and ".join(f"port {port} ({_reason(error)})" for port, error in zip(ports, failures, strict=True))
    hint = _PORT_HINTS.get(failures[0].errno or 0)
    return ConfigError(f"No port could be opened to answer the authority: {shown}", code="ERR_ACME_PORT", hint=hint)


def _reason(error: OSError) -> str:
    """Return the system's words: asyncio's have the address once more."""
    return os.strerror(error.errno) if error.errno in _PORT_HINTS else error.strerror or str(error)


def make_dns01(kind: str, path: str | Path | None) -> Dns01:
    """Return the solver by DNS that a file describes.

    Args:
        kind: "rfc2136", "hook" or "lexicon".
        path: TOML: the arguments of the provider, and in a table `dns01` those of `Dns01`.

    Raises:
        ConfigError: it cannot be used (`ERR_ACME_DNS_SETTINGS`), or a package is missing.
        OSError: it cannot be read.
    """
    settings = {} if path is None else _read_settings(Path(path))
    shared = settings.pop("dns01", {})
    label = path or "dns_settings="
    _check_names(label, _PROVIDERS[kind], settings)
    if not isinstance(shared, dict):
        raise ConfigError(f"{label}: dns01 is not a table", code="ERR_ACME_DNS_SETTINGS", hint="Write [dns01] above its settings.")
    if own := _FOR_TESTS.intersection(shared):
        raise ConfigError(f"{label}: [dns01]: there is no setting {min(own)!r}", code="ERR_ACME_DNS_SETTINGS")
    _check_names(f"{label}: [dns01]", Dns01, {"provider": None, **shared})
    try:
        return Dns01(_PROVIDERS[kind](**settings), **shared)
    except UsageError as error:
        raise ConfigError(f"{label}: {error.message}", code="ERR_ACME_DNS_SETTINGS", hint=error.hint) from None


def _check_names(label: str | Path, made: Any, settings: dict[str, Any]) -> None:
    """Refuse settings that a class does not have, or has no default for."""
    known = inspect.signature(made).parameters
    unknown = [name for name in settings if name not in known]
    missing = [name for name, one in known.items() if one.default is one.empty and name not in settings]
    if unknown or missing:
        problem = f"there is no setting {unknown[0]!r}" if unknown else f"the setting {missing[0]!r} is missing"
        hint = f"The settings are {', '.join(name for name in known if name not in _FOR_TESTS)}."
        raise ConfigError(f"{label}: {problem}", code="ERR_ACME_DNS_SETTINGS", hint=hint)


def _read_settings(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        data = file.read(_MAX_SETTINGS + 1)
    try:
        return tomllib.loads(data[:_MAX_SETTINGS].decode())
    except (ValueError, RecursionError):  # not shown: it has secrets
        raise ConfigError(f"{path} is not a TOML file", code="ERR_ACME_DNS_SETTINGS") from None
