"""What counts as unhealthy, in one table that health, the doctor, the alerts and the dashboards read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The limits that a queue is held to; beyond one of them it is unhealthy.

    The share of failures and the backlog are those of the original system's alerts.
    """

    #: The share of failures is taken over this window, and only when this many jobs ended in it.
    failure_window_seconds: int = 3600
    failure_percent: float = 10.0
    failure_least_ended: int = 20
    #: How many jobs may wait; None for a queue that is filled in bulk and judged by age and time to drain.
    waiting_jobs: int | None = 1000
    #: How long what waits may take to be worked off at the pace of the last hour; None where the number is judged.
    drain_seconds: int | None = None
    #: What waits must have been there for that long: the pace of an hour that began idle says nothing.
    drain_least_age_seconds: int = 3600
    #: How long the first waiting job may have been due.
    oldest_waiting_seconds: int = 3600
    #: How far beyond its job type's time limit a job may run: Dramatiq looks once a second, and the job cleans up.
    beyond_time_limit_seconds: int = 30


@dataclass(frozen=True, kw_only=True)
class ScheduleThresholds:
    """The limits that schedules and schedulers are held to."""

    #: A slot that no scheduler has dealt with for this long is overdue.
    unclaimed_seconds: int = 120
    #: So is one whose job has waited for this long.
    unstarted_seconds: int = 3600
    #: A scheduler that was not heard of for this long does not live.
    silent_seconds: int = 60


SCHEDULES = ScheduleThresholds()

DEFAULT = Thresholds()

BY_QUEUE: Mapping[str, Thresholds] = MappingProxyType(
    {
        # Filled with a job a character and data type once a day; a backlog of thousands is its ordinary state, and
        # whether it is drained before the next day's is added is what counts.
        "historical-data": Thresholds(waiting_jobs=None, drain_seconds=86_400, oldest_waiting_seconds=86_400),
    }
)


def of_queue(name: str) -> Thresholds:
    """Return the limits of a queue."""
    return BY_QUEUE.get(name, DEFAULT)


@dataclass(frozen=True, kw_only=True)
class DoctorThresholds:
    """The limits that `nomad doctor` judges by; those of Redis' memory and of the clocks are the alerts' too."""

    #: Work that has been due for this long while nothing started: the queue stands still.
    still_seconds: float = 30.0
    #: Of Redis' memory limit.
    memory_warning_percent: float = 80.0
    memory_problem_percent: float = 95.0
    #: Between this host's clock and Redis'; beyond the second, schedulers hold.
    clock_warning_seconds: float = 1.0
    clock_problem_seconds: float = 5.0
    disk_warning_bytes: int = 1 << 30
    disk_problem_bytes: int = 100 << 20
    #: How many waiting, delayed and failed jobs of a queue are looked at for job types that nobody knows.
    sample_jobs: int = 50


DOCTOR = DoctorThresholds()


@dataclass(frozen=True, kw_only=True)
class BurnWindow:
    """One pair of windows over which the error budget may be spent `factor` times as fast as it lasts."""

    long_seconds: int
    short_seconds: int
    factor: float
    #: How long both must hold.
    for_seconds: int
    severity: str


#: Those whose jobs take minutes have less than the others, that work through all characters.
_SUCCESS_GRACE_SECONDS = MappingProxyType({"token-refresh": 600, "esi-data-refresh": 600})


