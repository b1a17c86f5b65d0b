"""Turns a fault of the engine into an error that names the cause, the side at fault and the remedy.

OpenSSL reports "wrong version number" if a port speaks HTTP, and "handshake failure" if a client
certificate is missing. So the peer's first bytes, the alerts and OpenSSL's reason numbers are
combined. Reasons are recognised by number, because their texts changed in OpenSSL 3.2 ("sslv3 alert
..." became "ssl/tls alert ...") and 4.0 ("tls alert ..."). Codes are built from those texts, as in
Node: `ERR_SSL_` and the reason in capitals.
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
from tlsio.model.faults import Fault, LocalSide
from tlsio.model.negotiation import hint_for_alpn, hint_for_parameters, hint_for_version
from tlsio.model.own_certificate import hint_for_refusal

__all__ = ["NO_ANSWER_HINT", "TRUNCATION_HINT", "error_from_fault"]

# Node's messages.
_CLIENT_HANGUP = "Client network socket disconnected before secure TLS connection was established"
_SERVER_HANGUP = "socket hang up"

# OpenSSL reports a received alert as SSL_AD_REASON_OFFSET plus its number.
_ALERT_REASONS = range(1000, 1256)

_SSL_LIBRARY = "SSL routines"

# A fatal alert as the peer's first record, in plaintext: type 21, version 3.x, two bytes, level 2.
_ALERT_RECORD = re.compile(rb"\x15\x03.\x00\x02\x02(.)", re.DOTALL)

# Record types 20 to 24 of version 3.x, or an SSL 2.0 hello, which some old clients still send
# first.
_TLS_RECORD = re.compile(rb"[\x14-\x18]\x03|\x80.\x01", re.DOTALL)


class _Cause(NamedTuple):
    """A common mistake, and its remedy for each side.

    Attributes:
        text: Continues a sentence about the peer.
        client: The hint if the local side is the client.
        server: The hint if the local side is the server.
    """

    text: str
    client: str
    server: str

    def remedy(self, fault: Fault) -> str:
        return self.client if fault.role == "client" else self.server


def error_from_fault(fault: Fault, *, host: str | None = None, describe: Callable[[], LocalSide] | None = None) -> TLSError:
    """Turn a fault of the engine into the error for the user.

    Pure: depends only on the arguments. Verdicts on certificates with all their causes come from
    `trust`; this function covers the verify errors that the engine met on its own.

    Args:
        fault: What the engine recorded.
        host: The requested name of the peer, for the message.
        describe: Returns what is known about the local side. Called if the hint needs it: it takes
            longer than the rest.

    Returns:
        The error, not raised: its class says which side is at fault; it has Node's code, the alert,
        OpenSSL's reason and a hint.
    """
    if fault.kind == "ssl" and fault.alert_sent == _BAD_STATUS_RESPONSE:
        return _explain_status(fault)
    peer = _name_peer(fault, host)
    alert = _find_alert_received(fault)
    if alert >= 0:
        return _explain_alert(fault, peer, alert, describe)
    explain = _EXPLANATIONS.get(fault.kind)
    return explain(fault, peer) if explain else _explain_ssl(fault, peer, describe)


def _name_peer(fault: Fault, host: str | None) -> str:
    peer = "The server" if fault.role == "client" else "The client"
    return f"{peer} {host}" if host else peer


def _sent_alert(fault: Fault) -> str | None:
    return alert_name(fault.alert_sent) if fault.alert_sent >= 0 else None


def _find_alert_received(fault: Fault) -> int:
    """Find the received fatal alert: in the fault, in OpenSSL's reason, or in the first record."""
    if fault.alert_received >= 0:
        return fault.alert_received
    if _is_ssl_reason(fault) and fault.reason_code in _ALERT_REASONS:
        return fault.reason_code - _ALERT_REASONS.start
    record = _ALERT_RECORD.match(fault.first_bytes)
    if record and not fault.opened and fault.kind in ("ssl", "hangup", "os"):
        return record[1][0]
    return -1


def _is_ssl_reason(fault: Fault) -> bool:
    """Tell whether the reason is one of libssl's: each OpenSSL library numbers from 100."""
    return fault.library in ("", _SSL_LIBRARY)


def _node_code(fault: Fault, default: str) -> str:
    return f"ERR_SSL_{fault.reason.upper().replace(' ', '_')}" if fault.reason else default


# ---- received alerts -----------------------------------------------------------------------------


