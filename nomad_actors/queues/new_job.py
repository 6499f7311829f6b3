"""A job as a caller asks for it: its job type, its data, and the options that differ from the job type's own.

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

#: A longer delay is a mistake in the unit: ten years in ms.
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
    """What differs from the job type's own; None is the same as left out.

    With a `job_id` that is known: a job that waits or is delayed stays as it is, one that runs is run once more
    afterwards, one that ended starts afresh.

    Only one job of the queue holds a `unique_key`: while it does, adding another returns the one that holds it. With
    `unique_replace` the new job replaces one that has not begun, and runs after one that has.
    """

    # Those that skip validation are checked when the job is added: the messages there name the choices.
    priority: Annotated[PriorityValue | None, SkipValidation, WithJsonSchema(_PRIORITY)]
    backoff: Annotated[Backoff | Mapping[str, object] | None, SkipValidation, WithJsonSchema(_BACKOFF)]
    attempts: Annotated[int | None, Field(ge=1, le=MAX_ATTEMPTS, description="runs, the first one counted")]
    delay: Annotated[int | None, Field(ge=0, le=MAX_DELAY_MS, description="ms from now")]
    job_id: Annotated[str | None, Field(description="an id of your own; a waiting job with it stays as it is")]
    unique_key: Annotated[str | None, Field(description="only one job of the queue holds it")]
    unique_until: Annotated[Literal["start", "end"] | int | None, SkipValidation, WithJsonSchema(_UNTIL)]
    unique_replace: Annotated[
        bool | None, Field(description="this job takes the place of the one that holds the key and has not begun")
    ]


class CallOptions(JobOptions, total=False):
    """What a call may say beside a job's options.

    The same call with the same `idempotency_key` within a day is the same call, whatever has become of its job.
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
            accepted = ", ".join(CallOptions.__annotations__)
            raise TypeError(f"a job has no option {', '.join(sorted(unknown))} (accepted: {accepted})")
        given = {name: value for name, value in options.items() if value is not None}
        for name, value in (("queue", queue), ("job_type", job_type), ("data", data), ("options", given)):
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class AddedJob:
    """What a caller gets for a job that it added; `state` is its state now, `gone` when it is not kept any more."""

    id: str
    queue: str
    state: str
    #: None for another job that was there before.
    priority: int | None
    #: False when another job holds its unique key or the caller's own key, or the job was there before.
    new: bool = True
