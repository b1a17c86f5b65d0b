"""The doctor: what is wrong with a server, and what to do about it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from tlsio.certs.instant import check_instant
from tlsio.connection.context.secure_context import create_secure_context
from tlsio.model.checks import check_function
from tlsio.model.errors import AlertReceived, ConfigError, HandshakeTimeoutError, TLSError, UsageError
from tlsio.probe.chain_checks import ChainFacts, check_chain, is_untrusted
from tlsio.probe.client_checks import check_refusal
from tlsio.probe.connect import look_at
from tlsio.probe.findings import found
from tlsio.probe.http_checks import ask_http, check_response, find_portal
from tlsio.probe.identity_checks import check_identity
from tlsio.probe.plain import as_fields
from tlsio.probe.protocol_checks import check_protocols, survey
from tlsio.probe.reach_checks import explain_answer, explain_unreachable
from tlsio.probe.resumption import TICKET_PATIENCE, SessionRecorder, check_resumption
from tlsio.probe.revocation_checks import check_lists, check_staple
from tlsio.probe.session_checks import check_pipelining, check_renegotiation, check_sessions
from tlsio.probe.starttls import PIPELINED, check_protocol
from tlsio.probe.strict_checks import check_strict
from tlsio.probe.target import Target
from tlsio.trust.certificate import read_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime
    from typing import Unpack

    from tlsio.model.options.connect import ConnectOptionsDict
    from tlsio.probe.connect import Look
    from tlsio.probe.findings import Finding
    from tlsio.probe.http_checks import Response
    from tlsio.probe.protocol_checks import Protocols
    from tlsio.probe.resumption import Resumption
    from tlsio.probe.target import Attempt, ObservedHandshake

    Fetch = Callable[[str], Awaitable[bytes]]

__all__ = ["Examination", "examine", "judge_certificate", "sort_findings"]

# Seconds that a server may say nothing to a hello made by hand.
_PATIENCE = 5.0
_PATIENCE_AFTER_SILENCE = 2.0
# Seconds in which a faulty server answers a command that it ought to have forgotten.
_QUIET = 0.5
_HTTPS_PORTS = {443, 8443}
_SEVERITIES = ("error", "warning", "notice")
# What OpenSSL must be told to talk to servers that it refuses by default; only to look at them.
_LENIENT = {
    "min_version": "TLSv1",
    "ciphers": "ALL:@SECLEVEL=0",
    "secure_options": 4,  # SSL_OP_LEGACY_SERVER_CONNECT
}
_GROUPS = ("X25519", "P-256", "P-384", "P-521", "P-224", "P-192")  # OpenSSL 4.0 lacks the last two


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What the doctor found.

    Attributes:
        host: The host that was examined.
        port: Its port.
        starttls: The dialog before TLS.
        findings: Errors first, then warnings, then notices; () for a good server.
        versions: The versions of TLS that the server accepts, newest first.
        look: The connection that was judged; None if there was none.
        resumption: By version, whether sessions can be resumed.
    """

    host: str
    port: int
    starttls: str | None
    findings: tuple[Finding, ...]
    versions: tuple[str, ...] = ()
    look: Look | None = None
    resumption: dict[str, Resumption] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return all of it as plain data for JSON."""
        return as_fields(self)


async def examine(  # noqa: PLR0913  (all by name)
    host: str,
    port: int,
    *,
    starttls: str | None = None,
    http: bool | None = None,
    fetch: Fetch | None = None,
    at: datetime | None = None,
    timeout: float = 10.0,  # noqa: ASYNC109  (of each connection, as in tlsio.connect)
    on_progress: Callable[[str], object] | None = None,
    **options: Unpack[ConnectOptionsDict],
) -> Examination:
    """Connect in many ways, about twenty times in a row, and tell what is wrong.

    It does not raise for what is wrong with the server, not even if there is none.

    Args:
        host: The server's name or address.
        port: Its port.
        starttls: The dialog before TLS: one of `PROTOCOLS`.
        http: Ask for a page and judge its headers. None: if the port is 443 or 8443, or ALPN chose
            HTTP.
        fetch: Async function(url) that returns the bytes at an address: revocation lists are
            checked with it, otherwise nothing is fetched. It raises OSError or TLSError if a list
            cannot be had.
        at: The instant at which certificates are judged, aware; None: now.
        timeout: Seconds for each connection.
        on_progress: Called with the name of each step before it begins.
        options: Options of `tlsio.connect`. With `alpn_protocols`, the server's choice is judged;
            with `cert` and `key`, whether it accepts them; with `identity` or
            `check_server_identity`, these instead of the host name.

    Raises:
        UsageError: a wrong option.
        ConfigError: a certificate or key that cannot be used.
        OSError: a file of an option cannot be read.
        Cancelled: the connections are closed.
    """
    target = Target(host=host, port=port, starttls=check_protocol(starttls), timeout=timeout, options=dict(options))
    for name, function in (("fetch", fetch), ("on_progress", on_progress)):
        if function is not None:
            check_function(name, function)
    doctor = _Doctor(target, check_instant("at", at), on_progress or _ignore)
    await doctor.run(http=http, fetch=fetch)
    return Examination(
        host=host,
        port=port,
        starttls=starttls,
        findings=sort_findings(doctor.findings),
        versions=doctor.protocols.names if doctor.protocols is not None else (),
        look=doctor.look,
        resumption=doctor.resumption,
    )


def _ignore(_: object) -> None:
    pass


class _Doctor:
    """One examination. A step that fails because the server vanishes ends it with that finding."""

    def __init__(self, target: Target, now: datetime, on_progress: Callable[[str], object]) -> None:
        self.target = target
        self.now = now
        self.findings: list[Finding] = []
        self.look: Look | None = None
        self.protocols: Protocols | None = None
        self.resumption: dict[str, Resumption] = {}
        self._attempts: list[Attempt] = []
        self._on_progress = on_progress
        self._patience = min(_PATIENCE, target.timeout)

    async def run(self, *, http: bool | None, fetch: Fetch | None) -> None:
        try:
            await self._run(http=http, fetch=fetch)
        except (UsageError, ConfigError):
            raise
        except (OSError, TLSError) as error:
            if isinstance(error, OSError) and error.filename is not None:  # a file of this machine
                raise
            self.findings.append(explain_unreachable(self.target, error))
        finally:
            for tried in self._attempts:
                _close(tried)

    async def _attempt(self, context: dict[str, Any] | None = None, **overrides: Any) -> Attempt:
        """Connect; the connection is closed at the end of the examination at the latest."""
        tried = await self.target.attempt(context, **overrides)
        self._attempts.append(tried)
        return tried

    async def _run(self, *, http: bool | None, fetch: Fetch | None) -> None:
        self._on_progress("handshake")
        recorder = SessionRecorder()
        tried = await self._attempt(session_cache=recorder)
        if _alert_of(tried) == "unrecognized_name":
            self.findings.append(found("sni-unknown", f"The server does not know the name {tried.side.server_name}."))
            return
        error = tried.error or await self._find_late_refusal(tried, recorder)
        judged, is_open = tried, error is None
        if error is not None:
            # Some servers serve one connection at a time: close this one before the next.
            _close(tried)
            if not await self._survey(tried):
                return
            judged, is_open = await self._find_another(tried, error)
        await self._judge(judged, fetch)
        if is_open:
            self._check_alpn(judged)
            await self._check_http(judged, http=http)
        _close(judged)
        if error is not None and not any(one.severity == "error" for one in self.findings):
            self.findings.append(self._explain_refusal(error))
        if self.protocols is None:
            await self._survey(judged)
        if is_open:
            await self._check_sessions()

    async def _survey(self, tried: Attempt) -> bool:
        """Ask by hand what the server takes; tell whether it speaks TLS."""
        self._on_progress("protocols")
        # A server that has just said nothing for the whole timeout gets less time for the same.
        patience = min(_PATIENCE_AFTER_SILENCE, self._patience) if isinstance(tried.error, HandshakeTimeoutError) else self._patience
        self.protocols = await survey(self.target, tried.side.server_name, patience=patience)
        if self.protocols.speaks_tls:
            self.findings += check_protocols(self.protocols)
        elif tried.socket is None:
            self.findings.append(explain_answer(self.protocols.first))
        return self.protocols.speaks_tls

    # ---- the connection that is judged

    async def _find_another(self, tried: Attempt, error: TLSError) -> tuple[Attempt, bool]:
        """Explain a failed connection; return another one, and whether other clients get it."""
        if error.alert == "no_application_protocol":
            self.findings.append(found("alpn-refused", f"The server has none of the protocols {_names(tried.side)}."))
            return await self._retry(tried, {"alpn_protocols": []})
        if _asks_certificate(tried.side):
            self.findings += check_refusal(tried.side, error, now=self.now)
            return tried, False
        newer, is_open = await self._retry(tried, {"max_version": "TLSv1.2"})
        if is_open:
            self.findings.append(found("version-intolerant", f"The server fails when TLS 1.3 is offered: {error.message}."))
            return newer, True
        lenient, _ = await self._retry(tried, {**_LENIENT, "ecdh_curve": _find_groups()})
        return lenient, False

    async def _retry(self, tried: Attempt, context: dict[str, Any]) -> tuple[Attempt, bool]:
        again = await self._attempt(context)
        return (again, True) if again.socket is not None else (tried, False)

    def _explain_refusal(self, error: TLSError) -> Finding:
        protocols = self.protocols
        modern = protocols.modern if protocols is not None else None
        if error.alert in {"handshake_failure", "insufficient_security"} and modern is not None and modern.kind != "hello":
            return found("no-common-suite", f"The server has no suite that this client offers: {error.message}.")
        return found("handshake-failed", f"{error.message}.", error.hint)

    async def _find_late_refusal(self, tried: Attempt, recorder: SessionRecorder) -> TLSError | None:
        """Wait for the server to judge the client: in TLS 1.3 that comes after the handshake."""
        if tried.socket is None or tried.socket.get_protocol() != "TLSv1.3" or not _asks_certificate(tried.side):
            return None
        failed: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        @tried.socket.on("error")
        def fail(error: Exception) -> None:
            failed.set_result(error)

        arrived: asyncio.Future[object] = asyncio.ensure_future(recorder.arrived.wait())
        try:
            await asyncio.wait({failed, arrived}, timeout=min(TICKET_PATIENCE, self._patience), return_when=asyncio.FIRST_COMPLETED)
        finally:
            arrived.cancel()
        tried.socket.off("error", fail)
        tried.socket.on("error", _ignore)
        error = failed.result() if failed.done() else None
        return error if isinstance(error, TLSError) else None

    def _check_alpn(self, tried: Attempt) -> None:
        offered = tried.side.context.options.alpn_protocols
        if not offered or tried.socket is None:
            return
        chosen = tried.socket.alpn_protocol
        if chosen is None:
            self.findings.append(found("alpn-ignored", f"The server chose none of the protocols {_names(tried.side)}."))
        elif chosen != offered[0].decode("latin-1"):
            self.findings.append(found("alpn-second", f"The server chose {chosen}, not {offered[0].decode('latin-1')}."))

    # ---- the certificate

    async def _judge(self, judged: Attempt, fetch: Fetch | None) -> None:
        if not judged.side.connection.peer_chain:
            return
        if judged.socket is not None:
            self.look = look_at(self.target, judged.socket, judged.side)
        self._on_progress("certificate")
        facts, findings = judge_certificate(judged.side, self.target.host, now=self.now)
        self.findings += findings
        if fetch is not None and facts.path and not is_untrusted(facts):
            self._on_progress("revocation")
            self.findings += [one async for one in check_lists(facts.path, fetch, now=self.now)]

    # ---- HTTP

    async def _check_http(self, judged: Attempt, *, http: bool | None) -> None:
        if judged.socket is None:
            return
        chosen = judged.socket.alpn_protocol
        if http is False or (http is None and self.target.port not in _HTTPS_PORTS and chosen not in {"h2", "http/1.1"}):
            return
        self._on_progress("http")
        if chosen not in {None, "http/1.1"}:
            _close(judged)
            judged, _ = await self._retry(judged, {"alpn_protocols": ["http/1.1"]})
        if judged.socket is None:
            return
        host = judged.side.host or self.target.host
        response = await ask_http(judged.socket, host, patience=self._patience)
        _close(judged)
        if response is not None:
            self._judge_response(response, host)

    def _judge_response(self, response: Response, host: str) -> None:
        ids = {one.id for one in self.findings}
        if ids & {"other-server", "wrong-host"}:
            if portal := find_portal(response, host):
                self.findings.append(portal)
            return
        findings = list(check_response(response, now=self.now, is_address=_is_address(host)))
        if ids & {"expired", "not-yet-valid"} and any(one.id == "server-clock" for one in findings):
            # Two witnesses against this machine's clock.
            clock = next(one for one in findings if one.id == "server-clock")
            findings[findings.index(clock)] = found("clock", clock.reason)
        self.findings += findings

    # ---- sessions

    async def _check_sessions(self) -> None:
        self._on_progress("sessions")
        assert self.protocols is not None  # noqa: S101 - for the type checker
        for version in ("TLSv1.3", "TLSv1.2"):
            if version in self.protocols.names:
                self.resumption[version] = await check_resumption(self.target, version)
        self.findings += check_sessions(self.resumption)
        if self.target.starttls in PIPELINED and (obeyed := await check_pipelining(self.target, patience=min(_QUIET, self._patience))):
            self.findings.append(obeyed)
        if "TLSv1.2" in self.protocols.names and (allowed := await check_renegotiation(self.target, patience=self._patience)):
            self.findings.append(allowed)


def judge_certificate(side: ObservedHandshake, host: str, *, now: datetime) -> tuple[ChainFacts, list[Finding]]:
    """Return the facts about a server's chain, and what is wrong with it and its staple."""
    connection = side.connection
    leaf = next(iter(read_all(connection.peer_chain[:1])), None)
    names = list(check_identity(side, host, leaf)) if leaf is not None else []
    facts = ChainFacts(
        sent=connection.peer_chain,
        verified=connection.verified_chain,
        errors=connection.verify_errors,
        now=now,
        find_roots=side.context.find_roots,
        # It is for the host, in a form that is obsolete: no other server answered.
        name_fits=all(one.id == "name-only-in-cn" for one in names),
    )
    findings = list(check_chain(facts))
    if not any(one.id == "other-server" for one in findings):  # whose names say nothing about the right one's
        findings = [*names, *findings]
    if facts.path and not is_untrusted(facts):
        findings += check_staple(side.stapled, facts.path, now=now)
        if not any(one.severity == "error" for one in findings):  # which a stricter verifier would only repeat
            findings += check_strict(facts, side.context.roots)
    refused = side.verdict.error if side.verdict is not None else None
    if isinstance(refused, TLSError) and not connection.verify_errors and not any(one.severity == "error" for one in findings):
        # An option of the caller requires more, such as fetch_crl= or ocsp=.
        findings.append(found("revoked" if refused.code == "CERT_REVOKED" else "not-trusted", f"{refused.message}.", refused.hint))
    return facts, findings


@cache
def _find_groups() -> str:
    """Return the groups that this OpenSSL supports."""
    return ":".join(filter(_is_supported, _GROUPS))


def _is_supported(group: str) -> bool:
    try:
        create_secure_context(ecdh_curve=group)
    except ConfigError:
        return False
    return True


def sort_findings(findings: list[Finding]) -> tuple[Finding, ...]:
    """Return each finding once, the worst first."""
    return tuple(sorted(dict.fromkeys(findings), key=lambda one: _SEVERITIES.index(one.severity)))


def _alert_of(tried: Attempt) -> str | None:
    return tried.error.alert if isinstance(tried.error, AlertReceived) else None


def _asks_certificate(side: ObservedHandshake) -> bool:
    connection = side.connection
    return bool(connection.requested_authorities or connection.shared_sigalgs or side.was_asked)


def _names(side: ObservedHandshake) -> str:
    return ", ".join(name.decode("latin-1") for name in side.context.options.alpn_protocols or ())


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _close(tried: Attempt) -> None:
    if tried.socket is not None:
        tried.socket.destroy()