def _explain_alert(fault: Fault, peer: str, alert: int, describe: Callable[[], LocalSide] | None) -> AlertReceived:
    name = alert_name(alert)
    cause = (fault.psk and _PSK_ALERT_CAUSES.get(alert)) or _ALERT_CAUSES.get(alert, _UNKNOWN_ALERT)
    if alert == _HANDSHAKE_FAILURE and fault.certificate_requested:
        cause = _CLIENT_CERTIFICATE_REQUIRED
    hint = _hint_for_local_side(cause, fault, describe, alert) if describe is not None else None
    did = "ended the connection" if fault.opened else "refused the handshake"
    return AlertReceived(
        f"{peer} {did} with the alert {name}: {cause.text}",
        code=_node_code(fault, f"ERR_SSL_ALERT_{name.upper().replace(' ', '_')}"),
        alert=name,
        reason=fault.reason or None,
        hint=hint or cause.remedy(fault),
        openssl_errors=fault.stack,
    )


def _hint_for_local_side(cause: _Cause, fault: Fault, describe: Callable[[], LocalSide], alert: int = -1) -> str | None:
    """Return the hint that needs more than the fault; None if there is none for this cause."""
    if alert in _ABOUT_OUR_CERTIFICATE:
        return hint_for_refusal(alert, fault.role, describe())
    if cause is _NO_COMMON_VERSION:
        return hint_for_version(fault.role, describe())
    if cause is _NO_COMMON_ALPN:
        return hint_for_alpn(fault.role, describe())
    if cause in (_NO_COMMON_CIPHER, _NO_COMMON_GROUP, _NO_COMMON_SIGNATURE, _NO_COMMON_PARAMETERS):
        return hint_for_parameters(fault.role, describe())
    return None


_HANDSHAKE_FAILURE = 40
# The alerts from no_certificate to certificate_unknown, and unknown_ca.
_ABOUT_OUR_CERTIFICATE = frozenset({41, 42, 43, 45, 46, 48})

_ONLY_FROM_SERVERS = "Only servers should send this alert: the client's TLS implementation is at fault."
_ONLY_FROM_CLIENTS = "Only clients should send this alert: the server's TLS implementation is at fault."
_SERVER_LOG = "See the server's log."
_CLIENT_LOG = "See the client's log."

_UNKNOWN_ALERT = _Cause("the alert gives no reason", _SERVER_LOG, _CLIENT_LOG)

_CLIENT_CERTIFICATE_REQUIRED = _Cause(
    "it requires a client certificate and got none that it accepts",
    "Give cert= and key=, with a certificate from a CA that the server trusts.",
    _ONLY_FROM_SERVERS,
)

_CORRUPTED_BYTES = _Cause(
    "it received corrupted or unexpected bytes",
    "A proxy or another middlebox may change the bytes, or the server's TLS implementation is at fault.",
    "A proxy or another middlebox may change the bytes, or the client's TLS implementation is at fault.",
)

_CERTIFICATE_REFUSED = _Cause(
    "it does not accept this side's certificate",
    "Give cert= and key= with a client certificate that the server accepts: it checks trust, dates, purpose and name.",
    "The client checks trust, dates, name and pins: check the name it connects to and the CAs it trusts.",
)

_NO_COMMON_VERSION = _Cause(
    "no common protocol version",
    "Compare min_version= and max_version= with the versions that the server supports; an old server has to be updated.",
    "Compare min_version= and max_version= with the versions that the client offers; an old client has to be updated.",
)

_NO_COMMON_ALPN = _Cause(
    "no common ALPN protocol",
    "Offer a protocol that the server supports in alpn_protocols=, or leave the option out.",
    "Add a protocol that the client offers to alpn_protocols=, or set alpn_mismatch='continue'.",
)

_TOO_WEAK = _Cause(
    "the parameters that this side offers are too weak for it",
    "Leave ciphers=, sigalgs= and ecdh_curve= at their defaults, and use larger keys.",
    "Leave ciphers=, sigalgs= and ecdh_curve= at their defaults, and use larger keys.",
)

_RENEGOTIATION = _Cause(
    "it refuses to renegotiate",
    "Many servers do not let clients renegotiate (in tlsio: allow_renegotiation=True). A client seldom needs it: open a new connection.",
    "Many clients do not renegotiate. Request the certificate in the first handshake (request_cert=True), or use TLS 1.3, which can "
    "request it later.",
)

