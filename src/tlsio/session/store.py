"""The interface of session stores."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from tlsio.model.exported import exported

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["SessionStore", "entry_id"]


def entry_id(session_id: bytes, session_id_context: bytes) -> bytes:
    """Return the id of a session in a store: 32 bytes that reveal neither session id nor context.

    The context is a digest of everything that determines which clients the server trusts. Since the
    id depends on it, a lookup under other trust settings finds nothing in any store. A store that
    derives keys from the id also binds the value to the context.
    """
    return hashlib.sha256(len(session_id_context).to_bytes() + session_id_context + session_id).digest()


@exported
@runtime_checkable
class SessionStore(Protocol):
    """Stores sessions by id, for one server or for a whole cluster.

    Each method may return its result directly or as an awaitable. Awaitable calls overlap, even for
    one id, and are cancelled when their client disconnects. Methods are called in the thread of the
    server's loop.

    `session_id` is opaque, up to 64 bytes. `data` is secret: the traffic under the session's keys
    can be decrypted with it. A store that other programs can read MUST encrypt and authenticate it,
    and MUST NOT return it for another id.

    A store whose backend is down or slow SHOULD return None soon and count the failure instead of
    raising: the client then gets a full handshake. If a method raises, the server emits the
    exception as an `error` event, and the client gets a full handshake as well.
    """

    def get(self, session_id: bytes) -> bytes | Awaitable[bytes | None] | None:
        """Return the data of a session, None if it is unknown or has expired.

        MUST NOT return the data of another id.
        """

    def put(self, session_id: bytes, data: bytes, ttl: float) -> Awaitable[None] | None:
        """Keep `data` for up to `ttl` seconds and replace earlier data.

        MAY forget it sooner, MUST NOT return it later.
        """

    def delete(self, session_id: bytes) -> Awaitable[None] | None:
        """Forget a session; an unknown one is not an error.

        MUST raise if the session may still be returned.
        """
