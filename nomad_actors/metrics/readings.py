"""What is read when a scrape asks, and the metrics that show it; the page that explains them is docs/metrics.md.

Every family is new with each scrape, so that what is gone leaves no series behind. A fact that nobody told is left out:
unknown is not zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


@dataclass(frozen=True, kw_only=True)
class QueueReading:
    """What Redis holds of one queue; ages in seconds, 0 for what there is none of."""

    jobs: Mapping[str, int]
    oldest_waiting_seconds: Mapping[str, float]
    longest_active_seconds: float
    #: How far the worst running job is beyond its job type's time limit.
    overtime_seconds: float
    #: Since the epoch; None while the queue is not paused.
    paused_since_seconds: float | None
    workers: int
    recovered: int
    poison: int
    #: How many runs ever ended, by actor and outcome.
    attempts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    #: What is taken off Redis' clock for a step of it.
    clock_offset_seconds: float = 0.0


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
    """Everything that one scrape reads from Redis."""

    queues: Mapping[str, QueueReading] = field(default_factory=dict)
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
    """Return the metrics of what Redis holds."""
    yield from _queue_families(reading.queues)
    yield from _schedule_families(reading.schedules)
    schedulers = _gauge(
        "nomad_schedulers", "Schedulers that were heard of lately, and those that fell silent.", "state"
    )
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
    characters = _gauge("nomad_characters", "Characters by what their login is worth.", "status")
    for status, count in reading.characters.items():
        characters.add_metric([status], count)
    yield characters
    ages = _gauge("nomad_data_age_seconds", "Since the data of the worst active character was confirmed.", "dataset")
    for dataset, age_seconds in sorted(reading.data_age_seconds.items()):
        ages.add_metric([dataset], age_seconds)
    yield ages


def _queue_families(queues: Mapping[str, QueueReading]) -> Iterable[Metric]:
    jobs = _gauge("nomad_queue_jobs", "Jobs by queue and state.", "queue", "state")
    oldest = _gauge(
        "nomad_queue_oldest_waiting_seconds",
        "How long the first waiting job of a priority has been due; 0 when none waits.",
        *("queue", "priority"),
    )
    longest = _gauge("nomad_queue_longest_active_seconds", "How long the longest-running job runs.", "queue")
    overtime = _gauge(
        "nomad_queue_overtime_seconds", "How far the worst running job is beyond its job type's time limit.", "queue"
    )
    paused = _gauge("nomad_queue_paused", "Whether no job of the queue starts because it is paused.", "queue")
    paused_since = _gauge(
        "nomad_queue_paused_since_timestamp_seconds", "Since when the queue is paused; missing while it runs.", "queue"
    )
    workers = _gauge("nomad_queue_workers", "Live worker processes that serve the queue.", "queue")
    recovered = CounterMetricFamily(
        "nomad_queue_recovered_total", "Jobs taken back from workers that were lost.", labels=["queue"]
    )
    poison = CounterMetricFamily(
        "nomad_queue_poison_total", "Jobs that failed because worker after worker was lost with them.", labels=["queue"]
    )
    attempts = CounterMetricFamily(
        "nomad_job_attempts_total",
        "Runs of jobs that are over, by what became of them; counted in Redis, whatever happens to a worker.",
        labels=["queue", "actor", "outcome"],
    )
    clock = _gauge(
        "nomad_queue_clock_offset_seconds",
        "By how much the queue goes behind Redis' clock, because that stepped ahead; below 0 when it stepped back.",
        "queue",
    )
    for name, queue in sorted(queues.items()):
        clock.add_metric([name], queue.clock_offset_seconds)
        for state, count in queue.jobs.items():
            jobs.add_metric([name, state], count)
        for priority, age_seconds in queue.oldest_waiting_seconds.items():
            oldest.add_metric([name, priority], age_seconds)
        longest.add_metric([name], queue.longest_active_seconds)
        overtime.add_metric([name], queue.overtime_seconds)
        paused.add_metric([name], queue.paused_since_seconds is not None)
        if queue.paused_since_seconds is not None:
            paused_since.add_metric([name], queue.paused_since_seconds)
        workers.add_metric([name], queue.workers)
        recovered.add_metric([name], queue.recovered)
        poison.add_metric([name], queue.poison)
        for (actor, outcome), count in queue.attempts.items():
            attempts.add_metric([name, actor, outcome], count)
    return jobs, oldest, longest, overtime, paused, paused_since, workers, recovered, poison, attempts, clock


def _schedule_families(schedules: Mapping[str, ScheduleReading]) -> Iterable[Metric]:
    enabled = _gauge("nomad_schedule_enabled", "Whether the schedule is on.", "schedule")
    success = _gauge(
        "nomad_schedule_last_success_timestamp_seconds",
        "When a job of the schedule last completed; missing until one has.",
        "schedule",
    )
    due = _gauge(
        "nomad_schedule_start_due_timestamp_seconds",
        "The schedule's first slot that has not started: in the past, it is overdue; missing while it is off.",
        "schedule",
    )
    success_due = _gauge(
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


def _gauge(name: str, says: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, says, labels=labels)


def _fact(name: str, says: str, value: float | None) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, says, value=value)
