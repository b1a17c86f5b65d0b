"""The server that is looked at: reaching it, and TLS connections whose facts stay readable.

A server that would be refused is looked at all the same: the handshake goes on, and the verdict is
one of the facts. Whether such a connection is used is the business of the caller of this module.
"""

from __future__ import annotations

import asyncio
import errno
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from tlsio.connection.client.connect import secure
from tlsio.connection.client.dial import connect_tcp
from tlsio.connection.context.secure_context import for_client
from tlsio.connection.handshake.client_handshake import ClientHandshake
from tlsio.model.checks import check_duration, check_host, check_port, wrong_type
from tlsio.model.errors import HandshakeTimeoutError, TLSError
from tlsio.model.options.parse import parse_connect_options
from tlsio.native._core import ASK_STATUS
from tlsio.probe.starttls import ask_for_tls
from tlsio.trust.identity import to_lookup_name
from tlsio.trust.verdict import NOT_ASKED

if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Mapping

    from tlsio.connection.handshake.handshake import Handshake
    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.model.faults import Fault
    from tlsio.native._core import Connection
    from tlsio.trust.verdict import Verdict, VerifyPolicy

__all__ = ["Attempt", "ObservedHandshake", "Target"]


class ObservedHandshake(ClientHandshake):
    """A client's handshake that keeps what can only be read on the way.

    Args:
        args: As for a client's handshake.
        judges: Give the verdict of a client that refuses, which compares pins with the whole chain;
            the handshake goes on all the same. Otherwise a pin that does not fit ends it.
    """

    __slots__ = ("answer", "connection", "judges", "stapled", "was_asked")

    answer: object  # of `check_server_identity=`
    connection: Connection
    stapled: bytes | None
    was_asked: bool  # for a certificate, in a handshake that failed

    def __init__(self, *args: Any, judges: bool = False) -> None:
        super().__init__(*args)
        self.judges = judges

    def prepare(self, connection: Connection) -> None:
        """Configure a new connection, and keep it."""
        self.connection = connection
        self.answer = NOT_ASKED
        self.stapled = None
        self.was_asked = False
        super().prepare(connection)

    def on_question(self, handshake: Handshake, question: int) -> None:
        """Answer the engine, and keep the OCSP response."""
        if question == ASK_STATUS:
            self.stapled = handshake.connection.stapled
        super().on_question(handshake, question)

    def _make_policy(self, answer: object) -> VerifyPolicy:
        self.answer = answer
        policy = super()._make_policy(answer)
        return replace(policy, reject_unauthorized=True) if self.judges else policy

    def _judge(self, handshake: Handshake, answer: object) -> Verdict:
        verdict = super()._judge(handshake, answer)
        return replace(verdict, refused=False, verify_error=0) if self.judges else verdict

    def explain(self, handshake: Handshake, fault: Fault) -> TLSError:
        """Return the exception for a failure; keep whether a certificate was requested."""
        self.was_asked = fault.certificate_requested
        return super().explain(handshake, fault)


