"""Why a job is where it is, in one sentence, and the commands that lead on from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..broker.states import State, names_of
from .report import ago, duration, moment, now_ms

if TYPE_CHECKING:
    from ..health import Patient
    from ..queues.job import Job
    from ..queues.queue import Queue


@dataclass(frozen=True)
class Why:
    """Why a job is where it is, and what to do next."""

    why: str
    next: list[str]


def explain(patient: Patient, queue: Queue, job: Job) -> Why:
    """Return why a job waits, runs or has ended.

    Raises `Unavailable`.
    """
    if job.status in names_of(State.WAITING):
        return _waiting(patient, queue, job)
    if job.status == "delayed":
        return _delayed(patient, job)
    if job.status == "active":
        return _active(queue, job)
    return _ended(job)


def _waiting(patient: Patient, queue: Queue, job: Job) -> Why:
    from ..health import why_still

    cancel = f"nomad cancel {job.id} --reason …"
    still = why_still(patient, queue)
    if still.reason == "unknown":
        return Why("it waits for its turn: places are free, workers live", [cancel])
    ahead = queue.jobs(job.status, 0, 0)
    turn = " (it is the next)" if ahead and ahead[0].id == job.id else ""
    return Why(f"it waits{turn}: {still.found}", [*still.fix.splitlines(), cancel])


def _delayed(patient: Patient, job: Job) -> Why:
    from ..broker.worker.message import UNKNOWN_FOR_MS
    from ..health.stillness import deferred_for

    due = f"due {ago(job.due_ms, patient.clock.now_ms())} ({moment(job.due_ms)})"
    next_steps = [f"nomad promote {job.id}", f"nomad cancel {job.id} --reason …"]
    if job.unknown_since_ms is not None:
        fails = moment(job.unknown_since_ms + UNKNOWN_FOR_MS)
        met = _line(str(job.timeline[-1].get("reason", "")))
        why = f"its job type is unknown where it was taken ({met}); {due}; it fails at {fails} unless a worker knows it"
        restart = (
            "nomad workers; restart those that do not know it with the release, or NOMAD_MODULES, that declares it"
        )
        return Why(why, [restart, next_steps[1]])
    reason = deferred_for(job)
    if reason is not None:
        return Why(f"it deferred itself: {reason}; {due}", next_steps)
    if job.failed_reason:
        left = job.attempts - job.attempts_made
        return Why(f"its last attempt failed ({_line(job.failed_reason)}), {left} left; {due}", next_steps)
    return Why(f"it was added with a delay; {due}", next_steps)


def _active(queue: Queue, job: Job) -> Why:
    ran = ago(job.processed_on_ms, now_ms())
    live = [worker.name for worker in queue.workers()]
    if job.worker not in live:
        taken = "another takes it back within 20 s" if live else "it starts again when a worker of its queue does"
        lost = f"it was started {ran} on {job.worker or 'a worker'}, which {_lost(queue, job.worker)}: {taken}"
        return Why(lost, [] if live else ["nomad run workers"])
    limit_ms = next((t.time_limit_ms for t in queue.job_types if t.name == job.name), None)
    limit = f"; its time limit is {duration(limit_ms)}" if limit_ms is not None else ""
    asked = f"; cancelling was asked for ({job.cancel_asked}), its thread has yet to end" if job.cancel_asked else ""
    ran_ms = None if job.processed_on_ms is None else max(0, now_ms() - job.processed_on_ms)
    why = f"it has run for {duration(ran_ms)} on {job.worker}{limit}{asked}"
    return Why(why, [] if job.cancel_asked else [f"nomad cancel {job.id} --reason …"])


def _lost(queue: Queue, worker: str | None) -> str:
    """Return what is known of a worker that is not live; one that is frozen may still come back."""
    silent_ms = None if worker is None else queue.worker_silent_ms(worker)
    if worker is None or silent_ms is None:
        return "is gone"
    host, _, pid = worker.partition("@")[0].rpartition(":")
    search = f": look for PID {pid} on {host}; kill -9 {pid} ends it if it is frozen" if host else ""
    return f"was not heard of for {duration(max(0.0, silent_ms))} (killed or frozen{search})"


def _ended(job: Job) -> Why:
    again = f"nomad retry {job.id}"
    if job.status == "completed":
        return Why("it skipped itself" if job.outcome == "skipped" else "it completed", [])
    if job.outcome == "cancelled":
        return Why(f"an operator cancelled it ({(job.failed_reason or '').removeprefix('cancelled: ')})", [again])
    spent = (
        "all of its attempts are spent" if job.attempts_made >= job.attempts else "another attempt would end the same"
    )
    lost = "its workers died under it" if job.crashes and not job.stacktrace else spent
    return Why(
        f"it failed, {lost}: {_line(job.failed_reason or 'no reason was kept')}", [f"mend the cause, then: {again}"]
    )


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
