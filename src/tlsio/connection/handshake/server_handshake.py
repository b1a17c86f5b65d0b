"""The server's half of a handshake: which context a name gets, which protocol, and who is let in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any

from tlsio.connection.context.name_table import NamedContexts
from tlsio.connection.context.secure_context import SecureContext
from tlsio.connection.context.trust_digest import ServerPolicy
from tlsio.connection.handshake.diagnostics import Diagnostics
from tlsio.connection.handshake.psk import ask_for_key
from tlsio.connection.handshake.questions import INTERNAL_ERROR, alert_of, is_mistake, wrong_answer
from tlsio.connection.handshake.session_storage import SESSION_HOOKS, ServerSessions
from tlsio.connection.revocation.crl_cache import make_cache
from tlsio.connection.revocation.stapler import Stapler
from tlsio.model.constants import defaults
from tlsio.model.errors import (
    CertificateError,
    ConfigError,
    HandshakeError,
    TLSError,
    UsageError,
    UsageStateError,
    UsageTypeError,
    UsageValueError,
)
from tlsio.model.explanations import error_from_fault
from tlsio.model.options.parse import parse_context_options
from tlsio.native._core import ASK_CLIENT, ASK_STATUS, ASK_STORE, is_ocsp_response
from tlsio.trust.certificate import link, read_all
from tlsio.trust.ocsp import MAX_RESPONSE
from tlsio.trust.verdict import NOT_ASKED, PeerFacts, VerifyPolicy, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tlsio.connection.handshake.handshake import Handshake
    from tlsio.connection.revocation.crl_cache import CrlCache
    from tlsio.model.faults import Fault
    from tlsio.model.options.server import ServerOptions
    from tlsio.native._core import Connection, Context
    from tlsio.trust.verdict import Verdict

__all__ = ["HOOKS", "NamedContexts", "ServerHandshake"]

# OpenSSL's SSL_VERIFY_PEER and SSL_VERIFY_FAIL_IF_NO_PEER_CERT.
_VERIFY_PEER, _FAIL_IF_NO_PEER_CERT = 1, 2
_ALWAYS = 1e9  # seconds; the engine counts nanoseconds in 63 bits
_LONG_FOR_A_TICKET = 64_000  # bytes; OpenSSL's limit of 65,280 is for all of a session
_NOTHING_IN_COMMON = frozenset({"handshake_failure", "protocol_version"})

HOOKS = frozenset({"sni_callback", "alpn_callback", "ocsp_request", "check_client", "psk_callback"}) | SESSION_HOOKS


class ServerHandshake:
    """One server's contexts, hooks and verdicts; for `TLSSocket(stream, is_server=True)` a server of one connection."""

    is_server = True
    host = None

    def __init__(self, options: ServerOptions) -> None:
        """Make the default context.

        Raises:
            UsageError, ConfigError: as `create_secure_context`.
        """
        given = options.secure_context
        if given is not None and not isinstance(given, SecureContext):
            raise UsageTypeError("options.secure_context must be a SecureContext", code="ERR_TLS_INVALID_CONTEXT")
        self.options = options
        self.records = Diagnostics(options)
        self.crls = make_cache(options.fetch_crl)
        self.names = NamedContexts(_make_initial(given, options, self.crls))
        self.stapler = _make_stapler(options)
        self.hooks: dict[str, Callable[..., Any]] = {name: hook for name in HOOKS if (hook := getattr(options, name)) is not None}
        self.sessions = ServerSessions(options.session_store, self.hooks)
        self.tell_failure: Callable[[BaseException], bool] = _nobody_hears  # of sessions; whether a listener was there

    # ---- which questions are asked

    @property
    def asks_name(self) -> bool:
        """A hello with a server name stops for its context."""
        return "sni_callback" in self.hooks or bool(self.names)

    @property
    def asks_protocol(self) -> bool:
        """A hello with ALPN stops for the choice. What `sni_callback` will give may have a callback of its own."""
        return "alpn_callback" in self.hooks or "sni_callback" in self.hooks or self.names.any_chooses_protocol

    @property
    def asks_status(self) -> bool:
        """A client that wants an OCSP response stops for it."""
        return self.stapler is not None or "ocsp_request" in self.hooks

    @property
    def asks_client(self) -> bool:
        """A finished handshake stops before anything of it is released."""
        return self.crls is not None or "check_client" in self.hooks

    @property
    def asks_key(self) -> bool:
        """Who comes by a pre-shared key is looked up."""
        return "psk_callback" in self.hooks

    @property
    def asks_with_hello(self) -> bool:
        """Some hook is given a socket whose `client_hello` it may look at."""
        return not SESSION_HOOKS.issuperset(self.hooks)

    @property
    def session_wants(self) -> int:
        """A hello that names a session stops for it, and what was made waits to be stored."""
        return self.sessions.find_wants(self.names.initial)

    @property
    def renegotiation(self) -> tuple[int, float]:
        """How often a client may renegotiate within how many seconds; 0: never."""
        limit = defaults.client_reneg_limit if self.options.allow_renegotiation else 0
        return limit, min(defaults.client_reneg_window or _ALWAYS, _ALWAYS)

    def verification(self, handshake: Handshake, *, request: bool | None, reject: bool | None) -> tuple[int | None, bool]:
        """What another handshake asks of the client: `SSL_VERIFY_*` bits (None: as it is), and whether a bad one is let in."""
        if request is None and reject is None:
            return None, False
        options = (handshake.context or self.names.default).options
        wanted = bool(options.request_cert) if request is None else request
        strict = options.reject_unauthorized is not False if reject is None else reject
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
            if self.crls is not None:  # the engine looks into the lists when this is answered
                self.crls.expire()
            self._ask_name(handshake)

    def _ask_name(self, handshake: Handshake) -> None:
        name = handshake.connection.server_name
        hook = self.hooks.get("sni_callback")
        if hook is None or name is None:
            self._ask_protocol(handshake, self.names.find(name) if name else None)
            return

        def take(result: object) -> None:
            self._ask_protocol(handshake, self._context_of(result, name))

        self._ask(handshake, "sni_callback", take, hook, name, handshake.socket)

    def _context_of(self, result: object, name: str) -> SecureContext | None:
        if result is None:
            return self.names.find(name)
        if not isinstance(result, SecureContext | Mapping):
            raise wrong_answer("sni_callback", "a SecureContext, options or None", result)
        given = result if isinstance(result, SecureContext) else parse_context_options(result)
        return self.names.complete(given)

    def _ask_protocol(self, handshake: Handshake, context: SecureContext | None) -> None:
        connection = handshake.connection
        chosen = context.native if context else None
        if context is not None:
            handshake.context = context
        offered = connection.offered_protocols
        hook = self._protocol_hook(context or self.names.default)
        if hook is None or not offered:
            self._ask_session(handshake, chosen, None)
            return

        def take(result: object) -> None:
            self._ask_session(handshake, chosen, _check_protocol(result, offered))

        self._ask(
            handshake, "alpn_callback", take, hook, connection.server_name, [one.decode("latin-1") for one in offered], handshake.socket
        )

    def _protocol_hook(self, context: SecureContext) -> Callable[..., Any] | None:
        """What the context sets decides; the server's hook is for contexts that set nothing."""
        own = context.options
        if own.alpn_callback is not None or own.alpn_protocols is not None:
            return own.alpn_callback
        return self.hooks.get("alpn_callback")

    def _ask_status(self, handshake: Handshake, identities: Sequence[tuple[bytes, bytes | None]], responses: list[bytes | None]) -> None:
        """Ask for one response after the other; which certificate this client is shown, OpenSSL decides behind this question."""
        hook = self.hooks.get("ocsp_request") if self.stapler is None else self.stapler.staple
        if hook is None or len(responses) == len(identities):
            handshake.connection.answer_status(responses)
            return

        def take(result: object) -> None:
            self._ask_status(handshake, identities, [*responses, _check_response(result)])

        certificate, issuer = identities[len(responses)]
        self._ask(handshake, "ocsp_request", take, hook, certificate, issuer, handshake.socket)

    def _ask_session(self, handshake: Handshake, context: Context | None, protocol: bytes | None) -> None:
        """Look for the session that the client wants to resume; the last of what a hello is asked about."""
        connection = handshake.connection
        wanted = connection.asked_session
        if wanted is None:
            connection.answer_hello(context, protocol)
            return
        since = perf_counter()

        def take(result: object) -> None:
            self.sessions.found(result, perf_counter() - since, connection.answer_session)
            connection.answer_hello(context, protocol)

        def fail(error: Exception) -> None:
            self._session_failed(error)
            connection.answer_hello(context, protocol)

        kept_under = (context or self.names.default.native).session_id_context
        self._ask(handshake, "resume_session", take, self.sessions.find, wanted, kept_under, fail=fail)

    def _ask_store(self, handshake: Handshake) -> None:
        """Have new sessions stored. Nothing of the connection leaves before."""
        connection = handshake.connection
        made = connection.take_sessions()
        since = perf_counter()

        def take(_result: object) -> None:
            self.sessions.kept(len(made), perf_counter() - since)
            connection.answer_store()

        def fail(error: Exception) -> None:
            self._session_failed(error)
            connection.answer_store()

        kept_under = (handshake.context or self.names.default).native.session_id_context
        self._ask(handshake, "new_session", take, self.sessions.keep, made, kept_under, fail=fail)

    def _session_failed(self, error: Exception) -> None:
        self.sessions.failed(error, self.tell_failure)

    def _ask_client(self, handshake: Handshake) -> None:
        """Look for the client in revocation lists, then ask the hook.

        Of a resumed session the engine has consulted the lists at hand before it resumed it.
        """
        connection = handshake.connection
        if self.crls is None or connection.resumed or not self.is_authorized(handshake):
            self._ask_hook(handshake)
            return

        def take(error: CertificateError | None) -> None:
            _raise_if(error)
            self._ask_hook(handshake)

        self._ask(handshake, "fetch_crl", take, self.crls.check, connection.verified_chain)

    def _ask_hook(self, handshake: Handshake) -> None:
        connection = handshake.connection

        def take(result: object) -> None:
            if result is not None:
                raise result if isinstance(result, Exception) else wrong_answer("check_client", "None or an exception", result)
            verdict = self.judge(handshake, None)
            if verdict.refused and verdict.error is not None:
                raise verdict.error
            connection.answer_client()

        hook = self.hooks.get("check_client")
        if hook is None:
            take(None)
            return
        chain, socket = _peer_chain(connection), handshake.socket
        # Linked within the question, so that a certificate that cannot be read refuses the client as a failing hook does.
        self._ask(handshake, "check_client", take, lambda: hook(link(chain) if chain else None, socket))

    def find_key(self, socket: object, identity: bytes | None) -> tuple[bytes, bytes] | None:
        """The pre-shared key of a client; None: nobody knows it. Called from inside OpenSSL, which waits for it."""
        hook = self.hooks.get("psk_callback")
        if hook is None or identity is None:  # taken away meanwhile
            return None
        try:
            name = identity.decode()
        except UnicodeDecodeError:  # RFC 4279 §5.1: identities are UTF-8
            return None
        key = ask_for_key(hook, socket, name)
        return None if key is None else (identity, key)

    def _ask(
        self,
        handshake: Handshake,
        name: str,
        take: Callable[[Any], None],
        hook: Callable[..., Any],
        *args: object,
        fail: Callable[[Exception], None] | None = None,
    ) -> None:
        """Put one question; whatever goes wrong refuses the client, with the alert the error asks for, unless `fail` takes it."""
        returned: object = None

        def refuse(failure: Exception) -> None:
            handshake.refused = failure
            handshake.mistake = failure if failure is not returned and is_mistake(failure) else None
            handshake.connection.refuse(alert_of(failure, _usual_alert(name, failure)))

        def answer(result: object, error: BaseException | None) -> None:
            nonlocal returned
            returned = result  # an exception that is returned is an answer, whatever it is
            try:
                _raise_if(error)
                take(result)
            except Exception as failure:  # noqa: BLE001  (the hook's, or of its answer: the handshake fails closed)
                (fail or refuse)(failure)

        handshake.ask(name, self.options.hook_timeout, answer, hook, *args)

    # ---- verdict

    def explain(self, handshake: Handshake, fault: Fault) -> TLSError:
        """What broke the connection, in words."""
        refused = self.judge(handshake).error if fault.kind == "verify" else None
        if isinstance(refused, TLSError):
            return refused
        error = error_from_fault(fault)
        size = len(handshake.connection.peer_certificate or b"")
        if size > _LONG_FOR_A_TICKET and error.code == "ERR_SSL_INTERNAL_ERROR":
            error.hint = (
                f"Up to TLS 1.2 the client's certificate has to fit into a session ticket, and it has {size} bytes. Leave tickets out "
                "(secure_options=SSL_OP_NO_TICKET), or let the client have a smaller certificate."
            )
            error.add_note(error.hint)
        # OpenSSL then finds no version, no cipher or no signature algorithm to have in common.
        if error.alert in _NOTHING_IN_COMMON and fault.kind == "ssl" and handshake.connection.certificate is None and not fault.psk:
            return ConfigError(
                "TLS with the client failed: there is no certificate to show", code=error.code, alert=error.alert, reason=error.reason,
                hint="Give cert and key.", openssl_errors=error.openssl_errors,
            )  # fmt: skip
        return error

    def is_authorized(self, handshake: Handshake) -> bool:
        """Tell whether the client has shown a certificate that was found good, and that no hook or list has refused."""
        connection = handshake.connection
        return handshake.refused is None and bool(
            connection.peer_certificate and not connection.verify_errors and not connection.pins_failed
        )

    def find_error(self, handshake: Handshake) -> str | None:
        """Return the code of what speaks against the client; nothing does when nothing was asked, as in Node."""
        if not handshake.is_done or not handshake.connection.asks_certificate:
            return None
        return getattr(handshake.refused, "code", None) or self.judge(handshake).authorization_error

    def export_session(self, _handshake: Handshake, data: bytes, _lifetime: int | None = None) -> bytes:
        """A server's session is as OpenSSL has it: what it stands for is in its id context."""
        return data

    def set_server_name(self, _connection: Connection, _name: str) -> None:
        """Names are sent by clients."""
        raise UsageStateError("A server sends no name: it is told one", code="ERR_TLS_SNI_FROM_SERVER")

    def offer_session(self, _connection: Connection, _encoded: bytes) -> None:
        """Sessions are offered by clients."""
        raise UsageStateError("A server offers no session", code="ERR_TLS_INVALID_STATE")

    def judge(self, handshake: Handshake, answer: object = NOT_ASKED) -> Verdict:
        """Who the client is. The chain and the pins were decided in the handshake; this finds the words for it.

        Args:
            handshake: Whose client.
            answer: What `check_client` said.
        """
        connection = handshake.connection
        context = handshake.context or self.names.default
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
            # Pins are part of what a session is bound to: who resumes has met them, unless they were not insisted on.
            spki_digests=tuple(one.spki_sha256 for one in read_all(chain[:1])) if connection.resumed else (),
            explicit_ca=options.ca is not None,
            find_roots=context.find_roots,
        )
        strict = options.reject_unauthorized is not False
        held = connection.psk_used or (connection.resumed and strict)  # pins are for who comes by a certificate
        policy = VerifyPolicy(reject_unauthorized=strict, pins=() if held else options.pins or (), answer=answer)
        return judge(facts, policy)


