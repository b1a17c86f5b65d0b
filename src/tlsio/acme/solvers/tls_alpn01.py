"""tls-alpn-01 (RFC 8737): the authority looks at a certificate, by a handshake on port 443."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from tlsio.acme.client.challenge import Challenge
from tlsio.acme.solvers.challenge_certificate import make_certificate, make_context, read_identifier, server_name_of
from tlsio.acme.solvers.shared_answers import SharedAnswers
from tlsio.acme.storage.keys import key_segment
from tlsio.connection.server.server import create_server
from tlsio.model.errors import TLSError, UsageError, UsageStateError
from tlsio.model.exported import exported

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Self

    from tlsio.acme.storage.storage import Storage
    from tlsio.connection.context.secure_context import SecureContext
    from tlsio.connection.server.server import Server
    from tlsio.connection.socket.tls_socket import TLSSocket

__all__ = ["TlsAlpn01"]

_FOLDER = "challenges/tls-alpn-01"
_HANDSHAKE_TIMEOUT = 10.0
_MAX_CONNECTIONS = 100  # an authority validates from about five places at once
_log = logging.getLogger("tlsio.acme")


@exported
class TlsAlpn01:
    """Answers tls-alpn-01, for names and addresses but not for wildcards.

    Certificates are in memory and in the storage, so that each process and node of a site can show
    them. A manager asks `context_for_challenge` in a running server; or `listen` on a port.

    Args:
        storage: Shares the certificates; None: only this object has them.
        is_pending: Called with the name or address of a handshake that is not answered from memory;
            False: no certificate is being obtained for it, and the storage is not read. None: each
            handshake may be an authority's; all of them together cause one listing a second.
    """

    type = "tls-alpn-01"

    def __init__(self, storage: Storage | None = None, *, is_pending: Callable[[str], bool] | None = None) -> None:
        self.is_pending = is_pending
        self._storage = storage
        self._shared = None if storage is None else SharedAnswers(storage, _FOLDER)
        self._answers: dict[str, tuple[str, SecureContext]] = {}
        self._server: Server | None = None

    def can_solve(self, _identifier: str, *, is_wildcard: bool, is_ip: bool) -> bool:  # noqa: ARG002 - the contract's
        """Return whether it is not for a wildcard (CA/Browser Forum BR §3.2.2.4.20)."""
        return not is_wildcard

    async def present(self, challenge: Challenge) -> None:
        """Show a certificate for this challenge from now on.

        Raises:
            StoreError: it cannot be shared.
        """
        name, pem = server_name_of(challenge), make_certificate(challenge)
        self._answers[name] = (challenge.token, make_context(pem))
        if self._storage is not None:
            await self._storage.store(_key(name), pem)

    async def clean_up(self, challenge: Challenge) -> None:
        """Stop to show it. One of a later challenge for the same name stays."""
        name = server_name_of(challenge)
        if self._answers.get(name, ("",))[0] != challenge.token:
            return
        del self._answers[name]
        if self._storage is not None:
            try:
                await self._storage.delete(_key(name))
            except TLSError as error:
                _log.warning("The certificate of tls-alpn-01 for %s was not removed: %s", challenge.identifier, error)

    def context_for_challenge(self, server_name: str) -> SecureContext | Awaitable[SecureContext | None] | None:
        """Return the context for a client that offers `acme-tls/1` alone, maybe later.

        Args:
            server_name: What the client sent, an A-label in lower case.

        Returns:
            None: there is no such challenge.
        """
        found = self._answers.get(server_name)
        if found is not None:
            return found[1]
        if self._shared is None or (self.is_pending is not None and not self.is_pending(read_identifier(server_name))):
            return None
        try:
            name = key_segment(server_name)
        except UsageError:  # no certificate is obtained for such a name
            return None
        return self._read(self._shared, name)

    async def _read(self, shared: SharedAnswers, name: str) -> SecureContext | None:
        pem = await shared.find(name)
        if pem is None:
            return None
        try:
            return make_context(pem)
        except TLSError as error:
            _log.warning("The certificate of tls-alpn-01 for %s in the storage cannot be used: %s", name, error)
            return None

    async def listen(self, host: str | None = None, port: int = 443) -> Self:
        """Answer on a port of its own, until `close`.

        Args:
            host: The address to listen on; None: all.
            port: The authority connects to 443; 0 chooses a free one.

        Raises:
            OSError: the address cannot be used.
            UsageStateError: it listens already.
        """
        if self._server is not None:
            raise UsageStateError("The solver listens already", hint="Call close() first.")
        server = create_server(_end, secure_context=_Source(self), handshake_timeout=_HANDSHAKE_TIMEOUT)
        server.max_connections = _MAX_CONNECTIONS
        # Strangers cause errors; without a listener they are only counted.
        await server.listen(port, host)
        self._server = server
        return self

    @property
    def port(self) -> int | None:
        """The port that is listened on."""
        return None if self._server is None else self._server.port

    async def close(self) -> None:
        """Close the port and its connections."""
        server, self._server = self._server, None
        if server is not None:
            server.close(0)
            await server.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<TlsAlpn01 answers={len(self._answers)}>"


class _Source:
    """The contexts of the solver's own port."""

    def __init__(self, solver: TlsAlpn01) -> None:
        self._solver = solver
        nothing = Challenge("tls-alpn-01", "", "invalid", is_ip=False, is_wildcard=False, key_authorization="")
        self._default = make_context(make_certificate(nothing))  # a server has one; it proves nothing

    def context_for(self, server_name: str | None) -> SecureContext | None:
        """Return the default that a server needs; other clients than an authority are refused."""
        return self._default if server_name is None else None

    def challenge_for(self, server_name: str) -> SecureContext | Awaitable[SecureContext | None] | None:
        """Return the context of a challenge, for clients that offer `acme-tls/1` alone."""
        return self._solver.context_for_challenge(server_name)


async def _end(socket: TLSSocket) -> None:
    """Close: an authority does so too (RFC 8737 §3), and there is nothing to say to others."""
    with suppress(TLSError, OSError):
        socket.end()


def _key(server_name: str) -> str:
    return f"{_FOLDER}/{key_segment(server_name)}"
