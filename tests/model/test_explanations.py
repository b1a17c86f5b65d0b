"""From faults to errors: class, code, alert, and that cause, side and mend are named."""

import errno
import subprocess
from functools import cache

import pytest

from tlsio.model import errors, explanations
from tlsio.model.explanations import error_from_fault
from tlsio.model.faults import Fault, FaultKind, Role
from tlsio.model.statistics import ServerStats

HELLO = b"\x16\x03\x01\x02\x00\x01"
ERR_LIB_SSL = 20


def ssl_fault(role: Role, reason_code: int, reason: str, **more: object) -> Fault:
    """Make a fault as OpenSSL reports it from libssl."""
    return Fault(kind="ssl", role=role, library="SSL routines", reason=reason, reason_code=reason_code, **more)


@cache
def openssl_reason(number: int) -> str:
    """Return OpenSSL's text for the number of a reason."""
    code = f"{ERR_LIB_SSL << 23 | number:08X}"
    return subprocess.run(["openssl", "errstr", code], check=True, capture_output=True, text=True).stdout.strip().split(":")[4]


@pytest.mark.parametrize(
    "number", sorted({*explanations._REASON_CAUSES, *explanations._CONFIG_CAUSES, *explanations._BAD_RECORDS, 134, 199})
)
def test_reason_numbers_exist(number: int) -> None:
    """OpenSSL's command line knows them; a typo here would explain the wrong thing."""
    assert not openssl_reason(number).startswith("reason(")


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (258, "UNSUPPORTED_PROTOCOL"),
        (267, "WRONG_VERSION_NUMBER"),
        (193, "NO_SHARED_CIPHER"),
        (376, "NO_SHARED_SIGNATURE_ALGORITHMS"),
        (118, "NO_SUITABLE_SIGNATURE_ALGORITHM"),
        (101, "NO_SUITABLE_KEY_SHARE"),
        (235, "NO_APPLICATION_PROTOCOL"),
        (199, "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        (134, "CERTIFICATE_VERIFY_FAILED"),
        (191, "NO_PROTOCOLS_AVAILABLE"),
        (338, "UNSAFE_LEGACY_RENEGOTIATION_DISABLED"),
        (394, "DH_KEY_TOO_SMALL"),
        (152, "EXCESSIVE_MESSAGE_SIZE"),
    ],
)
def test_reason_numbers_are_openssls(number: int, name: str) -> None:
    """The ones that the explanations stand on."""
    assert openssl_reason(number).upper().replace(" ", "_") == name


