"""Operators' actions on jobs and queues; a response 200 describes what was done."""

from __future__ import annotations

from typing import Annotated

from flask import Blueprint
from pydantic import Field, WithJsonSchema

from nomad_actors.queues.queue import CLEANABLE

from ..access.actors import current_actor
from ..inputs import MAX_REASON_CHARS, Input
from .declared import JobId, ThisQueue, declared
from .models import Done

api = Blueprint("actions", __name__, url_prefix="/admin/jobs/queues/<queue>")

MAX_GRACE_MS = 315_360_000_000
MAX_CLEAN_LIMIT = 100_000

_CLEANABLE = {"type": "string", "enum": sorted(str(name) for name in CLEANABLE)}


class CancelBody(Input):
    """The reason of a cancellation."""

    reason: str = Field(
        default="", max_length=MAX_REASON_CHARS, description="shown on the job's page; by default who cancelled it"
    )


class CleanBody(Input):
    """Which jobs are removed; the defaults are those of the original system's example."""

    grace: int = Field(
        default=3_600_000,
        ge=0,
        le=MAX_GRACE_MS,
        description="minimum ms since they ended or, if they have not ended, were enqueued",
    )
    # The queue checks the value and suggests the closest one.
    status: Annotated[str, WithJsonSchema(_CLEANABLE)] = "completed"
    limit: int = Field(
        default=1000, ge=1, le=MAX_CLEAN_LIMIT, description="maximum number of jobs to remove, oldest first"
    )


@api.post("/jobs/<job:job_id>/retry")
@declared(Done, problems=(409, 503))
def retry(queue: ThisQueue, job_id: JobId) -> Done:
    """Put a failed or completed job back to waiting, with its attempts reset."""
    status = queue.retry(job_id)
    return Done(success=True, queue_name=queue.name, job_id=job_id, status=status)


@api.post("/jobs/<job:job_id>/promote")
@declared(Done, problems=(409, 503))
def promote(queue: ThisQueue, job_id: JobId) -> Done:
    """Make a delayed job waiting now."""
    queue.promote(job_id)
    return Done(success=True, queue_name=queue.name, job_id=job_id, status="waiting")


@api.post("/jobs/<job:job_id>/cancel")
@declared(Done, problems=(409, 503))
def cancel(queue: ThisQueue, job_id: JobId, body: CancelBody) -> Done:
    """Cancel a job: at once if it is waiting or delayed, as soon as it can be interrupted if it is running."""
    status = queue.cancel(job_id, body.reason or f"cancelled by {current_actor().name}")
    return Done(success=True, queue_name=queue.name, job_id=job_id, status=status)


@api.delete("/jobs/<job:job_id>")
@declared(Done, problems=(409, 503))
def remove(queue: ThisQueue, job_id: JobId) -> Done:
    """Remove a job that is not running."""
    queue.remove(job_id)
    return Done(success=True, queue_name=queue.name, job_id=job_id, removed=1)


@api.post("/clean")
@declared(Done)
def clean(queue: ThisQueue, body: CleanBody) -> Done:
    """Remove at most `limit` jobs that ended (or were enqueued) more than `grace` ms ago, oldest first."""
    removed = queue.clean(body.grace, body.status, body.limit)
    return Done(success=True, queue_name=queue.name, status=body.status, removed=len(removed))
