"""The state of a queue at one instant, for health, metrics, pages and commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ..broker.client.queue_facts import KnownWorker, QueueFacts, RunningJob
from ..broker.records.limits import Limits, Pause, PauseScope
from ..broker.records.stats import Tally
from ..broker.states import PAUSED, State
from ..errors import BadInput, UnreadableQueue
from .job_type import JobType
from .policy import Priority

#: Statistics are kept for a day.
DAY_SECONDS = 86_400


@dataclass(frozen=True)
class QueueStats:
    """The jobs that ended in a queue within a window, from counters that do not shrink when jobs are cleaned.

    A skipped job counts as completed; a cancelled one neither as completed nor as failed.
    """

    window_seconds: int
    tally: Tally

    @property
    def completed(self) -> int:
        """Jobs that completed, including skipped ones."""
        return self.tally.completed + self.tally.skipped

    @property
    def failed(self) -> int:
        return self.tally.failed

    @property
    def ended(self) -> int:
        """Jobs that completed or failed."""
        return self.completed + self.failed


@dataclass(frozen=True, kw_only=True)
class QueueSnapshot:
    """One queue: its declaration, and its state in Redis at one instant.

    If `state` is None, the queue cannot be read for the reason in `problem`; its properties raise `UnreadableQueue`.
    """

    name: str
    #: Jobs at a time in one worker process.
    concurrency: int
    job_types: tuple[JobType, ...]
    #: The names of what its jobs run: job types and plain actors.
    job_names: tuple[str, ...]
    state: QueueFacts | None = None
    problem: str = ""

    @property
    def facts(self) -> QueueFacts:
        """The state that the broker read."""
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
        """Redis' time when the state was read."""
        return self.facts.counts.now_ms

    @property
    def pauses(self) -> tuple[Pause, ...]:
        """The pauses in force; empty if the queue is not paused."""
        return self.facts.counts.pauses

    @property
    def is_paused(self) -> bool:
        return bool(self.pauses)

    @property
    def limits(self) -> Limits:
        """The limits that an operator set."""
        return self.facts.counts.limits

    @property
    def limit_in_force(self) -> int | None:
        """How many jobs may run at a time over all hosts, as an operator set it or as declared."""
        # The first worker that serves the queue writes the declared limit to Redis.
        declared = [job_type.global_concurrency for job_type in self.job_types if job_type.global_concurrency]
        stored = self.facts.counts.limit
        return stored if stored is not None else max(declared, default=None)

    @property
    def workers(self) -> list[KnownWorker]:
        """The worker processes that serve this queue now, by name."""
        return self.facts.workers

    @property
    def running(self) -> tuple[RunningJob, ...]:
        """The running jobs, the longest-running first."""
        return self.facts.running

    @property
    def oldest_waiting_ms(self) -> int | None:
        """How long the longest-waiting job has been due, None if none waits."""
        return int(max(self.facts.waiting_ms.values())) if self.facts.waiting_ms else None

    @property
    def oldest_by_priority_ms(self) -> Mapping[Priority, float]:
        """How long the first waiting job of each priority has been due."""
        oldest: dict[Priority, float] = {}
        for number, age_ms in self.facts.waiting_ms.items():
            # Dramatiq allows any number as priority; ours are five.
            priority = Priority(min(max(number, Priority.CRITICAL), Priority.BATCH))
            oldest[priority] = max(age_ms, oldest.get(priority, 0.0))
        return oldest

    @property
    def longest_active_ms(self) -> int | None:
        """How long the longest-running job has been running, None if none runs."""
        longest_ms = self.facts.longest_active_ms
        return None if longest_ms is None else int(longest_ms)

    def stats(self, window_seconds: int = DAY_SECONDS) -> QueueStats:
        """Return the jobs that ended within the last `window_seconds`, in whole minutes.

        At most a day, and no more than what was read.

        Raises `BadInput` for an invalid window.
        """
        check_window(window_seconds)
        return QueueStats(window_seconds, self.facts.tally(window_seconds // 60))


def check_window(window_seconds: int) -> None:
    """Raise `BadInput` for a window without statistics."""
    if not 60 <= window_seconds <= DAY_SECONDS:
        raise BadInput(f"a window of {window_seconds} s is invalid (allowed: 60 to {DAY_SECONDS})")


def describe_pause(pause: Pause) -> str:
    """Return what is paused, since when, by whom, why, and until when."""
    what = "paused" if pause.scope is PauseScope.QUEUE else "paused with all ESI queues"
    who = f" by {pause.by}" if pause.by else ""
    why = f" ({pause.reason})" if pause.reason else ""
    until = f"until {in_utc(pause.until_ms)}" if pause.until_ms is not None else "until it is resumed"
    return f"{what} since {in_utc(pause.since_ms)}{who}{why}, {until}"


def resume_command(queue: str, scope: PauseScope) -> str:
    """Return the command that ends only the queue's pause of this scope."""
    return f"nomad resume {queue if scope is PauseScope.QUEUE else '--esi'}"


def in_utc(ms: float) -> str:
    """Return an instant (ms since the epoch) as text."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def readable(snapshots: Iterable[QueueSnapshot]) -> list[QueueSnapshot]:
    """Return the snapshots of readable queues; health and doctor report the others."""
    return [snapshot for snapshot in snapshots if snapshot.state is not None]
