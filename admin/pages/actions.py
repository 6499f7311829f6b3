"""The buttons for jobs and schedules, and the questions before two of them."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, render_template, request

from nomad_actors.broker.states import FINISHED
from nomad_actors.errors import BadInput
from nomad_actors.logs.counted import counted
from nomad_actors.queues.queue import CLEANABLE
from nomad_actors.scheduler import Schedules

from ..access.actors import current_actor
from ..api.actions import MAX_CLEAN_LIMIT
from ..current_app import all_queues
from ..inputs import Input, read_query
from ..listing import find_job
from ..urls import job_path, queue_path
from .buttons import button, require_int

pages = Blueprint("pages_actions", __name__)

MINUTE_MS = 60_000
MAX_MINUTES = 5_256_000


class RemoveQuery(Input):
    """The job to remove."""

    queue: str = ""
    job: str = ""


class CleanQuery(Input):
    """The jobs to remove. All fields are text, so that a wrong one gets a readable error."""

    queue: str = ""
    status: str = ""
    minutes: str = ""
    limit: str = ""


@pages.post("/admin/queues/<queue>/jobs/<job:job_id>/retry")
@button
def retry(queue: str, job_id: str) -> str:
    all_queues().get_queue(queue).retry(job_id)
    return "The job is waiting again, with all its attempts."


@pages.post("/admin/queues/<queue>/jobs/<job:job_id>/promote")
@button
def promote(queue: str, job_id: str) -> str:
    all_queues().get_queue(queue).promote(job_id)
    return "The job is waiting now."


@pages.post("/admin/queues/<queue>/jobs/<job:job_id>/cancel")
@button
def cancel(queue: str, job_id: str) -> str:
    status = all_queues().get_queue(queue).cancel(job_id, f"cancelled by {current_actor().name}")
    return "The job ends as soon as it can be interrupted." if status == "active" else "The job is cancelled."


@pages.get("/admin/confirm/remove")
def confirm_remove() -> str:
    """Ask for confirmation before removing a job."""
    query = read_query(request, RemoveQuery)
    queue, job_id = query.queue, query.job
    found = find_job(all_queues().get_queue(queue), job_id)
    return render_template(
        "confirm.html",
        question=f"Remove this {found.status} job permanently?",
        facts=[("Job", found.name), ("Id", job_id), ("Queue", queue)],
        action=f"{job_path(queue, job_id)}/remove",
        fields=[],
        verb="Remove it",
        back=job_path(queue, job_id),
    )


@pages.post("/admin/queues/<queue>/jobs/<job:job_id>/remove")
@button
def remove(queue: str, job_id: str) -> tuple[str, str]:
    all_queues().get_queue(queue).remove(job_id)
    return f"Job {job_id} is removed.", queue_path(queue)


@pages.get("/admin/confirm/clean")
def confirm_clean() -> str:
    """Ask for confirmation before removing old jobs."""
    query = read_query(request, CleanQuery)
    queue = all_queues().get_queue(query.queue)
    status, minutes, limit = _what_to_clean(query.status, {"minutes": query.minutes, "limit": query.limit}.get)
    count = queue.counts()[status]
    event = "ended" if status in FINISHED else "were added"
    return render_template(
        "confirm.html",
        question=f"Remove {status} jobs permanently?",
        facts=[
            ("Queue", queue.name),
            ("Which", f"{status} jobs that {event} more than {counted(minutes, 'minute')} ago, oldest first"),
            ("At most", counted(limit, "job")),
            (f"{status.capitalize()} now, of any age", counted(count, "job")),
        ],
        action=f"{queue_path(queue.name)}/clean",
        fields=[("status", status), ("minutes", minutes), ("limit", limit)],
        verb="Remove them",
        back=f"{queue_path(queue.name)}?status={status}",
    )


@pages.post("/admin/queues/<queue>/clean")
@button
def clean(queue: str) -> str:
    chosen = all_queues().get_queue(queue)
    status, minutes, limit = _what_to_clean(request.form.get("status"), request.form.get)
    removed = len(chosen.clean(minutes * MINUTE_MS, status, limit))
    return f"{removed} {status} {'job is' if removed == 1 else 'jobs are'} removed."


@pages.post("/admin/schedules/<name>/start")
@button
def start(name: str) -> str:
    Schedules(all_queues()).start_job(name)
    return "The schedule is started."


@pages.post("/admin/schedules/<name>/stop")
@button
def stop(name: str) -> str:
    Schedules(all_queues()).stop_job(name)
    return "The schedule is stopped. A job that it has already added stays."


@pages.post("/admin/schedules/<name>/run")
@button
def run(name: str) -> str:
    added = Schedules(all_queues()).run_job(name, force=False, by=current_actor().name)
    return f"Job {added.id} is added to {added.queue}."


def _what_to_clean(status: str | None, get: Callable[[str], str | None]) -> tuple[str, int, int]:
    """Return the state, the minimum age in minutes and the maximum number of jobs to remove."""
    if status not in CLEANABLE:
        raise BadInput(f"status {status!r:.80} is invalid (allowed: {', '.join(CLEANABLE)})", accepted=CLEANABLE)
    minutes = require_int("minutes", get("minutes"), 0, MAX_MINUTES)
    return status, minutes, require_int("limit", get("limit"), 1, MAX_CLEAN_LIMIT)
