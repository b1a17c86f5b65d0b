"""Checks of sockets that the caller made, before TLS takes them over.

Found later, the mistake would look like a fault of the peer: a socket that speaks TLS already, or
has no peer, fails at its first read.
"""

from __future__ import annotations

import select
import socket as _socket
import sys
from errno import ENOTCONN
from typing import TYPE_CHECKING

from tlsio.model.errors import UsageTypeError

if TYPE_CHECKING:
    from typing import Any

__all__ = ["check_bound", "check_connected", "is_listening", "is_unconnected"]


def check_connected(label: str, sock: _socket.socket) -> None:
    """Check that a socket is connected and carries plain bytes.

    Raises:
        UsageTypeError: it is closed, listens, has no peer, is not a stream, or speaks TLS already.
    """
    _check_stream(label, sock)
    if is_listening(sock):
        raise UsageTypeError(
            f"{label} is a listening socket, which has no peer", hint="Give what its accept() returns, or give the socket to listen()."
        )
    if is_unconnected(sock):
        raise UsageTypeError(f"{label} is not connected", hint="Connect it first, and wait for that: await loop.sock_connect(...).")


def check_bound(label: str, sock: _socket.socket) -> None:
    """Check that a server can listen on a socket.

    Raises:
        UsageTypeError: it is closed or connected, is not a stream, speaks TLS already, or is a Unix
            socket without a path.
    """
    _check_stream(label, sock)
    if not is_listening(sock) and _has_peer(sock):
        raise UsageTypeError(f"{label} is a connected socket, which cannot listen", hint="Give it to upgrade() instead.")
    if sock.family == _socket.AF_UNIX and not sock.getsockname():
        raise UsageTypeError(f"{label} is not bound to a path")


def _check_stream(label: str, sock: _socket.socket) -> None:
    # A caller with an SSLSocket has imported ssl; importing it here would load a second OpenSSL.
    ssl: Any = sys.modules.get("ssl")
    if ssl is not None and isinstance(sock, ssl.SSLSocket):
        raise UsageTypeError(
            f"{label} must be a plain socket, got an SSLSocket, which speaks TLS already",
            hint="For TLS within TLS give an asyncio (reader, writer) or a TLSSocket; otherwise give the socket before it is wrapped.",
        )
    if sock.fileno() < 0:
        raise UsageTypeError(f"{label} must be an open socket, got one that is closed")
    if sock.type != _socket.SOCK_STREAM:
        raise UsageTypeError(f"{label} must be a stream socket, got {sock.type!r}", hint="TLS needs SOCK_STREAM, such as TCP.")


def is_listening(sock: _socket.socket) -> bool:
    """Tell whether `listen` was called on a socket."""
    return sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN) == 1


def _has_peer(sock: _socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError as error:
        return error.errno != ENOTCONN
    return True


def is_unconnected(sock: _socket.socket) -> bool:
    """Tell whether a socket never had a peer.

    A connection that was reset has none either, but it is readable: its end can be read.
    """
    if _has_peer(sock):
        return False
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return not any(events & (select.POLLIN | select.POLLERR) for _, events in poll.poll(0))
