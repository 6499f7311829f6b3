"""A page of a queue's jobs as a query asks for it, for the API and the pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, WithJsonSchema

from nomad_actors.broker.states import STATE_NAMES
from nomad_actors.finding import MAX_LIMIT, JobFilter, parse_fields
from nomad_actors.job import Job
from nomad_actors.queues import Queue

from .inputs import Query

#: Beyond every instant (ms since the epoch) that there will be.
MAX_INSTANT_MS = 10**15 - 1
_STATES = {"type": "array", "minItems": 1, "items": {"type": "string", "enum": sorted(map(str, STATE_NAMES))}}


class OfJobs(Query):
    """Which jobs of a queue are listed."""

    # Its words are checked by the queue, which names the nearest.
    status: Annotated[str, WithJsonSchema(_STATES)] = Field(default="waiting", description="one state or several")
    type: str = Field(default="", description="of this job type alone")
    field: list[str] = Field(
        default_factory=list, description="name=value of an indexed field of the data; each must fit"
    )
    fingerprint: str = Field(default="", description="failed for this reason, as the list of failures names it")
    since: int | None = Field(
        default=None, ge=0, le=MAX_INSTANT_MS, description="ended, due or added at this instant or later, ms"
    )
    until: int | None = Field(default=None, ge=0, le=MAX_INSTANT_MS, description="at this instant or before, ms")
    limit: int = Field(default=10, ge=1, le=MAX_LIMIT)
    cursor: str = Field(default="", description="the last answer's `nextCursor`")


@dataclass(frozen=True)
class Page:
    """Some jobs, how many there are (no more than `total`, unless it is exact), and where the next page begins."""

    statuses: Sequence[str]
    jobs: Sequence[Job]
    total: int
    is_exact: bool
    next_cursor: str | None


def sought_by(query: OfJobs, *, status: str = "") -> JobFilter:
    """Return which jobs a query asks for; in states `status` when it names none.

    Raises `BadInput` for a field without a value.
    """
    return JobFilter(
        states=tuple(dict.fromkeys(word.strip() for word in (query.status or status).split(","))),
        job_type=query.type or None,
        # A form sends what was left empty too.
        fields=parse_fields([text for text in query.field if text]),
        fingerprint=query.fingerprint or None,
        since_ms=query.since,
        until_ms=query.until,
    )


def page_of(queue: Queue, query: OfJobs, *, status: str = "") -> Page:
    """Return the jobs that are asked for; in states `status` when the query names none.

    Raises `UnknownState`, `UnknownJobType`, and `BadInput` for a field, a fingerprint or a cursor that is none.
    """
    sought = sought_by(query, status=status)
    found = queue.find(sought, limit=query.limit, cursor=query.cursor or None)
    total, is_exact = queue.count(sought)
    return Page(sought.states, found.jobs, total, is_exact, found.next_cursor)
