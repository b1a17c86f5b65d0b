"""Channel bindings: bytes that only the two ends of one connection have in common (RFC 5056)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tlsio.model.checks import check_choice
from tlsio.model.errors import UsageStateError
from tlsio.trust.certificate import parse

if TYPE_CHECKING:
    from tlsio.connection.socket.facts import SocketFacts
    from tlsio.native._core import Connection

__all__ = ["find_binding", "invalid_state"]

_TYPES = ("tls-exporter", "tls-server-end-point", "tls-unique")
_EXPORTER_LABEL, _EXPORTER_BYTES = b"EXPORTER-Channel-Binding", 32  # RFC 9266 §2
_WEAK_HASHES = {"md5", "sha1"}


def find_binding(socket: SocketFacts, connection: Connection, kind: str) -> bytes:
    """Return the binding of type `kind`; raises as `get_channel_binding` documents."""
    check_choice("type", kind, _TYPES)
    if socket.get_protocol() is None:
        raise invalid_state("A channel binding does not exist before the handshake")
    if kind == "tls-server-end-point":
        return _end_point(connection)
    if not connection.has_extended_master_secret:
        # RFC 9266 §4.1 for the exporter; without it a man in the middle can give two connections
        # one secret (RFC 7627 §1).
        raise invalid_state(f"{kind} needs the extended master secret, which the peer does not support")
    if kind == "tls-exporter":
        # §2: "Context value: Zero-length string".
        return connection.export_keying_material(_EXPORTER_BYTES, _EXPORTER_LABEL, b"")
    return _unique(connection)


def _unique(connection: Connection) -> bytes:
    """RFC 5929 §3.1: "The first TLS Finished message sent ... in the most recent TLS handshake"."""
    if connection.protocol == "TLSv1.3":
        # RFC 8446 appendix C.5: "No channel bindings have been defined for TLS 1.3"; RFC 9266 has
        # defined tls-exporter since.
        raise invalid_state("tls-unique is not defined for TLS 1.3", hint='Use "tls-exporter".')
    # A full handshake is finished by the client first, a resumed one by the server.
    ours, peers = connection.finished
    found = ours if connection.is_server == connection.session_reused else peers
    assert found is not None  # noqa: S101 - the handshake is done; for the type checker
    return found


def _end_point(connection: Connection) -> bytes:
    """RFC 5929 §4.1: the server's certificate, hashed by its signature's hash function.

    SHA-256 replaces MD5 and SHA-1.
    """
    own = connection.certificate if connection.is_server else connection.peer_certificate
    name = None if own is None else parse(own).signed.hash_name
    if own is None or name is None:  # "If ... no hash function ... then this channel binding type's ... are undefined"
        raise invalid_state("tls-server-end-point is not defined if the server has no certificate, or one whose signature has no hash")
    return hashlib.new("sha256" if name in _WEAK_HASHES else name, own).digest()


def invalid_state(message: str, *, hint: str | None = None) -> UsageStateError:
    """Return the error for a call that this connection cannot answer, or not yet."""
    return UsageStateError(message, code="ERR_TLS_INVALID_STATE", hint=hint)