@pytest.mark.parametrize(
    ("first_bytes", "role", "text", "mend"),
    [
        (b"GET / HTTP/1.1\r\n", "server", "The client sent a plain HTTP request to a TLS port", "https://"),
        (b"PRI * HTTP/2.0\r\n", "server", "The client sent a plain HTTP", "https://"),
        (b"CONNECT a:443 HT", "server", "The client sent an HTTP CONNECT request for a proxy", "proxy settings"),
        (b"HTTP/1.1 400 Bad", "client", "The server example.org answered in plain HTTP", "HTTPS port"),
        (b"SSH-2.0-OpenSSH_", "client", "The server example.org uses SSH, not TLS", "Check port"),
        (b"SSH-2.0-OpenSSH_", "server", "The client uses SSH", "SSH client"),
        (b"220 mx ESMTP\r\n", "client", "The server example.org sent a plain-text greeting", "STARTTLS"),
        (b"* OK IMAP4rev1", "client", "The server example.org sent a plain-text greeting", "STARTTLS"),
        (b"PROXY TCP4 1.2.3", "server", "The client sent a PROXY protocol header", "load balancer"),
        (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00", "server", "The client sent a PROXY protocol header", "load balancer"),
        (b"EHLO me\r\n", "server", "The client began SMTP without TLS", "port 465"),
        (b"-ERR unknown", "client", "The server example.org uses Redis's protocol without TLS", "rediss://"),
        (b"J\x00\x00\x00\x0a8.0", "client", "The server example.org is a MySQL or MariaDB server", "Use a client for this database"),
        (b"LOGIN me\r\n", "server", "The client sent plain text instead of TLS", "use TLS"),
        (b"what is this?", "client", "The server example.org sent plain text instead of TLS", "does not use TLS"),
    ],
)
def test_other_protocols_are_recognised(first_bytes: bytes, role: Role, text: str, mend: str) -> None:
    """Every other library says "wrong version number" to these."""
    fault = ssl_fault(role, 267, "wrong version number", first_bytes=first_bytes, alert_sent=70)
    error = error_from_fault(fault, host="example.org" if role == "client" else None)
    assert type(error) is errors.HandshakeError
    assert str(error).startswith(text)
    assert mend in str(error.hint)
    assert (error.code, error.reason, error.alert) == ("ERR_SSL_WRONG_VERSION_NUMBER", "wrong version number", "protocol_version")


@pytest.mark.parametrize(
    ("first_bytes", "mend"),
    [
        (b"", "not TLS"),
        (b"\x00\x01\x02\x03", "not TLS"),
        (b"J\x00\x01\x00\x0bx.0", "not TLS"),
        (HELLO, "first bytes were TLS"),
        (b"\x80\x2e\x01\x03", "first bytes were TLS"),
    ],
)
def test_what_is_not_plain_text_stays_openssls_word(first_bytes: bytes, mend: str) -> None:
    """TLS records, old hellos and binary protocols are not taken for text."""
    error = error_from_fault(ssl_fault("client", 267, "wrong version number", first_bytes=first_bytes))
    assert str(error) == "TLS with the server failed: wrong version number [ERR_SSL_WRONG_VERSION_NUMBER]"
    assert mend in str(error.hint)


def test_text_after_the_handshake_is_not_another_protocol() -> None:
    """Once open, the first bytes were TLS: here somebody broke in."""
    error = error_from_fault(ssl_fault("server", 267, "wrong version number", opened=True, first_bytes=b"GET / HT"))
    assert type(error) is errors.PeerError
    assert "change the bytes" in str(error.hint)


@pytest.mark.parametrize(
    ("number", "reason", "role", "text", "mend"),
    [
        (258, "unsupported protocol", "server", "TLS with the client failed: no common protocol version", "min_version"),
        (193, "no shared cipher", "server", "TLS with the client failed: no common cipher", "ciphers"),
        (193, "no shared cipher", "server", "no common cipher", "no certificate is configured"),
        (101, "no suitable key share", "server", "no common group", "ecdh_curve"),
        (378, "wrong curve", "client", "TLS with the server failed: no common group", "ecdh_curve"),
        (376, "no shared signature algorithms", "server", "no common signature algorithm", "sigalgs"),
        (118, "no suitable signature algorithm", "server", "no common signature algorithm", "no certificate is configured"),
        (235, "no application protocol", "server", "no common ALPN protocol", "alpn_mismatch"),
        (338, "unsafe legacy renegotiation disabled", "client", "RFC 5746", "The server has to be updated"),
        (394, "dh key too small", "client", "Diffie-Hellman", "larger"),
    ],
)
def test_disagreement_is_explained(number: int, reason: str, role: Role, text: str, mend: str) -> None:
    """The cause in the message, the option to look at in the hint, Node's code, OpenSSL's reason."""
    error = error_from_fault(ssl_fault(role, number, reason, first_bytes=HELLO, stack=("error:0A",)))
    assert type(error) is errors.HandshakeError
    assert text in str(error)
    assert mend in str(error.hint)
    assert error.code == f"ERR_SSL_{reason.upper().replace(' ', '_')}"
    assert (error.reason, error.openssl_errors) == (reason, ("error:0A",))


@pytest.mark.parametrize("number", [191, 181, 177, 179, 190])
def test_own_configuration_is_blamed(number: int) -> None:
    """What no peer can help is a ConfigError."""
    error = error_from_fault(ssl_fault("client", number, "no protocols available"))
    assert type(error) is errors.ConfigError
    assert error.code == "ERR_SSL_NO_PROTOCOLS_AVAILABLE"
    assert error.hint


def test_other_reasons_stay_whole() -> None:
    """An unknown reason, or another library's number, is told as it is."""
    unknown = error_from_fault(ssl_fault("server", 104, "inconsistent extms"))
    assert str(unknown) == "TLS with the client failed: inconsistent extms [ERR_SSL_INCONSISTENT_EXTMS]"
    foreign = error_from_fault(Fault(kind="ssl", role="server", library="rsa routines", reason="bad signature", reason_code=193))
    assert str(foreign) == "TLS with the client failed: bad signature [ERR_SSL_BAD_SIGNATURE]"
    assert (unknown.hint, foreign.hint) == (None, None)
    silent = error_from_fault(Fault(kind="ssl", role="client", opened=True))
    assert str(silent) == "TLS with the server failed: no reason given [ERR_TLS_PEER]"
    assert error_from_fault(Fault(kind="refused", role="server", alert_sent=112)).alert == "unrecognized_name"


def test_another_librarys_number_is_no_bad_record() -> None:
    """Numbers of libcrypto's parts overlap with libssl's."""
    fault = Fault(kind="ssl", role="client", library="rsa routines", reason="x", reason_code=267)
    assert error_from_fault(fault).hint is None


def test_missing_client_certificate_on_the_server() -> None:
    """The client is at fault, by a missing certificate."""
    error = error_from_fault(ssl_fault("server", 199, "peer did not return a certificate", alert_sent=116, first_bytes=HELLO))
    assert type(error) is errors.CertificateError
    assert error.code == "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"
    assert error.alert == "certificate_required"
    assert "client" in str(error).lower()
    assert "request_cert" in str(error.hint)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        # OpenSSL 3.0 and 3.2 have different texts for one number.
        (ssl_fault("client", 1040, "sslv3 alert handshake failure"), "ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE"),
        (ssl_fault("client", 1040, "ssl/tls alert handshake failure"), "ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE"),
        (Fault(kind="alert", role="client", alert_received=40), "ERR_SSL_ALERT_HANDSHAKE_FAILURE"),
        (Fault(kind="hangup", role="client", first_bytes=b"\x15\x03\x03\x00\x02\x02\x28"), "ERR_SSL_ALERT_HANDSHAKE_FAILURE"),
    ],
)
def test_alert_is_found_wherever_it_stands(fault: Fault, code: str) -> None:
    """Told by the engine, by OpenSSL's number, or as the peer's first record."""
    error = error_from_fault(fault)
    assert type(error) is errors.AlertReceived
    assert (error.alert, error.code) == ("handshake_failure", code)
    assert "no common cipher" in str(error)
    assert "ciphers" in str(error.hint)


