"""The audit log: one line for each decision about a client's certificate.

A decision is made once for each connection, also for one that resumes a session. The line is a
sentence; the record's attribute `audit` has the same facts as a dict. Both are free of secrets, and
whatever is in a certificate, a line stays one line.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from tlsio.connection.server.server import watch_clients
from tlsio.connection.socket.tls_socket import internals_of
from tlsio.https.address import client_text
from tlsio.model.errors import CertificateError
from tlsio.trust.certificate import parse
from tlsio.trust.names import printable

if TYPE_CHECKING:
    from tlsio.connection.server.server import Server
    from tlsio.connection.socket.tls_socket import TLSSocket

__all__ = ["Audit"]

_log = logging.getLogger("tlsio.https.audit")

_MOST_NAMES = 10  # of one certificate, which may have thousands


class Audit:
    """Writes to the logger `tlsio.https.audit`, at INFO, for one server."""

    def __init__(self, server: Server) -> None:
        """Write nothing yet."""
        self._server = server

    def start(self) -> None:
        """Write from now on, if the logger takes INFO."""
        watch_clients(self._server, self._failed if _log.isEnabledFor(logging.INFO) else None)

    def stop(self) -> None:
        """Write no more."""
        watch_clients(self._server, None)

    def opened(self, socket: TLSSocket) -> None:
        """Write about a connection that was accepted, if the client sent a certificate."""
        if not _log.isEnabledFor(logging.INFO):
            return
        certificate = internals_of(socket).handshake.connection.peer_certificate
        if certificate is None:
            return
        if socket.authorized:
            _write("accepted", socket, certificate, None)
        else:
            _write("unverified", socket, certificate, socket.authorization_error)

    def _failed(self, error: BaseException, socket: TLSSocket) -> None:
        handshake = internals_of(socket).handshake
        connection = handshake.connection
        chain = connection.peer_chain or connection.verified_chain
        if isinstance(error, CertificateError) or (chain and error is handshake.refused):
            _write("refused", socket, chain[0] if chain else None, getattr(error, "code", None))


_SENTENCES = {
    "accepted": "The client certificate was accepted",
    "unverified": "The client certificate was not verified, and the connection stays open (reject_unauthorized=False)",
    "refused": "The client certificate was refused",
}


def _write(decision: str, socket: TLSSocket, certificate: bytes | None, reason: str | None) -> None:
    facts: dict[str, Any] = {
        "decision": decision,
        "reason": None if reason is None else printable(reason),
        "client": client_text(socket) if socket.remote_address else None,
        "server_name": None if socket.servername is None else printable(socket.servername),
        "resumed": socket.is_session_reused(),
        **_describe(certificate),
    }
    shown = ", ".join(f"{label}={facts[label]}" for label in ("reason", "client", "server_name", *_SHOWN) if facts[label] is not None)
    _log.info("%s: %s", _SENTENCES[decision], shown, extra={"audit": facts})


_SHOWN = ("subject", "names", "serial", "sha256")


def _describe(certificate: bytes | None) -> dict[str, Any]:
    """Return the facts of a certificate; what cannot be read is None."""
    facts: dict[str, Any] = dict.fromkeys((*_SHOWN, "issuer"))
    if certificate is None:
        return facts
    try:
        found = parse(certificate)
        facts["sha256"] = found["fingerprint256"].replace(":", "").lower()
        facts["serial"] = f"{found.serial:x}"
        facts["subject"] = found.subject_name.describe()
        facts["issuer"] = found.issuer_name.describe()
        facts["names"] = [printable(str(name)) for name in found.general_names[:_MOST_NAMES]] or None
    except ValueError:  # malformed: what was read before stays
        return facts
    return facts
