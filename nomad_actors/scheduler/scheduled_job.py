"""The job that a caller wants a schedule to add."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import BadInput
from ..logs.foreign_text import safe_repr
from ..queues.job_type import JobType
from ..queues.policy import PriorityValue


@dataclass(frozen=True)
class ScheduledJob:
    """The job that a schedule adds: a job type, its data, and options that differ from the job type's own."""

    job_type: str
    data: Mapping[str, Any] = field(default_factory=dict)
    priority: PriorityValue | None = None
    attempts: int | None = None

    @classmethod
    def of(cls, job: object) -> ScheduledJob:
        """Return the job that a caller's `(job type, data)` means.

        Raises `BadInput` with what is allowed for anything else.
        """
        if isinstance(job, ScheduledJob):
            return job
        if isinstance(job, tuple) and len(job) == 2:
            job_type, data = job
            name = job_type.name if isinstance(job_type, JobType) else job_type
            if isinstance(name, str) and isinstance(data, Mapping):
                return cls(name, data)
        allowed = 'a job type with its data, such as ("cache-cleanup", {"mode": "expired"})'
        if callable(job):
            called = getattr(job, "__name__", "it")
            raise BadInput(
                f"a plain function cannot be scheduled: {called} would not survive this process. Make it the `run` "
                f'of a JobType in a module that NOMAD_MODULES names, and schedule ("{called}", {{…}}); '
                f"allowed: {allowed}"
            )
        raise BadInput(f"job {safe_repr(job, 200)} is invalid (allowed: {allowed})")
