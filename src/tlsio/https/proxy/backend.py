"""Connections to the backend of a proxy: HTTP/1.1, both directions of one request side by side.

Theory of operation. A backend may answer before it has read the request, and close (RFC 9112,
section 9.6). What it has sent is then still in the socket, while all that is written fails. So
these connections are sockets: asyncio's transports drop what was not read when a write fails. A
connection that cannot be written to is read further, since the response tells why.

The time of the backend counts while its response is waited for, and not while the client owes a
part of the request, or has not taken a part of the response.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import h11

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Backend", "BackendConnection", "BackendError", "BackendTimeoutError"]

_READ = 65536  # bytes
_MAX_HEAD = 100 * 1024  # bytes of a response's head, as httpcore
_IDLE = 4.0  # seconds that a connection is kept; Node and uvicorn close theirs after 5
_MOST_IDLE = 100  # connections that are kept


class BackendError(Exception):
    """The backend cannot be reached, or its response is not a whole one."""


class BackendTimeoutError(BackendError):
    """The backend did not answer in time."""


class Backend:
    """One server of HTTP/1.1, and the connections to it that wait for a request."""

    def __init__(self, host: str, port: int, *, connect_timeout: float, read_timeout: float | None) -> None:
        """Connect when asked. `read_timeout` is for each part of a response, in seconds."""
        self._place = host, port
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._idle: dict[BackendConnection, asyncio.TimerHandle] = {}
        self._is_closed = False

    @asynccontextmanager
    async def connection(self, *, is_new: bool = False) -> AsyncIterator[BackendConnection]:
        """Lend a connection for one request. It is closed unless both have ended in order.

        Args:
            is_new: It has served no request yet.

        Raises:
            BackendError: the backend cannot be reached.
        """
        connection = (None if is_new else self._take()) or BackendConnection(await self._connect(), self._read_timeout)
        try:
            yield connection
        finally:
            self._release(connection)

    def close(self) -> None:
        """Close what is idle now, and the others when their requests end."""
        self._is_closed = True
        for connection in tuple(self._idle):
            self._drop(connection)

    def _take(self) -> BackendConnection | None:
        while self._idle:
            connection, timer = self._idle.popitem()  # the last used: the backend keeps it the longest
            timer.cancel()
            if connection.is_quiet:
                return connection
            connection.close()
        return None

    def _release(self, connection: BackendConnection) -> None:
        if not self._is_closed and len(self._idle) < _MOST_IDLE and connection.renew():
            self._idle[connection] = asyncio.get_running_loop().call_later(_IDLE, self._drop, connection)
        else:
            connection.close()

    def _drop(self, connection: BackendConnection) -> None:
        self._idle.pop(connection).cancel()
        connection.close()

    async def _connect(self) -> socket.socket:
        """Connect to the first address that answers; each gets a share of the time that is left."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._connect_timeout
        failure: OSError = OSError("the name has no address")
        try:
            async with asyncio.timeout_at(until):
                addresses = await loop.getaddrinfo(*self._place, type=socket.SOCK_STREAM)
            for left, (family, kind, proto, _, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
                try:
                    async with asyncio.timeout((until - loop.time()) / left):
                        return await _connect_to(socket.socket(family, kind, proto), address)
                except OSError as error:
                    failure = error
            raise failure
        except TimeoutError:
            raise BackendTimeoutError("connect_timeout has passed") from None
        except OSError as error:
            raise BackendError(str(error)) from None


async def _connect_to(sock: socket.socket, address: tuple[object, ...]) -> socket.socket:
    try:
        sock.setblocking(False)  # noqa: FBT003
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


class BackendConnection:
    """One connection. `send` and `receive` may run at the same time, each once.

    Cancelled, either of them leaves a connection that is not used for another request.
    """

    def __init__(self, sock: socket.socket, read_timeout: float | None) -> None:
        """Take a connected socket."""
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._read_timeout = read_timeout
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD)
        self._is_deaf = False  # nothing can be written, or not from where a request begins
        self._is_reset = False  # the kernel reports that once: to what was written
        self._is_reused = False
        self._is_silent = True  # no byte of the present response has come
        self._waits_for_client = False
        self._limit: asyncio.Timeout | None = None  # while the backend is waited for

    # ---- the request

    async def send(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> None:
        """Send a part of the request. If the backend takes no more, nothing happens.

        Raises:
            h11.LocalProtocolError: it cannot be sent.
        """
        data = self._http.send(event)
        if not data or self._is_deaf:
            return
        try:
            await self._loop.sock_sendall(self._socket, data)
        except OSError as error:
            self._is_deaf, self._is_reset = True, isinstance(error, ConnectionResetError)
        except asyncio.CancelledError:
            self._is_deaf = True  # what is missing of it would be taken from the next request
            raise
        self._watch()

    def wait_for_client(self, *, waits: bool) -> None:
        """Say whether the client owes a part of the request: the backend need not answer then."""
        self._waits_for_client = waits
        self._watch()

    # ---- the response

    async def receive(self) -> h11.Event:
        """Return the next event of the response.

        Raises:
            BackendError: it is not one of HTTP/1.1, not complete, or late.
        """
        while (event := self.take()) is None:
            data = await self._read()
            if not data and self._http.their_state is h11.SEND_RESPONSE:
                raise BackendError("it closed the connection without a response")
            if not data and self._is_reset:  # a body without a length would seem whole
                raise BackendError("it reset the connection")
            self._is_silent = False
            self._http.receive_data(data)
        return event

    def take(self) -> h11.Event | None:
        """Return the next event, if all of it has been read. Raises as `receive`."""
        try:
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise BackendError(str(error)) from None
        return event if isinstance(event, h11.Event) else None

    async def _read(self) -> bytes:
        try:
            async with asyncio.timeout(None) as self._limit:
                self._watch()
                data = await self._loop.sock_recv(self._socket, _READ)
        except TimeoutError:
            raise BackendTimeoutError("its response is late") from None
        except OSError as error:
            raise BackendError(str(error)) from None
        finally:
            self._limit = None
        # A fast backend always has more: without this, its response would be alone in the loop.
        await asyncio.sleep(0)
        return data

    def _watch(self) -> None:
        """Limit the time from now on, if the backend is waited for."""
        if self._limit is not None and not self._limit.expired():
            is_unlimited = self._read_timeout is None or self._waits_for_client
            self._limit.reschedule(None if is_unlimited else self._loop.time() + (self._read_timeout or 0.0))

    # ---- between requests

    def renew(self) -> bool:
        """Prepare for another request; False: it cannot be used for one.

        What the backend has sent after its response would be taken for that to the next request.
        """
        http = self._http
        if self._is_deaf or http.our_state is not h11.DONE or http.their_state is not h11.DONE or http.trailing_data[0]:
            return False
        http.start_next_cycle()
        self._is_reused = self._is_silent = True
        return True

    @property
    def may_be_stale(self) -> bool:
        """Whether a failure may come from the request before.

        RFC 9112, section 9.3.1: a backend that closes an idle connection does not know that a
        request is on its way.
        """
        return self._is_reused and self._is_silent

    @property
    def is_quiet(self) -> bool:
        """Whether the backend has sent nothing since, and not closed."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close."""
        self._socket.close()
