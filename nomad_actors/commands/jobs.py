"""`nomad jobs`, `nomad failures` and `nomad job`: lists of jobs, why they failed, and one job with its story."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..logs.counted import agreeing, counted
from .options import InQueue, Json, states_of
from .report import ago, console, now_ms, parse_duration, print_json, say, styled, table
from .session import holding, opened

if TYPE_CHECKING:
    from rich.text import Text

    from ..queues.job import Job
    from ..queues.search import JobFilter

#: What an operator asks about; what has completed must be asked for.
DEFAULT_STATES = "active,waiting,paused,delayed,failed"


def jobs(
    queue: Annotated[str, typer.Argument(metavar="QUEUE")],
    status: Annotated[
        str, typer.Option("--status", "-s", help="States with commas between them; completed must be asked for.")
    ] = DEFAULT_STATES,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000)] = 20,
    job_type: Annotated[str | None, typer.Option("--type", "-t", metavar="JOBTYPE")] = None,
    field: Annotated[
        list[str] | None,
        typer.Option("--field", "-f", metavar="NAME=VALUE", help="By an indexed field of the data; repeat it."),
    ] = None,
    fingerprint: Annotated[
        str | None, typer.Option(metavar="HEX", help="Failed for this reason: nomad failures.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="AGE", help="Ended, due or added within this time, as 30m, 2h or 1d.")
    ] = None,
    cursor: Annotated[str | None, typer.Option(metavar="CURSOR", help="Go on where the last page ended.")] = None,
    json: Json = False,
) -> None:
    """List a queue's jobs: running ones first, then those that wait, are delayed, and failed.

    By a field or a fingerprint: newest first, whatever their state.
    """
    from ..queues.search import JobFilter, parse_fields

    sought = JobFilter(
        states=states_of(status),
        job_type=job_type,
        fields=parse_fields(field or []),
        fingerprint=fingerprint,
        since_ms=None if since is None else int(now_ms()) - parse_duration(since, "--since"),
    )
    with opened() as access:
        chosen = access.queues.get_queue(queue)
        page = chosen.find(sought, limit=limit, cursor=cursor)
        cancelled = chosen.snapshot(window_seconds=0).cancelled if "failed" in sought.states else 0
    if json:
        print_json({"jobs": [job.as_json() for job in page.jobs], "nextCursor": page.next_cursor})
        return
    console().print(_table(page.jobs) if page.jobs else styled(_none_found(queue, sought)))
    if any(job.outcome == "cancelled" for job in page.jobs):
        say(
            f"{counted(cancelled, 'failed job')} of {queue} {agreeing(cancelled, 'was', 'were')} cancelled; "
            f"why the others failed: nomad failures {queue}",
            err=True,
        )
    if page.next_cursor is not None:
        say(f"there may be more: --limit, or --cursor {page.next_cursor}", err=True)


def _none_found(queue: str, sought: JobFilter) -> str:
    *most, last = sought.states
    states = f"{', '.join(most)} or {last}" if most else last
    filters = (sought.job_type, sought.fields, sought.fingerprint, sought.since_ms)
    return f"no job of {queue} is {states}" + (" and what else was asked for" if any(filters) else "")


def failures(
    queue: Annotated[str, typer.Argument(metavar="QUEUE")],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000)] = 20,
    json: Json = False,
) -> None:
    """List why a queue's jobs failed: those with one cause in one line, the one seen last first."""
    from ..queues.models import Failure

    with opened() as access:
        page = access.queues.get_queue(queue).failures(limit=limit)
    if json:
        print_json({"failures": [Failure.of(fault).as_json() for fault in page.faults], "nextCursor": page.next_cursor})
        return
    now = now_ms()
    rows = [
        [f.fingerprint, str(f.count), ago(int(f.first_ms), now), ago(int(f.last_ms), now), f.in_words()]
        for f in page.faults
    ]
    headings = ["FINGERPRINT", "JOBS", "FIRST", "LAST", "WHY"]
    console().print(table(headings, rows, right=("JOBS",)) if rows else "no failed job is kept")


def _table(jobs: Sequence[Job]) -> Text:
    several = len({job.name for job in jobs}) > 1
    headings = ["ID", *(["TYPE"] if several else []), "STATUS", "TRIES", "WHEN", "WHAT"]
    now = now_ms()
    rows = []
    for job in jobs:
        kind = [job.name] if several else []
        rows.append(
            [job.id, *kind, _status(job), f"{job.attempts_made}/{job.attempts}", ago(_when(job), now), _what(job)]
        )
    return table(headings, rows, right=("TRIES",))


def _status(job: Job) -> str:
    return "cancelled" if job.outcome == "cancelled" else job.status


def _when(job: Job) -> int:
    """Return when a delayed job is due, else when something last happened to the job."""
    return job.due_ms or job.finished_on_ms or job.processed_on_ms or job.timestamp_ms


def _what(job: Job) -> str:
    """Return the one thing to know of a job: why it failed, how far it is, else its data."""
    if job.failed_reason:
        return " ".join(job.failed_reason.split())[:200]
    if job.status == "active" and job.progress:
        return f"{job.progress:g} %"
    return " ".join(f"{name}={value}" for name, value in job.data.items())[:200]


def job(
    job_id: Annotated[str, typer.Argument(metavar="ID")],
    queue: InQueue = None,
    json: Json = False,
) -> None:
    """Show one job, wherever it is: what it is, its story with every error, why it waits or ended, what to do next."""
    from .explain import explain
    from .story import show

    with opened() as access:
        held_in, found = holding(access, job_id, queue)
        why = explain(access.clock, held_in, found)
    if json:
        print_json({**found.as_json(), "why": why.why, "next": why.next})
    else:
        show(found, why)
