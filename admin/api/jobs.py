"""Jobs: lists by state, one job, adding one."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request

from nomad_actors import job_metrics
from nomad_actors.errors import JobNotFound

from ..inputs import json_body, known_arguments, limit_argument, object_of, text_field, whole_argument
from ..listing import page_of
from ..parts import all_queues

api = Blueprint("jobs", __name__, url_prefix="/admin/jobs")

#: A cursor is how many jobs were shown before; no queue holds more.
MAX_CURSOR = 10**12

_OPTIONS = ("priority", "attempts", "backoff", "delay")


@api.get("/queues/<queue>/jobs")
def list_jobs(queue: str) -> dict[str, Any]:
    """List one queue's jobs of one state, or of several with commas between them."""
    known_arguments(request, "status", "limit", "cursor")
    limit = limit_argument(request, default=10)
    start = whole_argument(request, "cursor", default=0, low=0, high=MAX_CURSOR)
    page = page_of(all_queues().get_queue(queue), request.args.get("status", "waiting"), start, limit)
    return {"jobs": [job.as_json() for job in page.jobs], "total": page.total, "nextCursor": page.next_cursor}


@api.get("/queues/<queue>/jobs/<path:job_id>")
def show_job(queue: str, job_id: str) -> dict[str, Any]:
    """Show one job with its story."""
    known_arguments(request)
    job = all_queues().get_queue(queue).get(job_id)
    if job is None:
        raise JobNotFound(f"queue {queue!r} holds no job {job_id!r}")
    return job.as_json()


@api.post("/queues/<queue>/jobs")
def add_job(queue: str) -> tuple[dict[str, Any], int]:
    """Add a job; what `opts` does not say comes from its job type."""
    known_arguments(request)
    queues = all_queues()
    # Before the body: an unknown queue is 404, whatever is sent to it.
    queues.get_queue(queue)
    body = json_body(request, "name", "data", "opts")
    options = object_of(body.get("opts", {}), "opts", _OPTIONS)
    given = {name: value for name, value in options.items() if value is not None}
    added = queues.add_job(queue, text_field(body, "name"), body.get("data", {}), requested_by="admin", **given)
    told = {"id": added.id, "name": body["name"], "queueName": added.queue, "state": added.state}
    return {**told, "priority": added.priority}, 201


@api.get("/failed")
def failed_jobs() -> dict[str, Any]:
    """List failed jobs of all queues, the last to fail first."""
    known_arguments(request, "limit")
    jobs = job_metrics.get_failed_jobs(all_queues(), limit_argument(request, default=50))
    return {"jobs": jobs, "total": _total("failed")}


@api.get("/active")
def active_jobs() -> dict[str, Any]:
    """List running jobs of all queues, the longest-running first."""
    known_arguments(request, "limit")
    jobs = job_metrics.get_active_jobs(all_queues(), limit_argument(request, default=50))
    return {"jobs": jobs, "total": _total("active")}


def _total(status: str) -> int:
    queues = all_queues()
    return sum(queues.get_queue(name).counts()[status] for name in queues.names())
