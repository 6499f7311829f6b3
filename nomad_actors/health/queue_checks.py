"""The queues: can a worker run its jobs, and is each one moving; if not, why: the first known reason that applies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ..broker.client.queue_facts import RunningJob
from ..broker.errors import Refusal
from ..broker.worker.message import UNKNOWN_FOR_MS
from ..findings import Finding, Severity
from ..logs.counted import counted
from ..queues.job import Job
from ..queues.snapshot import QueueSnapshot, describe_pause, in_utc, resume_command
from ..settings.redis_urls import redis_cli
from .installation import Installation

#: How many delayed jobs are checked.
DELAYED_SAMPLE = 20
START_WORKERS = "nomad run workers"
#: How many unreadable records are reported one by one.
MAX_UNREADABLE = 20
#: What stops workers' heartbeats; a full Redis does not.
_NO_HEARTBEATS = (Refusal.DISK, Refusal.REPLICA)
_NAMED_JOBS = 3


def workers(installation: Installation) -> Iterator[Finding]:
    """Report the queues that no live worker serves, as one finding if there is no live worker at all."""
    refusal, queues = installation.server.refusal, installation.readable
    unserved = [queue for queue in queues if not queue.workers]
    if len(unserved) == len(queues) > 1:
        counts = _in_words(sum((Counter(queue.counts) for queue in unserved), Counter()))
        cause, remedy = _no_workers(f"any of the {len(queues)} queues", refusal)
        found, names = f"{cause} ({counts})", tuple(queue.name for queue in unserved)
        yield Finding("workers", Severity.PROBLEM, found, remedy, subjects=names, runbook="NomadNoWorkers")
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
            counts = "" if found.severity is Severity.OK else f" ({_in_words(queue.counts)})"
            yield replace(found, cause=f"{found.cause}{counts}")


def _moving(queue: QueueSnapshot, delayed: Sequence[Job], still_ms: float) -> Finding:
    braked = not queue.counts["waiting"] and queue.counts["delayed"] and held_back(delayed)
    if braked or (_work_is_due(queue, still_ms) and not _started_lately(queue, still_ms)):
        return why_still(queue, delayed) or unexplained(queue)
    return Finding(f"queue {queue.name}", Severity.OK, _in_words(queue.counts), subject=queue.name)


def _in_words(counts: Mapping[str, int]) -> str:
    waiting = counts["waiting"] + counts["paused"]
    return f"{waiting} waiting, {counts['active']} active, {counts['delayed']} delayed"


def _work_is_due(queue: QueueSnapshot, still_ms: float) -> bool:
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


def why_still(snapshot: QueueSnapshot, delayed: Sequence[Job]) -> Finding | None:
    """Return why no job of a queue starts, None if no known reason applies; `delayed` are its next delayed jobs."""
    return (
        _without_workers(snapshot)
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


def _without_workers(snapshot: QueueSnapshot) -> Finding | None:
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
    shown = "shows them; they run by themselves when the brake ends (those of ESI and SSO: nomad esi)"
    remedy = f"nomad jobs {snapshot.name} --status delayed\n{shown}"
    return _finding(snapshot, Severity.WARNING, cause, remedy)


def _jobs(running: Sequence[RunningJob]) -> str:
    named = [f"{job.job_id} since {in_utc(job.since_ms)} on {job.worker}" for job in running[:_NAMED_JOBS]]
    more = f" and {len(running) - _NAMED_JOBS} more" if len(running) > _NAMED_JOBS else ""
    return "; ".join(named) + more
