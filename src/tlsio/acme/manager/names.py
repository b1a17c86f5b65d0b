"""The names that a manager takes: those of the program, and those that a client has sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509

from tlsio.certs.names import parse_name
from tlsio.model.checks import wrong_type, wrong_value
from tlsio.model.errors import UsageError, UsageValueError, missing_extra

if TYPE_CHECKING:
    from typing import Any

__all__ = ["NAME_HINT", "PublicSuffixes", "address_of", "is_private", "parse_group", "parse_groups"]

NAME_HINT = "Give host names, wildcards such as *.example.com, or IP addresses, without https:// and without a path."
_MAX_NAMES = 100  # of one certificate; Let's Encrypt's limit
# RFC 6761, RFC 6762, RFC 8375, RFC 9476, and ICANN's reservation of 2024: no public authority
# certifies names below these.
_PRIVATE = re.compile(r"(?:.*\.)?(?:localhost|test|example|invalid|local|internal|home\.arpa|alt|onion)")
# RFC 1035 §2.3.1; what a client sends is compared with it as it is, in lower case.
_HOST_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?=[a-z])[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_MAX_HOST_NAME = 253
_NEVER = re.compile(r".*\.(?:arpa|invalid|onion|alt)")  # no server on any network has such a name


def parse_groups(names: Any) -> list[tuple[str, ...]]:
    """Return the certificates that are asked for: each a name, or a group of names.

    Raises:
        UsageError: something is not a name, or a name is in two groups.
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise wrong_type("names", "a list of names, or of lists of names for one certificate", names)
    groups = [parse_group(one) for one in names]
    every = [name for group in groups for name in group]
    if len(set(every)) < len(every):
        twice = next(name for name in every if every.count(name) > 1)
        raise wrong_value("names", f"has {twice!r} twice", hint="Each name belongs to one certificate.")
    return groups


def parse_group(given: Any) -> tuple[str, ...]:
    """Return the names of one certificate as A-labels in lower case, or as addresses.

    Raises:
        UsageError: something is not a name.
    """
    if not isinstance(given, str | list | tuple):
        raise wrong_type("names", "a list of names, or of lists of names for one certificate", given)
    names = tuple(dict.fromkeys(_parse(name) for name in ([given] if isinstance(given, str) else given)))
    if not 0 < len(names) <= _MAX_NAMES:
        raise wrong_value("names", f"has a group of {len(names)} names", hint=f"A certificate has from 1 to {_MAX_NAMES}.")
    return names


def _parse(given: object) -> str:
    if not isinstance(given, str):
        raise wrong_type("names", "names as str", given)
    parsed = parse_name(given)
    if isinstance(parsed, x509.DNSName | x509.IPAddress):
        return str(parsed.value)
    raise wrong_value("names", f"must be names of hosts and addresses, got {given!r:.100}", hint=NAME_HINT)


def address_of(server_name: str) -> str | None:
    """Return the address that a reverse name stands for (RFC 8738 §6); None: it is none."""
    if server_name.endswith(".in-addr.arpa"):
        text = ".".join(reversed(server_name.removesuffix(".in-addr.arpa").split(".")))
    elif server_name.endswith(".ip6.arpa"):
        digits = "".join(reversed(server_name.removesuffix(".ip6.arpa").split(".")))
        text = ":".join(digits[at : at + 4] for at in range(0, len(digits), 4))
    else:
        return None
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def is_private(name: str) -> bool:
    """Tell whether no public authority certifies a name."""
    try:
        return not ip_address(name).is_global
    except ValueError:
        return "." not in name or _PRIVATE.fullmatch(name) is not None


class PublicSuffixes:
    """Judges names that clients have sent: strangers can send anything.

    Raises:
        ConfigError: the package `publicsuffixlist` is missing (`tlsio[acme]`).
    """

    def __init__(self) -> None:
        try:
            from publicsuffixlist import PublicSuffixList  # noqa: PLC0415 - only servers with on_demand= need it, and it takes 50 ms
        except ModuleNotFoundError as error:
            raise missing_extra("publicsuffixlist", "acme") from error
        self._list = PublicSuffixList(only_icann=True)

    def is_host(self, name: str) -> bool:
        """Tell whether a server can have this name: below a suffix under which people register."""
        if len(name) > _MAX_HOST_NAME or _HOST_NAME.fullmatch(name) is None or _NEVER.fullmatch(name) is not None:
            return False
        try:
            parse_group(name)
        except (UsageError, UsageValueError):
            return False
        return self._list.privatesuffix(name) is not None