@pytest.mark.parametrize(
    ("fault", "text", "mend"),
    [
        (Fault(kind="alert", role="client", alert_received=40, certificate_requested=True), "client certificate", "Give cert= and key="),
        (Fault(kind="alert", role="client", alert_received=116, opened=True), "client certificate", "Give cert= and key="),
        (Fault(kind="alert", role="server", alert_received=48), "does not trust the CA of this side's certificate", "intermediates"),
        (Fault(kind="alert", role="client", alert_received=48), "does not trust the CA of this side's certificate", "client certificate"),
        (Fault(kind="alert", role="server", alert_received=45), "this side's certificate has expired", "Renew"),
        (Fault(kind="alert", role="server", alert_received=42), "does not accept this side's certificate", "The client checks"),
        (Fault(kind="alert", role="client", alert_received=70), "no common protocol version", "max_version"),
        (Fault(kind="alert", role="client", alert_received=120), "no common ALPN protocol", "alpn_protocols"),
        (Fault(kind="alert", role="client", alert_received=112), "does not serve the requested name", "servername"),
        (Fault(kind="alert", role="client", alert_received=200), "alert 200", "server's log"),
    ],
)
def test_alert_is_explained(fault: Fault, text: str, mend: str) -> None:
    """The peer's word, what it means for us, and what to do on our side."""
    error = error_from_fault(fault)
    assert type(error) is errors.AlertReceived
    assert text in str(error)
    assert mend in str(error.hint)
    assert ("ended the connection" in str(error)) is fault.opened


@pytest.mark.parametrize("alert", sorted(explanations._ALERT_CAUSES))
@pytest.mark.parametrize("role", ["client", "server"])
def test_every_alert_has_a_mend(alert: int, role: Role) -> None:
    """Both sides are told something, in a whole sentence."""
    assert str(error_from_fault(Fault(kind="alert", role=role, alert_received=alert)).hint).endswith((".", "'."))


