"""What jobs a caller or operator looks for, and what is found: one queue's, page after page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from ..broker.client.finder import BadCursor, Finder, Found, Span
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
    """Which jobs are looked for; what is not given is not asked about.

    `fields` are indexed fields of the payload; `since_ms` and `until_ms` are of the end of ended jobs, the due time of
    delayed ones and the adding of the others; with a field or a fingerprint they are of the adding, or the failing.
    """

    states: Sequence[str] = ()
    #: How they ended; only ended ones are meant then.
    outcomes: Sequence[str] = ()
    job_type: str | None = None
    fields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    fingerprint: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    #: In its state since this instant or before, ms by Redis' time: what comes into it later is not meant.
    entered_by_ms: float | None = None

    def accepts(self, job: StoredJob) -> bool:
        """Return whether a job is of the job type, has the values that are asked for, and did not come too late."""
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
        """Return the states as Redis knows them: a paused queue's waiting jobs are `paused`, and none is `waiting`.

        With None both words mean them, whether or not the queue is paused.
        """
        none_is = {False: PAUSED, True: State.WAITING.value, None: ""}[paused]
        names = [name for name in self.states or STATE_NAMES if name != none_is]
        states = list(dict.fromkeys(map(state_named, names)))
        ended = {OUTCOMES[outcome] for outcome in self.outcomes}
        return [state for state in states if state in ended] if ended else states

    def of_failed(self) -> str:
        """Return which of the failed jobs are meant, where that is one kind of them alone."""
        chosen = [outcome for outcome in self.outcomes if OUTCOMES[outcome] is State.FAILED]
        return chosen[0] if len(set(chosen)) == 1 else ""


@dataclass(frozen=True)
class JobPage:
    """Some jobs, and where the next page goes on; None after the last.

    A page may have fewer jobs than were asked for, also none, and go on all the same: only so many are looked through.
    """

    jobs: Sequence[Job]
    next_cursor: str | None
    #: Where the list would go on after each of the jobs; of lists by a field or a fingerprint that is not told.
    cursors: Sequence[str] = ()


@dataclass(frozen=True)
class FailurePage:
    """Why jobs failed, the fault seen last first, and where the next page goes on."""

    failure_groups: Sequence[FailureGroup]
    next_cursor: str | None


def parse_fields(texts: Sequence[str]) -> dict[str, str]:
    """Return `name=value` words as a mapping.

    Raises `BadInput` for a word without `=`, and for a field that is named twice.
    """
    fields = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not mark or not name:
            raise BadInput(f"field {text[:80]!r} is unusable (accepted: name=value, as character_id=123)")
        if name in fields:
            raise BadInput(f"field {name[:80]!r} is named twice (accepted: each field once; all must fit)")
        fields[name] = value
    return fields


def check(job_filter: JobFilter, job_types: Sequence[JobType], names: Sequence[str], limit: int) -> None:
    """Refuse what cannot be looked for.

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
            raise BadInput(f"outcome {outcome[:80]!r} is unusable (accepted: {words})", accepted=list(OUTCOMES))
    indexed = sorted({name for job_type in job_types for name in job_type.indexed})
    for name in job_filter.fields:
        if name not in indexed:
            words = ", ".join(indexed) or "none: no job type of this queue declares any"
            raise BadInput(f"jobs cannot be found by field {name[:80]!r} (accepted: {words})", accepted=indexed)
    if not 1 <= limit <= MAX_LIMIT:
        raise BadInput(f"limit {limit} is unusable (accepted: a whole number from 1 to {MAX_LIMIT})")


def find(
    finder: Finder, job_filter: JobFilter, states: Sequence[State], *, limit: int, cursor: str | None
) -> Steps[Found]:
    """Read stored jobs and the next cursor: by fingerprint, else by a field, else through the states.

    Raises `BadInput` for an invalid cursor or fingerprint.
    """
    span, accepts = Span(job_filter.since_ms, job_filter.until_ms), job_filter.accepts
    try:
        chosen = yield from _rarest_term(finder, job_filter)
        if chosen is not None:
            return (yield from finder.by_term(chosen, states, span, accepts, limit=limit, cursor=cursor))
        found = finder.by_state(states, span, accepts, limit=limit, cursor=cursor, of_failed=job_filter.of_failed())
        return (yield from found)
    except BadCursor as error:
        raise BadInput(f"cursor {cursor!r:.80} is unusable (accepted: a nextCursor of the same list)") from error


