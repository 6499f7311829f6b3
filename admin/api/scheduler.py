"""The schedules: their state, and operators' actions on them."""

from __future__ import annotations

from typing import Any

from flask import Blueprint
from pydantic import Field

from nomad_actors.errors import UnknownSchedule
from nomad_actors.scheduler import Schedules, status
from nomad_actors.scheduler.models import ScheduleHistory, SchedulerSummary

from ..access.actors import current_actor
from ..current_app import all_queues
from ..inputs import Input
from .declared import ScheduleName, declared
from .models import ScheduleChanged, ScheduleRun

api = Blueprint("scheduler", __name__, url_prefix="/admin/jobs")


class RunBody(Input):
    """How to add a schedule's job now."""

    force: bool = Field(default=False, description="also if its previous job has not ended")


@api.get("/scheduler")
@declared(SchedulerSummary)
def summary() -> dict[str, Any]:
    """List the schedules with their next and last runs, and the schedulers."""
    return status.get_scheduler_summary(all_queues())


@api.get("/scheduler/<name>")
@declared(ScheduleHistory)
def schedule(name: ScheduleName) -> dict[str, Any]:
    """Show one schedule with its last slots."""
    return schedule_status(name)


@api.post("/scheduler/<name>/start")
@declared(ScheduleChanged)
def start(name: ScheduleName) -> dict[str, Any]:
    """Switch a schedule on."""
    Schedules(all_queues()).start_job(name)
    return {"success": True, "jobName": name, **schedule_status(name)}


@api.post("/scheduler/<name>/stop")
@declared(ScheduleChanged)
def stop(name: ScheduleName) -> dict[str, Any]:
    """Switch a schedule off, in all schedulers at once; a waiting or running job of it stays."""
    Schedules(all_queues()).stop_job(name)
    return {"success": True, "jobName": name, **schedule_status(name)}


@api.post("/scheduler/<name>/run")
@declared(ScheduleRun, problems=(409, 503))
def run(name: ScheduleName, body: RunBody) -> ScheduleRun:
    """Add a schedule's job now; with `force` also if its previous job has not ended."""
    added = Schedules(all_queues()).run_job(name, force=body.force, by=current_actor().name)
    return ScheduleRun(success=True, job_name=name, queue_name=added.queue, job_id=added.id, status=added.state)


def schedule_status(name: str) -> dict[str, Any]:
    """Return one schedule with its last slots, or raise `UnknownSchedule`."""
    schedule = status.get_job_status(all_queues(), name)
    if not schedule["exists"]:
        raise UnknownSchedule(name, [each.schedule.name for each in Schedules(all_queues()).all()])
    return schedule
