"""The scheduler functions of the original system, on this process' application; each calls a method of `Schedules`."""

from __future__ import annotations

from typing import Any

from ..queues import AddedJob, default_queues
from . import status
from .book import Schedules
from .changes import ScheduleState
from .scheduled_job import ScheduledJob


def schedules() -> Schedules:
    """Return the schedules of this process' application.

    Raises `NomadError` if no application has been created.
    """
    queues = default_queues()
    return Schedules(queues, queues.clock)


def schedule_job(name: str, cron: str, job: ScheduledJob | tuple[Any, ...], **options: Any) -> ScheduleState:
    """Add or change a schedule; see `Schedules.schedule_job`."""
    return schedules().schedule_job(name, cron, job, **options)


def start_job(name: str) -> ScheduleState:
    """Switch a schedule on; see `Schedules.start_job`."""
    return schedules().start_job(name)


def stop_job(name: str) -> ScheduleState:
    """Switch a schedule off; see `Schedules.stop_job`."""
    return schedules().stop_job(name)


def remove_job(name: str) -> None:
    """Remove a schedule that was added at run time; see `Schedules.remove_job`."""
    schedules().remove_job(name)


def run_job(name: str, *, force: bool = False, by: str = "") -> AddedJob:
    """Add a schedule's job now; see `Schedules.run_job`."""
    return schedules().run_job(name, force=force, by=by)


def get_job_status(name: str) -> dict[str, Any]:
    """Return one schedule's status and history; see `status.get_job_status`."""
    queues = default_queues()
    return status.get_job_status(queues, queues.clock, name)


def get_scheduler_summary() -> dict[str, Any]:
    """Return every schedule's status; see `status.get_scheduler_summary`."""
    queues = default_queues()
    return status.get_scheduler_summary(queues, queues.clock)
