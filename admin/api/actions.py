"""What an operator does to jobs and queues; answers 200 with what was done."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request

from ..inputs import json_body, known_arguments, text_field, whole_field
from ..parts import all_queues

api = Blueprint("actions", __name__, url_prefix="/admin/jobs/queues/<queue>")

#: What `clean` does when the body does not say: the original's example.
DEFAULT_GRACE_MS = 3_600_000
DEFAULT_CLEAN_LIMIT = 1000

MAX_GRACE_MS = 315_360_000_000
MAX_CLEAN_LIMIT = 100_000


@api.post("/jobs/<path:job_id>/retry")
def retry(queue: str, job_id: str) -> dict[str, Any]:
    """Put a failed or completed job back to waiting, its attempts afresh."""
    _nothing_more()
    chosen = all_queues().get_queue(queue)
    chosen.retry(job_id)
    job = chosen.get(job_id)
    # Taken away again in this instant, it was still put back.
    status = job.status if job else "waiting"
    return {"success": True, "queueName": queue, "jobId": job_id, "status": status}


@api.post("/jobs/<path:job_id>/cancel")
def cancel(queue: str, job_id: str) -> dict[str, Any]:
    """End a job as cancelled: at once when it waits or is delayed, as soon as it can be interrupted when it runs."""
    known_arguments(request)
    chosen = all_queues().get_queue(queue)
    reason = text_field(json_body(request, "reason"), "reason", default="cancelled by an operator")
    status = chosen.cancel(job_id, reason)
    return {"success": True, "queueName": queue, "jobId": job_id, "status": status}


@api.delete("/jobs/<path:job_id>")
def remove(queue: str, job_id: str) -> dict[str, Any]:
    """Remove a job that does not run."""
    _nothing_more()
    all_queues().get_queue(queue).remove(job_id)
    return {"success": True, "queueName": queue, "jobId": job_id, "removed": 1}


@api.post("/pause")
def pause(queue: str) -> dict[str, Any]:
    """Let no job of the queue start until it is resumed."""
    _nothing_more()
    all_queues().get_queue(queue).pause()
    return {"success": True, "queueName": queue, "status": "paused"}


@api.post("/resume")
def resume(queue: str) -> dict[str, Any]:
    """Let jobs start again."""
    _nothing_more()
    all_queues().get_queue(queue).resume()
    return {"success": True, "queueName": queue, "status": "running"}


@api.post("/clean")
def clean(queue: str) -> dict[str, Any]:
    """Remove jobs that ended (else were enqueued) more than `grace` ms ago, oldest first, at most `limit`."""
    known_arguments(request)
    chosen = all_queues().get_queue(queue)
    body = json_body(request, "grace", "status", "limit")
    grace_ms = whole_field(body, "grace", default=DEFAULT_GRACE_MS, low=0, high=MAX_GRACE_MS)
    limit = whole_field(body, "limit", default=DEFAULT_CLEAN_LIMIT, low=1, high=MAX_CLEAN_LIMIT)
    status = text_field(body, "status", default="completed")
    removed = chosen.clean(grace_ms, status, limit)
    return {"success": True, "queueName": queue, "status": status, "removed": len(removed)}


def _nothing_more() -> None:
    """Refuse options: there are none, and one that is sent must not be overlooked."""
    known_arguments(request)
    json_body(request)
