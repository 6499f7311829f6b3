"""A job that a caller wants to add: its job type, its data, and options that differ from the job type's own.

`JobOptions` is the one declaration of the options: calls, the API's body and the command line derive from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, SkipValidation, WithJsonSchema
from typing_extensions import TypedDict, Unpack

from ..broker.records.tags import MAX_UNIQUE_SECONDS
from .policy import MAX_BACKOFF_MS, Backoff, Priority, PriorityValue

#: Ten years in ms: a longer delay is a mistake in the unit.
MAX_DELAY_MS = 315_360_000_000
MAX_ATTEMPTS = 1000

_PRIORITY = {
    "anyOf": [
        {"type": "integer", "minimum": min(Priority), "maximum": max(Priority)},
        {"type": "string", "enum": [priority.name for priority in Priority]},
        {"type": "null"},
    ],
    "description": "CRITICAL (1) starts first, then HIGH, NORMAL, LOW, BATCH (5)",
}
_BACKOFF = {
    "type": ["object", "null"],
    "properties": {
        "type": {"type": "string", "enum": ["exponential", "fixed"]},
        "delay": {"type": "integer", "minimum": 0, "maximum": MAX_BACKOFF_MS, "description": "ms"},
    },
    "required": ["type", "delay"],
    "additionalProperties": False,
}
_UNTIL = {
    "anyOf": [
        {"type": "string", "enum": ["start", "end"]},
        {"type": "integer", "minimum": 1, "maximum": MAX_UNIQUE_SECONDS},
        {"type": "null"},
    ],
    "description": "how long the unique key is held: until the job starts, until its end, or so many seconds",
}


class JobOptions(TypedDict, total=False):
    """Options that differ from the job type's own; None means not set.

    If a job with the `job_id` exists: a waiting or delayed one stays unchanged, a running one runs once more
    afterwards, one that ended starts anew.

    Only one job of the queue holds a `unique_key`: meanwhile, adding another returns the job that holds it. With
    `unique_replace` the new job replaces one that has not started, and runs after one that has.
    """

    # Options that skip validation are checked when the job is added: those errors name the choices.
    priority: Annotated[PriorityValue | None, SkipValidation, WithJsonSchema(_PRIORITY)]
    backoff: Annotated[Backoff | Mapping[str, object] | None, SkipValidation, WithJsonSchema(_BACKOFF)]
    attempts: Annotated[int | None, Field(ge=1, le=MAX_ATTEMPTS, description="how many runs, including the first")]
    delay: Annotated[int | None, Field(ge=0, le=MAX_DELAY_MS, description="ms from now")]
    job_id: Annotated[str | None, Field(description="an id of your own; a waiting job with it stays as it is")]
    unique_key: Annotated[str | None, Field(description="only one job of the queue holds it")]
    unique_until: Annotated[Literal["start", "end"] | int | None, SkipValidation, WithJsonSchema(_UNTIL)]
    unique_replace: Annotated[
        bool | None, Field(description="replace the job that holds the key if it has not started")
    ]


class CallOptions(JobOptions, total=False):
    """A job's options and those of the call that adds it.

    A call with the same `idempotency_key` within a day is the same call and adds no job, even if the first job is gone.
    """

    requested_by: str | None
    idempotency_key: str | None


@dataclass(frozen=True, init=False)
class NewJob:
    """A job to add."""

    queue: str
    job_type: str
    data: Any
    options: CallOptions

    def __init__(self, *, queue: str, job_type: str, data: Any, **options: Unpack[CallOptions]) -> None:
        unknown = options.keys() - CallOptions.__annotations__.keys()
        if unknown:
            allowed = ", ".join(CallOptions.__annotations__)
            raise TypeError(f"a job has no option {', '.join(sorted(unknown))} (allowed: {allowed})")
        given = {name: value for name, value in options.items() if value is not None}
        for name, value in (("queue", queue), ("job_type", job_type), ("data", data), ("options", given)):
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class AddedJob:
    """The reply for an added job; `state` is its state now, `gone` if it is no longer stored."""

    id: str
    queue: str
    state: str
    #: None for a job that existed before.
    priority: int | None
    #: False if another job holds the unique key or the idempotency key, or the job existed before.
    new: bool = True
