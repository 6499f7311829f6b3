"""Compares each queue with its thresholds, which the alerts use too: failures, long runs, waiting jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..findings import Finding, Severity
from ..logs.counted import counted
from ..queues.overruns import Overrun
from ..queues.snapshot import QueueSnapshot
from ..thresholds import ALERTS, Thresholds, of_queue
from .installation import Installation


def limits(installation: Installation) -> Iterator[Finding]:
    """Check every queue against its thresholds."""
    found = [
        each for queue in installation.readable for each in _beyond(queue, installation.overruns.get(queue.name, ()))
    ]
    fine = "failures, run times and waiting jobs are within every queue's thresholds"
    yield from found or [Finding("health", Severity.OK, fine)]


def _beyond(queue: QueueSnapshot, overruns: Sequence[Overrun]) -> list[Finding]:
    limits = of_queue(queue.name)
    found = [*_failing(queue, limits), *_stuck(queue, overruns, limits)]
    # Jobs wait in a paused queue because of the pause; to call them a backlog would hide the reason.
    return found if queue.is_paused else found + _backed_up(queue, limits)


def _problem(queue: QueueSnapshot, cause: str, remedy: str, runbook: str) -> Finding:
    return Finding(f"health {queue.name}", Severity.PROBLEM, cause, remedy, subject=queue.name, runbook=runbook)


def _failing(queue: QueueSnapshot, limits: Thresholds) -> list[Finding]:
    stats = queue.stats(limits.failure_window_seconds)
    ended = stats.ended
    if ended < max(1, limits.failure_least_ended):
        return []
    percent = round(100 * stats.failed / ended, 2)
    if percent <= limits.failure_percent:
        return []
    minutes = limits.failure_window_seconds // 60
    found = (
        f"{stats.failed} of {counted(ended, 'job')} failed in the last {minutes} minutes ({percent} %, more than "
        f"{limits.failure_percent:g} %)"
    )
    fix = f"nomad failures {queue.name}\nshows why; when the cause is fixed: nomad retry --failed {queue.name}"
    return [_problem(queue, found, fix, "NomadFailureRateHigh")]


def _backed_up(queue: QueueSnapshot, limits: Thresholds) -> list[Finding]:
    found: list[tuple[str, str]] = []
    waiting, oldest_ms = queue.counts["waiting"], queue.oldest_waiting_ms
    if limits.waiting_jobs is not None and waiting > limits.waiting_jobs:
        found.append((f"{counted(waiting, 'job')} waiting, more than {limits.waiting_jobs}", "NomadBacklog"))
    drain_seconds = _drain_seconds(queue, waiting, oldest_ms, limits)
    if limits.drain_seconds is not None and drain_seconds is not None and drain_seconds > limits.drain_seconds:
        cause = (
            f"at the rate of the last hour its {waiting} waiting jobs take {_duration(drain_seconds * 1000)}, "
            f"more than {_duration(limits.drain_seconds * 1000)}"
        )
        found.append((cause, "NomadDrainTooSlow"))
    if oldest_ms is not None and oldest_ms > limits.oldest_waiting_seconds * 1000:
        longest = _duration(limits.oldest_waiting_seconds * 1000)
        cause = f"its oldest job has waited for {_duration(oldest_ms)}, more than {longest}"
        found.append((cause, "NomadOldestWaitingTooOld"))
    variable = f"NOMAD_CONCURRENCY_{queue.name.upper().replace('-', '_')}"
    fix = (
        f"nomad jobs {queue.name} --status active\nshows whether its jobs have become slow; nomad doctor shows "
        f"whether the queue is moving; to run more jobs at the same time: nomad run workers, or {variable}"
    )
    return [_problem(queue, cause, fix, runbook) for cause, runbook in found]


def _drain_seconds(queue: QueueSnapshot, waiting: int, oldest_ms: int | None, limits: Thresholds) -> float | None:
    """Return how long the waiting jobs take at the present rate; None if the rate is not known.

    Until the queue has had work for the full window, the rate includes idle time. If nothing ended in the window, the
    age of the oldest job is reported instead.
    """
    if limits.drain_seconds is None or oldest_ms is None or oldest_ms < limits.drain_least_age_seconds * 1000:
        return None
    window_seconds = ALERTS.drain_window_seconds
    ended = queue.stats(window_seconds).ended
    return waiting * window_seconds / ended if ended else None


def _stuck(queue: QueueSnapshot, overruns: Sequence[Overrun], limits: Thresholds) -> list[Finding]:
    return [
        _problem(
            queue,
            f"job {overrun.job.id} ({overrun.job.name}) has run for {_duration(overrun.ran_ms)}, longer than its "
            f"time limit of {_duration(overrun.limit_ms)}",
            f"nomad cancel {overrun.job.id} --reason hangs\nif it keeps running, stop its worker (nomad job "
            f"{overrun.job.id} names it): another worker then runs the job",
            "NomadJobBeyondTimeLimit",
        )
        for overrun in overruns
        if overrun.over_ms > limits.beyond_time_limit_seconds * 1000
    ]


def _duration(ms: float) -> str:
    minutes, seconds = divmod(int(ms) // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
