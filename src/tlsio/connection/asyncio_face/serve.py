"""Servers in asyncio's shapes: `create_tls_server` and `start_server`."""

from __future__ import annotations

import asyncio
import weakref
from asyncio.trsock import TransportSocket
from typing import TYPE_CHECKING, Any

from tlsio.connection.asyncio_face.transport import TLSTransport
from tlsio.connection.server.listening import bind, check_backlog, check_given
from tlsio.connection.server.server import Server
from tlsio.connection.tasks import running_loop
from tlsio.model.errors import UsageStateError, UsageTypeError
from tlsio.model.exported import exported

if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
    from typing import Self, Unpack

    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.model.options.server import ServerOptionsDict

__all__ = ["AsyncioServer", "create_tls_server", "start_server"]

_PASSES_FOR_HANDLERS = 4  # `connection_lost`, the read that returns, `close`, and `wait_closed`


@exported
class AsyncioServer(asyncio.AbstractServer):
    """A server as asyncio knows it, over a `Server`.

    Attributes:
        tls_server: The Server below: contexts, ticket keys, statistics and events.
    """

    def __init__(
        self,
        tls_server: Server,
        transports: Iterable[TLSTransport],
        sockets: list[_socket.socket],
        backlog: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Take over bound sockets; `transports` are those that are open at any time."""
        self.tls_server = tls_server
        self._sockets = sockets
        self._backlog = backlog
        self._loop = loop
        self._closed = False
        self._transports = transports
        self._starting: asyncio.Task[Server] | None = None

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that the server runs in."""
        return self._loop

    def is_serving(self) -> bool:
        """Tell whether connections are accepted."""
        return self.tls_server.listening

    @property
    def sockets(self) -> tuple[TransportSocket, ...]:
        """The listening sockets; () once it is closed."""
        return () if self._closed else tuple(map(TransportSocket, self._sockets))

    async def start_serving(self) -> None:
        """Accept connections. Repeated: nothing happens.

        Raises:
            UsageStateError: the server is closed.
            OSError: the kernel refused.
        """
        if self._closed:
            raise UsageStateError("This server is closed", code="ERR_SERVER_NOT_RUNNING")
        if self.is_serving():
            return
        if self._starting is None:
            self._starting = self._loop.create_task(self.tls_server.listen(sock=self._sockets, backlog=self._backlog))
            self._starting.add_done_callback(self._started)
        starting = self._starting
        await asyncio.wait((starting,))
        starting.result()

    def _started(self, starting: asyncio.Task[Server]) -> None:
        self._starting = None
        if not starting.cancelled():
            starting.exception()  # retrieved also if the call that waits was cancelled

    async def serve_forever(self) -> None:
        """Accept connections until the call is cancelled; then close the server and its clients."""
        try:
            await self.start_serving()
            await self.tls_server.serve_forever()
        except asyncio.CancelledError:
            self.close()
            self.close_clients()
            raise

    def close(self) -> None:
        """Stop accepting. Open connections continue."""
        self.tls_server.close()  # raises in another thread, before anything is changed
        self._closed = True
        for one in self._sockets:  # which have not listened yet
            one.close()

    def close_clients(self) -> None:
        """Close all open transports."""
        for transport in tuple(self._transports):
            transport.close()

    def abort_clients(self) -> None:
        """Abort all open transports."""
        for transport in tuple(self._transports):
            transport.abort()

    async def wait_closed(self) -> None:
        """Wait until `close` was called and all connections are closed."""
        await self.tls_server.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close, and wait for connections for `shutdown_timeout`; after a cancellation at once."""
        self.close()
        await self.tls_server.__aexit__(*error)  # type: ignore[arg-type]
        # Handlers of streams see the end of their connection in the next passes. `asyncio.run`
        # would cancel them before, which asyncio of Python 3.11 reports with a traceback for each.
        for _ in range(_PASSES_FOR_HANDLERS):
            await asyncio.sleep(0)

    def __repr__(self) -> str:
        return f"<AsyncioServer {self.tls_server!r}>"


async def create_tls_server(  # noqa: PLR0913 - asyncio's
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    *,
    sock: _socket.socket | None = None,
    backlog: int = 4096,
    reuse_port: bool = False,
    start_serving: bool = True,
    **options: Unpack[ServerOptionsDict],
) -> AsyncioServer:
    """Serve TLS and give each connection to a protocol of its own, as `loop.create_server` does.

    A protocol's `connection_made` is called when the handshake is done.

    Args:
        protocol_factory: Called without arguments for each connection; returns its protocol.
        host: Names or addresses of this machine; None: all.
        port: 0 or None chooses a free one.
        sock: A bound socket instead.
        backlog: Connections that the kernel queues.
        reuse_port: Several processes may listen on the port.
        start_serving: Whether to accept connections at once.
        options: Those of `create_server`.

    Raises:
        UsageError: a wrong option.
        ConfigError: a certificate or key that cannot be used.
        OSError: the address cannot be used.
    """
    if not callable(protocol_factory):
        raise UsageTypeError(f"protocol_factory must be callable, got {type(protocol_factory).__name__}")
    loop = running_loop()

    transports: weakref.WeakSet[TLSTransport] = weakref.WeakSet()

    def connected(tls_socket: TLSSocket) -> None:
        transports.add(TLSTransport(tls_socket, protocol_factory()))

    given: dict[str, Any] = dict(options)
    given["allow_half_open"] = True  # the protocol's `eof_received` decides
    tls_server = Server(connected, **given)
    check_backlog(backlog)
    if sock is not None and (host is not None or port is not None):
        raise UsageTypeError("Give host= and port=, or sock=, not both", code="ERR_INCOMPATIBLE_OPTION_PAIR")
    sockets = check_given(sock) if sock is not None else await bind(host, port, reuse_port=reuse_port)
    made = AsyncioServer(tls_server, transports, sockets, backlog, loop)
    if start_serving:
        try:
            await made.start_serving()
        except BaseException:
            if sock is None:
                made.close()
            raise
    return made


async def start_server(
    client_connected_cb: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None],
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    *,
    limit: int = 65536,
    **options: Any,
) -> AsyncioServer:
    """Serve TLS and call a function with a reader and a writer for each connection.

    It does what `asyncio.start_server` does.

    Args:
        client_connected_cb: A function or coroutine function.
        host: As in `create_tls_server`.
        port: As in `create_tls_server`.
        limit: Bytes that a reader holds before it pauses its transport.
        options: Those of `create_tls_server`.

    Raises:
        Exception: as `create_tls_server`.
    """
    loop = running_loop()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        result = client_connected_cb(reader, writer)
        return _close_on_failure(result, writer) if asyncio.iscoroutine(result) else result

    def factory() -> asyncio.StreamReaderProtocol:
        reader = asyncio.StreamReader(limit=limit, loop=loop)
        return asyncio.StreamReaderProtocol(reader, connected, loop=loop)

    return await create_tls_server(factory, host, port, **options)


async def _close_on_failure(callback: Coroutine[Any, Any, None], writer: asyncio.StreamWriter) -> None:
    """Run a callback; if it raises, report that and close, as asyncio does from 3.11.7 on."""
    try:
        await callback
    except Exception as error:  # noqa: BLE001  (code of the user)
        context = {"message": "Unhandled exception in client_connected_cb", "exception": error, "transport": writer.transport}
        asyncio.get_running_loop().call_exception_handler(context)
        writer.transport.close()
