"""Responses to actions on queues, jobs and schedules."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nomad_actors.queues.bulk.operation import BulkOperation
from nomad_actors.queues.models import Pause
from nomad_actors.response_model import ResponseModel, optional
from nomad_actors.scheduler.models import ScheduleHistory


class Done(ResponseModel):
    """The result of an action on a queue or a job."""

    success: Literal[True]
    queue_name: str
    job_id: str = optional("only for an action on a job")
    status: str = optional("the state after the action")
    removed: int = optional("number of removed jobs")


class EsiSwitch(ResponseModel):
    """The common pause of all ESI queues."""

    queues: list[str] = Field(description="queues that use ESI or its SSO")
    is_paused: bool = Field(description="all of them are paused")
    running: list[str] = Field(description="those that are not paused; pause again to include a new queue")
    pause: Pause | None = Field(description="the latest pause of any of these queues")
    pauses: dict[str, Pause] = Field(description="the common pause of each paused queue")


class BulkCount(ResponseModel):
    """How many jobs a bulk operation would affect; nothing was changed."""

    dry_run: Literal[True]
    queue_name: str
    action: str
    count: int
    is_exact: bool = Field(description="false: this is an upper bound, because the jobs were not read")


class BulkList(ResponseModel):
    """Bulk operations."""

    operations: list[BulkOperation]


class ScheduleChanged(ScheduleHistory):
    """The new state of a schedule that was switched on or off."""

    success: Literal[True]
    job_name: str


class ScheduleRun(ResponseModel):
    """The job that was added for a schedule."""

    success: Literal[True]
    job_name: str
    queue_name: str
    job_id: str
    status: str
