"""The demo's summary: one row per job type, from the jobs themselves."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from nomad_actors.queues import Queues

#: No queue has more first jobs.
MAX_JOBS = 5_000


@dataclass(frozen=True)
class Row:
    """One job type: the number of jobs, their outcomes, their wait and run times (ms)."""

    job_type: str
    jobs: int
    completed: int
    failed: int
    waits_ms: Sequence[int]
    runs_ms: Sequence[int]
    reasons: Sequence[str]


def read(queues: Queues) -> list[Row]:
    """Return one row per job type."""
    return [_row(queues, name, job_type.queue) for name, job_type in queues.job_types.items()]


def _row(queues: Queues, name: str, queue_name: str) -> Row:
    queue = queues.get_queue(queue_name)
    unfinished = queue.jobs(["waiting", "paused", "delayed", "active"], 0, MAX_JOBS)
    ended = [j for j in queue.jobs(["completed", "failed"], 0, MAX_JOBS) if j.name == name]
    failed = [job for job in ended if job.status == "failed"]
    return Row(
        job_type=name,
        jobs=len(ended) + sum(job.name == name for job in unfinished),
        completed=len(ended) - len(failed),
        failed=len(failed),
        waits_ms=[max(0, (job.processed_on_ms or 0) - job.timestamp_ms - job.opts.delay_ms) for job in ended],
        runs_ms=[(job.finished_on_ms or 0) - (job.processed_on_ms or 0) for job in ended],
        reasons=[f"{name} {job.id}: {job.failed_reason}" for job in failed],
    )


def table(rows: Sequence[Row]) -> Table:
    """Return the demo's final table."""
    shown = Table(title="What ran")
    shown.add_column("job type")
    for heading in ("jobs", "completed", "failed", "wait p50", "wait p95", "run p50", "run p95"):
        shown.add_column(heading, justify="right")
    for row in rows:
        shown.add_row(
            row.job_type,
            str(row.jobs),
            str(row.completed),
            str(row.failed),
            *(_ms(values, percent) for values in (row.waits_ms, row.runs_ms) for percent in (50, 95)),
        )
    return shown


def _ms(values: Sequence[int], percent: int) -> str:
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:,} ms"
    cut = statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
    return f"{cut:,.0f} ms"
