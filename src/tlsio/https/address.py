"""Addresses of connections, as applications and logs have them.

A socket that listens for IPv6 and IPv4 gives clients of IPv4 as `::ffff:192.0.2.7`, which neither
lists of networks nor readers of logs expect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlsio.connection.socket.tls_socket import TLSSocket

__all__ = ["client_text", "endpoint"]

_MAPPED = "::ffff:"  # RFC 4291, section 2.5.5.2


def endpoint(address: str | None, port: int | None) -> tuple[str, int] | None:
    """Return address and port of one end; None for a Unix socket."""
    if address is None or port is None:
        return None
    return (address.removeprefix(_MAPPED) if "." in address else address), port


def client_text(tls_socket: TLSSocket) -> str:
    """Return a client's address and port for a log."""
    client = endpoint(tls_socket.remote_address, tls_socket.remote_port)
    return "a client" if client is None else f"{client[0]}:{client[1]}"
