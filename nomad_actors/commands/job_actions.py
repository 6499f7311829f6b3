"""`nomad retry`, `cancel`, `remove` and `promote`: actions on one job."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import BadInput
from ..queues.queue import Queue
from .audited import audited
from .bulk import retry_failed
from .options import InQueue, JobId, Json, Yes, confirm
from .report import print_result
from .session import find_job, opened, who


def retry(
    job_id: Annotated[str | None, typer.Argument(metavar="[ID]")] = None,
    failed: Annotated[
        str | None,
        typer.Option("--failed", metavar="QUEUE", help="Retry every failed job of this queue, except cancelled ones."),
    ] = None,
    queue: InQueue = None,
    json: Json = False,
) -> None:
    """Retry a failed or completed job with all its attempts, or every failed job of a queue."""
    if (job_id is None) == (failed is None):
        raise BadInput("name either one job or a queue to retry (allowed: a job's ID, or --failed QUEUE)")
    with opened() as access:
        if failed is not None:
            retry_failed(access, failed, json=json)
            return
        assert job_id is not None
        found, _ = find_job(access, job_id, queue)
        with audited(access.settings, "POST", "queues", found.name, "jobs", job_id, "retry"):
            found.retry(job_id)
        _report(found, job_id, "is waiting again, with all its attempts", "waiting", json=json)


def cancel(
    job_id: JobId,
    reason: Annotated[str, typer.Option(help="The reason, which is stored with the job.")],
    queue: InQueue = None,
    json: Json = False,
) -> None:
    """Cancel a job. A running job ends as soon as it can be interrupted, other jobs end at once."""
    with opened() as access:
        found, _ = find_job(access, job_id, queue)
        reason = f"{reason} (by {who()})"
        with audited(access.settings, "POST", "queues", found.name, "jobs", job_id, "cancel", body={"reason": reason}):
            state = found.cancel(job_id, reason)
    change = "is cancelled" if state == "failed" else "is being cancelled, and stays active until its code stops"
    _report(found, job_id, change, state, json=json)


def remove(job_id: JobId, queue: InQueue = None, yes: Yes = False, json: Json = False) -> None:
    """Remove a job that is not running, with its story."""
    with opened() as access:
        found, _ = find_job(access, job_id, queue)
        confirm(f"Remove job {job_id} of {found.name} with its story?", yes=yes)
        with audited(access.settings, "DELETE", "queues", found.name, "jobs", job_id):
            found.remove(job_id)
    result = {"success": True, "queueName": found.name, "jobId": job_id, "removed": 1}
    print_result(result, f"Job {job_id} of {found.name} is removed.", json=json)


def promote(job_id: JobId, queue: InQueue = None, json: Json = False) -> None:
    """Let a delayed job start now."""
    with opened() as access:
        found, _ = find_job(access, job_id, queue)
        with audited(access.settings, "POST", "queues", found.name, "jobs", job_id, "promote"):
            found.promote(job_id)
    _report(found, job_id, "is waiting now", "waiting", json=json)


def _report(queue: Queue, job_id: str, change: str, status: str, *, json: bool) -> None:
    result = {"success": True, "queueName": queue.name, "jobId": job_id, "status": status}
    print_result(result, f"Job {job_id} of {queue.name} {change}.", json=json)
