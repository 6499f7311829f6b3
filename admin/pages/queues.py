"""The overview, one queue's jobs, and one job."""

from __future__ import annotations

import json
from typing import Any, Literal

from flask import Blueprint, redirect, render_template, request
from pydantic import Field
from werkzeug.wrappers import Response

from nomad_actors import job_metrics
from nomad_actors.errors import JobNotFound
from nomad_actors.health import Area, Finding, Report, Status, system_health
from nomad_actors.logs.counted import agreeing
from nomad_actors.logs.json_text import readable
from nomad_actors.queues.bulk import ACTIONS
from nomad_actors.queues.queue import CLEANABLE, of_readable
from nomad_actors.queues.search import MAX_LIMIT, OUTCOMES
from nomad_actors.version import __version__

from .. import loopback
from ..access.actors import current_actor, may_change
from ..access.forms import form_token
from ..api.doctor import examined
from ..api.jobs import OfFailures
from ..esi_switch import esi_switch
from ..inputs import NoQuery, Query, read_query
from ..links import job_path, link, queue_path, schedule_path
from ..listing import OfJobs, fields_of, page_of, states_of
from ..parts import all_queues, application
from ..schedules import schedule_status, scheduler_reading
from . import notices, words

pages = Blueprint("pages", __name__)

LAST_FAILURES = 10
JOBS_A_PAGE = 50


class Shown(OfJobs):
    """Which of a queue's jobs a page shows; those that wait when no state is named."""

    status: str = ""
    limit: int = Field(default=JOBS_A_PAGE, ge=1, le=MAX_LIMIT)


class OfJob(Query):
    """How a job is shown: as a page, or whole as JSON."""

    format: Literal["html", "json"] = "html"


for _filter in (
    agreeing,
    words.duration,
    words.utc,
    words.from_now,
    words.iso_ms,
    words.percent,
    words.number,
    words.seconds,
    words.whole,
):
    pages.add_app_template_filter(_filter)
for _global in (form_token, link, queue_path, job_path, schedule_path):
    pages.add_app_template_global(_global)


@pages.app_context_processor
def _always() -> dict[str, Any]:
    """Give every template the instant that it is rendered at, who looks, and what that allows."""
    settings = application().settings
    return {
        "now_ms": application().clock.now_ms(),
        "version": __version__,
        "actor": current_actor(),
        "may_change": may_change(),
        "read_only": settings.admin_read_only,
        # A session opens no path of the API: its links lead somewhere only for whoever may look without.
        "links_to_api": not settings.admin_tokens and not any(loopback.refusals(request)),
        "notice": notices.shown(),
    }


@pages.get("/")
def home() -> Response:
    """Send whoever types the address alone to the overview."""
    return redirect(link("/admin/"))


@pages.get("/admin/")
def overview() -> str:
    """Show whether the system is healthy, the queues, the last failures and the schedules."""
    read_query(request, NoQuery)
    queues, scheduler = all_queues(), scheduler_reading()
    report = examined(scheduler)
    details = of_readable(queues.names(), lambda name: job_metrics.get_queue_details(name, queues=queues))
    return render_template(
        "overview.html",
        esi=esi_switch(queues),
        health=system_health(report, queues, scheduler),
        issues=_issues(report),
        queues=details,
        cancelled=sum(each["kept"]["cancelled"] for each in details),
        failures=job_metrics.get_failed_jobs(LAST_FAILURES, queues=queues),
        schedules=scheduler.as_json()["jobs"],
    )


def _issues(report: Report) -> list[Finding]:
    """Return the problems, and after them what holds queues back on purpose or for a while."""
    problems = [finding for finding in report.findings if finding.status is Status.PROBLEM]
    warnings = [finding for finding in report.findings if finding.status is Status.WARNING]
    return problems + [finding for finding in warnings if finding.area is Area.QUEUES]


@pages.get("/admin/queues/<queue>")
def queue(queue: str) -> str:
    """List one queue's jobs of a state."""
    query = read_query(request, Shown)
    chosen = all_queues().get_queue(queue)
    details = job_metrics.get_queue_details(queue, queues=all_queues())
    waiting = "paused" if details["isPaused"] else "waiting"
    status = states_of(query).replace("waiting", waiting)
    page = page_of(chosen, query, status=status)
    return render_template(
        "queue.html",
        queue=details,
        counts=chosen.counts(),
        actions=[action for action, states in ACTIONS.items() if set(page.statuses) <= set(states)],
        indexed=sorted({name for job_type in chosen.job_types for name in job_type.indexed}),
        query=query,
        page=page,
        fields=[*fields_of(query), ""],
        outcomes=[name for name, state in OUTCOMES.items() if state.value in page.statuses],
        is_filtered=any((query.outcome, query.type, fields_of(query), query.fingerprint, query.since, query.until)),
        kept=[(name, value) for name, value in request.args.items(multi=True) if name != "cursor"],
        cleanable=[status for status in CLEANABLE if status != ("waiting" if details["isPaused"] else "paused")],
    )


@pages.get("/admin/queues/<queue>/failures")
def failures(queue: str) -> str:
    """Show why a queue's jobs failed, those with one cause together."""
    query = read_query(request, OfFailures)
    page = all_queues().get_queue(queue).failures(limit=query.limit, cursor=query.cursor or None)
    return render_template("failures.html", queue=queue, page=page, limit=query.limit)


@pages.get("/admin/queues/<queue>/jobs/<job:job_id>")
def job(queue: str, job_id: str) -> str | Response:
    """Show one job: its data, what it returned or why it failed, and its story; or all of that as JSON."""
    query = read_query(request, OfJob)
    found = all_queues().get_queue(queue).get(job_id)
    if found is None:
        raise JobNotFound(f"queue {queue!r} holds no job {job_id!r}")
    if query.format == "json":
        # Here too, not in the API alone: a session of the pages opens no path of the API.
        return Response(json.dumps(found.as_json()), mimetype="application/json")
    return render_template("job.html", job=found, readable=readable)


@pages.get("/admin/schedules/<name>")
def schedule(name: str) -> str:
    """Show one schedule: when it is due, and what became of its last slots."""
    read_query(request, NoQuery)
    return render_template("schedule.html", schedule=schedule_status(name))