def test_code_of_an_unnamed_alert() -> None:
    """Without OpenSSL's reason the code is made of the number."""
    assert error_from_fault(Fault(kind="alert", role="client", alert_received=200)).code == "ERR_SSL_ALERT_ALERT_200"


@pytest.mark.parametrize("kind", ["verify", "ssl"])
def test_refused_certificate_names_every_cause(kind: FaultKind) -> None:
    """Node's code is the last one; all stand in `reasons`."""
    fault = Fault(
        kind=kind,
        role="client",
        reason="certificate verify failed",
        reason_code=134,
        verify_errors=((10, 0), (20, 1), (20, 2)),
        alert_sent=48,
    )
    error = error_from_fault(fault, host="example.org")
    assert type(error) is errors.CertificateError
    assert error.code == "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"
    assert error.reasons == ("CERT_HAS_EXPIRED", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY")
    assert error.alert == "unknown_ca"
    assert error.message == (
        "The server example.org's certificate was refused: certificate has expired; unable to get local issuer certificate"
    )


@pytest.mark.parametrize(
    ("library", "number", "reason"),
    [("asn1 encoding routines", 155, "too long"), ("SSL routines", 1113, "tlsv1 bad certificate status response")],
)
def test_response_that_openssl_cannot_read(library: str, number: int, reason: str) -> None:
    """OpenSSL 3.6 refuses it with that alert before we see it; what it says of itself is not taken for an alert that came."""
    error = error_from_fault(Fault(kind="ssl", role="client", library=library, reason=reason, reason_code=number, alert_sent=113))
    assert isinstance(error, errors.CertificateError)
    assert (error.code, error.reasons, error.alert) == (
        "OCSP_RESPONSE_MALFORMED",
        ("OCSP_RESPONSE_MALFORMED",),
        "bad_certificate_status_response",
    )
    assert reason in str(error)


def test_refusal_without_a_cause() -> None:
    """Nothing is made up."""
    error = error_from_fault(Fault(kind="verify", role="client"))
    assert str(error) == "The server's certificate was refused [ERR_TLS_CERTIFICATE]"
    assert "aNULL" in str(error.hint)
    assert error_from_fault(Fault(kind="verify", role="server")).hint is None


@pytest.mark.parametrize(
    ("fault", "message", "mend"),
    [
        (Fault(kind="hangup", role="server"), "socket hang up", "checked the port"),
        (Fault(kind="hangup", role="client"), "Client network socket disconnected", "without sending a byte"),
        (Fault(kind="hangup", role="client", first_bytes=HELLO), "Client network socket disconnected", "servername"),
        (Fault(kind="hangup", role="client", first_bytes=HELLO, certificate_requested=True), "Client network", "client certificate"),
        (Fault(kind="hangup", role="client", first_bytes=b"HTTP"), "Client network socket", "plain text"),
    ],
)
def test_hangup_is_nodes_econnreset(fault: Fault, message: str, mend: str) -> None:
    """Node's message and code; the hint says what such a hang-up usually means."""
    error = error_from_fault(fault)
    assert type(error) is errors.ConnectionLostError
    assert error.code == "ECONNRESET"
    assert error.message.startswith(message)
    assert mend in str(error.hint)


@pytest.mark.parametrize(("role", "who"), [("server", "The client"), ("client", "The server")])
def test_end_in_place_of_an_answer(role: Role, who: str) -> None:
    """It names the side that has ended, and says when to ask."""
    error = error_from_fault(Fault(kind="unanswered", role=role, opened=True))
    assert type(error) is errors.HandshakeError
    assert error.code == "ERR_TLS_HANDSHAKE_UNANSWERED"
    assert error.message == f"{who} closed the connection before another handshake was complete"
    assert "renegotiate()" in str(error.hint)


@pytest.mark.parametrize(
    ("number", "opened", "code"),
    [(errno.EPIPE, True, "EPIPE"), (errno.ETIMEDOUT, True, "ETIMEDOUT"), (errno.ECONNRESET, False, "ECONNRESET"), (0, True, "ECONNRESET")],
)
def test_failed_system_call_keeps_its_errno(number: int, opened: bool, code: str) -> None:  # noqa: FBT001  (a column of the table)
    """A lost connection is a ConnectionError with the system's code."""
    error = error_from_fault(Fault(kind="os", role="client", os_errno=number, opened=opened))
    assert type(error) is errors.ConnectionLostError
    assert error.code == code
    assert str(error).startswith("The connection with the server was lost: ")
    assert ("the server's log" in str(error.hint)) is (opened and number != errno.ETIMEDOUT)
    assert error.hint


def test_memory() -> None:
    """Missing memory is neither side's fault."""
    assert error_from_fault(Fault(kind="memory", role="client")).code == "ERR_TLS_OUT_OF_MEMORY"


@pytest.mark.parametrize(
    ("limit", "opened", "code", "kind"),
    [
        ("handshake_bytes", False, "ERR_TLS_HANDSHAKE_TOO_LARGE", errors.HandshakeError),
        ("key_updates", True, "ERR_TLS_TOO_MANY_KEY_UPDATES", errors.PeerError),
        ("certificate_requests", True, "ERR_TLS_TOO_MANY_CERTIFICATE_REQUESTS", errors.PeerError),
        ("partial_record", True, "ERR_TLS_PARTIAL_RECORD_TIMEOUT", errors.PeerError),
        ("dh_size", False, "ERR_TLS_DH_PARAM_SIZE", errors.HandshakeError),
        ("", False, "ERR_TLS_LIMIT", errors.HandshakeError),
    ],
)
def test_passed_limit_is_named(limit: str, opened: bool, code: str, kind: type) -> None:  # noqa: FBT001  (a column of the table)
    """The option's name is in the text where there is one."""
    error = error_from_fault(Fault(kind="limit", role="server", limit=limit, opened=opened))
    assert type(error) is kind
    assert error.code == code
    assert error.hint


@pytest.mark.parametrize(
    ("role", "first_bytes", "mend"),
    [
        ("server", b"", "sent nothing"),
        ("server", HELLO, "stalled during the handshake"),
        ("server", b"GE", "plain text"),
        ("client", b"", "may not use TLS"),
        ("client", HELLO, "stalled during the handshake"),
    ],
)
def test_timeout_says_how_far_it_came(role: Role, first_bytes: bytes, mend: str) -> None:
    """Node's message and code, and the peer; the hint tells silence from slowness."""
    error = error_from_fault(Fault(kind="timeout", role=role, first_bytes=first_bytes))
    assert type(error) is errors.HandshakeTimeoutError
    peer = "the client" if role == "server" else "the server"
    words = f"TLS handshake timeout: {peer} did not finish within handshake_timeout= [ERR_TLS_HANDSHAKE_TIMEOUT]"
    assert str(error) == words
    assert mend in str(error.hint)


def test_timeout_of_another_handshake_names_the_data_before_it() -> None:
    """The usual cause is that our own application does not read what the peer sent before its answer."""
    error = error_from_fault(Fault(kind="timeout", role="server", first_bytes=HELLO, opened=True))
    assert "read that data" in str(error.hint)


def test_stats_start_at_zero() -> None:
    """A server that did nothing."""
    assert ServerStats().handshakes_failed == {}
    assert ServerStats().accepted == 0


def test_refused_renegotiation_says_what_to_do_instead() -> None:
    """Of an open connection; a peer that hangs up in the middle of one gets the same hint."""
    refused = error_from_fault(ssl_fault("server", 339, "no renegotiation", opened=True))
    left = error_from_fault(Fault(kind="hangup", role="server", opened=True))
    assert refused.code == "ERR_SSL_NO_RENEGOTIATION"
    assert refused.hint == left.hint
    assert "request_cert=True" in (refused.hint or "")


@pytest.mark.parametrize(
    ("number", "reason"), [(146, "data length too long"), (150, "encrypted length too long"), (198, "packet length too long")]
)
def test_overlong_records_have_one_explanation(number: int, reason: str) -> None:
    """The versions of OpenSSL report them differently."""
    fault = Fault(kind="ssl", role="client", library="SSL routines", reason=reason, reason_code=number, opened=True)
    assert "another middlebox may change the bytes" in (error_from_fault(fault).hint or "")
