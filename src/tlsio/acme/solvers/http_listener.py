"""A port of plain HTTP that answers challenges, and nothing else, one request per connection.

For processes without a server; `tlsio.https` has a port 80 of its own. The parser is h11. What a
client can hold is bounded: five seconds, eight kilobytes and a hundred connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from http import HTTPStatus
from inspect import isawaitable
from typing import TYPE_CHECKING

from tlsio.model.errors import UsageStateError, missing_extra

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import h11

__all__ = ["HTTPListener"]

_TIMEOUT = 5.0  # as of the port of redirects
_MAX_HEAD = 8192
_MAX_CONNECTIONS = 100  # an authority validates from about five places at once
_READ = 4096
_log = logging.getLogger("tlsio.acme")


class HTTPListener:
    """Listens for an authority.

    Args:
        answer: Called with path and host of a GET; returns the body, maybe later, or None.
    """

    def __init__(self, answer: Callable[[str, str], bytes | Awaitable[bytes | None] | None]) -> None:
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int | None:
        """The port, while it listens."""
        return self._server.sockets[0].getsockname()[1] if self._server is not None else None

    async def open(self, host: str | Sequence[str] | None, port: int) -> None:
        """Listen.

        Raises:
            ConfigError: the package `h11` is missing.
            OSError: the address cannot be used.
            UsageStateError: it listens already.
        """
        if self._server is not None:
            raise UsageStateError("The solver listens already", hint="Call close() first.")
        try:
            import h11  # noqa: F401, PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise missing_extra("h11", "acme") from error
        self._server = await asyncio.start_server(self._connected, host, port, limit=_MAX_HEAD)

    async def close(self) -> None:
        """Close the port and its connections."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
        await server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        if len(self._tasks) >= _MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._tasks.add(task)
        try:
            async with asyncio.timeout(_TIMEOUT):
                await self._converse(reader, writer)
        except (OSError, TimeoutError):
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()  # by `close`; asyncio would log the cancellation of its own task
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import h11  # noqa: PLC0415 - an extra

        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
        try:
            while (event := connection.next_event()) is h11.NEED_DATA:
                connection.receive_data(await reader.read(_READ))
        except h11.RemoteProtocolError as error:
            _send(writer, connection, error.error_status_hint, b"This is not a valid request of HTTP/1.1.\n")
        else:
            if not isinstance(event, h11.Request):
                return  # the end, before there was a request
            body = await self._find(event) if event.method in {b"GET", b"HEAD"} else None
            status = 404 if body is None else 200
            _send(writer, connection, status, body or b"No ACME challenge has this path.\n", is_head=event.method == b"HEAD")
        await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        # Until the client's end: a reset, which unread bytes cause, would discard the answer.
        while await reader.read(_READ):
            pass

    async def _find(self, request: h11.Request) -> bytes | None:
        host = next((value for name, value in request.headers if name == b"host"), b"")
        try:
            found = self._answer(request.target.decode("ascii"), host.decode("ascii"))
            return await found if isawaitable(found) else found
        except UnicodeDecodeError:
            return None
        except Exception:  # noqa: BLE001 - whatever a hook raises
            _log.exception("The answer to an ACME challenge could not be found")
            return None


def _send(writer: asyncio.StreamWriter, connection: h11.Connection, status: int, body: bytes, *, is_head: bool = False) -> None:
    import h11  # noqa: PLC0415 - an extra

    headers = [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body))), ("Connection", "close")]
    reason = HTTPStatus(status).phrase.encode()
    events = [h11.Response(status_code=status, headers=headers, reason=reason), h11.Data(data=b"" if is_head else body), h11.EndOfMessage()]
    for event in events:
        writer.write(connection.send(event) or b"")