def terms_of(job_filter: JobFilter) -> list[bytes]:
    """Return the terms of the fields that are looked for and, last, of the fingerprint.

    Raises `BadInput` for an invalid fingerprint.
    """
    terms = [term(name, value) for name, value in job_filter.fields.items()]
    return terms if job_filter.fingerprint is None else [*terms, fingerprint_term(job_filter.fingerprint)]


def count(
    job_filter: JobFilter, counts: Mapping[str, int], cancelled: int, with_terms: Sequence[int]
) -> tuple[int, bool]:
    """Return how many jobs a filter matches, and whether that is exact; else no more than that.

    `counts` are those of the states, `cancelled` is how many of the failed ones an operator cancelled, `with_terms` is
    how many jobs have each of the filter's terms.
    """
    timed = job_filter.since_ms is not None or job_filter.until_ms is not None
    if job_filter.outcomes:
        return _count_ended(job_filter, counts, cancelled, with_terms, timed)
    of_states = sum(counts[name] for name in job_filter.states or counts)
    if job_filter.fingerprint is not None:
        # Only failed jobs have one.
        if job_filter.states and State.FAILED not in job_filter.states:
            return 0, True
        alone = job_filter.job_type is None and not job_filter.fields and not timed
        return with_terms[-1], alone
    if job_filter.fields:
        exact = len(with_terms) == 1 and not timed and job_filter.job_type is None and not job_filter.states
        return min(*with_terms, of_states), exact
    return of_states, not timed and job_filter.job_type is None


def _count_ended(
    job_filter: JobFilter, counts: Mapping[str, int], cancelled: int, with_terms: Sequence[int], timed: bool
) -> tuple[int, bool]:
    """Count where it is said how the jobs ended: exactly when that is told by the counts alone."""
    states = [name for name in job_filter.states or counts if name in OUTCOMES.values()]
    failed = {"": counts["failed"], "cancelled": cancelled, "failed": counts["failed"] - cancelled}[
        job_filter.of_failed()
    ]
    of = {State.COMPLETED: counts["completed"], State.FAILED: failed}
    wanted = {OUTCOMES[outcome] for outcome in job_filter.outcomes} & {State(name) for name in states}
    most = sum(of[state] for state in wanted)
    if with_terms:
        return min(most, *with_terms), not most
    whole = State.COMPLETED not in wanted or {"completed", "skipped"} <= set(job_filter.outcomes)
    return most, not timed and job_filter.job_type is None and whole


def failure_groups(finder: Finder, *, limit: int, cursor: str | None) -> FailurePage:
    """Return why jobs failed.

    Raises `BadInput` for a cursor that is none.
    """
    try:
        return FailurePage(*finder.failure_groups(limit=limit, cursor=cursor))
    except BadCursor as error:
        raise BadInput(f"cursor {cursor!r:.80} is unusable (accepted: a nextCursor of the same list)") from error


def _rarest_term(finder: Finder, job_filter: JobFilter) -> Steps[bytes | None]:
    """Read which of the terms has the fewest jobs to look through; a fingerprint comes before all fields."""
    terms = terms_of(job_filter)
    if job_filter.fingerprint is not None or len(terms) < 2:
        return terms[-1] if terms else None
    counts = yield [finder.count_call(each) for each in terms]
    return terms[counts.index(min(counts))]


def fingerprint_term(fingerprint: str) -> bytes:
    """Return a fingerprint's term.

    Raises `BadInput` for text that is none.
    """
    try:
        raw = bytes.fromhex(fingerprint)
    except ValueError:
        raw = b""
    if len(raw) != TERM_BYTES:
        accepted = f"{2 * TERM_BYTES} hexadecimal digits, as the list of failures has them"
        raise BadInput(f"fingerprint {fingerprint[:80]!r} is unusable (accepted: {accepted})", accepted=[accepted])
    return raw


def _has(value: object, wanted: str) -> bool:
    each = value if isinstance(value, (list, tuple)) else [value]
    return any(term("", one) == term("", wanted) for one in each)
