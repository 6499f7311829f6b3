"""The queues: whether each one moves, and whether anybody can run what waits in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from ..broker.errors import Refusal
from ..broker.worker.message import UNKNOWN_FOR_MS
from ..queues.job import Job
from ..queues.queue import Queue, of_readable, redis_errors
from ..settings.redis_cli import redis_cli
from .findings import Finding, Patient, Status
from .stillness import Reason, held_back, paused, why_still

#: How many unreadable records are told of one by one.
MAX_UNREADABLE = 20
#: What holds a queue back as somebody wants it, or for a while.
_STATUS = dict.fromkeys((Reason.PAUSED, Reason.PLACES_TAKEN, Reason.LIMIT, Reason.BRAKE), Status.WARNING)
START_WORKERS = "nomad run workers"
#: What keeps workers from saying that they live; a full Redis does not.
_NO_HEARTBEATS = (Refusal.DISK, Refusal.REPLICA)


def workers(patient: Patient) -> Iterator[Finding]:
    """Report the queues that no live worker serves, all of them as one when there is no live worker at all."""
    refusal = patient.queues.server_facts().refusal
    queues = [patient.queues.get_queue(name) for name in patient.queues.names()]
    unserved = [queue.name for queue in queues if not queue.workers()]
    if len(unserved) == len(queues) > 1:
        each_counts = of_readable(unserved, lambda name: _counts(patient.queues.get_queue(name)))
        told = _in_words(sum(each_counts, Counter()))
        found, fix = _no_workers(f"any of the {len(queues)} queues", refusal)
        yield Finding("workers", Status.PROBLEM, f"{found} ({told})", fix, subjects=tuple(unserved))
    else:
        yield from of_readable(unserved, lambda name: _unserved(patient.queues.get_queue(name), refusal))


def _unserved(queue: Queue, refusal: Refusal | None) -> Finding:
    found, fix = _no_workers("it", refusal)
    return Finding(f"workers {queue.name}", Status.PROBLEM, f"{found} ({_counted(queue)})", fix, subject=queue.name)


def _no_workers(what: str, refusal: Refusal | None) -> tuple[str, str]:
    if refusal in _NO_HEARTBEATS:
        return "no live worker is heard of: Redis takes no change, so none can say that it lives", ""
    return f"no live worker serves {what}", START_WORKERS


def moving(patient: Patient) -> Iterator[Finding]:
    """Tell which queues are paused and, of those that have workers, which do not move, and the first reason for it."""
    found = of_readable(patient.queues.names(), lambda name: list(_of_queue(patient, patient.queues.get_queue(name))))
    for of_queue in found:
        yield from of_queue


def _of_queue(patient: Patient, queue: Queue) -> Iterator[Finding]:
    # Whether or not something is due: who pauses a queue that has work once a day forgets it.
    if held := paused(queue):
        found = f"{held.found} ({_counted(queue)})"
        yield Finding(f"queue {queue.name}", Status.WARNING, found, held.fix, subject=queue.name)
    elif queue.workers():
        yield _moving(patient, queue)


def _moving(patient: Patient, queue: Queue) -> Finding:
    name, told = f"queue {queue.name}", _counted(queue)
    counts = queue.counts()
    braked = not counts["waiting"] and counts["delayed"] and held_back(queue)
    if not braked and not (_work_is_due(patient, queue) and not _started_lately(patient, queue)):
        return Finding(name, Status.OK, told, subject=queue.name)
    still = why_still(patient, queue)
    status = _STATUS.get(still.reason, Status.PROBLEM)
    return Finding(name, status, f"{still.found} ({told})", still.fix, subject=queue.name)


def _counted(queue: Queue) -> str:
    return _in_words(_counts(queue))


def _counts(queue: Queue) -> Counter[str]:
    return Counter(queue.counts())


def _in_words(counts: Mapping[str, int]) -> str:
    waiting = counts["waiting"] + counts["paused"]
    return f"{waiting} waiting, {counts['active']} active, {counts['delayed']} delayed"


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


def records(patient: Patient) -> Iterator[Finding]:
    """Tell of everything in Redis that cannot be read, with its id, the reason and how to remove it."""
    with redis_errors():
        found = patient.broker.unreadable_records(patient.queues.names())
    cli = redis_cli(patient.settings)
    for each in found[:MAX_UNREADABLE]:
        yield Finding("records", Status.PROBLEM, each.found, each.removal(cli), subject=each.queue)
    if len(found) > MAX_UNREADABLE:
        yield Finding("records", Status.PROBLEM, f"{len(found) - MAX_UNREADABLE} more records cannot be read")
    if not found:
        yield Finding("records", Status.OK, "everything that was looked at can be read")


def job_types(patient: Patient) -> Iterator[Finding]:
    """Tell of which jobs no code here, or no live worker, knows the job type, within a sample of each queue."""
    found: list[Finding] = []
    samples = of_readable(
        patient.queues.names(), lambda name: (name, _sample(patient.queues.get_queue(name), patient.limits.sample_jobs))
    )
    for name, sample in samples:
        queue = patient.queues.get_queue(name)
        known = set(queue.job_names)
        unknown = {state: Counter(job.name for job in jobs if job.name not in known) for state, jobs in sample.items()}
        if by_state := {state: names for state, names in unknown.items() if names}:
            found.append(_unknown(queue.name, by_state))
        if put_off := [job for job in sample["delayed"] if job.unknown_since_ms is not None]:
            found.append(_unknown_to_workers(queue, put_off))
    yield from found or [Finding("job types", Status.OK, "this code and the workers know those of all jobs looked at")]


def _sample(queue: Queue, count: int) -> dict[str, list[Job]]:
    """Return the first jobs of the states in which a job's type matters."""
    # Delayed too: a worker that does not know a job's type puts it off, for another may know it.
    states = ("paused" if queue.is_paused() else "waiting", "delayed", "failed")
    return {state: queue.jobs(state, 0, count - 1) for state in states}


def _unknown_to_workers(queue: Queue, put_off: list[Job]) -> Finding:
    names = Counter(job.name for job in put_off).most_common(3)
    told = ", ".join(f"{count} {name}" for name, count in names)
    workers = ", ".join(worker.name for worker in queue.workers()) or "none lives now"
    first_ms = min(job.unknown_since_ms or 0 for job in put_off) + UNKNOWN_FOR_MS
    first = datetime.fromtimestamp(first_ms / 1000, UTC).strftime("%H:%M:%S UTC")
    found = (
        f"the worker that took them did not know the job type of {told} (live: {workers}); put off again and again, "
        f"they fail {UNKNOWN_FOR_MS // 60_000} minutes after that, the first at {first}"
    )
    fix = "restart those workers with the release and the NOMAD_MODULES that declare it (here: nomad config)"
    return Finding(f"worker job types {queue.name}", Status.PROBLEM, found, fix, subject=queue.name)


def _unknown(queue: str, by_state: dict[str, Counter[str]]) -> Finding:
    told = ", ".join(
        f"{count} {name} {state}" for state, names in by_state.items() for name, count in names.most_common(3)
    )
    found = f"jobs of job types that this code does not know: {told}"
    fix = f"nomad jobs {queue} --status {','.join(by_state)}\nthen deploy the code that declares them (NOMAD_MODULES)"
    status = Status.WARNING if set(by_state) == {"failed"} else Status.PROBLEM
    return Finding(f"job types {queue}", status, found, fix, subject=queue)
