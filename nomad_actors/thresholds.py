"""All thresholds of health, in one table that health, `nomad doctor`, the alerts and the dashboards use."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The limits of a healthy queue; beyond any of them it is unhealthy.

    The failure percentage and the backlog are those of the original system's alerts.
    """

    #: The failure percentage is computed over this window, and only if at least this many jobs ended in it.
    failure_window_seconds: int = 3600
    failure_percent: float = 10.0
    failure_least_ended: int = 20
    #: Maximum number of waiting jobs; None for a queue that is filled in bulk, which is judged by age and drain time.
    waiting_jobs: int | None = 1000
    #: Maximum time to drain the backlog at the rate of the last hour; None if the number of waiting jobs is judged.
    drain_seconds: int | None = None
    #: The backlog must be at least this old: the rate of an hour that began idle is meaningless.
    drain_least_age_seconds: int = 3600
    #: How long the first waiting job may have been due.
    oldest_waiting_seconds: int = 3600
    #: How long a job may exceed its type's time limit: Dramatiq checks once a second, and the job must clean up.
    beyond_time_limit_seconds: int = 30


@dataclass(frozen=True, kw_only=True)
class ScheduleThresholds:
    """The limits of healthy schedules and schedulers."""

    #: A slot that no scheduler has handled for this long is overdue.
    unclaimed_seconds: int = 120
    #: A slot whose job has waited for this long is overdue too.
    unstarted_seconds: int = 3600
    #: A scheduler without a heartbeat for this long counts as dead.
    silent_seconds: int = 60


SCHEDULES = ScheduleThresholds()

DEFAULT = Thresholds()

BY_QUEUE: Mapping[str, Thresholds] = MappingProxyType(
    {
        # Filled once a day with one job per character and data type: a backlog of thousands is normal, as long as it is
        # drained before the next day's jobs are added.
        "historical-data": Thresholds(waiting_jobs=None, drain_seconds=86_400, oldest_waiting_seconds=86_400),
    }
)


def of_queue(name: str) -> Thresholds:
    """Return the limits of a queue."""
    return BY_QUEUE.get(name, DEFAULT)


@dataclass(frozen=True, kw_only=True)
class DoctorThresholds:
    """The limits of `nomad doctor`; the alerts use those of Redis's memory and of the clocks too."""

    #: If jobs have been due for this long and none was started, the queue is not moving.
    not_moving_seconds: float = 30.0
    #: Percentage of Redis's memory limit.
    memory_warning_percent: float = 80.0
    memory_problem_percent: float = 95.0
    #: Difference between this host's clock and Redis's; beyond the second limit, schedulers suspend firing.
    clock_warning_seconds: float = 1.0
    clock_problem_seconds: float = 5.0
    disk_warning_bytes: int = 1 << 30
    disk_problem_bytes: int = 100 << 20
    #: How many waiting, delayed and failed jobs of a queue are checked for unknown job types.
    sample_jobs: int = 50


DOCTOR = DoctorThresholds()


@dataclass(frozen=True, kw_only=True)
class EsiThresholds:
    """The limits of healthy work with ESI and SSO; doctor and the alerts use them."""

    #: A route whose refresh has been due for this long is late. The repairing sweep comes every five minutes.
    late_seconds: int = 900
    #: At 20 errors left nothing is sent to routes without a rate group, below 50 little (reserve.lua).
    errors_remaining: int = 35
    #: Longer than CCP's daily downtime with the slow start after it.
    brake_seconds: int = 1800
    #: A bucket without room is normal for minutes. After a window of 15 minutes, more is asked than CCP allows.
    starving_seconds: int = 1800
    #: Logins that SSO first rejected within a day: single players revoke theirs; many at once are our fault, or CCP's.
    #: Then no login is marked dead (token_keeper.py).
    rejected_logins: int = 5
    #: The weekly comparison with CCP's documents may fail once.
    unchecked_seconds: int = 3 * 604_800


ESI = EsiThresholds()


@dataclass(frozen=True, kw_only=True)
class HistoryThresholds:
    """The limits of a complete history; doctor, the alert and the daily sweep use them."""

    #: Of the time that ESI shows: if a data type was last read completely longer ago, what nobody read is lost soon.
    #: Of a journal that leaves six days.
    at_risk_share: float = 0.8


HISTORY = HistoryThresholds()


@dataclass(frozen=True, kw_only=True)
class BurnWindow:
    """One pair of windows in which the error budget may burn at most `factor` times as fast as is sustainable."""

    long_seconds: int
    short_seconds: int
    factor: float
    #: How long the condition must be true in both windows.
    for_seconds: int
    severity: str


#: Schedules whose jobs take minutes have a shorter time than the others, which process all characters.
_SUCCESS_GRACE_SECONDS = MappingProxyType({"token-refresh": 600, "esi-data-refresh": 600})


