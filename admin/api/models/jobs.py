"""Lists of jobs, and added jobs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nomad_actors.queues.job import Job, JobState
from nomad_actors.queues.models import Failure, ListedJob
from nomad_actors.response_model import ResponseModel


class JobPage(ResponseModel):
    """Some jobs of one queue; a page may have fewer jobs than `limit`, even none, and not be the last one."""

    jobs: list[Job]
    total: int = Field(description="number of matching jobs; an upper bound unless `totalIsExact`")
    total_is_exact: bool
    next_cursor: str | None = Field(description="pass it as `cursor` to get the next page; null on the last page")


class JobList(ResponseModel):
    """Some jobs of all queues; a page may have fewer jobs than `limit`, even none, and not be the last one."""

    jobs: list[ListedJob]
    total: int
    next_cursor: str | None = Field(description="pass it as `cursor` to get the next page; null on the last page")


class AddedJob(ResponseModel):
    """An added job, or the existing job that was returned instead."""

    id: str
    name: str = Field(description="the requested job type")
    queue_name: str
    state: JobState | Literal["gone"] = Field(description="gone: the existing job is not kept any more")
    priority: int | None = Field(description="null for an existing job")
    new: bool = Field(description="false: it is an existing job with the same key or id")


class AddedJobs(ResponseModel):
    """Jobs that were added in one call, in the order of the request."""

    jobs: list[AddedJob]


class FailurePage(ResponseModel):
    """The failure groups of a queue, the most recent first."""

    failures: list[Failure]
    next_cursor: str | None = Field(description="pass it as `cursor` to get the next page; null on the last page")
