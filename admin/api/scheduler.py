"""The schedules: what they do, and what an operator does to them."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request

from ..inputs import flag_field, json_body, known_arguments
from ..schedules import schedule_status, schedule_summary, schedules

api = Blueprint("scheduler", __name__, url_prefix="/admin/jobs")


@api.get("/scheduler")
def summary() -> dict[str, Any]:
    """List the schedules with their next and last runs, and the schedulers."""
    known_arguments(request)
    return schedule_summary()


@api.get("/scheduler/<name>")
def schedule(name: str) -> dict[str, Any]:
    """Show one schedule with its last slots."""
    known_arguments(request)
    return schedule_status(name)


@api.post("/scheduler/<name>/start")
def start(name: str) -> dict[str, Any]:
    """Switch a schedule on."""
    _nothing_more()
    schedules().start_job(name)
    return {"success": True, "jobName": name, **schedule_status(name)}


@api.post("/scheduler/<name>/stop")
def stop(name: str) -> dict[str, Any]:
    """Switch a schedule off, in every scheduler at once; its job that waits or runs stays."""
    _nothing_more()
    schedules().stop_job(name)
    return {"success": True, "jobName": name, **schedule_status(name)}


@api.post("/scheduler/<name>/run")
def run(name: str) -> dict[str, Any]:
    """Add a schedule's job now; with `force` also beside a previous one that is not over."""
    known_arguments(request)
    force = flag_field(json_body(request, "force"), "force", default=False)
    added = schedules().run_job(name, force=force, by="admin")
    return {"success": True, "jobName": name, "queueName": added.queue, "jobId": added.id, "status": added.state}


def _nothing_more() -> None:
    known_arguments(request)
    json_body(request)
