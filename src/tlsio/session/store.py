"""What a server asks of a session store."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["SessionStore", "entry_id"]


def entry_id(session_id: bytes, session_id_context: bytes) -> bytes:
    """Name a session in a store: 32 bytes that say neither its id nor its context.

    The context is a digest of everything that decides whom the server trusts. With it in the name, a lookup under other trust finds
    nothing, in every store; one that encrypts by the name binds the value to the context as well.
    """
    return hashlib.sha256(len(session_id_context).to_bytes() + session_id_context + session_id).digest()


@runtime_checkable
class SessionStore(Protocol):
    """Remembers sessions by id, for the server that made them or for a whole cluster.

    Each method may be a plain function, whose result is used at once, or return an awaitable. Calls of the latter overlap, also for
    one id; a call is cancelled when its client is gone. Methods are called in the thread of the server's loop.

    `session_id` is opaque: up to 64 bytes. `data` is a secret: with it, what was said under the session's keys can be read. A store
    that other programs can read MUST encrypt and authenticate it, and MUST NOT give it under another id.

    A store that is down or slow SHOULD give None soon and count, not raise: the client then gets a full handshake. What it raises is
    told by the server's `error` event, and the client gets a full handshake all the same.
    """

    def get(self, session_id: bytes) -> bytes | Awaitable[bytes | None] | None:
        """Return what was put, None when there is nothing or it has expired. MUST NOT return the data of another id."""

    def put(self, session_id: bytes, data: bytes, ttl: float) -> Awaitable[None] | None:
        """Keep `data` for up to `ttl` seconds, in place of what was there. MAY forget it sooner, MUST NOT give it later."""

    def delete(self, session_id: bytes) -> Awaitable[None] | None:
        """Forget a session; one that is not there is fine. MUST raise when it may still be given."""
