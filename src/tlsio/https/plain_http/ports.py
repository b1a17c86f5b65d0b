"""The ports of a server of plain HTTP next to HTTPS: redirects, metrics."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tlsio.https.deadline import ON_ITS_WAY

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Iterable, Sequence

__all__ = ["PlainPorts"]

_LOOK = 0.01  # seconds between two looks at connections that end by themselves


class PlainPorts:
    """Listening sockets in one loop, and the end of their connections."""

    def __init__(self) -> None:
        """Listen nowhere yet."""
        self._servers: list[asyncio.Server] = []

    @property
    def port(self) -> int | None:
        """The port that is listened on; None: there is none."""
        port: int | None = self._servers[0].sockets[0].getsockname()[1] if self._servers else None
        return port

    async def open(
        self,
        make: Callable[[], asyncio.Protocol],
        host: str | Sequence[str] | None,
        port: int | None,
        sockets: Iterable[socket.socket],
    ) -> None:
        """Give each connection to a protocol of `make`, at an address or on sockets that are bound.

        The host "::" is every address, of IPv4 too. If it raises or is cancelled, no socket stays
        open.

        Raises:
            OSError: the address cannot be used.
        """
        places: list[dict[str, Any]] = [{"sock": one} for one in sockets] or [{"host": None if host == "::" else host, "port": port}]
        loop = asyncio.get_running_loop()
        try:
            for place in places:
                # `create_server` would forget the sockets if it were cancelled while it starts.
                self._servers.append(await loop.create_server(make, start_serving=False, **place))
                await self._servers[-1].start_serving()
        except BaseException:
            await self.close(())
            raise

    async def close(self, connections: Collection[Any]) -> None:
        """Listen no more, let the requests that are on their way be answered, and abort the rest.

        Args:
            connections: The protocols that are open, at any time; each has its `transport`.
        """
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        loop = asyncio.get_running_loop()
        end = loop.time() + ON_ITS_WAY
        while connections and loop.time() < end:  # noqa: ASYNC110 - seldom, and for a moment
            await asyncio.sleep(_LOOK)
        for connection in tuple(connections):
            connection.transport.abort()
        for server in servers:
            await server.wait_closed()
