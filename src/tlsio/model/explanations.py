"""Turns what the engine saw into an error that names the cause, the side at fault and the remedy.

OpenSSL says "wrong version number" when a port speaks HTTP, and "handshake failure" when a client certificate is missing. So the
first bytes of the peer, the alerts and OpenSSL's reason numbers are read together. Numbers decide, not texts: the texts changed
with OpenSSL 3.2 ("sslv3 alert ..." became "ssl/tls alert ...") and 4.0 ("tls alert ..."). Codes stay Node's, which are made of
those texts: `ERR_SSL_` and the reason in capitals.
"""

import errno
import os
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from tlsio.model.codes import alert_name, alert_number, x509_code, x509_text
from tlsio.model.errors import (
    AlertReceived,
    CertificateError,
    ConfigError,
    ConnectionLostError,
    HandshakeError,
    HandshakeTimeoutError,
    PeerError,
    TLSError,
)
from tlsio.model.faults import Fault

__all__ = ["NO_ANSWER_HINT", "TRUNCATION_HINT", "error_from_fault"]

# Node's words.
_CLIENT_HANGUP = "Client network socket disconnected before secure TLS connection was established"
_SERVER_HANGUP = "socket hang up"

# OpenSSL reports an alert that came as SSL_AD_REASON_OFFSET and its number.
_ALERT_REASONS = range(1000, 1256)

_SSL_LIBRARY = "SSL routines"

# A fatal alert as the peer's first record, in the clear: type 21, version 3.x, two bytes, level 2.
_ALERT_RECORD = re.compile(rb"\x15\x03.\x00\x02\x02(.)", re.DOTALL)

# Record types 20 to 24 of version 3.x; or an SSL 2.0 hello, which some old clients still begin with.
_TLS_RECORD = re.compile(rb"[\x14-\x18]\x03|\x80.\x01", re.DOTALL)


class _Cause(NamedTuple):
    """A usual mistake, and its remedy as seen from each side."""

    text: str
    client: str
    server: str

    def mend(self, fault: Fault) -> str:
        return self.client if fault.role == "client" else self.server


def error_from_fault(fault: Fault, *, host: str | None = None) -> TLSError:
    """Turn what the engine saw into the error that the user gets.

    Pure: nothing is read but the arguments. Verdicts on certificates with all their causes are made in `trust`; this
    knows those that the engine met on its own.

    Args:
        fault: What the engine saw.
        host: What the peer was looked for as, for the message.

    Returns:
        The error, not raised: class by whose fault it is, Node's code, alert, OpenSSL's reason, hint.
    """
    if fault.kind == "ssl" and fault.alert_sent == _BAD_STATUS_RESPONSE:
        return _explain_status(fault)
    peer = _name_peer(fault, host)
    alert = _find_alert_received(fault)
    if alert >= 0:
        return _explain_alert(fault, peer, alert)
    explain = _EXPLANATIONS.get(fault.kind, _explain_ssl)
    return explain(fault, peer)


def _name_peer(fault: Fault, host: str | None) -> str:
    peer = "The server" if fault.role == "client" else "The client"
    return f"{peer} {host}" if host else peer


def _sent(fault: Fault) -> str | None:
    return alert_name(fault.alert_sent) if fault.alert_sent >= 0 else None


def _find_alert_received(fault: Fault) -> int:
    """Find the fatal alert that came: told by the engine, by OpenSSL's reason, or seen as the peer's only record."""
    if fault.alert_received >= 0:
        return fault.alert_received
    if _is_ssl_reason(fault) and fault.reason_code in _ALERT_REASONS:
        return fault.reason_code - _ALERT_REASONS.start
    record = _ALERT_RECORD.match(fault.first_bytes)
    if record and not fault.opened and fault.kind in ("ssl", "hangup", "os"):
        return record[1][0]
    return -1


def _is_ssl_reason(fault: Fault) -> bool:
    """Tell whether the reason's number is one of libssl's; each library of OpenSSL counts from 100."""
    return fault.library in ("", _SSL_LIBRARY)


