"""Connections for the tests: one driver, one version of TLS, a server and its clients.

`native` is `serve` and `connect` as users call them; `threads` is the same with handshake threads. `portable` has the server's side through `server.upgrade` behind an
`asyncio.start_server` of its own, and the client's through `connect(socket=...)`. The server is `pki.localhost()`, the client
trusts `pki.ca1()`; options given by the test win.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pki
import tlsio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

Driver = Literal["native", "threads", "portable"]
Version = Literal["TLSv1.2", "TLSv1.3"]


class Pair(Protocol):
    """What the fixture `pair` is."""

    def __call__(
        self,
        *,
        server: Mapping[str, Any] | None = None,
        client: Mapping[str, Any] | None = None,
        listener: Callable[[tlsio.TLSSocket], None] | None = None,
    ) -> AbstractAsyncContextManager[tuple[tlsio.TLSSocket, tlsio.TLSSocket, tlsio.Server]]:
        """Connect; `server` and `client` are options, `listener` sets up the server's socket before anything else happens."""


@dataclass
class Net:
    """Servers and clients of one driver, speaking one version."""

    driver: Driver
    version: Version
    ports: dict[tlsio.Server, int] = field(default_factory=dict)

    @property
    def is_native(self) -> bool:
        """Whether the engine's reactor has the descriptors."""
        return self.driver != "portable"

    def server_options(self, **options: Any) -> dict[str, Any]:
        """Return `options` over those of the usual server, which says that it requests no certificate."""
        who = pki.localhost()
        usual: dict[str, Any] = {"min_version": self.version, "max_version": self.version, "request_cert": False}
        if self.driver == "threads":
            options = {"handshake_threads": 2} | options
        if "secure_context" not in options and "pfx" not in options:
            usual |= {"cert": who.cert_pem, "key": who.key_pem}
        return usual | options if "secure_context" not in options else options

    def client_options(self, **options: Any) -> dict[str, Any]:
        """Return `options` over those of the usual client."""
        usual = {"min_version": self.version, "max_version": self.version, "ca": pki.ca1().cert_pem}
        return usual | options if "secure_context" not in options else options

    @asynccontextmanager
    async def serve(self, listener: Callable[[tlsio.TLSSocket], Any] | None = None, **options: Any) -> AsyncIterator[tlsio.Server]:
        """Listen on a free port of 127.0.0.1; left, the server and its connections are closed at once."""
        server = tlsio.create_server(listener, **self.server_options(**options))
        try:
            if self.is_native:
                await server.listen(0, "127.0.0.1")
                self.ports[server] = server.port or 0
                yield server
            else:
                async with self._upgrade_all(server):
                    yield server
        finally:
            server.close(0)
            await server.wait_closed()
            await let_go()

    @asynccontextmanager
    async def _upgrade_all(self, server: tlsio.Server) -> AsyncIterator[None]:
        async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(Exception):  # `tls_client_error` has told it, a mistake of a hook too
                await server.upgrade((reader, writer))

        below = await asyncio.start_server(upgrade, "127.0.0.1", 0)
        self.ports[server] = below.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            below.close()

    def port(self, server: tlsio.Server) -> int:
        """Where a server of `serve` listens."""
        return self.ports[server]

    async def connect(self, server: tlsio.Server, **options: Any) -> tlsio.TLSSocket:
        """Connect to a server of `serve`, as localhost."""
        return await self.reach(self.port(server), **options)

    async def reach(self, port: int, **options: Any) -> tlsio.TLSSocket:
        """Connect to whoever listens on a port of 127.0.0.1, as localhost."""
        options = self.client_options(**{"servername": "localhost"} | options)
        if self.is_native:
            return await tlsio.connect(port, "127.0.0.1", **options)
        return await tlsio.connect(socket=await dial(port), **options)

    async def refused(self, server: tlsio.Server, **options: Any) -> tuple[BaseException, tlsio.TLSError]:
        """Connect and be refused; return what `tls_client_error` told and what the client got."""
        told = once(server, "tls_client_error")
        try:
            sock = await self.connect(server, **options)
        except tlsio.TLSError as error:
            return (await told)[0], error
        try:
            await sock.read()  # in TLS 1.3 a client is done before the server has judged it
        except tlsio.TLSError as error:
            return (await told)[0], error
        finally:
            sock.destroy()
            await sock.wait_closed()
        raise AssertionError("the client was let in")

    async def dial(self, server: tlsio.Server) -> socket.socket:
        """Connect to a server of `serve` without TLS."""
        return await dial(self.port(server))

    @asynccontextmanager
    async def relay(self, server: tlsio.Server) -> AsyncIterator[Relay]:
        """Put a relay before a server of `serve`: `connect` goes through it."""
        made = Relay(self.port(server))
        below = await asyncio.start_server(made.run, "127.0.0.1", 0)
        self.ports[server] = below.sockets[0].getsockname()[1]
        try:
            yield made
        finally:
            below.close()
            made.reset()
            await made.wait()

    @asynccontextmanager
    async def pair(
        self,
        *,
        server: Mapping[str, Any] | None = None,
        client: Mapping[str, Any] | None = None,
        listener: Callable[[tlsio.TLSSocket], None] | None = None,
    ) -> AsyncIterator[tuple[tlsio.TLSSocket, tlsio.TLSSocket, tlsio.Server]]:
        """See `Pair`. Left, both sockets are destroyed if the test has not closed them."""
        accepted: asyncio.Future[tlsio.TLSSocket] = asyncio.get_running_loop().create_future()

        def accept(sock: tlsio.TLSSocket) -> None:
            if listener is not None:
                listener(sock)
            accepted.set_result(sock)

        async with self.serve(accept, **(server or {})) as made:
            near = await self.connect(made, **(client or {}))
            far = await accepted
            try:
                yield near, far, made
            finally:
                near.destroy()
                far.destroy()


