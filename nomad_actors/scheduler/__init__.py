"""Cron schedules: how the code declares them, how Redis stores them, and the process that fires them.

The functions are those of the original system's scheduler, on this process' application.
"""

from __future__ import annotations

from typing import Any, Unpack

from ..queues import AddedJob, default_queues
from ..queues.schedules.calendar import CRON_EXPRESSIONS, Cron, cron, get_next_executions, validate_cron_expression
from ..queues.schedules.schedule import JobSchedule, Misfire, Overlap, Schedule, ScheduleOptions
from . import status
from .book import ScheduledJob, Schedules
from .changes import ScheduleState
from .process import SlotScheduler

__all__ = [
    "CRON_EXPRESSIONS",
    "Cron",
    "JobSchedule",
    "Misfire",
    "Overlap",
    "Schedule",
    "ScheduleState",
    "ScheduledJob",
    "Schedules",
    "SlotScheduler",
    "cron",
    "get_job_status",
    "get_next_executions",
    "get_scheduler_summary",
    "remove_job",
    "run_job",
    "schedule_job",
    "start_job",
    "stop_job",
    "validate_cron_expression",
]


def schedule_job(
    name: str, cron: str, job: ScheduledJob | tuple[Any, ...], **options: Unpack[ScheduleOptions]
) -> ScheduleState:
    """Add or change a schedule; see `Schedules.schedule_job`."""
    return Schedules(default_queues()).schedule_job(name, cron, job, **options)


def start_job(name: str) -> ScheduleState:
    """Switch a schedule on; see `Schedules.start_job`."""
    return Schedules(default_queues()).start_job(name)


def stop_job(name: str) -> ScheduleState:
    """Switch a schedule off; see `Schedules.stop_job`."""
    return Schedules(default_queues()).stop_job(name)


def remove_job(name: str) -> None:
    """Remove a schedule that was added at run time; see `Schedules.remove_job`."""
    Schedules(default_queues()).remove_job(name)


def run_job(name: str, *, force: bool = False, by: str = "") -> AddedJob:
    """Add a schedule's job now; see `Schedules.run_job`."""
    return Schedules(default_queues()).run_job(name, force=force, by=by)


def get_job_status(name: str) -> dict[str, Any]:
    """Return one schedule's status and history; see `status.get_job_status`."""
    return status.get_job_status(default_queues(), name)


def get_scheduler_summary() -> dict[str, Any]:
    """Return every schedule's status; see `status.get_scheduler_summary`."""
    return status.get_scheduler_summary(default_queues())
