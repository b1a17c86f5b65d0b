"""One connection, and everything that can be said about it."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tlsio.connection.client.connecting import Connecting
from tlsio.model.codes import x509_text
from tlsio.model.errors import TLSError
from tlsio.probe.plain import as_fields
from tlsio.probe.resumption import TICKET_PATIENCE, check_resumption, find_refusal
from tlsio.probe.starttls import check_protocol
from tlsio.probe.target import Target
from tlsio.trust.certificate import read_all, read_verified
from tlsio.trust.identity import warn_of_common_name
from tlsio.trust.names import describe_name
from tlsio.trust.ocsp import judge_response

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self, Unpack

    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.model.options.connect import ConnectOptionsDict
    from tlsio.probe.resumption import Resumption
    from tlsio.probe.target import ObservedHandshake
    from tlsio.trust.certificate import PeerCertificate

__all__ = ["Certificate", "CertificateRequest", "Judgement", "Look", "Staple", "connect", "describe", "look_at"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate of the server's chain.

    Attributes:
        subject: Its name.
        issuer: Its issuer's name.
        names: The names of its subjectAltName, such as "DNS:example.org".
        not_before: The first moment of its validity, None if that cannot be read.
        not_after: The last one.
        key: Type and size of its key, such as "RSA 2048", "EC P-256".
        signature: The hash that its issuer signed, such as "sha256"; None if there is none.
        serial_number: In hexadecimal.
        fingerprint256: SHA-256 of the certificate, in hexadecimal.
        pin: SHA-256 of its key in the form of `pins=`.
        is_ca: It may issue certificates.
        sent: The server sent it; otherwise it comes from the trusted roots.
        reasons: What OpenSSL objects to in it.
        der: The certificate itself.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime | None
    not_after: datetime | None
    key: str
    signature: str | None
    serial_number: str
    fingerprint256: str
    pin: str
    is_ca: bool
    sent: bool
    reasons: tuple[str, ...] = ()
    der: bytes = field(repr=False, metadata={"plain": False})

    @property
    def title(self) -> str:
        """What messages call it: its subject, or without one its first name."""
        return next(read_all((self.der,))).title


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Whether tlsio accepts the server, and why not.

    Attributes:
        authorized: The chain is trusted, the name fits, and every other check passed.
        code: The code of the deciding cause.
        reasons: The code of every cause.
        message: The error's message.
        hint: What to do.
        warning: Why other clients may refuse a server that is accepted: its name is only in the
            subject of the certificate. None if there is nothing to warn of.
    """

    authorized: bool
    code: str | None = None
    reasons: tuple[str, ...] = ()
    message: str | None = None
    hint: str | None = None
    warning: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Staple:
    """The OCSP response that the server stapled.

    Attributes:
        is_good: It is valid, and says that the certificate is.
        code: The code of the error, such as "CERT_REVOKED".
        message: The error.
        this_update: The time for which the status is known.
        next_update: The end of its validity.
    """

    is_good: bool
    code: str | None = None
    message: str | None = None
    this_update: datetime | None = None
    next_update: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRequest:
    """The server's request for a client certificate.

    Attributes:
        authorities: The names of the authorities that it accepts; () if it does not say.
        signatures: The signature algorithms that both sides know.
    """

    authorities: tuple[str, ...]
    signatures: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one connection showed; leave it by `async with`, or by `aclose`.

    Attributes:
        host: The host that was asked for.
        port: Its port.
        address: The address that answered.
        starttls: The dialog before TLS.
        seconds: How long reaching the server and the handshake took.
        version: The protocol's version, such as "TLSv1.3".
        suite: The cipher suite by OpenSSL's name.
        standard_suite: By the RFCs' name.
        group: The group of the key exchange; None without one.
        signature: How the server signed, such as "ECDSA+SHA256".
        alpn: The protocol that was agreed on.
        server_name: The name that was sent (SNI).
        extended_master_secret: RFC 7627 is used; always in TLS 1.3.
        secure_renegotiation: RFC 5746 is supported; always in TLS 1.3.
        verdict: Whether the server is accepted.
        chain: The path from the server's certificate to a root, as far as it was found.
        missing_issuer: The name of the issuer at which the path ends early; None if it is complete.
        unused: What the server sent beside the path.
        sent_order: The index in `chain` of each certificate sent, None for unused ones.
        staple: The OCSP response; None without one.
        certificate_request: The server's request for a client certificate; None without one.
        refusal: Why the server refused this client, which in TLS 1.3 it says after the handshake;
            None if it did not.
        resumption: By version, whether sessions can be resumed; None: it was not tried.
        socket: The open connection. None if the server was refused, unless `reject_unauthorized=`
            is False.
    """

    host: str
    port: int
    address: str | None
    starttls: str | None
    seconds: float
    version: str
    suite: str
    standard_suite: str
    group: str | None
    signature: str | None
    alpn: str | None
    server_name: str | None
    extended_master_secret: bool
    secure_renegotiation: bool
    verdict: Judgement
    chain: tuple[Certificate, ...]
    missing_issuer: str | None
    unused: tuple[Certificate, ...]
    sent_order: tuple[int | None, ...]
    staple: Staple | None
    certificate_request: CertificateRequest | None
    refusal: str | None = None
    resumption: dict[str, Resumption] | None = None
    socket: TLSSocket | None = field(default=None, repr=False, metadata={"plain": False})

    def as_json(self) -> dict[str, Any]:
        """Return all of it but the socket as plain data for JSON."""
        return as_fields(self)

    async def aclose(self) -> None:
        """Close the connection, if it is open."""
        if self.socket is not None:
            await self.socket.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.socket is not None:
            await self.socket.__aexit__(kind, error, trace)


def connect(
    host: str,
    port: int,
    *,
    starttls: str | None = None,
    resumption: bool = False,
    timeout: float = 10.0,
    **options: Unpack[ConnectOptionsDict],
) -> Connecting[Look]:
    """Connect, and say what was negotiated and what the server's certificate is worth.

    `await` it, or use `async with`, as with `tlsio.connect`.

    A server whose certificate is refused is described too; its connection is closed, unless
    `reject_unauthorized=False` was given.

    Args:
        host: The server's name or address.
        port: Its port.
        starttls: The dialog before TLS: one of `PROTOCOLS`.
        resumption: Also try whether sessions are resumed, with up to four connections more.
        timeout: Seconds for each connection.
        options: Options of `tlsio.connect`.

    Raises:
        UsageError: a wrong option.
        OSError: the server cannot be reached.
        TLSError: there was no handshake.
        Cancelled: the connections are closed.
    """
    return Connecting(_connect(host, port, starttls, timeout, dict(options), resumption=resumption), "tlsio.probe.connect")


async def _connect(host: str, port: int, starttls: str | None, timeout: float, options: dict[str, Any], *, resumption: bool) -> Look:  # noqa: ASYNC109
    judges = options.get("reject_unauthorized") is not False
    target = Target(host=host, port=port, starttls=check_protocol(starttls), timeout=timeout, options=options, judges=judges)
    found = None
    if resumption:
        found = {version: await check_resumption(target, version) for version in ("TLSv1.2", "TLSv1.3")}
    start = time.perf_counter()
    made, side = await target.secure()
    seconds = time.perf_counter() - start
    is_kept = side.verdict is not None and (side.verdict.authorized or options.get("reject_unauthorized") is False)
    try:
        seen = look_at(target, made, side, seconds=seconds, resumption=found, keep=is_kept)
        if seen.certificate_request is None:
            return seen
        refusal = await find_refusal(made, min(TICKET_PATIENCE, timeout) if is_kept else 0)
        return seen if refusal is None else replace(seen, refusal=refusal.message if isinstance(refusal, TLSError) else str(refusal))
    except BaseException:
        is_kept = False
        raise
    finally:
        if not is_kept:
            made.destroy()


def look_at(
    target: Target,
    made: TLSSocket,
    side: ObservedHandshake,
    *,
    seconds: float = 0.0,
    resumption: dict[str, Resumption] | None = None,
    keep: bool = False,
) -> Look:
    """Read the facts of an open connection."""
    connection = side.connection
    cipher = made.get_cipher() or {}
    chain = _describe_chain(connection.peer_chain, connection.verified_chain, connection.verify_errors)
    path = tuple(one.der for one in chain)
    unused = [der for der in connection.peer_chain if der not in path]
    is_requested = bool(connection.requested_authorities or connection.shared_sigalgs)
    top = next(iter(read_all(path[-1:])), None)
    address = made.remote_address
    return Look(
        host=target.host,
        port=target.port,
        address=address,
        starttls=target.starttls,
        seconds=seconds,
        version=made.get_protocol() or "",
        suite=cipher.get("name", ""),
        standard_suite=cipher.get("standard_name", ""),
        group=_name_group(connection.key_info),
        signature=connection.peer_signature,
        alpn=made.alpn_protocol,
        server_name=made.servername,
        extended_master_secret=connection.has_extended_master_secret,
        secure_renegotiation=connection.has_secure_renegotiation,
        verdict=_describe_verdict(side),
        chain=chain,
        missing_issuer=None if top is None or top.issuer == top.subject else top.issuer_text,
        unused=tuple(describe(one, is_sent=True) for one in read_all(unused)),
        sent_order=tuple(path.index(der) if der in path else None for der in connection.peer_chain),
        staple=_describe_staple(side),
        certificate_request=CertificateRequest(
            authorities=tuple(map(describe_name, connection.requested_authorities)),
            # Both kinds of RSA key have the same name for PSS, and EdDSA has no hash ("UNDEF").
            signatures=tuple(dict.fromkeys(name.removesuffix("+UNDEF") for name in connection.shared_sigalgs)),
        )
        if is_requested
        else None,
        resumption=resumption,
        socket=made if keep else None,
    )


def _name_group(info: tuple[str, str | None, int] | None) -> str | None:
    if info is None:
        return None
    kind, name, bits = info
    return name or f"{kind} {bits}"


def _describe_verdict(side: ObservedHandshake) -> Judgement:
    verdict = side.verdict
    if verdict is None or verdict.error is None:
        is_authorized = verdict is not None and verdict.authorized
        return Judgement(authorized=is_authorized, warning=_warn(side) if is_authorized else None)
    error = verdict.error
    notes = [note for note in getattr(error, "__notes__", ()) if note.startswith("Another cause: ")]
    message = error.message if isinstance(error, TLSError) else str(error)
    return Judgement(
        authorized=False,
        code=verdict.authorization_error,
        reasons=verdict.reasons,
        message=" ".join([message, *notes]),
        hint=getattr(error, "hint", None),
    )


def _warn(side: ObservedHandshake) -> str | None:
    options, leaf = side.options, next(iter(read_all(side.connection.peer_chain[:1])), None)
    has_own_check = options.check_server_identity is not None or options.identity is not None
    return None if leaf is None or has_own_check or side.host is None else warn_of_common_name(side.host, leaf)


def _describe_chain(sent: tuple[bytes, ...], verified: tuple[bytes, ...], errors: tuple[tuple[int, int], ...]) -> tuple[Certificate, ...]:
    found = []
    for depth, one in enumerate(read_verified(verified or sent[:1])):
        reasons = dict.fromkeys(x509_text(number) for number, at in errors if at == depth)
        found.append(describe(one, is_sent=one.raw in sent, reasons=tuple(reasons)))
    return tuple(found)


def describe(one: PeerCertificate, *, is_sent: bool, reasons: tuple[str, ...] = ()) -> Certificate:
    """Return the fields of a certificate that people look at."""
    return Certificate(
        subject=one.subject_text,
        issuer=one.issuer_text,
        names=tuple(map(str, one.general_names)),
        not_before=one.not_before,
        not_after=one.not_after,
        key=describe_key(one),
        signature=find_hash(one),
        serial_number=one["serial_number"] or "",
        fingerprint256=one["fingerprint256"],
        pin=f"sha256/{base64.b64encode(one.spki_sha256).decode()}",
        is_ca=one.is_ca,
        sent=is_sent,
        reasons=reasons,
        der=one.raw,
    )


def describe_key(one: PeerCertificate) -> str:
    """Return type and size of a certificate's key."""
    curve, bits = one["nist_curve"] or one["asn1_curve"], one["bits"]
    if curve:
        return f"EC {curve}"
    if one["modulus"]:
        return f"RSA {bits}"
    return "other"


def find_hash(one: PeerCertificate) -> str | None:
    """Return the name of the hash that the issuer signed; None if there is none."""
    try:
        return one.signed.hash_name
    except ValueError:
        return None


def _describe_staple(side: ObservedHandshake) -> Staple | None:
    connection = side.connection
    if side.stapled is None:
        return None
    leaf, *issuers = read_verified((connection.verified_chain or connection.peer_chain)[:2])
    status = judge_response(side.stapled, leaf, issuers[0] if issuers else None, now=datetime.now(UTC))
    error = status.error
    return Staple(
        is_good=error is None and status.is_conclusive,
        code=None if error is None else error.code,
        message=None if error is None else error.message,
        this_update=status.this_update,
        next_update=status.next_update,
    )
