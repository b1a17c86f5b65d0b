"""Listening for connections that begin with a PROXY protocol header.

Theory of operation. The reactor reads TLS from the first byte, so these connections are accepted
here. The header's bytes alone are taken from the socket, which then goes to the TLS server's
`upgrade`, as a socket that names the client's address as its peer's. So logs, scopes and events
have the client's address, and nothing else knows about proxies.

A proxy is trusted by its network address. Anything else on the port, and a header that is
malformed, missing or late, ends the connection with one line in the log.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any

from tlsio.connection.server.listening import open_listening
from tlsio.https.proxy.protocol import MalformedHeaderError, count_wanted, parse_header
from tlsio.model.checks import wrong_type, wrong_value
from tlsio.model.errors import TLSError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    from tlsio.connection.server.server import Server as TLSServer
    from tlsio.https.proxy.protocol import Header

    Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

__all__ = ["ProxyListener", "check_forwarded", "parse_networks"]

_log = logging.getLogger("tlsio.https")

_BACKLOG = 4096
_MAX_WAITING = 1024  # connections without a complete header; beyond, they wait in the kernel's queue
_HEADER_TIMEOUT = 5.0  # seconds; a proxy sends it at once
_CUSTOMER = 64  # bits
_PAUSE = 0.1  # seconds after a failed accept, such as without descriptors


def parse_networks(label: str, value: object) -> tuple[Network, ...]:
    """Return the networks of trusted proxies: addresses, or networks such as "10.0.0.0/8".

    Raises:
        UsageError: one of them is neither.
    """
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise wrong_type(label, "a list of addresses and networks", value)
    networks: list[Network] = []
    for one in value:
        try:
            networks.append(ipaddress.ip_network(one))
        except ValueError as error:
            raise wrong_value(label, f"must have addresses and networks: {error}", hint='Such as "192.0.2.1" or "10.0.0.0/8".') from None
    return tuple(networks)


def check_forwarded(value: object) -> list[str]:
    """Return `forwarded_allow_ips`: "*", or as `parse_networks`. Raises as that."""
    networks = ("*",) if value in (["*"], ("*",)) else parse_networks("forwarded_allow_ips", value)
    return [str(one) for one in networks]


class _RefusedError(Exception):
    """A connection is not accepted."""


class _ClientSocket(socket.socket):
    """A socket whose addresses are those that a proxy has named."""

    _header: Header

    def getpeername(self) -> Any:
        return self._header.source or super().getpeername()

    def getsockname(self) -> Any:
        return self._header.destination or super().getsockname()


class ProxyListener:
    """Accepts the connections of trusted proxies for a TLS server."""

    def __init__(
        self,
        server: TLSServer,
        trusted: Sequence[Network],
        *,
        header_timeout: float | None,
        per_address: int | None = None,
        max_handshakes: int | None = None,
    ) -> None:
        """Prepare; `listen` starts.

        Args:
            server: Gets the connections.
            trusted: The networks of the proxies.
            header_timeout: Seconds for the header.
            per_address: Connections of one client at a time; the gate cannot count these.
            max_handshakes: Connections without a complete handshake; beyond, they wait in the
                kernel's queue. The gate applies it where it accepts itself.
        """
        self._server = server
        self._trusted = tuple(trusted)
        self._header_timeout = header_timeout
        self._per_address = per_address
        self._of_client: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting: list[asyncio.Task[None]] = []
        self._limits_handshakes = max_handshakes is not None
        self._places = min(_MAX_WAITING, max_handshakes or _MAX_WAITING)
        self._room = asyncio.Semaphore(self._places)
        self._listening: Any = None

    @classmethod
    def of(cls, server: TLSServer, trusted: object, options: Mapping[str, Any]) -> ProxyListener | None:
        """Return a listener for `proxy_protocol=`; None if no proxy is trusted.

        Args:
            server: Gets the connections.
            trusted: The value of the option.
            options: Those of the server, which has checked them.

        Raises:
            UsageError: the option is wrong.
        """
        networks = parse_networks("proxy_protocol", trusted)
        if not networks:
            return None
        per_address, max_handshakes = options.get("max_connections_per_address"), options.get("max_handshakes")
        return cls(server, networks, header_timeout=_HEADER_TIMEOUT, per_address=per_address, max_handshakes=max_handshakes)

    @property
    def port(self) -> int | None:
        """The first TCP port it listens on."""
        address = None if self._listening is None else self._listening.address
        return address["port"] if isinstance(address, dict) else None

    async def listen(
        self,
        port: int | None = 0,
        host: str | None = None,
        *,
        path: str | None = None,
        sock: socket.socket | Sequence[socket.socket] | None = None,
        backlog: int = _BACKLOG,
        reuse_port: bool = False,
    ) -> None:
        """Accept connections. Takes and raises what `tlsio.Server.listen` does."""
        self._listening, backlog = await open_listening(port, host, path=path, sock=sock, reuse_port=reuse_port, backlog=backlog)
        loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(self._places)  # a new one: the last may belong to a loop that has ended
        for one in self._listening.sockets:
            one.setblocking(False)  # noqa: FBT003
            one.listen(backlog)
            self._accepting.append(loop.create_task(self._accept_all(one), name="tlsio accept"))

    def close(self) -> None:
        """Accept no more. What was accepted goes on."""
        if self._listening is not None:
            for task in self._accepting:
                task.cancel()
            self._listening.close()

    async def wait_closed(self) -> None:
        """Wait until what was accepted belongs to the TLS server, or has ended.

        Cancelled: connections whose header is not complete are closed.
        """
        try:
            while waiting := [*self._accepting, *self._tasks]:
                await asyncio.wait(waiting)
                self._accepting = []
        finally:
            self.abort()

    def abort(self) -> None:
        """Close what was accepted and has no TLS connection yet."""
        for task in self._tasks:
            task.cancel()

    async def _accept_all(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:
                self._room.release()
                if error.errno not in {errno.ECONNABORTED, errno.EPROTO}:
                    _log.warning("A connection could not be accepted: %s", error.strerror)
                    await asyncio.sleep(_PAUSE)
                continue
            except BaseException:
                self._room.release()
                raise
            task = loop.create_task(self._serve(accepted, address))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            if self._limits_handshakes:
                task.add_done_callback(lambda _: self._room.release())

    async def _serve(self, accepted: socket.socket, address: Any) -> None:
        """Read the header, and hand the connection to the TLS server."""
        try:
            try:
                header = await self._receive(accepted, address)
            finally:
                if not self._limits_handshakes:
                    self._room.release()
            made = _ClientSocket(fileno=accepted.detach())
            made._header = header  # noqa: SLF001 - its own module
            accepted = made
            self._check_room(made)
        except (MalformedHeaderError, _RefusedError, OSError) as error:
            accepted.close()
            name = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else "a Unix socket"
            reason = "its PROXY protocol header is late" if isinstance(error, TimeoutError) else error
            _log.warning("The connection of %s was closed: %s", name, reason)
        except BaseException:
            accepted.close()
            raise
        else:
            await self._upgrade(made)

    async def _receive(self, accepted: socket.socket, address: Any) -> Header:
        """Read the header, and not a byte more.

        Raises:
            MalformedHeaderError: it sends something else.
            _RefusedError: the sender is not trusted, or ended the connection.
            OSError: the connection has ended, or the header was late.
        """
        if isinstance(address, tuple) and not self._trusts(address[0]):
            raise _RefusedError("it is not one of the proxies that are trusted (proxy_protocol)")
        loop = asyncio.get_running_loop()
        data = b""
        async with asyncio.timeout(self._header_timeout):
            while wanted := count_wanted(data):
                received = await loop.sock_recv(accepted, wanted)
                if not received:
                    raise _RefusedError("it ended before its PROXY protocol header was complete")
                data += received
        return parse_header(data)

    def _trusts(self, host: str) -> bool:
        address = ipaddress.ip_address(host.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._trusted)

    def _check_room(self, made: socket.socket) -> None:
        """Check the limit for each address, which the gate checks where it accepts itself.

        Raises:
            _RefusedError: the client has that many connections.
        """
        if self._per_address is not None and self._of_client[_key(made)] >= self._per_address:
            raise _RefusedError(f"its client {_key(made)} has max_connections_per_address connections")

    async def _upgrade(self, made: socket.socket) -> None:
        """Do the handshake. From here on, the socket is the server's."""
        client = _key(made)
        self._count(client, 1)
        try:
            tls_socket = await self._server.upgrade(made)
        except BaseException as error:
            self._count(client, -1)
            if isinstance(error, TLSError):  # the server has logged and counted it
                return
            raise
        if tls_socket.closed:
            self._count(client, -1)
        else:
            tls_socket.on("close", lambda *_: self._count(client, -1))

    def _count(self, client: str, change: int) -> None:
        if self._per_address is not None:
            self._of_client[client] += change
            if not self._of_client[client]:
                del self._of_client[client]


def _key(made: socket.socket) -> str:
    """Return the client that a connection is counted for: an IPv4 address, or an IPv6 network.

    A customer gets at least 64 bits of addresses (RFC 6177), so they count as one; as in the gate.
    """
    peer = made.getpeername()
    if not isinstance(peer, tuple):
        return ""
    address = ipaddress.ip_address(peer[0].partition("%")[0])
    if address.version == 4:  # noqa: PLR2004
        return str(address)
    return str(address.ipv4_mapped or ipaddress.IPv6Network((address, _CUSTOMER), strict=False))