_NO_COMMON_PARAMETERS = _Cause(
    "no common parameters, most often no common cipher",
    "Compare ciphers=, sigalgs= and ecdh_curve= with what the server supports.",
    "Compare ciphers=, sigalgs=, ecdh_curve= and the type of the certificate's key with what the client offers.",
)

_DISAGREEMENT = _Cause(
    "it does not accept how this side uses an extension of TLS",
    "The TLS implementations do not fit, or a middlebox changes the bytes: update the older one.",
    "The TLS implementations do not fit, or a middlebox changes the bytes: update the older one.",
)

_ALERT_CAUSES: Mapping[int, _Cause] = {
    0: _Cause(
        "it closed before the handshake was done",
        "See the server's log: it may refuse this address or name.",
        "The client may have been stopped, or may have refused the server's certificate.",
    ),
    10: _CORRUPTED_BYTES,
    20: _CORRUPTED_BYTES,
    22: _CORRUPTED_BYTES,
    _HANDSHAKE_FAILURE: _NO_COMMON_PARAMETERS,
    41: _CERTIFICATE_REFUSED,
    42: _CERTIFICATE_REFUSED,
    43: _CERTIFICATE_REFUSED._replace(text="it does not support the type or the purpose of this side's certificate"),
    44: _Cause(
        "this side's certificate is revoked",
        "Get a new client certificate with a new key and give it with cert= and key=.",
        "Get a new certificate with a new key and give it with cert= and key=.",
    ),
    45: _Cause(
        "this side's certificate has expired, or the peer's clock is wrong",
        "Renew the client certificate in cert=, and check the server's clock.",
        "Renew the certificate in cert=, and check the client's clock.",
    ),
    46: _CERTIFICATE_REFUSED,
    47: _CORRUPTED_BYTES,
    48: _Cause(
        "it does not trust the CA of this side's certificate",
        "Use a client certificate from a CA that the server trusts, and put the intermediates after it in cert=.",
        "Add the CA of the server's certificate to the client's trusted roots, and put the intermediates after the certificate in cert=.",
    ),
    49: _Cause(
        "it accepts this side's certificate, but denies access",
        "Ask the server's owner for access.",
        "The client's own access rules refuse this server: ask the client's owner to allow it.",
    ),
    50: _CORRUPTED_BYTES,
    51: _Cause(
        "a signature or a secret is wrong",
        "With pre-shared keys, check that both sides have the same key. Otherwise the server could not verify a signature: see its log.",
        "With pre-shared keys, check that both sides have the same key. Otherwise the client could not verify a signature of the handshake, "
        "the chain or a CRL: see its log.",
    ),
    60: _TOO_WEAK,
    70: _NO_COMMON_VERSION,
    71: _TOO_WEAK,
    80: _Cause("it had an internal error", _SERVER_LOG, _CLIENT_LOG),
    86: _Cause(
        "it supports a newer version than this client offers in a retry",
        "Leave max_version= out.",
        _ONLY_FROM_SERVERS,
    ),
    90: _Cause("its user cancelled the handshake", "Try again.", "The client's user cancelled it; there is nothing to fix on the server."),
    100: _RENEGOTIATION,
    109: _DISAGREEMENT,
    110: _DISAGREEMENT,
    113: _Cause(
        "it got no valid OCSP response for this side's certificate",
        _ONLY_FROM_CLIENTS,
        "Staple a current response, with stapling=True or ocsp_request=: the client requires one, or the certificate does (must-staple).",
    ),
    121: _Cause(
        "it requires Encrypted Client Hello, which is not supported", "Connect to it without ECH: see the server's log.", _ONLY_FROM_SERVERS
    ),
    112: _Cause(
        "it does not serve the requested name",
        "Check servername=: it defaults to host, and '' sends no name.",
        _ONLY_FROM_SERVERS,
    ),
    115: _Cause(
        "it does not know the identity of the pre-shared key",
        "Compare the identity that psk_callback returns with those that the server knows.",
        _ONLY_FROM_SERVERS,
    ),
    116: _CLIENT_CERTIFICATE_REQUIRED,
    120: _NO_COMMON_ALPN,
}


_PSK_SUITES = (
    "Both sides have to include PSK suites in ciphers= up to TLS 1.2 ('PSK' means all of them), and a suite with SHA-256 in TLS 1.3."
)

