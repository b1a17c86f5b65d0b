"""The statistics of servers, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsio.model.errors import missing_extra
from tlsio.model.exported import exported

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import Metric
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    from tlsio.connection.server.server import Server
    from tlsio.model.statistics import ServerStats, StoreStats

__all__ = ["ServerCollector"]

# Name, description, attribute of ServerStats.
_COUNTERS = (
    ("connections_accepted", "Connections accepted from the kernel", "accepted"),
    ("connections_dropped", "Connections refused by a limit before TLS", "dropped"),
    ("received_bytes", "Application data received", "bytes_read"),
    ("sent_bytes", "Application data sent", "bytes_written"),
    ("sessions_stored", "Sessions passed to new_session or the store", "sessions_stored"),
    ("session_errors", "Failed calls of session hooks or the store; the clients got full handshakes", "session_errors"),
    ("session_seconds", "Time spent in session hooks or the store", "session_seconds"),
)
# Name, description, attribute of StoreStats.
_STORE_COUNTERS = (
    ("store_dropped", "Sessions that the store did not keep: too large, or an error", "dropped"),
    ("store_errors", "Calls of the store that failed", "errors"),
    ("store_evicted", "Sessions that were evicted because the store was full", "evicted"),
)
_STORE_GAUGES = (
    ("store_entries", "Sessions in the store", "entries"),
    ("store_bytes", "Memory used by the sessions in the store", "bytes"),
)


@exported
class ServerCollector:
    """A collector for `prometheus_client`, such as `tlsio.ServerCollector({"web": server})`.

    Pass it to `REGISTRY.register`. Use one for all servers of a process, since a registry accepts
    each metric's name once.

    Args:
        servers: The servers by name, which is the value of the label `server`.

    Raises:
        ConfigError: the package `prometheus-client` is missing (`tlsio[prometheus]`).
    """

    def __init__(self, servers: Mapping[str, Server]) -> None:
        try:
            from prometheus_client import core  # noqa: PLC0415  (an optional dependency)
        except ModuleNotFoundError as error:
            raise missing_extra("prometheus-client", "prometheus") from error
        self._servers = dict(servers)
        self._counter, self._gauge, self._summary = core.CounterMetricFamily, core.GaugeMetricFamily, core.SummaryMetricFamily

    def collect(self) -> Iterator[Metric]:
        """Return the metrics. Any thread."""
        every = {name: server.stats() for name, server in self._servers.items()}
        yield from self._collect_handshakes(every)
        yield self._fill(self._gauge, ("connections_open", "Open connections, including those in a handshake", "open_connections"), every)
        for counter in _COUNTERS:
            yield self._fill(self._counter, counter, every)
        stores = {name: stats.store for name, stats in every.items() if stats.store is not None}
        if stores:
            yield from self._collect_stores(stores)

    def _collect_handshakes(self, every: Mapping[str, ServerStats]) -> Iterator[Metric]:
        done = self._counter("tlsio_handshakes", "Handshakes that succeeded", labels=["server", "kind"])
        failed = self._counter("tlsio_handshakes_failed", "Handshakes that failed, by the error's code", labels=["server", "code"])
        broken = self._counter(
            "tlsio_connections_failed", "Connections that failed after the handshake, by the error's code", labels=["server", "code"]
        )
        lookups = self._counter("tlsio_session_lookups", "Sessions looked up by hook or store", labels=["server", "result"])
        for name, stats in every.items():
            done.add_metric([name, "full"], stats.handshakes_full)
            done.add_metric([name, "resumed"], stats.handshakes_resumed)
            for code, count in stats.handshakes_failed.items():
                failed.add_metric([name, code], count)
            for code, count in stats.connections_failed.items():
                broken.add_metric([name, code], count)
            lookups.add_metric([name, "hit"], stats.session_hits)
            lookups.add_metric([name, "miss"], stats.session_misses)
        yield from (done, failed, broken, lookups)

    def _collect_stores(self, stores: Mapping[str, StoreStats]) -> Iterator[Metric]:
        for counter in _STORE_COUNTERS:
            yield self._fill(self._counter, counter, stores)
        for gauge in _STORE_GAUGES:
            yield self._fill(self._gauge, gauge, stores)
        calls = self._summary("tlsio_store_call_seconds", "Calls to the server behind the store", labels=["server"])
        for name, stats in stores.items():
            calls.add_metric([name], count_value=stats.calls, sum_value=stats.seconds)
        yield calls

    @staticmethod
    def _fill(
        kind: type[CounterMetricFamily | GaugeMetricFamily],
        metric: tuple[str, str, str],
        every: Mapping[str, ServerStats | StoreStats],
    ) -> Metric:
        name, description, attribute = metric
        family = kind(f"tlsio_{name}", description, labels=["server"])
        for server, stats in every.items():
            family.add_metric([server], getattr(stats, attribute))
        return family
