"""Pages of a queue's jobs, for the API and the web pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, WithJsonSchema

from nomad_actors.broker.states import OUTCOMES, STATE_NAMES, State
from nomad_actors.queues import Queue
from nomad_actors.queues.job import Job
from nomad_actors.queues.search import MAX_LIMIT, JobFilter, parse_fields

from .inputs import Query

#: Larger than every timestamp (ms since the epoch).
MAX_INSTANT_MS = 10**15 - 1
#: The longest value of a filter.
MAX_VALUE_CHARS = 500
_OUTCOMES = {"type": "array", "items": {"type": "string", "enum": list(OUTCOMES)}}
_STATES = {"type": "array", "minItems": 1, "items": {"type": "string", "enum": sorted(map(str, STATE_NAMES))}}


class JobsQuery(Query):
    """Filter of a queue's jobs."""

    # The queue checks the names: its error suggests the nearest one.
    status: Annotated[str | None, WithJsonSchema(_STATES)] = Field(
        default=None,
        description="one or more states; by default those of the outcome or the fingerprint, else waiting",
    )
    outcome: Annotated[str, WithJsonSchema(_OUTCOMES)] = Field(
        default="", description="one or more outcomes; by default all"
    )
    type: str = Field(default="", description="only jobs of this type")
    field: list[Annotated[str, Field(max_length=MAX_VALUE_CHARS)]] = Field(
        default_factory=list, max_length=20, description="name=value of an indexed field of the data; all must match"
    )
    fingerprint: str = Field(default="", description="fingerprint of a failure group: only its jobs")
    since: int | None = Field(
        default=None,
        ge=0,
        le=MAX_INSTANT_MS,
        description="ended, due or added at this time or later, ms since the epoch",
    )
    until: int | None = Field(
        default=None,
        ge=0,
        le=MAX_INSTANT_MS,
        description="ended, due or added at this time or earlier, ms since the epoch",
    )
    limit: int = Field(default=10, ge=1, le=MAX_LIMIT)
    cursor: str = Field(default="", description="`nextCursor` of the previous response")


@dataclass(frozen=True)
class Page:
    """One page of jobs. `total` counts all matching jobs; it is an upper bound if `is_exact` is False."""

    statuses: Sequence[str]
    jobs: Sequence[Job]
    total: int
    is_exact: bool
    next_cursor: str | None


def split_values(text: str) -> tuple[str, ...]:
    """Return the comma-separated values of a parameter, without duplicates."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",")))


def job_filter(query: JobsQuery, *, status: str = "") -> JobFilter:
    """Return the filter of a query; `status` are the states if the query names none.

    Raises `BadInput` for a field without a value.
    """
    outcomes = split_values(query.outcome) if query.outcome else ()
    return JobFilter(
        states=split_values(query.status or status),
        outcomes=outcomes,
        job_type=query.type or None,
        fields=parse_fields(nonempty_fields(query)),
        fingerprint=query.fingerprint or None,
        since_ms=query.since,
        until_ms=query.until,
    )


def nonempty_fields(query: JobsQuery) -> list[str]:
    """Return the fields of the filter; a form also sends the inputs that were left empty."""
    return [text for text in query.field if text]


def states_of(query: JobsQuery) -> str:
    """Return the states of a query that names none, separated by commas."""
    if query.outcome:
        found = dict.fromkeys(OUTCOMES[word].value for word in split_values(query.outcome) if word in OUTCOMES)
        return ",".join(found) or State.WAITING.value
    # Only failed jobs have a fingerprint.
    return State.FAILED.value if query.fingerprint else State.WAITING.value


def page_of(queue: Queue, query: JobsQuery, *, status: str) -> Page:
    """Return a page of the matching jobs; `status` are the states if the query names none.

    Raises `UnknownState`, `UnknownJobType`, and `BadInput` for an invalid field, fingerprint or cursor.
    """
    filter_ = job_filter(query, status=status)
    found = queue.find(filter_, limit=query.limit, cursor=query.cursor or None)
    total, is_exact = queue.count(filter_)
    return Page(filter_.states, found.jobs, total, is_exact, found.next_cursor)
