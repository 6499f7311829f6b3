"""One job as callers and operators see it; its JSON has BullMQ's fields and ours."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

# Not from `typing`: pydantic supports that one only from Python 3.12 on.
from typing_extensions import TypedDict

from ..response_model import ResponseModel

JobState = Literal["waiting", "active", "delayed", "completed", "failed", "paused"]
JobOutcome = Literal["completed", "skipped", "failed", "cancelled"]


class BackoffOptions(ResponseModel):
    """How long a failed job waits before its next attempt."""

    type: Literal["exponential", "fixed"]
    delay_ms: int = Field(alias="delay", description="ms")


class JobOptions(ResponseModel):
    """The job options that we share with BullMQ."""

    priority: int
    attempts: int = Field(description="how many runs it may have, including the first")
    backoff: BackoffOptions
    delay_ms: int = Field(alias="delay", description="ms from being added to being due")


class ProgressDetail(TypedDict):
    """The progress that a job reported."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    done: float
    total: float
    note: str


#: Not a class, because one of its names is a Python keyword.
Event = TypedDict(
    "Event",
    {
        "event": str,
        "at": NotRequired[Annotated[int, Field(description="ms since the epoch")]],
        "worker": NotRequired[Annotated[str, Field(description="of `started`: which worker")]],
        "class": NotRequired[Annotated[str, Field(description="of `error`: the exception's class")]],
        "message": NotRequired[Annotated[str, Field(description="of `error`")]],
        "traceback": NotRequired[Annotated[str, Field(description="of `error`")]],
        "due": NotRequired[
            Annotated[int, Field(description="of `retry` and `deferred`: when it runs again, ms since the epoch")]
        ],
        "reason": NotRequired[Annotated[str, Field(description="why")]],
        "eventsLeftOut": NotRequired[Annotated[int, Field(description="of `cut`: how many events were dropped here")]],
    },
)
Event.__doc__ = "One event of a job's timeline."
Event.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]


class LogLine(TypedDict):
    """A line of a job's log."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    at: Annotated[int, Field(description="ms since the epoch")]
    line: str


class Job(ResponseModel):
    """A job at one instant: BullMQ's fields and ours; times are ms since the epoch, null if not happened."""

    id: str
    name: str = Field(description="the job type")
    queue: str = Field(alias="queueName")
    data: dict[str, Any]
    opts: JobOptions
    status: JobState
    progress: float = Field(description="0 to 100")
    progress_detail: ProgressDetail | None
    attempts_made: int
    failed_reason: str | None
    stacktrace: list[str] = Field(description="the traceback of each failed attempt, oldest first")
    returnvalue: Any = Field(description="what the job returned")
    timestamp_ms: int = Field(alias="timestamp", description="when it was added")
    processed_on_ms: int | None = Field(alias="processedOn", description="when its last run started")
    finished_on_ms: int | None = Field(alias="finishedOn")
    timeline: list[Event]
    crashes: int = Field(description="how often its worker was lost while it ran")
    outcome: JobOutcome | None
    cancel_asked: str | None = Field(description="why an operator cancelled the job, while it still runs")
    wait_ms: int | None = Field(description="from due to start, of the last run")
    run_ms: int | None = Field(description="from start to end, of the last run")
    log: list[LogLine]
    log_lines_left_out: int
    requested_by: str | None
    worker: str | None = Field(description="the worker that runs it; null if it is not running")
    #: When a delayed job starts, by Redis' clock; None in any other state.
    due_ms: SkipJsonSchema[int | None] = Field(exclude=True)
    #: Since when it is deferred because no worker that took it knows its job type.
    unknown_since_ms: SkipJsonSchema[int | None] = Field(exclude=True)
