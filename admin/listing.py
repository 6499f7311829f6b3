"""A page of a queue's jobs, for the API and the pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nomad_actors.errors import UnknownState
from nomad_actors.job import Job
from nomad_actors.queues import Queue

MAX_LIMIT = 1000
#: A cursor is how many jobs were shown before; no queue holds more.
MAX_CURSOR = 10**12


@dataclass(frozen=True)
class Page:
    """Some jobs, how many there are of their states, and where the next page begins (None after the last)."""

    statuses: Sequence[str]
    jobs: Sequence[Job]
    total: int
    next_cursor: str | None


def page_of(queue: Queue, status: str, start: int, limit: int) -> Page:
    """Return up to `limit` jobs from the `start`-th on, of one state or of several with commas between them.

    Jobs move while pages are turned: one may be seen twice or not at all, as in any list that changes.

    Raises `UnknownState`.
    """
    counts = queue.counts()
    statuses = list(dict.fromkeys(word.strip() for word in status.split(",")))
    for word in statuses:
        if word not in counts:
            raise UnknownState(word[:80], counts)
    jobs = queue.jobs(statuses, start, start + limit - 1)
    total, end = sum(counts[word] for word in statuses), start + len(jobs)
    return Page(statuses, jobs, total, str(end) if jobs and end < total else None)
