"""Sockets to listen on: by port and host, by path, or given by the caller.

Sockets that we open belong to the reactor once it listens, which also closes the copies in a forked
child. Of a caller's socket the reactor gets a duplicate, and the caller's object is closed when the
server closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket as _socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from tlsio.connection.drivers.given_sockets import check_bound, is_listening
from tlsio.connection.server.ports import hint_for_bind
from tlsio.model.checks import check_bool, check_host, check_int, check_port, check_socket_path, wrong_type, wrong_value
from tlsio.model.errors import UsageTypeError, add_hint
from tlsio.trust.identity import to_lookup_name

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tlsio.native._core import Gate, Reactor

__all__ = ["Listening", "ServerAddress", "bind", "check_backlog", "check_given", "open_listening"]

_MAX_BACKLOG = 2**31 - 1


class ServerAddress(TypedDict):
    """The address of a listening server."""

    address: str
    family: str
    port: int


class Listening:
    """Bound sockets, which listen from `start` until `close`."""

    def __init__(self, sockets: Sequence[_socket.socket], *, are_given: bool = False, path: str | None = None) -> None:
        """Take ownership of bound sockets; `path` is removed by `close`."""
        self._sockets = list(sockets)
        self._are_given = are_given
        self._path = path
        self._inode = Path(path).stat().st_ino if path is not None else 0
        self._names = [one.getsockname() for one in self._sockets]

    def start(self, gate: Gate, reactor: Reactor, backlog: int) -> None:
        """Listen, and let the reactor accept.

        Raises:
            OSError: the kernel refused; the caller must call `abandon`.
        """
        before = [(one, one.gettimeout(), is_listening(one)) for one in self._sockets]
        try:
            for one in self._sockets:
                one.setblocking(False)  # noqa: FBT003
                one.listen(backlog)
            for one in self._sockets:
                gate.listen(reactor, os.dup(one.fileno()))
            gate.start()
        except BaseException:
            for one, timeout, listened in before:
                _restore(one, timeout, listened=listened)
            raise
        if not self._are_given:
            self._close_sockets()

    @property
    def sockets(self) -> tuple[_socket.socket, ...]:
        """The sockets, for an accept loop of the caller."""
        return tuple(self._sockets)

    @property
    def address(self) -> ServerAddress | str:
        """The address of the first socket; the path of a Unix socket."""
        name = self._names[0]
        if isinstance(name, tuple):
            return {"address": name[0], "family": "IPv6" if ":" in name[0] else "IPv4", "port": name[1]}
        return os.fsdecode(name)

    def describe(self) -> str:
        """Return all addresses as text."""
        return ", ".join(_describe(name) for name in self._names)

    def close(self) -> None:
        """Close the sockets, and remove the path."""
        self._close_sockets()
        if self._path is not None:
            _unlink(self._path, self._inode)

    def abandon(self) -> None:
        """Close the sockets that we opened; those of the caller stay open."""
        if not self._are_given:
            self.close()

    def _close_sockets(self) -> None:
        for one in self._sockets:
            one.close()
        self._sockets = []


async def open_listening(
    port: object, host: object, *, path: object, sock: object, reuse_port: object, backlog: object
) -> tuple[Listening, int]:
    """Check the arguments of `listen`, and bind the sockets.

    Returns:
        The bound sockets, and the checked backlog.

    Raises:
        UsageError: a wrong argument.
        OSError: the address is not available, or the name cannot be resolved.
    """
    backlog = check_backlog(backlog)
    reuse_port = check_bool("reuse_port", reuse_port)
    port = _check_port(port, 'listen(443, "127.0.0.1")')
    host = _check_host(host)
    if sum((sock is not None, path is not None, bool(port) or host is not None)) > 1:
        raise UsageTypeError(
            "listen() needs port= (and host=), or path=, or sock=, not several of them", code="ERR_INCOMPATIBLE_OPTION_PAIR"
        )
    if sock is not None:
        return Listening(check_given(sock), are_given=True), backlog
    if path is not None:
        return _bind_path(check_socket_path("path", path)), backlog
    # As in Node, "::" alone is every address, of IPv4 too.
    return Listening(await _bind_hosts(port, None if host == "::" else host, reuse_port=reuse_port)), backlog


async def bind(hosts: object, port: object, *, reuse_port: object) -> list[_socket.socket]:
    """Bind a socket to each address of each host; all have the same port.

    Args:
        hosts: A name, an address, or a sequence of them; None: all addresses, by one socket; "::":
            as in asyncio, those of IPv6 alone.
        port: 0 or None chooses a free one.
        reuse_port: Whether several processes may listen on the port.

    Raises:
        UsageError: a wrong argument.
        OSError: an address is not available, or a name cannot be resolved.
    """
    reuse_port = check_bool("reuse_port", reuse_port)
    port = _check_port(port, 'create_tls_server(factory, "127.0.0.1", 443), start_server(callback, "127.0.0.1", 443)')
    if hosts is None or isinstance(hosts, str):
        hosts = [hosts]
    if not isinstance(hosts, list | tuple):
        raise wrong_type("host", "a str or a list of them", hosts)
    sockets: list[_socket.socket] = []
    try:
        for host in hosts:
            bound = {one.getsockname()[0] for one in sockets}
            sockets += await _bind_hosts(port, _check_host(host), reuse_port=reuse_port, bound=bound)
            port = port or sockets[0].getsockname()[1]
    except BaseException:
        for one in sockets:
            one.close()
        raise
    return sockets


def check_backlog(value: object) -> int:
    """Return the length of the kernel's queue of connections.

    Raises:
        UsageError: not an int from 1 on.
    """
    return check_int("backlog", value, 1, _MAX_BACKLOG)


def _check_port(port: object, call: str) -> int:
    if isinstance(port, str):
        hint = f"Give it as a number: {int(port)}." if port.isdecimal() else f"The right order is {call}."
        raise wrong_type("port", "an int", port, hint=hint)
    return 0 if port is None else check_port("port", port)


def _check_host(host: object) -> str | None:
    return None if host is None or host == "" else to_lookup_name(check_host("host", host), "host")


def check_given(sock: object) -> list[_socket.socket]:
    """Return the caller's bound sockets as a list.

    Raises:
        UsageError: not a socket or a list of them, not bound, or one socket twice.
    """
    sockets: list[Any] = list(sock) if isinstance(sock, list | tuple) else [sock]
    if not sockets:
        raise wrong_value("sock", "must not be empty")
    for one in sockets:
        if not isinstance(one, _socket.socket):
            raise wrong_type("sock", "a socket or a list of them", one)
        check_bound("sock", one)
    if len({one.fileno() for one in sockets}) < len(sockets):
        raise wrong_value("sock", "must not contain the same socket twice")
    return sockets


async def _bind_hosts(port: int, host: str | None, *, reuse_port: bool, bound: Collection[str] = ()) -> list[_socket.socket]:
    if host is None:
        return [_bind_all(port, reuse_port=reuse_port)]
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=_socket.SOCK_STREAM, flags=_socket.AI_PASSIVE)
    except _socket.gaierror as error:
        add_hint(error, f"While listening on {host!r}: give an address or a name of this machine, or leave host= out for all addresses.")
        raise
    sockets: list[_socket.socket] = []
    try:
        for family, _kind, _protocol, _name, address in dict.fromkeys(found):
            if address[0] in bound:
                continue
            if sockets and port == 0:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])  # noqa: PLW2901  (the same port for all addresses of a name)
            sockets.append(_bind(family, address, reuse_port=reuse_port))
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets


def _bind_all(port: int, *, reuse_port: bool) -> _socket.socket:
    """Bind one socket for IPv4 and IPv6; for IPv4 only if the system has no IPv6."""
    if _socket.has_dualstack_ipv6():
        return _bind(_socket.AF_INET6, ("::", port), reuse_port=reuse_port, only_v6=False)
    return _bind(_socket.AF_INET, ("0.0.0.0", port), reuse_port=reuse_port)  # noqa: S104  (all addresses are wanted)


def _bind(family: int, address: Any, *, reuse_port: bool, only_v6: bool = True) -> _socket.socket:
    one = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        one.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if reuse_port:
            one.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT, 1)
        if family == _socket.AF_INET6:
            one.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, int(only_v6))
        one.bind(address)
    except OSError as error:
        one.close()
        add_hint(error, f"While listening on {address[0]} port {address[1]}: {hint_for_bind(error, address[0], address[1])}")
        raise
    return one


def _bind_path(path: str) -> Listening:
    one = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        one.bind(path)
        return Listening([one], path=None if path.startswith("\0") else path)  # an abstract name has no file
    except OSError as error:
        one.close()
        add_hint(error, f"While listening on {path}: {_hint_for_path(error, path)}")
        raise


def _hint_for_path(error: OSError, path: str) -> str:
    if error.errno == errno.EADDRINUSE and path.startswith("\0"):
        return "another process listens there."
    if error.errno == errno.EADDRINUSE and not Path(path).is_socket():
        return "this is a file of another kind: give a path that does not exist yet."
    if error.errno == errno.EADDRINUSE:
        return "if no other process listens there, remove the file first."
    if error.errno in {errno.EACCES, errno.EPERM}:
        return "this process may not create a file in that directory: check its permissions."
    return "check that its directory exists, and that the path has at most 107 bytes."


def _describe(name: Any) -> str:
    if not isinstance(name, tuple):
        return os.fsdecode(name)
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


def _restore(one: _socket.socket, timeout: float | None, *, listened: bool) -> None:
    """Restore a socket's state from before it listened; a Unix socket cannot stop listening."""
    with contextlib.suppress(OSError):
        if not listened and is_listening(one) and one.family != _socket.AF_UNIX:
            name = one.getsockname()
            one.shutdown(_socket.SHUT_RDWR)
            one.bind(name)  # a port that the kernel chose is free again; a requested one is still bound, which raises
    with contextlib.suppress(OSError):
        one.settimeout(timeout)


def _unlink(path: str, inode: int) -> None:
    """Remove our Unix socket, unless another was created in its place."""
    try:
        found = Path(path).stat()
        if found.st_ino == inode and stat.S_ISSOCK(found.st_mode):
            Path(path).unlink()
    except FileNotFoundError:
        pass
