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
        add_hint(error, _hint_for(error, host, port, options))
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
    try:
        number = 0 if not zone else int(zone) if zone.isdecimal() else _socket.if_nametoindex(zone)
    except OSError as error:  # Python's has no number
        raise OSError(errno.ENODEV, f"there is no interface {zone!r}") from error
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
            add_hint(error, f"While connecting to {_print_path(os.fspath(path))}: {_PATH_HINTS.get(error.errno or 0, _CHECK_PATH)}")
        raise
    return made


def _hint_for(error: OSError, host: str, port: int, options: ConnectOptions) -> str:
    """Return advice about a failure before TLS."""
    where = f"{host} port {port}"
    if isinstance(error, _socket.gaierror):
        return f"While looking up {where}: {_hint_for_lookup(error, host, options)}"
    if port == 0:
        return f"While connecting to {where}: no server has the port 0. A server that listens on it gets another: see its port."
    return f"While connecting to {where}: {_HINTS.get(error.errno or 0, 'check the address, and that no firewall blocks it.')}"


def _hint_for_lookup(error: _socket.gaierror, host: str, options: ConnectOptions) -> str:
    if error.errno == getattr(_socket, "EAI_ADDRFAMILY", None):
        option = "family" if options.family is not None else "local_address"
        return f"it has no address of the family that {option}= asks for."
    if "%" in host:
        return "the interface after the % must be one of this machine, and the address one of its link."
    return "check the spelling of the name, and that this machine can reach its DNS servers."


def _print_path(path: str) -> str:
    """Return a path for a message; abstract names begin with a null character."""
    return repr(path) if "\0" in path else path


_HINTS: Mapping[int, str] = {
    errno.ECONNREFUSED: "nothing listens there. Is the server running, and is this its port? It may listen on another address of that "
    "machine only, such as 127.0.0.1, or on UDP.",
    errno.EACCES: "this system does not permit it: check its firewall.",
    errno.ETIMEDOUT: "there was no answer. Is the host up, and does a firewall drop the packets?",
    errno.ENETUNREACH: "there is no route to this network. Is this machine connected, and does it support this address family?",
    errno.EHOSTUNREACH: "there is no route to this host. Is it up, and on this network?",
    errno.EADDRNOTAVAIL: "local_address= is not an address of this machine, or all local ports are in use.",
    errno.EADDRINUSE: "local_port= is in use.",
    errno.ENODEV: "the interface after the % of local_address= is not one of this machine.",
}

_CHECK_PATH = "check the path, which has at most 107 bytes."
_PATH_HINTS: Mapping[int, str] = {
    errno.ECONNREFUSED: "nothing listens there. The server has ended and left the socket, or this is a file of another kind.",
    errno.ENOENT: "the socket does not exist. Is the server running, and is this its path?",
    errno.EACCES: "permission denied. Check the permissions of the socket and its directory.",
    errno.EAGAIN: "the server's queue of new connections is full.",
}
