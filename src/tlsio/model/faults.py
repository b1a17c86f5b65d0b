"""The engine's record of a failed connection, as a value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

__all__ = ["MAX_OFFERED", "ClientOffer", "Fault", "FaultKind", "FaultLimit", "LocalSide", "OwnCertificate", "Role"]

Role: TypeAlias = Literal["client", "server"]

FaultKind: TypeAlias = Literal["ssl", "alert", "verify", "hangup", "unanswered", "os", "limit", "timeout", "refused", "memory"]

FaultLimit: TypeAlias = Literal[
    "", "handshake_bytes", "key_updates", "partial_record", "dh_size", "renegotiations", "renegotiation_off", "certificate_requests"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What the engine recorded about a failure: OpenSSL's queue, alerts and verify result.

    Attributes:
        kind: What ended the connection. `"hangup"`: the peer disconnected before the handshake was
            done. `"unanswered"`: the peer has closed its side, so it cannot answer another
            handshake. `"refused"`: a hook or a check of the local side refused the peer.
        role: The local side.
        opened: The handshake was complete.
        library: OpenSSL's name of the library that failed, `"SSL routines"`.
        reason: OpenSSL's text, `"wrong version number"`. It changes between versions.
        reason_code: OpenSSL's number for it (`ERR_GET_REASON`). It does not change.
        stack: OpenSSL's whole error queue, oldest first.
        alert_sent: Number of the fatal alert sent, -1 for none.
        alert_received: Number of the fatal alert received, -1 for none.
        verify_errors: Pairs of X509_V_ERR number and depth in the order found. Node's code is that
            of the last one.
        os_errno: errno of the failed system call, 0 for none.
        first_bytes: The first bytes from the peer, at most 16.
        limit: The limit that was exceeded, for `kind="limit"`.
        certificate_requested: This side is the client, and the server asked for its certificate.
        psk: A `psk_callback` is set.
    """

    kind: FaultKind
    role: Role
    opened: bool = False
    library: str = ""
    reason: str = ""
    reason_code: int = 0
    stack: tuple[str, ...] = ()
    alert_sent: int = -1
    alert_received: int = -1
    verify_errors: tuple[tuple[int, int], ...] = ()
    os_errno: int = 0
    first_bytes: bytes = b""
    limit: FaultLimit = ""
    certificate_requested: bool = False
    psk: bool = False


# As in facts.pxi.
MAX_OFFERED = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOffer:
    """What a client offers, as far as OpenSSL has read its hello.

    Attributes:
        version: The version field of the hello; 0 if it was not read.
        suites: OpenSSL's names of the first `MAX_OFFERED` cipher suites.
        groups: OpenSSL's names of the groups; () if there are more than `MAX_OFFERED`.
        signatures: Numbers of the signature algorithms; () if there are more than `MAX_OFFERED`.
    """

    version: int = 0
    suites: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    signatures: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCertificate:
    """The certificate that the local side presents.

    Attributes:
        subject: Its subject, for messages.
        issuer: Its issuer, for messages.
        key: The type of its key: `"RSA"` or `"EC"`; `""` for others, and if there are several
            certificates, of which none has been chosen.
        not_before: None if it cannot be read.
        not_after: None if it cannot be read.
        is_self_signed: It is its own issuer.
        fits_role: Its extendedKeyUsage allows this side of TLS.
        intermediates: How many certificates are sent after it.
    """

    subject: str
    issuer: str
    key: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    is_self_signed: bool = False
    fits_role: bool = True
    intermediates: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSide:
    """What is known about the local side of a failed handshake, for hints.

    Attributes:
        now: The time of the failure, aware; None if unknown.
        min_version: The oldest version that is allowed.
        max_version: The newest version that is allowed.
        narrowed: The options that were given and that leave something out, with their values as
            text.
        server_name: The name that the client sent; None if it sent none.
        certificate: The certificate that this side presents.
        offer: What the client offers, on a server.
    """

    now: datetime | None = None
    min_version: str = "TLSv1.2"
    max_version: str = "TLSv1.3"
    narrowed: Mapping[str, str] = field(default_factory=dict)
    server_name: str | None = None
    certificate: OwnCertificate | None = None
    offer: ClientOffer = ClientOffer()
