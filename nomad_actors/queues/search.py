"""Finds and counts the jobs of one queue that match a filter, page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..broker.client.finder import Finder, Found, Span
from ..broker.client.steps import Steps
from ..broker.records.failures import FailureGroup
from ..broker.records.stored_job import StoredJob
from ..broker.records.tags import TERM_BYTES, term
from ..broker.states import OUTCOMES, PAUSED, STATE_NAMES, State, state_named
from ..errors import BadInput, UnknownJobType, UnknownState
from .as_job import outcome_of
from .job import Job
from .job_type import JobType

MAX_LIMIT = 1000


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """Selects jobs; a field that is not set matches all jobs.

    `fields` are indexed fields of the payload. `since_ms` and `until_ms` compare the end of ended jobs, the due time of
    delayed ones and the creation of others; with a field they compare the creation, with a fingerprint the failure.
    """

    states: Sequence[str] = ()
    #: How they ended; selects ended jobs only.
    outcomes: Sequence[str] = ()
    job_type: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    #: Leaves out jobs that entered their state after this instant (ms by Redis' clock).
    entered_by_ms: float | None = None

    def matches(self, job: StoredJob) -> bool:
        """Return True if a job matches the job type, outcomes and fields, and did not enter its state too late."""
        if self.entered_by_ms is not None and job.entered_ms() > self.entered_by_ms:
            return False
        if self.outcomes and outcome_of(job) not in self.outcomes:
            return False
        if self.job_type is None and not self.fields:
            return True
        message = job.message
        if message is None or (self.job_type is not None and message.actor_name != self.job_type):
            return False
        return all(_has(message.kwargs.get(name), value) for name, value in self.fields.items())

    def stored_states(self, *, paused: bool | None) -> list[State]:
        """Return the states to read from Redis: in a paused queue `paused` means waiting jobs, and `waiting` no jobs.

        With None both mean waiting jobs, whether or not the queue is paused.
        """
        empty = {False: PAUSED, True: State.WAITING.value, None: ""}[paused]
        names = [name for name in self.states or STATE_NAMES if name != empty]
        states = list(dict.fromkeys(map(state_named, names)))
        ended = {OUTCOMES[outcome] for outcome in self.outcomes}
        return [state for state in states if state in ended] if ended else states

    def only_failed_outcome(self) -> str:
        """Return `failed` or `cancelled` if only one of them is selected, else ''."""
        chosen = [outcome for outcome in self.outcomes if OUTCOMES[outcome] is State.FAILED]
        return chosen[0] if len(set(chosen)) == 1 else ""


@dataclass(frozen=True)
class JobPage:
    """One page of jobs and the cursor of the next page; None after the last.

    A page may have fewer jobs than the limit, or none, although more follow: each call reads a limited number of jobs.
    """

    jobs: Sequence[Job]
    next_cursor: str | None
    #: The cursor after each of the jobs; empty for lists by a field or a fingerprint.
    cursors: Sequence[str] = ()


@dataclass(frozen=True)
class FailurePage:
    """One page of failure groups, the last seen first, and the cursor of the next page."""

    failure_groups: Sequence[FailureGroup]
    next_cursor: str | None


def parse_fields(texts: Sequence[str]) -> dict[str, str]:
    """Return `name=value` texts as a mapping.

    Raises `BadInput` for a text without `=`, and for a field that is named twice.
    """
    fields = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not mark or not name:
            raise BadInput(f"field {text[:80]!r} is invalid (allowed: name=value, as character_id=123)")
        if name in fields:
            raise BadInput(f"field {name[:80]!r} is named twice (allowed: each field once; all must fit)")
        fields[name] = value
    return fields


def check(job_filter: JobFilter, job_types: Sequence[JobType], names: Sequence[str], limit: int) -> None:
    """Check that a search is possible.

    Raises `UnknownState`, `UnknownJobType`, and `BadInput` naming the outcomes or fields that jobs can be found by.
    """
    if job_filter.job_type is not None and job_filter.job_type not in names:
        raise UnknownJobType(job_filter.job_type[:80], names)
    for name in job_filter.states:
        if name not in STATE_NAMES:
            raise UnknownState(name[:80], STATE_NAMES)
    for outcome in job_filter.outcomes:
        if outcome not in OUTCOMES:
            words = ", ".join(OUTCOMES)
            raise BadInput(f"outcome {outcome[:80]!r} is invalid (allowed: {words})", accepted=list(OUTCOMES))
    indexed = sorted({name for job_type in job_types for name in job_type.indexed})
    for name in job_filter.fields:
        if name not in indexed:
            words = ", ".join(indexed) or "none: no job type of this queue declares any"
            raise BadInput(f"jobs cannot be found by field {name[:80]!r} (allowed: {words})", accepted=indexed)
    if not 1 <= limit <= MAX_LIMIT:
        raise BadInput(f"limit {limit} is invalid (allowed: a whole number from 1 to {MAX_LIMIT})")


def find(
    finder: Finder, job_filter: JobFilter, states: Sequence[State], *, limit: int, cursor: str | None
) -> Steps[Found]:
    """Read stored jobs and the next cursor: by fingerprint, else by a field, else through the states.

    Raises `BadInput` for an invalid cursor or fingerprint.
    """
    span, matches = Span(job_filter.since_ms, job_filter.until_ms), job_filter.matches
    chosen = yield from _rarest_term(finder, job_filter)
    if chosen is not None:
        return (yield from finder.by_term(chosen, states, span, matches, limit=limit, cursor=cursor))
    of_failed = job_filter.only_failed_outcome()
    return (yield from finder.by_state(states, span, matches, limit=limit, cursor=cursor, of_failed=of_failed))


def terms_of(job_filter: JobFilter) -> list[bytes]:
    """Return the terms of the filter's fields and, last, of its fingerprint.

    Raises `BadInput` for an invalid fingerprint.
    """
    terms = [term(name, value) for name, value in job_filter.fields.items()]
    return terms if job_filter.fingerprint is None else [*terms, _fingerprint_term(job_filter.fingerprint)]


def count(
    job_filter: JobFilter, counts: Mapping[str, int], cancelled: int, with_terms: Sequence[int]
) -> tuple[int, bool]:
    """Return how many jobs a filter matches, and whether that is exact; else it is an upper limit.

    `counts` are the counts by state, `cancelled` is how many failed jobs an operator cancelled, `with_terms` is how
    many jobs have each of the filter's terms.
    """
    timed = job_filter.since_ms is not None or job_filter.until_ms is not None
    if job_filter.outcomes:
        return _count_ended(job_filter, counts, cancelled, with_terms, timed)
    of_states = sum(counts[name] for name in job_filter.states or counts)
    if job_filter.fingerprint is not None:
        # Only failed jobs have a fingerprint.
        if job_filter.states and State.FAILED not in job_filter.states:
            return 0, True
        exact = job_filter.job_type is None and not job_filter.fields and not timed
        return with_terms[-1], exact
    if job_filter.fields:
        exact = len(with_terms) == 1 and not timed and job_filter.job_type is None and not job_filter.states
        return min(*with_terms, of_states), exact
    return of_states, not timed and job_filter.job_type is None


def _count_ended(
    job_filter: JobFilter, counts: Mapping[str, int], cancelled: int, with_terms: Sequence[int], timed: bool
) -> tuple[int, bool]:
    states = [name for name in job_filter.states or counts if name in OUTCOMES.values()]
    failed = {"": counts["failed"], "cancelled": cancelled, "failed": counts["failed"] - cancelled}[
        job_filter.only_failed_outcome()
    ]
    by_state = {State.COMPLETED: counts["completed"], State.FAILED: failed}
    ended = {OUTCOMES[outcome] for outcome in job_filter.outcomes} & {State(name) for name in states}
    count = sum(by_state[state] for state in ended)
    if with_terms:
        return min(count, *with_terms), not count
    # Completed and skipped jobs have one count.
    is_counted = State.COMPLETED not in ended or {"completed", "skipped"} <= set(job_filter.outcomes)
    return count, not timed and job_filter.job_type is None and is_counted


def _rarest_term(finder: Finder, job_filter: JobFilter) -> Steps[bytes | None]:
    terms = terms_of(job_filter)
    if job_filter.fingerprint is not None or len(terms) < 2:
        return terms[-1] if terms else None
    counts = yield list(map(finder.count_call, terms))
    return terms[counts.index(min(counts))]


def _fingerprint_term(fingerprint: str) -> bytes:
    try:
        raw = bytes.fromhex(fingerprint)
    except ValueError:
        raw = b""
    if len(raw) != TERM_BYTES:
        allowed = f"{2 * TERM_BYTES} hexadecimal digits, as the list of failures has them"
        raise BadInput(f"fingerprint {fingerprint[:80]!r} is invalid (allowed: {allowed})", accepted=[allowed])
    return raw


def _has(value: object, searched: str) -> bool:
    values = value if isinstance(value, (list, tuple)) else [value]
    return any(term("", each) == term("", searched) for each in values)
