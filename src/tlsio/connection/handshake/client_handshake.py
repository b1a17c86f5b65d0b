"""The client's side of a handshake: the expected server, and the verdict on its certificate."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

from tlsio.connection.context.secure_context import SESSION_TIMEOUT
from tlsio.connection.context.trust_digest import digest_client
from tlsio.connection.handshake.diagnostics import Diagnostics
from tlsio.connection.handshake.local_side import describe_local_side
from tlsio.connection.handshake.psk import ask_for_identity
from tlsio.connection.handshake.questions import INTERNAL_ERROR, as_tls_error
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

__all__ = ["ClientHandshake", "find_server_name"]

_NO_EXPIRY = 2**62
# Seconds that a clock may have been set back. A session from further in the future is not offered,
# because its age is unknown.
_SKEW = 60
_UNVERIFIED = ((VerifyError.UNSPECIFIED, 0),)  # the server of this session was never verified
# The verify errors from which OpenSSL chooses the alert, by name.
_VERIFY_ERRORS = {name: VerifyError[name] for name in ("CERT_REVOKED", "UNABLE_TO_GET_CRL")}


def find_server_name(options: ConnectOptions, host: str | None) -> str | None:
    """Return the A-label that is sent as SNI; None: none is sent.

    Args:
        options: Checked options.
        host: The host that was connected to, None if only a stream was given.
    """
    name, label = (options.host or host, "host") if options.servername is None else (options.servername, "options.servername")
    return _server_name(name, label) if name else None


class ClientHandshake(HandshakeSide):
    """The expected server of one client connection, and the verdict on its certificate."""

    __slots__ = (
        "_crls",
        "_objections",
        "_port_or_path",
        "_trust",
        "_valid_until",
        "_verified_at",
        "context",
        "diagnostics",
        "host",
        "options",
        "server_name",
        "session",
        "verdict",
    )

    is_server = False
    context: SecureContext
    options: ConnectOptions

    def __init__(self, options: ConnectOptions, context: SecureContext, host: str | None, port_or_path: object = None) -> None:
        """Determine the server's name.

        Args:
            options: Checked options.
            context: Trust, certificate and protocol settings.
            host: The host that was connected to, None if only a stream was given.
            port_or_path: Distinguishes servers of the same name in a session cache.

        Raises:
            UsageError: there is no name to compare with the server's certificate.
        """
        self.options = options
        self.diagnostics = Diagnostics(options)
        self.context = context
        self.host = options.servername or options.host or host
        is_named = self.host is not None or options.check_server_identity is not None or options.identity is not None
        if not is_named and context.options.reject_unauthorized is not False:
            raise _missing_name()
        self.server_name = find_server_name(options, host)
        self.session: ClientSession | None = None  # offered to the server
        self.verdict: Verdict | None = None
        self._port_or_path = port_or_path
        self._crls = make_cache(options.fetch_crl)
        self._trust: bytes | None = None
        # What sessions of this connection store of the verdict, in addition to facts of the chain.
        self._verified_at = 0
        self._valid_until = _NO_EXPIRY
        self._objections: tuple[tuple[str, str], ...] = ()

    def prepare(self, connection: Connection) -> None:
        """Configure a new connection, before its first step."""
        connection.set_limits(self.options.handshake_timeout or 0.0, self.options.partial_record_timeout or 0.0)
        if self.server_name is not None:
            connection.set_server_name(self.server_name)
        if self.options.min_dh_size is not None:
            connection.set_min_dh_size(self.options.min_dh_size)
        if self.options.chain_policy == "strict":
            connection.set_strict_chain()
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
        """Expect a server of another name."""
        if self.session is not None:
            raise UsageStateError(
                "The server name cannot be changed: the session that was set is bound to the old name",
                hint="Set the name before the session.",
            )
        server_name = _server_name(name, "name")
        if server_name is None:
            raise UsageValueError(
                f"name must be a host name, got the address {name}", hint="Addresses are not sent as server names: give it as host=."
            )
        self.host, self.server_name = name, server_name
        connection.set_server_name(server_name)

    # ---- sessions

    @property
    def trust(self) -> bytes:
        """The digest of what decides about trust: a session is resumed only if it has the same."""
        if self._trust is None:
            crl_policy = self._crls.policy if self._crls is not None else "off"
            self._trust = digest_client(self.context.trust_digest, self.context.identity_digest, self.options, crl_policy)
        return self._trust

    @property
    def _cache_key(self) -> tuple[object, ...]:
        return (self.host, self._port_or_path, self.server_name, self.trust)

    def offer_session(self, connection: Connection, encoded: bytes) -> None:
        """Offer an earlier session to the server.

        It is ignored if it was made for another name or trust, has expired or is corrupt.
        """
        now = time.time()
        session = ClientSession.decode(encoded)
        if session is None and self.context.options.reject_unauthorized is False and not self.context.options.pins:
            # As in Node: without verification a session of unknown origin, such as another
            # library's, does no harm. It has no digests that pins could be compared with.
            session = ClientSession(
                name=self.host or "", trust=self.trust, verified_at=int(now), valid_until=_NO_EXPIRY, spki_digests=(),
                verify_errors=_UNVERIFIED, data=encoded,
            )  # fmt: skip
        if session is not None and self._may_offer(session, now) and connection.set_session(session.data):
            self.session = session

    def _may_offer(self, session: ClientSession, now: float) -> bool:
        """Return whether the session's verdict is still valid for this server and this trust."""
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
        """Return a session of this connection with its verdict, encoded.

        A new one, with a lifetime in seconds, is also put into the cache.
        """
        session = self._describe_session(handshake, data)
        encoded = session.encode()
        cache = self.options.session_cache
        if cache is not None and lifetime is not None:
            end = min(time.time() + lifetime, session.valid_until)
            cache.put(self._cache_key, encoded, single_use=handshake.connection.protocol == "TLSv1.3", expires=end)
        return encoded

    def _describe_session(self, handshake: Handshake, data: bytes) -> ClientSession:
        connection = handshake.connection
        if connection.resumed and self.session is not None:
            return replace(self.session, data=data)
        end, entries, digests = connection.chain_facts
        # Without a certificate, as with a pre-shared key, nothing could be verified again on
        # resumption, so the session expires at once.
        end = min(end, self._valid_until, self._verified_at + self._session_timeout) if digests else 0
        # The session also expires at once if issuers may have name constraints and the default
        # check has not accepted the name: a resumed connection has no chain to check them in.
        reasons = self.verdict.reasons if self.verdict is not None else ()
        name_unchecked = self.options.check_server_identity is not None or CertificateAltNameError.default_code in reasons
        issuers = (connection.verified_chain or connection.peer_chain[:1])[1:]
        if name_unchecked and any(map(may_constrain, issuers)):
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
        """Judge the server's certificate, then its OCSP response.

        The handshake continues, or ends with the matching alert.
        """
        if question == ASK_STATUS:
            self._check_response(handshake)
        else:
            self._check_certificate(handshake)

    def _check_certificate(self, handshake: Handshake) -> None:
        check = self.options.check_server_identity
        if check is None:
            is_named = self.host is not None or self.options.identity is not None
            self._decide(handshake, NOT_ASKED if is_named else _missing_name())
            return

        def answer(result: object, error: BaseException | None) -> None:
            found = result if error is None else error
            self._decide(handshake, as_tls_error("check_server_identity", found) if isinstance(found, Exception) else found)

        certificate = _link_verified(handshake.connection)
        handshake.ask("check_server_identity", self.options.hook_timeout, answer, check, self.host, certificate)

    def find_key(self, _socket: object, given: bytes | None) -> tuple[bytes, bytes] | None:
        """Return identity and pre-shared key, or None. Called synchronously from inside OpenSSL."""
        hook = self.options.psk_callback
        return None if hook is None else ask_for_identity(hook, None if given is None else given.decode(errors="replace"))

    def _decide(self, handshake: Handshake, answer: object) -> None:
        """Judge, and answer the engine's question; an exception refuses the server."""
        connection = handshake.connection
        self._verified_at = int(time.time())
        try:
            self.verdict = self._judge(handshake, answer)
        except Exception as error:  # noqa: BLE001  (the handshake fails closed, with this error)
            handshake.refused = as_tls_error("The verification", error)
            connection.answer_verify(VerifyError.APPLICATION_VERIFICATION)
            return
        if self.verdict.refused and self.verdict.error is not None:
            if self.options.psk_callback is not None and not connection.psk_used:
                self.verdict.error.add_note(_PSK_NOT_USED)
            handshake.refused = as_tls_error("The verification", self.verdict.error)
        if connection.resumed and self.session is not None:
            self._inherit_from_session(handshake, self.session)
            connection.answer_verify(self.verdict.verify_error)
            return
        if self.verdict.authorized and self._crls is not None and not connection.psk_used:
            self._check_crls(handshake, self._crls)
            return
        if self.verdict.error is not None and (self._crls is not None or self.options.ocsp != "off"):
            # Revocation is not checked after this error. So the session stores the error, and its
            # server stays refused on resumption even if another check accepts the name.
            self._objections = (_describe(self.verdict.error),)
        connection.answer_verify(self.verdict.verify_error)

    def _inherit_from_session(self, handshake: Handshake, session: ClientSession) -> None:
        """Copy from the resumed session what this connection cannot determine itself."""
        assert self.verdict is not None  # noqa: S101 - for the type checker
        self._verified_at, self._valid_until, self._objections = session.verified_at, session.valid_until, session.objections
        for code, text in session.objections:
            if self.verdict.authorized:
                self._add_objection(handshake, CertificateError(text, code=code))

    def _check_crls(self, handshake: Handshake, crls: CrlCache) -> None:
        """Check the chain for revocation; if that fails, the handshake fails."""

        def answer(result: CertificateError | None, failed: BaseException | None) -> None:
            failure = as_tls_error("fetch_crl", failed) if isinstance(failed, Exception) else result
            refused = failure is not None and self._add_objection(handshake, failure)
            number = _VERIFY_ERRORS.get(getattr(failure, "code", ""), VerifyError.APPLICATION_VERIFICATION)
            handshake.connection.answer_verify(number if refused else 0)

        chain = handshake.connection.verified_chain
        handshake.ask("fetch_crl", self.options.hook_timeout, answer, crls.check, chain)

    def _add_objection(self, handshake: Handshake, error: Exception) -> bool:
        """Add an error to a good verdict; return whether the server is refused."""
        assert self.verdict is not None  # noqa: S101 - for the type checker
        self._objections = (_describe(error),)
        refused = self.context.options.reject_unauthorized is not False
        reasons = error.reasons if isinstance(error, CertificateError) else (str(error),)
        self.verdict = replace(self.verdict, authorized=False, refused=refused, error=error, reasons=reasons)
        if refused:
            handshake.refused = as_tls_error("The verification", error)
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
            # The name of a workload is its URI; the host is then only where it runs.
            server_name=self.host if self.options.identity is None else None,
            ca_is_empty=context.ca == (),
            describe_roots=self.context.describe_roots,
            find_roots=self.context.find_roots,
        )
        return judge(facts, self._make_policy(answer))

    def _make_policy(self, answer: object) -> VerifyPolicy:
        """Return what is accepted; `answer` is that of `check_server_identity=`."""
        context = self.context.options
        return VerifyPolicy(
            reject_unauthorized=context.reject_unauthorized is not False,
            pins=context.pins or (),
            identity_policy=self.options.identity_policy,
            identity=self.options.identity,
            chain_policy=self.options.chain_policy,
            answer=answer,
        )

    def _check_response(self, handshake: Handshake) -> None:
        connection, verdict = handshake.connection, self.verdict
        # If the certificate was accepted unverified, a response about it would prove nothing.
        judged = verdict is not None and verdict.authorized and self.options.ocsp != "off"
        status = self._judge_response(connection) if judged else CertificateStatus()
        if status.next_update is not None:
            self._valid_until = min(self._valid_until, int(status.next_update.timestamp()))
        error = status.error
        if error is not None and self._add_objection(handshake, error):
            connection.refuse(alert_number(error.alert or INTERNAL_ERROR))
        else:
            connection.answer_status()

    def _judge_response(self, connection: Connection) -> CertificateStatus:
        leaf, *issuers = read_verified((connection.verified_chain or connection.peer_chain[:1])[:2])
        if (response := connection.stapled) is None:
            return judge_absence(leaf, required=self.options.ocsp == "require")
        return judge_response(response, leaf, issuers[0] if issuers else None, now=datetime.now(UTC))

    def explain(self, handshake: Handshake, fault: Fault) -> TLSError:
        """Return the exception for a failure of the connection."""
        cache = self.options.session_cache
        if cache is not None and self.session is not None and not fault.opened:
            cache.forget(self._cache_key)  # the session may be the cause; Node's agent forgets it too
        describe = partial(describe_local_side, handshake.connection, self.context)
        return error_from_fault(fault, host=self.host, describe=describe)

    def is_authorized(self, _handshake: Handshake) -> bool:
        """Return whether the server was verified."""
        return self.verdict is not None and self.verdict.authorized

    def find_error(self, _handshake: Handshake) -> str | None:
        """Return the code of the error that refuses the server; None if there is none."""
        return self.verdict.authorization_error if self.verdict is not None else None