@dataclass(frozen=True, kw_only=True)
class AlertThresholds:
    """What the alerts need in addition to the limits of health: windows, and how long a condition must last.

    A `…_for_seconds` is the alert's `for`. None is below two evaluations (30 s), so that one bad scrape fires no alert.
    """

    failing_for_seconds: int = 60
    #: If too few jobs end in an hour to judge it: the majority in a day, with at least this many ended jobs, and the
    #: majority in the short window too.
    failure_rare_window_seconds: int = 86_400
    failure_rare_short_window_seconds: int = 21_600
    failure_rare_percent: float = 50.0
    failure_rare_least_ended: int = 3
    waiting_for_seconds: int = 300
    drain_window_seconds: int = 3600
    #: Not shorter than the window: in the first hour after a queue was filled, the window still contains idle time.
    drain_for_seconds: int = 3600
    oldest_waiting_for_seconds: int = 60
    overtime_for_seconds: int = 60
    #: Longer than a restart of all workers: running jobs may take 25 s to be released, and workers start in seconds.
    unserved_for_seconds: int = 300
    down_for_seconds: int = 300
    #: How long a worker that answered before is reported as missing: fewer processes may be intended.
    down_window_seconds: int = 3600
    #: A shorter pause is normal while an operator works on the cause.
    paused_seconds: int = 3600
    paused_for_seconds: int = 60
    #: How long a recovered or poisonous job is reported.
    recovered_window_seconds: int = 900
    poison_window_seconds: int = 3600

    #: The mean of completed runs in the window is compared with the baseline, which ends `offset` ago so that it does
    #: not include the slowness itself.
    slow_window_seconds: int = 900
    slow_baseline_seconds: int = 604_800
    slow_baseline_offset_seconds: int = 3600
    slow_times: float = 2.0
    #: Below this mean nobody notices; with fewer runs there is no reliable mean or baseline.
    slow_least_mean_seconds: float = 1.0
    slow_least_runs: int = 5
    slow_baseline_least_runs: int = 20
    slow_for_seconds: int = 900
    #: Job types with fewer runs (such as one a night) are judged by the mean of a day, compared with the week before; a
    #: single run may be slow by chance.
    slow_rare_window_seconds: int = 86_400
    slow_rare_baseline_offset_seconds: int = 86_400
    slow_rare_times: float = 3.0
    slow_rare_least_runs: int = 1
    slow_rare_baseline_least_runs: int = 4

    #: The objective: this percentage of ended jobs is completed. The windows are those of the SRE workbook, chapter 5,
    #: for a budget of 30 days. With fewer ended jobs in the long window, a single failure could fire the alert.
    completion_objective_percent: float = 99.0
    burn_least_ended: int = 100
    burns: tuple[BurnWindow, ...] = (
        BurnWindow(long_seconds=3600, short_seconds=300, factor=14.4, for_seconds=120, severity="critical"),
        BurnWindow(long_seconds=21_600, short_seconds=1800, factor=6.0, for_seconds=900, severity="critical"),
        BurnWindow(long_seconds=86_400, short_seconds=7200, factor=3.0, for_seconds=3600, severity="warning"),
        BurnWindow(long_seconds=259_200, short_seconds=21_600, factor=1.0, for_seconds=10_800, severity="warning"),
    )

    #: If the job of a slot starts later than this, its schedule counts as missed.
    late_start_seconds: int = 600
    late_start_for_seconds: int = 60
    #: The time for a job to end: a success is due this long after the second run since a schedule's last success.
    #: Exceptions by schedule.
    success_grace_seconds: int = 3600
    success_grace_by_schedule_seconds: Mapping[str, int] = field(default_factory=lambda: _SUCCESS_GRACE_SECONDS)
    success_for_seconds: int = 300
    silent_for_seconds: int = 60
    suspended_for_seconds: int = 60
    clock_for_seconds: int = 300

    #: The least of the allowed errors is taken over this window.
    errors_window_seconds: int = 300
    errors_for_seconds: int = 300
    brake_for_seconds: int = 60
    refused_for_seconds: int = 120
    logins_for_seconds: int = 300
    #: Beyond `late_seconds`: a worker that was restarted catches up meanwhile.
    late_data_for_seconds: int = 900
    drift_for_seconds: int = 600

    collector_for_seconds: int = 120
    memory_for_seconds: int = 300
    persistence_for_seconds: int = 300
    missing_for_seconds: int = 600


ALERTS = AlertThresholds()


@dataclass(frozen=True, kw_only=True)
class Table:
    """All thresholds."""

    default: Thresholds
    by_queue: Mapping[str, Thresholds]
    schedules: ScheduleThresholds
    doctor: DoctorThresholds
    alerts: AlertThresholds
    esi: EsiThresholds
    history: HistoryThresholds


#: Times that do not pass faster in a test: how long a job runs, how much clocks differ, how often calendar schedules
#: are due. No factor changes them.
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
#: A scheduler polls every 1.6 s, and a scrape takes up to a second: less could be the time between two polls.
LEAST_SECONDS: Mapping[str, float] = MappingProxyType({"silent_seconds": 5.0})


def table(factor: float = 1.0) -> Table:
    """Return the table with every duration multiplied by `factor`, for tests in fast motion.

    Percentages, numbers and `UNSCALED` stay. Raises `ValueError` if `factor` is not above 0.
    """
    if not factor > 0:
        raise ValueError(f"the time factor must be above 0, not {factor:g}")
    unscaled = Table(
        default=DEFAULT, by_queue=BY_QUEUE, schedules=SCHEDULES, doctor=DOCTOR, alerts=ALERTS, esi=ESI, history=HISTORY
    )
    return unscaled if factor == 1 else _scaled("", unscaled, factor)


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
