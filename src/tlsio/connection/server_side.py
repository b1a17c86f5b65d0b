"""The server's half of a handshake: which context a name gets, which protocol, and who is let in."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tlsio.connection.context import SecureContext, for_server
from tlsio.connection.hooks import INTERNAL_ERROR, alert_number, ask, hook_error
from tlsio.model.errors import HandshakeError, UsageTypeError, UsageValueError
from tlsio.model.options import parse_context_options
from tlsio.native._core import ASK_CLIENT
from tlsio.trust.certificate import link
from tlsio.trust.verdict import NOT_ASKED, PeerFacts, Verdict, VerifyPolicy, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tlsio.connection.socket_facts import SocketFacts
    from tlsio.connection.tls_socket import TLSSocket
    from tlsio.model.options import ContextOptions, ServerOptions

__all__ = ["NamedContexts", "ServerSide"]

NO_APPLICATION_PROTOCOL = 120       # RFC 7301 §3.2
BAD_CERTIFICATE = 42


class NamedContexts:
    """The table behind `add_context`: names and patterns with a context each. The last added match wins, as in Node."""

    def __init__(self, context: SecureContext) -> None:
        self.home = self.default = context
        self._given: dict[str, SecureContext | ContextOptions] = {}
        self._exact: dict[str, tuple[int, SecureContext]] = {}
        self._patterns: dict[str, tuple[int, re.Pattern[str], SecureContext]] = {}
        self._added = 0

    def __bool__(self) -> bool:
        return bool(self._given)

    def add(self, hostname: str, given: SecureContext | ContextOptions) -> None:
        name = hostname.lower().removesuffix(".")
        context = for_server(given, current=self.default, home=self.home)
        self._given.pop(name, None)
        self._given[name] = given
        self._put(name, context)

    def _put(self, name: str, context: SecureContext) -> None:
        self._added += 1
        if "*" in name:
            # Node's rule: each star stands for a part of one label.
            pattern = re.compile("[^.]*".join(map(re.escape, name.split("*"))))
            self._patterns[name] = (self._added, pattern, context)
        else:
            self._exact[name] = (self._added, context)

    def remove(self, hostname: str) -> None:
        name = hostname.lower().removesuffix(".")
        self._given.pop(name, None)
        self._exact.pop(name, None)
        self._patterns.pop(name, None)

    def replace_default(self, context: SecureContext) -> None:
        """Take another default. What the names leave unset is the new one's; all are made before any is exchanged."""
        made = {name: for_server(given, current=context, home=self.home) for name, given in self._given.items()}
        self.default = context
        for name, one in made.items():
            self._put(name, one)

    def find(self, name: str) -> SecureContext | None:
        """The context of a name (lower case), or None: the default."""
        added, found = self._exact.get(name, (0, None))
        for when, pattern, context in self._patterns.values():
            if when > added and pattern.fullmatch(name):
                added, found = when, context
        return found


