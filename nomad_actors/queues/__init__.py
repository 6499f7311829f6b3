"""Queues and their jobs as callers and operators see them, and the registry of job types."""

from .queue import Queue
from .registry import (
    MAX_DELAY_MS,
    AddedJob,
    CurrentJob,
    NewJob,
    Queues,
    add_job,
    add_jobs,
    current_job,
    default_queues,
    get_queue,
    set_default,
)

__all__ = [
    "MAX_DELAY_MS",
    "AddedJob",
    "CurrentJob",
    "NewJob",
    "Queue",
    "Queues",
    "add_job",
    "add_jobs",
    "current_job",
    "default_queues",
    "get_queue",
    "set_default",
]
