"""The ASGI TLS extension, `scope["extensions"]["tls"]`, and the same facts under other names.

Sources: "ASGI TLS Extension", version 0.2; OpenTelemetry's semantic conventions, namespace `tls`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tlsio.connection.socket.tls_socket import internals_of
from tlsio.https.tls.mod_ssl import describe, print_name
from tlsio.trust.certificate import link, parse
from tlsio.trust.roots import to_pem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.https.asgi import Scope

__all__ = ["TLSExtension", "summarize", "tls_attributes"]

_VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


class TLSExtension(Mapping[str, Any]):
    """The extension's keys, computed when one is read first.

    Keys:
        server_cert: The certificate that was sent to the client, PEM; None if there was none.
        client_cert_chain: The certificates that the client sent, leaf first, each the issuer of the
            one before, PEM; () if it sent none. Only the leaf if a session was resumed.
        client_cert_name: The subject of the client's certificate as RFC 4514 writes it; None.
        client_cert_error: Why the client was not accepted, such as "CERT_HAS_EXPIRED"; None if it
            was, or sent no certificate.
        tls_version: Such as 0x0304.
        cipher_suite: IANA's number, such as 0x1301.

    Attributes:
        socket: The TLSSocket, for what the extension does not have.
    """

    def __init__(self, socket: TLSSocket) -> None:
        """Describe a connection whose handshake is done."""
        self.socket = socket
        self._connection = internals_of(socket).handshake.connection
        self._computed: tuple[bytes | None, dict[str, Any]] | None = None
        self._mod_ssl: tuple[dict[str, Any], dict[str, str]] | None = None  # made from these facts

    @property
    def _facts(self) -> dict[str, Any]:
        peer = self._connection.peer_certificate  # another one since `renegotiate`
        if self._computed is None or self._computed[0] != peer:
            self._computed = peer, self._compute(peer)
        return self._computed[1]

    def _compute(self, peer: bytes | None) -> dict[str, Any]:
        socket, connection = self.socket, self._connection
        own = connection.certificate
        sent = () if peer is None else tuple(link(connection.peer_chain or (peer,)).chain())
        return {
            "server_cert": None if own is None else to_pem([own])[0],
            "client_cert_chain": to_pem(one.raw for one in sent),
            "client_cert_name": _name_of(peer),
            # The code is never empty: the specification asks for that.
            "client_cert_error": None if peer is None or socket.authorized else socket.authorization_error or "UNSPECIFIED",
            "tls_version": _VERSIONS[socket.get_protocol() or "TLSv1.2"],
            "cipher_suite": connection.cipher_id,
        }

    @property
    def mod_ssl(self) -> dict[str, str]:
        """The same and more under mod_ssl's names, for WSGI."""
        facts = self._facts
        if self._mod_ssl is None or self._mod_ssl[0] is not facts:
            self._mod_ssl = facts, describe(self.socket, facts["client_cert_chain"])
        return self._mod_ssl[1]

    def __getitem__(self, key: str) -> Any:
        return self._facts[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def __repr__(self) -> str:
        return f"TLSExtension({self._facts!r})"


def _name_of(certificate: bytes | None) -> str | None:
    return None if certificate is None else print_name(parse(certificate).subject_name)


def summarize(socket: TLSSocket) -> dict[str, Any]:
    """Return the facts of a connection for a log."""
    cipher, key = socket.get_cipher() or {}, socket.get_ephemeral_key_info() or {}
    return {
        "version": socket.get_protocol(),
        "suite": cipher.get("standard_name"),
        "group": key.get("name"),
        "resumed": socket.is_session_reused(),
        "alpn": socket.alpn_protocol,
        "sni": socket.servername,
        "client_cert": _subject_of(internals_of(socket).handshake.connection.peer_certificate),
    }


def _subject_of(certificate: bytes | None) -> str | None:
    try:
        return _name_of(certificate)
    except ValueError:
        return "(unreadable)"


def tls_attributes(scope: Scope) -> dict[str, str | bool]:
    """Return the facts of a request's connection by OpenTelemetry's names, for a span or log.

    The certificates themselves are left out: they are long, and have their SHA-256 here. For a
    request that did not come by this server it is {}.
    """
    extension = scope.get("extensions", {}).get("tls")
    if not isinstance(extension, TLSExtension):
        return {}
    socket = extension.socket
    facts = summarize(socket)
    connection = internals_of(socket).handshake.connection
    found: dict[str, str | bool | None] = {
        "tls.established": True,
        "tls.resumed": facts["resumed"],
        "tls.protocol.name": "tls",
        "tls.protocol.version": (facts["version"] or "").removeprefix("TLSv"),
        "tls.cipher": facts["suite"],
        "tls.curve": facts["group"],
        "tls.next_protocol": facts["alpn"],
        **_certificate_attributes("tls.client", connection.peer_certificate),
        **_certificate_attributes("tls.server", connection.certificate),
    }
    return {name: value for name, value in found.items() if value is not None}


def _certificate_attributes(prefix: str, certificate: bytes | None) -> dict[str, str | None]:
    if certificate is None:
        return {}
    found = parse(certificate)
    return {
        # "this value should be formatted as an uppercase hash"
        f"{prefix}.hash.sha256": found["fingerprint256"].replace(":", ""),
        f"{prefix}.subject": _name_of(certificate),
        f"{prefix}.issuer": found.issuer_name.describe(),
        f"{prefix}.not_before": _print_time(found.not_before),
        f"{prefix}.not_after": _print_time(found.not_after),
    }


def _print_time(instant: datetime | None) -> str | None:
    return None if instant is None else instant.strftime("%Y-%m-%dT%H:%M:%S.000Z")
