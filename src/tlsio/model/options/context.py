"""The options of a SecureContext."""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

from tlsio.model.checks import (
    BytesLike,
    check_bool,
    check_bytes,
    check_choice,
    check_ciphers,
    check_filled_text,
    check_function,
    check_int,
    check_text,
    check_text_or_bytes,
    check_version,
    out_of_range,
    wrong_type,
    wrong_value,
)
from tlsio.model.constants import defaults
from tlsio.model.errors import UsageTypeError, UsageValueError
from tlsio.model.exported import exported
from tlsio.model.external_key import parse_own_keys
from tlsio.model.material import (
    Material,
    parse_authorities,
    parse_certificates,
    parse_dh_parameters,
    parse_pfx,
    parse_revocations,
)
from tlsio.model.options.option import checks_of, option

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import Sequence

    from cryptography.x509 import Certificate, CertificateRevocationList

    from tlsio.model.external_key import ExternalKey
    from tlsio.model.material import Content, DhParameters, KeyWithPassphrase, PfxWithPassphrase, PrivateKey

__all__ = [
    "CLIENT_CONTEXT_CHECKS",
    "CONTEXT_CHECKS",
    "ContextOptions",
    "ContextOptionsDict",
    "SharedContextOptionsDict",
    "make_context",
    "parse_alpn_protocols",
    "parse_pins",
    "parse_ticket_keys",
]

