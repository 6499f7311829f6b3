"""Explains why a job is in its state, in one sentence, and which commands may come next."""

from __future__ import annotations

from dataclasses import dataclass

from ..broker.states import State, names_of
from ..broker.worker.message import UNKNOWN_FOR_MS
from ..clock import Clock
from ..health.queue_checks import DELAYED_SAMPLE, deferred_for, why_still
from ..queues.job import Job
from ..queues.queue import Queue
from ..queues.snapshot import QueueSnapshot
from .report import ago, duration, moment, now_ms


@dataclass(frozen=True)
class Explanation:
    """Why a job is in its state, and what to do next."""

    why: str
    next: list[str]


def explain(clock: Clock, queue: Queue, job: Job) -> Explanation:
    """Return why a job waits, runs or has ended; raises `Unavailable`."""
    if job.status in names_of(State.WAITING):
        return _waiting(queue, job)
    if job.status == "delayed":
        return _delayed(clock, job)
    if job.status == "active":
        return _active(queue, job)
    return _ended(job)


def _waiting(queue: Queue, job: Job) -> Explanation:
    cancel = f"nomad cancel {job.id} --reason …"
    still = why_still(queue.snapshot(window_seconds=0), queue.jobs("delayed", 0, DELAYED_SAMPLE - 1))
    if still is None:
        return Explanation("it waits for its turn: threads are free, and workers are live", [cancel])
    ahead = queue.jobs(job.status, 0, 0)
    position = " (it is next)" if ahead and ahead[0].id == job.id else ""
    return Explanation(f"it waits{position}: {still.cause}", [*still.remedy.splitlines(), cancel])


def _delayed(clock: Clock, job: Job) -> Explanation:
    due = f"due {ago(job.due_ms, clock.now_ms())} ({moment(job.due_ms)})"
    next_steps = [f"nomad promote {job.id}", f"nomad cancel {job.id} --reason …"]
    if job.unknown_since_ms is not None:
        fails = moment(job.unknown_since_ms + UNKNOWN_FOR_MS)
        error = _line(str(job.timeline[-1].get("reason", "")))
        why = (
            f"a worker did not know its job type ({error}); {due}; it fails at {fails} unless a worker knows it by then"
        )
        restart = (
            "nomad workers; restart those that do not know it, with the release or the NOMAD_MODULES that declares it"
        )
        return Explanation(why, [restart, next_steps[1]])
    reason = deferred_for(job)
    if reason is not None:
        return Explanation(f"it deferred itself: {reason}; {due}", next_steps)
    if job.failed_reason:
        left = job.opts.attempts - job.attempts_made
        return Explanation(f"its last attempt failed ({_line(job.failed_reason)}), {left} left; {due}", next_steps)
    return Explanation(f"it was added with a delay; {due}", next_steps)


def _active(queue: Queue, job: Job) -> Explanation:
    ran = ago(job.processed_on_ms, now_ms())
    snapshot = queue.snapshot(window_seconds=0)
    live = [worker.name for worker in snapshot.workers]
    if job.worker not in live:
        recovery = (
            "another worker recovers it within 20 s" if live else "it runs again when a worker of its queue starts"
        )
        lost = f"it was started {ran} on {job.worker or 'a worker'}, which {_lost(snapshot, job.worker)}: {recovery}"
        return Explanation(lost, [] if live else ["nomad run workers"])
    limit_ms = next((t.time_limit_ms for t in queue.job_types if t.name == job.name), None)
    limit = f"; its time limit is {duration(limit_ms)}" if limit_ms is not None else ""
    cancelling = (
        f"; it is being cancelled ({job.cancel_asked}) and its code has not stopped yet" if job.cancel_asked else ""
    )
    ran_ms = None if job.processed_on_ms is None else max(0, now_ms() - job.processed_on_ms)
    why = f"it has been running for {duration(ran_ms)} on {job.worker}{limit}{cancelling}"
    return Explanation(why, [] if job.cancel_asked else [f"nomad cancel {job.id} --reason …"])


def _lost(queue: QueueSnapshot, worker: str | None) -> str:
    """Return what is known about a worker that is not live. A frozen worker may still come back."""
    silent_ms = None if worker is None else queue.facts.silent_ms(worker)
    if worker is None or silent_ms is None:
        return "is gone"
    host, _, pid = worker.partition("@")[0].rpartition(":")
    search = f": look for PID {pid} on {host}; if it is frozen, end it: kill -9 {pid}" if host else ""
    return f"has sent no heartbeat for {duration(max(0.0, silent_ms))} (killed or frozen{search})"


def _ended(job: Job) -> Explanation:
    retry = f"nomad retry {job.id}"
    if job.status == "completed":
        return Explanation("it skipped itself" if job.outcome == "skipped" else "it completed", [])
    if job.outcome == "cancelled":
        return Explanation(
            f"an operator cancelled it: {(job.failed_reason or '').removeprefix('cancelled: ')}", [retry]
        )
    if job.crashes and not job.stacktrace:
        how = "because its workers died"
    elif job.attempts_made >= job.opts.attempts:
        how = "after its last attempt"
    else:
        how = "and another attempt would fail the same way"
    reason = _line(job.failed_reason or "the reason was not saved")
    return Explanation(f"it failed {how}: {reason}", [f"fix the cause, then: {retry}"])


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
