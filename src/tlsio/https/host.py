"""The host that a Host header or `:authority` names: one parser for all that looks at it.

Sources: RFC 9110, sections 4.2.3 and 7.2; RFC 3986, section 3.2.2.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address
from typing import NamedTuple

__all__ = ["Host", "parse_host"]

_LONGEST = 270  # bytes: a name of 255, a final dot, and a port with its colon
_PARSED = 1024  # hosts that are remembered
# What can be a server name. RFC 3986 also allows escapes and other characters, which no client can
# send as SNI. The underscore is in names of services and containers.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>{_LABEL}(?:\.{_LABEL})*)\.?)(?::(?P<port>[0-9]{{0,5}}))?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.(?!$)|$)){4}")
_LONGEST_NAME, _HIGHEST_PORT = 255, 65535


class Host(NamedTuple):
    """The host of a request.

    Attributes:
        name: An A-label in lower case, without a final dot; None for an address.
        address: An IPv4 or IPv6 address as text; None for a name.
    """

    name: str | None
    address: str | None


def parse_host(value: bytes) -> Host | None:
    """Return the host that a Host header or `:authority` names; None: it is not valid."""
    return _parse(value) if len(value) <= _LONGEST else None


@lru_cache(_PARSED)
def _parse(value: bytes) -> Host | None:
    found = _HOST.fullmatch(value.decode("latin-1").lower()) if value.isascii() else None
    if found is None or int(found["port"] or 0) > _HIGHEST_PORT:
        return None
    if found["v6"] is not None:
        try:
            return Host(None, str(IPv6Address(found["v6"])))
        except ValueError:
            return None
    name: str = found["name"]
    if _NUMBER.fullmatch(name.rpartition(".")[2]) is not None:
        # The last label of a name is never a number: clients would read it as an address (WHATWG
        # URL, section 3.5), and not all of them as the same one.
        return Host(None, name) if _IPV4.fullmatch(name) else None
    return Host(name, None) if len(name) <= _LONGEST_NAME else None
