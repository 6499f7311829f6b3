"""Numbers about the queues, and whether they are healthy, in the original system's words (camelCase, times in ms).

What ended is counted by the settling scripts over a stated window, not by the jobs that happen to be kept. Where
nothing ended, a rate is null: neither 0 nor 100 would be true. Every function raises `Unavailable` when Redis does not
answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .broker.holds import Pause, PauseScope
from .broker.stats import Durations
from .job import Job
from .queues import Queue, Queues
from .thresholds import Thresholds, of_queue

DEFAULT_WINDOW_SECONDS = 86_400

JobJson = dict[str, object]

#: What is counted beside jobs that completed or failed; it is in no rate.
_OTHER_OUTCOMES = ("skipped", "cancelled", "retried", "deferred", "released", "recovered")


def get_queue_metrics(queues: Queues, name: str, window_seconds: int = DEFAULT_WINDOW_SECONDS) -> dict[str, Any]:
    """Return one queue's metrics: jobs by state now, and what ended in the last `window_seconds` (60 to 86400).

    Raises `UnknownQueue`, `BadInput` for a window that is not kept.
    """
    queue = queues.get_queue(name)
    stats, counts, pauses = queue.stats(window_seconds), queue.counts(), queue.pauses()
    total = stats.completed + stats.failed
    return {
        "queueName": name,
        "waiting": counts["waiting"],
        "active": counts["active"],
        "delayed": counts["delayed"],
        "paused": counts["paused"],
        "completed": stats.completed,
        "failed": stats.failed,
        "total": total,
        "completionRate": _percent(stats.completed, total),
        "failureRate": _percent(stats.failed, total),
        "avgProcessingTime": _rounded(stats.tally.run.mean_ms()),
        "processingTime": _percentiles(stats.tally.run),
        "waitTime": _percentiles(stats.tally.wait),
        **{name: getattr(stats.tally, name) for name in _OTHER_OUTCOMES},
        "windowSeconds": stats.window_seconds,
        "kept": {"completed": counts["completed"], "failed": counts["failed"]},
        "isPaused": bool(pauses),
        "pauses": [pause.as_json() for pause in pauses],
    }


def get_queue_details(queues: Queues, name: str, window_seconds: int = DEFAULT_WINDOW_SECONDS) -> dict[str, Any]:
    """Return one queue's metrics and, beside them, its live workers, job types and the ages of its oldest jobs.

    Raises as `get_queue_metrics`.
    """
    queue = queues.get_queue(name)
    return {
        **get_queue_metrics(queues, name, window_seconds),
        "oldestWaitingMs": queue.oldest_waiting_ms(),
        "longestActiveMs": queue.longest_active_ms(),
        "concurrency": queue.concurrency,
        "limits": {**queue.limits().as_json(), "inForce": queue.limit_at_a_time()},
        "workers": [{"name": worker.name, "heardAt": worker.heard_ms} for worker in queue.workers()],
        "jobTypes": [job_type.name for job_type in queue.job_types],
    }


def get_all_queue_metrics(queues: Queues, window_seconds: int = DEFAULT_WINDOW_SECONDS) -> list[dict[str, Any]]:
    """Return the metrics of every queue, by name."""
    return [get_queue_metrics(queues, name, window_seconds) for name in queues.names()]


def get_job_activity_summary(queues: Queues, window_seconds: int = DEFAULT_WINDOW_SECONDS) -> dict[str, Any]:
    """Return every queue's metrics and their sums; `totalJobs` is what ended in the window."""
    metrics = get_all_queue_metrics(queues, window_seconds)
    completed, failed = _sum(metrics, "completed"), _sum(metrics, "failed")
    return {
        "queues": metrics,
        "totalJobs": completed + failed,
        "activeJobs": _sum(metrics, "active"),
        "completedJobs": completed,
        "failedJobs": failed,
        "waitingJobs": _sum(metrics, "waiting"),
        "delayedJobs": _sum(metrics, "delayed"),
        "pausedJobs": _sum(metrics, "paused"),
        "overallCompletionRate": _percent(completed, completed + failed),
        "overallFailureRate": _percent(failed, completed + failed),
        "windowSeconds": window_seconds,
    }


