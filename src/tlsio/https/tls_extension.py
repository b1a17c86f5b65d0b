"""The ASGI TLS extension: `scope["extensions"]["tls"]`.

Source: "ASGI TLS Extension", version 0.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tlsio.connection.socket.tls_socket import internals_of
from tlsio.trust.roots import to_pem

if TYPE_CHECKING:
    from tlsio.connection.socket.tls_socket import TLSSocket

__all__ = ["TLSExtension"]

_VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


class TLSExtension(Mapping[str, Any]):
    """The extension's keys, computed when one is read first.

    Keys:
        server_cert: The certificate that was sent to the client, PEM; None if there was none.
        client_cert_chain: The client's certificates, leaf first, PEM; () if it sent none.
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

    @cached_property
    def _facts(self) -> dict[str, Any]:
        socket = self.socket
        own = socket.get_certificate()
        peer = socket.get_peer_certificate(detailed=True)
        return {
            "server_cert": None if own is None else to_pem([own.raw])[0],
            "client_cert_chain": () if peer is None else to_pem(one.raw for one in peer.chain()),
            "client_cert_name": None if peer is None else peer.subject_name.rfc2253(),
            "client_cert_error": None if peer is None or socket.authorized else socket.authorization_error,
            "tls_version": _VERSIONS[socket.get_protocol() or "TLSv1.2"],
            "cipher_suite": internals_of(socket).handshake.connection.cipher_id,
        }

    def __getitem__(self, key: str) -> Any:
        return self._facts[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def __repr__(self) -> str:
        return f"TLSExtension({self._facts!r})"