def _nobody_hears(_error: BaseException) -> bool:
    """A socket that stands alone has no server with listeners."""
    return False


def _make_initial(given: SecureContext | None, options: ServerOptions, crls: CrlCache | None) -> SecureContext:
    """The context the server begins with; what the server decides beside it is part of its trust."""
    policy = ServerPolicy(resume_unmarked=options.resume_unmarked)
    if crls is not None:
        policy = replace(policy, fetch_crl=crls.policy, lists=crls.at_hand)
    if given is not None:
        return given.with_policy(policy)
    # The server's own alpn_callback is a hook, that `off` can take away; the one of a given context belongs to that.
    return SecureContext(replace(options.context, alpn_callback=None), policy=policy)


def _make_stapler(options: ServerOptions) -> Stapler | None:
    given = options.stapling
    if given is None or given is False:
        return None
    if given is not True and not isinstance(given, Stapler):
        raise UsageTypeError(f"options.stapling must be a bool or a Stapler, got {type(given).__name__}")
    if options.ocsp_request is not None:
        raise UsageTypeError("options.stapling cannot be combined with ocsp_request", code="ERR_INCOMPATIBLE_OPTION_PAIR")
    return Stapler() if given is True else given


def _raise_if(error: BaseException | None) -> None:
    if error is not None:
        raise error


