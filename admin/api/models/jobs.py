"""Lists of jobs, and jobs that were added."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nomad_actors.queues.job import Job, JobState
from nomad_actors.queues.models import Failure, ListedJob
from nomad_actors.response_model import ResponseModel


class JobPage(ResponseModel):
    """Some jobs of one queue; a page may have fewer than were asked for, also none, and go on all the same."""

    jobs: list[Job]
    total: int = Field(description="how many there are in all; no more than this, unless it is exact")
    total_is_exact: bool
    next_cursor: str | None = Field(description="what gives the next page as `cursor`; null after the last")


class JobList(ResponseModel):
    """Some jobs of all queues; a page may have fewer than were asked for, also none, and go on all the same."""

    jobs: list[ListedJob]
    total: int
    next_cursor: str | None = Field(description="what gives the next page as `cursor`; null after the last")


class AddedJob(ResponseModel):
    """A job that was added, or the one that stands in its place."""

    id: str
    name: str = Field(description="the job type that was asked for")
    queue_name: str
    state: JobState | Literal["gone"] = Field(description="gone: the one that stands is not kept any more")
    priority: int | None = Field(description="null where another stands in its place")
    new: bool = Field(description="false: another stands in its place, by a key or its id")


class AddedJobs(ResponseModel):
    """Jobs that were added in one call, in the order that they were given in."""

    jobs: list[AddedJob]


class FailurePage(ResponseModel):
    """Why a queue's jobs failed, the reason seen last first."""

    failures: list[Failure]
    next_cursor: str | None = Field(description="what gives the next page as `cursor`; null after the last")
