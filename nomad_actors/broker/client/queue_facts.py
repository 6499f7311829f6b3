"""The state of a queue at one instant, read by the script `facts` in a time that does not depend on its length."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import keys, records
from ..records.limits import NO_LIMITS, Limits, Pause, PauseScope, unpack_limits, unpack_pause
from ..records.stats import Tally, total, unpack

#: A worker's entry: last heartbeat (ms), last request, for how long ticks missed it (ms); then its name.
MARK = struct.Struct(">dId")
#: A worker that sent no heartbeat for this long is not counted as live.
LIVE_MS = 20_000
#: The longest window that statistics are shown for.
DAY_MINUTES = 1440


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How many jobs are in each state, and the pauses and limits of the queue."""

    now_ms: float
    waiting: int
    active: int
    delayed: int
    completed: int
    failed: int
    #: Those of the failed jobs that an operator cancelled.
    cancelled: int
    pauses: tuple[Pause, ...] = ()
    #: The concurrency over all hosts: what an operator set, else what is declared.
    limit: int | None = None
    limits: Limits = NO_LIMITS
    #: Since the queue exists: jobs recovered from lost workers, and heartbeats that came after such a recovery.
    recovered: int = 0
    late: int = 0
    #: Since the queue exists: jobs that failed because they lost one worker after another.
    poison: int = 0
    #: How much is subtracted from TIME because Redis' clock stepped; 0 while it is right.
    clock_offset_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class KnownWorker:
    """A worker process that serves the queue, or was lost, and the time of its last heartbeat (ms)."""

    worker_id: bytes
    name: str
    heard_ms: float


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that a worker process runs, and since when (ms)."""

    job_id: str
    worker: str
    since_ms: float


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """The state of a queue; ages in ms."""

    counts: QueueCounts
    #: Redis' TIME, by which heartbeats are measured.
    redis_ms: float
    next_due_ms: float | None
    #: The oldest start that the rate limit counts; None while the rate allows a start.
    oldest_start_ms: float | None
    #: For how long the first waiting job of each priority has been ready.
    waiting_ms: Mapping[int, float]
    #: The longest-running first.
    running: tuple[RunningJob, ...]
    #: Includes lost ones.
    known_workers: tuple[KnownWorker, ...]
    stats: Sequence[bytes | None]

    @property
    def workers(self) -> list[KnownWorker]:
        """The worker processes that serve the queue now, by name."""
        # A heartbeat in the future was sent while Redis' clock was ahead.
        live = [each for each in self.known_workers if abs(self.redis_ms - each.heard_ms) <= LIVE_MS]
        return sorted(live, key=lambda worker: worker.name)

    @property
    def worker_names(self) -> dict[bytes, str]:
        """The name of each known worker process by its id."""
        return {worker.worker_id: worker.name for worker in self.known_workers}

    @property
    def longest_active_ms(self) -> float | None:
        """How long the longest-running job has run; None if no job runs."""
        return max((self.counts.now_ms - job.since_ms for job in self.running if job.since_ms), default=None)

    def silent_ms(self, worker: str) -> float | None:
        """Return how long ago a worker process, even a lost one, sent a heartbeat; None if it is unknown."""
        # A process has several entries if it has several brokers.
        heard = [each.heard_ms for each in self.known_workers if each.name == worker]
        return self.redis_ms - max(heard) if heard else None

    def tally(self, minutes: int) -> Tally:
        """Return what ended in the last minutes, including the current one, as far as it was read."""
        this_minute = self.counts.now_ms // 60_000
        entries = [entry for value in self.stats if value and (entry := unpack(value)) is not None]
        return total(tally for minute, tally in entries if this_minute - minutes < minute <= this_minute)


def unpack_facts(reply: Sequence[Any]) -> QueueFacts:
    """Unpack the script's reply."""
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
