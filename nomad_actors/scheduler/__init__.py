"""Cron schedules: a calendar, the schedules as data and as Redis keeps them, and the process that fires them."""

from .book import Schedules, Standing
from .calendar import CRON_EXPRESSIONS, Cron, cron, get_next_executions, validate_cron_expression
from .process import SlotScheduler
from .schedules import SCHEDULES, Misfire, Overlap, Schedule, ScheduledJob
from .service import (
    get_job_status,
    get_scheduler_summary,
    remove_job,
    run_job,
    schedule_job,
    start_job,
    stop_job,
)

__all__ = [
    "CRON_EXPRESSIONS",
    "SCHEDULES",
    "Cron",
    "Misfire",
    "Overlap",
    "Schedule",
    "ScheduledJob",
    "Schedules",
    "SlotScheduler",
    "Standing",
    "cron",
    "get_job_status",
    "get_next_executions",
    "get_scheduler_summary",
    "remove_job",
    "run_job",
    "schedule_job",
    "start_job",
    "stop_job",
    "validate_cron_expression",
]
