"""`nomad jobs`, `nomad failures` and `nomad job`: list jobs, list why they failed, and show one job with its story."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from ..logs.counted import counted, verb_for
from ..queues.job import Job
from ..queues.models import Failure
from ..queues.search import JobFilter, parse_fields
from .options import Fields, Fingerprint, InQueue, JobId, JobTypeName, Json, Limit, QueueName, parse_states
from .report import ago, console, now_ms, parse_duration, print_json, print_line, styled, table
from .session import find_job, opened

#: Completed jobs are shown only on request.
DEFAULT_STATES = "active,waiting,paused,delayed,failed"


def jobs(
    queue: QueueName,
    status: Annotated[
        str,
        typer.Option("--status", "-s", help="States, separated by commas. Completed jobs are shown only on request."),
    ] = DEFAULT_STATES,
    limit: Limit = 20,
    job_type: JobTypeName = None,
    field: Fields = None,
    fingerprint: Fingerprint = None,
    since: Annotated[
        str | None, typer.Option(metavar="AGE", help="Ended, due or added within this time, such as 30m, 2h or 1d.")
    ] = None,
    cursor: Annotated[str | None, typer.Option(metavar="CURSOR", help="Show the next page.")] = None,
    json: Json = False,
) -> None:
    """List a queue's jobs: running, waiting, delayed, then failed ones.

    With a field or a fingerprint: newest first, whatever their state.
    """
    job_filter = JobFilter(
        states=parse_states(status),
        job_type=job_type,
        fields=parse_fields(field or []),
        fingerprint=fingerprint,
        since_ms=None if since is None else int(now_ms()) - parse_duration(since, "--since"),
    )
    with opened() as access:
        chosen = access.queues.get_queue(queue)
        page = chosen.find(job_filter, limit=limit, cursor=cursor)
        cancelled = chosen.snapshot(window_seconds=0).cancelled if "failed" in job_filter.states else 0
    if json:
        print_json({"jobs": [job.as_json() for job in page.jobs], "nextCursor": page.next_cursor})
        return
    console().print(_table(page.jobs) if page.jobs else styled(_none_found(queue, job_filter)))
    if any(job.outcome == "cancelled" for job in page.jobs):
        print_line(
            f"{counted(cancelled, 'failed job')} of {queue} {verb_for(cancelled, 'was', 'were')} cancelled. "
            f"See why the others failed: nomad failures {queue}",
            err=True,
        )
    if page.next_cursor is not None:
        print_line(f"There may be more jobs. See the next page: --cursor {page.next_cursor}", err=True)


def _none_found(queue: str, job_filter: JobFilter) -> str:
    *most, last = job_filter.states
    states = f"{', '.join(most)} or {last}" if most else last
    filters = (job_filter.job_type, job_filter.fields, job_filter.fingerprint, job_filter.since_ms)
    return f"Queue {queue} has no {states} job" + (" that matches the filters." if any(filters) else ".")


def failures(queue: QueueName, limit: Limit = 20, json: Json = False) -> None:
    """List why a queue's jobs failed: one line per failure group, latest first."""
    with opened() as access:
        page = access.queues.get_queue(queue).failures(limit=limit)
    if json:
        groups = [Failure.of(each).as_json() for each in page.failure_groups]
        print_json({"failures": groups, "nextCursor": page.next_cursor})
        return
    now = now_ms()
    rows = [
        [f.fingerprint, str(f.count), ago(int(f.first_ms), now), ago(int(f.last_ms), now), f.in_words()]
        for f in page.failure_groups
    ]
    headings = ["FINGERPRINT", "JOBS", "FIRST", "LAST", "WHY"]
    console().print(table(headings, rows, right=("JOBS",)) if rows else f"Queue {queue} has no failed job.")


def _table(jobs: Sequence[Job]) -> Text:
    has_several_types = len({job.name for job in jobs}) > 1
    headings = ["ID", *(["TYPE"] if has_several_types else []), "STATUS", "TRIES", "WHEN", "WHAT"]
    now = now_ms()
    rows = [
        [
            job.id,
            *([job.name] if has_several_types else []),
            "cancelled" if job.outcome == "cancelled" else job.status,
            f"{job.attempts_made}/{job.opts.attempts}",
            # When a delayed job is due, else when the job last changed.
            ago(job.due_ms or job.finished_on_ms or job.processed_on_ms or job.timestamp_ms, now),
            _detail(job),
        ]
        for job in jobs
    ]
    return table(headings, rows, right=("TRIES",))


def _detail(job: Job) -> str:
    """Return why the job failed, else its progress, else its data."""
    if job.failed_reason:
        return " ".join(job.failed_reason.split())[:200]
    if job.status == "active" and job.progress:
        return f"{job.progress:g} %"
    return " ".join(f"{name}={value}" for name, value in job.data.items())[:200]


def job(job_id: JobId, queue: InQueue = None, json: Json = False) -> None:
    """Show one job of any queue: its data, its story with every error, why it waits or ended, and what to do next."""
    from .explain import explain
    from .story import show

    with opened() as access:
        found_in, found = find_job(access, job_id, queue)
        explanation = explain(access.clock, found_in, found)
    if json:
        print_json({**found.as_json(), "why": explanation.why, "next": explanation.next})
    else:
        show(found, explanation)
