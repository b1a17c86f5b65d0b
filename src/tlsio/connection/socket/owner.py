"""What a socket tells the server that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["SocketOwner"]


@dataclass(frozen=True, slots=True)
class SocketOwner:
    """A server as its sockets know it: functions, which are called in the loop's thread. `Any` is the socket itself.

    Attributes:
        secured: The client was let in. Each async listener becomes a task, which the second argument is called with when it has
            ended. Raises what a listener raises.
        handshake_failed: The error, and whether it is a hook's that no call raises.
        connection_failed: The network or the peer has ended an open connection by an error.
        keylogged: A line of the key log, a secret.
        closed: The stream is let go.
    """

    secured: Callable[[Any, Callable[[asyncio.Task[Any]], object]], None]
    handshake_failed: Callable[[Any, BaseException, bool], None]
    connection_failed: Callable[[BaseException], None]
    keylogged: Callable[[bytes, Any], object]
    closed: Callable[[Any], None]
