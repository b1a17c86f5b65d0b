"""The certificates of managers, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsio.model.errors import missing_extra

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import Metric

    from tlsio.acme.manager.manager import Manager

__all__ = ["ManagerCollector"]

_STATES = ("valid", "due", "missing", "expired", "not_yet_valid", "revoked")


class ManagerCollector:
    """A collector for `prometheus_client`, such as `ManagerCollector({"web": manager})`.

    Pass it to `REGISTRY.register`. Use one for all managers of a process, since a registry accepts
    each metric's name once. Names that clients have asked for have no metric of their own.

    Args:
        managers: The managers by name, which is the value of the label `manager`.

    Raises:
        ConfigError: the package `prometheus-client` is missing (`tlsio[prometheus]`).
    """

    def __init__(self, managers: Mapping[str, Manager]) -> None:
        try:
            from prometheus_client import core  # noqa: PLC0415  (an optional dependency)
        except ModuleNotFoundError as error:
            raise missing_extra("prometheus-client", "prometheus") from error
        self._managers = dict(managers)
        self._counter, self._gauge = core.CounterMetricFamily, core.GaugeMetricFamily

    def collect(self) -> Iterator[Metric]:
        """Return the metrics, in the thread of the managers' loop."""
        ends = self._gauge("tlsio_acme_certificate_end_seconds", "End of the certificate in POSIX seconds", labels=["manager", "name"])
        failures = self._gauge("tlsio_acme_failures", "Failed orders since the last success", labels=["manager", "name"])
        states = self._gauge("tlsio_acme_certificates", "Certificates by state", labels=["manager", "state"])
        paused = self._gauge("tlsio_acme_issuer_paused", "1 if the issuer is left alone because it fails", labels=["manager", "issuer"])
        orders = self._counter("tlsio_acme_orders", "Orders by result", labels=["manager", "issuer", "result"])
        storage = self._counter("tlsio_acme_storage_errors", "Failed accesses to the storage", labels=["manager"])
        refused = self._counter("tlsio_acme_on_demand_refused", "Handshakes for names without permission", labels=["manager"])
        for label, manager in self._managers.items():
            for one in manager.status():
                if not one.is_on_demand:
                    if one.not_after is not None:
                        ends.add_metric([label, one.names[0]], one.not_after.timestamp())
                    failures.add_metric([label, one.names[0]], one.failures)
            stats = manager.stats()
            for state in _STATES:
                states.add_metric([label, state], stats.states.get(state, 0))
            for issuer in manager.issuers:
                paused.add_metric([label, issuer.name], issuer.name in stats.paused)
            for (issuer_name, result), count in stats.orders.items():
                orders.add_metric([label, issuer_name, result], count)
            storage.add_metric([label], stats.storage_errors)
            refused.add_metric([label], stats.on_demand_refused)
        yield from (ends, failures, states, paused, orders, storage, refused)
