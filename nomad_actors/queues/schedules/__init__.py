"""Schedules as they are declared: a cron expression in a time zone, and what becomes of slots that are late."""
