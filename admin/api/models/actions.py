"""What was done to queues, jobs and schedules."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nomad_actors.queues.bulk.models import BulkOperation
from nomad_actors.queues.models import Pause
from nomad_actors.response_model import ResponseModel, optional
from nomad_actors.scheduler.models import ScheduleHistory


class Done(ResponseModel):
    """What was done to a queue or a job."""

    success: Literal[True]
    queue_name: str
    job_id: str = optional("of an action on a job")
    status: str = optional("the state it is in now")
    removed: int = optional("how many jobs were removed")


class EsiSwitch(ResponseModel):
    """The switch of everything that talks to ESI."""

    queues: list[str] = Field(description="those that talk to ESI or its login")
    is_paused: bool = Field(description="the switch holds all of them")
    running: list[str] = Field(description="those that it does not hold; pause again to reach a new one")
    pause: Pause | None = Field(description="the one that was set last, where any queue has one")
    pauses: dict[str, Pause] = Field(description="by queue, where the switch holds it")


class BulkCount(ResponseModel):
    """How many jobs a bulk operation would be for; nothing was done."""

    dry_run: Literal[True]
    queue_name: str
    action: str
    count: int
    is_exact: bool = Field(description="false: no more than that, jobs must be looked at to know")


class BulkList(ResponseModel):
    """Bulk operations."""

    operations: list[BulkOperation]


class ScheduleChanged(ScheduleHistory):
    """A schedule that was switched on or off, as it is now."""

    success: Literal[True]
    job_name: str


class ScheduleRun(ResponseModel):
    """The job that a schedule was made to add."""

    success: Literal[True]
    job_name: str
    queue_name: str
    job_id: str
    status: str
