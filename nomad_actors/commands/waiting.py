"""Waiting for a job's end: how far it is and what it says, on standard error; the end is the caller's to tell."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

# Here, where this module is imported late already: an import that Ctrl-C breaks off ends Python by the signal.
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from ..errors import JobNotFound, NomadError
from .report import console, duration, printable, styled

if TYPE_CHECKING:
    from ..queues.job import Job
    from ..queues.queue import Queue

#: How often the job is looked at: soon at first, for short jobs.
_FIRST_LOOK_SECONDS = 0.02
_LOOK_SECONDS = 0.5


class StillGoing(NomadError):
    """Raised when a job has not ended within the time that was given."""


def wait_for(queue: Queue, job_id: str, timeout_ms: int | None) -> Job:
    """Return a job when it has ended, showing its progress and log until then.

    Raises `StillGoing` when it takes longer than `timeout_ms`, `JobNotFound` when it is removed meanwhile.
    """
    out = console(stderr=True)
    deadline = None if timeout_ms is None else time.monotonic() + timeout_ms / 1000
    look, written = _FIRST_LOOK_SECONDS, 0
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("waiting", total=100)
        while True:
            job = queue.get(job_id)
            if job is None:
                raise JobNotFound(f"job {job_id!r} of queue {queue.name!r} was removed, or trimmed when it had ended")
            note = job.progress_detail["note"] if job.progress_detail else ""
            bar.update(task, completed=job.progress, description=printable(f"{job.status} {note}".rstrip()))
            written = _write_log(job, written, bar)
            if job.outcome is not None:
                return job
            if deadline is not None and time.monotonic() >= deadline:
                raise StillGoing(
                    f"job {job_id} is still {job.status} after {duration(timeout_ms)}; it goes on: nomad job {job_id}"
                )
            time.sleep(look)
            look = min(_LOOK_SECONDS, look * 1.5)


def _write_log(job: Job, written: int, bar: Progress) -> int:
    """Write the lines of a job's log that were not written yet; return how many there are."""
    first = max(0, written - job.log_lines_left_out)
    for line in job.log[first:]:
        bar.console.print(styled(f"  {line['line']}"))
    return job.log_lines_left_out + len(job.log)
