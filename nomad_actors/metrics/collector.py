"""Reads what Redis holds when a scrape asks for it, and says so when it cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..log import get_logger
from .definitions import REGISTRY

logger = get_logger("nomad_actors.metrics")


class QueueNumbers(NamedTuple):
    """What Redis knows of one queue: jobs by state, and how many were ever taken back from lost workers."""

    jobs: Mapping[str, int]
    recovered: int


#: Returns the numbers by queue.
ReadQueues = Callable[[], Mapping[str, QueueNumbers]]


class QueueCollector(Collector):
    """Exports the number of jobs by queue and state, read anew for every scrape.

    When `read` raises, `nomad_collector_success` is 0 and the numbers are left out: unknown is not zero.
    """

    def __init__(self, read: ReadQueues) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Return the names without values, so that registering reads nothing."""
        return [_jobs(), _recovered(), _success()]

    def collect(self) -> Iterator[Metric]:
        """Read and return the numbers."""
        success = _success()
        try:
            queues = self._read()
        except Exception as error:
            # Any error: one that left here would fail the whole scrape, good metrics with it.
            logger.warning("the queues could not be read for a scrape", error=f"{type(error).__name__}: {error}")
            success.add_metric([], 0)
            yield success
            return
        success.add_metric([], 1)
        yield success
        jobs, recovered = _jobs(), _recovered()
        for queue, numbers in sorted(queues.items()):
            for state, count in numbers.jobs.items():
                jobs.add_metric([queue, state], count)
            recovered.add_metric([queue], numbers.recovered)
        yield jobs
        yield recovered


def with_queues(read: ReadQueues, *, base: CollectorRegistry = REGISTRY) -> CollectorRegistry:
    """Return a registry that shows what `base` counts and, beside it, the jobs in the queues.

    For one service only, the admin: the same numbers from several places would be summed.
    """
    registry = CollectorRegistry()
    registry.register(base)
    registry.register(QueueCollector(read))
    return registry


def _jobs() -> GaugeMetricFamily:
    return GaugeMetricFamily("nomad_queue_jobs", "Jobs by queue and state.", labels=["queue", "state"])


def _recovered() -> CounterMetricFamily:
    return CounterMetricFamily(
        "nomad_queue_recovered_total", "Jobs taken back from workers that were lost.", labels=["queue"]
    )


def _success() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "nomad_collector_success", "Whether this scrape could read the queues; without, their numbers are missing."
    )