_KEYS_DIFFER = _Cause(
    "the pre-shared keys probably differ",
    "Compare the key that psk_callback returns with the server's key for that identity.",
    "Compare the key that psk_callback returns for the identity with the client's key.",
)

# If a `psk_callback` is set. In TLS 1.2 a wrong key makes the Finished message unreadable. OpenSSL
# 3.0 sends 47 instead of 51.
_PSK_ALERT_CAUSES: Mapping[int, _Cause] = {
    **dict.fromkeys((20, 47, 51), _KEYS_DIFFER),
    _HANDSHAKE_FAILURE: _Cause(
        "no common cipher, or no pre-shared key for this identity",
        f"{_PSK_SUITES} Or the server does not know the identity and has no certificate.",
        f"{_PSK_SUITES} Or the client's psk_callback returned None.",
    ),
}


# ---- refused certificates ------------------------------------------------------------------------


def _explain_verify(fault: Fault, peer: str) -> CertificateError:
    if fault.role == "client" and fault.opened:  # a renegotiation fails verification only if the certificate differs
        return CertificateError(
            f"{peer} renegotiated with a certificate other than the verified one",
            code="ERR_TLS_CERTIFICATE_CHANGED",
            alert=_sent_alert(fault),
            reason=fault.reason or None,
            hint="The server may have changed its certificate since the session that this connection resumed: connect without that "
            "session. Otherwise the connection is being intercepted.",
        )
    numbers = [number for number, _depth in fault.verify_errors]
    if not numbers:
        hint = "If ciphers= enables anonymous suites (aNULL), the server may have sent no certificate: exclude them with !aNULL."
        return CertificateError(
            f"{peer}'s certificate was refused",
            alert=_sent_alert(fault),
            reason=fault.reason or None,
            hint=hint if fault.role == "client" else None,
        )
    return CertificateError(
        f"{peer}'s certificate was refused: {'; '.join(dict.fromkeys(map(x509_text, numbers)))}",
        code=x509_code(numbers[-1]),
        reasons=tuple(dict.fromkeys(map(x509_code, numbers))),
        alert=_sent_alert(fault),
        reason=x509_text(numbers[-1]),
        openssl_errors=fault.stack,
    )


# OpenSSL 3.6 and newer parse the response themselves. With older ones, `trust.ocsp` reports the
# same error.
_BAD_STATUS_RESPONSE = alert_number("bad_certificate_status_response")


def _explain_status(fault: Fault) -> CertificateError:
    return CertificateError(
        f"The OCSP response for the server's certificate cannot be read: {fault.reason or 'no reason given'}",
        code="OCSP_RESPONSE_MALFORMED",
        alert=_sent_alert(fault),
        reason=fault.reason or None,
        hint="The server has to staple another response. To connect without one, leave ocsp= and request_ocsp= out.",
        openssl_errors=fault.stack,
    )


# ---- errors of OpenSSL ---------------------------------------------------------------------------


def _explain_ssl(fault: Fault, peer: str, describe: Callable[[], LocalSide] | None) -> TLSError:
    if not fault.opened and (other := _find_other_protocol(fault)):
        return _make_ssl_error(fault, f"{peer} {other.text}", other.remedy(fault))
    reason = fault.reason_code if _is_ssl_reason(fault) else 0
    if reason == _CERTIFICATE_VERIFY_FAILED:
        return _explain_verify(fault, peer)
    if reason == _NO_PEER_CERTIFICATE:
        return _explain_missing_certificate(fault, peer)
    if reason in _CONFIG_CAUSES:
        text, hint = _CONFIG_CAUSES[reason]
        return ConfigError(
            text,
            code=_node_code(fault, "ERR_SSL"),
            alert=_sent_alert(fault),
            reason=fault.reason or None,
            hint=hint,
            openssl_errors=fault.stack,
        )
    in_handshake = (fault.psk and _PSK_REASON_CAUSES.get(reason)) or _REASON_CAUSES.get(reason)
    cause = _OPEN_REASON_CAUSES.get(reason) if fault.opened else in_handshake
    if cause:
        seen = _hint_for_local_side(cause, fault, describe) if describe is not None else None
        return _make_ssl_error(fault, f"TLS with {_lower(peer)} failed: {cause.text}", seen or cause.remedy(fault))
    return _make_ssl_error(fault, f"TLS with {_lower(peer)} failed: {fault.reason or 'no reason given'}", _hint_for_bad_record(fault))


