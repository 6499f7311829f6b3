"""The JSON of what a queue holds besides its jobs: pauses, limits, why jobs failed."""

from __future__ import annotations

import dataclasses
from typing import Literal

from pydantic import Field

from ..broker.records.failures import FailureGroup
from ..broker.records.limits import Limits as LimitsRecord
from ..broker.records.limits import Pause as PauseRecord
from ..response_model import ResponseModel
from .job import Job
from .snapshot import QueueSnapshot


class Pause(ResponseModel):
    """Why no job of a queue starts; to lift one does not lift another."""

    scope: Literal["queue", "esi"] = Field(description="esi: everything that talks to ESI is paused")
    since: int = Field(description="ms since the epoch")
    until: int | None = Field(description="ms since the epoch; null until it is resumed")
    reason: str
    by: str

    @classmethod
    def of(cls, pause: PauseRecord) -> Pause:
        """Return a pause as the broker keeps it."""
        return cls.model_construct(
            scope=pause.scope.value, since=pause.since_ms, until=pause.until_ms, reason=pause.reason, by=pause.by
        )


class Limits(ResponseModel):
    """A queue's limits; null where there is none."""

    concurrency: int | None = Field(description="jobs at a time over all hosts; null for what is declared")
    starts: int | None = Field(description="jobs that start in a period")
    period_ms: int | None
    max_length: int | None = Field(description="how many may be waiting or delayed before more are refused")

    @classmethod
    def of(cls, limits: LimitsRecord) -> Limits:
        """Return limits as the broker keeps them."""
        return cls.model_construct(**dataclasses.asdict(limits))


class LimitsInForce(Limits):
    """A queue's limits, and what holds."""

    in_force: int | None = Field(description="jobs at a time over all hosts, as set or as declared")

    @classmethod
    def of_queue(cls, queue: QueueSnapshot) -> LimitsInForce:
        """Return a queue's limits."""
        return cls.model_construct(**dataclasses.asdict(queue.limits), in_force=queue.limit_in_force)


class Failure(ResponseModel):
    """Failed jobs with one cause; times are ms since the epoch."""

    fingerprint: str = Field(description="of the job type, the error's class, its words and where it was raised")
    job_type: str
    error_class: str
    message: str = Field(description="without what differs from job to job")
    frame: str = Field(description="the innermost line of code that is neither Python's nor a library's")
    count: int = Field(description="failed jobs that are kept")
    seen: int = Field(description="how often it was seen in all")
    first_seen: int
    last_seen: int

    @classmethod
    def of(cls, failure_group: FailureGroup) -> Failure:
        """Return failed jobs with one cause as the broker keeps them."""
        own = dataclasses.asdict(failure_group)
        first_ms, last_ms = own.pop("first_ms"), own.pop("last_ms")
        return cls.model_construct(**own, first_seen=int(first_ms), last_seen=int(last_ms))


class ListedJob(Job):
    """A job in a list over all queues, where its id has the original's name too."""

    job_id: str

    @classmethod
    def of(cls, job: Job) -> ListedJob:
        """Return a job as lists over all queues have it."""
        return cls.model_construct(**dict(job), job_id=job.id)