_PSK_NOT_USED = (
    "The server did not use the pre-shared key, and sent this certificate instead: it does not know the identity that psk_callback "
    "returned, or chose a cipher suite without PSK. Include a suite with SHA-256 (TLS 1.3) or a PSK suite (up to TLS 1.2) in ciphers=."
)


def _describe(error: Exception) -> tuple[str, str]:
    """Return code and text of an error; one from the user's own check may have no code."""
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    code = getattr(error, "code", None)
    return (code if isinstance(code, str) else text), text


def _missing_name() -> UsageStateError:
    return UsageStateError(
        "There is no name to compare with the server's certificate",
        hint="Give servername= or host=: a name that is in the server's certificate.",
    )


def _server_name(name: str, label: str) -> str | None:
    """Return the A-label for SNI; None for an IP address.

    RFC 6066 §3: "Literal IPv4 and IPv6 addresses are not permitted".
    """
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        return identity.to_server_name(name, label)
    return None


def _link_verified(connection: Connection) -> PeerCertificate | None:
    """Return the server's certificate with its issuers.

    The issuers come from the verified chain and, after its end, from what the server sent.
    """
    chain = connection.peer_chain
    try:
        return link((chain[0], *connection.verified_chain[1:], *chain[1:])) if chain else None
    except UsageValueError:  # the verdict refuses a certificate that cannot be parsed
        return None
