"""Cron schedules: a calendar, the schedules as data, and the process that fires them."""

from .calendar import CRON_EXPRESSIONS, Cron, cron, get_next_executions, validate_cron_expression
from .process import SlotScheduler
from .schedules import SCHEDULES, Schedule
from .summary import summary

__all__ = [
    "CRON_EXPRESSIONS",
    "SCHEDULES",
    "Cron",
    "Schedule",
    "SlotScheduler",
    "cron",
    "get_next_executions",
    "summary",
    "validate_cron_expression",
]
