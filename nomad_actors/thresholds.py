"""What counts as unhealthy, in one table that the health endpoint reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The limits that a queue is held to; beyond one of them it is unhealthy.

    The share of failures and the backlog are those of the original system's alerts.
    """

    #: The share of failures is taken over this window, and only when this many jobs ended in it.
    failure_window_seconds: int = 3600
    failure_percent: float = 10.0
    failure_least_ended: int = 20
    #: How many jobs may wait; None for a queue that is filled in bulk and judged by age alone.
    waiting_jobs: int | None = 1000
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
        "historical-data": Thresholds(waiting_jobs=None, oldest_waiting_seconds=86_400),
    }
)


def of_queue(name: str) -> Thresholds:
    """Return the limits of a queue."""
    return BY_QUEUE.get(name, DEFAULT)


@dataclass(frozen=True, kw_only=True)
class DoctorThresholds:
    """The limits that `nomad doctor` judges by."""

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
    sample_jobs: int = 200


DOCTOR = DoctorThresholds()
