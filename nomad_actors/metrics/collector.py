"""Reads what Redis holds when a scrape asks for it, and says so when it cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..log import get_logger
from .definitions import REGISTRY

logger = get_logger("nomad_actors.metrics")

#: Returns the number of jobs by queue and state.
ReadCounts = Callable[[], Mapping[str, Mapping[str, int]]]


class QueueCollector(Collector):
    """Exports the number of jobs by queue and state, read anew for every scrape.

    When `read` raises, `nomad_collector_success` is 0 and the numbers are left out: unknown is not zero.
    """

    def __init__(self, read: ReadCounts) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Return the names without values, so that registering reads nothing."""
        return [_jobs(), _success()]

    def collect(self) -> Iterator[Metric]:
        """Read and return the numbers."""
        success = _success()
        try:
            counts = self._read()
        except Exception as error:
            # Any error: one that left here would fail the whole scrape, good metrics with it.
            logger.warning("the queues could not be read for a scrape", error=f"{type(error).__name__}: {error}")
            success.add_metric([], 0)
            yield success
            return
        success.add_metric([], 1)
        yield success
        jobs = _jobs()
        for queue, by_state in sorted(counts.items()):
            for state, count in by_state.items():
                jobs.add_metric([queue, state], count)
        yield jobs


def with_queues(read: ReadCounts, *, base: CollectorRegistry = REGISTRY) -> CollectorRegistry:
    """Return a registry that shows what `base` counts and, beside it, the jobs in the queues.

    For one service only, the admin: the same numbers from several places would be summed.
    """
    registry = CollectorRegistry()
    registry.register(base)
    registry.register(QueueCollector(read))
    return registry


def _jobs() -> GaugeMetricFamily:
    return GaugeMetricFamily("nomad_queue_jobs", "Jobs by queue and state.", labels=["queue", "state"])


def _success() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "nomad_collector_success", "Whether this scrape could read the queues; without, their numbers are missing."
    )