def _node_code(fault: Fault, default: str) -> str:
    return f"ERR_SSL_{fault.reason.upper().replace(' ', '_')}" if fault.reason else default


# ---- alerts that came ------------------------------------------------------------------------------------------------


def _explain_alert(fault: Fault, peer: str, alert: int) -> AlertReceived:
    name = alert_name(alert)
    cause = (fault.psk and _PSK_ALERT_CAUSES.get(alert)) or _ALERT_CAUSES.get(alert, _UNKNOWN_ALERT)
    if alert == _HANDSHAKE_FAILURE and fault.certificate_requested:
        cause = _CLIENT_CERTIFICATE_WANTED
    did = "ended the connection" if fault.opened else "refused the handshake"
    return AlertReceived(
        f"{peer} {did} with the alert {name}: {cause.text}",
        code=_node_code(fault, f"ERR_SSL_ALERT_{name.upper().replace(' ', '_')}"),
        alert=name,
        reason=fault.reason or None,
        hint=cause.mend(fault),
        openssl_errors=fault.stack,
    )


_HANDSHAKE_FAILURE = 40

_NOT_OF_SERVERS = "We are a server, and clients do not ask for this: the fault is on the client's side."
_PEER_LOG = "Look into the server's log."

_UNKNOWN_ALERT = _Cause("it gave no reason that is known", _PEER_LOG, "Look into the client's log.")

_CLIENT_CERTIFICATE_WANTED = _Cause(
    "it asked for a client certificate and got none that it accepts",
    "Give cert and key, with a certificate of an authority that the server trusts.",
    _NOT_OF_SERVERS,
)

_BROKEN_BYTES = _Cause(
    "what reached it was not what we sent, or not what it understands",
    "Something between may change the bytes (a proxy, a middlebox), or the server's TLS is at fault.",
    "Something between may change the bytes (a proxy, a middlebox), or the client's TLS is at fault.",
)

_OUR_CERTIFICATE = _Cause(
    "it does not accept our certificate",
    "Give a client certificate, in cert and key, that the server accepts; it judges trust, dates, purpose and name.",
    "The client judges trust, dates, name and pins: check what it connects to, and which authorities it trusts.",
)

_NO_COMMON_VERSION = _Cause(
    "no common protocol version",
    "Compare min_version and max_version with the versions the server speaks; an old server has to be updated.",
    "Compare min_version and max_version with the versions the client offers; an old client has to be updated.",
)

_NO_COMMON_ALPN = _Cause(
    "no common ALPN protocol",
    "Offer in alpn_protocols what the server speaks, or leave the option out.",
    "Add what the client offers to alpn_protocols, or set alpn_mismatch='continue'.",
)

_TOO_WEAK = _Cause(
    "what we offer is too weak for it",
    "Leave ciphers, sigalgs and ecdh_curve at their defaults, and use larger keys.",
    "Leave ciphers, sigalgs and ecdh_curve at their defaults, and use larger keys.",
)

