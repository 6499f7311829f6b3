"""Waits for the end of a job, and shows its progress and log on standard error. The caller prints the result."""

from __future__ import annotations

import sys
import time

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from ..errors import JobNotFound, NomadError
from ..queues.job import Job
from ..queues.queue import Queue
from .report import console, duration, printable, styled

#: How often the job is read: often at first, for short jobs.
_FIRST_POLL_SECONDS = 0.02
_POLL_SECONDS = 0.5


def wait_for(queue: Queue, job_id: str, timeout_ms: int | None) -> Job:
    """Show a job's progress and log until it has ended, then return it.

    Raises `JobNotFound`, and `NomadError` after `timeout_ms`.
    """
    out = console(stderr=True)
    deadline = None if timeout_ms is None else time.monotonic() + timeout_ms / 1000
    poll_seconds, lines_written = _FIRST_POLL_SECONDS, 0
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("waiting", total=100)
        while True:
            job = queue.get(job_id)
            if job is None:
                raise JobNotFound(f"job {job_id!r} of queue {queue.name!r} was removed, or trimmed by its retention")
            note = job.progress_detail["note"] if job.progress_detail else ""
            bar.update(task, completed=job.progress, description=printable(f"{job.status} {note}".rstrip()))
            lines_written = _write_log(job, lines_written, bar)
            if job.outcome is not None:
                return job
            if deadline is not None and time.monotonic() >= deadline:
                raise NomadError(
                    f"job {job_id} is still {job.status} after {duration(timeout_ms)}; it continues: nomad job {job_id}"
                )
            time.sleep(poll_seconds)
            poll_seconds = min(_POLL_SECONDS, poll_seconds * 1.5)


def _write_log(job: Job, lines_written: int, bar: Progress) -> int:
    """Write the new lines of a job's log; return how many lines the log has had so far."""
    first = max(0, lines_written - job.log_lines_left_out)
    for line in job.log[first:]:
        bar.console.print(styled(f"  {line['line']}"))
    return job.log_lines_left_out + len(job.log)
