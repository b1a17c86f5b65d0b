"""The metrics of several workers as those of one server.

A counter of Prometheus must not fall, or its rate jumps. So what a worker has answered last counts
until it answers again, and goes on to count after the worker's end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client import Metric

__all__ = ["MetricsSum", "Snapshot", "take_snapshot"]

Labels: TypeAlias = tuple[tuple[str, str], ...]

_CUMULATIVE = frozenset({"counter", "histogram", "summary"})
_CREATED = "_created"  # the time at which a counter began to count
# Not to be added: of each process, of which the first one counts, the parent; and of certificates,
# about which all workers know the same.
_OF_ONE = frozenset({
    "process_start_time_seconds", "process_max_fds",
    "tlsio_acme_certificate_end_seconds", "tlsio_acme_certificates", "tlsio_acme_failures", "tlsio_acme_issuer_paused",
})  # fmt: skip


class Family(NamedTuple):
    """One metric, in a form for a pipe.

    Attributes:
        name: Without the suffixes of its samples.
        documentation: Its description.
        kind: Such as "counter".
        samples: The values by name and labels.
    """

    name: str
    documentation: str
    kind: str
    samples: dict[tuple[str, Labels], float]


Snapshot: TypeAlias = "list[Family]"


def take_snapshot(metrics: Iterable[Metric]) -> Snapshot:
    """Return the present values of metrics."""
    return [
        Family(one.name, one.documentation, one.type, {(item.name, tuple(sorted(item.labels.items()))): item.value for item in one.samples})
        for one in metrics
    ]


class MetricsSum:
    """The sum over all workers, those that have ended included."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._latest: dict[int, Snapshot] = {}
        self._ended: Snapshot = []
        self._asked = self._answered = 0  # questions

    def ask(self) -> int:
        """Return the number of a question to all workers, for `update`."""
        self._asked += 1
        return self._asked

    def update(self, question: int, answers: Mapping[int, Snapshot], alive: Iterable[int]) -> None:
        """Take what workers have answered, unless a later question was answered before.

        One worker may delay the answers of all. What they said then is old; and those that have
        ended since then were counted.

        Args:
            question: The number of the question.
            answers: By the worker's number.
            alive: The numbers of all workers that have not ended.
        """
        if question < self._answered:
            return
        self._answered = question
        self._latest |= answers
        for number in self._latest.keys() - set(alive):
            ended = [one for one in self._latest.pop(number) if one.kind in _CUMULATIVE]
            self._ended = _add([self._ended, ended])

    def collect(self, own: Snapshot) -> Iterator[Metric]:
        """Return the sum, with the values of this process itself."""
        from prometheus_client.core import Metric  # noqa: PLC0415  (optional)

        for family in _add([own, self._ended, *self._latest.values()]):
            metric = Metric(family.name, family.documentation, family.kind)
            for (name, labels), value in family.samples.items():
                metric.add_sample(name, dict(labels), value)
            yield metric


def _add(snapshots: Iterable[Snapshot]) -> Snapshot:
    found: dict[str, Family] = {}
    for family in (one for snapshot in snapshots for one in snapshot):
        total = found.setdefault(family.name, family._replace(samples={})).samples
        for key, value in family.samples.items():
            if key not in total:
                total[key] = value
            elif key[0].endswith(_CREATED):
                total[key] = min(total[key], value)
            elif key[0] not in _OF_ONE:
                total[key] += value
    return list(found.values())
