"""The server's side of a handshake: context by server name, protocol, and the client's verdict."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from tlsio.connection.context.secure_context import SecureContext
from tlsio.connection.handshake.diagnostics import Diagnostics
from tlsio.connection.handshake.local_side import describe_local_side
from tlsio.connection.handshake.psk import ask_for_key
from tlsio.connection.handshake.questions import INTERNAL_ERROR, alert_of, as_tls_error, is_hook_failure, wrong_answer
from tlsio.connection.handshake.side import HandshakeSide
from tlsio.model.errors import (
    CertificateError,
    ConfigError,
    HandshakeError,
    TLSError,
    UsageError,
    UsageTypeError,
    UsageValueError,
    add_hint,
)
from tlsio.model.explanations import error_from_fault
from tlsio.model.options.parse import parse_context_options
from tlsio.native._core import ASK_CLIENT, ASK_STATUS, ASK_STORE, is_ocsp_response
from tlsio.trust.certificate import link, read_all
from tlsio.trust.ocsp import MAX_RESPONSE
from tlsio.trust.verdict import NOT_ASKED, PeerFacts, VerifyPolicy, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tlsio.connection.context.source import Source
    from tlsio.connection.handshake.handshake import Handshake
    from tlsio.connection.handshake.server_policy import HandshakePolicy
    from tlsio.model.faults import Fault
    from tlsio.model.options.server import ServerOptions
    from tlsio.native._core import Connection, Context
    from tlsio.trust.verdict import Verdict

__all__ = ["ServerHandshake"]

# OpenSSL's SSL_VERIFY_PEER and SSL_VERIFY_FAIL_IF_NO_PEER_CERT.
_VERIFY_PEER, _FAIL_IF_NO_PEER_CERT = 1, 2
_MAX_CERTIFICATE_IN_TICKET = 64_000  # bytes; OpenSSL's limit of 65,280 is for the whole session
_ACME = b"acme-tls/1"  # RFC 8737 §6.2
_NEGOTIATION_ALERTS = frozenset({"handshake_failure", "protocol_version"})


class ServerHandshake(HandshakeSide):
    """One server's answers and verdicts.

    `TLSSocket(stream, is_server=True)` has an instance of its own.
    """

    is_server = True
    options: ServerOptions

    def __init__(self, policy: HandshakePolicy) -> None:
        self.policy = policy
        self.options = policy.options
        self.diagnostics = Diagnostics(policy.options)
        # Reports a failure of session storage; returns whether there was a listener for it.
        self.report_session_failure: Callable[[BaseException], bool] = _no_listener

    @property
    def context(self) -> SecureContext:
        """The default context; the name in the ClientHello may choose another."""
        return self.policy.names.default

    def prepare(self, connection: Connection) -> None:
        """Configure a new connection, before its first step."""
        policy = self.policy
        connection.set_wants(**policy.wants, alpn_continue=self.options.alpn_mismatch == "continue")
        connection.set_psk_hint(self.options.psk_identity_hint)
        connection.record(offer=policy.asks_with_hello)
        connection.set_renegotiation(*policy.renegotiation)
        options = self.options
        connection.set_limits(options.handshake_timeout or 0.0, options.partial_record_timeout or 0.0, options.max_handshake_bytes or 0)

    def verification(self, handshake: Handshake, *, request: bool | None, reject: bool | None) -> tuple[int | None, bool]:
        """Return how another handshake verifies the client.

        The result is the `SSL_VERIFY_*` bits (None: unchanged), and whether an unverified client is
        accepted.
        """
        if request is None and reject is None:
            return None, False
        options = (handshake.context or self.policy.names.default).options
        wanted = handshake.connection.asks_certificate if request is None else request
        strict = options.reject_unauthorized is not False if reject is None else reject
        self.policy.has_requested_later |= wanted
        return (_VERIFY_PEER | (_FAIL_IF_NO_PEER_CERT if strict else 0)) if wanted else 0, not strict

    # ---- questions

    def on_question(self, handshake: Handshake, question: int) -> None:
        """Answer the engine's question, at once or later."""
        if question == ASK_CLIENT:
            self._ask_client(handshake)
        elif question == ASK_STATUS:
            self._ask_status(handshake, handshake.connection.identities, [])
        elif question == ASK_STORE:
            self._ask_store(handshake)
        else:
            if self.policy.crls is not None:  # the engine consults the CRLs after the answer
                self.policy.crls.expire()
            self._ask_name(handshake)

    def _ask_name(self, handshake: Handshake) -> None:
        name = handshake.connection.server_name
        source = self.policy.source
        if source is not None and source.answers_challenges and handshake.connection.offered_protocols == [_ACME]:
            self._ask_challenge(handshake, source, name)
            return
        hook = self.policy.hooks.get("sni_callback")
        if hook is None or name is None:
            self._ask_source(handshake, self.policy.names.find(name) if name else None, name)
            return

        def on_result(result: object) -> None:
            self._ask_source(handshake, self._context_of(result, name), name)

        self._ask(handshake, "sni_callback", on_result, hook, name, handshake.socket)

    def _ask_challenge(self, handshake: Handshake, source: Source, name: str | None) -> None:
        """Answer an ACME authority, which offers this protocol alone (RFC 8737 §3)."""
        connection = handshake.connection

        def on_result(answer: object) -> None:
            handshake.context = context = self.policy.complete_challenge(answer)
            handshake.is_challenge = True
            connection.answer_hello(context.native, _ACME)

        self._ask(handshake, "challenge_for", on_result, lambda: source.given.challenge_for(name) if name else None)

    def _context_of(self, result: object, name: str) -> SecureContext | None:
        if result is None:
            return self.policy.names.find(name)
        if not isinstance(result, SecureContext | Mapping):
            raise wrong_answer("sni_callback", "a SecureContext, options or None", result)
        given = result if isinstance(result, SecureContext) else parse_context_options(result)
        return self.policy.names.complete(given)

    def _ask_source(self, handshake: Handshake, found: SecureContext | None, name: str | None) -> None:
        """Ask the context source about a name that no hook and no table has answered."""
        policy = self.policy
        if found is not None or policy.source is None:
            self._ask_protocol(handshake, found)
            return

        def on_result(answer: object) -> None:
            self._ask_protocol(handshake, policy.complete_answer(answer))

        ask = policy.source.ask if handshake.can_wait else policy.source.ask_now
        self._ask(handshake, "context_for", on_result, lambda: policy.find_published(name) or ask(name))

    def _ask_protocol(self, handshake: Handshake, context: SecureContext | None) -> None:
        connection = handshake.connection
        chosen = context.native if context else None
        if context is not None:
            handshake.context = context
        offered = connection.offered_protocols
        hook = self._protocol_hook(context or self.policy.names.default)
        if hook is None or not offered:
            self._ask_session(handshake, chosen, None)
            return

        def on_result(result: object) -> None:
            self._ask_session(handshake, chosen, _check_protocol(result, offered))

        self._ask(
            handshake,
            "alpn_callback",
            on_result,
            hook,
            connection.server_name,
            [one.decode("latin-1") for one in offered],
            handshake.socket,
        )

    def _protocol_hook(self, context: SecureContext) -> Callable[..., Any] | None:
        """Return the context's callback, or the server's hook if it has no ALPN options."""
        own = context.options
        if own.alpn_callback is not None or own.alpn_protocols is not None:
            return own.alpn_callback
        return self.policy.hooks.get("alpn_callback")

    def _ask_status(self, handshake: Handshake, identities: Sequence[tuple[bytes, bytes | None]], responses: list[bytes | None]) -> None:
        """Ask for the response of each certificate in turn.

        OpenSSL chooses the certificate only after this question.
        """
        hook = self.policy.hooks.get("ocsp_request") if self.policy.stapler is None else self.policy.stapler.staple
        if hook is None or len(responses) == len(identities):
            handshake.connection.answer_status(responses)
            return

        def on_result(result: object) -> None:
            self._ask_status(handshake, identities, [*responses, _check_response(result)])

        certificate, issuer = identities[len(responses)]
        self._ask(handshake, "ocsp_request", on_result, hook, certificate, issuer, handshake.socket)

    def _ask_session(self, handshake: Handshake, context: Context | None, protocol: bytes | None) -> None:
        """Look up the session the client wants to resume; the last question about a ClientHello."""
        connection = handshake.connection
        session_id = connection.asked_session
        if session_id is None:
            connection.answer_hello(context, protocol)
            return
        started = perf_counter()

        def on_result(result: object) -> None:
            self.policy.sessions.found(result, perf_counter() - started, connection.answer_session)
            connection.answer_hello(context, protocol)

        def on_failure(error: Exception) -> None:
            self._session_failed(error)
            connection.answer_hello(context, protocol)

        session_id_context = (context or self.policy.names.default.native).session_id_context
        self._ask(handshake, "resume_session", on_result, self.policy.sessions.find, session_id, session_id_context, on_failure=on_failure)

    def _ask_store(self, handshake: Handshake) -> None:
        """Store new sessions. The connection sends nothing before they are stored."""
        connection = handshake.connection
        new_sessions = connection.take_sessions()
        started = perf_counter()

        def on_result(_result: object) -> None:
            self.policy.sessions.kept(len(new_sessions), perf_counter() - started)
            connection.answer_store()

        def on_failure(error: Exception) -> None:
            self._session_failed(error)
            connection.answer_store()

        session_id_context = (handshake.context or self.policy.names.default).native.session_id_context
        self._ask(handshake, "new_session", on_result, self.policy.sessions.keep, new_sessions, session_id_context, on_failure=on_failure)

    def _session_failed(self, error: Exception) -> None:
        self.policy.sessions.failed(error, self.report_session_failure)

    def _ask_client(self, handshake: Handshake) -> None:
        """Check the client's certificate against CRLs, then ask the hook.

        For a resumed session, the engine has already consulted the CRLs that were loaded.
        """
        connection = handshake.connection
        if self.policy.crls is None or connection.resumed or not self.is_authorized(handshake):
            self._ask_hook(handshake)
            return

        def on_result(error: CertificateError | None) -> None:
            _raise_if(error)
            self._ask_hook(handshake)

        self._ask(handshake, "fetch_crl", on_result, self.policy.crls.check, connection.verified_chain)

    def _ask_hook(self, handshake: Handshake) -> None:
        connection = handshake.connection

        def on_result(result: object) -> None:
            if result is not None:
                raise result if isinstance(result, Exception) else wrong_answer("check_client", "None or an exception", result)
            verdict = self.judge(handshake, None)
            if verdict.refused and verdict.error is not None:
                raise verdict.error
            connection.answer_client()

        handshake.checked_by = hook = self.policy.hooks.get("check_client")
        if hook is None:
            on_result(None)
            return
        chain, socket = _peer_chain(connection), handshake.socket
        # The chain is linked inside the question, so that a certificate that cannot be parsed has
        # the same effect as a failing hook: the client is refused.
        self._ask(handshake, "check_client", on_result, lambda: hook(link(chain) if chain else None, socket))

    def find_key(self, socket: object, given: bytes | None) -> tuple[bytes, bytes] | None:
        """Return identity and pre-shared key, or None. Called synchronously from inside OpenSSL."""
        hook = self.policy.hooks.get("psk_callback")
        if hook is None or given is None:  # the hook was removed during the handshake
            return None
        try:
            name = given.decode()
        except UnicodeDecodeError:  # RFC 4279 §5.1: identities are UTF-8
            return None
        key = ask_for_key(hook, socket, name)
        return None if key is None else (given, key)

    def _ask(
        self,
        handshake: Handshake,
        name: str,
        on_result: Callable[[Any], None],
        hook: Callable[..., Any],
        *args: object,
        on_failure: Callable[[Exception], None] | None = None,
    ) -> None:
        """Ask one question; a failure calls `on_failure`, or refuses the client with an alert."""
        returned: object = None

        def refuse(failure: Exception) -> None:
            handshake.refused = refused = as_tls_error(name, failure)
            handshake.hook_failure = refused if failure is not returned and is_hook_failure(failure) else None
            handshake.connection.refuse(alert_of(refused, _default_alert(name, failure)))

        def answer(result: object, error: BaseException | None) -> None:
            nonlocal returned
            returned = result  # a returned exception is an answer, not a failure of the hook
            try:
                _raise_if(error)
                on_result(result)
            except Exception as failure:  # noqa: BLE001  (raised by the hook or about its answer: the handshake fails closed)
                (on_failure or refuse)(failure)

        handshake.ask(name, self.options.hook_timeout, answer, hook, *args)

    # ---- verdict

    def explain(self, handshake: Handshake, fault: Fault) -> TLSError:
        """Return the exception for a failure of the connection."""
        refused = self.judge(handshake).error if fault.kind == "verify" else None
        if isinstance(refused, TLSError):
            return refused
        context = handshake.context or self.policy.names.default
        error = error_from_fault(fault, describe=partial(describe_local_side, handshake.connection, context))
        size = len(handshake.connection.peer_certificate or b"")
        if size > _MAX_CERTIFICATE_IN_TICKET and error.code == "ERR_SSL_INTERNAL_ERROR":
            hint = (
                f"Up to TLS 1.2 the client's certificate must fit into a session ticket, but it has {size} bytes. Disable tickets "
                "(secure_options=SSL_OP_NO_TICKET), or give the client a smaller certificate."
            )
            add_hint(error, hint)
        # Without a certificate OpenSSL finds no common version, cipher or signature algorithm.
        if error.alert in _NEGOTIATION_ALERTS and fault.kind == "ssl" and handshake.connection.certificate is None and not fault.psk:
            return ConfigError(
                "TLS with the client failed: no certificate is configured", code=error.code, alert=error.alert, reason=error.reason,
                hint=_hint_for_no_certificate(handshake.connection.server_name, has_names=bool(self.policy.names)),
                openssl_errors=error.openssl_errors,
            )  # fmt: skip
        return error

    def is_authorized(self, handshake: Handshake) -> bool:
        """Return whether the client's certificate was verified, and no hook or CRL refused it."""
        connection = handshake.connection
        return handshake.refused is None and bool(
            connection.peer_certificate and not connection.verify_errors and not connection.pins_failed
        )

    def find_error(self, handshake: Handshake) -> str | None:
        """Return the code of the error that refuses the client, or None if there is none.

        As in Node, it is also None if no certificate was requested.
        """
        connection = handshake.connection
        if not handshake.is_done or not (connection.asks_certificate or connection.peer_certificate):
            return None
        return getattr(handshake.refused, "code", None) or self.judge(handshake).authorization_error

    def judge(self, handshake: Handshake, answer: object = NOT_ASKED) -> Verdict:
        """Return the verdict on the client, with its reasons.

        The handshake itself has decided on chain and pins.

        Args:
            handshake: The client's handshake.
            answer: The result of `check_client`.
        """
        connection = handshake.connection
        context = handshake.context or self.policy.names.default
        options = context.options
        errors = connection.verify_errors
        chain = _peer_chain(connection)
        facts = PeerFacts(
            role="server",
            now=datetime.now(UTC),
            chain=chain,
            verified_chain=connection.verified_chain,
            verify_errors=errors,
            resumed=connection.resumed,
            certificate_requested=connection.asks_certificate,
            psk=connection.psk_used,
            # A session is bound to the pins: a client that resumes has passed them, unless they
            # were not enforced.
            spki_digests=tuple(one.spki_sha256 for one in read_all(chain[:1])) if connection.resumed else (),
            ca_is_empty=options.ca == (),
            find_roots=context.find_roots,
        )
        strict = not connection.accepts_unverified
        # Pins apply to certificates, and a resumed session has passed them if they are enforced.
        skips_pins = connection.psk_used or (connection.resumed and strict)
        policy = VerifyPolicy(
            reject_unauthorized=strict,
            pins=() if skips_pins else options.pins or (),
            pins_leaf_only=options.reject_unauthorized is False,
            answer=answer,
        )
        return judge(facts, policy)


