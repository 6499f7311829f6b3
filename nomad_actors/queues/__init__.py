"""The queues and jobs that callers and operators use, and the registry of job types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typing_extensions import Unpack

from .current_job import CurrentJob, current_job
from .default import default_queues, set_default
from .new_job import MAX_DELAY_MS, AddedJob, CallOptions, NewJob
from .queue import Queue
from .registry import Queues

__all__ = [
    "MAX_DELAY_MS",
    "AddedJob",
    "CallOptions",
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


def get_queue(name: str) -> Queue:
    """Return a queue of this process' application; see `Queues.get_queue`."""
    return default_queues().get_queue(name)


def add_job(queue: str, job_type: str, data: Any, **options: Unpack[CallOptions]) -> AddedJob:
    """Add a job to this process' application; see `Queues.add_job`."""
    return default_queues().add_job(queue, job_type, data, **options)


def add_jobs(jobs: Sequence[NewJob], *, once: bool = False) -> list[AddedJob]:
    """Add jobs to this process' application; see `Queues.add_jobs`."""
    return default_queues().add_jobs(jobs, once=once)
