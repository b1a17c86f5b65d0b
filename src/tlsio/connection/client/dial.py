"""Connecting by TCP or to a Unix socket, before TLS: addresses, local ports, hints for failures."""

from __future__ import annotations

import errno
import os
import socket as _socket
from typing import TYPE_CHECKING, Any

import aiohappyeyeballs

from tlsio.model.errors import add_hint

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from tlsio.model.options.connect import ConnectOptions

__all__ = ["FAMILIES", "connect_path", "connect_tcp", "set_options"]

# RFC 8305 §8: "Connection Attempt Delay ... RECOMMENDED value is 250 milliseconds".
_ATTEMPT_DELAY = 0.25

FAMILIES: dict[int | None, _socket.AddressFamily] = {4: _socket.AF_INET, 6: _socket.AF_INET6, None: _socket.AF_UNSPEC}


async def connect_tcp(loop: asyncio.AbstractEventLoop, host: str, port: int, options: ConnectOptions) -> _socket.socket:
    """Connect to the first address of `host` that answers (RFC 8305).

    Raises:
        OSError: none did, or the local address or port is unavailable; its hint says what to do.
    """
    try:
        found = await _look_up(loop, host, port, options)
        local = _local_addresses(options)
        made = await aiohappyeyeballs.start_connection(
            found,
            local_addr_infos=local,
            happy_eyeballs_delay=_ATTEMPT_DELAY,
            interleave=1,
            loop=loop,
            socket_factory=_make_shared if options.local_port else None,
        )
    except OSError as error:
        add_hint(error, _hint_for(error, f"{host} port {port}"))
        raise
    try:
        set_options(made, options)
    except OSError:
        made.close()
        raise
    return made


async def _look_up(loop: asyncio.AbstractEventLoop, host: str, port: int, options: ConnectOptions) -> Any:
    """Return the addresses of a host.

    Raises:
        OSError: there is none; also for what cannot be a name, such as a label of more than 63
            letters (RFC 1035 §2.3.4), for which Python raises a UnicodeError.
    """
    try:
        return await loop.getaddrinfo(host, port, family=_family_of(options), type=_socket.SOCK_STREAM)
    except UnicodeError as error:
        raise _socket.gaierror(_socket.EAI_NONAME, "Name or service not known") from error


def set_options(made: _socket.socket, options: ConnectOptions) -> None:
    """Set `no_delay` and `keep_alive` on a connected TCP socket."""
    if options.no_delay:
        made.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    if options.keep_alive:
        made.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
        if options.keep_alive_initial_delay >= 1:
            made.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_KEEPIDLE, int(options.keep_alive_initial_delay))


def _family_of(options: ConnectOptions) -> int:
    """Return the address family to look up: `family=`, or that of the local address."""
    if options.family is None and options.local_address is not None:
        return _socket.AF_INET6 if ":" in options.local_address else _socket.AF_INET
    return FAMILIES[options.family]


def _local_addresses(options: ConnectOptions) -> list[Any] | None:
    """Return the address to bind for each family; None: do not bind."""
    if options.local_address is None and options.local_port is None:
        return None
    hosts = ("::", "0.0.0.0") if options.local_address is None else (options.local_address,)  # noqa: S104  (any address)
    return [_local_address(host, options.local_port or 0) for host in hosts]


def _local_address(host: str, port: int) -> Any:
    if ":" not in host:
        return _socket.AF_INET, _socket.SOCK_STREAM, 0, "", (host, port)
    host, _, zone = host.partition("%")
    number = 0 if not zone else int(zone) if zone.isdecimal() else _socket.if_nametoindex(zone)
    return _socket.AF_INET6, _socket.SOCK_STREAM, 0, "", (host, port, 0, number)


def _make_shared(found: Any) -> _socket.socket:
    """Make a socket whose local port several concurrent attempts can share."""
    family, kind, protocol, _, address = found
    made = _socket.socket(family, kind, protocol)
    made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    if family == _socket.AF_INET6 and not address[0].startswith("::ffff:"):  # an IPv4-mapped address needs both
        made.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
    return made


async def connect_path(loop: asyncio.AbstractEventLoop, path: str | os.PathLike[str]) -> _socket.socket:
    """Connect to a Unix socket.

    Raises:
        OSError: as `connect_tcp`.
    """
    made = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    made.setblocking(False)  # noqa: FBT003
    try:
        await loop.sock_connect(made, os.fspath(path))
    except BaseException as error:
        made.close()
        if isinstance(error, OSError):
            add_hint(error, _hint_for(error, os.fspath(path)))
        raise
    return made


def _hint_for(error: OSError, where: str) -> str:
    """Return advice about a failure before TLS."""
    if isinstance(error, _socket.gaierror):
        return f"While looking up {where}: check the spelling of the name, and that this machine can reach its DNS servers."
    return f"While connecting to {where}: {_HINTS.get(error.errno or 0, 'check the address, and that no firewall blocks it.')}"


_HINTS: Mapping[int, str] = {
    errno.ECONNREFUSED: "nothing listens there. Is the server running, and is this its port? It may listen on another address of that "
    "machine only, such as 127.0.0.1, or on UDP.",
    errno.ENOENT: "the socket does not exist. Is the server running, and is this its path?",
    errno.EACCES: "permission denied. Check the permissions of the socket and its directory.",
    errno.ETIMEDOUT: "there was no answer. Is the host up, and does a firewall drop the packets?",
    errno.ENETUNREACH: "there is no route to this network. Is this machine connected, and does it support this address family?",
    errno.EHOSTUNREACH: "there is no route to this host. Is it up, and on this network?",
    errno.EADDRNOTAVAIL: "local_address= is not an address of this machine, or all local ports are in use.",
    errno.EADDRINUSE: "local_port= is in use.",
}
