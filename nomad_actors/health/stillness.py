"""Why a queue does not move: the first of the known reasons that explains it, and the command that ends it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from ..broker.client.queue_view import QueueCounts
from ..broker.client.server import RunningJob
from ..logs.counted import counted
from ..queues import pauses
from ..queues.job import Job
from ..queues.queue import Queue
from .findings import Patient

#: How many delayed jobs are looked at for what they wait for.
DELAYED_SAMPLE = 20
_NAMED_JOBS = 3


class Reason(StrEnum):
    """Why nothing starts, in the order of asking."""

    NO_WORKERS = "no workers"
    PAUSED = "paused"
    PLACES_TAKEN = "places taken"
    LIMIT = "limit reached"
    BRAKE = "brake"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Stillness:
    """Why nothing starts in a queue, in words, and what to do, as a finding says it."""

    reason: Reason
    found: str
    fix: str


def why_still(patient: Patient, queue: Queue) -> Stillness:
    """Return why no job of a queue starts; `unknown` when none of the known reasons holds."""
    counts = patient.broker.view(queue.name).counts()
    running = patient.broker.server().running(queue.name)
    return (
        _no_workers(queue)
        or paused(queue)
        or _places_taken(queue, running)
        or _limit(queue, counts, running)
        or _rate(patient, queue, counts)
        or _brake(queue)
        or _unknown(queue)
    )


def held_back(queue: Queue) -> str | None:
    """Return for what the next delayed jobs wait when each of them deferred itself: a brake that is in force."""
    # One whose type the worker did not know was put off by the worker, not by itself.
    delayed = [job for job in queue.jobs("delayed", 0, DELAYED_SAMPLE - 1) if job.unknown_since_ms is None]
    reasons = [deferred_for(job) for job in delayed]
    told = [reason for reason in reasons if reason is not None]
    return told[0] if told and len(told) == len(reasons) else None


def deferred_for(job: Job) -> str | None:
    """Return why a delayed job deferred itself, None when it waits for something else."""
    if job.unknown_since_ms is None and job.timeline and job.timeline[-1]["event"] == "deferred":
        return str(job.timeline[-1]["reason"]) or "it gave no reason"
    return None


def _no_workers(queue: Queue) -> Stillness | None:
    if queue.workers():
        return None
    return Stillness(Reason.NO_WORKERS, "no live worker serves it", "nomad run workers")


def paused(queue: Queue) -> Stillness | None:
    """Return why a paused queue stands still, None for one that is not paused."""
    found = queue.pauses()
    if not found:
        return None
    fix = " && ".join(pauses.ended_by(queue.name, pause.scope) for pause in found)
    return Stillness(Reason.PAUSED, "; ".join(map(pauses.in_words, found)), fix)


def _places_taken(queue: Queue, running: list[RunningJob]) -> Stillness | None:
    places = queue.concurrency * len(queue.workers())
    if len(running) < places:
        return None
    found = f"all {places} places are taken: {_jobs(running)}"
    variable = f"NOMAD_CONCURRENCY_{queue.name.upper().replace('-', '_')}"
    fix = f"nomad job {running[0].job_id} --queue {queue.name}\nfor more places: nomad run workers, or {variable}"
    return Stillness(Reason.PLACES_TAKEN, found, fix)


def _limit(queue: Queue, counts: QueueCounts, running: list[RunningJob]) -> Stillness | None:
    if counts.limit is None or counts.active < counts.limit:
        return None
    is_set = counts.limits.concurrency is not None
    whose = "that somebody set" if is_set else "that its job types declare"
    found = (
        f"its limit of {counted(counts.limit, 'job')} at a time over all hosts, {whose}, is reached: {_jobs(running)}"
    )
    more = f"nomad limits {queue.name} --concurrency {'none' if is_set else counts.limit + 1}"
    return Stillness(Reason.LIMIT, found, f"{more}\nfor more at a time")


def _rate(patient: Patient, queue: Queue, counts: QueueCounts) -> Stillness | None:
    starts, period_ms = counts.limits.starts, counts.limits.period_ms
    if starts is None or period_ms is None:
        return None
    oldest_ms = patient.broker.server().oldest_start_ms(queue.name, starts)
    if oldest_ms is None or oldest_ms + period_ms <= counts.now_ms:
        return None
    found = f"its limit of {starts} starts in {period_ms / 1000:g} s is reached, until {_at(oldest_ms + period_ms)}"
    fix = f"nomad limits {queue.name} --starts none\nfor no such limit; the queue goes on by itself too"
    return Stillness(Reason.LIMIT, found, fix)


def _brake(queue: Queue) -> Stillness | None:
    reason = held_back(queue)
    if reason is None:
        return None
    fix = f"nomad jobs {queue.name} --status delayed\nshows them; they run by themselves when the brake ends"
    return Stillness(Reason.BRAKE, f"a brake is in force: its next jobs deferred themselves ({reason})", fix)


def _unknown(queue: Queue) -> Stillness:
    workers = ", ".join(worker.name for worker in queue.workers())
    found = f"nothing known holds it back: {workers} should take its jobs, and places are free"
    return Stillness(Reason.UNKNOWN, found, "read the workers' log, then restart them")


def _jobs(running: list[RunningJob]) -> str:
    told = [f"{job.job_id} since {_at(job.since_ms)} on {job.worker}" for job in running[:_NAMED_JOBS]]
    more = f" and {len(running) - _NAMED_JOBS} more" if len(running) > _NAMED_JOBS else ""
    return "; ".join(told) + more


def _at(ms: float) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