def _hint_for_no_certificate(name: str | None, *, has_names: bool) -> str:
    """Say why no certificate was found for a client, by the name that it sent."""
    if not has_names:
        return "Give cert= and key=."
    sent = f'The client sent the name "{name}", which add_context() does not have' if name else "The client sent no server name (SNI)"
    return f"{sent}, and there is no default certificate: give cert= and key= to the server, or let the client connect by a known name."


def _no_listener(_error: BaseException) -> bool:
    """A socket without a server has no listener for this."""
    return False


def _raise_if(error: BaseException | None) -> None:
    if error is not None:
        raise error


def _peer_chain(connection: Connection) -> tuple[bytes, ...]:
    """Return the client's chain; after a failed verification OpenSSL has only the one it built."""
    return connection.peer_chain or connection.verified_chain


def _check_protocol(result: object, offered: list[bytes]) -> bytes:
    if result is None:
        raise HandshakeError(
            "alpn_callback returned None, so it refused all of the client's protocols",
            code="ERR_SSL_NO_APPLICATION_PROTOCOL",
            alert="no_application_protocol",
        )
    protocol = result.encode("latin-1", "replace") if isinstance(result, str) else result
    if not isinstance(protocol, bytes) or protocol not in offered:
        raise UsageTypeError(
            f"alpn_callback returned {result!r:.80}, which is not one of the client's protocols",
            code="ERR_TLS_ALPN_CALLBACK_INVALID_RESULT",
        )
    return protocol


def _check_response(result: object) -> bytes | None:
    if result is None:
        return None
    if not isinstance(result, bytes | bytearray | memoryview):
        raise wrong_answer("ocsp_request", "a response in DER, or None", result)
    response = bytes(result)
    if not 0 < len(response) <= MAX_RESPONSE:
        raise UsageValueError(f"ocsp_request must return 1 to {MAX_RESPONSE} bytes, got {len(response)}", code="ERR_OUT_OF_RANGE")
    if not is_ocsp_response(response):
        raise UsageValueError(
            f"ocsp_request returned {len(response)} bytes that are not an OCSPResponse (RFC 6960) in DER",
            hint="Return the responder's answer unchanged: not PEM, not base64, not the BasicOCSPResponse within it.",
        )
    return response


def _default_alert(hook: str, failure: Exception) -> str:
    """Return the alert of a failed hook.

    A refusal by `check_client` is about the certificate; anything else is the server's fault.
    """
    if hook == "fetch_crl" and isinstance(failure, CertificateError) and failure.alert:
        return failure.alert
    return "bad_certificate" if hook == "check_client" and not isinstance(failure, UsageError) else INTERNAL_ERROR