@dataclass(frozen=True, kw_only=True)
class AlertThresholds:
    """What the alerts need beside the limits of health: windows, and how long a thing must last to be told.

    A `…_for_seconds` is the alert's `for`. None is below two evaluations (30 s), so that one bad scrape says nothing.
    """

    failing_for_seconds: int = 60
    #: Where too few jobs end in an hour to judge it: most of a day's, of so many at least, and still most of the last.
    failure_rare_window_seconds: int = 86_400
    failure_rare_short_window_seconds: int = 21_600
    failure_rare_percent: float = 50.0
    failure_rare_least_ended: int = 3
    waiting_for_seconds: int = 300
    drain_window_seconds: int = 3600
    #: Not shorter than the window: in the first hour after a queue was filled, half of it would still be idle time.
    drain_for_seconds: int = 3600
    oldest_waiting_for_seconds: int = 60
    overtime_for_seconds: int = 60
    #: Longer than a restart of all workers takes: what runs may take 25 s to be released, and they start in seconds.
    unserved_for_seconds: int = 300
    down_for_seconds: int = 300
    #: For so long a worker is missed that answered before: a process less may be meant.
    down_window_seconds: int = 3600
    #: A pause is meant while somebody works on the cause.
    paused_seconds: int = 3600
    paused_for_seconds: int = 60
    #: How long a recovered or a poisonous job is told of.
    recovered_window_seconds: int = 900
    poison_window_seconds: int = 3600

    #: The mean of completed runs over the window, against that over the baseline, which ends `offset` ago so that
    #: the slowness is not in its own normal.
    slow_window_seconds: int = 900
    slow_baseline_seconds: int = 604_800
    slow_baseline_offset_seconds: int = 3600
    slow_times: float = 2.0
    #: Below this mean nobody waits for it; below so many runs there is no normal, nor a mean.
    slow_least_mean_seconds: float = 1.0
    slow_least_runs: int = 5
    slow_baseline_least_runs: int = 20
    slow_for_seconds: int = 900
    #: Job types that do not have so many runs in each window of a day (one a night) are judged by the mean of the day,
    #: against the week before it; a single run may be slow by chance.
    slow_rare_window_seconds: int = 86_400
    slow_rare_baseline_offset_seconds: int = 86_400
    slow_rare_times: float = 3.0
    slow_rare_least_runs: int = 1
    slow_rare_baseline_least_runs: int = 4

    #: The objective: so many per cent of the jobs that end complete. The windows are those of the SRE workbook,
    #: chapter 5, for a budget of 30 days. With fewer ended jobs in the long window a single failure would tell.
    completion_objective_percent: float = 99.0
    burn_least_ended: int = 100
    burns: tuple[BurnWindow, ...] = (
        BurnWindow(long_seconds=3600, short_seconds=300, factor=14.4, for_seconds=120, severity="critical"),
        BurnWindow(long_seconds=21_600, short_seconds=1800, factor=6.0, for_seconds=900, severity="critical"),
        BurnWindow(long_seconds=86_400, short_seconds=7200, factor=3.0, for_seconds=3600, severity="warning"),
        BurnWindow(long_seconds=259_200, short_seconds=21_600, factor=1.0, for_seconds=10_800, severity="warning"),
    )

    #: How late the job of a slot may start before its schedule counts as missed.
    late_start_seconds: int = 600
    late_start_for_seconds: int = 60
    #: How long after a schedule's second run since its last success a success must be there: the time that its job may
    #: take to end. By schedule where that differs.
    success_grace_seconds: int = 3600
    success_grace_by_schedule_seconds: Mapping[str, int] = field(default_factory=lambda: _SUCCESS_GRACE_SECONDS)
    success_for_seconds: int = 300
    silent_for_seconds: int = 60
    holds_for_seconds: int = 60
    clock_for_seconds: int = 300

    collector_for_seconds: int = 120
    memory_for_seconds: int = 300
    persistence_for_seconds: int = 300
    missing_for_seconds: int = 600


ALERTS = AlertThresholds()


@dataclass(frozen=True, kw_only=True)
class Table:
    """Every threshold, in one piece."""

    default: Thresholds
    by_queue: Mapping[str, Thresholds]
    schedules: ScheduleThresholds
    doctor: DoctorThresholds
    alerts: AlertThresholds

    def of_queue(self, name: str) -> Thresholds:
        """Return the limits of a queue."""
        return self.by_queue.get(name, self.default)


#: Times that the system itself takes or that do not pass faster in a test: how long a job runs, how far clocks are
#: apart, how often a calendar's schedules are due. No factor changes them.
UNSCALED = frozenset(
    {
        "beyond_time_limit_seconds",
        "slow_least_mean_seconds",
        "clock_warning_seconds",
        "clock_problem_seconds",
        "success_grace_seconds",
        "success_grace_by_schedule_seconds",
    }
)
#: A scheduler looks every 1.6 s, and a scrape takes up to a second to see it: less would be silence between two looks.
LEAST_SECONDS: Mapping[str, float] = MappingProxyType({"silent_seconds": 5.0})


def table(factor: float = 1.0) -> Table:
    """Return the table with every duration multiplied by `factor`, for a Prometheus that watches in fast motion.

    Shares, numbers and what is `UNSCALED` stay. Raises `ValueError` for a factor that is not above 0.
    """
    if not factor > 0:
        raise ValueError(f"the time factor must be above 0, not {factor:g}")
    whole = Table(default=DEFAULT, by_queue=BY_QUEUE, schedules=SCHEDULES, doctor=DOCTOR, alerts=ALERTS)
    return whole if factor == 1 else _scaled("", whole, factor)


def _scaled(name: str, value: Any, factor: float) -> Any:
    if isinstance(value, tuple):
        return tuple(_scaled(name, each, factor) for each in value)
    if isinstance(value, Mapping):
        return MappingProxyType({key: _scaled(name, each, factor) for key, each in value.items()})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **{key: _scaled(key, each, factor) for key, each in fields.items()})
    if not name.endswith("_seconds") or name in UNSCALED or value is None:
        return value
    return max(round(value * factor, 3), min(LEAST_SECONDS.get(name, 0.0), value))
