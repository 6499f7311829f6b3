"""What is read when a scrape asks, and the metrics that show it; the page that explains them is docs/metrics.md.

Every family is new with each scrape, so that what is gone leaves no series behind. A fact that nobody told is left out:
unknown is not zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


@dataclass(frozen=True, kw_only=True)
class ScheduleReading:
    """What Redis holds of one schedule; times in seconds since the epoch, None for what there is not."""

    enabled: bool
    last_success_seconds: float | None
    #: The first slot that has not started: in the past, it is overdue.
    start_due_seconds: float | None
    #: When the second run since the last success is or was due: in the past, two in a row have not succeeded.
    success_due_seconds: float | None
    #: How many slots were ever missed.
    missed: int


@dataclass(frozen=True, kw_only=True)
class RedisReading:
    """What one scrape reads from Redis beside the queues."""

    schedules: Mapping[str, ScheduleReading] = field(default_factory=dict)
    #: How many schedulers are in which state.
    schedulers: Mapping[str, int] = field(default_factory=dict)
    #: None for what the server keeps to itself.
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    persistence_ok: bool | None = None


@dataclass(frozen=True, kw_only=True)
class DatabaseReading:
    """Everything that one scrape reads from the database."""

    characters: Mapping[str, int] = field(default_factory=dict)
    data_age_seconds: Mapping[str, float] = field(default_factory=dict)


def redis_families(reading: RedisReading) -> Iterable[Metric]:
    """Return the metrics of what Redis holds beside the queues."""
    yield from _schedule_families(reading.schedules)
    schedulers = gauge("nomad_schedulers", "Schedulers that were heard of lately, and those that fell silent.", "state")
    for state, count in reading.schedulers.items():
        schedulers.add_metric([state], count)
    yield schedulers
    yield _fact("nomad_redis_memory_bytes", "Memory that Redis uses.", reading.memory_bytes)
    yield _fact("nomad_redis_memory_limit_bytes", "Memory that Redis may use; 0: no limit.", reading.memory_limit_bytes)
    yield _fact(
        "nomad_redis_persistence_ok",
        "Whether Redis writes jobs to disk, and the last write went well.",
        reading.persistence_ok,
    )


def database_families(reading: DatabaseReading) -> Iterable[Metric]:
    """Return the metrics of what the database holds."""
    characters = gauge("nomad_characters", "Characters by what their login is worth.", "status")
    for status, count in reading.characters.items():
        characters.add_metric([status], count)
    yield characters
    ages = gauge("nomad_data_age_seconds", "Since the data of the worst active character was confirmed.", "dataset")
    for dataset, age_seconds in sorted(reading.data_age_seconds.items()):
        ages.add_metric([dataset], age_seconds)
    yield ages


def _schedule_families(schedules: Mapping[str, ScheduleReading]) -> Iterable[Metric]:
    enabled = gauge("nomad_schedule_enabled", "Whether the schedule is on.", "schedule")
    success = gauge(
        "nomad_schedule_last_success_timestamp_seconds",
        "When a job of the schedule last completed; missing until one has.",
        "schedule",
    )
    due = gauge(
        "nomad_schedule_start_due_timestamp_seconds",
        "The schedule's first slot that has not started: in the past, it is overdue; missing while it is off.",
        "schedule",
    )
    success_due = gauge(
        "nomad_schedule_success_due_timestamp_seconds",
        "When the schedule's second run since its last success is due; missing while it is off.",
        "schedule",
    )
    missed = CounterMetricFamily(
        "nomad_schedule_missed_total", "Slots of the schedule that got no job.", labels=["schedule"]
    )
    for name, schedule in sorted(schedules.items()):
        missed.add_metric([name], schedule.missed)
        enabled.add_metric([name], schedule.enabled)
        if schedule.last_success_seconds is not None:
            success.add_metric([name], schedule.last_success_seconds)
        if schedule.start_due_seconds is not None:
            due.add_metric([name], schedule.start_due_seconds)
        if schedule.success_due_seconds is not None:
            success_due.add_metric([name], schedule.success_due_seconds)
    return enabled, success, due, success_due, missed


def gauge(name: str, says: str, *labels: str) -> GaugeMetricFamily:
    """Return a gauge without series yet."""
    return GaugeMetricFamily(name, says, labels=labels)


def _fact(name: str, says: str, value: float | None) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, says, value=value)