def _make_ssl_error(fault: Fault, message: str, hint: str | None) -> PeerError:
    kind = PeerError if fault.opened else HandshakeError
    return kind(
        message,
        code=_node_code(fault, kind.default_code),
        alert=_sent_alert(fault),
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
        alert=_sent_alert(fault),
        reason=fault.reason or None,
        hint="Give the client a certificate and key. If clients may come without one, use reject_unauthorized=False and then check "
        "socket.authorized, which is False for them; if none needs one, request_cert=False.",
        openssl_errors=fault.stack,
    )


def _hint_for_bad_record(fault: Fault) -> str | None:
    if fault.reason_code not in _BAD_RECORDS or not _is_ssl_reason(fault):
        return None
    if fault.opened:
        return "A proxy or another middlebox may change the bytes, or another writer uses the same connection."
    if _TLS_RECORD.match(fault.first_bytes):
        if fault.reason_code != _WRONG_VERSION_NUMBER:
            return "The first bytes were TLS, but later ones are corrupt: a proxy or another middlebox may change the bytes."
        return (
            "The first bytes were TLS: compare min_version= and max_version= on both sides. "
            "If they match, a proxy or another middlebox changes the bytes."
        )
    return "The peer's bytes are not TLS: check host and port, and which protocol the peer uses there."


# Numbers of `openssl/sslerr.h`, which never change.
_CERTIFICATE_VERIFY_FAILED = 134
_NO_PEER_CERTIFICATE = 199
_WRONG_VERSION_NUMBER = 267

# The reasons are, in this order: wrong version number, packet length too long (from OpenSSL 3.2 on
# also data length too long and encrypted length too long), bad record type, unexpected record, bad
# record mac, length mismatch, record length mismatch.
_BAD_RECORDS = frozenset({267, 198, 146, 150, 443, 245, 281, 159, 213})

_NO_COMMON_CIPHER = _Cause(
    "no common cipher",
    "Compare ciphers= with what the server supports.",
    "Compare ciphers= (in TLS 1.2 also ecdh_curve= and sigalgs=) with what the client offers. "
    "The same happens if no certificate is configured that fits them.",
)
_NO_COMMON_GROUP = _Cause(
    "no common group for the key exchange",
    "Compare ecdh_curve= with what the server supports.",
    "Compare ecdh_curve= with what the client offers.",
)
_NO_COMMON_SIGNATURE = _Cause(
    "no common signature algorithm",
    "Compare sigalgs= and the type of the client's key with what the server supports.",
    "Compare sigalgs= and the type of the certificate's key with what the client offers. The same happens if no certificate is configured.",
)

_REASON_CAUSES: Mapping[int, _Cause] = {
    **dict.fromkeys((258, 396, 166, 266, 259), _NO_COMMON_VERSION),
    193: _NO_COMMON_CIPHER,
    **dict.fromkeys((101, 410, 295, 315, 378), _NO_COMMON_GROUP),
    **dict.fromkeys((376, 118, 297, 370, 333), _NO_COMMON_SIGNATURE),
    235: _NO_COMMON_ALPN,
    338: _Cause(
        "the peer does not support secure renegotiation (RFC 5746)",
        "The server has to be updated: without RFC 5746 an attacker can put bytes before those of the client.",
        "The client has to be updated.",
    ),
    373: _Cause(
        "the client retried with an older version than both sides support",
        "Leave max_version= out.",
        "An old client retries with an older version after a failure: look for the failure before this one.",
    ),
    394: _Cause(
        "the Diffie-Hellman parameters are too small",
        "The server has to use larger ones. To connect without them, exclude DHE from ciphers=.",
        "Use dhparam='auto'.",
    ),
    152: _Cause(
        "a handshake message is too large",
        "The server's certificate chain is probably too long: it can leave out its root.",
        "The client's certificate chain is probably too long: it can leave out its root.",
    ),
}

_NO_KEY = _Cause(
    "no pre-shared key is configured for it",
    "psk_callback returned None: let it return the identity and key for this server.",
    "psk_callback returned None for the client's identity: add its key. Or the identity is not UTF-8.",
)
_NO_COMMON_KEY = _Cause(
    "no common pre-shared key, and no certificate to use instead",
    _PSK_SUITES,
    f"{_PSK_SUITES} Or psk_callback returned None, or the client offered no key.",
)

# These reasons have this meaning on open connections only.
_OPEN_REASON_CAUSES: Mapping[int, _Cause] = {339: _RENEGOTIATION}

