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


class ScheduleNumbers(NamedTuple):
    """What Redis knows of one schedule; times in seconds since the epoch, None for what there is not."""

    enabled: bool
    last_success_seconds: float | None
    #: The first slot that has not started: in the past, it is overdue.
    start_due_seconds: float | None


class Numbers(NamedTuple):
    """Everything that one scrape reads, by queue and by schedule."""

    queues: Mapping[str, QueueNumbers]
    schedules: Mapping[str, ScheduleNumbers]


#: Returns the numbers of this moment.
Read = Callable[[], Numbers]


class QueueCollector(Collector):
    """Exports what the queues and the schedules hold, read anew for every scrape.

    When `read` raises, `nomad_collector_success` is 0 and the numbers are left out: unknown is not zero.
    """

    def __init__(self, read: Read) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Return the names without values, so that registering reads nothing."""
        return [_jobs(), _recovered(), *_schedules().values(), _success()]

    def collect(self) -> Iterator[Metric]:
        """Read and return the numbers."""
        success = _success()
        try:
            found = self._read()
        except Exception as error:
            # Any error: one that left here would fail the whole scrape, good metrics with it.
            logger.warning("the queues could not be read for a scrape", error=f"{type(error).__name__}: {error}")
            success.add_metric([], 0)
            yield success
            return
        success.add_metric([], 1)
        yield success
        jobs, recovered = _jobs(), _recovered()
        for queue, numbers in sorted(found.queues.items()):
            for state, count in numbers.jobs.items():
                jobs.add_metric([queue, state], count)
            recovered.add_metric([queue], numbers.recovered)
        yield jobs
        yield recovered
        families = _schedules()
        for name, schedule in sorted(found.schedules.items()):
            for field, value in zip(families, schedule, strict=True):
                if value is not None:
                    families[field].add_metric([name], value)
        yield from families.values()


def with_queues(read: Read, *, base: CollectorRegistry = REGISTRY) -> CollectorRegistry:
    """Return a registry that shows what `base` counts and, beside it, the queues and the schedules.

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


def _schedules() -> dict[str, GaugeMetricFamily]:
    """Return the schedules' gauges by the field of `ScheduleNumbers` that they show."""
    return {
        "enabled": GaugeMetricFamily("nomad_schedule_enabled", "Whether the schedule is on.", labels=["schedule"]),
        "last_success_seconds": GaugeMetricFamily(
            "nomad_schedule_last_success_timestamp_seconds",
            "When a job of the schedule last completed; missing until one has.",
            labels=["schedule"],
        ),
        "start_due_seconds": GaugeMetricFamily(
            "nomad_schedule_start_due_timestamp_seconds",
            "The schedule's first slot that has not started: in the past, it is overdue; missing while it is off.",
            labels=["schedule"],
        ),
    }


def _success() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "nomad_collector_success", "Whether this scrape could read the queues; without, their numbers are missing."
    )
