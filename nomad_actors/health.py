"""Whether the job system is healthy and, where not, what is wrong and what to do, in words.

The limits are those of the alerts (`thresholds`). Every function raises `Unavailable` when Redis does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import pauses
from .broker.holds import Pause
from .queues import Queue, Queues
from .thresholds import ALERTS, Thresholds, of_queue


def get_job_system_health(queues: Queues, schedule_summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return whether the job system is healthy and, where not, what is wrong and what to do, in words.

    `schedule_summary` is what `get_scheduler_summary` returns. A paused queue is told among the issues, but
    somebody wanted it so: it is not unhealthy.
    """
    checks = [_check(queues.get_queue(name)) for name in queues.names()]
    unhealthy = sum(bool(check.problems) for check in checks)
    unserved = [check for check in checks if not check.served]
    schedule_issues = _schedule_issues(schedule_summary)
    return {
        "healthy": not unhealthy and not unserved and not schedule_issues,
        "queues": {
            "total": len(checks),
            "healthy": len(checks) - unhealthy,
            "unhealthy": unhealthy,
            "issues": [issue for check in checks for issue in (*check.problems, *check.notes)],
        },
        "scheduledJobs": {
            **{key: schedule_summary[key] for key in ("total", "running", "stopped")},
            "issues": schedule_issues,
        },
        "workers": {
            "total": len(checks),
            "active": len(checks) - len(unserved),
            "issues": [_unserved(check.queue) for check in unserved],
        },
    }


@dataclass(frozen=True)
class _Check:
    queue: str
    problems: Sequence[str]
    notes: Sequence[str]
    served: bool


def _check(queue: Queue) -> _Check:
    limits, counts = of_queue(queue.name), queue.counts()
    problems = [*_failing(queue, limits), *_stuck(queue, limits)]
    notes: list[str] = []
    if queue.is_paused():
        # What waits does so because of the pause; to call it a backlog would hide the reason.
        notes += [_paused(queue.name, pause, counts["paused"]) for pause in queue.pauses()]
    else:
        problems += _backed_up(queue, counts["waiting"], limits)
    return _Check(queue.name, problems, notes, served=bool(queue.workers()))


def _failing(queue: Queue, limits: Thresholds) -> list[str]:
    stats = queue.stats(limits.failure_window_seconds)
    ended = stats.completed + stats.failed
    if ended < max(1, limits.failure_least_ended):
        return []
    percent = round(100 * stats.failed / ended, 2)
    if percent <= limits.failure_percent:
        return []
    minutes = limits.failure_window_seconds // 60
    return [
        f"{queue.name}: {stats.failed} of {ended} jobs failed in the last {minutes} minutes ({percent} %, more than "
        f"{limits.failure_percent:g} %); read the reasons of its failed jobs, mend the cause, then retry them"
    ]


def _backed_up(queue: Queue, waiting: int, limits: Thresholds) -> list[str]:
    found: list[str] = []
    if limits.waiting_jobs is not None and waiting > limits.waiting_jobs:
        found.append(
            f"{queue.name}: {waiting} jobs wait, more than {limits.waiting_jobs}; start more workers or raise "
            "the queue's concurrency, and look whether its jobs have become slow"
        )
    drain_seconds = _drain_seconds(queue, waiting) if limits.drain_seconds is not None else None
    if limits.drain_seconds is not None and drain_seconds is not None and drain_seconds > limits.drain_seconds:
        found.append(
            f"{queue.name}: at the pace of the last hour its {waiting} waiting jobs take "
            f"{_duration(drain_seconds * 1000)}, longer than {_duration(limits.drain_seconds * 1000)}; start more "
            "workers or raise the queue's concurrency"
        )
    oldest_ms = queue.oldest_waiting_ms()
    if oldest_ms is not None and oldest_ms > limits.oldest_waiting_seconds * 1000:
        found.append(
            f"{queue.name}: its oldest job has waited {_duration(oldest_ms)}, longer than "
            f"{_duration(limits.oldest_waiting_seconds * 1000)}; see that its workers run, then start more of them"
        )
    return found


def _drain_seconds(queue: Queue, waiting: int) -> float | None:
    """Return how long what waits takes at the present pace; None when nothing ended, which its age will tell."""
    window_seconds = ALERTS.drain_window_seconds
    stats = queue.stats(window_seconds)
    ended = stats.completed + stats.failed
    return waiting * window_seconds / ended if ended else None


def _stuck(queue: Queue, limits: Thresholds) -> list[str]:
    return [
        f"{queue.name}: job {overrun.job.id} ({overrun.job.name}) has run {_duration(overrun.ran_ms)}, longer than its "
        f"time limit of {_duration(overrun.limit_ms)}; if it holds on, restart its worker: the job is then given to "
        "another"
        for overrun in queue.overruns()
        if overrun.over_ms > limits.beyond_time_limit_seconds * 1000
    ]


def _paused(queue: str, pause: Pause, waiting: int) -> str:
    return f"{queue}: {pauses.in_words(pause)}; {waiting} jobs wait; {pauses.ended_by(queue, pause.scope)}"


def _unserved(queue: str) -> str:
    return f"{queue}: no live worker serves it; start one (make run-workers) and look at what its log says"


def _schedule_issues(summary: Mapping[str, Any]) -> list[str]:
    found = [_schedule_issue(job) for job in summary["jobs"] if job.get("lastStatus") == "failed"]
    found += [f"{job['name']}: overdue: {job['overdue']}" for job in summary["jobs"] if job.get("overdue")]
    if not any(each["live"] for each in summary["schedulers"]):
        found.append("no live scheduler: nothing that is due is added; start one (make run-scheduler)")
    return found


def _schedule_issue(job: Mapping[str, Any]) -> str:
    return (
        f"{job['name']}: its last job failed; read the reason at "
        f"/admin/jobs/queues/{job.get('queueName')}/jobs/{job.get('lastJobId')}, then retry it"
    )


def _duration(ms: float) -> str:
    minutes, seconds = divmod(int(ms) // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
