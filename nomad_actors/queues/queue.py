"""One queue for callers and operators: its counts, its jobs, and the actions on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..broker.client.finder import Finder
from ..broker.client.queue_facts import QueueFacts, unpack_facts
from ..broker.client.queue_view import QueueView
from ..broker.client.steps import Steps, ask
from ..broker.records.limits import Limits, PauseScope
from ..broker.records.stored_job import StoredJob
from ..broker.states import (
    FINISHED,
    PAUSED,
    STATE_NAMES,
    Action,
    State,
    allowed,
    allowed_names,
    in_words,
    names_of,
    state_named,
)
from ..errors import BadInput, JobNotFound, NomadError, UnknownState, WrongState
from ..logs.foreign_text import safe_repr
from . import search
from .as_job import as_job
from .job import Job
from .job_type import JobType
from .search import FailurePage, JobFilter, JobPage
from .snapshot import DAY_SECONDS, QueueSnapshot

#: A year: a longer pause, or period of a limit, is a mistake in the unit.
MAX_PAUSE_MS = 31_536_000_000
MAX_CONCURRENCY = 1_000_000
#: Redis stores each start of a period.
MAX_STARTS = 100_000
MAX_LENGTH = 1_000_000_000

CLEANABLE = allowed_names(Action.CLEAN)


def require_int(name: str, value: object, low: int, high: int) -> int:
    """Return `value` if it is a whole number from `low` to `high`. Raises `BadInput` otherwise."""
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    allowed = f"a whole number from {low} to {high}"
    raise BadInput(f"{name} {safe_repr(value, 200)} is invalid (allowed: {allowed})", accepted=[allowed])


class Queue:
    """One queue: its counts, its jobs, and an operator's actions on them.

    Every method raises `Unavailable` if Redis does not respond.
    """

    def __init__(
        self,
        view: QueueView,
        finder: Finder,
        *,
        concurrency: int,
        job_types: Sequence[JobType],
        known: Mapping[str, JobType],
        plain_actors: Sequence[str] = (),
    ) -> None:
        self.name = view.name
        self.concurrency = concurrency
        self.job_types = tuple(job_types)
        #: The names of what its jobs run: job types and plain actors.
        self.job_names = (*(job_type.name for job_type in job_types), *plain_actors)
        self._known = known
        self._view = view
        self._finder = finder

    def counts(self) -> dict[str, int]:
        """Return exact counts by state; a paused queue's waiting jobs count as `paused`."""
        return self.snapshot(window_seconds=0).counts

    def snapshot(self, *, window_seconds: int = DAY_SECONDS) -> QueueSnapshot:
        """Return the queue's state, with the statistics of the last `window_seconds`. Raises `UnreadableQueue`."""
        return self._view.read(self.reading_snapshot(window_seconds=window_seconds))

    def reading_snapshot(self, *, window_seconds: int) -> Steps[QueueSnapshot]:
        """Read what `snapshot` returns."""
        return self.as_snapshot((yield from self._view.reading_facts(stats_minutes=window_seconds // 60)))

    def as_snapshot(self, state: QueueFacts | None, problem: str = "") -> QueueSnapshot:
        """Return a snapshot of this queue with the state that was read, or with the reason why it could not be."""
        return QueueSnapshot(
            name=self.name,
            concurrency=self.concurrency,
            job_types=self.job_types,
            job_names=self.job_names,
            state=state,
            problem=problem,
        )

    def jobs(self, status: str | Sequence[str], start: int = 0, end: int = -1) -> list[Job]:
        """Return the jobs `start` to `end` (inclusive, -1 for the last) of one state, or of several in that order.

        Waiting jobs are in starting order, delayed ones by due time, ended ones newest first.

        Raises `UnknownState`, and `BadInput` for an invalid range.
        """
        states = [status] if isinstance(status, str) else list(status)
        for name in states:
            if name not in STATE_NAMES:
                raise UnknownState(name, STATE_NAMES)
        if start < 0 or end < -1:
            raise BadInput(f"range {start} to {end} is invalid (allowed: start 0 or more, end -1 or more)")
        found: list[Job] = []
        counts = self.counts()
        for name in dict.fromkeys(states):
            count = counts[name]
            if count and (end == -1 or end >= 0) and start < count:
                found += self._view.read(self.reading_page(name, start, end))
            start = max(0, start - count)
            if end != -1:
                end -= count
                if end < 0:
                    break
        return found

    def reading_page(
        self, status: str, start: int, end: int, worker_names: Mapping[bytes, str] | None = None
    ) -> Steps[list[Job]]:
        """Read the jobs `start` to `end` of one state; waiting jobs get `status`, which is `waiting` or `paused`.

        For running jobs it also reads the workers' names, unless they are given.
        """
        stored = yield from self._view.reading_jobs(state_named(status), start, end)
        names = worker_names or {}
        if worker_names is None and any(job.worker_id for job in stored):
            names = (yield from self._view.reading_facts(stats_minutes=0)).worker_names
        return [self._as_job(job, status, names) for job in stored]

    def _as_job(self, stored: StoredJob, status: str, worker_names: Mapping[bytes, str]) -> Job:
        name = stored.message.actor_name if stored.message else ""
        worker = worker_names.get(stored.worker_id or b"")
        return as_job(stored, queue=self.name, status=status, job_type=self._known.get(name), worker=worker)

    def get(self, job_id: str) -> Job | None:
        """Return the job with this id, or None."""
        return self._view.read(self.reading_jobs([job_id]))[0].get(job_id)

    def reading_jobs(self, job_ids: Sequence[str]) -> Steps[tuple[dict[str, Job], bool]]:
        """Read the jobs with these ids that exist, and whether the queue is paused."""
        reply, *replies = yield [self._view.facts_call(), *map(self._view.get_call, job_ids)]
        facts = unpack_facts(reply)
        paused, names = bool(facts.counts.pauses), facts.worker_names
        found = [job for job in map(self._view.found_job, job_ids, replies) if job]
        return {job.job_id: self._as_job(job, _status(job, paused), names) for job in found}, paused

    def retry(self, job_id: str) -> str:
        """Put a failed or completed job back to waiting, with its attempts reset; return its state now.

        Raises `JobNotFound`, and `WrongState` if the job has not ended.
        """
        return self._view.read(self._reading_retried(job_id))

    def _reading_retried(self, job_id: str) -> Steps[str]:
        stored = self._view.found_job(job_id, (yield from ask(self._view.get_call(job_id))))
        call = self._view.retry_call(stored) if stored else None
        if call is None:
            raise self._refusal(job_id, "unreadable" if stored else "missing", "retried", Action.RETRY)
        word, *replies = yield [call, self._view.facts_call(), self._view.get_call(job_id)]
        self._check(job_id, word.decode(), "retried", Action.RETRY)
        facts, stored = unpack_facts(replies[0]), self._view.found_job(job_id, replies[1])
        # If it was removed at this instant, it was still put back.
        return _status(stored, bool(facts.counts.pauses)) if stored else State.WAITING.value

    def promote(self, job_id: str) -> None:
        """Make a delayed job wait without the rest of its delay.

        Raises `JobNotFound`, and `WrongState` if the job is not delayed.
        """
        self._check(job_id, self._view.promote(job_id), "promoted", Action.PROMOTE)

    def cancel(self, job_id: str, reason: str = "") -> str:
        """Cancel a job: a waiting or delayed one at once, a running one as soon as it can be interrupted.

        Returns its state now: `failed`, or `active` while its thread has not ended.

        Raises `JobNotFound`, and `WrongState` if the job has ended.
        """
        word = self._view.cancel(job_id, reason)
        if word == "asked":
            return State.ACTIVE.value
        self._check(job_id, word, "cancelled", Action.CANCEL)
        return State.FAILED.value

    def remove(self, job_id: str) -> None:
        """Remove a job that is not running. Raises `JobNotFound`, and `WrongState` if the job is running."""
        self._check(job_id, self._view.remove(job_id), "removed", Action.REMOVE)

    def _check(self, job_id: str, word: str, done: str, action: Action) -> None:
        if word != "ok":
            raise self._refusal(job_id, word, done, action)

    def _refusal(self, job_id: str, word: str, done: str, action: Action) -> NomadError:
        if word == "missing":
            return JobNotFound(f"queue {self.name!r} has no job {job_id!r}")
        if word == "unreadable":
            return WrongState(f"job {job_id!r} cannot be {done}: its stored record cannot be read")
        return WrongState(f"job {job_id!r} is {word}; only a job that is {in_words(allowed(action))} can be {done}")

    def clean(self, grace_ms: int, status: str = "completed", limit: int = 1000) -> list[str]:
        """Remove up to `limit` jobs that ended (or, if not ended, were enqueued) over `grace_ms` ago, oldest first.

        Returns their ids.

        Raises `UnknownState` for a state that cannot be cleaned, `BadInput` for a negative number.
        """
        if status not in CLEANABLE:
            raise UnknownState(status, CLEANABLE)
        for name, value in (("grace", grace_ms), ("limit", limit)):
            if value < 0:
                raise BadInput(f"{name} must be 0 or more, not {value}")
        if status in names_of(State.WAITING) and (status == PAUSED) != self.snapshot(window_seconds=0).is_paused:
            return []
        return list(self._view.clean(state_named(status), grace_ms=grace_ms, limit=limit))

    def find(self, job_filter: JobFilter, *, limit: int = 10, cursor: str | None = None) -> JobPage:
        """Return jobs that match a filter, and the cursor of the next page.

        With a field or a fingerprint, jobs of all states come newest first, in a time that does not depend on the
        number of other jobs; else one state after another, each in the order of `jobs`.

        Raises `UnknownState`, `UnknownJobType`, and `BadInput` for a field that is not indexed or an invalid cursor.
        """
        return self._view.read(self.reading_found(job_filter, limit=limit, cursor=cursor))

    def reading_found(self, job_filter: JobFilter, *, limit: int, cursor: str | None) -> Steps[JobPage]:
        """Read what `find` returns."""
        search.check(job_filter, self.job_types, self.job_names, limit)
        # Only waiting and running jobs need facts beyond their records: pauses and workers' names.
        has_ended = bool(job_filter.outcomes) or 0 < len(job_filter.states) == sum(
            name in FINISHED for name in job_filter.states
        )
        facts = None if has_ended else (yield from self._view.reading_facts(stats_minutes=0))
        paused = facts is not None and bool(facts.counts.pauses)
        found = yield from search.find(
            self._finder, job_filter, job_filter.stored_states(paused=paused), limit=limit, cursor=cursor
        )
        names = facts.worker_names if facts else {}
        jobs = [self._as_job(job, _status(job, paused), names) for job in found.jobs]
        return JobPage(jobs, found.next_cursor, found.cursors)

    def count(self, job_filter: JobFilter) -> tuple[int, bool]:
        """Return how many jobs match a filter, and whether that is exact; else it is an upper limit.

        Raises the same errors as `find`.
        """
        return self._view.read(self.reading_count(job_filter))[:2]

    def reading_count(self, job_filter: JobFilter) -> Steps[tuple[int, bool, QueueSnapshot]]:
        """Read what `count` returns, and the queue's state at the same instant."""
        search.check(job_filter, self.job_types, self.job_names, 1)
        terms = map(self._finder.count_call, search.terms_of(job_filter))
        reply, *with_terms = yield [self._view.facts_call(), *terms]
        snapshot = self.as_snapshot(unpack_facts(reply))
        return (*search.count(job_filter, snapshot.counts, snapshot.cancelled, with_terms), snapshot)

    def act_on_page(
        self, action: str, job_filter: JobFilter, *, limit: int, cursor: str | None, reason: str = ""
    ) -> tuple[int, int, str | None]:
        """Retry, remove, promote or cancel a page of jobs in one round trip.

        Returns how many jobs were changed, how many were skipped, and the cursor of the next page. A job that has
        changed since it was found is skipped. A retry also skips cancelled jobs and, unless they are selected by
        fingerprint, jobs that lost every worker that ran them.

        Raises the same errors as `find`.
        """
        search.check(job_filter, self.job_types, self.job_names, limit)
        # A pause or resume between two pages must not change which jobs are selected.
        states = job_filter.stored_states(paused=None)
        page = self._view.read(search.find(self._finder, job_filter, states, limit=limit, cursor=cursor))
        by_fingerprint = job_filter.fingerprint is not None
        chosen = [
            job
            for job in page.jobs
            if action != "retry" or not (job.cancelled or (job.is_poison and not by_fingerprint))
        ]
        words = self._view.act(action, chosen, reason)
        done = sum(word in ("ok", "asked") for word in words)
        return done, len(page.jobs) - done, page.next_cursor

    def failures(self, *, limit: int = 50, cursor: str | None = None) -> FailurePage:
        """Return a page of failure groups (jobs that failed for one cause), the last seen first.

        Raises `BadInput` for an invalid cursor.
        """
        return FailurePage(*self._finder.failure_groups(limit=limit, cursor=cursor))

    def pause(
        self,
        *,
        reason: str = "",
        by: str = "",
        for_ms: int | None = None,
        scope: PauseScope = PauseScope.QUEUE,
    ) -> None:
        """Let no job of this queue start, in any process, until it is resumed or `for_ms` have passed.

        Running jobs finish. Pausing a paused queue changes the reason and the end.

        Raises `BadInput` for an invalid time.
        """
        if for_ms is not None:
            require_int("for_ms", for_ms, 1, MAX_PAUSE_MS)
        self._view.pause(scope=scope, reason=reason, by=by, for_ms=for_ms)

    def resume(self, *, scope: PauseScope = PauseScope.QUEUE) -> None:
        """Let jobs start again, unless another pause is in force."""
        self._view.resume(scope=scope)

    def set_limits(self, limits: Limits) -> None:
        """Set all limits of this queue; they apply at once on every host. None removes a limit.

        Raises `BadInput` for an invalid number, and for starts without a period.
        """
        if (limits.starts is None) != (limits.period_ms is None):
            raise BadInput("starts and period go together (allowed: both, or neither)")
        for name, value, high in (
            ("concurrency", limits.concurrency, MAX_CONCURRENCY),
            ("starts", limits.starts, MAX_STARTS),
            ("period", limits.period_ms, MAX_PAUSE_MS),
            ("maxLength", limits.max_length, MAX_LENGTH),
        ):
            if value is not None:
                require_int(name, value, 1, high)
        self._view.set_limits(limits)


def _status(job: StoredJob, paused: bool) -> str:
    return PAUSED if paused and job.state is State.WAITING else job.state.value