_ALERT_CAUSES: Mapping[int, _Cause] = {
    0: _Cause(
        "it closed before the handshake was done",
        "Look into the server's log; it may refuse this address or name.",
        "The client gave up: it may have been stopped, or not liked our certificate.",
    ),
    10: _BROKEN_BYTES,
    20: _BROKEN_BYTES,
    22: _BROKEN_BYTES,
    _HANDSHAKE_FAILURE: _Cause(
        "nothing in common, most often no cipher",
        "Compare ciphers, sigalgs and ecdh_curve with what the server speaks; it may also want another servername, or have no certificate.",
        "Compare ciphers, sigalgs and ecdh_curve with what the client speaks, and the type of the certificate's key.",
    ),
    41: _OUR_CERTIFICATE,
    42: _OUR_CERTIFICATE,
    43: _OUR_CERTIFICATE._replace(text="it cannot use the type of our certificate or its purpose"),
    44: _Cause("our certificate is revoked", "Get a new client certificate.", "Get a new certificate and set it in cert and key."),
    45: _Cause(
        "our certificate has expired, or its clock is wrong",
        "Renew the client certificate.",
        "Renew the certificate in cert, and check the client's clock.",
    ),
    46: _OUR_CERTIFICATE,
    47: _BROKEN_BYTES,
    48: _Cause(
        "it does not trust the authority of our certificate",
        "Use a client certificate of an authority that the server has in its ca, and send the intermediates in cert.",
        "Give the client our authority (its option ca), and send the intermediates behind our certificate in cert.",
    ),
    49: _Cause(
        "it accepts our certificate, but not us",
        "Ask the server's owner for access.",
        "The client's own rules refuse this server.",
    ),
    50: _BROKEN_BYTES,
    51: _Cause(
        "a signature or a secret does not fit",
        "Check that key belongs to cert and, with pre-shared keys, that both sides have the same.",
        "Check that key belongs to cert and, with pre-shared keys, that both sides have the same.",
    ),
    70: _NO_COMMON_VERSION,
    71: _TOO_WEAK,
    80: _Cause("it failed for reasons of its own", _PEER_LOG, "Look into the client's log."),
    86: _Cause(
        "it takes us for a client that was pushed to an older version",
        "Leave max_version out: the server speaks a newer one.",
        _NOT_OF_SERVERS,
    ),
    90: _Cause("its user stopped it", "Try again.", "The client's user stopped it; there is nothing to mend."),
    112: _Cause(
        "it serves no such name",
        "Check servername: it is host unless given, and '' sends none.",
        _NOT_OF_SERVERS,
    ),
    115: _Cause("it does not know the identity of our pre-shared key", "Compare identities with the server's.", _NOT_OF_SERVERS),
    116: _CLIENT_CERTIFICATE_WANTED,
    120: _NO_COMMON_ALPN,
}


_PSK_SUITES = "Up to TLS 1.2 both sides have to name PSK suites in ciphers ('PSK' is all of them); in TLS 1.3 one with SHA-256."

_OTHER_KEY = _Cause(
    "most likely the pre-shared keys differ",
    "Compare the key that psk_callback returns with the server's for that identity.",
    "Compare the key that psk_callback returns for the identity with the client's.",
)

# Where a `psk_callback` is set. In TLS 1.2 a wrong key shows as a Finished that cannot be read; OpenSSL 3.0 has 47 for 51.
_PSK_ALERT_CAUSES: Mapping[int, _Cause] = {
    **dict.fromkeys((20, 47, 51), _OTHER_KEY),
    _HANDSHAKE_FAILURE: _Cause(
        "no cipher in common, or it knows no key for us",
        f"{_PSK_SUITES} Or the server does not know the identity and has no certificate.",
        f"{_PSK_SUITES} Or the client's psk_callback returned None.",
    ),
}


# ---- certificates that were refused ----------------------------------------------------------------------------------


def _explain_verify(fault: Fault, peer: str) -> CertificateError:
    if fault.role == "client" and fault.opened:  # the engine lets only the certificate renegotiate that was verified
        return CertificateError(
            f"{peer} renegotiated with another certificate than the one that was verified",
            code="ERR_TLS_CERTIFICATE_CHANGED",
            alert=_sent(fault),
            reason=fault.reason or None,
            hint="Either the server changed its certificate after the session was made that this connection resumed: connect without that "
            "session. Or the connection is intercepted.",
        )
    numbers = [number for number, _depth in fault.verify_errors]
    if not numbers:
        return CertificateError(f"{peer}'s certificate was refused", alert=_sent(fault), reason=fault.reason or None)
    return CertificateError(
        f"{peer}'s certificate was refused: {'; '.join(dict.fromkeys(map(x509_text, numbers)))}",
        code=x509_code(numbers[-1]),
        reasons=tuple(dict.fromkeys(map(x509_code, numbers))),
        alert=_sent(fault),
        reason=x509_text(numbers[-1]),
        openssl_errors=fault.stack,
    )


