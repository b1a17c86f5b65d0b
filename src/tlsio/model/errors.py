"""Every exception of the core. The class says which side is at fault, and the code is stable.

    TLSError
      UsageError              the caller: a wrong argument, or a call at the wrong time
        UsageTypeError          also TypeError
        UsageValueError         also ValueError
        UsageStateError         also RuntimeError
      ConfigError             the local configuration: certificate, key, trust, cipher list
      PeerError               the peer
        HandshakeError          no common parameters, or bytes that are not TLS
        AlertReceived           the peer sent a fatal alert
        CertificateError        the peer's certificate is missing or was refused
          CertificateAltNameError   the certificate is for another name
        TruncatedError          the peer closed without close_notify
      ConnectionLostError     the network, also ConnectionError
      HandshakeTimeoutError   also TimeoutError
      StoreError              a session store or its backend
      FetchError              what an HTTP server should have sent
        FetchTimeoutError       also TimeoutError
      ACMEError               an authority of ACME: its refusal, or an answer that cannot be used

Constructors are public: tests and hooks may raise any of these.
"""

import errno
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict, Unpack

from tlsio.model.exported import exported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.x509 import Certificate

__all__ = [
    "ACMEError",
    "AlertReceived",
    "CertificateAltNameError",
    "CertificateError",
    "ConfigError",
    "ConnectionLostError",
    "FetchError",
    "FetchTimeoutError",
    "HandshakeError",
    "HandshakeTimeoutError",
    "PeerError",
    "StoreError",
    "TLSError",
    "TruncatedError",
    "UsageError",
    "UsageStateError",
    "UsageTypeError",
    "UsageValueError",
    "add_hint",
    "missing_extra",
]


@exported
class TLSError(Exception):
    """Root of all errors of this library.

    Pickling and copying keep every attribute: those that are not in `args` are in `__dict__`.

    Args:
        message: What was attempted and what was found. Default: the class's own message.
        code: Stable, for programs; Node's code if Node has one.
        alert: Name of the TLS alert sent or received, such as `"handshake_failure"`.
        reason: OpenSSL's own text, never shortened.
        hint: What to do; also added as a note (PEP 678).
        openssl_errors: OpenSSL's whole error queue, oldest first.
    """

    default_code: ClassVar[str] = "ERR_TLS"
    default_message: ClassVar[str] = "TLS failed"

    message: str
    code: str
    alert: str | None
    reason: str | None
    hint: str | None
    openssl_errors: tuple[str, ...]

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        alert: str | None = None,
        reason: str | None = None,
        hint: str | None = None,
        openssl_errors: tuple[str, ...] = (),
    ) -> None:
        self.message = self.default_message if message is None else message
        # Not super(): the built-in base of a subclass, such as OSError, takes other arguments.
        Exception.__init__(self, self.message)
        self.code = self.default_code if code is None else code
        self.alert = alert
        self.reason = reason
        self.hint = hint
        self.openssl_errors = openssl_errors
        if hint is not None:
            self.add_note(hint)

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


class _Details(TypedDict, total=False):
    """The keyword parameters of the root."""

    code: str | None
    alert: str | None
    reason: str | None
    hint: str | None
    openssl_errors: tuple[str, ...]


@exported
class UsageError(TLSError):
    """The call is wrong and had no effect."""

    default_code = "ERR_TLS_USAGE"
    default_message = "The call is wrong"


@exported
class UsageTypeError(UsageError, TypeError):
    """An argument of the wrong type, an unknown option, or two options that exclude each other."""

    default_code = "ERR_INVALID_ARG_TYPE"
    default_message = "An argument has the wrong type"


@exported
class UsageValueError(UsageError, ValueError):
    """An argument of the right type whose value cannot be used."""

    default_code = "ERR_INVALID_ARG_VALUE"
    default_message = "An argument has an invalid value"


@exported
class UsageStateError(UsageError, RuntimeError):
    """A valid call at the wrong time."""

    default_code = "ERR_TLS_INVALID_STATE"
    default_message = "The call is not possible in the current state"


@exported
class ConfigError(TLSError):
    """The local certificate, key, trust or cipher list cannot be used."""

    default_code = "ERR_TLS_CONFIG"
    default_message = "The local TLS configuration cannot be used"


@exported
class PeerError(TLSError):
    """The peer is at fault, or it reports that the local side is."""

    default_code = "ERR_TLS_PEER"
    default_message = "The peer violated the protocol"


@exported
class HandshakeError(PeerError):
    """The handshake failed: no common parameters, a refusal, or bytes that are not TLS.

    A hook may raise it to choose the alert: `raise HandshakeError(alert="unrecognized_name")`.
    """

    default_code = "ERR_TLS_HANDSHAKE"
    default_message = "The TLS handshake was refused"


@exported
class AlertReceived(PeerError):  # noqa: N818  (public name, kept from the reference; it reads as an event)
    """The peer ended the connection with a fatal alert; `alert` is its name."""

    default_code = "ERR_SSL_ALERT_RECEIVED"
    default_message = "The peer ended the connection with a fatal alert"


