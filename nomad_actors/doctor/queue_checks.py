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
    queues = [patient.queues.get_queue(name) for name in patient.queues.names()]
    unknown = {queue.name: found for queue in queues if (found := _unknown_in(queue, patient.limits.sample_jobs))}
    for name, by_state in unknown.items():
        yield _unknown(name, by_state)
    if not unknown:
        yield Finding("job types", Status.OK, "this code knows those of all jobs looked at")


def _unknown_in(queue: Queue, sample: int) -> dict[str, Counter[str]]:
    """Return how many jobs of each state are of which unknown job types."""
    known = {job_type.name for job_type in queue.job_types}
    # Delayed too: a worker that does not know a job's type puts it off, for another may know it.
    states = ("paused" if queue.is_paused() else "waiting", "delayed", "failed")
    found = {
        state: Counter(job.name for job in queue.jobs(state, 0, sample - 1) if job.name not in known)
        for state in states
    }
    return {state: names for state, names in found.items() if names}


def _unknown(queue: str, by_state: dict[str, Counter[str]]) -> Finding:
    told = ", ".join(
        f"{count} {name} {state}" for state, names in by_state.items() for name, count in names.most_common(3)
    )
    found = f"jobs of job types that this code does not know: {told}"
    fix = f"nomad jobs {queue} --status {','.join(by_state)}; then deploy the code that declares them (NOMAD_MODULES)"
    status = Status.WARNING if set(by_state) == {"failed"} else Status.PROBLEM
    return Finding(f"job types {queue}", status, found, fix)
