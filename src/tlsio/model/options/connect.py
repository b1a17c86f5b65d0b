"""The options of a client connection."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, TypeAlias

from tlsio.model.checks import (
    BytesLike,
    check_bool,
    check_bytes,
    check_choice,
    check_function,
    check_host,
    check_int,
    check_plain_function,
    check_port,
    check_seconds,
    check_text,
    wrong_type,
    wrong_value,
)
from tlsio.model.errors import UsageValueError
from tlsio.model.exported import exported
from tlsio.model.options.connection import ConnectionOptions, ConnectionOptionsDict
from tlsio.model.options.context import SharedContextOptionsDict
from tlsio.model.options.option import option
from tlsio.model.uri_identity import check_identity

__all__ = ["ConnectOptions", "ConnectOptionsDict"]

IdentityPolicy: TypeAlias = Literal["node", "rfc9525"]
ChainPolicy: TypeAlias = Literal["openssl", "strict"]
OcspPolicy: TypeAlias = Literal["off", "check", "require"]


def _check_servername(label: str, value: object) -> str:
    # RFC 6066 §3: "Literal IPv4 and IPv6 addresses are not permitted in "HostName"."
    name = check_text(label, value)
    if _is_ip_address(name.removeprefix("[").removesuffix("]")):
        raise wrong_value(
            label,
            f"must be a name, got the IP address {name}",
            hint="Leave servername= out: then the certificate is checked for host=, and no SNI is sent.",
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
    # `socket.AF_INET` is recognised by its name, since its number differs between systems.
    found = {"AF_INET": 4, "AF_INET6": 6}.get(value.name) if isinstance(value, IntEnum) else value
    if type(found) is not int or found not in (0, 4, 6):
        raise wrong_value(label, f"must be 4, 6, or 0 for both, got {value!r:.40}")
    return found or None


def _check_min_dh_size(label: str, value: object) -> int:
    return check_int(label, value, 1, 2**31 - 1)


def _check_cache(label: str, value: object) -> object:
    if not all(callable(getattr(value, name, None)) for name in ("take", "put", "forget")):
        raise wrong_type(label, "a ClientSessionCache", value)
    return value


def _check_identity_policy(label: str, value: object) -> str:
    return check_choice(label, value, ("node", "rfc9525"))


def _check_chain_policy(label: str, value: object) -> str:
    return check_choice(label, value, ("openssl", "strict"))


def _check_ocsp(label: str, value: object) -> str:
    return check_choice(label, value, ("off", "check", "require"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectOptions(ConnectionOptions):
    """The options of a client connection. Times are in seconds; None for a time means no limit.

    Attributes:
        identity: A URI that the server's certificate must have, instead of a host name.
        servername: A name, never an IP address. `""` turns SNI off; None if not given.
        family: 4, 6, or None for both.
        min_dh_size: In bits; smaller Diffie-Hellman groups are refused. With None, only OpenSSL's
            own minimum applies.
        local_address: The IP address to bind to, as text.
        local_port: The port to bind to; 0 means any port.
    """

    servername: str | None = option(_check_servername)
    host: str | None = option(check_host)
    check_server_identity: Callable[..., Any] | None = option(check_function)
    psk_callback: Callable[..., Any] | None = option(check_plain_function)
    identity_policy: IdentityPolicy = option(_check_identity_policy, default="node")
    identity: str | None = option(check_identity)
    chain_policy: ChainPolicy = option(_check_chain_policy, default="openssl")
    request_ocsp: bool = option(check_bool, default=False)
    ocsp: OcspPolicy = option(_check_ocsp, default="off")
    min_dh_size: int | None = option(_check_min_dh_size)
    session: bytes | None = option(check_bytes, is_secret=True)
    session_cache: Any = option(_check_cache)
    timeout: float | None = option(check_seconds, none_is_no_limit=True)
    family: Literal[4, 6] | None = option(_check_family)
    local_address: str | None = option(_check_local_address)
    local_port: int | None = option(check_port)


@exported
class ConnectOptionsDict(SharedContextOptionsDict, ConnectionOptionsDict, total=False):
    """The options of `connect` besides its own parameters, such as `host`, for `Unpack`."""

    servername: str | None
    check_server_identity: Callable[..., Any] | None
    psk_callback: Callable[[str | None], tuple[str, BytesLike] | None] | None
    identity_policy: IdentityPolicy | None
    identity: str | None
    chain_policy: ChainPolicy | None
    request_ocsp: bool | None
    ocsp: OcspPolicy | None
    min_dh_size: int | None
    session: BytesLike | None
    session_cache: Any
    family: int | None
    local_address: str | None
    local_port: int | None
