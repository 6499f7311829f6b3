"""The state of a queue at one instant, as the script `facts` reads it; its cost does not grow with the queue's jobs."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import keys, records
from ..records.holds import NO_LIMITS, Limits, Pause, PauseScope, unpack_limits, unpack_pause
from ..records.stats import Tally, total, unpack

#: What is kept of a worker: last heard (ms), last request, for how long ticks missed it (ms); then its name.
MARK = struct.Struct(">dId")
#: A worker that was not heard of for this long does not count as live.
LIVE_MS = 20_000
#: As long as statistics are shown.
DAY_MINUTES = 1440


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How many jobs are in which state, and what keeps them from starting: `pauses` is empty while the queue runs."""

    now_ms: float
    waiting: int
    active: int
    delayed: int
    completed: int
    failed: int
    #: Of the failed ones, those that an operator cancelled.
    cancelled: int
    pauses: tuple[Pause, ...] = ()
    #: Jobs at a time over all hosts: what an operator set, else what is declared.
    limit: int | None = None
    limits: Limits = NO_LIMITS
    #: Since the queue exists: jobs taken back from lost workers, and workers that were heard of again afterwards.
    recovered: int = 0
    late: int = 0
    #: And jobs that failed because worker after worker was lost with them.
    poison: int = 0
    #: What is taken off TIME for a step of Redis' clock; 0 while it is right.
    clock_offset_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class KnownWorker:
    """A worker process that serves the queue, or was lost, and when it was last heard (ms)."""

    worker_id: bytes
    name: str
    heard_ms: float


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that a worker process holds, and since when (ms)."""

    job_id: str
    worker: str
    since_ms: float


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """Everything that is read of a queue's state; ages in ms."""

    counts: QueueCounts
    #: Redis' TIME, which workers' signs of life are measured by.
    redis_ms: float
    next_due_ms: float | None
    #: When the first of the starts was that the rate limit counts; None while there is room by it.
    oldest_start_ms: float | None
    #: For how long the first waiting job of each priority has been ready.
    waiting_ms: Mapping[int, float]
    #: The longest-running first.
    running: tuple[RunningJob, ...]
    #: Also those that were lost.
    known_workers: tuple[KnownWorker, ...]
    stats: Sequence[bytes | None]

    @property
    def workers(self) -> list[KnownWorker]:
        """The worker processes that serve the queue now, by name."""
        # One heard at a time to come was heard while Redis' clock was ahead.
        live = [each for each in self.known_workers if abs(self.redis_ms - each.heard_ms) <= LIVE_MS]
        return sorted(live, key=lambda worker: worker.name)

    @property
    def worker_names(self) -> dict[bytes, str]:
        """The name of each known worker process by its id."""
        return {worker.worker_id: worker.name for worker in self.known_workers}

    @property
    def longest_active_ms(self) -> float | None:
        """For how long the longest-running job has run, None when none runs."""
        return max((self.counts.now_ms - job.since_ms for job in self.running if job.since_ms), default=None)

    def silent_ms(self, worker: str) -> float | None:
        """Return for how long a worker process, also a lost one, was not heard; None if it is not known."""
        # A process has several entries if it has several brokers.
        heard = [each.heard_ms for each in self.known_workers if each.name == worker]
        return self.redis_ms - max(heard) if heard else None

    def tally(self, minutes: int) -> Tally:
        """Return what ended in the last minutes, the current one included; no more than was read."""
        this_minute = self.counts.now_ms // 60_000
        entries = [entry for value in self.stats if value and (entry := unpack(value)) is not None]
        return total(tally for minute, tally in entries if this_minute - minutes < minute <= this_minute)


def unpack_facts(reply: Sequence[Any]) -> QueueFacts:
    """Return the facts of the script's reply."""
    counts, next_due, oldest_start, waiting, leases, marks, entries = reply
    now_ms, workers = float(counts[0]), _known_workers(marks)
    return QueueFacts(
        counts=_counts(counts),
        redis_ms=float(counts[1]),
        next_due_ms=float(next_due) if next_due else None,
        oldest_start_ms=float(oldest_start) if oldest_start else None,
        waiting_ms={waiting[i]: max(0.0, now_ms - float(waiting[i + 1])) for i in range(0, len(waiting), 2)},
        running=_running(leases, {worker.worker_id: worker.name for worker in workers}),
        known_workers=workers,
        stats=entries,
    )


def _counts(reply: Sequence[Any]) -> QueueCounts:
    now_ms, _, waiting, active, delayed, completed, failed, cancelled, recovered, late, poison, *settings = reply
    declared, limit, rate, max_length, own, esi, clock_offset = settings
    pauses = (unpack_pause(PauseScope.QUEUE, own), unpack_pause(PauseScope.ESI, esi))
    limits = unpack_limits(limit, rate, max_length)
    return QueueCounts(
        float(now_ms),
        waiting,
        active,
        delayed,
        completed,
        failed,
        cancelled,
        pauses=tuple(pause for pause in pauses if pause is not None),
        limit=limits.concurrency or (int(declared) if declared.isdigit() else None),
        limits=limits,
        recovered=recovered,
        late=late,
        poison=poison,
        clock_offset_ms=float(clock_offset),
    )


def _known_workers(marks: Sequence[bytes]) -> tuple[KnownWorker, ...]:
    pairs = zip(marks[::2], marks[1::2], strict=True)
    return tuple(
        KnownWorker(worker_id, mark[MARK.size :].decode(errors="replace"), MARK.unpack_from(mark)[0])
        for worker_id, mark in pairs
        if worker_id != keys.TICK_FIELD and len(mark) >= MARK.size
    )


def _running(leases: Sequence[bytes], names: Mapping[bytes, str]) -> tuple[RunningJob, ...]:
    pairs = zip(leases[::2], leases[1::2], strict=True)
    found = [
        RunningJob(
            records.unpack_id(stored_id),
            names.get(lease[: records.WORKER_ID_BYTES], "?"),
            records.lease_since(lease) or 0.0,
        )
        for stored_id, lease in pairs
    ]
    return tuple(sorted(found, key=lambda job: job.since_ms))
