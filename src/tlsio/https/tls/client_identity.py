"""The client that a certificate names, for applications."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, overload

from tlsio.https.tls.mod_ssl import print_name
from tlsio.https.tls.tls_extension import TLSExtension
from tlsio.model.checks import check_bool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from starlette.requests import HTTPConnection

    from tlsio.trust.certificate import PeerCertificate

__all__ = ["ClientIdentity", "client_identity"]

_FORBIDDEN = 403


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientIdentity:
    """What the certificate of a client says, which the server has verified.

    Attributes:
        subject: As RFC 4514 writes it, such as "CN=ada,O=Example".
        dns: DNS names of its subjectAltName.
        uris: Its URIs, such as a SPIFFE ID.
        emails: Its e-mail addresses.
        serial: Its serial number, in hexadecimal.
        pin: Its key as the option `pins` takes it: "sha256/" and 44 characters.
        fingerprint: SHA-256 of the certificate, as Node writes it: "AB:CD:...".
        not_after: The end of its life; None if it cannot be read.
    """

    subject: str
    dns: tuple[str, ...]
    uris: tuple[str, ...]
    emails: tuple[str, ...]
    serial: str
    pin: str
    fingerprint: str
    not_after: datetime | None

    @staticmethod
    def from_scope(scope: Mapping[str, Any]) -> ClientIdentity | None:
        """Return the client of a scope; None without a certificate that was accepted."""
        tls = scope.get("extensions", {}).get("tls")
        if not isinstance(tls, TLSExtension) or not tls.socket.authorized:
            return None
        certificate = tls.socket.get_peer_certificate()
        return None if certificate is None else _identify(certificate)


@lru_cache(maxsize=1024)  # a connection has many requests
def _identify(certificate: PeerCertificate) -> ClientIdentity:
    return ClientIdentity(
        subject=print_name(certificate.subject_name),
        dns=certificate.names.dns,
        uris=certificate.uris,
        emails=tuple(name.text for name in certificate.general_names if name.kind == "email"),
        serial=certificate["serial_number"],
        pin=f"sha256/{b64encode(certificate.spki_sha256).decode('ascii')}",
        fingerprint=certificate["fingerprint256"],
        not_after=certificate.not_after,
    )


@overload
def client_identity(*, required: Literal[True]) -> Callable[[HTTPConnection], Awaitable[ClientIdentity]]: ...
@overload
def client_identity(*, required: bool = False) -> Callable[[HTTPConnection], Awaitable[ClientIdentity | None]]: ...
def client_identity(*, required: bool = False) -> Callable[[HTTPConnection], Awaitable[ClientIdentity | None]]:
    """Return a dependency of FastAPI that finds the client, for requests and WebSockets.

    The server has to ask for certificates (`ca=` and `request_cert=True`). In Starlette, await what
    this returns with the request.

    Args:
        required: Answer 403 to a client without a certificate that was accepted.
    """
    check_bool("required", required)
    from starlette.exceptions import HTTPException  # noqa: PLC0415 - only applications of these frameworks need it
    from starlette.requests import HTTPConnection  # noqa: PLC0415

    async def find_client(connection: HTTPConnection) -> ClientIdentity | None:
        identity = ClientIdentity.from_scope(connection.scope)
        if identity is None and required:
            raise HTTPException(_FORBIDDEN, _reason(connection.scope))
        return identity

    # FastAPI evaluates annotations in the module's names, which does not have this one.
    find_client.__annotations__ = {"connection": HTTPConnection, "return": ClientIdentity | None}
    return find_client


def _reason(scope: Mapping[str, Any]) -> str:
    tls = scope.get("extensions", {}).get("tls")
    if not isinstance(tls, TLSExtension):
        return "This needs a client certificate, and so a connection of TLS."
    error = tls["client_cert_error"]
    return f"Your client certificate was not accepted: {error}." if error else "This needs a client certificate, and you sent none."
