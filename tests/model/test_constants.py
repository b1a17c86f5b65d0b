"""The defaults that users may change, and OpenSSL's numbers."""

import ssl

import pytest

from tlsio.model import constants
from tlsio.model.errors import UsageError


@pytest.fixture
def defaults(monkeypatch: pytest.MonkeyPatch) -> constants.Defaults:
    """Defaults of their own, so that the process's stay as they are; the machine's environment says nothing."""
    for name in ("TLSIO_CIPHER_LIST", "TLSIO_MIN_VERSION", "TLSIO_MAX_VERSION"):
        monkeypatch.delenv(name, raising=False)
    return constants.Defaults()


def test_defaults_are_nodes(defaults: constants.Defaults) -> None:
    """Values of Node, times in seconds."""
    assert defaults.ciphers == constants.DEFAULT_CIPHERS
    assert defaults.ciphers.startswith("TLS_AES_256_GCM_SHA384:")
    assert (defaults.min_version, defaults.max_version) == ("TLSv1.2", "TLSv1.3")
    assert (defaults.ecdh_curve, defaults.handshake_timeout) == ("auto", 120.0)
    assert (defaults.client_reneg_limit, defaults.client_reneg_window) == (3, 600.0)


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("min_version", ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
        ("handshake_timeout", None, None),
        ("client_reneg_limit", 0, 0),
        ("client_reneg_window", 5, 5.0),
        ("ciphers", "HIGH", "HIGH"),
    ],
)
def test_assignment_takes_good_values(defaults: constants.Defaults, name: str, value: object, stored: object) -> None:
    """What is assigned is what is read, in checked form."""
    setattr(defaults, name, value)
    assert getattr(defaults, name) == stored


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("ciphers", 9, "ERR_INVALID_ARG_TYPE"),
        ("ciphers", "", "ERR_INVALID_ARG_VALUE"),
        ("ecdh_curve", "", "ERR_INVALID_ARG_VALUE"),
        ("max_version", "TLSv2", "ERR_TLS_INVALID_PROTOCOL_VERSION"),
        ("handshake_timeout", 120000, "ERR_OUT_OF_RANGE"),
        ("client_reneg_limit", -1, "ERR_OUT_OF_RANGE"),
    ],
)
def test_assignment_refuses_bad_values(defaults: constants.Defaults, name: str, value: object, code: str) -> None:
    """A bad value raises and the old one stays."""
    before = getattr(defaults, name)
    with pytest.raises(UsageError, match=rf"^defaults\.{name} ") as caught:
        setattr(defaults, name, value)
    assert caught.value.code == code
    assert getattr(defaults, name) == before


def test_unknown_default_names_the_nearest(defaults: constants.Defaults) -> None:
    """A misspelt default is not silently stored."""
    with pytest.raises(UsageError, match="minVersion") as caught:
        defaults.minVersion = "TLSv1.2"
    assert "min_version" in str(caught.value.hint)
    with pytest.raises(UsageError):
        del defaults.min_version


def test_repr_shows_what_holds(defaults: constants.Defaults) -> None:
    """For a look in the debugger."""
    assert "min_version='TLSv1.2'" in repr(defaults)


@pytest.mark.node("tls-cli-max-version-1.2", "tls-cli-min-version-1.0", "tls-cli-min-version-1.1", "tls-cli-min-version-1.2")
@pytest.mark.parametrize(
    ("variable", "value", "name", "stored"),
    [
        ("TLSIO_CIPHER_LIST", "HIGH:!aNULL", "ciphers", "HIGH:!aNULL"),
        ("TLSIO_CIPHER_LIST", "", "ciphers", constants.DEFAULT_CIPHERS),
        ("TLSIO_MIN_VERSION", "TLSv1", "min_version", "TLSv1"),
        ("TLSIO_MIN_VERSION", "TLSv1.1", "min_version", "TLSv1.1"),
        ("TLSIO_MIN_VERSION", "TLSv1.2", "min_version", "TLSv1.2"),
        ("TLSIO_MIN_VERSION", "TLSv1.3", "min_version", "TLSv1.3"),
        ("TLSIO_MAX_VERSION", "TLSv1.2", "max_version", "TLSv1.2"),
        ("TLSIO_MAX_VERSION", "", "max_version", "TLSv1.3"),
    ],
)
def test_environment_sets_what_defaults_begin_with(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, name: str, stored: str
) -> None:
    """As Node's flags `--tls-cipher-list`, `--tls-min-v1.0` and so on; the other bound stays."""
    monkeypatch.setenv(variable, value)
    made = constants.Defaults()
    assert getattr(made, name) == stored
    assert {made.ciphers, made.min_version, made.max_version} - {stored} <= {constants.DEFAULT_CIPHERS, "TLSv1.2", "TLSv1.3"}


@pytest.mark.parametrize(
    ("variable", "value", "code"),
    [
        ("TLSIO_CIPHER_LIST", ":", "ERR_INVALID_ARG_VALUE"),
        ("TLSIO_MIN_VERSION", "1.2", "ERR_TLS_INVALID_PROTOCOL_VERSION"),
        ("TLSIO_MAX_VERSION", "TLSv1.4", "ERR_TLS_INVALID_PROTOCOL_VERSION"),
    ],
)
def test_bad_value_in_the_environment_names_its_variable(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, code: str) -> None:
    """It must not fall back silently: somebody wanted it stricter."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=rf"^{variable} ") as caught:
        constants.Defaults()
    assert caught.value.code == code


@pytest.mark.node("tls-cli-min-max-conflict")
@pytest.mark.parametrize(("low", "high"), [("TLSv1.3", "TLSv1.2"), ("", "TLSv1.1")])
def test_environment_that_leaves_no_version(monkeypatch: pytest.MonkeyPatch, low: str, high: str) -> None:
    """Node: "either --tls-min-v1.3 or --tls-max-v1.2 can be used, not both"."""
    monkeypatch.setenv("TLSIO_MIN_VERSION", low)
    monkeypatch.setenv("TLSIO_MAX_VERSION", high)
    with pytest.raises(UsageError, match="no protocol version is left") as caught:
        constants.Defaults()
    assert caught.value.code == "ERR_TLS_PROTOCOL_VERSION_CONFLICT"


@pytest.mark.parametrize(
    "name",
    [
        "OP_NO_TICKET",
        "OP_NO_COMPRESSION",
        "OP_CIPHER_SERVER_PREFERENCE",
        "OP_NO_SSLv3",
        "OP_NO_TLSv1",
        "OP_NO_TLSv1_1",
        "OP_NO_TLSv1_2",
        "OP_NO_TLSv1_3",
        "OP_NO_RENEGOTIATION",
    ],
)
def test_numbers_are_openssls(name: str) -> None:
    """The standard library has them from the headers."""
    assert getattr(constants, f"SSL_{name}") == getattr(ssl, name)


def test_all_is_openssls() -> None:
    """The standard library leaves out one bit, and shows a sign in some versions."""
    assert constants.SSL_OP_ALL == ssl.OP_ALL & 0xFFFFFFFF | constants.SSL_OP_DONT_INSERT_EMPTY_FRAGMENTS
