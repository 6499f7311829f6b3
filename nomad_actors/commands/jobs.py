"""`nomad jobs` and `nomad job`: lists of jobs, and one job with its story."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .options import InQueue, Json
from .report import ago, console, now_ms, parse_duration, print_json, table
from .session import holding, opened, patient

if TYPE_CHECKING:
    from rich.text import Text

    from ..job import Job

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
        list[str] | None, typer.Option("--field", "-f", metavar="NAME=VALUE", help="By a field of the data; repeat it.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="AGE", help="Changed within this time, as 30m, 2h or 1d.")
    ] = None,
    json: Json = False,
) -> None:
    """List a queue's jobs: running ones first, then those that wait, are delayed, and failed."""
    from .search import MAX_LOOKED, Wanted, find, parse_fields

    since_ms = None if since is None else now_ms() - parse_duration(since, "--since")
    states = list(dict.fromkeys(word.strip() for word in status.split(",")))
    with opened() as access:
        found = find(
            access.queues.get_queue(queue), states, Wanted(job_type, parse_fields(field or []), since_ms), limit
        )
    if json:
        told = {"jobs": [job.as_json() for job in found.jobs], "looked": found.looked, "complete": found.complete}
        print_json(told)
        return
    console().print(_table(found.jobs) if found.jobs else "no such job")
    if found.looked >= MAX_LOOKED:
        typer.echo(f"only the first {found.looked} jobs were looked at", err=True)
    elif not found.complete:
        typer.echo(f"the first {len(found.jobs)}; more with --limit", err=True)


def _table(jobs: list[Job]) -> Text:
    several = len({job.name for job in jobs}) > 1
    headings = ["ID", *(["TYPE"] if several else []), "STATUS", "TRIES", "WHEN", "WHAT"]
    now = now_ms()
    rows = []
    for job in jobs:
        kind = [job.name] if several else []
        rows.append(
            [job.id, *kind, job.status, f"{job.attempts_made}/{job.attempts}", ago(_when(job), now), _what(job)]
        )
    return table(headings, rows, right=("TRIES",))


def _when(job: Job) -> int:
    from .search import changed_ms, due_ms_of

    return due_ms_of(job) if job.status == "delayed" else changed_ms(job)


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
        why = explain(patient(access), held_in, found)
    if json:
        print_json({**found.as_json(), "worker": why.worker, "why": why.why, "next": why.next})
    else:
        show(found, why)
