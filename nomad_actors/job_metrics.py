"""Numbers about the queues in the original system's words (camelCase, times in ms); its job metrics service.

What ended is counted by the settling scripts over a stated window, not by the jobs that happen to be kept. Where
nothing ended, a rate is null: neither 0 nor 100 would be true. Every function raises `Unavailable` when Redis does not
answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .broker.stats import Durations
from .health import get_job_system_health
from .job import Job
from .queues import Queues
from .work_metrics import Timer, record_job_metric, timer

__all__ = [
    "DEFAULT_WINDOW_SECONDS",
    "Timer",
    "get_active_jobs",
    "get_all_queue_metrics",
    "get_failed_jobs",
    "get_job_activity_summary",
    "get_job_system_health",
    "get_queue_details",
    "get_queue_metrics",
    "record_job_metric",
    "timer",
]

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
