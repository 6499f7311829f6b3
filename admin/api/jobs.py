"""Jobs: lists by state, one job, adding one."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Blueprint
from pydantic import Field, WithJsonSchema

from nomad_actors import job_metrics
from nomad_actors.broker.states import STATE_NAMES
from nomad_actors.errors import JobNotFound
from nomad_actors.job_types import MAX_BACKOFF_MS, Priority
from nomad_actors.queues import MAX_DELAY_MS

from ..access.actors import current_actor
from ..inputs import Body, Input, Query
from ..listing import MAX_CURSOR, MAX_LIMIT, page_of
from ..parts import all_queues
from .answers import AddedJob, Job, JobList, JobPage
from .declared import JobId, ThisQueue, declared

api = Blueprint("jobs", __name__, url_prefix="/admin/jobs")

_STATES = {"type": "array", "minItems": 1, "items": {"type": "string", "enum": sorted(map(str, STATE_NAMES))}}
_PRIORITY = {
    "anyOf": [
        {"type": "integer", "minimum": min(Priority), "maximum": max(Priority)},
        {"type": "string", "enum": [priority.name for priority in Priority]},
        {"type": "null"},
    ]
}
_BACKOFF = {
    "type": ["object", "null"],
    "properties": {
        "type": {"type": "string", "enum": ["exponential", "fixed"]},
        "delay": {"type": "integer", "minimum": 0, "maximum": MAX_BACKOFF_MS, "description": "ms"},
    },
    "required": ["type", "delay"],
    "additionalProperties": False,
}


class OfState(Query):
    """Which jobs of a queue are listed."""

    # Its words are checked by the queue, which names the nearest.
    status: Annotated[str, WithJsonSchema(_STATES)] = Field(default="waiting", description="one state or several")
    limit: int = Field(default=10, ge=1, le=MAX_LIMIT)
    cursor: int = Field(default=0, ge=0, le=MAX_CURSOR, description="the last answer's `nextCursor`")


class Newest(Query):
    """How many jobs are listed."""

    limit: int = Field(default=50, ge=1, le=MAX_LIMIT)


class Options(Input):
    """What differs from the job type's own; null is the same as left out."""

    # Both are read by the queues, whose messages name the choices.
    priority: Annotated[Any, WithJsonSchema({**_PRIORITY, "description": "1 starts first"})] = None
    backoff: Annotated[Any, WithJsonSchema(_BACKOFF)] = None
    attempts: int | None = Field(default=None, ge=1, le=1000, description="runs, the first one counted")
    delay: int | None = Field(default=None, ge=0, le=MAX_DELAY_MS, description="ms")


class NewJob(Body):
    """A job to add; its data is what its job type takes."""

    name: str = Field(description="the job type")
    data: Any = Field(default_factory=dict)
    opts: Options = Field(default_factory=Options)


@api.get("/queues/<queue>/jobs")
@declared(JobPage)
def list_jobs(queue: ThisQueue, query: OfState) -> dict[str, Any]:
    """List one queue's jobs of one state, or of several with commas between them."""
    page = page_of(queue, query.status, query.cursor, query.limit)
    return {"jobs": [job.as_json() for job in page.jobs], "total": page.total, "nextCursor": page.next_cursor}


@api.get("/queues/<queue>/jobs/<path:job_id>")
@declared(Job)
def show_job(queue: ThisQueue, job_id: JobId) -> dict[str, Any]:
    """Show one job with its story."""
    job = queue.get(job_id)
    if job is None:
        raise JobNotFound(f"queue {queue.name!r} holds no job {job_id!r}")
    return job.as_json()


@api.post("/queues/<queue>/jobs")
@declared({201: AddedJob})
def add_job(queue: ThisQueue, body: NewJob) -> tuple[dict[str, Any], int]:
    """Add a job; what `opts` does not say comes from its job type."""
    given = {name: value for name, value in dict(body.opts).items() if value is not None}
    added = all_queues().add_job(queue.name, body.name, body.data, requested_by=current_actor().name, **given)
    told = {"id": added.id, "name": body.name, "queueName": added.queue, "state": added.state}
    return {**told, "priority": added.priority}, 201


@api.get("/failed")
@declared(JobList)
def failed_jobs(query: Newest) -> dict[str, Any]:
    """List failed jobs of all queues, the last to fail first."""
    return {"jobs": job_metrics.get_failed_jobs(all_queues(), query.limit), "total": _total("failed")}


@api.get("/active")
@declared(JobList)
def active_jobs(query: Newest) -> dict[str, Any]:
    """List running jobs of all queues, the longest-running first."""
    return {"jobs": job_metrics.get_active_jobs(all_queues(), query.limit), "total": _total("active")}


def _total(status: str) -> int:
    queues = all_queues()
    return sum(queues.get_queue(name).counts()[status] for name in queues.names())