CompressionAlgorithm: TypeAlias = Literal["zlib", "brotli", "zstd"]
ProtocolVersion: TypeAlias = Literal["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]
_Pfx: TypeAlias = "BytesLike | os.PathLike[str] | os.PathLike[bytes]"

# RFC 7301 §3.1: a length of one byte before each name and of two before the list; the extension has
# at most 65,535 bytes.
MAX_ALPN_NAME = 255
MAX_ALPN_LIST = 65533

# SSL_MAX_SID_CTX_LENGTH.
MAX_SESSION_ID_CONTEXT = 32

PIN_BYTES = 32
TICKET_KEY_BYTES = 48
# The larger form of nginx's `ssl_session_ticket_key`.
_NGINX_KEY_BYTES = 80
_NGINX_KEY_HINT = "That is the size of nginx's keys with AES-256. Here a key is 16 bytes of name, 16 of HMAC key and 16 of AES key."
# The size of the engine's key ring, which compares the 16-byte names of all keys for each ticket.
MAX_TICKET_KEYS = 16


def parse_alpn_protocols(label: str, value: object) -> tuple[bytes, ...]:
    """Parse a list of names (str or bytes), or bytes in wire form: a length before each name."""
    if isinstance(value, BytesLike):
        names = _split_wire_names(label, bytes(value))
    elif isinstance(value, list | tuple):
        names = tuple(_check_alpn_name(f"{label}[{index}]", item) for index, item in enumerate(value))
    else:
        hint = 'Write ["h2", "http/1.1"].' if isinstance(value, str) else None
        raise wrong_type(label, "a list of str or bytes, or bytes in wire form", value, hint=hint)
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
            raise wrong_value(label, "contains a truncated protocol", hint="Put a single name into a list: [b'h2'].")
        names.append(wire[1 : 1 + length])
        wire = wire[1 + length :]
    return tuple(names)


def parse_pins(label: str, value: object) -> tuple[bytes, ...]:
    """Parse a list of SHA-256 digests of SPKI: 32 bytes or `"sha256/BASE64"` each."""
    if not isinstance(value, list | tuple):
        hint = (
            "Pins are not read from files: read the file's lines, and give them as a list."
            if hasattr(value, "__fspath__")
            else "Put a single pin into a list."
        )
        raise wrong_type(label, "a list of pins, each 32 bytes or 'sha256/BASE64'", value, hint=hint)
    if not value:
        raise wrong_value(label, "contains no pin", hint="To pin nothing, leave the option out.")
    return tuple(_parse_pin(f"{label}[{index}]", item) for index, item in enumerate(value))


def _parse_pin(label: str, value: object) -> bytes:
    if isinstance(value, str):
        algorithm, _, text = value.strip().partition("/")
        digest = _decode_digest(text)
        if algorithm != "sha256" or digest is None:
            raise wrong_value(label, f"must be 'sha256/' followed by 44 characters of Base64, got {value!r:.80}", hint=_hint_for_pin(value))
        return digest
    digest = check_bytes(label, value)
    if len(digest) != PIN_BYTES:
        hint = _hint_for_pin(digest.decode("ascii", "replace"))
        raise wrong_value(label, f"must be exactly 32 bytes, the SHA-256 of the SPKI, got {len(digest)}", hint=hint)
    return digest


def _decode_digest(text: str) -> bytes | None:
    try:
        digest = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return digest if len(digest) == PIN_BYTES else None


def _hint_for_pin(value: str) -> str:
    """Recognise hexadecimal, and the forms of curl and of HTTP's header."""
    text = re.sub(r'(?i)^(pin-)?sha-?256[/:="]*|["\s]', "", value)
    if (digest := _decode_digest(text)) is not None:
        return f"Write 'sha256/{base64.b64encode(digest).decode()}'."
    if re.fullmatch(r"(?i)([0-9a-f]{2}:?){32}", text):
        digest = bytes.fromhex(text.replace(":", ""))
        return (
            f"It is hexadecimal. If it is the SHA-256 of the public key, write 'sha256/{base64.b64encode(digest).decode()}'; "
            f"the fingerprint of a certificate is not a pin. {_PIN_COMMAND}"
        )
    return _PIN_COMMAND


_PIN_COMMAND = (
    "A pin is made by: openssl x509 -in cert.pem -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64"
)


def parse_ticket_key_option(label: str, value: object) -> object:
    """Parse ticket keys as `parse_ticket_keys` does, or return a source of keys unchanged."""
    if all(callable(getattr(value, name, None)) for name in ("snapshot", "refresh", "clock")):
        return value
    if not isinstance(value, bytes | bytearray | memoryview | list | tuple):
        hint = "Decode a text: bytes.fromhex(...) or base64.b64decode(...)." if isinstance(value, str) else None
        raise wrong_type(label, "48 bytes, a list of them, or a source with snapshot, refresh and clock", value, hint=hint)
    return parse_ticket_keys(label, value)


def parse_ticket_keys(label: str, value: object) -> tuple[bytes, ...]:
    """Parse one ticket key of 48 bytes or a list of them; the first encrypts, all decrypt."""
    if not isinstance(value, list | tuple):
        return (_check_ticket_key(label, value),)
    if not value:
        raise wrong_value(label, "contains no key", hint="For random keys, leave the option out.")
    if len(value) > MAX_TICKET_KEYS:
        raise out_of_range(label, f"at most {MAX_TICKET_KEYS} keys", len(value))
    return tuple(_check_ticket_key(f"{label}[{index}]", item) for index, item in enumerate(value))


def _check_ticket_key(label: str, value: object) -> bytes:
    key = check_bytes(label, value)
    if len(key) != TICKET_KEY_BYTES:
        hint = _NGINX_KEY_HINT if len(key) == _NGINX_KEY_BYTES else None
        raise wrong_value(label, f"must be exactly 48 bytes, got {len(key)}", hint=hint)
    return key


def _check_session_id_context(label: str, value: object) -> bytes:
    session_id_context = check_text_or_bytes(label, value)
    if not 1 <= len(session_id_context) <= MAX_SESSION_ID_CONTEXT:
        raise out_of_range(label, "from 1 to 32 bytes", f"{len(session_id_context)} bytes")
    return session_id_context


def _check_secure_options(label: str, value: object) -> int:
    return check_int(label, value, 0, 2**64 - 1)


def _check_session_timeout(label: str, value: object) -> int:
    return check_int(label, value, 1, 2**31 - 1)


def _check_compression(label: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise wrong_type(label, "a list of 'zlib', 'brotli' and 'zstd'", value)
    names = tuple(check_choice(f"{label}[{index}]", name, ("zlib", "brotli", "zstd")) for index, name in enumerate(value))
    if len(set(names)) < len(names):
        raise wrong_value(label, "contains an algorithm twice")
    return names


@dataclass(frozen=True, slots=True)
class ContextOptions:
    """The options of a SecureContext. None: not given.

    Attributes:
        ca: Trusted instead of the default roots; `()` trusts nothing.
        extra_ca: Trusted in addition to the roots.
        passphrase: For each key and PKCS#12 without its own.
        ciphers: Never empty.
        dhparam: Parameters, or `"auto"` for a size that fits the key.
        alpn_protocols: Names in order of preference; `()` turns ALPN off.
        npn_protocols: The same for NPN.
        secure_options: `SSL_OP_*` bits.
        pins: SHA-256 digests of SPKI, 32 bytes each, at least one.
        ticket_keys: 48 bytes each: 16 name, 16 HMAC key, 16 AES key. The first encrypts, all
            decrypt. Or a source of such keys.
        session_timeout: Seconds.
        certificate_compression: Algorithms in order of preference; `()` turns compression off.
    """

    ca: tuple[Material, ...] | None = option(parse_authorities)
    extra_ca: tuple[Material, ...] | None = option(parse_authorities)
    cert: tuple[Material, ...] | None = option(parse_certificates)
    key: tuple[Material, ...] | None = option(parse_own_keys)
    passphrase: bytes | None = option(check_text_or_bytes, is_secret=True)
    pfx: tuple[Material, ...] | None = option(parse_pfx)
    crl: tuple[Material, ...] | None = option(parse_revocations)
    ciphers: str | None = option(check_ciphers)
    min_version: str | None = option(check_version)
    max_version: str | None = option(check_version)
    sigalgs: str | None = option(check_filled_text)
    ecdh_curve: str | None = option(check_filled_text)
    dhparam: Material | Literal["auto"] | None = option(parse_dh_parameters)
    honor_cipher_order: bool | None = option(check_bool)
    alpn_protocols: tuple[bytes, ...] | None = option(parse_alpn_protocols)
    alpn_callback: Callable[..., Any] | None = option(check_function, only_servers=True)
    npn_protocols: tuple[bytes, ...] | None = option(parse_alpn_protocols)
    session_id_context: bytes | None = option(_check_session_id_context, is_secret=True)
    secure_options: int | None = option(_check_secure_options)
    allow_partial_trust_chain: bool | None = option(check_bool)
    request_cert: bool | None = option(check_bool, only_servers=True)
    reject_unauthorized: bool | None = option(check_bool)
    pins: tuple[bytes, ...] | None = option(parse_pins)
    ticket_keys: Any = option(parse_ticket_key_option, is_secret=True)
    session_timeout: int | None = option(_check_session_timeout)
    certificate_compression: tuple[str, ...] | None = option(_check_compression)

    @property
    def given(self) -> frozenset[str]:
        """The names of the options that were given."""
        return frozenset(item.name for item in fields(self) if getattr(self, item.name) is not None)

    def merged(self, over: "ContextOptions") -> "ContextOptions":
        """Return a copy in which the options given in `over` replace those of this one.

        `alpn_protocols` and `alpn_callback` exclude each other, so the one given in `over` also
        removes the other.
        """
        changes: dict[str, Any] = {name: getattr(over, name) for name in over.given}
        if "alpn_protocols" in changes or "alpn_callback" in changes:
            changes = {"alpn_protocols": None, "alpn_callback": None, **changes}
        return replace(self, **changes)


class SharedContextOptionsDict(TypedDict, total=False):
    """The context options that servers and clients share, for `Unpack`."""

    ca: "Content | Certificate | Sequence[Content | Certificate] | None"
    extra_ca: "Content | Certificate | Sequence[Content | Certificate] | None"
    cert: "Content | Certificate | Sequence[Content | Certificate] | None"
    key: "Content | PrivateKey | ExternalKey | Sequence[Content | PrivateKey | KeyWithPassphrase | ExternalKey] | None"
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


@exported
class ContextOptionsDict(SharedContextOptionsDict, total=False):
    """The options of `create_secure_context`, for `Unpack`."""

    request_cert: bool | None
    alpn_callback: Callable[..., Any] | None


CONTEXT_CHECKS = checks_of(ContextOptions) | {"secure_protocol": check_text}
CLIENT_CONTEXT_CHECKS = checks_of(ContextOptions, for_client=True) | {"secure_protocol": check_text}

# Node's methods: TLS_method enables all versions, SSLv23_method those from the default minimum to
# TLS 1.2, the others a fixed one.
_METHODS: Mapping[str, dict[str, str]] = {
    "TLS_method": {"min_version": "TLSv1", "max_version": "TLSv1.3"},
    "SSLv23_method": {"max_version": "TLSv1.2"},
    "TLSv1_method": {"min_version": "TLSv1", "max_version": "TLSv1"},
    "TLSv1_1_method": {"min_version": "TLSv1.1", "max_version": "TLSv1.1"},
    "TLSv1_2_method": {"min_version": "TLSv1.2", "max_version": "TLSv1.2"},
}


def make_context(checked: dict[str, Any]) -> ContextOptions:
    """Return the frozen options from individually checked ones.

    Raises:
        UsageError: options that cannot be combined.
    """
    method = checked.pop("secure_protocol", None)
    if method is not None:
        checked |= _versions_of_method(method, checked)
    options = ContextOptions(**checked)
    if options.certificate_compression and (options.max_version or defaults.max_version) != "TLSv1.3":
        raise wrong_value("options.certificate_compression", "needs TLS 1.3, which max_version= excludes")
    if options.alpn_protocols is not None and options.alpn_callback is not None:
        raise UsageTypeError(
            "options.alpn_callback and options.alpn_protocols exclude each other",
            code="ERR_TLS_ALPN_CALLBACK_WITH_PROTOCOLS",
            hint="Leave alpn_protocols= out: the callback receives the protocols that the client offers.",
        )
    return options


def _versions_of_method(method: str, checked: dict[str, Any]) -> dict[str, str]:
    """Return the versions of one of OpenSSL's old methods by its name.

    Like Node, methods for servers and clients are treated alike.
    """
    conflicting = [name for name in ("min_version", "max_version") if name in checked]
    if conflicting:
        raise UsageTypeError(
            f"options.secure_protocol cannot be combined with {' and '.join(conflicting)}",
            code="ERR_TLS_PROTOCOL_VERSION_CONFLICT",
            hint="Leave secure_protocol= out: min_version= and max_version= can express the same.",
        )
    if found := re.match(r"SSLv[23]_", method):
        problem = f"{found[0].removesuffix('_')} methods disabled"
    else:
        family = re.sub(r"_(server|client)_method$", "_method", method)
        if family in _METHODS:
            return _METHODS[family]
        problem = f"Unknown method: {method:.80}"
    raise UsageTypeError(
        f"options.secure_protocol: {problem}", code="ERR_TLS_INVALID_PROTOCOL_METHOD", hint="Use min_version= and max_version= instead."
    )
