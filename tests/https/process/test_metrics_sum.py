"""The sum of the metrics of several workers."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from tlsio.https.process.metrics_sum import MetricsSum, take_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tlsio.https.process.metrics_sum import Snapshot


class Worker:
    """What a worker counts."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.registry = CollectorRegistry()
        self.requests = Counter("requests", "Requests", ["method"], registry=self.registry)
        self.seconds = Histogram("seconds", "Time", registry=self.registry, buckets=(1.0, 2.0))
        self.open = Gauge("open", "Open connections", registry=self.registry)
        self.started = Gauge("process_start_time_seconds", "Start", registry=self.registry)

    def answer(self) -> Snapshot:
        """Return what comes through the pipe."""
        snapshot: Snapshot = pickle.loads(pickle.dumps(take_snapshot(self.registry.collect())))  # noqa: S301 - our own
        return snapshot


class Sum:
    """A sum, and a reader of its samples."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._sum = MetricsSum()
        self.ask = self._sum.ask

    def update(self, answers: Mapping[int, Snapshot], alive: Iterable[int], *, question: int | None = None) -> None:
        """Take answers, to a new question or to one that was asked before."""
        self._sum.update(question or self.ask(), answers, alive)

    def collect(self) -> object:
        """Return the sum."""
        return self._sum.collect([])

    def __getitem__(self, line: str) -> float | None:
        """Return a value from the text that Prometheus gets."""
        lines = dict(one.rsplit(" ", 1) for one in generate_latest(self).decode().splitlines() if not one.startswith("#"))  # type: ignore[arg-type]
        return float(lines[line]) if line in lines else None


def test_values_are_added_by_name_and_labels() -> None:
    """Counters, histograms and gauges alike; a label of one worker alone is there too."""
    first, second, total = Worker(), Worker(), Sum()
    first.requests.labels("GET").inc(2)
    second.requests.labels("GET").inc(3)
    second.requests.labels("POST").inc()
    first.seconds.observe(0.5)
    second.seconds.observe(1.5)
    first.open.set(4)
    second.open.set(5)
    total.update({1: first.answer(), 2: second.answer()}, {1, 2})
    assert (total['requests_total{method="GET"}'], total['requests_total{method="POST"}']) == (5, 1)
    assert (total['seconds_bucket{le="1.0"}'], total['seconds_bucket{le="2.0"}'], total["seconds_count"], total["seconds_sum"]) == (
        1,
        2,
        2,
        2,
    )
    assert total["open"] == 9
    assert b"# TYPE requests counter" in generate_openmetrics(total)  # type: ignore[arg-type]


def test_answers_that_come_after_those_to_a_later_question() -> None:
    """A worker that was busy has delayed the others: they have counted on since then, or ended."""
    first, total = Worker(), Sum()
    first.requests.labels("GET").inc(1)
    question, old = total.ask(), first.answer()
    first.requests.labels("GET").inc(1)
    total.update({1: first.answer()}, {1})
    total.update({1: old}, {1}, question=question)
    assert total['requests_total{method="GET"}'] == 2
    total.update({}, ())
    total.update({1: old}, (), question=question)
    assert total['requests_total{method="GET"}'] == 2


def test_counters_never_fall() -> None:
    """Not when a worker dies, and not when one does not answer in time; gauges do."""
    first, second, third, total = Worker(), Worker(), Worker(), Sum()
    for number, worker in enumerate((first, second), 1):
        worker.requests.labels("GET").inc(number)
        worker.open.set(number)
    total.update({1: first.answer(), 2: second.answer()}, {1, 2})
    total.update({1: first.answer()}, {1, 2})  # the second one is busy
    assert (total['requests_total{method="GET"}'], total["open"]) == (3, 3)
    total.update({1: first.answer()}, {1, 3})  # it has died, and its successor is not ready
    assert (total['requests_total{method="GET"}'], total["open"]) == (3, 1)
    third.requests.labels("GET").inc()
    total.update({3: third.answer()}, {3})
    assert (total['requests_total{method="GET"}'], total["open"]) == (4, 0)
    total.update({}, ())
    assert (total['requests_total{method="GET"}'], total["open"]) == (4, None)


def test_an_answer_of_a_worker_that_has_died_since_counts() -> None:
    """It answered, and died before the others had."""
    worker, total = Worker(), Sum()
    worker.requests.labels("GET").inc()
    total.update({1: worker.answer()}, ())
    assert total['requests_total{method="GET"}'] == 1


def test_times_are_not_added() -> None:
    """A counter began with the first of the workers; the process is the parent."""
    first, second, total = Worker(), Worker(), Sum()
    for worker, time in ((first, 100.0), (second, 200.0)):
        worker.started.set(time)
        worker.requests.labels("GET").inc()
    total.update({1: first.answer(), 2: second.answer()}, {1, 2})
    assert total["process_start_time_seconds"] == 100
    created = [
        value
        for answer in (first.answer(), second.answer())
        for one in answer
        for (name, _), value in one.samples.items()
        if name == "requests_created"
    ]
    assert total['requests_created{method="GET"}'] == min(created) < max(created)
