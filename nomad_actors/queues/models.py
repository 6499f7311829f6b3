"""The JSON of a queue's pauses, limits and failure groups."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..broker.records.failures import FailureGroup
from ..broker.records.limits import Pause as PauseRecord
from ..response_model import ResponseModel
from .job import Job
from .snapshot import QueueSnapshot


class Pause(ResponseModel):
    """A pause of a queue; ending one does not end another."""

    scope: Literal["queue", "esi"] = Field(description="esi: all ESI queues are paused")
    since: int = Field(description="ms since the epoch")
    until: int | None = Field(description="ms since the epoch; null until it is resumed")
    reason: str
    by: str

    @classmethod
    def of(cls, pause: PauseRecord) -> Pause:
        return cls.of_attributes(pause, scope=pause.scope.value, since=pause.since_ms, until=pause.until_ms)


class LimitsInForce(ResponseModel):
    """A queue's limits, and the concurrency limit in force."""

    concurrency: int | None = Field(description="jobs at a time over all hosts; null: the declared limit applies")
    starts: int | None = Field(description="jobs that start in a period")
    period_ms: int | None
    max_length: int | None = Field(description="how many jobs may wait or be delayed before more are refused")
    in_force: int | None = Field(description="jobs at a time over all hosts, as set or as declared")

    @classmethod
    def of_queue(cls, queue: QueueSnapshot) -> LimitsInForce:
        return cls.of_attributes(queue.limits, in_force=queue.limit_in_force)


class Failure(ResponseModel):
    """A group of jobs that failed for one cause; times are ms since the epoch."""

    fingerprint: str = Field(description="of the job type, the error's class, its words and where it was raised")
    job_type: str
    error_class: str
    message: str = Field(description="without what differs from job to job")
    frame: str = Field(description="the innermost line of code that is neither Python's nor a library's")
    count: int = Field(description="failed jobs that are still stored")
    seen: int = Field(description="how many failures in total")
    first_seen: int
    last_seen: int

    @classmethod
    def of(cls, failure_group: FailureGroup) -> Failure:
        seen = {"first_seen": int(failure_group.first_ms), "last_seen": int(failure_group.last_ms)}
        return cls.of_attributes(failure_group, **seen)


class ListedJob(Job):
    """A job in a list over all queues, which also has its id under the original system's name."""

    job_id: str

    @classmethod
    def of(cls, job: Job) -> ListedJob:
        return cls.of_attributes(job, job_id=job.id)
