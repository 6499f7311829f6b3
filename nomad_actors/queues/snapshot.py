"""The state of a queue at one instant; what health, metrics, pages and commands show is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..broker.client.queue_facts import KnownWorker, QueueFacts, RunningJob
from ..broker.records.limits import Limits, Pause
from ..broker.records.stats import Tally
from ..broker.states import PAUSED, State
from ..errors import BadInput, UnreadableQueue
from .job_type import JobType
from .policy import Priority

#: Statistics are kept for a day.
DAY_SECONDS = 86_400


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

    @property
    def ended(self) -> int:
        """Jobs that completed or failed."""
        return self.completed + self.failed


@dataclass(frozen=True, kw_only=True)
class QueueSnapshot:
    """One queue: what is declared of it, and its state in Redis at one instant.

    Without `state` it cannot be read, and `problem` says why: what is asked of its state raises `UnreadableQueue`.
    """

    name: str
    #: Jobs at a time in one worker process.
    concurrency: int
    job_types: tuple[JobType, ...]
    #: The names of what its jobs run: job types, and plain actors.
    job_names: tuple[str, ...]
    state: QueueFacts | None = None
    problem: str = ""

    @property
    def facts(self) -> QueueFacts:
        """The state as the broker reads it."""
        if self.state is None:
            raise UnreadableQueue(self.problem)
        return self.state

    @property
    def counts(self) -> dict[str, int]:
        """Exact counts by state; a paused queue's waiting jobs count as `paused`."""
        counts, paused = self.facts.counts, self.is_paused
        return {
            State.WAITING.value: 0 if paused else counts.waiting,
            State.ACTIVE.value: counts.active,
            State.DELAYED.value: counts.delayed,
            State.COMPLETED.value: counts.completed,
            State.FAILED.value: counts.failed,
            PAUSED: counts.waiting if paused else 0,
        }

    @property
    def cancelled(self) -> int:
        """How many of the failed jobs an operator cancelled."""
        return self.facts.counts.cancelled

    @property
    def now_ms(self) -> float:
        """Redis' time."""
        return self.facts.counts.now_ms

    @property
    def pauses(self) -> tuple[Pause, ...]:
        """Why no job of this queue starts; empty while it runs."""
        return self.facts.counts.pauses

    @property
    def is_paused(self) -> bool:
        """Whether the queue is paused."""
        return bool(self.pauses)

    @property
    def limits(self) -> Limits:
        """The limits that an operator set."""
        return self.facts.counts.limits

    @property
    def limit_in_force(self) -> int | None:
        """How many jobs may run at a time over all hosts, as set or as declared."""
        # What is declared is written to Redis by the first worker that serves the queue.
        declared = [job_type.global_concurrency for job_type in self.job_types if job_type.global_concurrency]
        kept = self.facts.counts.limit
        return kept if kept is not None else max(declared, default=None)

    @property
    def workers(self) -> list[KnownWorker]:
        """The worker processes that serve this queue now, by name."""
        return self.facts.workers

    @property
    def running(self) -> tuple[RunningJob, ...]:
        """The jobs that workers hold, the longest-running first."""
        return self.facts.running

    @property
    def oldest_waiting_ms(self) -> int | None:
        """How long the longest-waiting job has been due, None when none waits."""
        return int(max(self.facts.waiting_ms.values())) if self.facts.waiting_ms else None

    @property
    def oldest_by_priority_ms(self) -> Mapping[Priority, float]:
        """How long the first waiting job of each priority has been due."""
        oldest: dict[Priority, float] = {}
        for number, age_ms in self.facts.waiting_ms.items():
            # Dramatiq's own options allow any number; ours are five.
            priority = Priority(min(max(number, Priority.CRITICAL), Priority.BATCH))
            oldest[priority] = max(age_ms, oldest.get(priority, 0.0))
        return oldest

    @property
    def longest_active_ms(self) -> int | None:
        """How long the longest-running job runs, None when none runs."""
        longest_ms = self.facts.longest_active_ms
        return None if longest_ms is None else int(longest_ms)

    def stats(self, window_seconds: int = DAY_SECONDS) -> QueueStats:
        """Return what ended within the last `window_seconds`, in whole minutes, at most a day and what was read.

        Raises `BadInput` for a window that is not kept.
        """
        check_window(window_seconds)
        return QueueStats(window_seconds, self.facts.tally(window_seconds // 60))


def check_window(window_seconds: int) -> None:
    """Raise `BadInput` for a window of which no statistics are kept."""
    if not 60 <= window_seconds <= DAY_SECONDS:
        raise BadInput(f"a window of {window_seconds} s is unusable (accepted: 60 to {DAY_SECONDS})")


def readable(snapshots: Iterable[QueueSnapshot]) -> list[QueueSnapshot]:
    """Return the queues that can be read; health and doctor name the others."""
    return [snapshot for snapshot in snapshots if snapshot.state is not None]
