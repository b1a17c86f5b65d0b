"""The client's half of a handshake: whom it looks for, and whether it was found."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING

from tlsio.connection.hooks import ask
from tlsio.model.errors import UsageStateError
from tlsio.trust import identity
from tlsio.trust.certificate import link
from tlsio.trust.verdict import NOT_ASKED, PeerFacts, Verdict, VerifyPolicy, judge

if TYPE_CHECKING:
    from asyncio import Task

    from tlsio.connection.context import SecureContext
    from tlsio.connection.socket_facts import SocketFacts
    from tlsio.connection.tls_socket import TLSSocket
    from tlsio.model.options import ConnectOptions

__all__ = ["ClientSide"]


class ClientSide:
    """Whom one client connection looks for, and the verdict about who answered."""

    __slots__ = ("_task", "context", "host", "options", "server_name", "verdict")

    is_server = False

    def __init__(self, options: ConnectOptions, context: SecureContext, host: str | None) -> None:
        """Decide on the names.

        Args:
            options: Checked options.
            context: Trust, certificate and protocol.
            host: What was connected to, None when only a stream was given.

        Raises:
            UsageError: there is no name to check the server's certificate against.
        """
        self.options = options
        self.context = context
        self.host = options.servername or options.host or host
        if self.host is None and options.check_server_identity is None and context.options.reject_unauthorized is not False:
            raise UsageStateError(
                "There is no name to check the server's certificate against",
                hint="Give servername= or host=: the name the server's certificate has to carry.",
            )
        name = self.host if options.servername is None else options.servername
        self.server_name = _server_name(name) if name else None
        self.verdict: Verdict | None = None
        self._task: Task[None] | None = None

    def asked(self, socket: TLSSocket, _question: int) -> None:
        """Judge the server's certificate; the handshake goes on, or ends with the fitting alert."""
        check = self.options.check_server_identity
        if check is None:
            self._judge(socket, NOT_ASKED)
            return

        def answer(result: object, error: BaseException | None) -> None:
            later = self._task is not None
            self._task = None
            if error is not None and not isinstance(error, Exception):
                raise error
            self._judge(socket, result if error is None else error)
            if later:
                socket._connection.resume()

        certificate = link(socket._connection.peer_chain)
        task = ask(socket._loop, "check_server_identity", self.options.hook_timeout, answer, check, self.host, certificate)
        if task is not None:
            self._task = task

    def _judge(self, socket: TLSSocket, answer: object) -> None:
        connection = socket._connection
        context = self.context.options
        errors = connection.verify_errors
        facts = PeerFacts(
            role="client",
            now=datetime.now(UTC),
            chain=connection.peer_chain,
            verified_chain=connection.verified_chain,
            verify_errors=errors,
            server_name=self.host,
            explicit_ca=context.ca is not None,
            root_subjects=self.context.root_subjects if errors else frozenset(),
        )
        policy = VerifyPolicy(
            reject_unauthorized=context.reject_unauthorized is not False,
            pins=context.pins or (),
            identity_policy=self.options.identity_policy,
            answer=answer,
        )
        self.verdict = judge(facts, policy)
        if self.verdict.refused:
            socket._refused = self.verdict.error
        connection.answer_verify(self.verdict.verify_error)

    def gone(self) -> None:
        """The connection has ended: nobody wants the answer of a hook any more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def is_authorized(self, _socket: SocketFacts) -> bool:
        """Tell whether the server was found good."""
        return self.verdict is not None and self.verdict.authorized

    def find_error(self, _socket: SocketFacts) -> str | None:
        """Return the code of what speaks against the server."""
        return self.verdict.authorization_error if self.verdict is not None else None


def _server_name(name: str) -> str | None:
    """The A-label for SNI; None for an IP address: RFC 6066 §3, "Literal IPv4 and IPv6 addresses are not permitted"."""
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        return identity.to_server_name(name)
    return None
