"""Every option of contexts, servers and clients: checked once at the door, then frozen.

An option that does not exist raises and names the nearest; None is the same as leaving an option out, except for times
and limits, where None means no limit. The tables at the end say which options there are and how each is checked.
"""

import base64
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

from tlsio.model.checks import (
    BytesLike,
    check_bool,
    check_bytes,
    check_choice,
    check_ciphers,
    check_filled_text,
    check_function,
    check_handshake_timeout,
    check_host,
    check_int,
    check_limit,
    check_path,
    check_plain_function,
    check_seconds,
    check_text,
    check_text_or_bytes,
    check_version,
    out_of_range,
    wrong_type,
    wrong_value,
)
from tlsio.model.constants import defaults
from tlsio.model.errors import UsageTypeError, UsageValueError
from tlsio.model.material import (
    Material,
    parse_authorities,
    parse_certificates,
    parse_dh_parameters,
    parse_keys,
    parse_pfx,
    parse_revocations,
)

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import Sequence

    from cryptography.x509 import Certificate, CertificateRevocationList

    from tlsio.model.material import Content, DhParameters, KeyWithPassphrase, PfxWithPassphrase, PrivateKey

__all__ = [
    "ConnectOptions",
    "ConnectOptionsDict",
    "ContextOptions",
    "ContextOptionsDict",
    "Material",
    "ServerOptions",
    "ServerOptionsDict",
    "parse_alpn_protocols",
    "parse_connect_options",
    "parse_context_options",
    "parse_pins",
    "parse_server_options",
    "parse_ticket_keys",
]

