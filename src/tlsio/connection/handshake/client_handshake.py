"""The client's half of a handshake: whom it looks for, and whether it was found."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING

from tlsio.connection.context.secure_context import SESSION_TIMEOUT
from tlsio.connection.context.trust_digest import digest_client
from tlsio.connection.handshake.diagnostics import Diagnostics
from tlsio.connection.handshake.psk import ask_for_identity
from tlsio.connection.handshake.questions import INTERNAL_ERROR
from tlsio.connection.handshake.side import HandshakeSide
from tlsio.connection.revocation.crl_cache import make_cache
from tlsio.model.codes import VerifyError, alert_number
from tlsio.model.errors import CertificateAltNameError, CertificateError, UsageStateError, UsageValueError
from tlsio.model.explanations import error_from_fault
from tlsio.native._core import ASK_STATUS
from tlsio.session.client_session import ClientSession
from tlsio.trust import identity
from tlsio.trust.certificate import link, read_verified
from tlsio.trust.constraints import may_constrain
from tlsio.trust.ocsp import CertificateStatus, judge_absence, judge_response
from tlsio.trust.verdict import NOT_ASKED, PeerFacts, VerifyPolicy, judge

if TYPE_CHECKING:
    from tlsio.connection.context.secure_context import SecureContext
    from tlsio.connection.handshake.handshake import Handshake
    from tlsio.connection.revocation.crl_cache import CrlCache
    from tlsio.model.errors import TLSError
    from tlsio.model.faults import Fault
    from tlsio.model.options.connect import ConnectOptions
    from tlsio.native._core import Connection
    from tlsio.trust.certificate import PeerCertificate
    from tlsio.trust.verdict import Verdict

__all__ = ["ClientHandshake"]

_FOR_EVER = 2**62
_SKEW = 60  # seconds that a clock may be set back; of a session from further in the future the age cannot be known
_UNKNOWN = ((VerifyError.UNSPECIFIED, 0),)  # nobody has verified who the server was
# They pick the alert.
_VERIFY_ERRORS = {name: VerifyError[name] for name in ("CERT_REVOKED", "UNABLE_TO_GET_CRL")}


class ClientHandshake(HandshakeSide):
    """Whom one client connection looks for, and the verdict about who answered."""

    __slots__ = (
        "_crls",
        "_objections",
        "_place",
        "_trust",
        "_valid_until",
        "_verified_at",
        "context",
        "host",
        "options",
        "records",
        "server_name",
        "session",
        "verdict",
    )

    is_server = False
    context: SecureContext
    options: ConnectOptions

    def __init__(self, options: ConnectOptions, context: SecureContext, host: str | None, place: object = None) -> None:
        """Decide on the names.

        Args:
            options: Checked options.
            context: Trust, certificate and protocol.
            host: What was connected to, None when only a stream was given.
            place: The port or path, by which a session cache tells servers of one name apart.

        Raises:
            UsageError: there is no name to check the server's certificate against.
        """
        self.options = options
        self.records = Diagnostics(options)
        self.context = context
        self.host = options.servername or options.host or host
        if self.host is None and options.check_server_identity is None and context.options.reject_unauthorized is not False:
            raise _no_name()
        name, label = (self.host, "host") if options.servername is None else (options.servername, "options.servername")
        self.server_name = _server_name(name, label) if name else None
        self.session: ClientSession | None = None  # offered to the server
        self.verdict: Verdict | None = None
        self._place = place
        self._crls = make_cache(options.fetch_crl)
        self._trust: bytes | None = None
        # What a session of this connection remembers of the verdict, beside the chain.
        self._verified_at = 0
        self._valid_until = _FOR_EVER
        self._objections: tuple[tuple[str, str], ...] = ()

    def prepare(self, connection: Connection) -> None:
        """Tell a new connection what it has to know before its first step."""
        connection.set_limits(self.options.handshake_timeout or 0.0, self.options.partial_record_timeout or 0.0)
        if self.server_name is not None:
            connection.set_server_name(self.server_name)
        if self.options.min_dh_size is not None:
            connection.set_min_dh_size(self.options.min_dh_size)
        if self.options.request_ocsp or self.options.ocsp != "off":
            connection.request_status()
        if self.options.psk_callback is not None:
            connection.use_psk()
        cache = self.options.session_cache
        if cache is not None:
            connection.want_sessions()
        if self.options.session is not None:
            self.offer_session(connection, self.options.session)
        elif cache is not None and (kept := cache.take(self._cache_key)) is not None:
            self.offer_session(connection, kept)

    def set_server_name(self, connection: Connection, name: str) -> None:
        """Look for a server of another name."""
        if self.session is not None:
            raise UsageStateError("A session was offered that is bound to another name", hint="Set the name before the session.")
        server_name = _server_name(name, "name")
        if server_name is None:
            raise UsageValueError(f"name must be a host name, got the address {name}", hint="An address is never sent: give it as host.")
        self.host, self.server_name = name, server_name
        connection.set_server_name(server_name)

    # ---- sessions

    @property
    def trust(self) -> bytes:
        """A session is resumed only under the digest it was made under."""
        if self._trust is None:
            lists = self._crls.policy if self._crls is not None else "off"
            self._trust = digest_client(self.context.trust_digest, self.context.identity_digest, self.options, lists)
        return self._trust

    @property
    def _cache_key(self) -> tuple[object, ...]:
        return (self.host, self._place, self.server_name, self.trust)

    def offer_session(self, connection: Connection, encoded: bytes) -> None:
        """Offer an earlier session to the server. One made for another name or trust, ended or broken is ignored."""
        now = time.time()
        session = ClientSession.decode(encoded)
        if session is None and self.context.options.reject_unauthorized is False:
            # As in Node: without verification nothing can be lost by one of unknown origin, say of another library.
            session = ClientSession(
                name=self.host or "", trust=self.trust, verified_at=int(now), valid_until=_FOR_EVER, spki_digests=(),
                verify_errors=_UNKNOWN, data=encoded,
            )  # fmt: skip
        if session is not None and self._may_offer(session, now) and connection.set_session(session.data):
            self.session = session

    def _may_offer(self, session: ClientSession, now: float) -> bool:
        """Tell whether the verdict that the session was made by still counts, for this server and under this trust."""
        if session.name != (self.host or "") or session.trust != self.trust:
            return False
        if session.verified_at > now + _SKEW or now >= min(session.valid_until, session.verified_at + self._session_timeout):
            return False
        if 0 < self.context.lists_end <= now:
            return False
        return self._crls is None or bool(session.verify_errors) or self._crls.passes(session.entries)

    @property
    def _session_timeout(self) -> int:
        return self.context.options.session_timeout or SESSION_TIMEOUT

    def export_session(self, handshake: Handshake, data: bytes, lifetime: int | None = None) -> bytes:
        """Put a session of this connection together with what it stands for; a new one, of so many seconds, into the cache too."""
        session = self._describe_session(handshake, data)
        sealed = session.encode()
        cache = self.options.session_cache
        if cache is not None and lifetime is not None:
            end = min(time.time() + lifetime, session.valid_until)
            cache.put(self._cache_key, sealed, single_use=handshake.connection.protocol == "TLSv1.3", expires=end)
        return sealed

    def _describe_session(self, handshake: Handshake, data: bytes) -> ClientSession:
        connection = handshake.connection
        if connection.resumed and self.session is not None:
            return replace(self.session, data=data)
        end, entries, digests = connection.chain_facts
        # Without a certificate (a pre-shared key) nothing could be judged again.
        end = min(end, self._valid_until, self._verified_at + self._session_timeout) if digests else 0
        # It ends at once when the issuers' name constraints may decide about the name, and the default check has not let it pass: a
        # resumed connection has no chain that shows them.
        reasons = self.verdict.reasons if self.verdict is not None else ()
        unchecked = self.options.check_server_identity is not None or CertificateAltNameError.default_code in reasons
        issuers = (connection.verified_chain or connection.peer_chain[:1])[1:]
        if unchecked and any(map(may_constrain, issuers)):
            end = 0
        return ClientSession(
            name=self.host or "",
            trust=self.trust,
            verified_at=self._verified_at,
            valid_until=end,
            spki_digests=digests,
            entries=entries,
            verify_errors=connection.verify_errors,
            objections=self._objections,
            data=data,
        )

    # ---- the verdict

    def on_question(self, handshake: Handshake, question: int) -> None:
        """Judge the server's certificate, then its OCSP response; the handshake goes on, or ends with the fitting alert."""
        if question == ASK_STATUS:
            self._look_at_response(handshake)
        else:
            self._look_at_certificate(handshake)

    def _look_at_certificate(self, handshake: Handshake) -> None:
        check = self.options.check_server_identity
        if check is None:
            self._decide(handshake, NOT_ASKED if self.host is not None else _no_name())
            return

        def answer(result: object, error: BaseException | None) -> None:
            self._decide(handshake, result if error is None else error)

        certificate = _link_verified(handshake.connection)
        handshake.ask("check_server_identity", self.options.hook_timeout, answer, check, self.host, certificate)

    def find_key(self, _socket: object, given: bytes | None) -> tuple[bytes, bytes] | None:
        """Who to be, and with which pre-shared key; None: nobody. Called from inside OpenSSL, which waits for it."""
        hook = self.options.psk_callback
        return None if hook is None else ask_for_identity(hook, None if given is None else given.decode(errors="replace"))

    def _decide(self, handshake: Handshake, answer: object) -> None:
        """Tell the engine; a verdict that cannot be made is a refusal."""
        connection = handshake.connection
        self._verified_at = int(time.time())
        try:
            self.verdict = self._judge(handshake, answer)
        except Exception as error:  # noqa: BLE001  (the handshake fails closed, with that)
            handshake.refused = error
            connection.answer_verify(VerifyError.APPLICATION_VERIFICATION)
            return
        if self.verdict.refused and self.verdict.error is not None:
            if self.options.psk_callback is not None and not connection.psk_used:
                self.verdict.error.add_note(_NOT_BY_KEY)
            handshake.refused = self.verdict.error
        if connection.resumed and self.session is not None:
            self._remember(handshake, self.session)
            connection.answer_verify(self.verdict.verify_error)
            return
        if self.verdict.authorized and self._crls is not None and not connection.psk_used:
            self._look_at_lists(handshake, self._crls)
            return
        if self.verdict.error is not None and (self._crls is not None or self.options.ocsp != "off"):
            # Revocation is not looked at now. So whatever is found later, say by another check of the name, this server stays refused.
            self._objections = (_describe(self.verdict.error),)
        connection.answer_verify(self.verdict.verify_error)

    def _remember(self, handshake: Handshake, session: ClientSession) -> None:
        """Take over from the resumed session what this connection cannot find out by itself."""
        assert self.verdict is not None  # noqa: S101 - for the type checker
        self._verified_at, self._valid_until, self._objections = session.verified_at, session.valid_until, session.objections
        for code, text in session.objections:
            if self.verdict.authorized:
                self._object(handshake, CertificateError(text, code=code))

    def _look_at_lists(self, handshake: Handshake, crls: CrlCache) -> None:
        """Ask whether one of the chain was revoked; where the answer fails, so does the handshake."""

        def answer(result: CertificateError | None, failed: BaseException | None) -> None:
            failure = failed if isinstance(failed, Exception) else result
            refused = failure is not None and self._object(handshake, failure)
            number = _VERIFY_ERRORS.get(getattr(failure, "code", ""), VerifyError.APPLICATION_VERIFICATION)
            handshake.connection.answer_verify(number if refused else 0)

        chain = handshake.connection.verified_chain
        handshake.ask("fetch_crl", self.options.hook_timeout, answer, crls.check, chain)

    def _object(self, handshake: Handshake, error: Exception) -> bool:
        """Add to a verdict that was good what speaks against the server; whether that refuses it."""
        assert self.verdict is not None  # noqa: S101 - for the type checker
        self._objections = (_describe(error),)
        refused = self.context.options.reject_unauthorized is not False
        reasons = error.reasons if isinstance(error, CertificateError) else (str(error),)
        self.verdict = replace(self.verdict, authorized=False, refused=refused, error=error, reasons=reasons)
        if refused:
            handshake.refused = error
        return refused

    def _judge(self, handshake: Handshake, answer: object) -> Verdict:
        connection = handshake.connection
        context = self.context.options
        session = self.session if connection.resumed else None
        errors = connection.verify_errors if session is None else session.verify_errors
        facts = PeerFacts(
            role="client",
            now=datetime.now(UTC),
            resumed=session is not None,
            spki_digests=session.spki_digests if session is not None else (),
            chain=connection.peer_chain,
            verified_chain=connection.verified_chain,
            verify_errors=errors,
            psk=connection.psk_used,
            server_name=self.host,
            explicit_ca=context.ca is not None,
            find_roots=self.context.find_roots,
        )
        policy = VerifyPolicy(
            reject_unauthorized=context.reject_unauthorized is not False,
            pins=context.pins or (),
            identity_policy=self.options.identity_policy,
            answer=answer,
        )
        return judge(facts, policy)

    def _look_at_response(self, handshake: Handshake) -> None:
        connection, verdict = handshake.connection, self.verdict
        # Of a certificate that is not good, but let in all the same, a response could say nothing.
        judged = verdict is not None and verdict.authorized and self.options.ocsp != "off"
        status = self._judge_response(connection) if judged else CertificateStatus()
        if status.next_update is not None:
            self._valid_until = min(self._valid_until, int(status.next_update.timestamp()))
        error = status.error
        if error is not None and self._object(handshake, error):
            connection.refuse(alert_number(error.alert or INTERNAL_ERROR))
        else:
            connection.answer_status()

    def _judge_response(self, connection: Connection) -> CertificateStatus:
        leaf, *above = read_verified((connection.verified_chain or connection.peer_chain[:1])[:2])
        if (response := connection.stapled) is None:
            return judge_absence(leaf, required=self.options.ocsp == "require")
        return judge_response(response, leaf, above[0] if above else None, now=datetime.now(UTC))

    def explain(self, _handshake: Handshake, fault: Fault) -> TLSError:
        """What broke the connection, in words."""
        cache = self.options.session_cache
        if cache is not None and self.session is not None and not fault.opened:
            cache.forget(self._cache_key)  # as Node's agent: it may have been the session
        return error_from_fault(fault, host=self.host)

    def is_authorized(self, _handshake: Handshake) -> bool:
        """Tell whether the server was found good."""
        return self.verdict is not None and self.verdict.authorized

    def find_error(self, _handshake: Handshake) -> str | None:
        """Return the code of what speaks against the server."""
        return self.verdict.authorization_error if self.verdict is not None else None


_NOT_BY_KEY = (
    "The server did not take a pre-shared key, and showed this certificate instead: it does not know the identity, or chose a suite "
    "that takes none. In TLS 1.3 the suite has to be one with SHA-256, up to TLS 1.2 one for pre-shared keys."
)


def _describe(error: Exception) -> tuple[str, str]:
    """Code and text of what speaks against a server; an error of the user's own check may have no code."""
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    code = getattr(error, "code", None)
    return (code if isinstance(code, str) else text), text


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


def _link_verified(connection: Connection) -> PeerCertificate | None:
    """The server's certificate with its issuers: those of the verified chain, and only where that ends, others that were sent."""
    chain = connection.peer_chain
    try:
        return link((chain[0], *connection.verified_chain[1:], *chain[1:])) if chain else None
    except UsageValueError:  # the verdict refuses what cannot be read
        return None
