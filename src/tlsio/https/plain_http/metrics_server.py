"""Serves metrics, a health answer and the state of certificates by plain HTTP, for operators."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tlsio.https.deadline import Deadline
from tlsio.https.plain_http.ports import PlainPorts
from tlsio.model.errors import StoreError

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from prometheus_client import Metric

    from tlsio.https.asgi import Receive, Scope, Send

__all__ = ["MetricsServer"]

_MAX_REQUEST = 16384  # bytes, with its body, which is not read; Prometheus sends a few hundred
_TIMEOUT = 15.0  # seconds for a request and its response; workers have 5 of them
_MAX_CONNECTIONS = 100


class MetricsServer:
    """The HTTP server of an address of its own."""

    def __init__(
        self,
        collect: Callable[[], Awaitable[Iterable[Metric]]],
        is_accepting: Callable[[], bool],
        certificates: Callable[[datetime], Awaitable[list[dict[str, Any]]]] | None = None,
    ) -> None:
        """Serve nothing yet.

        Args:
            collect: Called for each `/metrics`.
            is_accepting: Called for each `/health`: whether new requests are welcome.
            certificates: Called for each `/acme` with the time: the state of all certificates;
                None: there is no such page.
        """
        self._collect = collect
        self._is_accepting = is_accepting
        self._certificates = certificates
        self._ports = PlainPorts()
        self._state = ServerState()

    @property
    def port(self) -> int | None:
        """The port that is listened on; None: it is not served."""
        return self._ports.port

    async def start(self, host: str | None = None, port: int | None = None, *, sockets: Sequence[socket.socket] = ()) -> None:
        """Serve at an address, or on sockets that are bound.

        Raises:
            OSError: the address cannot be used.
        """
        config = uvicorn.Config(self._answer, interface="asgi3", lifespan="off", ws="none", log_config=None, server_header=False)
        config.load()
        await self._ports.open(lambda: _Protocol(config, self._state), host, port, sockets)

    async def stop(self) -> None:
        """Serve no more. A request that is on its way is answered."""
        await self._ports.close(self._state.connections)
        for task in tuple(self._state.tasks):
            task.cancel()

    async def _answer(self, scope: Scope, _receive: Receive, send: Send) -> None:
        status, kind, body = 404, b"text/plain; charset=utf-8", b"There are /metrics and /health here.\n"
        if scope["method"] not in {"GET", "HEAD"}:
            status, body = 405, b"Only GET and HEAD are answered here.\n"
        elif scope["path"] == "/metrics":
            from prometheus_client.exposition import choose_encoder  # noqa: PLC0415  (optional)

            accepted = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"), "")
            encode, content_type = choose_encoder(accepted)
            status, kind, body = 200, content_type.encode(), encode(_Collected(await self._collect()))
        elif scope["path"] == "/health":
            # While requests finish, load balancers are to send no more of them.
            status, body = (200, b"ok\n") if self._is_accepting() else (503, b"stopping\n")
        elif scope["path"] == "/acme" and self._certificates is not None:
            try:
                found = await self._certificates(datetime.now(UTC))
                status, kind, body = 200, b"application/json", json.dumps(found, indent=2).encode() + b"\n"
            except StoreError as error:
                status, body = 503, f"{error.message}\n".encode()
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class _Collected(NamedTuple):
    """What an encoder takes: something that collects."""

    metrics: Iterable[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.metrics


class _Protocol(HttpToolsProtocol):
    """uvicorn's, without its access log, and with limits of a request's size and time."""

    def __init__(self, config: uvicorn.Config, state: ServerState) -> None:
        super().__init__(config, state, {}, asyncio.get_running_loop())
        self.access_log = False
        self._left = _MAX_REQUEST
        self._deadline = Deadline(self.loop, self._end)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline.set(_TIMEOUT)
        if len(self.connections) > _MAX_CONNECTIONS:
            self._end()

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._end()
        else:
            super().data_received(data)

    def on_response_complete(self) -> None:
        self._left = _MAX_REQUEST
        self._deadline.set(_TIMEOUT)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.end()
        super().connection_lost(exc)

    def _end(self) -> None:
        self.transport.abort()
