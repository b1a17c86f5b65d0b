"""Constants for users, and the defaults that they can change.

The `SSL_OP_*` numbers, for `secure_options`, are those of OpenSSL 3 (`include/openssl/ssl.h`, the
same from 3.0 to 3.5).
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from tlsio.model.checks import (
    PROTOCOL_VERSIONS,
    check_ciphers,
    check_filled_text,
    check_handshake_timeout,
    check_int,
    check_seconds,
    check_version,
)
from tlsio.model.environment import read_variable
from tlsio.model.errors import UsageTypeError, UsageValueError

SSL_OP_NO_SSLv2 = 0x0
SSL_OP_LEGACY_SERVER_CONNECT = 1 << 2
SSL_OP_TLSEXT_PADDING = 1 << 4
SSL_OP_SAFARI_ECDHE_ECDSA_BUG = 1 << 6
SSL_OP_ALLOW_NO_DHE_KEX = 1 << 10
SSL_OP_DONT_INSERT_EMPTY_FRAGMENTS = 1 << 11
SSL_OP_NO_QUERY_MTU = 1 << 12
SSL_OP_COOKIE_EXCHANGE = 1 << 13
SSL_OP_NO_TICKET = 1 << 14
SSL_OP_CISCO_ANYCONNECT = 1 << 15
SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION = 1 << 16
SSL_OP_NO_COMPRESSION = 1 << 17
SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION = 1 << 18
SSL_OP_NO_ENCRYPT_THEN_MAC = 1 << 19
SSL_OP_PRIORITIZE_CHACHA = 1 << 21
SSL_OP_CIPHER_SERVER_PREFERENCE = 1 << 22
SSL_OP_TLS_ROLLBACK_BUG = 1 << 23
SSL_OP_NO_SSLv3 = 1 << 25
SSL_OP_NO_TLSv1 = 1 << 26
SSL_OP_NO_TLSv1_2 = 1 << 27
SSL_OP_NO_TLSv1_1 = 1 << 28
SSL_OP_NO_TLSv1_3 = 1 << 29
SSL_OP_NO_RENEGOTIATION = 1 << 30
SSL_OP_CRYPTOPRO_TLSEXT_BUG = 1 << 31
SSL_OP_ALL = SSL_OP_CRYPTOPRO_TLSEXT_BUG | SSL_OP_DONT_INSERT_EMPTY_FRAGMENTS | SSL_OP_TLSEXT_PADDING | SSL_OP_SAFARI_ECDHE_ECDSA_BUG

# Node's `tls.DEFAULT_CIPHERS`, so that a server behaves like Node's for every client.
DEFAULT_CIPHERS = (
    "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:"
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "DHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-SHA256:DHE-RSA-AES128-SHA256:"
    "ECDHE-RSA-AES256-SHA384:DHE-RSA-AES256-SHA384:ECDHE-RSA-AES256-SHA256:DHE-RSA-AES256-SHA256:"
    "HIGH:!aNULL:!eNULL:!EXPORT:!DES:!RC4:!MD5:!PSK:!SRP:!CAMELLIA"
)


class Defaults:
    """The defaults of options. Assignments are checked and apply to contexts created later.

    The environment sets the initial values of three (Node's flags in parentheses):
    `TLSIO_CIPHER_LIST` (`--tls-cipher-list`), `TLSIO_MIN_VERSION` (`--tls-min-v1.2`),
    `TLSIO_MAX_VERSION` (`--tls-max-v1.2`). An empty variable is ignored.

    Attributes:
        ciphers: OpenSSL cipher list, TLS 1.3 suites included. (Node: `DEFAULT_CIPHERS`.)
        ecdh_curve: `"auto"` or groups in order of preference, separated by colons. (Node:
            `DEFAULT_ECDH_CURVE`.)
        min_version: Oldest protocol version. (Node: `DEFAULT_MIN_VERSION`.)
        max_version: Newest protocol version. (Node: `DEFAULT_MAX_VERSION`.)
        handshake_timeout: Seconds, or None for no limit.
        client_reneg_limit: Renegotiations that a client may start within the window. (Node:
            `CLIENT_RENEG_LIMIT`.)
        client_reneg_window: Seconds. (Node: `CLIENT_RENEG_WINDOW`.)
    """

    __slots__ = (
        "ciphers",
        "client_reneg_limit",
        "client_reneg_window",
        "ecdh_curve",
        "handshake_timeout",
        "max_version",
        "min_version",
    )

    ciphers: str
    ecdh_curve: str
    min_version: str
    max_version: str
    handshake_timeout: float | None
    client_reneg_limit: int
    client_reneg_window: float | None

    def __init__(self) -> None:
        """Read the environment's values.

        Raises:
            UsageError: a variable has an invalid value.
        """
        self.ciphers = _from_environment("TLSIO_CIPHER_LIST", check_ciphers, DEFAULT_CIPHERS)
        self.ecdh_curve = "auto"
        self.min_version = _from_environment("TLSIO_MIN_VERSION", check_version, "TLSv1.2")
        self.max_version = _from_environment("TLSIO_MAX_VERSION", check_version, "TLSv1.3")
        self.handshake_timeout = 120.0
        self.client_reneg_limit = 3
        self.client_reneg_window = 600.0
        _refuse_empty_range(self.min_version, self.max_version)

    def __setattr__(self, name: str, value: object) -> None:
        check = _CHECKS.get(name)
        if check is None:
            nearest = get_close_matches(name, _CHECKS, n=1, cutoff=0.0)[0]
            raise UsageTypeError(f"tlsio.defaults has no attribute {name!r}", hint=f"Did you mean {nearest!r}?")
        object.__setattr__(self, name, check(f"defaults.{name}", value))

    def __delattr__(self, name: str) -> None:
        raise UsageTypeError(f"defaults.{name} cannot be deleted")

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in _CHECKS)
        return f"<tlsio.defaults {values}>"


def _from_environment(name: str, check: Callable[[str, object], str], default: str) -> str:
    value = read_variable(name)
    return check(name, value) if value else default


def _refuse_empty_range(low: str, high: str) -> None:
    if PROTOCOL_VERSIONS.index(low) > PROTOCOL_VERSIONS.index(high):
        raise UsageValueError(
            f"TLSIO_MIN_VERSION ({low}) is above TLSIO_MAX_VERSION ({high}): no protocol version is left",
            code="ERR_TLS_PROTOCOL_VERSION_CONFLICT",
            hint="Set the minimum to the maximum or below. A variable that is not set means TLSv1.2 or TLSv1.3, respectively.",
        )


def _check_reneg_limit(label: str, value: object) -> int:
    return check_int(label, value, 0, 2**31 - 1)


_CHECKS: Mapping[str, Callable[[str, object], Any]] = {
    "ciphers": check_ciphers,
    "ecdh_curve": check_filled_text,
    "min_version": check_version,
    "max_version": check_version,
    "handshake_timeout": check_handshake_timeout,
    "client_reneg_limit": _check_reneg_limit,
    "client_reneg_window": check_seconds,
}

defaults = Defaults()
