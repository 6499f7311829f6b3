"""Queue statistics under the original system's names, and timers for a job type's own work."""

from .health.queue_numbers import (
    get_active_jobs,
    get_all_queue_metrics,
    get_failed_jobs,
    get_job_activity_summary,
    get_job_system_health,
    get_queue_details,
    get_queue_metrics,
    list_across,
)
from .metrics.work import Timer, record_job_metric, timer
from .queues.snapshot import DAY_SECONDS as DEFAULT_WINDOW_SECONDS

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
    "list_across",
    "record_job_metric",
    "timer",
]
