"""The exceptions: classes, codes, hints, and that they survive a copy."""

import copy
import errno
import pickle

import pytest

from tlsio.model import errors

ALL = [
    kind
    for name in errors.__all__
    if isinstance(kind := getattr(errors, name), type) and name != "CertificateAltNameError"  # which has arguments of its own
]


@pytest.mark.parametrize("kind", ALL)
def test_constructor_is_public(kind: type[errors.TLSError]) -> None:
    """Without arguments each class says its own sentence with its own code."""
    error = kind()
    assert str(error) == f"{kind.default_message} [{kind.default_code}]"
    assert (error.message, error.code) == (kind.default_message, kind.default_code)
    assert (error.alert, error.reason, error.hint, error.openssl_errors) == (None, None, None, ())


@pytest.mark.parametrize("kind", ALL)
def test_everything_survives_pickle_and_copy(kind: type[errors.TLSError]) -> None:
    """A pickled or copied error keeps all attributes and its note once."""
    error = kind("said", code="EPIPE", alert="unknown_ca", reason="why", hint="do this", openssl_errors=("a", "b"))
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301  (our own bytes)
        assert type(twin) is kind
        assert vars(twin) == vars(error)
        assert str(twin) == "said [EPIPE]"
        assert twin.__notes__ == ["do this"]
        assert getattr(twin, "errno", None) == getattr(error, "errno", None)


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        (errors.UsageTypeError, (errors.UsageError, TypeError)),
        (errors.UsageValueError, (errors.UsageError, ValueError)),
        (errors.UsageStateError, (errors.UsageError, RuntimeError)),
        (errors.ConfigError, (errors.TLSError,)),
        (errors.HandshakeError, (errors.PeerError,)),
        (errors.AlertReceived, (errors.PeerError,)),
        (errors.CertificateAltNameError, (errors.CertificateError, errors.PeerError)),
        (errors.TruncatedError, (errors.PeerError,)),
        (errors.ConnectionLostError, (errors.TLSError, ConnectionError)),
        (errors.HandshakeTimeoutError, (errors.TLSError, TimeoutError)),
    ],
)
def test_class_names_the_guilty_side(kind: type, bases: tuple[type, ...]) -> None:
    """Each class can be caught as what it is in Python, too."""
    assert all(issubclass(kind, base) for base in bases)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.UsageTypeError, "ERR_INVALID_ARG_TYPE"),
        (errors.UsageValueError, "ERR_INVALID_ARG_VALUE"),
        (errors.HandshakeError, "ERR_TLS_HANDSHAKE"),
        (errors.HandshakeTimeoutError, "ERR_TLS_HANDSHAKE_TIMEOUT"),
        (errors.ConnectionLostError, "ECONNRESET"),
    ],
)
def test_codes_are_stable(kind: type[errors.TLSError], code: str) -> None:
    """Programs compare these."""
    assert kind.default_code == code


def test_hook_may_choose_the_alert() -> None:
    """An alert alone makes an error."""
    assert errors.HandshakeError(alert="unrecognized_name").alert == "unrecognized_name"


def test_altname_error_is_nodes() -> None:
    """Message, code, reason, host and cert are Node's, and survive a pickle."""
    error = errors.CertificateAltNameError("Host: a. is not cert's CN: b", "a", {"subject": {"CN": "b"}}, hint="look")
    twin = pickle.loads(pickle.dumps(error))  # noqa: S301  (our own bytes)
    for found in (error, twin):
        assert str(found) == (
            "Hostname/IP does not match certificate's altnames: Host: a. is not cert's CN: b [ERR_TLS_CERT_ALTNAME_INVALID]"
        )
        assert (found.reason, found.host, found.cert) == ("Host: a. is not cert's CN: b", "a", {"subject": {"CN": "b"}})
        assert found.reasons == ("ERR_TLS_CERT_ALTNAME_INVALID",)
        assert found.hint == "look"


def test_certificate_error_lists_every_cause() -> None:
    """Without causes the code is the only one."""
    assert errors.CertificateError(code="CERT_HAS_EXPIRED").reasons == ("CERT_HAS_EXPIRED",)
    assert errors.CertificateError(code="X", reasons=("A", "X")).reasons == ("A", "X")


def test_errno_follows_from_the_code() -> None:
    """Code that looks at errno finds it, where there is one."""
    assert errors.ConnectionLostError().errno == errno.ECONNRESET
    assert errors.ConnectionLostError(code="EPIPE").errno == errno.EPIPE
    assert errors.ConnectionLostError(code="ERR_SOCKET_CLOSED").errno is None
