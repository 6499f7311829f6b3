"""The schedules of the current request's application."""

from __future__ import annotations

from typing import Any

from nomad_actors.errors import UnknownSchedule
from nomad_actors.scheduler import Schedules, status

from .current_app import application


def schedules() -> Schedules:
    """Return the schedules, for changes."""
    app = application()
    return Schedules(app.queues, app.clock)


def scheduler_reading() -> status.SchedulerSnapshot:
    """Read the state of the schedules and the schedulers.

    Raises `Unavailable` if Redis does not answer.
    """
    app = application()
    return status.read_scheduler(app.queues, app.clock)


def schedule_summary() -> dict[str, Any]:
    """Return the scheduler's summary.

    Raises `Unavailable` if Redis does not answer.
    """
    return scheduler_reading().shown().as_json()


def schedule_status(name: str) -> dict[str, Any]:
    """Return one schedule with its last slots.

    Raises `UnknownSchedule`, `Unavailable`.
    """
    app = application()
    schedule = status.get_job_status(app.queues, app.clock, name)
    if not schedule["exists"]:
        raise UnknownSchedule(name, [each.schedule.name for each in schedules().all()])
    return schedule
