"""The client's half of a handshake: whom it looks for, and whether it was found."""

# ruff: noqa: SLF001 - sockets, their server and the two sides of a handshake know each other

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING

from tlsio.connection.hooks import INTERNAL_ERROR, ask
from tlsio.connection.records import Records
from tlsio.model.codes import alert_number
from tlsio.model.errors import UsageStateError
from tlsio.model.faults import error_from_fault
from tlsio.native._core import ASK_STATUS
from tlsio.trust import identity
from tlsio.trust.certificate import link, parse
from tlsio.trust.ocsp import judge_absence, judge_response
from tlsio.trust.verdict import NOT_ASKED, PeerFacts, VerifyPolicy, judge

if TYPE_CHECKING:
    from asyncio import Task

    from tlsio.connection.context import SecureContext
    from tlsio.connection.socket_facts import SocketFacts
    from tlsio.model.errors import CertificateError, TLSError
    from tlsio.model.options import ConnectOptions
    from tlsio.model.values import Fault
    from tlsio.native._core import Connection
    from tlsio.trust.verdict import Verdict

__all__ = ["ClientSide"]

_APPLICATION_VERIFICATION = 50  # X509_V_ERR_APPLICATION_VERIFICATION: its alert is handshake_failure


class ClientSide:
    """Whom one client connection looks for, and the verdict about who answered."""

    __slots__ = ("_task", "context", "host", "options", "records", "server_name", "verdict")

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
        self.records = Records(options)
        self.context = context
        self.host = options.servername or options.host or host
        if self.host is None and options.check_server_identity is None and context.options.reject_unauthorized is not False:
            raise _no_name()
        name, label = (self.host, "host") if options.servername is None else (options.servername, "options.servername")
        self.server_name = _server_name(name, label) if name else None
        self.verdict: Verdict | None = None
        self._task: Task[None] | None = None

    def prepare(self, connection: Connection) -> None:
        """Tell a new connection what it has to know before its first step."""
        if self.server_name is not None:
            connection.set_server_name(self.server_name)
        if self.options.min_dh_size is not None:
            connection.set_min_dh_size(self.options.min_dh_size)
        if self.options.request_ocsp or self.options.ocsp != "off":
            connection.request_status()

    def asked(self, socket: SocketFacts, question: int) -> None:
        """Judge the server's certificate, then its OCSP response; the handshake goes on, or ends with the fitting alert."""
        if question == ASK_STATUS:
            self._look_at_response(socket)
        else:
            self._look_at_certificate(socket)

    def _look_at_certificate(self, socket: SocketFacts) -> None:
        check = self.options.check_server_identity
        if check is None:
            self._decide(socket, NOT_ASKED if self.host is not None else _no_name())
            return
        later = False

        def answer(result: object, error: BaseException | None) -> None:
            self._task = None
            if socket._closed:  # the check itself has destroyed it
                return
            self._decide(socket, result if error is None else error)
            if later:
                socket._connection.resume()

        certificate = link(socket._connection.peer_chain)
        self._task = ask(socket._loop, "check_server_identity", self.options.hook_timeout, answer, check, self.host, certificate)
        later = True

    def _decide(self, socket: SocketFacts, answer: object) -> None:
        """Tell the engine; a verdict that cannot be made is a refusal."""
        try:
            self.verdict = self._judge(socket, answer)
        except Exception as error:  # noqa: BLE001  (the handshake fails closed, with that)
            socket._refused = error
            socket._connection.answer_verify(_APPLICATION_VERIFICATION)
            return
        if self.verdict.refused:
            socket._refused = self.verdict.error
        socket._connection.answer_verify(self.verdict.verify_error)

    def _judge(self, socket: SocketFacts, answer: object) -> Verdict:
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
        return judge(facts, policy)

    def _look_at_response(self, socket: SocketFacts) -> None:
        connection, verdict = socket._connection, self.verdict
        socket._emit("ocsp_response", connection.stapled)
        if socket._closed:  # by a listener
            return
        # Of a certificate that is not good, but let in all the same, a response could say nothing.
        if verdict is not None and verdict.authorized and self.options.ocsp != "off" and (error := self._judge_response(connection)):
            refused = self.context.options.reject_unauthorized is not False
            self.verdict = replace(verdict, authorized=False, refused=refused, error=error, reasons=(*verdict.reasons, *error.reasons))
            if refused:
                socket._refused = error
                connection.refuse(alert_number(error.alert or INTERNAL_ERROR))
                return
        connection.answer_status()

    def _judge_response(self, connection: Connection) -> CertificateError | None:
        leaf, *above = map(parse, connection.verified_chain or connection.peer_chain[:1])
        if (response := connection.stapled) is None:
            return judge_absence(leaf, required=self.options.ocsp == "require").error
        return judge_response(response, leaf, above[0] if above else None, now=datetime.now(UTC)).error

    def explain(self, _socket: SocketFacts, fault: Fault) -> TLSError:
        """What broke the connection, in words."""
        return error_from_fault(fault, host=self.host)

    def verification(self, _socket: SocketFacts, *, request: bool | None, reject: bool | None) -> tuple[int | None, bool]:  # noqa: ARG002
        """A client verifies in each handshake as in the first."""
        return None, False

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


def _no_name() -> UsageStateError:
    return UsageStateError(
        "There is no name to check the server's certificate against",
        hint="Give servername= or host=: the name the server's certificate has to carry.",
    )


def _server_name(name: str, label: str) -> str | None:
    """The A-label for SNI; None for an IP address: RFC 6066 §3, "Literal IPv4 and IPv6 addresses are not permitted"."""
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        return identity.to_server_name(name, label)
    return None
