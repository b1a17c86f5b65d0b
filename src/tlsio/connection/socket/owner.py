"""The callbacks by which a socket notifies its server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["SocketOwner"]


@dataclass(frozen=True, slots=True)
class SocketOwner:
    """A server's callbacks, called in the loop's thread. `Any` is the socket itself.

    Attributes:
        secured: The client was accepted. Each async listener becomes a task, which is passed to the
            second argument when it ends. Raises the exceptions of listeners.
        handshake_failed: The error, and whether it is a hook failure that no call raises.
        connection_failed: An open connection ended with an error of the network or the peer.
        keylogged: A line of the key log, which is a secret.
        closed: The stream was released.
    """

    secured: Callable[[Any, Callable[[asyncio.Task[Any]], object]], None]
    handshake_failed: Callable[[Any, BaseException, bool], None]
    connection_failed: Callable[[BaseException], None]
    keylogged: Callable[[bytes, Any], object]
    closed: Callable[[Any], None]
