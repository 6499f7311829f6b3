"""The pages that only show: the overview, a queue, its failures, a job, a schedule, the checks and the audit log."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from flask import Blueprint, redirect, render_template, request
from pydantic import BeforeValidator, Field
from werkzeug.wrappers import Response

from nomad_actors import job_metrics
from nomad_actors.broker.states import OUTCOMES
from nomad_actors.clock import iso_ms
from nomad_actors.health import Area, Finding, Report, Severity, examine, system_health
from nomad_actors.logs.counted import verb_for
from nomad_actors.logs.json_text import readable
from nomad_actors.queues.bulk import ACTIONS
from nomad_actors.queues.queue import CLEANABLE
from nomad_actors.queues.search import MAX_LIMIT
from nomad_actors.version import __version__

from ..access import loopback
from ..access.actors import current_actor, may_change
from ..access.forms import form_token
from ..api.audit import AuditQuery, audit_page
from ..api.doctor import installation
from ..api.jobs import PageQuery
from ..api.models import EsiSwitch
from ..api.scheduler import schedule_status
from ..current_app import all_queues, application
from ..inputs import Input, NoInput, read_query
from ..listing import JobsQuery, find_job, nonempty_fields, page_of, split_values, states_of
from ..urls import job_path, link, queue_path, schedule_path
from . import notices, words

pages = Blueprint("pages", __name__)

LAST_FAILURES = 10
JOBS_A_PAGE = 50

#: Problems come first; each severity has the colour of a comparable job state.
COLOURS = {Severity.PROBLEM: "failed", Severity.WARNING: "paused", Severity.UNKNOWN: "", Severity.OK: "completed"}


#: A form also sends what was left empty.
_Optional = Annotated[str | None, BeforeValidator(lambda text: text or None)]


class QueuePageQuery(JobsQuery):
    """The jobs that a queue's page shows."""

    status: _Optional = None
    outcome: _Optional = None
    limit: int = Field(default=JOBS_A_PAGE, ge=1, le=MAX_LIMIT)


class JobPageQuery(Input):
    """How a job is shown: as a page, or completely as JSON."""

    format: Literal["html", "json"] = "html"


for _filter in (
    verb_for,
    words.duration,
    words.utc,
    words.from_now,
    iso_ms,
    words.percent,
    words.number,
    words.seconds,
    words.full_text,
):
    pages.add_app_template_filter(_filter)
for _global in (form_token, link, queue_path, job_path, schedule_path):
    pages.add_app_template_global(_global)


@pages.app_context_processor
def _always() -> dict[str, Any]:
    settings = application().settings
    return {
        "now_ms": application().clock.now_ms(),
        "version": __version__,
        "actor": current_actor(),
        "may_change": may_change(),
        "read_only": settings.admin_read_only,
        # The API does not accept page sessions: show links to it only to callers that it accepts without a token.
        "links_to_api": not settings.admin_tokens and not any(loopback.refusals(request)),
        "notice": notices.shown(),
    }


@pages.get("/")
def home() -> Response:
    return redirect(link("/admin/"))


@pages.get("/admin/")
def overview() -> str:
    """Show the health of the system, the queues, the latest failures and the schedules."""
    read_query(request, NoInput)
    queues, examined = all_queues(), installation()
    # Before all else: without Redis there is nothing to show.
    scheduler = examined.scheduler
    report = examine(examined)
    details = [job_metrics.queue_details(snapshot).as_json() for snapshot in examined.readable]
    return render_template(
        "overview.html",
        esi=EsiSwitch.of(queues.esi_queues(), examined.snapshots),
        health=system_health(report, queues, scheduler).as_json(),
        issues=_issues(report),
        queues=details,
        cancelled=sum(each["kept"]["cancelled"] for each in details),
        failures=job_metrics.get_failed_jobs(LAST_FAILURES, queues=queues),
        schedules=scheduler.shown().as_json()["jobs"],
    )


def _issues(report: Report) -> list[Finding]:
    problems = [finding for finding in report.findings if finding.severity is Severity.PROBLEM]
    warnings = [finding for finding in report.findings if finding.severity is Severity.WARNING]
    return problems + [finding for finding in warnings if finding.area is Area.QUEUES]


@pages.get("/admin/queues/<queue>")
def queue(queue: str) -> str:
    query = read_query(request, QueuePageQuery)
    chosen = all_queues().get_queue(queue)
    snapshot = chosen.snapshot()
    details = job_metrics.queue_details(snapshot).as_json()
    waiting = "paused" if details["isPaused"] else "waiting"
    status = states_of(query).replace("waiting", waiting)
    page = page_of(chosen, query, status=status)
    statuses = split_values(query.status or status)
    return render_template(
        "queue.html",
        queue=details,
        counts=snapshot.counts,
        actions=[action for action, states in ACTIONS.items() if set(statuses) <= set(states)],
        indexed=sorted({name for job_type in chosen.job_types for name in job_type.indexed}),
        query=query,
        page=page,
        statuses=statuses,
        fields=[*nonempty_fields(query), ""],
        outcomes=[name for name, state in OUTCOMES.items() if state.value in statuses],
        is_filtered=any(
            (query.outcome, query.type, nonempty_fields(query), query.fingerprint, query.since, query.until)
        ),
        filters=[(name, value) for name, value in request.args.items(multi=True) if name != "cursor"],
        cleanable=[status for status in CLEANABLE if status != ("waiting" if details["isPaused"] else "paused")],
    )


@pages.get("/admin/queues/<queue>/failures")
def failures(queue: str) -> str:
    query = read_query(request, PageQuery)
    page = all_queues().get_queue(queue).failures(limit=query.limit, cursor=query.cursor or None)
    return render_template("failures.html", queue=queue, page=page, limit=query.limit)


@pages.get("/admin/queues/<queue>/jobs/<job:job_id>")
def job(queue: str, job_id: str) -> str | Response:
    """Show one job: data, result or error, and timeline; or all of it as JSON."""
    query = read_query(request, JobPageQuery)
    found = find_job(all_queues().get_queue(queue), job_id)
    if query.format == "json":
        # The API has the same JSON, but does not accept page sessions.
        return Response(json.dumps(found.as_json()), mimetype="application/json")
    return render_template("job.html", job=found, readable=readable)


@pages.get("/admin/schedules/<name>")
def schedule(name: str) -> str:
    """Show one schedule and its latest slots."""
    read_query(request, NoInput)
    return render_template("schedule.html", schedule=schedule_status(name))


@pages.get("/admin/checks")
def checks() -> str:
    """Show the findings of `nomad doctor`, problems first."""
    read_query(request, NoInput)
    report = examine(installation())
    findings = sorted(report.findings, key=lambda finding: list(COLOURS).index(finding.severity))
    return render_template("checks.html", healthy=report.healthy, findings=findings, colours=COLOURS)


@pages.get("/admin/audit")
def audit() -> str:
    """Show changes and refusals, newest first."""
    query = read_query(request, AuditQuery)
    filters = {name: value for name, value in request.args.items() if name != "cursor" and value}
    return render_template("audit.html", query=query, page=audit_page(query), filters=filters)
