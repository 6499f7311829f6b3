"""One queue as its callers and operators see it: counts, jobs, and what is done to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from ..broker.client.finder import Finder
from ..broker.client.queue_view import Ages, QueueCounts, QueueView
from ..broker.errors import RedisUnavailable, WrongKeyType
from ..broker.records.holds import Limits, Pause, PauseScope
from ..broker.records.stats import Tally
from ..broker.records.stored_job import StoredJob
from ..broker.states import PAUSED, STATE_NAMES, State
from ..errors import BadInput, JobNotFound, Unavailable, UnknownState, UnreadableQueue, WrongState
from ..logs import get_logger
from ..logs.foreign_text import safe_repr
from . import search
from .job import Job, as_job
from .job_type import JobType
from .policy import Priority
from .search import FaultPage, JobFilter, JobPage

#: A pause, or the period of a limit, beyond this is a mistake in the unit: a year.
MAX_PAUSE_MS = 31_536_000_000
MAX_AT_A_TIME = 1_000_000
#: The starts of a period are kept one by one.
MAX_STARTS = 100_000
MAX_LENGTH = 1_000_000_000

CLEANABLE = (State.COMPLETED, State.FAILED, State.DELAYED, State.WAITING, PAUSED)


@dataclass(frozen=True)
class QueueStats:
    """What ended in a queue within a window, from counters that do not shrink when jobs are cleaned.

    A job that skipped itself completed; a cancelled one neither completed nor failed.
    """

    window_seconds: int
    tally: Tally

    @property
    def completed(self) -> int:
        """Jobs that completed, those that skipped themselves among them."""
        return self.tally.completed + self.tally.skipped

    @property
    def failed(self) -> int:
        """Jobs that failed."""
        return self.tally.failed


@dataclass(frozen=True)
class QueueWorker:
    """A live worker process of a queue, and when it was last heard."""

    name: str
    heard_ms: int


@dataclass(frozen=True)
class Overrun:
    """A job that runs longer than its job type's time limit allows."""

    job: Job
    ran_ms: int
    limit_ms: int

    @property
    def over_ms(self) -> int:
        """How far beyond its limit it is."""
        return self.ran_ms - self.limit_ms


@dataclass(frozen=True)
class QueueStanding:
    """What an alert needs to know of a queue, at a cost that does not grow with its jobs."""

    counts: Mapping[str, int]
    pauses: tuple[Pause, ...]
    #: How long the first waiting job of a priority has been due.
    oldest_waiting_ms: Mapping[Priority, float]
    longest_active_ms: float | None
    #: Since the queue exists: jobs taken back from lost workers, and those that failed by losing worker after worker.
    recovered: int
    poison: int


def whole(name: str, value: object, low: int, high: int) -> int:
    """Return a whole number from `low` to `high`.

    Raises `BadInput` for anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    accepted = f"a whole number from {low} to {high}"
    raise BadInput(f"{name} {safe_repr(value, 200)} is unusable (accepted: {accepted})", accepted=[accepted])


def _by_state(counts: QueueCounts) -> dict[str, int]:
    """Return counts by state; a paused queue's waiting jobs count as `paused`."""
    paused = bool(counts.pauses)
    return {
        State.WAITING.value: 0 if paused else counts.waiting,
        State.ACTIVE.value: counts.active,
        State.DELAYED.value: counts.delayed,
        State.COMPLETED.value: counts.completed,
        State.FAILED.value: counts.failed,
        PAUSED: counts.waiting if paused else 0,
    }


def standing_of(counts: QueueCounts, ages: Ages) -> QueueStanding:
    """Return how a queue stands, of what was read of it."""
    oldest: dict[Priority, float] = {}
    for number, age_ms in ages.waiting_ms.items():
        # Dramatiq's own options allow any number; ours are five.
        priority = Priority(min(max(number, Priority.CRITICAL), Priority.BATCH))
        oldest[priority] = max(age_ms, oldest.get(priority, 0.0))
    return QueueStanding(
        _by_state(counts), counts.pauses, oldest, ages.longest_active_ms, counts.recovered, counts.poison
    )


@contextmanager
def redis_errors() -> Iterator[None]:
    """Raise `Unavailable` where the broker says that Redis does not answer."""
    try:
        yield
    except WrongKeyType as error:
        raise UnreadableQueue(str(error)) from error
    except RedisUnavailable as error:
        raise Unavailable(str(error)) from error


Item = TypeVar("Item")
logger = get_logger("nomad_actors.queues")


def of_readable(names: Iterable[str], read: Callable[[str], Item]) -> list[Item]:
    """Return what `read` returns of each queue, without those that cannot be read: health and doctor name them."""
    found = []
    for name in names:
        try:
            found.append(read(name))
        except UnreadableQueue as error:
            logger.warning("a queue cannot be read and is left out", queue=name, error=str(error))
    return found