AlpnMismatch: TypeAlias = Literal["alert", "continue"]
IdentityPolicy: TypeAlias = Literal["node", "rfc9525"]
OcspPolicy: TypeAlias = Literal["off", "check", "require"]
CompressionAlgorithm: TypeAlias = Literal["zlib", "brotli", "zstd"]
ProtocolVersion: TypeAlias = Literal["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]
_Pfx: TypeAlias = "BytesLike | os.PathLike[str] | os.PathLike[bytes]"
_Check: TypeAlias = Callable[[str, object], Any]

# asyncio's limit of streams.
READ_LIMIT = 65536

# What the engine gathers for one send. Node's 64 KiB would mean four sends instead, 1.15 x the CPU of a download.
HIGH_WATER_MARK = 262144
# The same, when the option is not given, over a byte stream: what one receive of the peer takes, and asyncio's own mark.
STREAM_HIGH_WATER_MARK = 65536

# OpenSSL takes a hello up to 131,396 bytes and a certificate chain up to 102,400 (SSL3_RT_MAX_PLAIN_LENGTH,
# SSL_MAX_CERT_LIST_DEFAULT): what it accepts by itself fits, with all smaller messages.
MAX_HANDSHAKE_BYTES = 262144

# RFC 7301 §3.1: one byte of length before each name, two before the list, which an extension of 65,535 bytes holds.
MAX_ALPN_NAME = 255
MAX_ALPN_LIST = 65533

# SSL_MAX_SID_CTX_LENGTH.
MAX_SESSION_ID_CONTEXT = 32

# Linux takes no more for TCP_KEEPIDLE (MAX_TCP_KEEPIDLE).
MAX_KEEP_ALIVE_DELAY = 32767

# PSK_MAX_IDENTITY_LEN, of hints too.
MAX_PSK_HINT = 256

PIN_BYTES = 32
TICKET_KEY_BYTES = 48
# The engine's ring remembers as many; each is tried in turn by name, a memcmp of 16 bytes.
MAX_TICKET_KEYS = 16


@dataclass(frozen=True, slots=True)
class ContextOptions:
    """What makes a SecureContext. None: not given.

    Attributes:
        ca: Trusted instead of the default roots; `()` trusts nothing. `extra_ca`: trusted besides.
        passphrase: For each key and PKCS#12 that has none of its own.
        ciphers: Never empty.
        dhparam: Parameters, or `"auto"` for a size that fits the key.
        alpn_protocols: Names in order of preference; `()` is no ALPN. `npn_protocols`: the same for NPN.
        secure_options: `SSL_OP_*` bits.
        pins: SHA-256 digests of SPKI, 32 bytes each, at least one.
        ticket_keys: 48 bytes each: 16 name, 16 HMAC key, 16 AES key. The first encrypts, all decrypt. Or a source of such keys.
        session_timeout: Seconds.
        certificate_compression: Algorithms, most wanted first; `()` is none.
    """

    ca: tuple[Material, ...] | None = None
    extra_ca: tuple[Material, ...] | None = None
    cert: tuple[Material, ...] | None = None
    key: tuple[Material, ...] | None = None
    passphrase: bytes | None = field(default=None, repr=False)
    pfx: tuple[Material, ...] | None = None
    crl: tuple[Material, ...] | None = None
    ciphers: str | None = None
    min_version: str | None = None
    max_version: str | None = None
    sigalgs: str | None = None
    ecdh_curve: str | None = None
    dhparam: Material | Literal["auto"] | None = None
    honor_cipher_order: bool | None = None
    alpn_protocols: tuple[bytes, ...] | None = None
    alpn_callback: Callable[..., Any] | None = None
    npn_protocols: tuple[bytes, ...] | None = None
    session_id_context: bytes | None = field(default=None, repr=False)
    secure_options: int | None = None
    allow_partial_trust_chain: bool | None = None
    request_cert: bool | None = None
    reject_unauthorized: bool | None = None
    pins: tuple[bytes, ...] | None = None
    ticket_keys: Any = field(default=None, repr=False)
    session_timeout: int | None = None
    certificate_compression: tuple[str, ...] | None = None

    @property
    def given(self) -> frozenset[str]:
        """The names of the options that were given."""
        return frozenset(item.name for item in fields(self) if getattr(self, item.name) is not None)

    def merged(self, over: "ContextOptions") -> "ContextOptions":
        """Make a copy in which what `over` gives wins.

        Of `alpn_protocols` and `alpn_callback`, which exclude each other, the one `over` gives replaces the other.
        """
        changes: dict[str, Any] = {name: getattr(over, name) for name in over.given}
        if "alpn_protocols" in changes or "alpn_callback" in changes:
            changes = {"alpn_protocols": None, "alpn_callback": None, **changes}
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """What makes a Server. Times are seconds; None for a time or a limit: none.

    Attributes:
        context: The context options among them; empty beside `secure_context`.
        secure_context: Not looked at here.
        resume_unmarked: Sessions that do not say by which verdict they were made, those of other programs, resume even where a
            certificate is asked for.
        session_store: Has `get`, `put` and `delete`; never beside `new_session` and `resume_session`.
        max_handshake_bytes: Wire bytes of one handshake, both ways.
        psk_identity_hint: UTF-8.
    """

    context: ContextOptions = ContextOptions()
    secure_context: object | None = None
    sni_callback: Callable[..., Any] | None = None
    check_client: Callable[..., Any] | None = None
    ocsp_request: Callable[..., Any] | None = None
    new_session: Callable[..., Any] | None = None
    resume_session: Callable[..., Any] | None = None
    session_store: Any = None
    resume_unmarked: bool = False
    stapling: object | None = None
    fetch_crl: object | None = None
    psk_callback: Callable[..., Any] | None = None
    psk_identity_hint: bytes | None = None
    alpn_mismatch: AlpnMismatch = "alert"
    allow_renegotiation: bool = False
    handshake_timeout: float | None = field(default_factory=lambda: defaults.handshake_timeout)
    hook_timeout: float | None = 30.0
    close_timeout: float | None = 5.0
    partial_record_timeout: float | None = 60.0
    shutdown_timeout: float | None = 10.0
    read_limit: int = READ_LIMIT
    max_connections: int | None = None
    max_handshakes: int | None = None
    max_handshake_bytes: int | None = MAX_HANDSHAKE_BYTES
    allow_half_open: bool = False
    allow_truncation: bool = False
    no_delay: bool = True
    keep_alive: bool = False
    keep_alive_initial_delay: float = 0.0
    high_water_mark: int | None = None  # that of the driver
    keylog_file: str | None = None
    enable_trace: bool = False
    client_hello: bool = False

    @property
    def alpn_callback(self) -> Callable[..., Any] | None:
        """The hook that chooses the ALPN protocol; a context option, named here since servers ask it."""
        return self.context.alpn_callback


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectOptions:
    """What a client connection takes. Times are seconds; None for a time: no limit.

    Attributes:
        context: The context options among them; empty beside `secure_context`.
        secure_context: Not looked at here.
        servername: Never an IP address. `""` turns SNI off; None: not given.
        family: 4, 6, or None for both.
        min_dh_size: Bits; smaller Diffie-Hellman groups are refused. None: the library's own bound.
        local_address: IP text to bind to. `local_port`: 0 is any.
    """

    context: ContextOptions = ContextOptions()
    secure_context: object | None = None
    servername: str | None = None
    host: str | None = None
    check_server_identity: Callable[..., Any] | None = None
    psk_callback: Callable[..., Any] | None = None
    identity_policy: IdentityPolicy = "node"
    request_ocsp: bool = False
    ocsp: OcspPolicy = "off"
    fetch_crl: object | None = None
    min_dh_size: int | None = None
    session: bytes | None = field(default=None, repr=False)
    session_cache: Any = None
    timeout: float | None = None
    handshake_timeout: float | None = field(default_factory=lambda: defaults.handshake_timeout)
    hook_timeout: float | None = 30.0
    close_timeout: float | None = 5.0
    partial_record_timeout: float | None = 60.0
    read_limit: int = READ_LIMIT
    allow_half_open: bool = False
    allow_truncation: bool = False
    no_delay: bool = True
    keep_alive: bool = False
    keep_alive_initial_delay: float = 0.0
    family: Literal[4, 6] | None = None
    local_address: str | None = None
    local_port: int | None = None
    high_water_mark: int | None = None  # that of the driver
    keylog_file: str | None = None
    enable_trace: bool = False


class _SharedContextOptionsDict(TypedDict, total=False):
    ca: "Content | Certificate | Sequence[Content | Certificate] | None"
    extra_ca: "Content | Certificate | Sequence[Content | Certificate] | None"
    cert: "Content | Certificate | Sequence[Content | Certificate] | None"
    key: "Content | PrivateKey | Sequence[Content | PrivateKey | KeyWithPassphrase] | None"
    passphrase: str | BytesLike | None
    pfx: "_Pfx | Sequence[_Pfx | PfxWithPassphrase] | None"
    crl: "Content | CertificateRevocationList | Sequence[Content | CertificateRevocationList] | None"
    ciphers: str | None
    min_version: "ProtocolVersion | ssl.TLSVersion | None"
    max_version: "ProtocolVersion | ssl.TLSVersion | None"
    secure_protocol: str | None
    sigalgs: str | None
    ecdh_curve: str | None
    dhparam: "Content | DhParameters | None"
    honor_cipher_order: bool | None
    alpn_protocols: "Sequence[str | BytesLike] | bytes | None"
    npn_protocols: "Sequence[str | BytesLike] | bytes | None"
    session_id_context: str | BytesLike | None
    secure_options: int | None
    allow_partial_trust_chain: bool | None
    reject_unauthorized: bool | None
    pins: "Sequence[str | BytesLike] | None"
    ticket_keys: "BytesLike | Sequence[BytesLike] | Any | None"
    session_timeout: int | None
    certificate_compression: "Sequence[CompressionAlgorithm] | None"


class ContextOptionsDict(_SharedContextOptionsDict, total=False):
    """The options of `create_secure_context`, for `Unpack`."""

    request_cert: bool | None
    alpn_callback: Callable[..., Any] | None


class ServerOptionsDict(ContextOptionsDict, total=False):
    """The options of `create_server`, for `Unpack`."""

    secure_context: object | None
    sni_callback: Callable[..., Any] | None
    check_client: Callable[..., Any] | None
    ocsp_request: Callable[..., Any] | None
    new_session: Callable[..., Any] | None
    resume_session: Callable[..., Any] | None
    session_store: Any
    resume_unmarked: bool | None
    stapling: object | None
    fetch_crl: object | None
    psk_callback: Callable[[Any, str], BytesLike | None] | None
    psk_identity_hint: str | None
    alpn_mismatch: AlpnMismatch | None
    allow_renegotiation: bool | None
    handshake_timeout: float | None
    hook_timeout: float | None
    close_timeout: float | None
    partial_record_timeout: float | None
    shutdown_timeout: float | None
    read_limit: int | None
    max_connections: int | None
    max_handshakes: int | None
    max_handshake_bytes: int | None
    allow_half_open: bool | None
    allow_truncation: bool | None
    no_delay: bool | None
    keep_alive: bool | None
    keep_alive_initial_delay: float | None
    high_water_mark: int | None
    keylog_file: "str | os.PathLike[str] | None"
    enable_trace: bool | None
    client_hello: bool | None


class ConnectOptionsDict(_SharedContextOptionsDict, total=False):
    """The options of `connect` beside its own parameters (`host` and `timeout` are two of them), for `Unpack`."""

    secure_context: object | None
    servername: str | None
    check_server_identity: Callable[..., Any] | None
    psk_callback: Callable[[str | None], tuple[str, BytesLike] | None] | None
    identity_policy: IdentityPolicy | None
    request_ocsp: bool | None
    ocsp: OcspPolicy | None
    fetch_crl: object | None
    min_dh_size: int | None
    session: BytesLike | None
    session_cache: Any
    handshake_timeout: float | None
    hook_timeout: float | None
    close_timeout: float | None
    partial_record_timeout: float | None
    read_limit: int | None
    allow_half_open: bool | None
    allow_truncation: bool | None
    no_delay: bool | None
    keep_alive: bool | None
    keep_alive_initial_delay: float | None
    family: int | None
    local_address: str | None
    local_port: int | None
    high_water_mark: int | None
    keylog_file: "str | os.PathLike[str] | None"
    enable_trace: bool | None


def parse_context_options(given: Mapping[str, object]) -> ContextOptions:
    """Check the options of a context.

    Raises:
        UsageError: an unknown option, a wrong type or value, or `alpn_protocols` beside `alpn_callback`.
    """
    return _make_context(_checked(given, _CONTEXT))


def parse_server_options(given: Mapping[str, object]) -> ServerOptions:
    """Check the options of a server, those of its context included.

    Raises:
        UsageError: as `parse_context_options`, or a context option beside `secure_context`.
    """
    own, context = _split(_checked(given, _CONTEXT | _SERVER))
    hooks = [f"options.{name}" for name in ("new_session", "resume_session") if name in own]
    if "session_store" in own and hooks:
        raise UsageTypeError(
            f"options.session_store cannot be combined with {' and '.join(hooks)}",
            code="ERR_INCOMPATIBLE_OPTION_PAIR",
            hint="A store is asked in place of the hooks: leave one of them out.",
        )
    return ServerOptions(context=context, **own)


def parse_connect_options(given: Mapping[str, object]) -> ConnectOptions:
    """Check the options of a client connection, those of its context included.

    Raises:
        UsageError: as `parse_context_options`, or a context option beside `secure_context`.
    """
    own, context = _split(_checked(given, _CLIENT_CONTEXT | _CONNECT))
    local, family = own.get("local_address"), own.get("family")
    if local is not None and family not in (None, 6 if ":" in local else 4):
        raise wrong_value("options.local_address", f"is no address of family={family}, got {local}")
    return ConnectOptions(context=context, **own)


def _checked(given: Mapping[str, object], checks: Mapping[str, _Check]) -> dict[str, Any]:
    """Return the given options in checked form. Unknown names raise before any value is looked at."""
    for name in given:
        if name not in checks:
            raise _unknown(name, checks)
    return {name: checks[name](f"options.{name}", value) for name, value in given.items() if value is not None or name in _NONE_IS_NO_LIMIT}


def _split(checked: dict[str, Any]) -> tuple[dict[str, Any], ContextOptions]:
    context = {name: value for name, value in checked.items() if name in _CONTEXT}
    own = {name: value for name, value in checked.items() if name not in _CONTEXT}
    if "secure_context" in own and context:
        names = ", ".join(sorted(context))
        raise UsageTypeError(
            f"options.secure_context cannot be combined with {names}",
            code="ERR_INCOMPATIBLE_OPTION_PAIR",
            hint=f"Make a changed copy: secure_context.replace({min(context)}=...).",
        )
    return own, _make_context(context)


def _make_context(checked: dict[str, Any]) -> ContextOptions:
    method = checked.pop("secure_protocol", None)
    if method is not None:
        checked |= _versions_of_method(method, checked)
    options = ContextOptions(**checked)
    if options.certificate_compression and (options.max_version or defaults.max_version) != "TLSv1.3":
        raise wrong_value("options.certificate_compression", "needs TLS 1.3, which max_version leaves out")
    if options.alpn_protocols is not None and options.alpn_callback is not None:
        raise UsageTypeError(
            "options.alpn_callback and options.alpn_protocols exclude each other",
            code="ERR_TLS_ALPN_CALLBACK_WITH_PROTOCOLS",
            hint="Leave alpn_protocols out: the callback is told what the client offers.",
        )
    return options


def _versions_of_method(method: str, checked: dict[str, Any]) -> dict[str, str]:
    """Return the versions that a name of OpenSSL's old methods stands for; like Node, whether it is for servers or clients is no matter."""
    beside = [name for name in ("min_version", "max_version") if name in checked]
    if beside:
        raise UsageTypeError(
            f"options.secure_protocol cannot be combined with {' and '.join(beside)}",
            code="ERR_TLS_PROTOCOL_VERSION_CONFLICT",
            hint="min_version and max_version say all that it can say.",
        )
    if found := re.match(r"SSLv[23]_", method):
        problem = f"{found[0].removesuffix('_')} methods disabled"
    else:
        family = re.sub(r"_(server|client)_method$", "_method", method)
        if family in _METHODS:
            return _METHODS[family]
        problem = f"Unknown method: {method:.80}"
    raise UsageTypeError(
        f"options.secure_protocol: {problem}", code="ERR_TLS_INVALID_PROTOCOL_METHOD", hint="Use min_version and max_version."
    )


# Node's: the fixed ones, TLS_method for all there are, SSLv23_method for up to TLS 1.2 from the default minimum on.
_METHODS: Mapping[str, dict[str, str]] = {
    "TLS_method": {"min_version": "TLSv1", "max_version": "TLSv1.3"},
    "SSLv23_method": {"max_version": "TLSv1.2"},
    "TLSv1_method": {"min_version": "TLSv1", "max_version": "TLSv1"},
    "TLSv1_1_method": {"min_version": "TLSv1.1", "max_version": "TLSv1.1"},
    "TLSv1_2_method": {"min_version": "TLSv1.2", "max_version": "TLSv1.2"},
}


def _unknown(name: object, checks: Mapping[str, _Check]) -> UsageTypeError:
    """Say of an unknown option what was probably meant."""
    if not isinstance(name, str):
        return UsageTypeError(f"There is no option {name!r:.80}: options have names", code="ERR_TLS_UNKNOWN_OPTION")
    snake = _to_snake_case(name)
    if snake in _NOT_TAKEN:
        return UsageTypeError(f"The option {name!r} is not taken from Node", code="ERR_TLS_UNKNOWN_OPTION", hint=_NOT_TAKEN[snake])
    if snake in checks:
        meant = f"it is spelled {snake}"
    elif snake in _SERVER or snake in _CONTEXT:
        meant = f"{snake} is an option of servers"
    elif snake in _CONNECT:
        meant = f"{snake} is an option of client connections"
    else:
        meant = f"the nearest is {get_close_matches(snake, checks, n=1, cutoff=0.0)[0]}"
    return UsageTypeError(f"There is no option {name!r}: {meant}", code="ERR_TLS_UNKNOWN_OPTION")


def _to_snake_case(name: str) -> str:
    """Turn Node's spelling into ours: `requestCert`, `ALPNProtocols` and `minDHSize` have three kinds of borders."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def parse_alpn_protocols(label: str, value: object) -> tuple[bytes, ...]:
    """Take a list of names (str or bytes), or bytes in wire form: a length before each name."""
    if isinstance(value, BytesLike):
        names = _split_wire_names(label, bytes(value))
    elif isinstance(value, list | tuple):
        names = tuple(_check_alpn_name(f"{label}[{index}]", item) for index, item in enumerate(value))
    else:
        raise wrong_type(label, "a list of str or bytes, or bytes in wire form", value)
    if sum(len(name) + 1 for name in names) > MAX_ALPN_LIST:
        raise UsageValueError(f"{label} is longer than {MAX_ALPN_LIST} bytes", code="ERR_OUT_OF_RANGE")
    return names


def _check_alpn_name(label: str, value: object) -> bytes:
    name = check_text_or_bytes(label, value)
    if not name:
        raise wrong_value(label, "must not be empty")
    if len(name) > MAX_ALPN_NAME:
        raise out_of_range(label, f"at most {MAX_ALPN_NAME} bytes", f"{len(name)} bytes")
    return name


def _split_wire_names(label: str, wire: bytes) -> tuple[bytes, ...]:
    names = []
    while wire:
        length = wire[0]
        if length == 0:
            raise wrong_value(label, "must not contain a zero-length protocol")
        if len(wire) <= length:
            raise wrong_value(label, "contains a truncated protocol", hint="One name? Put it into a list: [b'h2'].")
        names.append(wire[1 : 1 + length])
        wire = wire[1 + length :]
    return tuple(names)


def parse_pins(label: str, value: object) -> tuple[bytes, ...]:
    """Take a list of SHA-256 digests of SPKI: 32 bytes or `"sha256/BASE64"` each."""
    if not isinstance(value, list | tuple):
        raise wrong_type(label, "a list of 32 bytes or 'sha256/BASE64'", value)
    if not value:
        raise wrong_value(label, "holds no pin", hint="Leave the option out to pin nothing.")
    return tuple(_parse_pin(f"{label}[{index}]", item) for index, item in enumerate(value))


def _parse_pin(label: str, value: object) -> bytes:
    if isinstance(value, str):
        algorithm, _, text = value.partition("/")
        try:
            digest = base64.b64decode(text, validate=True)
        except ValueError:
            digest = b""
        if algorithm != "sha256" or len(digest) != PIN_BYTES:
            raise wrong_value(label, f"must be 'sha256/' and 44 characters of Base64, got {value!r:.80}")
        return digest
    digest = check_bytes(label, value)
    if len(digest) != PIN_BYTES:
        raise wrong_value(label, f"must be exactly 32 bytes, the SHA-256 of the SPKI, got {len(digest)}")
    return digest


def parse_ticket_key_option(label: str, value: object) -> object:
    """Take what `parse_ticket_keys` does, or a source of keys as it is."""
    if all(callable(getattr(value, name, None)) for name in ("snapshot", "refresh", "clock")):
        return value
    if not isinstance(value, bytes | bytearray | memoryview | list | tuple):
        got = type(value).__name__
        raise UsageTypeError(f"{label} must be 48 bytes, a list of them, or a source with snapshot, refresh and clock, got {got}")
    return parse_ticket_keys(label, value)


def parse_ticket_keys(label: str, value: object) -> tuple[bytes, ...]:
    """Take 48 bytes or a list of them; the first encrypts, all decrypt."""
    if not isinstance(value, list | tuple):
        return (_check_ticket_key(label, value),)
    if not value:
        raise wrong_value(label, "holds no key", hint="Leave the option out for random keys.")
    if len(value) > MAX_TICKET_KEYS:
        raise out_of_range(label, f"at most {MAX_TICKET_KEYS} keys", len(value))
    return tuple(_check_ticket_key(f"{label}[{index}]", item) for index, item in enumerate(value))


def _check_ticket_key(label: str, value: object) -> bytes:
    key = check_bytes(label, value)
    if len(key) != TICKET_KEY_BYTES:
        raise wrong_value(label, f"must be exactly 48 bytes, got {len(key)}")
    return key


def _check_session_id_context(label: str, value: object) -> bytes:
    session_id_context = check_text_or_bytes(label, value)
    if not 1 <= len(session_id_context) <= MAX_SESSION_ID_CONTEXT:
        raise out_of_range(label, "from 1 to 32 bytes", f"{len(session_id_context)} bytes")
    return session_id_context


def _check_psk_hint(label: str, value: object) -> bytes:
    hint = check_filled_text(label, value).encode()
    if b"\0" in hint:
        raise wrong_value(label, "has a NUL in it")
    if len(hint) > MAX_PSK_HINT:
        raise UsageValueError(
            f"Failed to set PSK identity hint: {label} is longer than {MAX_PSK_HINT} bytes", code="ERR_TLS_PSK_SET_IDENTITY_HINT_FAILED"
        )
    return hint


def _check_servername(label: str, value: object) -> str:
    # RFC 6066 §3: "Literal IPv4 and IPv6 addresses are not permitted in "HostName"."
    name = check_text(label, value)
    if _is_ip_address(name.removeprefix("[").removesuffix("]")):
        raise wrong_value(
            label,
            f"must be a name, got the IP address {name}",
            hint="Leave servername out: host alone is checked, and nothing is sent as SNI.",
        )
    return name


def _check_local_address(label: str, value: object) -> str:
    text = check_text(label, value)
    if not _is_ip_address(text):
        raise UsageValueError(f"{label} must be an IP address, got {text!r:.80}", code="ERR_INVALID_IP_ADDRESS")
    return text


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _check_family(label: str, value: object) -> int | None:
    # `socket.AF_INET` is taken by its name: its number differs between systems.
    found = {"AF_INET": 4, "AF_INET6": 6}.get(value.name) if isinstance(value, IntEnum) else value
    if type(found) is not int or found not in (0, 4, 6):
        raise wrong_value(label, f"must be 4, 6, or 0 for both, got {value!r:.40}")
    return found or None


def _check_secure_options(label: str, value: object) -> int:
    return check_int(label, value, 0, 2**64 - 1)


def _check_session_timeout(label: str, value: object) -> int:
    return check_int(label, value, 1, 2**31 - 1)


def _check_compression(label: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise wrong_type(label, "a list of 'zlib', 'brotli' and 'zstd'", value)
    names = tuple(check_choice(f"{label}[{index}]", name, ("zlib", "brotli", "zstd")) for index, name in enumerate(value))
    if len(set(names)) < len(names):
        raise wrong_value(label, "names an algorithm twice")
    return names


def _check_min_dh_size(label: str, value: object) -> int:
    return check_int(label, value, 1, 2**31 - 1)


def _check_store(label: str, value: object) -> object:
    if not all(callable(getattr(value, name, None)) for name in ("get", "put", "delete")):
        raise wrong_type(label, "a SessionStore: an object with get, put and delete", value)
    return value


def _check_cache(label: str, value: object) -> object:
    if not all(callable(getattr(value, name, None)) for name in ("take", "put", "forget")):
        raise wrong_type(label, "a ClientSessionCache", value)
    return value


def _check_local_port(label: str, value: object) -> int:
    return check_int(label, value, 0, 65535)


def _check_read_limit(label: str, value: object) -> int:
    return check_int(label, value, 1, 2**31 - 1)


def _check_high_water_mark(label: str, value: object) -> int:
    return check_int(label, value, 0, 2**31 - 1)


def _check_initial_delay(label: str, value: object) -> float:
    if type(value) in (int, float) and value == 0:
        return 0.0
    seconds = check_seconds(label, value)
    if seconds is not None and seconds > MAX_KEEP_ALIVE_DELAY:
        raise out_of_range(label, f"at most {MAX_KEEP_ALIVE_DELAY} seconds", value)
    return seconds or 0.0


def _check_alpn_mismatch(label: str, value: object) -> str:
    return check_choice(label, value, ("alert", "continue"))


def _check_identity_policy(label: str, value: object) -> str:
    return check_choice(label, value, ("node", "rfc9525"))


def _check_ocsp(label: str, value: object) -> str:
    return check_choice(label, value, ("off", "check", "require"))


def _take(_label: str, value: object) -> object:
    """Take anything: `secure_context` is judged where its class is known."""
    return value


_CLIENT_CONTEXT: dict[str, _Check] = {
    "ca": parse_authorities,
    "extra_ca": parse_authorities,
    "cert": parse_certificates,
    "key": parse_keys,
    "passphrase": check_text_or_bytes,
    "pfx": parse_pfx,
    "crl": parse_revocations,
    "ciphers": check_ciphers,
    "min_version": check_version,
    "max_version": check_version,
    "secure_protocol": check_text,
    "sigalgs": check_filled_text,
    "ecdh_curve": check_filled_text,
    "dhparam": parse_dh_parameters,
    "honor_cipher_order": check_bool,
    "alpn_protocols": parse_alpn_protocols,
    "npn_protocols": parse_alpn_protocols,
    "session_id_context": _check_session_id_context,
    "secure_options": _check_secure_options,
    "allow_partial_trust_chain": check_bool,
    "reject_unauthorized": check_bool,
    "pins": parse_pins,
    "ticket_keys": parse_ticket_key_option,
    "session_timeout": _check_session_timeout,
    "certificate_compression": _check_compression,
}

# What only a server can ask of its peer.
_CONTEXT: dict[str, _Check] = _CLIENT_CONTEXT | {"request_cert": check_bool, "alpn_callback": check_function}

_CONNECTION: dict[str, _Check] = {
    "secure_context": _take,
    "handshake_timeout": check_handshake_timeout,
    "hook_timeout": check_seconds,
    "close_timeout": check_seconds,
    "partial_record_timeout": check_seconds,
    "read_limit": _check_read_limit,
    "allow_half_open": check_bool,
    "allow_truncation": check_bool,
    "no_delay": check_bool,
    "keep_alive": check_bool,
    "keep_alive_initial_delay": _check_initial_delay,
    "high_water_mark": _check_high_water_mark,
    "keylog_file": check_path,
    "enable_trace": check_bool,
}

_SERVER: dict[str, _Check] = _CONNECTION | {
    "client_hello": check_bool,
    "sni_callback": check_function,
    "check_client": check_function,
    "ocsp_request": check_function,
    "new_session": check_function,
    "resume_session": check_function,
    "session_store": _check_store,
    "resume_unmarked": check_bool,
    "stapling": _take,
    "fetch_crl": _take,
    "psk_callback": check_plain_function,
    "psk_identity_hint": _check_psk_hint,
    "alpn_mismatch": _check_alpn_mismatch,
    "allow_renegotiation": check_bool,
    "shutdown_timeout": check_seconds,
    "max_connections": check_limit,
    "max_handshakes": check_limit,
    "max_handshake_bytes": check_limit,
}

_CONNECT: dict[str, _Check] = _CONNECTION | {
    "servername": _check_servername,
    "host": check_host,
    "check_server_identity": check_function,
    "psk_callback": check_plain_function,
    "identity_policy": _check_identity_policy,
    "request_ocsp": check_bool,
    "ocsp": _check_ocsp,
    "fetch_crl": _take,
    "min_dh_size": _check_min_dh_size,
    "session": check_bytes,
    "session_cache": _check_cache,
    "timeout": check_seconds,
    "family": _check_family,
    "local_address": _check_local_address,
    "local_port": _check_local_port,
}

_NONE_IS_NO_LIMIT = frozenset(
    {
        "timeout",
        "handshake_timeout",
        "hook_timeout",
        "close_timeout",
        "partial_record_timeout",
        "shutdown_timeout",
        "max_connections",
        "max_handshakes",
        "max_handshake_bytes",
    }
)

_NOT_TAKEN = {
    "signal": "Cancel the task that awaits, or use asyncio.timeout().",
    "lookup": "Resolve the name yourself and give the address as host, the name as servername.",
    "hints": "Use family=4 or family=6, or resolve the name yourself and give the address as host.",
    "onread": "Read with read(), `async for`, or a data listener.",
    "pause_on_connect": "A socket without a data listener is paused already.",
    "client_cert_engine": "OpenSSL's engines are not supported: give cert and key.",
    "private_key_engine": "OpenSSL's engines are not supported: give key.",
    "private_key_identifier": "OpenSSL's engines are not supported: give key.",
}
