"""Numbers about the queues in the original system's words (camelCase, times in ms); its job metrics service.

What ended is counted by the settling scripts over a stated window, not by the jobs that happen to be kept. Where
nothing ended, a rate is null: neither 0 nor 100 would be true.

Every function works on this process' application (`nomad_actors.connect()`), or on the `queues` of another. It raises
`NomadError` when there is none, and `Unavailable` when Redis does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..broker.records.stats import Durations
from ..broker.states import State
from ..queues import Queues, default_queues
from ..queues.across_queues import jobs_of_all
from ..queues.job import Job
from ..queues.queue import of_readable
from ..scheduler.status import Reading, read_scheduler
from ..store.database import Database
from .examine import examine
from .findings import Patient
from .system import system_health

DEFAULT_WINDOW_SECONDS = 86_400

JobJson = dict[str, object]
#: How the jobs of a list of failures ended, unless somebody asks for cancelled ones too.
FAILED = ("failed",)

#: What is counted beside jobs that completed or failed; it is in no rate.
_OTHER_OUTCOMES = ("skipped", "cancelled", "retried", "deferred", "released", "recovered")


def get_queue_metrics(
    name: str, window_seconds: int = DEFAULT_WINDOW_SECONDS, *, queues: Queues | None = None
) -> dict[str, Any]:
    """Return one queue's metrics: jobs by state now, and what ended in the last `window_seconds` (60 to 86400).

    Raises `UnknownQueue`, `BadInput` for a window that is not kept.
    """
    queue = _of(queues).get_queue(name)
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
        "kept": {
            "completed": counts["completed"],
            "failed": counts["failed"],
            # Read a moment later than the others.
            "cancelled": min(queue.cancelled_count(), counts["failed"]),
        },
        "isPaused": bool(pauses),
        "pauses": [pause.as_json() for pause in pauses],
    }


def get_queue_details(
    name: str, window_seconds: int = DEFAULT_WINDOW_SECONDS, *, queues: Queues | None = None
) -> dict[str, Any]:
    """Return one queue's metrics and, beside them, its live workers, job types and the ages of its oldest jobs.

    Raises as `get_queue_metrics`.
    """
    queue = _of(queues).get_queue(name)
    return {
        **get_queue_metrics(name, window_seconds, queues=queues),
        "oldestWaitingMs": queue.oldest_waiting_ms(),
        "longestActiveMs": queue.longest_active_ms(),
        "concurrency": queue.concurrency,
        "limits": {**queue.limits().as_json(), "inForce": queue.limit_at_a_time()},
        "workers": [{"name": worker.name, "heardAt": worker.heard_ms} for worker in queue.workers()],
        "jobTypes": list(queue.job_names),
    }


def get_all_queue_metrics(
    window_seconds: int = DEFAULT_WINDOW_SECONDS, *, queues: Queues | None = None
) -> list[dict[str, Any]]:
    """Return the metrics of every queue, by name.

    Raises `BadInput` for a window that is not kept.
    """
    return of_readable(_of(queues).names(), lambda name: get_queue_metrics(name, window_seconds, queues=queues))


def get_job_activity_summary(
    window_seconds: int = DEFAULT_WINDOW_SECONDS, *, queues: Queues | None = None
) -> dict[str, Any]:
    """Return every queue's metrics and their sums; `totalJobs` is what ended in the window.

    Raises `BadInput` for a window that is not kept.
    """
    metrics = get_all_queue_metrics(window_seconds, queues=queues)
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


def get_failed_jobs(
    limit: int = 50, *, outcomes: Sequence[str] = FAILED, queues: Queues | None = None
) -> list[JobJson]:
    """Return up to `limit` failed jobs over all queues, the last to fail first.

    Those that an operator cancelled are left out, unless `outcomes` has "cancelled".
    """
    return list_across(State.FAILED, limit=limit, outcomes=outcomes, queues=queues)[0]


def get_active_jobs(limit: int = 50, *, queues: Queues | None = None) -> list[JobJson]:
    """Return up to `limit` running jobs over all queues, the longest-running first."""
    return list_across(State.ACTIVE, limit=limit, queues=queues)[0]


def list_across(
    state: State,
    *,
    limit: int,
    cursor: str | None = None,
    outcomes: Sequence[str] = (),
    queues: Queues | None = None,
) -> tuple[list[JobJson], str | None]:
    """Return failed or running jobs of all queues, and the cursor of the next page.

    Raises `BadInput` for a cursor or an outcome that is none.
    """
    page = jobs_of_all(_of(queues), state, outcomes=tuple(outcomes), limit=limit, cursor=cursor)
    return [_with_job_id(job) for job in page.jobs], page.next_cursor


def get_job_system_health(
    *, queues: Queues | None = None, scheduler: Reading | None = None, database: Database | None = None
) -> dict[str, Any]:
    """Return whether the job system is healthy and, where not, what is wrong and what to do, in words.

    The verdict is that of `nomad doctor`.

    Parameters:
      scheduler: the state of the schedules, for a caller that has read it already.
      database: the open database to ask; without it one is opened, by the application's settings.
    """
    of = _of(queues)
    reading = read_scheduler(of, of.clock) if scheduler is None else scheduler
    patient = Patient(of.settings, of.clock, of.broker, of, database=database, scheduler=reading)
    return system_health(examine(patient), of, reading)


def _of(queues: Queues | None) -> Queues:
    return default_queues() if queues is None else queues


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