# The reasons are: psk identity not found; binder does not verify, decryption failed; no shared
# cipher, no suitable signature algorithm.
_PSK_REASON_CAUSES: Mapping[int, _Cause] = {
    223: _NO_KEY,
    **dict.fromkeys((253, 281), _KEYS_DIFFER),
    **dict.fromkeys((193, 118), _NO_COMMON_KEY),
}

_CONFIG_CAUSES: Mapping[int, tuple[str, str]] = {
    191: (
        "No protocol version is enabled",
        "Set min_version= to max_version= or below, and do not exclude all versions in secure_options=.",
    ),
    181: ("No cipher is enabled", "Include ciphers for the versions from min_version= to max_version= in ciphers=."),
    177: ("No certificate is configured", "Give cert= and key=."),
    179: ("No certificate is configured", "Give cert= and key=."),
    190: ("No key is configured for the certificate", "Give key=."),
}


# ---- peers that do not speak TLS -----------------------------------------------------------------


def _find_other_protocol(fault: Fault) -> _Cause | None:
    """Recognise another protocol by its first bytes."""
    if not fault.first_bytes or _TLS_RECORD.match(fault.first_bytes):
        return None
    return next((cause for pattern, cause in _OTHER_PROTOCOLS if pattern.match(fault.first_bytes)), None)


_OTHER_PROTOCOLS: tuple[tuple[re.Pattern[bytes], _Cause], ...] = (
    (
        re.compile(rb"CONNECT "),
        _Cause(
            "sent an HTTP CONNECT request for a proxy instead of TLS",
            "A server does not send requests: check host and port.",
            "This port is not a proxy: correct the client's proxy settings.",
        ),
    ),
    (
        re.compile(rb"(GET|POST|PUT|HEAD|DELETE|OPTIONS|PATCH|TRACE|PRI) "),
        _Cause(
            "sent a plain HTTP request to a TLS port",
            "A server does not send requests: check host and port.",
            "The client has to use https://, or a port with plain HTTP.",
        ),
    ),
    (
        re.compile(rb"HTTP/"),
        _Cause(
            "answered in plain HTTP: the port does not use TLS",
            "Use the server's HTTPS port (443 if plain HTTP is on 80), or use HTTP without TLS.",
            "A client does not send responses: check which program connects here.",
        ),
    ),
    (
        re.compile(rb"\x00\x00.\x04\x00\x00\x00\x00\x00", re.DOTALL),
        _Cause(
            "answered in HTTP/2 without TLS",
            "Use the server's HTTPS port, or HTTP/2 without TLS (h2c).",
            "A client does not begin so: check which program connects here.",
        ),
    ),
    (
        re.compile(rb"\s*<(?:!doctype|html|\?xml)", re.IGNORECASE),
        _Cause(
            "answered with a page in HTML, without TLS",
            "Check host and port: a web server or a proxy answers there in plain text.",
            "A client does not send pages: check which program connects here.",
        ),
    ),
    (
        re.compile(rb"...\x00(?:\x0a[0-9]|\xff)", re.DOTALL),  # length, sequence 0, then protocol 10 and version, or an error
        _Cause(
            "is a MySQL or MariaDB server, which begins without TLS",
            "Use a client for this database: it asks the server for TLS inside its own protocol.",
            "A server of that kind connects here: check which program it is.",
        ),
    ),
    (
        re.compile(rb"\x00\x00\x00\x08\x04\xd2\x16[\x2e-\x30]|\x00\x00..\x00\x03\x00[\x00-\x02]|[EN]\x00\x00..S(?:FATAL|ERROR)", re.DOTALL),
        _Cause(
            "uses PostgreSQL's protocol, which begins without TLS",
            "Use a client for this database: it asks the server for TLS inside its own protocol (sslmode=).",
            "A PostgreSQL client connects to this port: correct its host or port, or set its sslnegotiation=direct.",
        ),
    ),
    (
        re.compile(rb"0(?:[\x00-\x7f]|\x81.|\x82..|\x83...|\x84....)\x02\x01.[\x60\x61\x63\x64\x65\x77\x78]", re.DOTALL),
        _Cause(
            "uses LDAP without TLS",
            "Use the port for LDAPS (636), or send StartTLS first and wrap the stream with tlsio.TLSSocket.",
            "The client has to use ldaps://, or a port with plain LDAP.",
        ),
    ),
    (
        re.compile(rb"\*[0-9]+\r\n\$|-(?:ERR|NOAUTH|DENIED)|\+PONG"),
        _Cause(
            "uses Redis's protocol without TLS",
            "Use the server's port for TLS (tls-port), or rediss:// in its client's address.",
            "The client has to use TLS (rediss://), or a port without TLS.",
        ),
    ),
    (
        re.compile(rb"(?:EHLO|HELO|LHLO) ", re.IGNORECASE),
        _Cause(
            "began SMTP without TLS",
            "A server does not greet so: check host and port.",
            "The client has to begin with TLS (SMTPS, port 465), or use a port with STARTTLS.",
        ),
    ),
    (
        re.compile(rb"\x05(?:[\x01-\x03][\x00-\x02]|\xff)", re.DOTALL),
        _Cause(
            "uses SOCKS, the protocol of a proxy",
            "This port is a SOCKS proxy: connect through it with a client for SOCKS, and give the stream as socket=.",
            "The client takes this port for a SOCKS proxy: correct its proxy settings.",
        ),
    ),
    (
        re.compile(rb"SSH-"),
        _Cause(
            "uses SSH, not TLS",
            "Check port: SSH uses 22, HTTPS uses 443.",
            "An SSH client connects to this port: correct its port.",
        ),
    ),
    (
        re.compile(rb"[245][0-9][0-9][ -]|\* (?:OK|BYE)|\+OK "),
        _Cause(
            "sent a plain-text greeting, like a mail or FTP server",
            "Use the port for TLS (465, 993, 995 or 990), or send STARTTLS first and wrap the stream with tlsio.TLSSocket.",
            "A client does not send a greeting: check which program connects here.",
        ),
    ),
    (
        re.compile(rb"PROXY |\r\n\r\n\x00\r\nQUIT\n"),
        _Cause(
            "sent a PROXY protocol header before TLS",
            "A server does not send this header: check host and port.",
            "Turn off the PROXY protocol in the load balancer, or read the header before TLS begins.",
        ),
    ),
    (
        re.compile(rb"[\t\r\n\x20-\x7e]+\Z"),
        _Cause(
            "sent plain text instead of TLS",
            "Check port: the server does not use TLS there, or only after STARTTLS.",
            "The client has to use TLS, or a port without TLS.",
        ),
    ),
)


