"""`nomad retry`, `cancel`, `remove` and `promote`: what an operator does to jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BadInput
from .audited import audited
from .bulk import retry_failed
from .options import InQueue, Json, Yes, confirm
from .report import print_json, say
from .session import holding, opened, who

if TYPE_CHECKING:
    from ..queues.queue import Queue

JobId = Annotated[str, typer.Argument(metavar="ID")]


def retry(
    job_id: Annotated[str | None, typer.Argument(metavar="[ID]")] = None,
    failed: Annotated[
        str | None, typer.Option("--failed", metavar="QUEUE", help="Every failed job of this queue, no cancelled one.")
    ] = None,
    queue: InQueue = None,
    json: Json = False,
) -> None:
    """Put a failed or completed job back to waiting, its attempts afresh; or every failed job of a queue."""
    if (job_id is None) == (failed is None):
        raise BadInput("what to retry is not clear (accepted: a job's ID, or --failed QUEUE)")
    with opened() as access:
        if failed is not None:
            retry_failed(access, failed, json=json)
            return
        assert job_id is not None
        found, _ = holding(access, job_id, queue)
        with audited(access, "POST", "queues", found.name, "jobs", job_id, "retry"):
            found.retry(job_id)
        _tell_job(found, job_id, "waits again, its attempts afresh", "waiting", json=json)


def cancel(
    job_id: JobId,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the job.")],
    queue: InQueue = None,
    json: Json = False,
) -> None:
    """End a job as cancelled: at once when it waits or is delayed, as soon as it can be interrupted when it runs."""
    with opened() as access:
        found, _ = holding(access, job_id, queue)
        reason = f"{reason} (by {who()})"
        with audited(access, "POST", "queues", found.name, "jobs", job_id, "cancel", body={"reason": reason}):
            state = found.cancel(job_id, reason)
    words = "is cancelled" if state == "failed" else "was told to end; it is active until its thread has ended"
    _tell_job(found, job_id, words, state, json=json)


def remove(job_id: JobId, queue: InQueue = None, yes: Yes = False, json: Json = False) -> None:
    """Remove a job that does not run, with its story."""
    with opened() as access:
        found, _ = holding(access, job_id, queue)
        confirm(f"Remove job {job_id} of {found.name} with its story?", yes=yes)
        with audited(access, "DELETE", "queues", found.name, "jobs", job_id):
            found.remove(job_id)
    told = {"success": True, "queueName": found.name, "jobId": job_id, "removed": 1}
    _tell(told, f"job {job_id} of {found.name} is removed", json=json)


def promote(job_id: JobId, queue: InQueue = None, json: Json = False) -> None:
    """Let a delayed job start now."""
    with opened() as access:
        found, _ = holding(access, job_id, queue)
        with audited(access, "POST", "queues", found.name, "jobs", job_id, "promote"):
            found.promote(job_id)
    _tell_job(found, job_id, "waits now", "waiting", json=json)


def _tell_job(queue: Queue, job_id: str, words: str, status: str, *, json: bool) -> None:
    told = {"success": True, "queueName": queue.name, "jobId": job_id, "status": status}
    _tell(told, f"job {job_id} of {queue.name} {words}", json=json)


def _tell(told: dict[str, Any], words: str, *, json: bool) -> None:
    print_json(told) if json else say(words)