# From OpenSSL 3.6 on. Older ones hand the bytes on, and `trust.ocsp` finds the same.
_BAD_STATUS_RESPONSE = alert_number("bad_certificate_status_response")


def _explain_status(fault: Fault) -> CertificateError:
    return CertificateError(
        f"The OCSP response about the certificate cannot be read: {fault.reason or 'no reason given'}",
        code="OCSP_RESPONSE_MALFORMED",
        alert=_sent(fault),
        reason=fault.reason or None,
        openssl_errors=fault.stack,
    )


# ---- what OpenSSL refused --------------------------------------------------------------------------------------------


def _explain_ssl(fault: Fault, peer: str) -> TLSError:
    if not fault.opened and (spoken := _find_plain_text(fault)):
        return _make_ssl_error(fault, f"{peer} {spoken.text}", spoken.mend(fault))
    reason = fault.reason_code if _is_ssl_reason(fault) else 0
    if reason == _CERTIFICATE_VERIFY_FAILED:
        return _explain_verify(fault, peer)
    if reason == _NO_PEER_CERTIFICATE:
        return _explain_missing_certificate(fault, peer)
    if reason in _CONFIG_CAUSES:
        text, hint = _CONFIG_CAUSES[reason]
        return ConfigError(
            text, code=_node_code(fault, "ERR_SSL"), alert=_sent(fault), reason=fault.reason or None, hint=hint, openssl_errors=fault.stack
        )
    earlier = (fault.psk and _PSK_REASON_CAUSES.get(reason)) or _REASON_CAUSES.get(reason)
    cause = _LATER_REASON_CAUSES.get(reason) if fault.opened else earlier
    if cause:
        return _make_ssl_error(fault, f"TLS with {_lower(peer)} failed: {cause.text}", cause.mend(fault))
    return _make_ssl_error(fault, f"TLS with {_lower(peer)} failed: {fault.reason or 'no reason given'}", _hint_for_bytes(fault))


def _make_ssl_error(fault: Fault, message: str, hint: str | None) -> PeerError:
    kind = PeerError if fault.opened else HandshakeError
    return kind(
        message,
        code=_node_code(fault, kind.default_code),
        alert=_sent(fault),
        reason=fault.reason or None,
        hint=hint,
        openssl_errors=fault.stack,
    )


def _lower(peer: str) -> str:
    return peer[0].lower() + peer[1:]