class ServerSide:
    """One server's contexts, hooks and verdicts; for `TLSSocket(stream, is_server=True)` a server of one connection."""

    is_server = True
    host = None

    def __init__(self, options: ServerOptions) -> None:
        given = options.secure_context
        if given is not None and not isinstance(given, SecureContext):
            raise UsageTypeError("options.secure_context must be a SecureContext", code="ERR_TLS_INVALID_CONTEXT")
        self.options = options
        self.names = NamedContexts(given or SecureContext(options.context))
        self.hooks: dict[str, Callable[..., Any]] = {}
        for name in ("sni_callback", "alpn_callback", "check_client"):
            hook = getattr(options, name)
            if hook is not None:
                self.hooks[name] = hook
        if given is not None and given.options.alpn_callback is not None:
            self.hooks["alpn_callback"] = given.options.alpn_callback

    # ---- questions

    def asked(self, socket: TLSSocket, question: int) -> None:
        if question == ASK_CLIENT:
            self._ask_client(socket)
        else:
            self._ask_name(socket)

    def _ask_name(self, socket: TLSSocket) -> None:
        name = socket._connection.server_name
        hook = self.hooks.get("sni_callback")
        if hook is None or name is None:
            self._ask_protocol(socket, self.names.find(name) if name else None)
            return

        def take(result: object) -> None:
            self._ask_protocol(socket, self._context_of(result, name))

        self._ask(socket, "sni_callback", take, hook, name, socket)

    def _context_of(self, result: object, name: str) -> SecureContext | None:
        if result is None:
            return self.names.find(name)
        if isinstance(result, dict):
            result = parse_context_options(result)
        elif not isinstance(result, SecureContext):
            raise hook_error("sni_callback", "a SecureContext, options or None", result)
        return for_server(result, current=self.names.default, home=self.names.home)

    def _ask_protocol(self, socket: TLSSocket, context: SecureContext | None) -> None:
        connection = socket._connection
        offered = connection.offered_protocols
        hook = self.hooks.get("alpn_callback")
        socket._use(context)
        if hook is None or not offered:
            connection.answer_hello(context._native if context else None)
            return

        def take(result: object) -> None:
            protocol = result.encode() if isinstance(result, str) else result
            if protocol is None:
                raise HandshakeError("alpn_callback refused what the client offers", code="ERR_SSL_NO_APPLICATION_PROTOCOL",
                                     alert="no_application_protocol")
            if not isinstance(protocol, bytes) or protocol not in offered:
                raise UsageTypeError(
                    f"alpn_callback returned {result!r}, which is none of the protocols the client offers",
                    code="ERR_TLS_ALPN_CALLBACK_INVALID_RESULT",
                )
            chosen = socket._context._native if socket._context else None
            connection.answer_hello(chosen, protocol)

        self._ask(socket, "alpn_callback", take, hook, connection.server_name, [one.decode("latin-1") for one in offered], socket)

    def _ask_client(self, socket: TLSSocket) -> None:
        connection = socket._connection
        certificate = link(connection.peer_chain) if connection.peer_certificate is not None else None

        def take(result: object) -> None:
            verdict = self._judge(socket, result)
            if verdict.error is not None and (verdict.refused or result is not None):
                raise verdict.error
            connection.answer_client()

        def answer(result: object, error: BaseException | None) -> None:
            take(result if error is None else error)

        self._ask(socket, "check_client", take, self.hooks["check_client"], certificate, socket, errors_are_answers=True)

    def _ask(
        self, socket: TLSSocket, name: str, take: Callable[[object], None], hook: Callable[..., Any], *args: object, errors_are_answers: bool = False
    ) -> None:
        """Put one question; whatever goes wrong refuses the client, with the alert the error asks for."""
        later = False

        def answer(result: object, error: BaseException | None) -> None:
            socket._hook = None
            try:
                if error is not None:
                    raise error
                take(result)
            except Exception as failure:  # noqa: BLE001  (the hook's, or of its answer: the handshake fails closed)
                socket._refused = failure
                socket._connection.refuse(BAD_CERTIFICATE if errors_are_answers and not _wants_alert(failure) else alert_number(failure))
            if later:
                socket._connection.resume()

        socket._hook = ask(socket._loop, name, self.options.hook_timeout, answer, hook, *args)
        later = True

    # ---- verdict

    def is_authorized(self, socket: SocketFacts) -> bool:
        """Tell whether the client has shown a certificate that was found good."""
        connection = socket._connection
        return bool(connection.peer_certificate and not connection.verify_errors and not connection.pins_failed)

    def find_error(self, socket: SocketFacts) -> str | None:
        """Return the code of what speaks against the client."""
        return None if not socket._secure or self.is_authorized(socket) else self._judge(socket).authorization_error

    def gone(self) -> None:
        """The connection has ended; its hooks are tasks of the socket."""

    def _judge(self, socket: SocketFacts, answer: object = NOT_ASKED) -> Verdict:
        """Who the client is. The chain and the pins were decided in the handshake; this finds the words for it."""
        connection = socket._connection
        context = (socket._context or self.names.default).options
        errors = connection.verify_errors
        facts = PeerFacts(
            role="server",
            now=datetime.now(UTC),
            chain=connection.peer_chain,
            verified_chain=connection.verified_chain,
            verify_errors=errors,
            resumed=connection.session_reused,
            explicit_ca=context.ca is not None,
            root_subjects=(socket._context or self.names.default).root_subjects if errors else frozenset(),
        )
        policy = VerifyPolicy(reject_unauthorized=context.reject_unauthorized is not False, pins=context.pins or (), answer=answer)
        return judge(facts, policy)


def _wants_alert(error: BaseException) -> bool:
    return isinstance(error, HandshakeError) and error.alert is not None
