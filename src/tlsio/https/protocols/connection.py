"""One TLS connection of HTTP/1.1 or HTTP/2: its facts, and the application as it sees it.

Both versions call the application through this object, so what holds for each request is written
once, in `__call__`.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from tlsio.connection.socket.tls_socket import internals_of
from tlsio.https.address import endpoint
from tlsio.https.tls.tls_extension import TLSExtension, summarize

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Coroutine

    from tlsio.connection.context.secure_context import SecureContext
    from tlsio.connection.handshake.handshake import Handshake
    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.https.asgi import Receive, Scope, Send
    from tlsio.https.limits import Limits
    from tlsio.https.protocols.service import Service

__all__ = ["REFUSED", "Connection", "Handler", "Layer", "RefusalWatcher"]

# The key of a scope whose request was refused while its application ran: the status of the answer.
REFUSED = "tlsio.refused"

# What the server does around the application, for each request; it knows the connection too.
Handler: TypeAlias = "Callable[[Connection, Scope, Receive, Send], Awaitable[Any]]"
Layer: TypeAlias = "Callable[[Handler], Handler]"
# What is told of a request that was refused before it reached the layers, with the status.
RefusalWatcher: TypeAlias = "Callable[[Connection, Scope, int], object]"


class Connection:
    """What the server knows of a connection.

    Attributes:
        tls_socket: The TLS connection.
        service: What all connections of the server share.
        protocol: HTTP/1.1 or HTTP/2.
        client: The client's address and port; None if it has none (a Unix socket).
        server: Our own.
    """

    protocol: Any

    def __init__(self, service: Service, tls_socket: TLSSocket) -> None:
        """Describe a connection whose handshake is done."""
        self.service = service
        self.tls_socket = tls_socket
        self.client = endpoint(tls_socket.remote_address, tls_socket.remote_port)
        self.server = endpoint(tls_socket.local_address, tls_socket.local_port)

    @property
    def limits(self) -> Limits:
        """The server's limits."""
        return self.service.limits

    @cached_property
    def tls(self) -> TLSExtension:
        """The TLS extension of the ASGI scopes."""
        return TLSExtension(self.tls_socket)

    @cached_property
    def tls_facts(self) -> dict[str, Any]:
        """The facts about TLS that a log has."""
        return summarize(self.tls_socket)

    @property
    def client_text(self) -> str:
        """The client's address, for the log."""
        return "a client" if self.client is None else f"{self.client[0]}:{self.client[1]}"

    @cached_property
    def server_name(self) -> str | None:
        """The SNI name: an A-label in lower case, without a final dot; None: there was none."""
        name = self.tls_socket.servername
        return None if name is None else name.removesuffix(".") or None

    @cached_property
    def handshake(self) -> Handshake:
        """The state of the TLS handshake."""
        return internals_of(self.tls_socket).handshake

    def acknowledged(self) -> int:
        """Return the bytes of TLS that the client's kernel has received."""
        return self.handshake.connection.acknowledged

    @cached_property
    def asked_names(self) -> dict[str | None, SecureContext | None]:
        """The names that the context source was asked about, with its answers; None: it failed."""
        return {}

    def scope(self, kind: str, http_version: str, **facts: Any) -> dict[str, Any]:
        """Return the part of a scope that is the same for each request, and other facts."""
        return {
            "type": kind,
            # As uvicorn: from 2.4 on, `send` of HTTP would raise when the client has gone, and
            # frameworks would not look for `http.disconnect`.
            "asgi": {"version": "3.0", "spec_version": "2.3" if kind == "http" else "2.4"},
            "http_version": http_version,
            "scheme": "https" if kind == "http" else "wss",
            "client": self.client,
            "server": self.server,
            "state": self.service.lifespan_state.copy(),
            "extensions": {"tls": self.tls},
            **facts,
        }

    def run(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run one request; a graceful stop waits for it."""
        return self.service.run(coroutine)

    def refused(self, scope: Scope, status: int) -> None:
        """Report a request that the protocol itself has answered.

        Args:
            scope: What is known of it: `type`, `http_version`, `method`, `raw_path`, `query_string`
                and `headers`, unchecked.
            status: Of the answer.
        """
        for watch in self.service.refusal_watchers:
            watch(self, scope, status)

    def retire(self) -> None:
        """Serve the requests that are here, then close."""
        self.protocol.shutdown()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[Any]:
        """Call the application for one request."""
        return self.service.handle(self, scope, receive, send)
