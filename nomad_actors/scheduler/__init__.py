"""Cron schedules: how the code declares them, how Redis stores them, and the process that fires them."""

from ..queues.schedules.calendar import CRON_EXPRESSIONS, Cron, cron, get_next_executions, validate_cron_expression
from ..queues.schedules.schedule import JobSchedule, Misfire, Overlap, Schedule
from .book import Schedules
from .changes import ScheduleState
from .process import SlotScheduler
from .scheduled_job import ScheduledJob
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
    "Cron",
    "JobSchedule",
    "Misfire",
    "Overlap",
    "Schedule",
    "ScheduleState",
    "ScheduledJob",
    "Schedules",
    "SlotScheduler",
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
