"""The engine's record of a failed connection, as a value."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Fault", "FaultKind", "FaultLimit", "Role"]

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
