"""Findings about servers that do not get as far as TLS."""

from __future__ import annotations

import errno
import re
import socket
from typing import TYPE_CHECKING

from tlsio.model.errors import HandshakeTimeoutError, TLSError
from tlsio.model.explanations import error_from_fault
from tlsio.model.faults import Fault
from tlsio.probe.findings import found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlsio.probe.findings import Finding
    from tlsio.probe.hello import Answer
    from tlsio.probe.target import Target

__all__ = ["explain_answer", "explain_unreachable"]

_STARTTLS = {
    "ERR_TLS_STARTTLS_MISSING": "starttls-missing",
    "ERR_TLS_STARTTLS_REFUSED": "starttls-refused",
    "ERR_TLS_STARTTLS_PROTOCOL": "starttls-protocol",
    "ERR_TLS_STARTTLS_LIMIT": "starttls-protocol",
    "ERR_TLS_STARTTLS_INJECTION": "starttls-injection",
}
_SILENCES: Mapping[str, tuple[str, str]] = {
    "silent": ("silent", "The server was connected, but sent nothing after the ClientHello."),
    "reset": ("reset-at-hello", "The connection was reset after the ClientHello."),
    "closed": ("closed-at-hello", "The server closed the connection after the ClientHello without an answer."),
}
# A network that asks for a login answers with a redirect, or with RFC 6585's 511.
_PORTAL = re.compile(rb"HTTP/1\.[01] (?:30[1278]|511)\b")
# OpenSSL's SSL_R_WRONG_VERSION_NUMBER, which it reports for any other protocol.
_WRONG_VERSION = 267


def explain_unreachable(target: Target, error: OSError | TLSError) -> Finding:
    """Explain why there is no connection on which TLS could begin."""
    where = f"{target.host} port {target.port}"
    if isinstance(error, HandshakeTimeoutError):
        return found("silent", f"{error.message}.", error.hint)
    if isinstance(error, TLSError):
        return found(_STARTTLS.get(error.code, "starttls-protocol"), f"{error.message}.")
    if isinstance(error, socket.gaierror):
        return found("name-not-found", f"{target.host} has no address: {error.strerror}.")
    if error.errno == errno.ECONNREFUSED:
        return found("port-closed", f"Nothing listens on {where}.")
    return found("unreachable", f"{where}: {error.strerror or error}.")


def explain_answer(answer: Answer) -> Finding:
    """Explain an answer to a hello that is not TLS, or that is none."""
    if answer.kind in _SILENCES:
        return found(*_SILENCES[answer.kind])
    if answer.kind == "alert":
        kind = "no-common-suite" if answer.alert in {"handshake_failure", "insufficient_security"} else "handshake-failed"
        return found(kind, f"The server refused every usual version, suite and group with the alert {answer.alert}.")
    return _explain_bytes(answer)


def _explain_bytes(answer: Answer) -> Finding:
    if _PORTAL.match(answer.first_bytes):
        return found("captive-portal", "The port answers in plain HTTP with a redirect: a network that wants a login.")
    if answer.first_bytes.startswith(b"HTTP/"):
        return found("plain-http", "The server answered in plain HTTP.")
    fault = Fault(kind="ssl", role="client", library="SSL routines", reason_code=_WRONG_VERSION, first_bytes=answer.first_bytes)
    error = error_from_fault(fault, host=None)
    if error.message.startswith("TLS with"):  # the explanation of bytes that no protocol begins with
        return found("not-tls", f"The server answered with {answer.first_bytes!r}, which is not TLS.")
    return found("other-protocol", f"{error.message}.", error.hint)
