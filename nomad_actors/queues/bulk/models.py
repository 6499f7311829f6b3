"""The JSON of a bulk operation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ...response_model import ResponseModel
from ..job import JobOutcome, JobState


class BulkFilter(ResponseModel):
    """The jobs that a bulk operation selects."""

    status: list[JobState]
    outcome: list[JobOutcome]
    job_type: str | None
    fields: dict[str, str]
    fingerprint: str | None
    since: int | None
    until: int | None


class BulkOperation(ResponseModel):
    """A bulk operation and its progress."""

    id: str
    queue_name: str
    action: Literal["retry", "remove", "promote", "cancel"]
    state: Literal["running", "stopped", "finished"]
    total: int = Field(description="how many jobs it selected, as far as that was known when it began")
    done: int
    skipped: int = Field(description="jobs that were skipped because their state had changed")
    per_second: int
    filter: BulkFilter
    by: str
    reason: str
    created_at: int = Field(description="ms since the epoch")
    updated_at: int = Field(description="ms since the epoch")
    error: str | None = Field(description="the error that stopped it")
