"""Why a queue is not moving: the first known reason that applies, with its remedy."""

from __future__ import annotations

from collections.abc import Sequence

from ..broker.client.queue_facts import RunningJob
from ..findings import Finding, Severity
from ..logs.counted import counted
from ..queues.job import Job
from ..queues.snapshot import QueueSnapshot, describe_pause, in_utc, resume_command

#: How many delayed jobs are checked.
DELAYED_SAMPLE = 20
START_WORKERS = "nomad run workers"
_NAMED_JOBS = 3


def why_still(snapshot: QueueSnapshot, delayed: Sequence[Job]) -> Finding | None:
    """Return why no job of a queue starts, None if no known reason applies; `delayed` are its next delayed jobs."""
    return (
        _no_workers(snapshot)
        or paused(snapshot)
        or _threads_busy(snapshot)
        or _limit(snapshot)
        or _rate(snapshot)
        or _brake(snapshot, delayed)
    )


def held_back(delayed: Sequence[Job]) -> str | None:
    """Return why the next delayed jobs wait if all of them deferred themselves because of a brake, else None."""
    # A job whose type the worker did not know was deferred by the worker, not by itself.
    known = [job for job in delayed[:DELAYED_SAMPLE] if job.unknown_since_ms is None]
    reasons = [reason for job in known if (reason := deferred_for(job)) is not None]
    return reasons[0] if reasons and len(reasons) == len(known) else None


def deferred_for(job: Job) -> str | None:
    """Return why a delayed job deferred itself, None if it waits for another reason."""
    if job.unknown_since_ms is None and job.timeline and job.timeline[-1]["event"] == "deferred":
        return str(job.timeline[-1]["reason"]) or "it gave no reason"
    return None


def paused(snapshot: QueueSnapshot) -> Finding | None:
    """Return the finding for a paused queue, None for one that is not paused."""
    if not snapshot.pauses:
        return None
    remedy = " && ".join(resume_command(snapshot.name, pause.scope) for pause in snapshot.pauses)
    cause = "; ".join(map(describe_pause, snapshot.pauses))
    return _finding(snapshot, Severity.WARNING, cause, remedy, runbook="NomadPausedTooLong")


def unexplained(snapshot: QueueSnapshot) -> Finding:
    """Return the finding for a queue that is not moving for no known reason."""
    workers = ", ".join(worker.name for worker in snapshot.workers)
    cause = f"for no known reason: {workers} should run its jobs, and threads are free"
    return _finding(snapshot, Severity.PROBLEM, cause, "read the workers' log, then restart them")


def _finding(snapshot: QueueSnapshot, severity: Severity, cause: str, remedy: str, *, runbook: str = "") -> Finding:
    return Finding(f"queue {snapshot.name}", severity, cause, remedy, subject=snapshot.name, runbook=runbook)


def _no_workers(snapshot: QueueSnapshot) -> Finding | None:
    if snapshot.workers:
        return None
    cause = "no live worker serves it"
    return _finding(snapshot, Severity.PROBLEM, cause, START_WORKERS, runbook="NomadQueueUnserved")


def _threads_busy(snapshot: QueueSnapshot) -> Finding | None:
    threads = snapshot.concurrency * len(snapshot.workers)
    if len(snapshot.running) < threads:
        return None
    cause = f"all {threads} threads are busy: {_jobs(snapshot.running)}"
    variable = f"NOMAD_CONCURRENCY_{snapshot.name.upper().replace('-', '_')}"
    first = snapshot.running[0].job_id
    remedy = (
        f"nomad job {first} --queue {snapshot.name}\nto run more jobs at the same time: {START_WORKERS}, or {variable}"
    )
    return _finding(snapshot, Severity.WARNING, cause, remedy)


def _limit(snapshot: QueueSnapshot) -> Finding | None:
    limit = snapshot.facts.counts.limit
    if limit is None or snapshot.facts.counts.active < limit:
        return None
    is_set = snapshot.limits.concurrency is not None
    source = "set by an operator" if is_set else "declared by its job types"
    cause = (
        f"its limit of {counted(limit, 'job')} at a time on all hosts, {source}, is reached: {_jobs(snapshot.running)}"
    )
    more = f"nomad limits {snapshot.name} --concurrency {'none' if is_set else limit + 1}"
    return _finding(snapshot, Severity.WARNING, cause, f"{more}\nto run more at a time")


def _rate(snapshot: QueueSnapshot) -> Finding | None:
    starts, period_ms, oldest_ms = snapshot.limits.starts, snapshot.limits.period_ms, snapshot.facts.oldest_start_ms
    if starts is None or period_ms is None or oldest_ms is None or oldest_ms + period_ms <= snapshot.now_ms:
        return None
    cause = f"its limit of {starts} starts in {period_ms / 1000:g} s is reached until {in_utc(oldest_ms + period_ms)}"
    remedy = (
        f"nomad limits {snapshot.name} --starts none\nremoves the limit; without that the queue continues by itself"
    )
    return _finding(snapshot, Severity.WARNING, cause, remedy)


def _brake(snapshot: QueueSnapshot, delayed: Sequence[Job]) -> Finding | None:
    reason = held_back(delayed)
    if reason is None:
        return None
    cause = f"a brake is active: its next jobs deferred themselves ({reason})"
    remedy = f"nomad jobs {snapshot.name} --status delayed\nshows them; they run by themselves when the brake ends"
    return _finding(snapshot, Severity.WARNING, cause, remedy)


def _jobs(running: Sequence[RunningJob]) -> str:
    named = [f"{job.job_id} since {in_utc(job.since_ms)} on {job.worker}" for job in running[:_NAMED_JOBS]]
    more = f" and {len(running) - _NAMED_JOBS} more" if len(running) > _NAMED_JOBS else ""
    return "; ".join(named) + more
