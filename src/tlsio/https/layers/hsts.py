"""HTTP Strict Transport Security (RFC 6797): browsers use nothing but HTTPS for a name from now on.

A browser keeps this for `max_age`, and then accepts no certificate that it cannot verify. So the
header is sent only where it does no harm: not for localhost and names of tests, which other
programs of the machine serve over plain HTTP, and not under a certificate of development.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from tlsio.certs import dev
from tlsio.https.host import parse_host
from tlsio.model.checks import check_bool, check_int, wrong_value
from tlsio.model.errors import UsageValueError
from tlsio.trust.certificate import parse
from tlsio.trust.roots import read_pem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from tlsio.https.asgi import Message, Receive, Scope, Send
    from tlsio.https.protocols.connection import Connection, Handler, Layer
    from tlsio.trust.certificate import PeerCertificate

__all__ = ["HSTS", "hsts_layer"]

_log = logging.getLogger("tlsio.https.hsts")

_YEAR = 31_536_000  # seconds; hstspreload.org asks for no less
_MOST = 2**31 - 1
_NAME = b"strict-transport-security"
# RFC 6761 and RFC 6762: names that are no one's on the Internet, but of this machine or network.
_PRIVATE = re.compile(r"(?:.*\.)?(?:localhost|test|example|invalid|local|internal|home\.arpa)")
# Common names of authorities for development: ours (certs/dev), and mkcert's.
_DEVELOPMENT = ("tlsio dev ", "mkcert ")


@dataclass(frozen=True, slots=True)
class HSTS:
    """What browsers are asked for.

    Attributes:
        max_age: For how many seconds a browser uses HTTPS alone; 0 ends it.
        include_subdomains: For all names below this one too. Each of them, also those of an
            intranet, then needs HTTPS.
        preload: Browsers may ship with this name in their list. It takes months to get out of it.
    """

    max_age: int = _YEAR
    include_subdomains: bool = False
    preload: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        check_int("max_age", self.max_age, 0, _MOST)
        check_bool("include_subdomains", self.include_subdomains)
        check_bool("preload", self.preload)
        if self.preload and not (self.include_subdomains and self.max_age >= _YEAR):
            raise wrong_value("preload", f"needs include_subdomains=True and a max_age of at least {_YEAR}", hint="See hstspreload.org.")

    @classmethod
    def parse(cls, given: HSTS | bool | None) -> HSTS | None:  # noqa: FBT001 - an option's value
        """Return the value of an option; True: the defaults.

        Raises:
            UsageError: it is something else.
        """
        if given is True:
            return cls()
        if given is None or given is False:
            return None
        if not isinstance(given, cls):
            raise UsageValueError(f"The option hsts is {given!r}", hint="Give True or HSTS(max_age=...).")
        return given

    def warn(self) -> None:
        """Log what is hard to undo."""
        if self.include_subdomains:
            _log.warning("HSTS: browsers will use HTTPS alone for every subdomain too, for %d days", self.max_age // 86400)
        if self.preload:
            _log.warning("HSTS: preload lets anyone submit this name to the lists of browsers, which takes months to undo")

    @property
    def value(self) -> str:
        """The value of the header."""
        return f"max-age={self.max_age}{'; includeSubDomains' * self.include_subdomains}{'; preload' * self.preload}"


def hsts_layer(hsts: HSTS) -> Layer:
    """Return the layer that adds the header to the responses of the application."""
    hsts.warn()
    header = (_NAME, hsts.value.encode())
    judge = _Judge()

    def layer(handle: Handler) -> Handler:
        async def handle_with_hsts(connection: Connection, scope: Scope, receive: Receive, send: Send) -> Any:
            if scope["type"] != "http" or not judge.is_public(connection, scope):
                return await handle(connection, scope, receive, send)

            async def send_with_hsts(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message = {**message, "headers": _completed(message.get("headers", ()), header)}
                await send(message)

            return await handle(connection, scope, receive, send_with_hsts)

        return handle_with_hsts

    return layer


def _completed(headers: Iterable[tuple[bytes, bytes]], header: tuple[bytes, bytes]) -> Iterable[tuple[bytes, bytes]]:
    return headers if any(name.lower() == _NAME for name, _ in headers) else [*headers, header]


class _Judge:
    """Decides where the header does no harm."""

    def __init__(self) -> None:
        self._development = _development_issuer()
        self._has_explained = False
        self._has_public_certificate: WeakKeyDictionary[Connection, bool] = WeakKeyDictionary()

    def is_public(self, connection: Connection, scope: Scope) -> bool:
        """Whether neither the certificate nor the Host of a request is for development."""
        known = self._has_public_certificate.get(connection)
        if known is None:
            own = connection.tls_socket.get_certificate()
            known = self._has_public_certificate[connection] = own is not None and not self._is_of_development(own)
        if known and _is_public_name(next((value for name, value in scope["headers"] if name == b"host"), b"")):
            return True
        self._explain("for an address or a private name" if known else "under a certificate that is self-signed or of development")
        return False

    def _explain(self, why: str) -> None:
        """Log, once, why the header is missing that was asked for."""
        if not self._has_explained:
            self._has_explained = True
            _log.info("HSTS: the header is not sent %s", why)

    def _is_of_development(self, certificate: PeerCertificate) -> bool:
        """Whether it is self-signed, or one machine alone trusts its authority."""
        if certificate.issuer in {certificate.subject, self._development}:
            return True
        return any(name.startswith(_DEVELOPMENT) for name in certificate.issuer_name.values("CN"))


def _development_issuer() -> bytes | None:
    """Return the name of this user's development authority, in DER, whatever it was called."""
    try:
        [root] = read_pem((dev.where() / "root.pem").read_bytes())
        return parse(root).subject
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=256)
def _is_public_name(value: bytes) -> bool:
    """Whether browsers may note HSTS for a Host. RFC 6797, section 8.1.1: not for IP addresses."""
    host = parse_host(value)
    if host is None or host.name is None:
        return False
    return "." in host.name and _PRIVATE.fullmatch(host.name) is None