# ---- the network ---------------------------------------------------------------------------------


TRUNCATION_HINT = (
    "The peer ended the connection without ending TLS: it crashed or was stopped, or a device between cut the connection. Treat the data as "
    "incomplete. If the application protocol marks the end of its messages, allow_truncation=True makes this an ordinary end."
)


def _explain_hangup(fault: Fault, peer: str) -> ConnectionLostError:
    if fault.opened:
        message = f"{peer} closed the connection during a renegotiation"
        return ConnectionLostError(message, code="ECONNRESET", hint=_RENEGOTIATION.remedy(fault))
    message = _CLIENT_HANGUP if fault.role == "client" else _SERVER_HANGUP
    return ConnectionLostError(message, hint=_hint_for_hangup(fault))


NO_ANSWER_HINT = "The peer has closed its side, so it cannot answer. Call renegotiate() before the peer sends its end."


def _explain_no_answer(_fault: Fault, peer: str) -> HandshakeError:
    return HandshakeError(
        f"{peer} closed the connection before another handshake was complete",
        code="ERR_TLS_HANDSHAKE_UNANSWERED",
        hint=NO_ANSWER_HINT,
    )


def _hint_for_hangup(fault: Fault) -> str:
    if other := _find_other_protocol(fault):
        return f"The peer {other.text}. {other.remedy(fault)}"
    if fault.role == "server":
        return (
            "The client disconnected before the handshake was done: "
            "it only checked the port, cancelled the connection, or refused the server's certificate."
        )
    if fault.certificate_requested:
        return (
            "The server requested a client certificate and disconnected: give cert= and key= with a certificate from a CA that it trusts."
        )
    if fault.first_bytes:
        return "The server began TLS and disconnected: see its log, check servername=, and check whether it needs a client certificate."
    return (
        "The server disconnected without sending a byte: check port and servername=, and whether it accepts this address. "
        "Some protocols begin without TLS (PostgreSQL, MySQL, SMTP): they need a request for it first."
    )


