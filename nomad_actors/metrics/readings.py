"""What each scrape reads from Redis and the database, and its metrics (docs/metrics.md).

Every family is built anew for each scrape, so removed objects leave no series. An unknown value is left out: unknown is
not zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


@dataclass(frozen=True, kw_only=True)
class ScheduleReading:
    """One schedule in Redis; times in seconds since the epoch, None if unknown."""

    enabled: bool
    last_success_seconds: float | None
    #: The first slot that has not started; overdue if it is in the past.
    start_due_seconds: float | None
    #: When the second run since the last success is or was due; in the past: two in a row have not succeeded.
    success_due_seconds: float | None
    #: Slots missed in total.
    missed: int


@dataclass(frozen=True, kw_only=True)
class RedisReading:
    """What one scrape reads from Redis besides the queues."""

    schedules: Mapping[str, ScheduleReading] = field(default_factory=dict)
    #: Schedulers by state.
    schedulers: Mapping[str, int] = field(default_factory=dict)
    #: None if the server does not report it.
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    persistence_ok: bool | None = None


@dataclass(frozen=True, kw_only=True)
class DatabaseReading:
    """What one scrape reads from the database."""

    characters: Mapping[str, int] = field(default_factory=dict)
    data_age_seconds: Mapping[str, float] = field(default_factory=dict)


def redis_families(reading: RedisReading) -> Iterable[Metric]:
    """Return the metrics of Redis besides the queues."""
    yield from _schedule_families(reading.schedules)
    schedulers = gauge(
        "nomad_schedulers", "Schedulers with a recent heartbeat (live), and those without (silent).", "state"
    )
    for state, count in reading.schedulers.items():
        schedulers.add_metric([state], count)
    yield schedulers
    yield _gauge_of("nomad_redis_memory_bytes", "Memory that Redis uses.", reading.memory_bytes)
    yield _gauge_of(
        "nomad_redis_memory_limit_bytes", "Memory that Redis may use; 0 means no limit.", reading.memory_limit_bytes
    )
    yield _gauge_of(
        "nomad_redis_persistence_ok",
        "Whether Redis writes jobs to disk and the last write succeeded.",
        reading.persistence_ok,
    )


def database_families(reading: DatabaseReading) -> Iterable[Metric]:
    """Return the metrics of the database."""
    characters = gauge("nomad_characters", "Characters by the state of their login.", "status")
    for status, count in reading.characters.items():
        characters.add_metric([status], count)
    yield characters
    ages = gauge("nomad_data_age_seconds", "Age of the data of the active character whose data is oldest.", "dataset")
    for dataset, age_seconds in sorted(reading.data_age_seconds.items()):
        ages.add_metric([dataset], age_seconds)
    yield ages


def _schedule_families(schedules: Mapping[str, ScheduleReading]) -> Iterable[Metric]:
    enabled = gauge("nomad_schedule_enabled", "Whether the schedule is on.", "schedule")
    success = gauge(
        "nomad_schedule_last_success_timestamp_seconds",
        "When a job of the schedule last completed; missing until one completed.",
        "schedule",
    )
    due = gauge(
        "nomad_schedule_start_due_timestamp_seconds",
        "The schedule's first slot that has not started (in the past: overdue); missing while the schedule is off.",
        "schedule",
    )
    success_due = gauge(
        "nomad_schedule_success_due_timestamp_seconds",
        "When the schedule's second run since its last success is due; missing while the schedule is off.",
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


def gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    """Return a gauge that has no series yet."""
    return GaugeMetricFamily(name, documentation, labels=labels)


def _gauge_of(name: str, documentation: str, value: float | None) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, value=value)