def _explain_missing_certificate(fault: Fault, peer: str) -> CertificateError:
    return CertificateError(
        f"{peer} sent no certificate",
        code=_node_code(fault, "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        alert=_sent(fault),
        reason=fault.reason or None,
        hint="Give the client a certificate and key, or serve it without: request_cert=False, or reject_unauthorized=False.",
        openssl_errors=fault.stack,
    )


def _hint_for_bytes(fault: Fault) -> str | None:
    if fault.reason_code not in _BAD_RECORDS or not _is_ssl_reason(fault):
        return None
    if fault.opened:
        return "Something between may change the bytes, or somebody else writes into the same connection."
    if _TLS_RECORD.match(fault.first_bytes):
        return "It began as TLS: compare min_version and max_version on both sides; else something between changes the bytes."
    return "Check host, port and what is spoken there: these bytes are not TLS."


# Numbers of `openssl/sslerr.h`, which never change.
_CERTIFICATE_VERIFY_FAILED = 134
_NO_PEER_CERTIFICATE = 199

# wrong version number, packet length too long, bad record type, unexpected record, bad record mac, length mismatch
_BAD_RECORDS = frozenset({267, 198, 443, 245, 281, 159, 213})

_NO_COMMON_CIPHER = _Cause(
    "no common cipher",
    "Compare ciphers with what the server speaks.",
    "Compare ciphers, in TLS 1.2 ecdh_curve and sigalgs too, with what the client offers; a server without a certificate that fits them fails alike.",
)
_NO_COMMON_GROUP = _Cause(
    "no common group for the key exchange",
    "Compare ecdh_curve with what the server speaks.",
    "Compare ecdh_curve with what the client offers.",
)
_NO_COMMON_SIGNATURE = _Cause(
    "no common signature algorithm",
    "Compare sigalgs with what the server speaks, and with the type of our key.",
    "Compare sigalgs and the type of the certificate's key with what the client offers; a server without a certificate fails alike.",
)

_REASON_CAUSES: Mapping[int, _Cause] = {
    **dict.fromkeys((258, 396, 166, 266, 259), _NO_COMMON_VERSION),
    193: _NO_COMMON_CIPHER,
    **dict.fromkeys((101, 410, 295, 315, 378), _NO_COMMON_GROUP),
    **dict.fromkeys((376, 118, 297, 370, 333), _NO_COMMON_SIGNATURE),
    235: _NO_COMMON_ALPN,
    338: _Cause(
        "the peer does not know secure renegotiation (RFC 5746)",
        "The server has to be updated; SSL_OP_LEGACY_SERVER_CONNECT in secure_options accepts it with that hole.",
        "The client has to be updated.",
    ),
    373: _Cause(
        "the client was pushed to an older version than both speak",
        "Leave max_version out.",
        "An old client retries with less after a failure: look for the failure before this one.",
    ),
    394: _Cause(
        "the Diffie-Hellman parameters are too small",
        "The server has to use larger ones; leave DHE out of ciphers to do without.",
        "Use dhparam='auto'.",
    ),
    152: _Cause(
        "a handshake message is too large",
        "The server's certificate chain is most likely too long: it need not send its root.",
        "The client's certificate chain is most likely too long: it need not send its root.",
    ),
}

_NO_KEY = _Cause(
    "there is no pre-shared key for it",
    "psk_callback returned None: there is nothing to identify us with.",
    "psk_callback returned None for the client's identity, or it is not UTF-8.",
)
_NO_COMMON_KEY = _Cause(
    "no pre-shared key in common, and no certificate to show instead",
    _PSK_SUITES,
    f"{_PSK_SUITES} Or psk_callback returned None, or the client offered no key.",
)

_RENEGOTIATION_HINT = (
    "Many peers allow none. Ask for a certificate in the first handshake (request_cert=True), or use TLS 1.3, which asks later too."
)

# Of open connections.
_LATER_REASON_CAUSES: Mapping[int, _Cause] = {339: _Cause("it refuses to renegotiate", _RENEGOTIATION_HINT, _RENEGOTIATION_HINT)}

# psk identity not found; binder does not verify, decryption failed; no shared cipher, no suitable signature algorithm
_PSK_REASON_CAUSES: Mapping[int, _Cause] = {
    223: _NO_KEY,
    **dict.fromkeys((253, 281), _OTHER_KEY),
    **dict.fromkeys((193, 118), _NO_COMMON_KEY),
}

_CONFIG_CAUSES: Mapping[int, tuple[str, str]] = {
    191: ("No protocol version is left", "min_version must not be above max_version, nor secure_options exclude what lies between."),
    181: ("No cipher is left", "ciphers must name some for the versions from min_version to max_version."),
    177: ("There is no certificate to show", "Give cert and key."),
    179: ("There is no certificate to show", "Give cert and key."),
    190: ("There is no key for the certificate", "Give key."),
}


# ---- peers that do not speak TLS -------------------------------------------------------------------------------------


def _find_plain_text(fault: Fault) -> _Cause | None:
    """Recognise another protocol by its first bytes."""
    if not fault.first_bytes or _TLS_RECORD.match(fault.first_bytes):
        return None
    return next((cause for pattern, cause in _PLAIN_TEXTS if pattern.match(fault.first_bytes)), None)


_PLAIN_TEXTS: tuple[tuple[re.Pattern[bytes], _Cause], ...] = (
    (
        re.compile(rb"CONNECT "),
        _Cause(
            "asks for a proxy: it spoke plain HTTP to a TLS port",
            "Nobody should ask a client for that: check port.",
            "This port is no proxy: correct the client's proxy settings.",
        ),
    ),
    (
        re.compile(rb"(GET|POST|PUT|HEAD|DELETE|OPTIONS|PATCH|TRACE|PRI) "),
        _Cause(
            "spoke plain HTTP to a TLS port",
            "Nobody should ask a client for that: check port.",
            "Let the client use https://, or serve plain HTTP on another port.",
        ),
    ),
    (
        re.compile(rb"HTTP/"),
        _Cause(
            "answered in plain HTTP: the port does not speak TLS",
            "Use the server's HTTPS port (443 where plain HTTP is on 80), or speak HTTP without TLS.",
            "Whoever connected sends answers before questions: check what connects here.",
        ),
    ),
    (
        re.compile(rb"SSH-"),
        _Cause(
            "speaks SSH, not TLS",
            "Check port: 22 is SSH's, 443 HTTPS's.",
            "The client takes this port for an SSH server.",
        ),
    ),
    (
        re.compile(rb"220[ -]|\* OK|\+OK"),
        _Cause(
            "greets in plain text, as mail and FTP servers do",
            "Use the port for TLS (465, 993, 995, 990), or send STARTTLS first and wrap the stream with TLSSocket.",
            "Whoever connected greets like a server: check what connects here.",
        ),
    ),
    (
        re.compile(rb"PROXY |\r\n\r\n\x00\r\nQUIT\n"),
        _Cause(
            "sent a PROXY protocol header before TLS",
            "Nobody should send a client that: check port.",
            "Turn the PROXY protocol off in the load balancer, or read the header before TLS begins.",
        ),
    ),
    (
        re.compile(rb"[\t\r\n\x20-\x7e]+\Z"),
        _Cause(
            "spoke plain text, not TLS",
            "Check port: the server does not speak TLS there, or only after STARTTLS.",
            "Let the client use TLS, or serve it on another port.",
        ),
    ),
)


# ---- the way between -------------------------------------------------------------------------------------------------


TRUNCATION_HINT = "Treat what was read as incomplete. If the protocol itself marks the end of its messages, use allow_truncation=True."


def _explain_hangup(fault: Fault, peer: str) -> ConnectionLostError:
    if fault.opened:
        message = f"{peer} ended the connection in the middle of a renegotiation"
        return ConnectionLostError(message, code="ECONNRESET", hint=_RENEGOTIATION_HINT)
    message = _CLIENT_HANGUP if fault.role == "client" else _SERVER_HANGUP
    return ConnectionLostError(message, hint=_hint_for_hangup(fault))


NO_ANSWER_HINT = "After its end the peer can send no answer. Call renegotiate() while the peer still has something to send."


def _explain_no_answer(_fault: Fault, peer: str) -> HandshakeError:
    return HandshakeError(
        f"{peer} ended the connection and left another handshake unanswered",
        code="ERR_TLS_HANDSHAKE_UNANSWERED",
        hint=NO_ANSWER_HINT,
    )


def _hint_for_hangup(fault: Fault) -> str:
    if spoken := _find_plain_text(fault):
        return f"The peer {spoken.text}. {spoken.mend(fault)}"
    if fault.role == "server":
        return "The client left before the handshake was done: a port check, a cancelled connection, or it did not like our certificate."
    if fault.certificate_requested:
        return "The server asked for a client certificate and hung up: give cert and key of an authority that it trusts."
    if fault.first_bytes:
        return "The server began TLS and hung up: look into its log, check servername and whether it wants a client certificate."
    return "The server hung up without a byte of TLS: check port, servername, and whether it accepts this address."


def _explain_os(fault: Fault, peer: str) -> ConnectionLostError:
    code = errno.errorcode.get(fault.os_errno, ConnectionLostError.default_code)
    text = os.strerror(fault.os_errno) if fault.os_errno else "no reason given"
    hint = None if fault.opened else _hint_for_hangup(fault)
    return ConnectionLostError(f"The connection with {_lower(peer)} was lost: {text}", code=code, hint=hint)


def _explain_limit(fault: Fault, peer: str) -> PeerError:
    text, code, hint = _LIMITS.get(fault.limit, _UNKNOWN_LIMIT)
    kind = PeerError if fault.opened else HandshakeError
    return kind(f"{peer} {text}", code=code, alert=_sent(fault), hint=hint)


_UNKNOWN_LIMIT = ("passed a limit", "ERR_TLS_LIMIT", "Raise the limit if the peer is to be trusted.")

_LIMITS: Mapping[str, tuple[str, str, str]] = {
    # Node's words and codes; here the connection ends with it.
    "renegotiations": (
        "renegotiated more often than it may: TLS session renegotiation attack detected",
        "ERR_TLS_SESSION_ATTACK",
        "See defaults.client_reneg_limit and defaults.client_reneg_window.",
    ),
    "renegotiation_off": (
        "renegotiated: TLS session renegotiation disabled for this socket",
        "ERR_TLS_RENEGOTIATION_DISABLED",
        "disable_renegotiation() was called on this socket.",
    ),
    "handshake_bytes": (
        "sent more bytes in the handshake than max_handshake_bytes",
        "ERR_TLS_HANDSHAKE_TOO_LARGE",
        "Raise max_handshake_bytes if peers with very long certificate chains are to be served.",
    ),
    "certificate_requests": (
        "asked for our certificate, or for another handshake, again and again",
        "ERR_TLS_TOO_MANY_CERTIFICATE_REQUESTS",
        "Each costs a signature: 32 within ten minutes are answered.",
    ),
    "key_updates": (
        "sent more than 32 key updates and session tickets without data between them",
        "ERR_TLS_TOO_MANY_KEY_UPDATES",
        "Honest peers rarely do this. A server sends new tickets after each client certificate that it asks for: send data in between.",
    ),
    "partial_record": (
        "began a record and did not finish it in time",
        "ERR_TLS_PARTIAL_RECORD_TIMEOUT",
        "The peer or the network stopped half-way: raise partial_record_timeout if the network is that slow.",
    ),
    "dh_size": (
        "has Diffie-Hellman parameters smaller than min_dh_size",
        "ERR_TLS_DH_PARAM_SIZE",
        "The server has to use larger ones; leave DHE suites out of ciphers, or lower min_dh_size.",
    ),
}


def _explain_timeout(fault: Fault, _peer: str) -> HandshakeTimeoutError:
    return HandshakeTimeoutError(alert=_sent(fault), hint=_hint_for_silence(fault))


def _hint_for_silence(fault: Fault) -> str:
    if spoken := _find_plain_text(fault):
        return f"The peer {spoken.text}. {spoken.mend(fault)}"
    if fault.opened:
        return (
            "The answer to renegotiate() comes after the data that the peer sent before it: read that data meanwhile. "
            "If the peer is slow, raise handshake_timeout."
        )
    if fault.role == "server":
        if fault.first_bytes:
            return "The client stopped half-way: raise handshake_timeout if its network is that slow."
        return "The client sent nothing: a port check, or it waits for a greeting in plain text."
    if fault.first_bytes:
        return "The server stopped half-way: raise handshake_timeout if the network or the server is that slow."
    return "The server sent nothing: it may not speak TLS on this port, or wait for STARTTLS."


def _explain_memory(fault: Fault, _peer: str) -> TLSError:
    return TLSError("Out of memory", code="ERR_TLS_OUT_OF_MEMORY", openssl_errors=fault.stack)


_EXPLANATIONS: Mapping[str, Callable[[Fault, str], TLSError]] = {
    "verify": _explain_verify,
    "hangup": _explain_hangup,
    "unanswered": _explain_no_answer,
    "os": _explain_os,
    "limit": _explain_limit,
    "timeout": _explain_timeout,
    "memory": _explain_memory,
}
