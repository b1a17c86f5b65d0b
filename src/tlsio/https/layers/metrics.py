"""The metrics of one server, for Prometheus; served by plain HTTP if there is an address for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from tlsio.connection.server.prometheus import ServerCollector
from tlsio.https.layers.exchange import Exchange, watch, watch_refusals
from tlsio.https.plain_http.metrics_server import MetricsServer
from tlsio.https.protocols.http2.protocol import Http2Protocol
from tlsio.model.checks import check_port, check_text, wrong_type

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator

    from prometheus_client import Metric
    from prometheus_client.registry import CollectorRegistry

    from tlsio.connection.server.server import Server as TLSServer
    from tlsio.https.asgi import Receive, Scope, Send
    from tlsio.https.protocols.connection import Connection, Handler
    from tlsio.https.protocols.service import Service
    from tlsio.https.tls.automatic import Automatic

__all__ = ["Metrics"]

# RFC 9110, section 9, and RFC 5789. Any other method is counted as OTHER: clients choose the word,
# and each value of a label is kept for good.
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
_SERVER = "https"  # the label `server` of the TLS server's own metrics


class Metrics:
    """The metrics of one server.

    Attributes:
        registry: What is served; a program may register collectors of its own.
        refused: Counts a request that reached no layer.
    """

    registry: CollectorRegistry

    def __init__(self, tls_server: TLSServer, address: tuple[str, int] | Literal[True], automatic: Automatic | None = None) -> None:
        """Count from now on; `start` serves.

        Args:
            tls_server: The TLS server.
            address: Where the metrics are served; True: nowhere.
            automatic: The certificates that the server obtains.

        Raises:
            ConfigError: the package `prometheus-client` is missing (`tlsio[prometheus]`).
        """
        self._address = None if address is True else _check_address(address)
        collector = ServerCollector({_SERVER: tls_server})
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector  # noqa: PLC0415  (optional)

        self._service: Service | None = None
        self._server = MetricsServer(self._collect, lambda: tls_server.listening, None if automatic is None else automatic.status)
        self.registry = registry = CollectorRegistry(auto_describe=True)
        registry.register(collector)
        ProcessCollector(registry=registry)
        self._requests = Counter("tlsio_https_requests", "Requests that are over", ["version", "method", "status"], registry=registry)
        self._seconds = Histogram(
            "tlsio_https_request_seconds", "Time from a request's head to the end of its response", ["version"],
            registry=registry, buckets=_BUCKETS,
        )  # fmt: skip
        self._running = Gauge("tlsio_https_requests_in_progress", "Requests in progress", ["version"], registry=registry)
        self._sockets = Gauge("tlsio_https_websockets_open", "WebSockets that are open", ["version"], registry=registry)
        self._received = Counter(
            "tlsio_https_body_received_bytes", "Bytes of requests' bodies and of WebSocket messages", registry=registry
        )
        self._sent = Counter("tlsio_https_body_sent_bytes", "Bytes of responses' bodies and of WebSocket messages", registry=registry)
        registry.register(_Connections(self))
        if automatic is not None and automatic.manager is not None:
            from tlsio.acme.manager.prometheus import ManagerCollector  # noqa: PLC0415 - many servers have certificates

            registry.register(ManagerCollector({_SERVER: automatic.manager}))
        self.refused = watch_refusals(self._count_response)

    @property
    def port(self) -> int | None:
        """The port that is listened on; None: it is not served."""
        return self._server.port

    @property
    def protocols(self) -> tuple[Any, ...]:
        """The protocols of the server's open connections."""
        return () if self._service is None else tuple(self._service.connections)

    def layer(self, handler: Handler) -> Handler:
        """Return `handler`, with its requests counted."""

        def handle(connection: Connection, scope: Scope, receive: Receive, send: Send) -> Awaitable[Any]:
            (self._sockets if scope["type"] == "websocket" else self._running).labels(scope["http_version"]).inc()
            return watch(handler, Exchange(connection, scope, receive, send), self._count)

        return handle

    def _count(self, exchange: Exchange) -> None:
        version = exchange.scope["http_version"]
        if exchange.scope["type"] == "websocket":
            self._sockets.labels(version).dec()
        else:
            self._running.labels(version).dec()
            self._seconds.labels(version).observe(exchange.seconds)
        self._count_response(exchange)
        self._received.inc(exchange.received)
        self._sent.inc(exchange.sent)

    def _count_response(self, exchange: Exchange) -> None:
        scope = exchange.scope
        method = "WEBSOCKET" if scope["type"] == "websocket" else scope["method"] if scope["method"] in _METHODS else "OTHER"
        self._requests.labels(scope["http_version"], method, str(exchange.status)).inc()

    # ---- serving

    async def start(self, service: Service) -> None:
        """Serve the metrics of `service`.

        Raises:
            OSError: the address cannot be used.
        """
        self._service = service
        if self._address is not None:
            try:
                await self._server.start(*self._address)
            except BaseException:
                self._service = None
                raise

    async def stop(self) -> None:
        """Serve no more."""
        self._service = None
        await self._server.stop()

    async def _collect(self) -> Iterable[Metric]:
        return self.registry.collect()


class _Connections:
    """Counts the open connections when it is asked."""

    def __init__(self, metrics: Metrics) -> None:
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415  (optional)

        self._metrics = metrics
        self._gauge = GaugeMetricFamily

    def collect(self) -> Iterator[Metric]:
        """Return the metric. Called in the loop's thread."""
        family = self._gauge("tlsio_https_connections_open", "Open connections after their handshake", labels=["version"])
        counts = {"1.1": 0, "2": 0}
        for protocol in self._metrics.protocols:
            counts["2" if isinstance(protocol, Http2Protocol) else "1.1"] += 1
        for version, count in counts.items():
            family.add_metric([version], count)
        yield family


def _check_address(address: object) -> tuple[str, int]:
    if not isinstance(address, tuple) or len(address) != 2:  # noqa: PLR2004  (a pair)
        raise wrong_type("metrics", "a tuple of host and port", address)
    host, port = address
    return check_text("metrics[0]", host), check_port("metrics[1]", port)
