"""The JSON of schedules, their slots and the schedulers; instants are ISO 8601 in UTC."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ..response_model import ResponseModel


class ScheduleStatus(ResponseModel):
    """A schedule; instants are ISO 8601 in UTC."""

    name: str
    running: bool
    cron_expression: str
    timezone: str
    description: str
    queue_name: str
    job_type: str
    data: dict[str, Any]
    next_run: str | None
    last_run: str | None
    last_status: str | None
    last_outcome: str | None
    last_job_id: str | None
    last_success: str | None
    overdue: str | None = Field(description="what is late: a slot without a job, or a job that has not started")
    missed: int = Field(description="slots that got no job since the schedule was created")
    run_on_init: bool
    misfire: str
    overlap: str
    max_lateness_seconds: float | None
    declared: bool = Field(description="true: declared by the code; false: added at run time")
    overridden: list[str] = Field(description="the fields that an operator changed")
    version: int


class Scheduler(ResponseModel):
    """A scheduler that sent a heartbeat within the last day."""

    name: str
    heard_at: str | None
    live: bool
    clock_offset_seconds: float | None = Field(description="its clock minus Redis'; null if it did not report one")
    holds: str | None = Field(description="why it is suspended and adds no job; null if it is not")
    holds_since: str | None


class UnreadableRecord(ResponseModel):
    """A record in Redis that cannot be read."""

    name: str
    queue_name: str
    why: str
    fix: str = Field(description="the command that removes it")


class SchedulerSummary(ResponseModel):
    """Every schedule, and the schedulers."""

    total: int
    running: int
    stopped: int
    overdue: int
    jobs: list[ScheduleStatus]
    schedulers: list[Scheduler]
    unreadable: list[UnreadableRecord] = Field(description="stored schedules that cannot be read")


class Slot(ResponseModel):
    """One slot of a schedule and its result."""

    due: str
    kind: str = Field(description="due, init or manual")
    added: str | None
    started: str | None
    ended: str | None
    outcome: str
    missed: str | None = Field(description="why it got no job")
    lateness_ms: int | None
    job_id: str | None
    requested_by: str | None


class ScheduleHistory(ScheduleStatus):
    """One schedule with its last slots."""

    exists: Literal[True]
    slots: list[Slot]
