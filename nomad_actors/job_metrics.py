"""Queue statistics and health under the original system's names (camelCase, times in ms), and timers for own work.

Ended jobs are counted by the scripts that settle them, over the given window, not by counting kept jobs. If none
ended, a rate is null: neither 0 nor 100 would be true.

Every function about queues uses this process' application (`nomad_actors.connect()`), or the `queues` of another. It
raises `NomadError` if there is none, `Unavailable` if Redis does not answer, `UnknownQueue`, and `BadInput` for a
window that is not 60 to 86400 seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .broker.records.stats import Durations
from .broker.states import State
from .health import Installation, examine, system_health
from .health.models import Kept, Percentiles, QueueDetails, QueueMetrics, Summary, Worker
from .metrics.work import Timer, record_job_metric, timer
from .queues import Queues, default_queues
from .queues.across_queues import jobs_of_all, read_snapshots
from .queues.models import LimitsInForce, ListedJob, Pause
from .queues.snapshot import DAY_SECONDS as DEFAULT_WINDOW_SECONDS
from .queues.snapshot import QueueSnapshot, check_window, readable
from .store.database import Database

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
    "queue_details",
    "record_job_metric",
    "timer",
]

Json = dict[str, Any]

#: Other outcomes, which are in no rate.
_OTHER_OUTCOMES = ("skipped", "cancelled", "retried", "deferred", "released", "recovered")


def get_queue_metrics(name: str, window_seconds: int = DEFAULT_WINDOW_SECONDS, *, queues: Queues | None = None) -> Json:
    """Return one queue's metrics: jobs by state now, and jobs that ended in the last `window_seconds`."""
    snapshot = _of(queues).get_queue(name).snapshot(window_seconds=window_seconds)
    return QueueMetrics.model_construct(**_metrics(snapshot, window_seconds)).as_json()


def _metrics(queue: QueueSnapshot, window_seconds: int) -> Json:
    stats, counts = queue.stats(window_seconds), queue.counts
    return {
        "queue_name": queue.name,
        **{state: counts[state] for state in ("waiting", "active", "delayed", "paused")},
        "completed": stats.completed,
        "failed": stats.failed,
        "total": stats.ended,
        "completion_rate": _percent(stats.completed, stats.ended),
        "failure_rate": _percent(stats.failed, stats.ended),
        "avg_processing_time": _rounded(stats.tally.run.mean_ms()),
        "processing_time": _percentiles(stats.tally.run),
        "wait_time": _percentiles(stats.tally.wait),
        **{name: getattr(stats.tally, name) for name in _OTHER_OUTCOMES},
        "window_seconds": stats.window_seconds,
        "kept": Kept(completed=counts["completed"], failed=counts["failed"], cancelled=queue.cancelled),
        "is_paused": queue.is_paused,
        "pauses": [Pause.of(pause) for pause in queue.pauses],
    }


def get_queue_details(name: str, window_seconds: int = DEFAULT_WINDOW_SECONDS, *, queues: Queues | None = None) -> Json:
    """Return one queue's metrics, live workers and job types, and the ages of its oldest jobs."""
    snapshot = _of(queues).get_queue(name).snapshot(window_seconds=window_seconds)
    return queue_details(snapshot, window_seconds).as_json()


def queue_details(queue: QueueSnapshot, window_seconds: int = DEFAULT_WINDOW_SECONDS) -> QueueDetails:
    """Return the details of a queue's snapshot."""
    return QueueDetails.of_attributes(
        queue,
        **_metrics(queue, window_seconds),
        limits=LimitsInForce.of_queue(queue),
        workers=[Worker(name=worker.name, heard_at=int(worker.heard_ms)) for worker in queue.workers],
        job_types=list(queue.job_names),
    )


def get_all_queue_metrics(window_seconds: int = DEFAULT_WINDOW_SECONDS, *, queues: Queues | None = None) -> list[Json]:
    """Return the metrics of every queue that can be read, by name."""
    return [metrics.as_json() for metrics in _all_metrics(window_seconds, queues)]


def _all_metrics(window_seconds: int, queues: Queues | None) -> list[QueueMetrics]:
    check_window(window_seconds)
    snapshots = read_snapshots(_of(queues), window_seconds=window_seconds)
    return [QueueMetrics.model_construct(**_metrics(queue, window_seconds)) for queue in readable(snapshots)]


def get_job_activity_summary(window_seconds: int = DEFAULT_WINDOW_SECONDS, *, queues: Queues | None = None) -> Json:
    """Return every queue's metrics and their sums; `totalJobs` counts jobs that ended in the window."""
    metrics = _all_metrics(window_seconds, queues)
    counted = ("active", "completed", "failed", "waiting", "delayed", "paused")
    sums = {f"{name}_jobs": sum(getattr(queue, name) for queue in metrics) for name in counted}
    completed, failed = sums["completed_jobs"], sums["failed_jobs"]
    return Summary(
        queues=metrics,
        total_jobs=completed + failed,
        **sums,
        overall_completion_rate=_percent(completed, completed + failed),
        overall_failure_rate=_percent(failed, completed + failed),
        window_seconds=window_seconds,
    ).as_json()


def get_failed_jobs(
    limit: int = 50, *, outcomes: Sequence[str] = ("failed",), queues: Queues | None = None
) -> list[Json]:
    """Return up to `limit` failed jobs of all queues, the most recent failure first.

    Cancelled jobs are left out unless `outcomes` contains "cancelled". Raises `BadInput` for an invalid outcome.
    """
    page = jobs_of_all(_of(queues), State.FAILED, outcomes=tuple(outcomes), limit=limit)
    return [ListedJob.of(job).as_json() for job in page.jobs]


def get_active_jobs(limit: int = 50, *, queues: Queues | None = None) -> list[Json]:
    """Return up to `limit` running jobs of all queues, the longest-running first."""
    page = jobs_of_all(_of(queues), State.ACTIVE, limit=limit)
    return [ListedJob.of(job).as_json() for job in page.jobs]


def get_job_system_health(*, queues: Queues | None = None, database: Database | None = None) -> Json:
    """Return whether the job system is healthy, and each problem with its remedy.

    The result is that of `nomad doctor`. `database` is an open database; if None, one is opened with the
    application's settings.
    """
    of = _of(queues)
    installation = Installation(of.settings, of.clock, of.broker, of, database=database)
    # Read first, because it raises `Unavailable`: without Redis there is no result.
    scheduler = installation.scheduler
    return system_health(examine(installation), of, scheduler).as_json()


def _of(queues: Queues | None) -> Queues:
    return default_queues() if queues is None else queues


def _percentiles(durations: Durations) -> Percentiles:
    # They are read from buckets, so they are accurate to 20 %.
    p50, p95, p99 = (_rounded(durations.percentile_ms(share)) for share in (0.5, 0.95, 0.99))
    return Percentiles(p50=p50, p95=p95, p99=p99)


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


def _percent(part: int, total: int) -> float | None:
    return round(100 * part / total, 2) if total else None
