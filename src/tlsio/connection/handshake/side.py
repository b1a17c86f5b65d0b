"""The contract between a connection's socket and its side of the handshake, the server's or the client's."""

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
    """What decides about a connection's peer. What only one of the two sides can do has a default for the other.

    Attributes:
        is_server: Which of the two it is.
        options: Checked options.
        records: What is recorded for who looks on.
    """

    __slots__ = ()

    is_server: bool
    options: ServerOptions | ConnectOptions
    records: Diagnostics

    @property
    @abstractmethod
    def context(self) -> SecureContext:
        """What a new connection begins with."""

    @abstractmethod
    def prepare(self, connection: Connection) -> None:
        """Tell a new connection what it has to know before its first step."""

    @abstractmethod
    def on_question(self, handshake: Handshake, question: int) -> None:
        """Answer the engine's question, at once or later."""

    @abstractmethod
    def find_key(self, socket: object, given: bytes | None) -> tuple[bytes, bytes] | None:
        """Return identity and pre-shared key, or None. Called from inside OpenSSL, which waits for it.

        Args:
            socket: What a hook is given as its socket.
            given: The client's identity, or the server's hint.
        """

    @abstractmethod
    def explain(self, handshake: Handshake, fault: Fault) -> TLSError:
        """Say in words what broke the connection."""

    @abstractmethod
    def is_authorized(self, handshake: Handshake) -> bool:
        """Tell whether the peer has shown who it is, and was found good."""

    @abstractmethod
    def find_error(self, handshake: Handshake) -> str | None:
        """Return the code of what speaks against the peer; None when nothing does."""

    # ---- what one side alone can do

    def verification(self, handshake: Handshake, *, request: bool | None, reject: bool | None) -> tuple[int | None, bool]:  # noqa: ARG002
        """What another handshake asks of the peer: `SSL_VERIFY_*` bits (None: as it is), and whether a bad one is let in.

        A client verifies in each handshake as in the first.
        """
        return None, False

    def export_session(self, handshake: Handshake, data: bytes, lifetime: int | None = None) -> bytes:  # noqa: ARG002
        """Put a session of this connection together with what it stands for; `lifetime` is the seconds of a new one.

        A server's session is as OpenSSL has it: what it stands for is in its id context.
        """
        return data

    def set_server_name(self, connection: Connection, name: str) -> None:  # noqa: ARG002
        """Look for a server of another name: clients, before the handshake."""
        raise UsageStateError("A server sends no name: it is told one", code="ERR_TLS_SNI_FROM_SERVER")

    def offer_session(self, connection: Connection, encoded: bytes) -> None:  # noqa: ARG002
        """Offer an earlier session to the server: clients, before the handshake."""
        raise UsageStateError("A server offers no session", code="ERR_TLS_INVALID_STATE")
