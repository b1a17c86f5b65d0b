"""The entries of a server's names, for the layer above that serves several names on one connection.

A connection is made under the entry of its SNI name. HTTP then names a host in each request. If
that host's entry asks for other clients than the connection's own entry does, the request must not
be served there: otherwise a client without a certificate could reach a host that requires one.
Entries are compared by their policy about clients, never by object or certificate, so that a
renewed certificate changes nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tlsio.connection.tasks import find_awaitable

if TYPE_CHECKING:
    from tlsio.connection.context.secure_context import SecureContext
    from tlsio.connection.handshake.handshake import Handshake
    from tlsio.connection.handshake.server_policy import HandshakePolicy

__all__ = ["Entries"]


class Entries:
    """The entries of one server."""

    def __init__(self, policy: HandshakePolicy, limit: float | None) -> None:
        """Read the entries of `policy`; a source gets `limit` seconds for an answer."""
        self._policy = policy
        self._limit = limit
        self._asks = False

    def changed(self) -> None:
        """Look again: contexts or hooks were replaced."""
        policy = self._policy
        self._asks = "sni_callback" in policy.hooks or policy.source is not None or policy.names.any_requests_cert

    @property
    def may_request_cert(self) -> bool:
        """Whether any connection may have a client certificate.

        True also if that cannot be known: with `sni_callback` or a context source.
        """
        return self._asks or self._policy.has_requested_later

    @property
    def has_hook(self) -> bool:
        """Whether `sni_callback` decides, which cannot be asked without a ClientHello."""
        return "sni_callback" in self._policy.hooks

    def find(self, name: str | None, address: str | None = None) -> SecureContext | None:
        """Return the entry of a name in the tables; None: only the context source knows it.

        Args:
            name: An A-label in lower case; None: the entry of a ClientHello without a name.
            address: An IPv4 address, which some clients send as a name.

        Raises:
            TLSError: a context in the source's table cannot be used.
        """
        policy = self._policy
        known = name or address
        found = policy.names.find(known) if known is not None else None
        if found is not None:
            return found
        return policy.names.default if policy.source is None else policy.find_published(name)

    async def ask(self, name: str | None) -> SecureContext:
        """Return the entry that the context source has for a name; `find` has returned None.

        Raises:
            TLSError: it has none, or one that cannot be used.
            TimeoutError: `hook_timeout` has passed.
            Exception: from the source.
        """
        source: Any = self._policy.source
        async with asyncio.timeout(self._limit):
            answer = source.ask(name)
            if (awaitable := find_awaitable(answer)) is not None:
                answer = await awaitable
        return self._policy.complete_answer(answer)

    def is_same_policy(self, handshake: Handshake, entry: SecureContext) -> bool:
        """Tell whether a connection was made under the policy about clients that `entry` has.

        Without any certificate there is none: the connection has not asked, and `entry` does not.
        A connection that was made under a context that has been replaced since is known only by
        that context, so it is never the same.
        """
        connection = handshake.connection
        has_asked = connection.asks_certificate or connection.peer_certificate is not None
        if not has_asked and not entry.options.request_cert:
            return True
        made_under = handshake.context
        return (
            made_under is not None
            and connection.uses(made_under.native)
            and made_under.trust_digest == entry.trust_digest
            and handshake.checked_by == self._policy.hooks.get("check_client")
        )
