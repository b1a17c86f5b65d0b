"""Findings about HTTP over the connection: HSTS, redirects, clocks, captive portals."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tlsio.model.errors import TLSError
from tlsio.model.instants import print_instant
from tlsio.probe.findings import found
from tlsio.trust.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.probe.findings import Finding

__all__ = ["Response", "ask_http", "check_response", "find_portal"]

_MIN_HSTS = 180 * 86400  # what checkers of HTTP headers ask for; the preload list wants a year
_CLOCK_SKEW = timedelta(minutes=5)  # as for OCSP
_NETWORK_LOGIN = 511  # RFC 6585 §6


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The head of a response.

    Attributes:
        status: The status code.
        headers: By lower-case name; of several, the first.
    """

    status: int
    headers: dict[str, str]

    @property
    def date(self) -> datetime | None:
        """When the server made it, by its clock."""
        try:
            found_date = parsedate_to_datetime(self.headers["date"])
            return (found_date if found_date.tzinfo else found_date.replace(tzinfo=UTC)).astimezone(UTC)
        except (KeyError, ValueError, TypeError, IndexError, OverflowError):  # what its parser raises for nonsense
            return None

    @property
    def location(self) -> str:
        """Where it redirects to; "" if it does not."""
        return self.headers.get("location", "") if 300 <= self.status < 400 else ""  # noqa: PLR2004


async def ask_http(socket: TLSSocket, host: str, *, patience: float) -> Response | None:
    """Ask for the page `/`, and read the head of the answer. None: the server does not speak HTTP.

    Raises:
        Cancelled: the socket stays open.
    """
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tlsio\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(patience):
            await socket.send(request.encode("ascii"))
            head = await socket.readuntil(b"\r\n\r\n")
    except (TLSError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
    status, *lines = head.decode("latin-1").split("\r\n")
    if (answered := re.match(r"HTTP/1\.[01] (\d{3})\b", status)) is None:
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    return Response(status=int(answered[1]), headers=headers)


def find_portal(response: Response, host: str) -> Finding | None:
    """Tell whether a server that is not the right one is a network's login page."""
    try:
        target = urlsplit(response.location).hostname
    except ValueError:
        return None
    if response.status == _NETWORK_LOGIN or (target is not None and target != host):
        where = f", {printable(target)}" if target else ""
        return found("captive-portal", f"Another server answered, and sends clients to a login page{where}.")
    return None


def check_response(response: Response, *, now: datetime, is_address: bool) -> Iterator[Finding]:
    """Yield what is wrong with the head of a response."""
    if response.location.startswith("http:"):
        yield found("redirect-to-http", f"The server redirects to {printable(response.location)}.")
    if not is_address:  # RFC 6797 §8.1.1: browsers ignore it for addresses
        yield from _check_hsts(response.headers.get("strict-transport-security"))
    if response.date is not None and abs(response.date - now) > _CLOCK_SKEW:
        yield found("server-clock", f"The server's clock says {print_instant(response.date)}, this machine's {print_instant(now)}.")


def _check_hsts(value: str | None) -> Iterator[Finding]:
    if value is None:
        yield found("hsts-missing", "The server sends no Strict-Transport-Security.")
        return
    age = re.search(r'(?:^|;)\s*max-age\s*=\s*"?(\d{1,12})"?\s*(?:;|$)', value, re.IGNORECASE)
    if age is None:
        yield found("hsts-malformed", f"Strict-Transport-Security has no valid max-age: {value!r:.100}.")
    elif int(age[1]) < _MIN_HSTS:
        yield found("hsts-short", f"Strict-Transport-Security has a max-age of {int(age[1]) // 86400} days.")
