"""What commands read off a job, when things happened to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..job import Job


def changed_ms(job: Job) -> int:
    """Return when something last happened to a job: its end, else its start, else its coming."""
    return job.finished_on_ms or job.processed_on_ms or job.timestamp_ms


def due_ms_of(job: Job) -> int:
    """Return when a delayed job is due: as its story last said, else by the delay that it was added with."""
    for event in reversed(job.timeline):
        due = event.get("due")
        if isinstance(due, int):
            return due
    return job.timestamp_ms + job.delay_ms
