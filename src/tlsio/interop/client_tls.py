"""The TLS of a library's client: its options, checked once, and the connections made with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from tlsio.connection.client.connect import secure
from tlsio.connection.context.secure_context import for_client
from tlsio.connection.context.source import given_source
from tlsio.connection.drivers.streams import close_stream
from tlsio.connection.handshake.client_handshake import ClientHandshake, find_server_name
from tlsio.model.options.parse import parse_connect_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tlsio.connection.context.secure_context import SecureContext
    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.model.options.connect import ConnectOptions

__all__ = ["ClientTLS"]


class ClientTLS:
    """Makes the TLS connections of one client.

    Attributes:
        options: The checked options.
    """

    def __init__(self, given: Mapping[str, Any], *, decided: Mapping[str, str], protocols: Sequence[str]) -> None:
        """Check the options, and read and load their certificates.

        Args:
            given: Options of `tlsio.connect`.
            decided: Options that the library decides, and how it does, for the message.
            protocols: The ALPN protocols to offer.

        Raises:
            UsageError: a wrong option, or one in `decided`.
            ConfigError: a certificate or key that cannot be used.
        """
        self.options: ConnectOptions = parse_connect_options(given, decided)
        self._protocols = list(protocols)
        self._source = given_source(self.options)
        # With the protocols of the library; by the context that was given.
        self._contexts: WeakKeyDictionary[SecureContext, SecureContext] = WeakKeyDictionary()
        self._context = None if self._source is not None else self._with_protocols(for_client(self.options))

    @property
    def has_source(self) -> bool:
        """Whether the contexts come from a source."""
        return self._source is not None

    def _with_protocols(self, context: SecureContext) -> SecureContext:
        return context.replace(alpn_protocols=self._protocols)

    async def find_context(self, host: str) -> SecureContext:
        """Return the context of connections to a host; a source is asked for it.

        Raises:
            ConfigError: the source has none.
        """
        if self._source is None:
            assert self._context is not None  # noqa: S101 - for the type checker
            return self._context
        given = await self._source.find_for_client(find_server_name(self.options, host), self.options.hook_timeout)
        if (found := self._contexts.get(given)) is None:
            found = self._contexts[given] = self._with_protocols(given)
        return found

    async def secure(self, stream: Any, host: str, port: int | None) -> TLSSocket:
        """Do the handshake over a connected stream, which the socket owns from now on.

        Args:
            stream: A socket, or any stream that `tlsio.connect` takes as `socket=`.
            host: The server's name or address; a `servername=` of the options goes before it.
            port: Distinguishes servers of one name in a session cache.

        Raises:
            TLSError: the handshake failed, or the server was refused.
            Cancelled: the connection is closed.
        """
        try:
            context = await self.find_context(host)
        except BaseException:
            await close_stream(stream)
            raise
        made = await secure(stream, ClientHandshake(self.options, context, host, port))
        # The library reads an idle connection only for its next request. An error until then is not
        # unhandled: that request raises it, or the library drops the connection.
        made.on("error", _ignore)
        return made


def _ignore(_error: Exception) -> None:
    pass
