"""The interface of a connection's side of the handshake: server or client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from tlsio.model.errors import UsageStateError

if TYPE_CHECKING:
    from tlsio.connection.context.secure_context import SecureContext
    from tlsio.connection.handshake.diagnostics import Diagnostics
    from tlsio.connection.handshake.handshake import Handshake
    from tlsio.model.errors import TLSError
    from tlsio.model.faults import Fault
    from tlsio.model.options.connect import ConnectOptions
    from tlsio.model.options.server import ServerOptions
    from tlsio.native._core import Connection

__all__ = ["HandshakeSide"]


class HandshakeSide(ABC):
    """Decides about a connection's peer; methods of one side have a default for the other.

    Attributes:
        is_server: Whether it is the server's side.
        options: Checked options.
        diagnostics: The key log, trace and ClientHello to record.
    """

    __slots__ = ()

    is_server: bool
    options: ServerOptions | ConnectOptions
    diagnostics: Diagnostics

    @property
    @abstractmethod
    def context(self) -> SecureContext:
        """The context of a new connection."""

    @abstractmethod
    def prepare(self, connection: Connection) -> None:
        """Configure a new connection, before its first step."""

    @abstractmethod
    def on_question(self, handshake: Handshake, question: int) -> None:
        """Answer the engine's question, at once or later."""

    @abstractmethod
    def find_key(self, socket: object, given: bytes | None) -> tuple[bytes, bytes] | None:
        """Return identity and pre-shared key, or None. Called synchronously from inside OpenSSL.

        Args:
            socket: The socket argument of the hook.
            given: The client's identity, or the server's hint.
        """

    @abstractmethod
    def explain(self, handshake: Handshake, fault: Fault) -> TLSError:
        """Return the exception for a failure of the connection."""

    @abstractmethod
    def is_authorized(self, handshake: Handshake) -> bool:
        """Return whether the peer was authenticated and accepted."""

    @abstractmethod
    def find_error(self, handshake: Handshake) -> str | None:
        """Return the code of the error that refuses the peer; None if there is none."""

    # ---- for one side only

    def verification(self, handshake: Handshake, *, request: bool | None, reject: bool | None) -> tuple[int | None, bool]:  # noqa: ARG002
        """Return how another handshake verifies the peer.

        The result is the `SSL_VERIFY_*` bits (None: unchanged), and whether an unverified peer is
        accepted. A client verifies in each handshake as in the first.
        """
        return None, False

    def export_session(self, handshake: Handshake, data: bytes, lifetime: int | None = None) -> bytes:  # noqa: ARG002
        """Return a session of this connection with its verdict.

        A new one has a `lifetime` in seconds.

        A server's session is returned unchanged: its trust is in its id context.
        """
        return data

    def set_server_name(self, connection: Connection, name: str) -> None:  # noqa: ARG002
        """Expect a server of another name: clients, before the handshake."""
        raise UsageStateError("The server name can only be set on a client", code="ERR_TLS_SNI_FROM_SERVER")

    def offer_session(self, connection: Connection, encoded: bytes) -> None:  # noqa: ARG002
        """Offer an earlier session to the server: clients, before the handshake."""
        raise UsageStateError("A session can only be set on a client", code="ERR_TLS_INVALID_STATE")