class Queue:
    """One queue: its counts and jobs, and what an operator does to them.

    Every method raises `Unavailable` when Redis does not answer.
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
        #: What its jobs may be of: job types, and actors that are none.
        self.job_names = (*(job_type.name for job_type in job_types), *plain_actors)
        self._known = known
        self._view = view
        self._finder = finder

    def counts(self) -> dict[str, int]:
        """Return exact counts by state; a paused queue's waiting jobs count as `paused`."""
        with redis_errors():
            return _by_state(self._view.counts())

    def standing(self) -> QueueStanding:
        """Return how the queue stands: counts, pauses and the ages of its oldest jobs."""
        with redis_errors():
            return standing_of(self._view.counts(), self._view.ages())

    def jobs(self, status: str | Sequence[str], start: int = 0, end: int = -1) -> list[Job]:
        """Return the jobs `start` to `end` (inclusive, -1 for the last) of one state, or of several one after another.

        Waiting in the order of starting, delayed by due time, finished newest first.

        Raises `UnknownState`, and `BadInput` for a range that is none.
        """
        states = [status] if isinstance(status, str) else list(status)
        for name in states:
            if name not in STATE_NAMES:
                raise UnknownState(name, STATE_NAMES)
        if start < 0 or end < -1:
            raise BadInput(f"range {start} to {end} is unusable (accepted: start 0 or more, end -1 or more)")
        found: list[Job] = []
        counts = self.counts()
        for name in dict.fromkeys(states):
            count = counts[name]
            if count and (end == -1 or end >= 0) and start < count:
                found += self._page(name, start, end)
            start = max(0, start - count)
            if end != -1:
                end -= count
                if end < 0:
                    break
        return found

    def _page(self, name: str, start: int, end: int) -> list[Job]:
        state = State.WAITING if name == PAUSED else State(name)
        with redis_errors():
            stored = self._view.jobs(state, start, end)
            return self._as_jobs(stored, lambda _: name)

    def _as_jobs(self, stored: Sequence[StoredJob], word: Callable[[StoredJob], str]) -> list[Job]:
        """Return stored jobs as callers see them; only of running ones the workers must be asked for."""
        workers = self._view.worker_names() if any(job.worker_id for job in stored) else {}
        return [self._as_job(job, word(job), workers.get(job.worker_id or b"")) for job in stored]

    def _as_job(self, stored: StoredJob, status: str, worker: str | None) -> Job:
        name = stored.message.actor_name if stored.message else ""
        return as_job(stored, queue=self.name, status=status, job_type=self._known.get(name), worker=worker)

    def get(self, job_id: str) -> Job | None:
        """Return one job, or None when this queue holds none of this id."""
        with redis_errors():
            stored = self._view.get(job_id)
            if stored is None:
                return None
            paused = stored.state is State.WAITING and self.is_paused()
            return self._as_jobs([stored], lambda job: self._word(job, paused))[0]

    def retry(self, job_id: str) -> None:
        """Put a failed or completed job back to waiting; its attempts start afresh.

        Raises `JobNotFound`, and `WrongState` for a job that has not ended.
        """
        with redis_errors():
            stored = self._view.get(job_id)
            word = self._view.again(stored) if stored else "missing"
        self._check(job_id, word, "retried", "failed or completed")

    def promote(self, job_id: str) -> None:
        """Put a delayed job to waiting now.

        Raises `JobNotFound`, and `WrongState` for a job that is not delayed.
        """
        with redis_errors():
            word = self._view.promote(job_id)
        self._check(job_id, word, "promoted", "delayed")

    def cancel(self, job_id: str, reason: str = "") -> str:
        """End a job as cancelled: one that waits or is delayed at once, one that runs as soon as it can be interrupted.

        Returns the state it is in now: `failed`, or `active` while its thread has yet to end.

        Raises `JobNotFound`, and `WrongState` for a job that has ended.
        """
        with redis_errors():
            word = self._view.cancel(job_id, reason)
        if word == "asked":
            return State.ACTIVE.value
        self._check(job_id, word, "cancelled", "waiting, delayed or active")
        return State.FAILED.value

    def remove(self, job_id: str) -> None:
        """Remove a job that does not run.

        Raises `JobNotFound`, and `WrongState` for a job that runs.
        """
        with redis_errors():
            word = self._view.remove(job_id)
        self._check(job_id, word, "removed", "waiting, delayed, completed or failed")

    def _check(self, job_id: str, word: str, done: str, accepted: str) -> None:
        if word == "missing":
            raise JobNotFound(f"queue {self.name!r} holds no job {job_id!r}")
        if word == "unreadable":
            raise WrongState(f"job {job_id!r} cannot be {done}: its stored record cannot be read")
        if word != "ok":
            raise WrongState(f"job {job_id!r} is {word}; only a job that is {accepted} can be {done}")

    def clean(self, grace_ms: int, status: str = "completed", limit: int = 1000) -> list[str]:
        """Remove up to `limit` jobs that ended (else were enqueued) over `grace_ms` ago, oldest first; return the ids.

        Raises `UnknownState` for a state that cannot be cleaned, `BadInput` for a negative number.
        """
        if status not in CLEANABLE:
            raise UnknownState(status, CLEANABLE)
        for name, value in (("grace", grace_ms), ("limit", limit)):
            if value < 0:
                raise BadInput(f"{name} must be 0 or more, not {value}")
        with redis_errors():
            if status in (State.WAITING, PAUSED) and (status == PAUSED) != self.is_paused():
                return []
            state = State.WAITING if status == PAUSED else State(status)
            return list(self._view.clean(state, grace_ms=grace_ms, limit=limit))

    def find(self, sought: JobFilter, *, limit: int = 10, cursor: str | None = None) -> JobPage:
        """Return jobs of some states, job type, fields, fingerprint and time, and the cursor of the next page.

        With a field or a fingerprint newest first in whatever state, in a time that does not grow with the number of
        other jobs; else one state after another, each in the order of `jobs`.

        Raises `UnknownState`, `UnknownJobType`, `BadInput` for a field that is not indexed and a cursor that is none.
        """
        search.check(sought, self.job_types, self.job_names, limit)
        with redis_errors():
            paused = self.is_paused()
            states = sought.stored_states(paused=paused)
            found = search.find(self._finder, sought, states, limit=limit, cursor=cursor)
            jobs = self._as_jobs(found.jobs, lambda job: self._word(job, paused))
        return JobPage(jobs, found.next_cursor, found.cursors)

    def count(self, sought: JobFilter) -> tuple[int, bool]:
        """Return how many jobs are of some states, job type, fields and fingerprint, and whether that is exact.

        It is too high where only a look at each job would tell; raises as `find`.
        """
        search.check(sought, self.job_types, self.job_names, 1)
        with redis_errors():
            counts = self._view.counts()
            return search.count(self._finder, sought, _by_state(counts), counts.cancelled)

    def cancelled_count(self) -> int:
        """Return how many of the failed jobs that are kept an operator cancelled."""
        with redis_errors():
            return self._view.counts().cancelled

    def now_ms(self) -> float:
        """Return Redis' time."""
        with redis_errors():
            return self._view.counts().now_ms

    def act_on_page(
        self, action: str, sought: JobFilter, *, limit: int, cursor: str | None, reason: str = ""
    ) -> tuple[int, int, str | None]:
        """Retry, remove, promote or cancel a page of jobs in one round trip; return how many were, how many were not.

        And the cursor of the next page. A job that is no longer as it was found is left alone, and of those that are to
        be retried a cancelled one, and one that loses every worker unless it is asked for by its fingerprint.

        Raises as `find`.
        """
        search.check(sought, self.job_types, self.job_names, limit)
        with redis_errors():
            # A pause that comes or goes between two pages changes nothing of what is meant.
            states = sought.stored_states(paused=None)
            page = search.find(self._finder, sought, states, limit=limit, cursor=cursor)
            named = sought.fingerprint is not None
            meant = [
                job for job in page.jobs if action != "retry" or not (job.cancelled or (job.is_poison and not named))
            ]
            words = self._view.act(action, meant, reason)
        done = sum(word in ("ok", "asked") for word in words)
        return done, len(page.jobs) - done, page.next_cursor

    @staticmethod
    def _word(job: StoredJob, paused: bool) -> str:
        return PAUSED if paused and job.state is State.WAITING else job.state.value

    def failures(self, *, limit: int = 50, cursor: str | None = None) -> FaultPage:
        """Return why jobs failed, those with one cause together, the one seen last first.

        Raises `BadInput` for a cursor that is none.
        """
        with redis_errors():
            return search.faults(self._finder, limit=limit, cursor=cursor)

    def pause(
        self,
        *,
        reason: str = "",
        by: str = "",
        for_ms: int | None = None,
        scope: PauseScope = PauseScope.QUEUE,
    ) -> None:
        """Let no job of this queue start, in any process, until it is resumed or `for_ms` are over.

        Running ones finish. To pause again changes the reason and the end.

        Raises `BadInput` for a time that is none.
        """
        if for_ms is not None:
            whole("for_ms", for_ms, 1, MAX_PAUSE_MS)
        with redis_errors():
            self._view.pause(scope=scope, reason=reason, by=by, for_ms=for_ms)

    def resume(self, *, scope: PauseScope = PauseScope.QUEUE) -> None:
        """Let jobs start again, unless another pause holds them."""
        with redis_errors():
            self._view.resume(scope=scope)

    def pauses(self) -> list[Pause]:
        """Return why no job of this queue starts; nothing when it runs."""
        with redis_errors():
            return list(self._view.counts().pauses)

    def is_paused(self) -> bool:
        """Return whether the queue is paused."""
        return bool(self.pauses())

    def limits(self) -> Limits:
        """Return the limits that an operator set."""
        with redis_errors():
            return self._view.counts().limits

    def limit_at_a_time(self) -> int | None:
        """Return how many jobs may run at a time over all hosts, as set or as declared."""
        with redis_errors():
            kept = self._view.counts().limit
        # What is declared is written to Redis by the first worker that serves the queue.
        declared = [job_type.global_concurrency for job_type in self.job_types if job_type.global_concurrency]
        return kept if kept is not None else max(declared, default=None)

    def set_limits(self, limits: Limits) -> None:
        """Set this queue's limits, all of them; they hold at once, everywhere. None lifts one.

        Raises `BadInput` for a number that is none, and for starts without a period.
        """
        if (limits.starts is None) != (limits.period_ms is None):
            raise BadInput("starts and period go together (accepted: both, or neither)")
        for name, value, most in (
            ("concurrency", limits.concurrency, MAX_AT_A_TIME),
            ("starts", limits.starts, MAX_STARTS),
            ("period", limits.period_ms, MAX_PAUSE_MS),
            ("maxLength", limits.max_length, MAX_LENGTH),
        ):
            if value is not None:
                whole(name, value, 1, most)
        with redis_errors():
            self._view.set_limits(limits)

    def stats(self, window_seconds: int = 86_400) -> QueueStats:
        """Return what ended within the last `window_seconds`, in whole minutes, at most a day.

        Raises `BadInput` for a window that is not kept.
        """
        if not 60 <= window_seconds <= 86_400:
            raise BadInput(f"a window of {window_seconds} s is unusable (accepted: 60 to 86400)")
        with redis_errors():
            return QueueStats(window_seconds, self._view.stats(window_seconds // 60))

    def workers(self) -> list[QueueWorker]:
        """Return the worker processes that serve this queue now."""
        with redis_errors():
            return [QueueWorker(worker.name, int(worker.heard_ms)) for worker in self._view.workers()]

    def worker_silent_ms(self, worker: str) -> float | None:
        """Return how long ago a worker process, also a lost one, was last heard of; None if nothing is kept of it."""
        with redis_errors():
            return self._view.silent_ms(worker)

    def oldest_waiting_ms(self) -> int | None:
        """Return how long the longest-waiting job has been due, None when none waits."""
        with redis_errors():
            waiting = self._view.ages().waiting_ms
        return int(max(waiting.values())) if waiting else None

    def longest_active_ms(self) -> int | None:
        """Return how long the longest-running job runs, None when none runs."""
        with redis_errors():
            longest = self._view.ages().longest_active_ms
        return None if longest is None else int(longest)

    def overruns(self) -> list[Overrun]:
        """Return the jobs that run longer than their time limit on a live worker, the longest-running first.

        Those of a lost worker are left out: nobody can cancel them, and another worker takes them back.
        The running jobs are read only when the longest-running one is beyond the shortest limit.
        """
        return self.overruns_beside(self.longest_active_ms())

    def overruns_beside(self, longest_ms: float | None) -> list[Overrun]:
        """Return as `overruns` does, for whoever has read how long the longest-running job runs."""
        limits_ms = {job_type.name: job_type.time_limit_ms for job_type in self.job_types}
        longest_ms = None if longest_ms is None else int(longest_ms)
        if longest_ms is None or not limits_ms or longest_ms <= min(limits_ms.values()):
            return []
        active = [(job, job.processed_on_ms) for job in self.jobs("active") if job.processed_on_ms is not None]
        # Redis told how long the longest runs; the others are measured from it, so that our host's clock plays no part.
        first_ms = min((since_ms for _, since_ms in active), default=0)
        runs = [(job, longest_ms - (since_ms - first_ms)) for job, since_ms in active]
        found = [Overrun(job, ran_ms, limits_ms[job.name]) for job, ran_ms in runs if job.name in limits_ms]
        beyond = [overrun for overrun in found if overrun.over_ms > 0]
        live = {worker.name for worker in self.workers()} if beyond else set()
        return [overrun for overrun in beyond if overrun.job.worker in live]