@exported
class CertificateError(PeerError):
    """The peer's certificate is missing or was refused.

    Attributes:
        reasons: The code of every cause, chain causes first. `code` is the deciding one.
    """

    default_code = "ERR_TLS_CERTIFICATE"
    default_message = "The peer's certificate was refused"

    reasons: tuple[str, ...]

    def __init__(self, message: str | None = None, *, reasons: tuple[str, ...] = (), **details: Unpack[_Details]) -> None:
        super().__init__(message, **details)
        self.reasons = reasons or (self.code,)


@exported
class CertificateAltNameError(CertificateError):
    """The peer's certificate is for another name.

    Attributes:
        reason: The names that were compared.
        host: The expected name.
        cert: The certificate that was passed to the check.
    """

    default_code = "ERR_TLS_CERT_ALTNAME_INVALID"

    reason: str
    host: str
    cert: "Mapping[str, Any] | Certificate"

    def __init__(self, reason: str, host: str, cert: "Mapping[str, Any] | Certificate", *, hint: str | None = None) -> None:
        super().__init__(f"Hostname/IP does not match certificate's altnames: {reason}", reason=reason, hint=hint)
        self.args = (reason, host, cert)
        self.host = host
        self.cert = cert


@exported
class TruncatedError(PeerError):
    """The peer closed the connection without close_notify, so data may be missing."""

    default_code = "ERR_TLS_TRUNCATED"
    default_message = "The peer closed the connection without close_notify: data may be missing"


@exported
class ConnectionLostError(TLSError, ConnectionError):
    """The underlying connection was lost. `errno` is set if `code` is the name of one."""

    default_code = "ECONNRESET"
    default_message = "The connection was lost"

    def __init__(self, message: str | None = None, **details: Unpack[_Details]) -> None:
        super().__init__(message, **details)
        self.errno = getattr(errno, self.code, None)

    def __setstate__(self, state: dict[str, Any] | None) -> None:
        # OSError keeps errno outside __dict__, so a copy would have the default's errno.
        super().__setstate__(state)
        self.errno = getattr(errno, self.code, None)


@exported
class HandshakeTimeoutError(TLSError, TimeoutError):
    """The handshake did not finish in time."""

    default_code = "ERR_TLS_HANDSHAKE_TIMEOUT"
    default_message = "TLS handshake timeout"


@exported
class StoreError(TLSError):
    """A session store failed: no answer in time, no connection, no room."""

    default_code = "ERR_TLS_STORE"
    default_message = "The session store failed"


@exported
class FetchError(TLSError):
    """An HTTP request has no usable response.

    `__cause__` is the OSError or TLSError if the connection failed; `code` is its code then.

    Attributes:
        url: What was requested; it has no user or password.
        host: The URL's host.
    """

    default_code = "ERR_FETCH"
    default_message = "The request has no usable response"

    url: str | None
    host: str | None

    def __init__(self, message: str | None = None, *, url: str | None = None, host: str | None = None, **details: Unpack[_Details]) -> None:
        super().__init__(message, **details)
        self.url = url
        self.host = host


@exported
class FetchTimeoutError(FetchError, TimeoutError):
    """An HTTP request was not answered in time."""

    default_code = "ERR_FETCH_TIMEOUT"
    default_message = "The request was not answered in time"


@exported
class ACMEError(TLSError):
    """An ACME authority refused a request, or its answer cannot be used.

    Attributes:
        problem: The type of the problem document without its prefix, such as `"rateLimited"` (RFC
            8555 §6.7); None if the authority sent none.
        status: The HTTP status; None if it does not matter.
        detail: The authority's own text; None if it sent none.
        retry_after: Seconds that the authority wants the client to wait; None if it does not say.
        subproblems: What is wrong with each identifier (RFC 8555 §6.7.1).
        identifier: The name or address that the problem is about; None if it is about all.
        url: What was requested; None if it does not matter.
    """

    default_code = "ERR_ACME"
    default_message = "The ACME authority refused the request"

    problem: str | None
    status: int | None
    detail: str | None
    retry_after: float | None
    subproblems: "tuple[ACMEError, ...]"
    identifier: str | None
    url: str | None

    def __init__(  # noqa: PLR0913 - what a problem document has
        self,
        message: str | None = None,
        *,
        problem: str | None = None,
        status: int | None = None,
        detail: str | None = None,
        retry_after: float | None = None,
        subproblems: "tuple[ACMEError, ...]" = (),
        identifier: str | None = None,
        url: str | None = None,
        **details: Unpack[_Details],
    ) -> None:
        super().__init__(message, **details)
        self.problem = problem
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        self.subproblems = subproblems
        self.identifier = identifier
        self.url = url


def add_hint(error: BaseException, hint: str) -> None:
    """Give an error that has none a hint, as attribute and as note; Python's own errors too."""
    error.hint = hint  # type: ignore[attr-defined]
    error.add_note(hint)


def missing_extra(package: str, extra: str) -> ConfigError:
    """Return the error for a missing package that only part of tlsio needs."""
    return ConfigError(f"The package {package} is not installed", code="ERR_TLS_MISSING_EXTRA", hint=f"pip install 'tlsio[{extra}]'")
