"""The queues: is each one moving, and can a worker run its jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ..broker.errors import Refusal
from ..broker.worker.message import UNKNOWN_FOR_MS
from ..findings import Finding, Severity
from ..queues.job import Job
from ..queues.snapshot import QueueSnapshot
from ..settings.redis_urls import redis_cli
from .installation import Installation
from .stillness import START_WORKERS, held_back, paused, unexplained, why_still

#: How many unreadable records are reported one by one.
MAX_UNREADABLE = 20
#: What stops workers' heartbeats; a full Redis does not.
_NO_HEARTBEATS = (Refusal.DISK, Refusal.REPLICA)


def workers(installation: Installation) -> Iterator[Finding]:
    """Report the queues that no live worker serves, as one finding if there is no live worker at all."""
    refusal, queues = installation.server.refusal, installation.readable
    unserved = [queue for queue in queues if not queue.workers]
    if len(unserved) == len(queues) > 1:
        counts = _in_words(sum((Counter(queue.counts) for queue in unserved), Counter()))
        cause, remedy = _no_workers(f"any of the {len(queues)} queues", refusal)
        names = tuple(queue.name for queue in unserved)
        yield Finding(
            "workers", Severity.PROBLEM, f"{cause} ({counts})", remedy, subjects=names, runbook="NomadNoWorkers"
        )
    else:
        yield from (_unserved(queue, refusal) for queue in unserved)


def _unserved(queue: QueueSnapshot, refusal: Refusal | None) -> Finding:
    cause, remedy = _no_workers("it", refusal)
    found = f"{cause} ({_in_words(queue.counts)})"
    name = f"workers {queue.name}"
    return Finding(name, Severity.PROBLEM, found, remedy, subject=queue.name, runbook="NomadQueueUnserved")


def _no_workers(what: str, refusal: Refusal | None) -> tuple[str, str]:
    if refusal in _NO_HEARTBEATS:
        return "no worker sends heartbeats: Redis accepts no changes, so workers cannot report that they are live", ""
    return f"no live worker serves {what}", START_WORKERS


def moving(installation: Installation) -> Iterator[Finding]:
    """Report the paused queues, and queues that have workers but are not moving, with the first reason."""
    for queue in installation.readable:
        # Even if nothing is due: the pause of a queue that has work once a day is easily forgotten.
        found = paused(queue)
        if found is None and queue.workers:
            delayed = installation.samples.get(queue.name, {}).get("delayed", ())
            found = _moving(queue, delayed, installation.limits.not_moving_seconds * 1000)
        if found is not None:
            yield found if found.severity is Severity.OK else _with_counts(found, queue)


def _moving(queue: QueueSnapshot, delayed: Sequence[Job], still_ms: float) -> Finding:
    braked = not queue.counts["waiting"] and queue.counts["delayed"] and held_back(delayed)
    if braked or (_work_is_due(queue, still_ms) and not _started_lately(queue, still_ms)):
        return why_still(queue, delayed) or unexplained(queue)
    return Finding(f"queue {queue.name}", Severity.OK, _in_words(queue.counts), subject=queue.name)


def _with_counts(found: Finding, queue: QueueSnapshot) -> Finding:
    return replace(found, cause=f"{found.cause} ({_in_words(queue.counts)})")


def _in_words(counts: Mapping[str, int]) -> str:
    waiting = counts["waiting"] + counts["paused"]
    return f"{waiting} waiting, {counts['active']} active, {counts['delayed']} delayed"


def _work_is_due(queue: QueueSnapshot, still_ms: float) -> bool:
    """Return True if a job has been waiting, or due, for too long."""
    oldest_ms, due_ms = queue.oldest_waiting_ms, queue.facts.next_due_ms
    return (oldest_ms is not None and oldest_ms >= still_ms) or (
        due_ms is not None and queue.now_ms - due_ms >= still_ms
    )


def _started_lately(queue: QueueSnapshot, still_ms: float) -> bool:
    """Return True if a job started recently, or ended in this minute."""
    newest_ms = max((job.since_ms for job in queue.running), default=0.0)
    ended = queue.facts.tally(1)
    # A thread that was freed took the next job at once.
    return queue.now_ms - newest_ms < still_ms or ended.completed + ended.failed > 0


def records(installation: Installation) -> Iterator[Finding]:
    """Report every record in Redis that cannot be read, with its id, the reason and how to remove it."""
    found = installation.broker.unreadable_records(installation.queues.names(), installation.scheduler.names_by_queue())
    cli = redis_cli(installation.settings)
    for each in found[:MAX_UNREADABLE]:
        yield Finding("records", Severity.PROBLEM, each.found, each.removal(cli), subject=each.queue)
    if len(found) > MAX_UNREADABLE:
        yield Finding("records", Severity.PROBLEM, f"{len(found) - MAX_UNREADABLE} more records cannot be read")
    if not found:
        yield Finding("records", Severity.OK, "all records that were checked can be read")


def job_types(installation: Installation) -> Iterator[Finding]:
    """Report jobs whose job type this code, or no live worker, knows; it checks a sample of each queue."""
    found: list[Finding] = []
    for queue in installation.readable:
        sample, known = installation.samples.get(queue.name, {}), set(queue.job_names)
        unknown = {state: Counter(job.name for job in jobs if job.name not in known) for state, jobs in sample.items()}
        if by_state := {state: names for state, names in unknown.items() if names}:
            found.append(_unknown(queue.name, by_state))
        if deferred := [job for job in sample.get("delayed", ()) if job.unknown_since_ms is not None]:
            found.append(_unknown_to_workers(queue, deferred))
    fine = "this code and the workers know the job types of all sampled jobs"
    yield from found or [Finding("job types", Severity.OK, fine)]


def _unknown_to_workers(queue: QueueSnapshot, deferred: list[Job]) -> Finding:
    names = Counter(job.name for job in deferred).most_common(3)
    counts = ", ".join(f"{count} {name}" for name, count in names)
    live = ", ".join(worker.name for worker in queue.workers) or "none"
    first_ms = min(job.unknown_since_ms or 0 for job in deferred) + UNKNOWN_FOR_MS
    first = datetime.fromtimestamp(first_ms / 1000, UTC).strftime("%H:%M:%S UTC")
    cause = (
        f"the worker that took them did not know the job type of {counts} (live workers: {live}); they are deferred "
        f"and fail after {UNKNOWN_FOR_MS // 60_000} minutes, the first at {first}"
    )
    remedy = "restart the workers with a release and NOMAD_MODULES that declare it (this host's: nomad config)"
    return Finding(f"worker job types {queue.name}", Severity.PROBLEM, cause, remedy, subject=queue.name)


def _unknown(queue: str, by_state: dict[str, Counter[str]]) -> Finding:
    counts = ", ".join(
        f"{count} {name} {state}" for state, names in by_state.items() for name, count in names.most_common(3)
    )
    cause = f"this code does not know the job types of these jobs: {counts}"
    remedy = (
        f"nomad jobs {queue} --status {','.join(by_state)}\nthen deploy the code that declares them (NOMAD_MODULES)"
    )
    severity = Severity.WARNING if set(by_state) == {"failed"} else Severity.PROBLEM
    return Finding(f"job types {queue}", severity, cause, remedy, subject=queue)
