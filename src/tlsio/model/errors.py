"""Every exception the core raises. The class names the guilty side, the code is stable.

    TLSError
      UsageError              the caller: a wrong argument, a wrong moment
        UsageTypeError          also TypeError
        UsageValueError         also ValueError
        UsageStateError         also RuntimeError
      ConfigError             the owner of the configuration: certificate, key, cipher list
      PeerError               the other side
        HandshakeError          no agreement, or bytes that are not TLS
        AlertReceived           the other side gave up and said why
        CertificateError        its certificate is missing or not good enough
          CertificateAltNameError   good, but for another name
        TruncatedError          it ended without saying goodbye
      ConnectionLostError     the way between, also ConnectionError
      HandshakeTimeoutError   also TimeoutError
      StoreError              a session store or what stands behind it

Constructors are public: a test or a hook may raise any of these.
"""

import errno
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.x509 import Certificate

__all__ = [
    "AlertReceived",
    "CertificateAltNameError",
    "CertificateError",
    "ConfigError",
    "ConnectionLostError",
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
    "missing_extra",
]


class TLSError(Exception):
    """Root of all errors of this library.

    Pickling and copying keep every attribute: what `args` cannot carry travels in `__dict__`.

    Args:
        message: What was attempted, what was found. Default: the class's own sentence.
        code: Stable and meant for programs: Node's where Node has one.
        alert: Name of the TLS alert sent or received, such as `"handshake_failure"`.
        reason: OpenSSL's own words, never shortened.
        hint: One sentence that says what to do; also added as a note (PEP 678).
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
        Exception.__init__(self, self.message)  # not super(): the built-in classes beside us want arguments of their own
        self.code = self.default_code if code is None else code
        self.alert = alert
        self.reason = reason
        self.hint = hint
        self.openssl_errors = openssl_errors
        if hint is not None:
            self.add_note(hint)

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


class UsageError(TLSError):
    """The call is wrong; nothing was done."""

    default_code = "ERR_TLS_USAGE"
    default_message = "The call is wrong"


class UsageTypeError(UsageError, TypeError):
    """An argument of the wrong type, an option that does not exist, or two that exclude each other."""

    default_code = "ERR_INVALID_ARG_TYPE"
    default_message = "An argument has the wrong type"


class UsageValueError(UsageError, ValueError):
    """An argument of the right type whose value cannot be used."""

    default_code = "ERR_INVALID_ARG_VALUE"
    default_message = "An argument has a value that cannot be used"


class UsageStateError(UsageError, RuntimeError):
    """The right call at the wrong moment."""

    default_code = "ERR_TLS_INVALID_STATE"
    default_message = "This cannot be done now"


class ConfigError(TLSError):
    """Our own certificate, key, trust or cipher list cannot be used."""

    default_code = "ERR_TLS_CONFIG"
    default_message = "The configuration cannot be used"


class PeerError(TLSError):
    """The other side is at fault, or it says that we are."""

    default_code = "ERR_TLS_PEER"
    default_message = "The peer broke the connection's rules"


class HandshakeError(PeerError):
    """No connection came about: no agreement, a refusal, or bytes that are not TLS.

    A hook may raise it to choose the alert: `raise HandshakeError(alert="unrecognized_name")`.
    """

    default_code = "ERR_TLS_HANDSHAKE"
    default_message = "The TLS handshake was refused"


class AlertReceived(PeerError):  # noqa: N818  (public name, kept from the reference; it reads as an event)
    """The peer gave up and sent a fatal alert; `alert` is its name."""

    default_code = "ERR_SSL_ALERT_RECEIVED"
    default_message = "The peer ended the connection with a fatal alert"


class CertificateError(PeerError):
    """The peer's certificate is missing, or refused.

    Attributes:
        reasons: The code of every cause, chain causes first. `code` is the deciding one.
    """

    default_code = "ERR_TLS_CERTIFICATE"
    default_message = "The peer's certificate was refused"

    reasons: tuple[str, ...]

    def __init__(  # noqa: PLR0913  (the parameters of the root, all keyword-only, and one more)
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        reasons: tuple[str, ...] = (),
        alert: str | None = None,
        reason: str | None = None,
        hint: str | None = None,
        openssl_errors: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, code=code, alert=alert, reason=reason, hint=hint, openssl_errors=openssl_errors)
        self.reasons = reasons or (self.code,)


class CertificateAltNameError(CertificateError):
    """The peer's certificate is for another name.

    Attributes:
        reason: Which names were compared.
        host: The name that was looked for.
        cert: The certificate as it was given to the check.
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


class TruncatedError(PeerError):
    """The peer ended the connection without close_notify, so data may be missing."""

    default_code = "ERR_TLS_TRUNCATED"
    default_message = "The peer closed the connection without close_notify: data may be missing"


class ConnectionLostError(TLSError, ConnectionError):
    """The connection under TLS is gone. `errno` follows from `code` where that is an errno name."""

    default_code = "ECONNRESET"
    default_message = "The connection was lost"

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
        super().__init__(message, code=code, alert=alert, reason=reason, hint=hint, openssl_errors=openssl_errors)
        self.errno = getattr(errno, self.code, None)

    def __setstate__(self, state: dict[str, Any] | None) -> None:
        # OSError keeps errno outside __dict__, so a copy would keep the default's.
        super().__setstate__(state)
        self.errno = getattr(errno, self.code, None)


class HandshakeTimeoutError(TLSError, TimeoutError):
    """The handshake was not done in time."""

    default_code = "ERR_TLS_HANDSHAKE_TIMEOUT"
    default_message = "TLS handshake timeout"


class StoreError(TLSError):
    """A session store did not do what it was asked for: no answer in time, no connection, no room."""

    default_code = "ERR_TLS_STORE"
    default_message = "The session store failed"


def missing_extra(package: str, extra: str) -> ConfigError:
    """Make the error for a package that only a part of tlsio needs."""
    return ConfigError(f"The package {package} is not installed", code="ERR_TLS_MISSING_EXTRA", hint=f"pip install 'tlsio[{extra}]'")