class Relay:
    """The network between client and server, as far as it can go wrong."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry the bytes of one connection."""
        onward, backward = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, backward]
        self._tasks += [asyncio.ensure_future(_pump(reader, backward)), asyncio.ensure_future(_pump(onward, writer))]

    def reset(self) -> None:
        """Break all connections with RST."""
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            if sock is not None and not writer.transport.is_closing():
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

    async def wait(self) -> None:
        """Wait until nothing is carried any more."""
        await asyncio.gather(*self._tasks)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, RuntimeError):  # uvloop raises the latter from writes to what was aborted
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def dial(port: int) -> socket.socket:
    """Connect to a port of 127.0.0.1 without TLS."""
    sock = socket.socket()
    sock.settimeout(0)
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    except BaseException:
        sock.close()
        raise
    return sock


async def fill(socket: tlsio.TLSSocket, mark: int) -> int:
    """Write until the peer's and our kernel's buffers are full and the queue stays above `mark`; return how much it was."""
    written, quiet = 0, 0
    while quiet < 20:
        socket.write(b"x" * 10_000)
        written += 10_000
        before = socket.writable_length
        await asyncio.sleep(0)
        quiet = quiet + 1 if socket.writable_length >= before > mark else 0
    return written


async def leave(connecting: asyncio.Task[tlsio.TLSSocket]) -> None:
    """Be done with a client, whether it has come through (TLS 1.3: before the server has decided) or not."""
    [result] = await asyncio.gather(connecting, return_exceptions=True)
    if isinstance(result, tlsio.TLSSocket):
        with contextlib.suppress(tlsio.TLSError):
            await result.read()
        result.destroy()
        await result.wait_closed()


async def let_go() -> None:
    """Wait for streams whose last words are still leaving."""
    leaving = [task for task in asyncio.all_tasks() if task.get_name() == "tlsio close"]
    if leaving:
        await asyncio.wait(leaving)


async def until(condition: Callable[[], object]) -> None:
    """Wait for what the server learns after its client, such as from a handshake thread."""
    while not condition():  # noqa: ASYNC110 - what is waited for is no event
        await asyncio.sleep(0.001)


def once(emitter: Any, event: str) -> Awaitable[Any]:
    """Return a future of the event's next arguments: one argument as it is, several as a tuple."""
    heard: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def hear(*args: Any) -> None:
        if not heard.done():
            heard.set_result(args[0] if len(args) == 1 else args)

    emitter.once(event, hear)
    return heard