def _peer_chain(connection: Connection) -> tuple[bytes, ...]:
    """What the client sent. After a failed verification OpenSSL has only the chain it tried to build."""
    return connection.peer_chain or connection.verified_chain


def _check_protocol(result: object, offered: list[bytes]) -> bytes:
    if result is None:
        raise HandshakeError(
            "alpn_callback refused what the client offers", code="ERR_SSL_NO_APPLICATION_PROTOCOL", alert="no_application_protocol"
        )
    protocol = result.encode("latin-1", "replace") if isinstance(result, str) else result
    if not isinstance(protocol, bytes) or protocol not in offered:
        raise UsageTypeError(
            f"alpn_callback returned {result!r:.80}, which is none of the protocols the client offers",
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
        raise UsageValueError(f"ocsp_request returned {len(response)} bytes; a response has 1 to {MAX_RESPONSE}", code="ERR_OUT_OF_RANGE")
    if not is_ocsp_response(response):
        raise UsageValueError(
            f"ocsp_request returned {len(response)} bytes that are no OCSPResponse (RFC 6960) in DER",
            hint="Return what the responder answered, as it came: neither PEM nor base64, nor the BasicOCSPResponse within it.",
        )
    return response


def _usual_alert(hook: str, failure: Exception) -> str:
    """Who says no to a client refuses its certificate; anything else that goes wrong is a fault of ours."""
    if hook == "fetch_crl" and isinstance(failure, CertificateError) and failure.alert:
        return failure.alert
    return "bad_certificate" if hook == "check_client" and not isinstance(failure, UsageError) else INTERNAL_ERROR
