"""The options of a server."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from tlsio.model.checks import (
    BytesLike,
    check_bool,
    check_bytes,
    check_choice,
    check_filled_text,
    check_function,
    check_int,
    check_limit,
    check_plain_function,
    check_seconds,
    wrong_type,
    wrong_value,
)
from tlsio.model.errors import UsageValueError
from tlsio.model.exported import exported
from tlsio.model.options.connection import ConnectionOptions, ConnectionOptionsDict
from tlsio.model.options.context import ContextOptionsDict
from tlsio.model.options.option import option, take_as_given

__all__ = ["ServerOptions", "ServerOptionsDict"]

AlpnMismatch: TypeAlias = Literal["alert", "continue"]

# OpenSSL accepts a hello of up to 131,396 bytes and a certificate chain of up to 102,400
# (SSL3_RT_MAX_PLAIN_LENGTH, SSL_MAX_CERT_LIST_DEFAULT). Both fit, together with all smaller
# messages.
MAX_HANDSHAKE_BYTES = 262144

# One small packet: it is sent to strangers, before TLS.
MAX_PLAIN_ANSWER = 1024

# Far beyond any gain: more threads than cores only wait for each other.
MAX_THREADS = 256

# PSK_MAX_IDENTITY_LEN, which applies to hints too.
MAX_PSK_HINT = 256


def _check_psk_hint(label: str, value: object) -> bytes:
    hint = check_filled_text(label, value).encode()
    if b"\0" in hint:
        raise wrong_value(label, "must not contain a null character")
    if len(hint) > MAX_PSK_HINT:
        raise UsageValueError(
            f"Failed to set PSK identity hint: {label} is longer than {MAX_PSK_HINT} bytes", code="ERR_TLS_PSK_SET_IDENTITY_HINT_FAILED"
        )
    return hint


def _check_plain_answer(label: str, value: object) -> bytes:
    answer = check_bytes(label, value)
    if not 0 < len(answer) <= MAX_PLAIN_ANSWER:
        raise UsageValueError(f"{label} must have 1 to {MAX_PLAIN_ANSWER} bytes, got {len(answer)}")
    return answer


def _check_store(label: str, value: object) -> object:
    if not all(callable(getattr(value, name, None)) for name in ("get", "put", "delete")):
        raise wrong_type(label, "a SessionStore: an object with get, put and delete", value)
    return value


def _check_threads(label: str, value: object) -> int | str:
    expected = f"an int from 0 to {MAX_THREADS}, or 'auto'"
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise wrong_type(label, expected, value)
    if isinstance(value, str):
        if value != "auto":
            raise wrong_value(label, f"must be {expected}, got {value!r:.40}")
        return value
    return check_int(label, value, 0, MAX_THREADS)


def _check_alpn_mismatch(label: str, value: object) -> str:
    return check_choice(label, value, ("alert", "continue"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions(ConnectionOptions):
    """The options of a Server. Times are in seconds; None for a time or a limit means no limit.

    Attributes:
        resume_unmarked: Resume sessions of other programs, which lack the verdict on the client,
            even if a client certificate is requested.
        session_store: Has `get`, `put` and `delete`; excludes `new_session` and `resume_session`.
        max_handshake_bytes: The bytes that one handshake may receive.
        psk_identity_hint: Encoded as UTF-8.
        max_connections_per_address: The connections of one IPv4 address, or of one IPv6 network of
            64 bits.
        handshake_threads: The threads that accept and handshake beside the event loop. 0: the loop
            does it; "auto": one less than the cores that this process may use, and at least one.
        plain_http_answer: Sent instead of an alert to a client that speaks HTTP without TLS.
    """

    sni_callback: Callable[..., Any] | None = option(check_function)
    check_client: Callable[..., Any] | None = option(check_function)
    ocsp_request: Callable[..., Any] | None = option(check_function)
    new_session: Callable[..., Any] | None = option(check_function)
    resume_session: Callable[..., Any] | None = option(check_function)
    session_store: Any = option(_check_store)
    resume_unmarked: bool = option(check_bool, default=False)
    stapling: object | None = option(take_as_given)
    psk_callback: Callable[..., Any] | None = option(check_plain_function)
    psk_identity_hint: bytes | None = option(_check_psk_hint)
    alpn_mismatch: AlpnMismatch = option(_check_alpn_mismatch, default="alert")
    allow_renegotiation: bool = option(check_bool, default=False)
    shutdown_timeout: float | None = option(check_seconds, default=10.0, none_is_no_limit=True)
    max_connections: int | None = option(check_limit, none_is_no_limit=True)
    max_handshakes: int | None = option(check_limit, none_is_no_limit=True)
    max_connections_per_address: int | None = option(check_limit, none_is_no_limit=True)
    max_handshake_bytes: int | None = option(check_limit, default=MAX_HANDSHAKE_BYTES, none_is_no_limit=True)
    client_hello: bool = option(check_bool, default=False)
    handshake_threads: int | Literal["auto"] = option(_check_threads, default=0)
    plain_http_answer: bytes | None = option(_check_plain_answer)

    @property
    def alpn_callback(self) -> Callable[..., Any] | None:
        """The hook that chooses the ALPN protocol: a context option, called by the server."""
        return self.context.alpn_callback


@exported
class ServerOptionsDict(ContextOptionsDict, ConnectionOptionsDict, total=False):
    """The options of `create_server`, for `Unpack`."""

    sni_callback: Callable[..., Any] | None
    check_client: Callable[..., Any] | None
    ocsp_request: Callable[..., Any] | None
    new_session: Callable[..., Any] | None
    resume_session: Callable[..., Any] | None
    session_store: Any
    resume_unmarked: bool | None
    stapling: object | None
    psk_callback: Callable[[Any, str], BytesLike | None] | None
    psk_identity_hint: str | None
    alpn_mismatch: AlpnMismatch | None
    allow_renegotiation: bool | None
    shutdown_timeout: float | None
    max_connections: int | None
    max_handshakes: int | None
    max_connections_per_address: int | None
    max_handshake_bytes: int | None
    client_hello: bool | None
    handshake_threads: int | Literal["auto"] | None
    plain_http_answer: BytesLike | None
