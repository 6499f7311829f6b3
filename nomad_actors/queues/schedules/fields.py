"""Strict checks of a schedule's fields, whether they come from code, from callers or from Redis."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ...errors import BadInput
from ...logs.foreign_text import safe_repr

#: Ten years. A higher limit would be useless; None means no limit.
MAX_LATENESS_SECONDS: Final = 10 * 366 * 86_400

#: The allowed values of each field, for error messages.
_ALLOWED: Final = {
    "name": "1 to 100 letters, digits, `.`, `_` or `-`",
    "description": "text of at most 1,000 characters",
    "expression": "a cron expression of five fields, as text of at most 1,000 characters",
    "queue": "the name of a queue",
    "job_type": "the name of a job type",
    "data": "an object (a dict with text keys) that JSON can represent",
    "timezone": "an IANA time zone such as UTC or Europe/Berlin",
    "enabled": "True or False",
    "run_on_init": "True or False",
    "misfire": "skip, once, all",
    "overlap": "skip, queue, replace",
    "max_lateness_seconds": f"a number of seconds from 0 to {MAX_LATENESS_SECONDS}, or None",
    "priority": "a whole number, the name of a priority, or None",
    "attempts": "a whole number from 1 to 1000, or None",
}


class ScheduleFields(BaseModel):
    """A schedule's fields. Nothing is converted: `"yes"` is not True."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(pattern=r"\A[A-Za-z0-9._-]{1,100}\z")]
    description: Annotated[str, Field(max_length=1000)]
    expression: Annotated[str, Field(max_length=1000)]
    queue: Annotated[str, Field(min_length=1, max_length=200)]
    job_type: Annotated[str, Field(min_length=1, max_length=200)]
    data: dict[str, Any]
    timezone: Annotated[str, Field(min_length=1, max_length=100)]
    enabled: bool
    run_on_init: bool
    misfire: str
    overlap: str | None
    max_lateness_seconds: Annotated[int | float, Field(ge=0, le=MAX_LATENESS_SECONDS)] | None
    priority: Annotated[int, Field(ge=-(2**31), le=2**31)] | str | None
    attempts: Annotated[int, Field(ge=1, le=1000)] | None

    @field_validator("data")
    @classmethod
    def _fits_json(cls, data: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(data, allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, RecursionError, UnicodeError) as error:
            raise ValueError(str(error)) from None
        return data


def check_fields(fields: Mapping[str, Any]) -> None:
    """Raise `BadInput` that names the first wrong field, its value and what is allowed."""
    try:
        ScheduleFields(**{**fields, "data": _as_dict(fields["data"])})
    except ValidationError as error:
        name = str(error.errors(include_url=False)[0]["loc"][0])
        raise BadInput(
            f"schedule {name} {safe_repr(fields[name], 200)} is invalid (allowed: {_ALLOWED[name]})"
        ) from None


def _as_dict(data: object) -> object:
    return dict(data) if isinstance(data, Mapping) else data
