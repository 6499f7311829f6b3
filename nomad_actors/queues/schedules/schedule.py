"""A schedule as the code declares it, and the same schedule bound to the job type whose jobs it adds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, TypedDict, TypeVar
from zoneinfo import ZoneInfo

from periodiq import CronSpec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ...errors import BadInput
from ...logs.foreign_text import safe_repr
from ..policy import PriorityValue
from .calendar import Cron, cron, zone

Word = TypeVar("Word", bound=StrEnum)

#: Ten years. A higher limit would be useless; None means no limit.
MAX_LATENESS_SECONDS = 10 * 366 * 86_400


class Misfire(StrEnum):
    """What happens to slots that no scheduler filled in time."""

    #: They are recorded as missed.
    SKIP = "skip"
    #: The last of them runs, late; the others are recorded as missed.
    ONCE = "once"
    #: All of them run, up to a limit.
    ALL = "all"


class Overlap(StrEnum):
    """What happens to a slot while the previous job of its schedule still waits or runs."""

    #: It is recorded as missed.
    SKIP = "skip"
    #: Its job waits beside the previous one.
    QUEUE = "queue"
    #: Its job replaces a previous one that waits; a running one continues.
    REPLACE = "replace"


class ScheduleOptions(TypedDict, total=False):
    """The options of a schedule that a call may set; `Schedule` has their defaults."""

    description: str
    timezone: str
    enabled: bool
    run_on_init: bool
    misfire: Misfire | str
    max_lateness_seconds: float | None
    overlap: Overlap | str | None


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When jobs of a job type are added: each time the cron expression is due in the time zone.

    `max_lateness_seconds` is how late a slot may still run (None: without limit). `overlap` is skip by default, with
    `misfire="all"` queue.
    """

    name: str
    expression: str | CronSpec | Cron
    description: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    timezone: str = "UTC"
    enabled: bool = True
    run_on_init: bool = False
    misfire: Misfire | str = Misfire.ONCE
    max_lateness_seconds: float | None = 86_400
    overlap: Overlap | str | None = None
    priority: PriorityValue | None = None
    attempts: int | None = None

    def bind(self, *, queue: str, job_type: str, data: Mapping[str, Any]) -> JobSchedule:
        """Return this schedule with the job that it adds.

        Raises `BadInput` naming what is wrong and what is allowed.
        """
        own = {each.name: getattr(self, each.name) for each in dataclasses.fields(Schedule)}
        return JobSchedule(**{**own, "data": data}, queue=queue, job_type=job_type)


@dataclass(frozen=True, kw_only=True)
class JobSchedule(Schedule):
    """A schedule with the job type and the queue of the jobs that it adds.

    Raises `BadInput` naming what is wrong and what is allowed.
    """

    expression: str = field()
    queue: str
    job_type: str
    # Without defaults: a stored schedule that lacks them cannot be read.
    description: str = field()
    data: Mapping[str, Any] = field()
    cron: Cron = field(init=False, compare=False)

    def __post_init__(self) -> None:
        # Replace a `periodiq.CronSpec` by the text that it was parsed from.
        parsed = cron(self.expression)
        object.__setattr__(self, "expression", parsed.text)
        _check({name: getattr(self, name) for name in FIELDS})
        object.__setattr__(self, "cron", parsed)
        zone(self.timezone)
        misfire = _word("misfire", self.misfire, Misfire)
        default = Overlap.QUEUE if misfire is Misfire.ALL else Overlap.SKIP
        overlap = default if self.overlap is None else _word("overlap", self.overlap, Overlap)
        if misfire is Misfire.ALL and overlap is not Overlap.QUEUE:
            raise BadInput(
                f"misfire 'all' with overlap '{overlap}' would run one of them: use overlap 'queue' or misfire 'once'"
            )
        object.__setattr__(self, "misfire", misfire)
        object.__setattr__(self, "overlap", overlap)

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone that the expression is read in."""
        return zone(self.timezone)

    def due_ms_after(self, after_ms: float) -> Iterator[int]:
        """Yield the due instants after another (ms since the epoch), in order."""
        after = datetime.fromtimestamp(after_ms / 1000, UTC)
        return (int(due.timestamp() * 1000) for due in self.cron.after(after, self.zone))

    def as_json(self) -> dict[str, Any]:
        """Return everything but the name and the queue, as it is stored."""
        fields = {name: getattr(self, name) for name in FIELDS if name not in ("name", "queue")}
        return {**fields, "data": dict(self.data), "misfire": str(self.misfire), "overlap": str(self.overlap)}


#: The names of a schedule's fields.
FIELDS = tuple(each.name for each in dataclasses.fields(JobSchedule) if each.init)


class _Fields(BaseModel):
    """The fields of a schedule from code, callers or Redis, and what is allowed. Nothing is converted."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(pattern=r"\A[A-Za-z0-9._-]{1,100}\z", description="1 to 100 letters, digits, `.`, `_` or `-`")
    description: str = Field(max_length=1000, description="text of at most 1,000 characters")
    expression: str = Field(
        max_length=1000, description="a cron expression of five fields, as text of at most 1,000 characters"
    )
    queue: str = Field(min_length=1, max_length=200, description="the name of a queue")
    job_type: str = Field(min_length=1, max_length=200, description="the name of a job type")
    data: dict[str, Any] = Field(description="an object (a dict with text keys) that JSON can represent")
    timezone: str = Field(min_length=1, max_length=100, description="an IANA time zone such as UTC or Europe/Berlin")
    enabled: bool = Field(description="True or False")
    run_on_init: bool = Field(description="True or False")
    misfire: str = Field(description=", ".join(Misfire))
    overlap: str | None = Field(description=", ".join(Overlap))
    max_lateness_seconds: int | float | None = Field(
        ge=0, le=MAX_LATENESS_SECONDS, description=f"a number of seconds from 0 to {MAX_LATENESS_SECONDS}, or None"
    )
    priority: Annotated[int, Field(ge=-(2**31), le=2**31)] | str | None = Field(
        description="a whole number, the name of a priority, or None"
    )
    attempts: int | None = Field(ge=1, le=1000, description="a whole number from 1 to 1000, or None")

    @field_validator("data")
    @classmethod
    def _fits_json(cls, data: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(data, allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, RecursionError, UnicodeError) as error:
            raise ValueError(str(error)) from None
        return data


def _check(fields: Mapping[str, Any]) -> None:
    data = fields["data"]
    try:
        _Fields(**{**fields, "data": dict(data) if isinstance(data, Mapping) else data})
    except ValidationError as error:
        name = str(error.errors(include_url=False)[0]["loc"][0])
        allowed = _Fields.model_fields[name].description
        raise BadInput(f"schedule {name} {safe_repr(fields[name], 200)} is invalid (allowed: {allowed})") from None


def _word(name: str, value: object, words: type[Word]) -> Word:
    try:
        return words(str(value))
    except ValueError:
        raise BadInput(f"{name} {safe_repr(value, 200)} is invalid (allowed: {', '.join(words)})") from None
