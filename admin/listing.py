"""A page of a queue's jobs as a query asks for it, for the API and the pages."""

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

#: Beyond every instant (ms since the epoch) that there will be.
MAX_INSTANT_MS = 10**15 - 1
#: Of a value that jobs are found by.
MAX_VALUE_CHARS = 500
_OUTCOMES = {"type": "array", "items": {"type": "string", "enum": list(OUTCOMES)}}
_STATES = {"type": "array", "minItems": 1, "items": {"type": "string", "enum": sorted(map(str, STATE_NAMES))}}


class OfJobs(Query):
    """Which jobs of a queue are listed."""

    # Its words are checked by the queue, which names the nearest.
    status: Annotated[str | None, WithJsonSchema(_STATES)] = Field(
        default=None,
        description="one state or several; left out, those of the outcome or the fingerprint, else waiting",
    )
    outcome: Annotated[str, WithJsonSchema(_OUTCOMES)] = Field(
        default="", description="how they ended, one way or several; all ways when it is left out"
    )
    type: str = Field(default="", description="of this job type alone")
    field: list[Annotated[str, Field(max_length=MAX_VALUE_CHARS)]] = Field(
        default_factory=list, max_length=20, description="name=value of an indexed field of the data; each must fit"
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


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a parameter that takes several with commas between them, each once."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",")))


def sought_by(query: OfJobs, *, status: str = "") -> JobFilter:
    """Return which jobs a query asks for; in states `status` when it names none.

    Raises `BadInput` for a field without a value.
    """
    outcomes = words_of(query.outcome) if query.outcome else ()
    return JobFilter(
        states=words_of(query.status or status),
        outcomes=outcomes,
        job_type=query.type or None,
        fields=parse_fields(fields_of(query)),
        fingerprint=query.fingerprint or None,
        since_ms=query.since,
        until_ms=query.until,
    )


def fields_of(query: OfJobs) -> list[str]:
    """Return the fields that are asked for: a form sends what was left empty too."""
    return [text for text in query.field if text]


def states_of(query: OfJobs) -> str:
    """Return the states that a query is about which names none."""
    if query.outcome:
        found = dict.fromkeys(OUTCOMES[word].value for word in words_of(query.outcome) if word in OUTCOMES)
        return ",".join(found) or State.WAITING.value
    # Only failed jobs have one.
    return State.FAILED.value if query.fingerprint else State.WAITING.value


def page_of(queue: Queue, query: OfJobs, *, status: str) -> Page:
    """Return the jobs that are asked for; in states `status` when the query names none.

    Raises `UnknownState`, `UnknownJobType`, and `BadInput` for a field, a fingerprint or a cursor that is none.
    """
    sought = sought_by(query, status=status)
    found = queue.find(sought, limit=query.limit, cursor=query.cursor or None)
    total, is_exact = queue.count(sought)
    return Page(sought.states, found.jobs, total, is_exact, found.next_cursor)