def get_failed_jobs(queues: Queues, limit: int = 50) -> list[JobJson]:
    """Return up to `limit` failed jobs over all queues, the last to fail first."""
    jobs = _jobs(queues, "failed", limit)
    jobs.sort(key=lambda job: job.finished_on_ms or 0, reverse=True)
    return [_with_job_id(job) for job in jobs[:limit]]


def get_active_jobs(queues: Queues, limit: int = 50) -> list[JobJson]:
    """Return up to `limit` running jobs over all queues, the longest-running first."""
    jobs = _jobs(queues, "active", limit)
    jobs.sort(key=lambda job: job.processed_on_ms or 0)
    return [_with_job_id(job) for job in jobs[:limit]]


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
    percent = _percent(stats.failed, ended)
    if percent is None or ended < limits.failure_least_ended or percent <= limits.failure_percent:
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
    oldest_ms = queue.oldest_waiting_ms()
    if oldest_ms is not None and oldest_ms > limits.oldest_waiting_seconds * 1000:
        found.append(
            f"{queue.name}: its oldest job has waited {_duration(oldest_ms)}, longer than "
            f"{_duration(limits.oldest_waiting_seconds * 1000)}; see that its workers run, then start more of them"
        )
    return found


def _stuck(queue: Queue, limits: Thresholds) -> list[str]:
    longest_ms = queue.longest_active_ms()
    allowed_ms = {t.name: t.time_limit_ms + limits.beyond_time_limit_seconds * 1000 for t in queue.job_types}
    if longest_ms is None or not allowed_ms or longest_ms <= min(allowed_ms.values()):
        return []
    active = [job for job in queue.jobs("active") if job.processed_on_ms is not None]
    if not active:
        return []
    # Redis told how long the longest runs; the others are measured from it, so that our host's clock plays no part.
    first_ms = min(job.processed_on_ms or 0 for job in active)
    return [
        f"{queue.name}: job {job.id} ({job.name}) has run {_duration(ran_ms)}, longer than its time limit; if it holds "
        "on, restart its worker: the job is then given to another"
        for job in active
        if (ran_ms := longest_ms - ((job.processed_on_ms or 0) - first_ms)) > allowed_ms.get(job.name, ran_ms)
    ]


def _paused(queue: str, pause: Pause, waiting: int) -> str:
    what = "paused" if pause.scope is PauseScope.QUEUE else "paused with all that talks to ESI"
    who = f" by {pause.by}" if pause.by else ""
    why = f" ({pause.reason})" if pause.reason else ""
    end = "resume it when they may run"
    if pause.until_ms is not None:
        end = f"it ends by itself at {datetime.fromtimestamp(pause.until_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"{queue}: {what}{who}{why}, {waiting} jobs wait; {end}"


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


def _jobs(queues: Queues, status: str, limit: int) -> list[Job]:
    return [job for name in queues.names() for job in queues.get_queue(name).jobs(status, 0, limit - 1)]


def _with_job_id(job: Job) -> JobJson:
    """Return a job with the name that the original's lists have for its id, beside BullMQ's."""
    return {"jobId": job.id, **job.as_json()}


def _sum(metrics: Sequence[Mapping[str, Any]], key: str) -> int:
    return sum(int(queue[key]) for queue in metrics)


def _percentiles(durations: Durations) -> dict[str, int | None]:
    """Return percentiles in ms; they are read from buckets, so up to a fifth off."""
    return {f"p{percent}": _rounded(durations.percentile_ms(percent / 100)) for percent in (50, 95, 99)}


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None


def _duration(ms: float) -> str:
    minutes, seconds = divmod(int(ms) // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
