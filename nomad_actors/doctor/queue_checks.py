"""The queues: whether each one moves, and whether anybody can run what waits in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..queue_control import Queue, redis_errors
from .findings import Finding, Patient, Status
from .stillness import Reason, held_back, why_still

_STATUS = {Reason.PAUSED: Status.WARNING, Reason.BRAKE: Status.WARNING, Reason.PLACES_TAKEN: Status.WARNING}


def moving(patient: Patient) -> Iterator[Finding]:
    """Tell of each queue whether it moves and, where it does not, the first reason that explains it."""
    for name in patient.queues.names():
        yield _moving(patient, patient.queues.get_queue(name))


def _moving(patient: Patient, queue: Queue) -> Finding:
    name, counts = f"queue {queue.name}", queue.counts()
    waiting = counts["waiting"] + counts["paused"]
    told = f"{waiting} waiting, {counts['active']} active, {counts['delayed']} delayed"
    if not queue.workers():
        return Finding(name, Status.PROBLEM, f"{told}; no live worker serves it", "nomad run workers")
    braked = not waiting and counts["delayed"] and held_back(queue)
    if not braked and not (_work_is_due(patient, queue) and not _started_lately(patient, queue)):
        return Finding(name, Status.OK, told)
    still = why_still(patient, queue)
    return Finding(name, _STATUS.get(still.reason, Status.PROBLEM), f"{told}; {still.found}", still.fix)


def _work_is_due(patient: Patient, queue: Queue) -> bool:
    """Return whether a job has been waiting, or a delayed one due, for long."""
    still_ms = patient.limits.still_seconds * 1000
    oldest_ms = queue.oldest_waiting_ms()
    if oldest_ms is not None and oldest_ms >= still_ms:
        return True
    with redis_errors():
        due_ms = patient.broker.server().next_due_ms(queue.name)
        now_ms = patient.broker.view(queue.name).counts().now_ms
    return due_ms is not None and now_ms - due_ms >= still_ms


def _started_lately(patient: Patient, queue: Queue) -> bool:
    """Return whether a job started within the time that makes a queue still, or ended in this minute."""
    with redis_errors():
        view, server = patient.broker.view(queue.name), patient.broker.server()
        now_ms, running = view.counts().now_ms, server.running(queue.name)
        ended = view.stats(1)
    newest_ms = max((job.since_ms for job in running), default=0.0)
    # A place that was freed was filled again at once.
    return now_ms - newest_ms < patient.limits.still_seconds * 1000 or ended.completed + ended.failed > 0


def job_types(patient: Patient) -> Iterator[Finding]:
    """Tell which jobs wait, are put off or failed whose job type no code here knows, within a sample of each queue."""
    last, found = patient.limits.sample_jobs - 1, False
    for name in patient.queues.names():
        queue = patient.queues.get_queue(name)
        known = {job_type.name for job_type in queue.job_types}
        waiting = "paused" if queue.is_paused() else "waiting"
        # Delayed too: a worker that does not know a job's type puts it off, for another may know it.
        for state in (waiting, "delayed", "failed"):
            unknown = Counter(job.name for job in queue.jobs(state, 0, last) if job.name not in known)
            if unknown:
                found = True
                yield _unknown(name, state, unknown)
    if not found:
        yield Finding("job types", Status.OK, "this code knows those of all jobs looked at")


def _unknown(queue: str, state: str, unknown: Counter[str]) -> Finding:
    told = ", ".join(f"{count} {name}" for name, count in unknown.most_common(5))
    found = f"{state} jobs of {queue} are of job types that this code does not know: {told}"
    fix = f"deploy the code that declares them (NOMAD_MODULES), or: nomad jobs {queue} --status {state}"
    return Finding("job types", Status.WARNING if state == "failed" else Status.PROBLEM, found, fix)
