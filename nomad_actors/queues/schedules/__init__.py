"""Schedules as they are declared: a cron expression in a time zone, and the policy for late slots."""
