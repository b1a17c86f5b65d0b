"""What all connections of one server share."""

from __future__ import annotations

import asyncio
import logging
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from uvicorn.server import ServerState

from tlsio.connection.asyncio_face.transport import TLSTransport
from tlsio.connection.waiters import wait_in, wake
from tlsio.https.protocols.connection import Connection
from tlsio.https.protocols.http1 import Http1Protocol
from tlsio.https.protocols.http2.protocol import Http2Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Sequence

    from uvicorn import Config

    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.connection.waiters import Waiters
    from tlsio.https.asgi import App, Receive, Scope, Send
    from tlsio.https.limits import Limits
    from tlsio.https.protocols.connection import Handler, Layer, RefusalWatcher

__all__ = ["Service"]

_log = logging.getLogger("tlsio.https")

_DATE_EVERY = 1.0  # seconds
_CANCEL_TIME = 5.0  # seconds that cancelled requests have for their own cleaning up


class _Connections(set[Any]):
    """uvicorn's set of connections, which reports when it is empty."""

    def __init__(self) -> None:
        super().__init__()
        self._waiters: Waiters = {}

    async def wait(self) -> None:
        """Wait until the last connection has ended."""
        while self:
            await wait_in(self._waiters)

    def discard(self, element: Any) -> None:
        super().discard(element)
        if not self:
            wake(self._waiters)

    def remove(self, element: Any) -> None:
        super().remove(element)
        if not self:
            wake(self._waiters)


class Service:
    """The application, and the connections and requests that are open.

    Attributes:
        app: The application.
        handle: The application with its layers, called for each request.
        config: uvicorn's, for HTTP/1.1 and WebSockets.
        limits: Of each connection and request.
        refusal_watchers: Called for each request that was refused before it reached the layers.
        connections: The protocols of the open connections.
        state: uvicorn's: connections, tasks and headers that each response has.
        date_line: The line of the `date` header in HTTP/1.1.
        lifespan_state: What the application's lifespan has set; each request gets a copy.
    """

    def __init__(
        self, config: Config, limits: Limits, layers: Sequence[Layer] = (), refusal_watchers: Sequence[RefusalWatcher] = ()
    ) -> None:
        """Serve the application that `config` has loaded.

        Args:
            config: uvicorn's, loaded.
            limits: As below.
            layers: What is done around the application, the outermost first.
            refusal_watchers: As below.
        """
        self.app: App = config.loaded_app
        self.handle: Handler = self._call
        for layer in reversed(layers):
            self.handle = layer(self.handle)
        self.config = config
        self.limits = limits
        self.refusal_watchers = refusal_watchers
        self.state = ServerState()
        self.state.connections = self.connections = _Connections()
        self.lifespan_state: dict[str, Any] = {}
        self.date_line = b""
        self._loop = asyncio.get_running_loop()
        self._clock: asyncio.TimerHandle | None = None
        self._is_retiring = False

    def start(self) -> None:
        """Keep the `date` header true from now on."""
        date = formatdate(usegmt=True).encode()
        self.state.default_headers = [(b"date", date)]
        self.date_line = b"date: %b\r\n" % date
        self._clock = self._loop.call_later(_DATE_EVERY, self.start)

    def stop(self) -> None:
        """Let the `date` header be."""
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def accept(self, tls_socket: TLSSocket) -> None:
        """Serve a connection, in the version that ALPN chose."""
        connection = Connection(self, tls_socket)
        make = Http2Protocol if tls_socket.alpn_protocol == "h2" else Http1Protocol
        connection.protocol = make(connection)
        TLSTransport(tls_socket, connection.protocol)
        if self._is_retiring:  # its handshake began before the server was stopped
            connection.retire()

    def retire(self) -> None:
        """Let requests finish, and close each connection after its last one."""
        self._is_retiring = True
        for protocol in tuple(self.state.connections):
            protocol.shutdown()

    async def wait(self) -> None:
        """Wait until no request runs, and the connections are closed."""
        while self.state.tasks or self.connections:
            if self.state.tasks:
                done, _ = await asyncio.wait(self.state.tasks)
                self.state.tasks.difference_update(done)  # one that was cancelled before it had begun is still here
            else:
                await self.connections.wait()

    def abort(self) -> None:
        """Cancel the requests, and abort the connections."""
        for task in tuple(self.state.tasks):
            task.add_done_callback(self.state.tasks.discard)  # for one that has not begun
            task.cancel()
        for protocol in tuple(self.connections):
            protocol.transport.abort()

    async def cancel(self) -> None:
        """As `abort`, and wait until the requests have ended."""
        tasks = tuple(self.state.tasks)
        self.abort()
        if tasks:
            _, ignoring = await asyncio.wait(tasks, timeout=_CANCEL_TIME)
            if ignoring:
                _log.error("%d requests ignored their cancellation, and still run", len(ignoring))

    def opened(self, protocol: Any) -> None:
        """Note a connection, which a graceful stop will shut down."""
        self.state.connections.add(protocol)

    def closed(self, protocol: Any) -> None:
        """Forget a connection."""
        self.state.connections.discard(protocol)

    def _call(self, _connection: Connection, scope: Scope, receive: Receive, send: Send) -> Awaitable[Any]:
        return self.app(scope, receive, send)

    def run(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run one request."""
        task = self._loop.create_task(coroutine)
        self.state.tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self.state.tasks.discard(task)
        self.state.total_requests += 1