def _explain_os(fault: Fault, peer: str) -> ConnectionLostError:
    code = errno.errorcode.get(fault.os_errno, ConnectionLostError.default_code)
    text = os.strerror(fault.os_errno) if fault.os_errno else "no reason given"
    hint = _hint_for_loss(fault) if fault.opened else _hint_for_hangup(fault)
    return ConnectionLostError(f"The connection with {_lower(peer)} was lost: {text}", code=code, hint=hint)


def _hint_for_loss(fault: Fault) -> str:
    peer = "server" if fault.role == "client" else "client"
    if fault.os_errno == errno.ETIMEDOUT:
        return f"The {peer} no longer acknowledges what is sent: it is down, or the network between is."
    refused = " It had requested a client certificate: it may have refused this one, which in TLS 1.3 it decides only after the client's handshake."
    return (
        f"The {peer} closed the connection without waiting for the end of TLS, or a device between the two did, for example after "
        f"inactivity: see the {peer}'s log.{refused if fault.role == 'client' and fault.certificate_requested else ''}"
    )


def _explain_limit(fault: Fault, peer: str) -> PeerError:
    text, code, hint = _LIMITS.get(fault.limit, _UNKNOWN_LIMIT)
    kind = PeerError if fault.opened else HandshakeError
    return kind(f"{peer} {text}", code=code, alert=_sent_alert(fault), hint=hint)


_UNKNOWN_LIMIT = ("exceeded a limit", "ERR_TLS_LIMIT", "Raise the limit if you trust the peer.")

_LIMITS: Mapping[str, tuple[str, str, str]] = {
    # Node's texts and codes; unlike Node, the connection is closed.
    "renegotiations": (
        "renegotiated too often: TLS session renegotiation attack detected",
        "ERR_TLS_SESSION_ATTACK",
        "At most tlsio.defaults.client_reneg_limit are allowed within tlsio.defaults.client_reneg_window seconds.",
    ),
    "renegotiation_off": (
        "renegotiated: TLS session renegotiation disabled for this socket",
        "ERR_TLS_RENEGOTIATION_DISABLED",
        "disable_renegotiation() was called on this socket.",
    ),
    "handshake_bytes": (
        "exceeded max_handshake_bytes= in the handshake",
        "ERR_TLS_HANDSHAKE_TOO_LARGE",
        "Raise max_handshake_bytes= to accept peers with very long certificate chains.",
    ),
    "certificate_requests": (
        "requested a certificate or another handshake too often",
        "ERR_TLS_TOO_MANY_CERTIFICATE_REQUESTS",
        "At most 32 within ten minutes are answered, since each one requires a signature: the peer has to send fewer.",
    ),
    "key_updates": (
        "sent more than 32 key updates and session tickets without data between them",
        "ERR_TLS_TOO_MANY_KEY_UPDATES",
        "This is rare in normal use. But a server sends tickets after each client certificate that it requests: send data in between.",
    ),
    "partial_record": (
        "began a record and did not finish it in time",
        "ERR_TLS_PARTIAL_RECORD_TIMEOUT",
        "The peer or the network stalled: raise partial_record_timeout= if the network is that slow.",
    ),
    "dh_size": (
        "has Diffie-Hellman parameters smaller than min_dh_size=",
        "ERR_TLS_DH_PARAM_SIZE",
        "The server has to use larger ones, or another key exchange: without DHE in ciphers=, it can choose ECDHE.",
    ),
}


def _explain_timeout(fault: Fault, peer: str) -> HandshakeTimeoutError:
    message = f"TLS handshake timeout: {peer[0].lower()}{peer[1:]} did not finish within handshake_timeout="
    return HandshakeTimeoutError(message, alert=_sent_alert(fault), hint=_hint_for_silence(fault))


def _hint_for_silence(fault: Fault) -> str:
    if other := _find_other_protocol(fault):
        return f"The peer {other.text}. {other.remedy(fault)}"
    if fault.opened:
        return (
            "The answer to renegotiate() follows data that the peer sent before it: read that data while renegotiate() waits. "
            "If the peer is slow, raise handshake_timeout=."
        )
    if fault.role == "server":
        if fault.first_bytes:
            return "The client stalled during the handshake: raise handshake_timeout= if its network is that slow."
        return "The client sent nothing: it only checked the port, or it waits for a plain-text greeting."
    if fault.first_bytes:
        return "The server stalled during the handshake: raise handshake_timeout= if the network or the server is that slow."
    return "The server sent nothing: it may not use TLS on this port, or it may wait for STARTTLS."


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
