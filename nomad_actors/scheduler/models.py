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
    overdue: str | None = Field(description="what should have happened and has not")
    missed: int = Field(description="slots that got no job since the schedule exists")
    run_on_init: bool
    misfire: str
    overlap: str
    max_lateness_seconds: float | None
    declared: bool = Field(description="by the code, else added at run time")
    overridden: list[str] = Field(description="what an operator changed of it")
    version: int


class Scheduler(ResponseModel):
    """A scheduler that was heard of."""

    name: str
    heard_at: str | None
    live: bool
    clock_offset_seconds: float | None = Field(description="its clock minus Redis'; null when it did not say")
    holds: str | None = Field(description="why it adds nothing; null when it does")
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
    unreadable: list[UnreadableRecord] = Field(description="what is kept as a schedule and cannot be read as one")


class Slot(ResponseModel):
    """What became of one slot of a schedule."""

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