class Attempt(NamedTuple):
    """What became of one connection: a socket, or the error of the handshake.

    Attributes:
        side: Its facts. Those of the engine exist if the connection was made.
        socket: The open connection.
        error: Why there is none.
    """

    side: ObservedHandshake
    socket: TLSSocket | None = None
    error: TLSError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server, and the options of the connections to it.

    Attributes:
        host: Its name or address.
        port: Its port.
        starttls: The dialog before TLS, None for TLS from the start.
        timeout: Seconds for each connection, from lookup to the end of the handshake.
        options: Options of `tlsio.connect`.
        judges: See `ObservedHandshake`.
    """

    host: str
    port: int
    starttls: str | None = None
    timeout: float = 10.0
    options: Mapping[str, Any] = field(default_factory=dict)
    judges: bool = False

    def __post_init__(self) -> None:
        """Check host, port and timeout before anything connects.

        Raises:
            UsageError: one of them is wrong.
        """
        host: Any = self.host  # whatever the caller gave
        if isinstance(host, int):
            raise wrong_type("host", "a str", host, hint="The host comes before the port.")
        check_host("host", self.host)
        check_port("port", self.port, 1)
        check_duration("timeout", self.timeout)

    async def dial(self, *, trailing: bytes = b"") -> _socket.socket:
        """Connect by TCP, and ask for TLS if that is needed.

        Args:
            trailing: Plaintext that follows the question in the same piece.

        Raises:
            OSError: the server cannot be reached.
            HandshakeError: it does not offer TLS.
            HandshakeTimeoutError: it was reached, and did not finish the dialog.
            Cancelled: the connection is closed.
        """
        parsed = parse_connect_options({**self.options, "host": self.host})
        made = None
        try:
            async with asyncio.timeout(self.timeout):
                made = await connect_tcp(asyncio.get_running_loop(), to_lookup_name(self.host, "host"), self.port, parsed)
                if self.starttls is not None:
                    await ask_for_tls(made, self.starttls, self.host, trailing=trailing)
        except BaseException as error:
            if made is not None:
                made.close()
            if isinstance(error, TimeoutError) and not error.errno:
                raise (self._unreachable() if made is None else self._silent()) from None
            raise
        return made

    async def secure(self, context: Mapping[str, Any] | None = None, **overrides: Any) -> tuple[TLSSocket, ObservedHandshake]:
        """Connect, and do the handshake; a server that is refused is reported by the verdict.

        Args:
            context: Options of the context that go before those of the target.
            overrides: Options of the connection that do so.

        Raises:
            OSError: the server cannot be reached.
            TLSError: the handshake failed.
            Cancelled: the connection is closed.
        """
        tried = await self.attempt(context, **overrides)
        if tried.socket is None:
            assert tried.error is not None  # noqa: S101 - for the type checker
            raise tried.error
        return tried.socket, tried.side

    async def attempt(self, context: Mapping[str, Any] | None = None, *, trailing: bytes = b"", **overrides: Any) -> Attempt:
        """Do as `secure`, but return the facts of a failed handshake with its error.

        Args:
            context: As for `secure`.
            trailing: As for `dial`.
            overrides: As for `secure`.

        Raises:
            OSError: the server cannot be reached.
            HandshakeError: it does not offer TLS.
            Cancelled: the connection is closed.
        """
        parsed = parse_connect_options({"request_ocsp": True, **self.options, **overrides, "host": self.host})
        chosen = for_client(parsed).replace(**{**(context or {}), "reject_unauthorized": False})
        side = ObservedHandshake(parsed, chosen, self.host, self.port, judges=self.judges)
        below = await self.dial(trailing=trailing)
        try:
            async with asyncio.timeout(self.timeout):
                return Attempt(side, await secure(below, side))
        except TLSError as error:
            return Attempt(side, None, error)
        except TimeoutError:
            return Attempt(side, None, self._unfinished())

    def _unreachable(self) -> TimeoutError:
        return TimeoutError(errno.ETIMEDOUT, f"{self.host} port {self.port} did not answer within {self.timeout} seconds")

    def _silent(self) -> HandshakeTimeoutError:
        return HandshakeTimeoutError(
            f"{self.host} port {self.port} was connected, but its dialog before TLS was not finished within {self.timeout} seconds",
            code="ERR_TLS_CONNECT_TIMEOUT",
            hint="If no greeting came, the server may use TLS from the start: leave starttls= out.",
        )

    def _unfinished(self) -> HandshakeTimeoutError:
        return HandshakeTimeoutError(
            f"{self.host} port {self.port} was connected, but TLS was not established within {self.timeout} seconds",
            code="ERR_TLS_CONNECT_TIMEOUT",
            hint="The server may not use TLS on this port, or wait for STARTTLS; or a firewall drops the packets.",
        )
