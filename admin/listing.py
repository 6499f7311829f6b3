"""Pages of a queue's jobs, for the API and the web pages."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, WithJsonSchema

from nomad_actors.broker.states import OUTCOMES, STATE_NAMES, State
from nomad_actors.errors import JobNotFound
from nomad_actors.queues import Queue
from nomad_actors.queues.job import Job
from nomad_actors.queues.search import MAX_LIMIT, JobFilter, parse_fields

from .api.models import JobPage
from .inputs import Input

#: A timestamp in ms since the epoch.
Instant = Annotated[int, Field(ge=0, le=10**15 - 1)]
#: The value of an indexed field.
FieldValue = Annotated[str, Field(max_length=500)]
MAX_FIELDS = 20
OUTCOME = {"type": "string", "enum": list(OUTCOMES)}
STATE = {"type": "string", "enum": sorted(map(str, STATE_NAMES))}


class JobsQuery(Input):
    """Filter of a queue's jobs."""

    # The queue checks the names: its error suggests the nearest one.
    status: Annotated[str | None, WithJsonSchema({"type": "array", "minItems": 1, "items": STATE})] = Field(
        default=None,
        description="one or more states; by default those of the outcome or the fingerprint, else waiting",
    )
    outcome: Annotated[str | None, WithJsonSchema({"type": "array", "minItems": 1, "items": OUTCOME})] = Field(
        default=None, description="one or more outcomes; by default all"
    )
    type: str = Field(default="", description="only jobs of this type")
    field: list[FieldValue] = Field(
        default_factory=list,
        max_length=MAX_FIELDS,
        description="name=value of an indexed field of the data; all must match",
    )
    fingerprint: str = Field(default="", description="fingerprint of a failure group: only its jobs")
    since: Instant | None = Field(
        default=None, description="ended, due or added at this time or later, ms since the epoch"
    )
    until: Instant | None = Field(
        default=None, description="ended, due or added at this time or earlier, ms since the epoch"
    )
    limit: int = Field(default=10, ge=1, le=MAX_LIMIT)
    cursor: str = Field(default="", description="`nextCursor` of the previous response")


def split_values(text: str) -> tuple[str, ...]:
    """Return the comma-separated values of a parameter, without duplicates."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",")))


def job_filter(query: JobsQuery, *, status: str = "") -> JobFilter:
    """Return the filter of a query; `status` are the states if the query names none.

    Raises `BadInput` for a field without a value.
    """
    return JobFilter(
        states=split_values(status if query.status is None else query.status),
        outcomes=() if query.outcome is None else split_values(query.outcome),
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


def page_of(queue: Queue, query: JobsQuery, *, status: str) -> JobPage:
    """Return a page of the matching jobs; `status` are the states if the query names none.

    Raises `UnknownState`, `UnknownJobType`, and `BadInput` for an invalid field, fingerprint or cursor.
    """
    selected = job_filter(query, status=status)
    found = queue.find(selected, limit=query.limit, cursor=query.cursor or None)
    total, is_exact = queue.count(selected)
    return JobPage.model_construct(
        jobs=list(found.jobs), total=total, total_is_exact=is_exact, next_cursor=found.next_cursor
    )


def find_job(queue: Queue, job_id: str) -> Job:
    """Return a job, or raise `JobNotFound`."""
    job = queue.get(job_id)
    if job is None:
        raise JobNotFound(f"queue {queue.name!r} has no job {job_id!r}")
    return job
